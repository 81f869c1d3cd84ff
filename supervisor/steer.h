/*
 * steer - who gets new connections, where each worker has a socket of its own. Only for internal.h.
 *
 * GLUE. A seat is one socket in each round-robin group, with one owner at most. Those below slots_max have the
 * numbers of the slots, the others are for replacements. With hash the socket is that of the slot, whoever its
 * worker is, and a slot without one may be a vacancy.
 *
 * Nothing here fails for a seat or slot that is out of range: it does nothing. Functions with `failed` return 0
 * or -errno and name the step.
 */
#ifndef CLUSTERD_SUPERVISOR_STEER_H
#define CLUSTERD_SUPERVISOR_STEER_H

#include <stdbool.h>
#include <stdint.h>

struct report;
struct sock;
struct supervisor;
struct worker;

/* The seats that get new connections. */
struct steer {
	uint32_t *list, *place; /* place[seat]: 1 + its index in list, or 0 */
	uint32_t *owner;        /* cookie of the worker in each seat, or 0 */
	uint32_t count, size;
	bool shared;            /* two workers were put into one seat, some time */
	bool dirty;             /* the kernel has not been told yet */
	bool vacancy;           /* a slot may have nobody, and is to have nobody, since the last look */
	bool vacant_last;       /* one like that has kept its socket, for it is the last of a hash group */
};

/* ---- the seats ---- */

uint32_t steer_seats(uint32_t workers); /* of a group that is made for so many */
int steer_grow(struct supervisor *s, uint32_t slots); /* -ENOMEM: it is as it was */
void steer_free(struct supervisor *s);
bool steer_used(const struct supervisor *s); /* is there a round-robin group? */

/* Takes a seat for a new worker: that of its slot, a free one, or shares that of its slot. */
uint32_t steer_take_seat(struct supervisor *s, uint32_t slot, uint32_t cookie);

bool sock_steered(const struct sock *sock);   /* is it one? */
void steer_give_up(struct supervisor *s, uint32_t seat); /* its owner has ended, and had it alone */

/* Opens what a seat lacks, in the groups that came later. */
int steer_furnish(struct supervisor *s, uint32_t seat, const char **failed);

/* Its worker has ended: what waits there goes to the others. */
void steer_leave_seat(struct supervisor *s, struct worker *worker);

/* ---- the list: the kernel is told by steer_apply(), which is cheap when nothing has changed ---- */

void steer_seat(struct supervisor *s, uint32_t seat, bool on);
void steer_worker(struct supervisor *s, struct worker *worker, bool on); /* and what it was handed is counted */
void steer_off(struct supervisor *s, uint32_t slot);                     /* all workers of the slot */
void steer_apply(struct supervisor *s);
void steer_reattach(struct supervisor *s); /* the program, if a worker has detached it */

/* Apply, and hand what waits to those on the list: of a worker that does not accept, of a slot without one. */
void steer_hand_over(struct supervisor *s, const struct worker *worker);
void steer_move(struct supervisor *s, uint32_t slot);

/* Given to a seat ever, in all groups; the second without datagrams. */
uint64_t steer_handed(const struct supervisor *s, uint32_t seat);
uint64_t steer_connections(const struct supervisor *s, const struct worker *worker);
void steer_forget(struct supervisor *s, const struct sock *sock); /* before its group is closed */

/* ---- slots ---- */

/* The most workers that every listener with a socket for each has room for. */
uint32_t steer_room(const struct supervisor *s);
#define STEER_NO_ROOM "a listener with a socket for each worker has no room for so many; restart clusterd with that number"

int steer_open(struct supervisor *s, struct sock *sock, uint32_t seat, const char **failed);
int steer_add_slots(struct supervisor *s, uint32_t from, uint32_t slots, const char **failed); /* all or none */
void steer_slot_gone(struct supervisor *s, uint32_t slot);

/* ---- workers of a former clusterd: steer_former.c ---- */

/* What steer_restore() needs to know after an upgrade; never 0. */
uint32_t steer_standing(const struct worker *worker);
void steer_restore(struct supervisor *s, const struct worker *worker);

void steer_orphan(struct supervisor *s, uint32_t seat, bool on);
void steer_orphan_gone(struct supervisor *s, uint32_t seat);
bool steer_is_stray(const struct supervisor *s, uint32_t seat); /* it has sockets and no owner */

/* ---- vacancy.c: hash only ---- */

void vacancy_look(struct supervisor *s);   /* at all slots, with the next vacancy_settle() */
void vacancy_settle(struct supervisor *s); /* after each batch */
void vacancy_report(struct supervisor *s, const struct report *report); /* before it is told */

/* Before a worker is spawned: the socket of its slot, or the last one that another slot has left. */
int vacancy_end(struct supervisor *s, uint32_t slot, const char **failed);
int vacancy_open(struct supervisor *s, struct sock *sock, uint32_t slot, const char **failed);

/* The slot has workers, and none of them was started with this listener. False if not balance = hash. */
bool vacancy_lacks(const struct supervisor *s, const struct sock *sock, uint32_t slot);

/* Whether the socket of a slot that goes may be closed; if it is the last, slot 0 has it then. */
bool vacancy_may_close(struct supervisor *s, struct sock *sock, uint32_t slot);

#endif
