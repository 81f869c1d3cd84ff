/*
 * steer - which workers get new connections, in the modes with one socket each.
 *
 * GLUE. A seat is a place in every round-robin group: one socket, one owner. A worker
 * takes a seat when it is spawned, the one with the number of its slot if that is
 * free, so that during a roll the old and the new worker of a slot have queues of
 * their own: the old one leaves the list, and a probe reaches the new one only.
 * When the owner is gone the seat is given up and what still waits in its queue
 * goes to the siblings.
 *
 * The list of seats is written before a worker is reported ready or is told to stop,
 * and else once after each batch of events, so that a thousand deaths at once cost
 * one write. In hash groups a worker always has the socket of its slot; see vacancy.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/reload_plan.h"

enum { SEATS_PER_SLOT = 4, SEATS_MIN = 64 };

/* Part of the state of an upgrade. */
enum { STANDING_KNOWN = 1, STANDING_OWNER = 2, STANDING_LISTED = 4 };

#define ORPHAN_COOKIE UINT32_MAX /* the core counts cookies from 1 on */

/* How many seats a group made for so many workers has. */
uint32_t steer_seats(uint32_t workers)
{
	uint32_t seats = SEATS_MIN;

	while (seats < SEATS_PER_SLOT * workers && seats < REUSEPORT_SLOTS_MAX)
		seats *= 2;
	return seats;
}

static void *grown(void *old, size_t had, size_t count, size_t each)
{
	void *fresh = calloc(count, each);

	if (fresh && had > 0)
		memcpy(fresh, old, had * each);
	return fresh;
}

int steer_grow(struct supervisor *s, uint32_t slots)
{
	struct steer *steer = &s->steer;
	uint32_t seats = steer_seats(slots);
	struct steer fresh = *steer;

	if (seats <= steer->size)
		return 0;
	fresh.list = grown(steer->list, steer->size, seats, sizeof *fresh.list);
	fresh.place = grown(steer->place, steer->size, seats, sizeof *fresh.place);
	fresh.owner = grown(steer->owner, steer->size, seats, sizeof *fresh.owner);
	fresh.size = seats;
	if (!fresh.list || !fresh.place || !fresh.owner) {
		free(fresh.list);
		free(fresh.place);
		free(fresh.owner);
		return -ENOMEM;
	}
	steer_free(s);
	*steer = fresh;
	return 0;
}

void steer_free(struct supervisor *s)
{
	free(s->steer.list);
	free(s->steer.place);
	free(s->steer.owner);
	s->steer.list = s->steer.place = s->steer.owner = NULL;
}

static bool steered(const struct sock *sock)
{
	return sock->in_use && sock->group && sock->mode == BALANCE_ROUND_ROBIN;
}

/* ---- seats ---- */

static bool any_steered(const struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (steered(&s->socks[i]))
			return true;
	return false;
}

/* Sockets for the seat in every group that has none yet. */
int steer_furnish(struct supervisor *s, uint32_t seat, const char **failed)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!steered(sock) || reuseport_fd(sock->group, seat) >= 0)
			continue;
		rc = reuseport_add(sock->group, seat, failed);
		if (rc == 0 && s->hangup_fd >= 0)
			sockets_watch_slot(s, sock, seat);
	}
	return rc;
}

/*
 * The seat for a new worker. When none can be had it shares the one of its slot
 * with the worker that is there: nothing is lost by that, only less exact.
 */
uint32_t steer_take_seat(struct supervisor *s, uint32_t slot, uint32_t cookie)
{
	struct steer *steer = &s->steer;
	const char *failed = "";
	uint32_t seat = slot;

	if (!any_steered(s))
		return slot;
	if (steer->owner[slot] != 0)
		for (seat = s->slots_max; seat < steer->size && steer->owner[seat] != 0; seat++)
			;
	if (seat >= steer->size || steer_furnish(s, seat, &failed) < 0)
		seat = slot;
	if (steer->owner[seat] == 0)
		steer->owner[seat] = cookie;
	return seat;
}

/* place[seat] is 1 + its index in the list, or 0. */
void steer_seat(struct supervisor *s, uint32_t seat, bool on)
{
	struct steer *steer = &s->steer;
	uint32_t at;

	if (seat >= steer->size || on == (steer->place[seat] != 0))
		return;
	steer->dirty = true;
	if (on) {
		steer->list[steer->count++] = seat;
		steer->place[seat] = steer->count;
		return;
	}
	at = steer->place[seat] - 1;
	steer->place[seat] = 0;
	steer->list[at] = steer->list[--steer->count];
	if (at < steer->count)
		steer->place[steer->list[at]] = at + 1;
}

uint64_t steer_handed(const struct supervisor *s, uint32_t seat)
{
	uint64_t handed = 0;

	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].group && seat < s->steer.size)
			handed += reuseport_handed(s->socks[i].group, seat);
	return handed;
}

/* Without datagrams, of which the queue tells nothing. */
uint64_t steer_connections(const struct supervisor *s, const struct worker *worker)
{
	uint64_t handed = 0;

	for (uint32_t i = 0; i < s->sock_count && worker->seat < s->steer.size; i++)
		if (s->socks[i].group && s->socks[i].config.address.kind == ADDRESS_TCP &&
		    reload_names(&worker->launch->policy, &s->socks[i]))
			handed += reuseport_handed(s->socks[i].group, worker->seat);
	return handed;
}

/* What it was handed so far is the slot's for good. */
static void credit(struct supervisor *s, struct worker *worker)
{
	uint64_t handed = steer_handed(s, worker->seat);

	if (worker->seat < s->steer.size && s->steer.owner[worker->seat] == worker->cookie)
		s->memory[worker->slot].handed += handed - worker->handed_before;
	worker->handed_before = handed;
}

/* Of two that share a seat only the owner takes it off the list: also when the last group has gone. */
void steer_worker(struct supervisor *s, struct worker *worker, bool on)
{
	if (worker->seat < s->steer.size &&
	    (on ? any_steered(s) : s->steer.owner[worker->seat] == worker->cookie))
		steer_seat(s, worker->seat, on);
	credit(s, worker);
}

/* Hands what waits in the queues of a seat that is not on the list to those that are; they wait where
 * they are if there is nobody. */
static void move_queue(struct supervisor *s, uint32_t seat)
{
	const char *failed = "";

	if (seat < s->steer.size && s->steer.place[seat] != 0)
		return;
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (steered(sock) && sock->config.address.kind == ADDRESS_TCP &&
		    reuseport_fd(sock->group, seat) >= 0)
			reuseport_move_queue(sock->group, seat, &failed);
	}
}

bool steer_used(const struct supervisor *s)
{
	return any_steered(s);
}

void steer_hand_over(struct supervisor *s, const struct worker *worker)
{
	steer_apply(s);
	move_queue(s, worker->seat);
}

/* A worker can detach the program from its socket, and nothing tells of it (reuseport.h). */
void steer_reattach(struct supervisor *s)
{
	const char *failed = "";

	for (uint32_t i = 0; i < s->sock_count; i++)
		if (steered(&s->socks[i]) && reuseport_reattach(s->socks[i].group, &failed) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: %s failed; connections go by hash",
			         s->socks[i].config.name, failed);
}

/* The owner has ended. A seat beyond the slots' own goes with it. */
static void give_up_seat(struct supervisor *s, uint32_t seat)
{
	const char *failed;

	s->steer.owner[seat] = 0;
	steer_seat(s, seat, false);
	steer_apply(s);
	move_queue(s, seat);
	for (uint32_t i = 0; seat >= s->slots_max && i < s->sock_count; i++)
		if (steered(&s->socks[i]))
			reuseport_remove(s->socks[i].group, seat, &failed);
}

void steer_leave_seat(struct supervisor *s, struct worker *worker)
{
	struct steer *steer = &s->steer;
	uint32_t seat = worker->seat;

	if (seat >= steer->size || steer->owner[seat] != worker->cookie)
		return;
	credit(s, worker);
	give_up_seat(s, seat);
}

/* The counts of the listener go with it; what it has handed out so far must not. */
void steer_forget(struct supervisor *s, const struct sock *sock)
{
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		for (struct worker *w = s->workers[i]; w; w = w->hash_next) {
			credit(s, w);
			w->handed_before -= reuseport_handed(sock->group, w->seat);
		}
}

/* ---- orphans ---- */

/* Theirs is a seat of its own beyond those of the slots, so that what is asked of a new worker never
 * reaches one of them. */
void steer_orphan(struct supervisor *s, uint32_t seat, bool on)
{
	if (seat >= s->steer.size)
		return;
	s->steer.owner[seat] = ORPHAN_COOKIE;
	steer_seat(s, seat, on);
}

/* It has a socket, and no worker sits there. */
bool steer_is_stray(const struct supervisor *s, uint32_t seat)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (steered(&s->socks[i]) && reuseport_fd(s->socks[i].group, seat) >= 0)
			return s->steer.owner[seat] == 0;
	return false;
}

void steer_orphan_gone(struct supervisor *s, uint32_t seat)
{
	if (seat < s->steer.size && s->steer.owner[seat] == ORPHAN_COOKIE)
		give_up_seat(s, seat);
}

/* ---- the list ---- */

/* What orphans have is not known. */
static bool has(struct supervisor *s, uint32_t seat, const struct sock *sock)
{
	const struct worker *worker = worker_find(s, s->steer.owner[seat]);

	return !worker || reload_names(&worker->launch->policy, sock);
}

/*
 * While nobody who has the listener is ready its connections wait in all queues (reuseport_steer). When
 * the first one is, those in seats without such a worker are handed over to it.
 */
static void gather_strays(struct supervisor *s, const struct sock *sock)
{
	const char *failed;

	for (uint32_t seat = 0; sock->config.address.kind == ADDRESS_TCP && seat < s->steer.size; seat++)
		if (reuseport_fd(sock->group, seat) >= 0 && (s->steer.owner[seat] == 0 || !has(s, seat, sock)))
			reuseport_move_queue(sock->group, seat, &failed);
}

/* In the roll of a reload that adds or removes this listener only some of the workers have it. */
static int steer_some(struct supervisor *s, const struct sock *sock, uint32_t *ret_count, const char **failed)
{
	const struct steer *steer = &s->steer;
	uint32_t *some = malloc((steer->count + 1) * sizeof *some), count = 0;
	int rc;

	*failed = "memory";
	if (!some)
		return -ENOMEM;
	for (uint32_t i = 0; i < steer->count; i++)
		if (has(s, steer->list[i], sock))
			some[count++] = steer->list[i];
	rc = reuseport_steer(sock->group, some, count, failed);
	free(some);
	*ret_count = count;
	return rc;
}

void steer_apply(struct supervisor *s)
{
	const char *failed = "";

	if (!s->steer.dirty)
		return;
	s->steer.dirty = false;
	watch_wake(s);
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];
		uint32_t count = s->steer.count;
		int rc;

		if (!steered(sock))
			continue;
		rc = reload_all_name(s, sock) ? reuseport_steer(sock->group, s->steer.list, count, &failed)
		                              : steer_some(s, sock, &count, &failed);
		if (rc < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: steering: %s: %s",
			         sock->config.name, failed, strerror(-rc));
		else if (count > 0 && !sock->served)
			gather_strays(s, sock);
		sock->served = rc >= 0 && count > 0;
	}
}

/* No worker of the slot may get anything new: each leaves the list. */
void steer_off(struct supervisor *s, uint32_t slot)
{
	struct slot_view view;
	const struct worker *worker;

	if (!pool_slot(s->pool, slot, &view))
		return;
	worker = view.cookie ? worker_find(s, view.cookie) : NULL;
	if (worker)
		steer_seat(s, worker->seat, false);
	worker = view.next_cookie ? worker_find(s, view.next_cookie) : NULL;
	if (worker)
		steer_seat(s, worker->seat, false);
}

/* Of the slot's workers, wherever they sit. */
static void move_owned(struct supervisor *s, uint32_t slot)
{
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		for (const struct worker *w = s->workers[i]; w; w = w->hash_next)
			if (w->slot == slot && w->seat < s->steer.size && s->steer.owner[w->seat] == w->cookie)
				move_queue(s, w->seat);
}

/*
 * The slot has lost its last ready worker while others serve: what waits there need not wait for the next.
 * The worker of another slot may sit in the seat that has its number.
 */
void steer_move(struct supervisor *s, uint32_t slot)
{
	struct slot_view view;

	steer_apply(s);
	if (!any_steered(s) || slot >= s->steer.size || !pool_slot(s->pool, slot, &view))
		return;
	if (s->steer.owner[slot] == 0)
		move_queue(s, slot);
	if (view.cookie || view.next_cookie || view.old)
		move_owned(s, slot);
}

uint32_t steer_standing(const struct worker *worker)
{
	const struct steer *steer = &worker->s->steer;
	uint32_t seat = worker->seat, standing = STANDING_KNOWN;

	if (seat < steer->size && steer->owner[seat] == worker->cookie)
		standing |= STANDING_OWNER;
	if (seat < steer->size && steer->place[seat] != 0)
		standing |= STANDING_LISTED;
	return standing;
}

/* As far as an older clusterd lets one know. */
static uint32_t guess_standing(const struct supervisor *s, const struct worker *worker)
{
	struct instance_view view;
	uint32_t standing = s->steer.owner[worker->seat] == 0 ? STANDING_OWNER : 0;

	if (pool_instance(s->pool, worker->cookie, &view) && view.state == INSTANCE_READY)
		standing |= STANDING_LISTED;
	return standing;
}

/*
 * After an upgrade: the owners, and who was on the list. A worker that is ready need be neither: one that
 * is left out, or that was started before there was a listener to steer.
 */
void steer_restore(struct supervisor *s, const struct worker *worker)
{
	uint32_t standing = worker->standing;

	if (!any_steered(s) || worker->seat >= s->steer.size)
		return;
	if (!(standing & STANDING_KNOWN))
		standing = guess_standing(s, worker);
	if (standing & STANDING_OWNER)
		s->steer.owner[worker->seat] = worker->cookie;
	if (standing & STANDING_LISTED)
		steer_seat(s, worker->seat, true);
}

/* ---- the slots' own seats ---- */

int steer_open(struct supervisor *s, struct sock *sock, uint32_t seat, const char **failed)
{
	int rc = reuseport_add(sock->group, seat, failed);

	return rc == 0 && s->hangup_fd >= 0 ? sockets_watch_slot(s, sock, seat) : rc;
}

/* Sockets for the slots up to `slots` in every group. On error those that were added are gone. */
int steer_add_slots(struct supervisor *s, uint32_t from, uint32_t slots, const char **failed)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->sock_count; i++)
		for (uint32_t slot = from; rc == 0 && s->socks[i].group && slot < slots; slot++) {
			rc = vacancy_open(s, &s->socks[i], slot, failed);
			if (rc == -EINVAL)
				*failed = "a listener with a socket for each worker has no room for so "
				          "many; restart clusterd with that number";
			if (rc == -EEXIST)
				rc = 0; /* the slot's former worker still leaves */
		}
	if (rc < 0)
		for (uint32_t slot = from; slot < slots; slot++)
			steer_slot_gone(s, slot);
	return rc;
}

void steer_slot_gone(struct supervisor *s, uint32_t slot)
{
	/* By another slot's worker, which takes the steered sockets with it. */
	bool taken = slot < s->steer.size && s->steer.owner[slot] != 0;
	const char *failed;

	if (!taken) {
		steer_seat(s, slot, false);
		steer_apply(s);
	}
	if (slot == 0)
		return; /* the cluster is paused: the port stays ours, and connections wait here */
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].group && !(taken && steered(&s->socks[i])) && vacancy_may_close(s, &s->socks[i], slot))
			reuseport_remove(s->socks[i].group, slot, &failed);
}
