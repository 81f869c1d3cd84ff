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

bool sock_steered(const struct sock *sock)
{
	return sock->in_use && sock->group && sock->mode == BALANCE_ROUND_ROBIN;
}

/* ---- seats ---- */

static bool any_steered(const struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (sock_steered(&s->socks[i]))
			return true;
	return false;
}

/* Sockets for the seat in every group that has none yet. */
int steer_furnish(struct supervisor *s, uint32_t seat, const char **failed)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!sock_steered(sock) || reuseport_fd(sock->group, seat) >= 0)
			continue;
		rc = reuseport_add(sock->group, seat, failed);
		if (rc == 0 && s->hangup_fd >= 0)
			sockets_watch_slot(s, sock, seat);
	}
	return rc;
}

/* One beyond the slots, or that of a slot which is not wanted; steer->size if there is none. */
static uint32_t free_seat(const struct supervisor *s)
{
	const struct steer *steer = &s->steer;
	struct pool_view view;

	for (uint32_t seat = s->slots_max; seat < steer->size; seat++)
		if (steer->owner[seat] == 0)
			return seat;
	pool_view(s->pool, &view);
	for (uint32_t seat = view.wanted; seat < s->slots_max && seat < steer->size; seat++)
		if (steer->owner[seat] == 0)
			return seat;
	return steer->size;
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

	if (!any_steered(s) || slot >= steer->size)
		return slot;
	if (steer->owner[slot] != 0)
		seat = free_seat(s);
	if (seat >= steer->size || steer_furnish(s, seat, &failed) < 0)
		seat = slot;
	if (steer->owner[seat] == 0)
		steer->owner[seat] = cookie;
	else
		steer->shared = true;
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

/* Who shares the seat and stays; where there was a seat for each, nobody. */
static struct worker *heir_of(struct supervisor *s, const struct worker *worker, bool *ret_ready)
{
	struct instance_view view;
	struct worker *heir = NULL;

	*ret_ready = false;
	for (uint32_t i = 0; s->steer.shared && i < WORKER_HASH; i++)
		for (struct worker *w = s->workers[i]; w && !*ret_ready; w = w->hash_next) {
			if (w == worker || w->seat != worker->seat || !pool_instance(s->pool, w->cookie, &view) ||
			    view.state > INSTANCE_READY)
				continue;
			heir = w;
			*ret_ready = view.state == INSTANCE_READY;
		}
	return heir;
}

/* The owner leaves: the seat is that of who shares it, and stays on the list if he is ready. */
static bool bequeath(struct supervisor *s, struct worker *worker)
{
	bool ready;
	struct worker *heir = heir_of(s, worker, &ready);

	if (!heir)
		return false;
	credit(s, worker);
	s->steer.owner[worker->seat] = heir->cookie;
	heir->handed_before = steer_handed(s, worker->seat);
	steer_seat(s, worker->seat, ready);
	return true;
}

/* Of two that share a seat only the owner takes it off the list: also when the last group has gone. */
void steer_worker(struct supervisor *s, struct worker *worker, bool on)
{
	bool owns = worker->seat < s->steer.size && s->steer.owner[worker->seat] == worker->cookie;

	if (on && any_steered(s))
		steer_seat(s, worker->seat, true);
	else if (!on && owns && !bequeath(s, worker))
		steer_seat(s, worker->seat, false);
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

		if (sock_steered(sock) && sock->config.address.kind == ADDRESS_TCP &&
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
		if (sock_steered(&s->socks[i]) && reuseport_reattach(s->socks[i].group, &failed) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: %s failed; connections go by hash",
			         s->socks[i].config.name, failed);
}

/* A seat that is not a wanted slot's own goes with its owner; the first is never closed. */
void steer_give_up(struct supervisor *s, uint32_t seat)
{
	struct pool_view view;
	const char *failed;

	s->steer.owner[seat] = 0;
	steer_seat(s, seat, false);
	steer_apply(s);
	move_queue(s, seat);
	pool_view(s->pool, &view);
	for (uint32_t i = 0; seat > 0 && seat >= view.wanted && i < s->sock_count; i++)
		if (sock_steered(&s->socks[i]))
			reuseport_remove(s->socks[i].group, seat, &failed);
}

void steer_leave_seat(struct supervisor *s, struct worker *worker)
{
	struct steer *steer = &s->steer;
	uint32_t seat = worker->seat;

	if (seat >= steer->size || steer->owner[seat] != worker->cookie)
		return;
	if (bequeath(s, worker)) {
		steer_apply(s);
		move_queue(s, seat);
		return;
	}
	credit(s, worker);
	steer_give_up(s, seat);
}

/* The counts of the listener go with it; what it has handed out so far must not. */
void steer_forget(struct supervisor *s, const struct sock *sock)
{
	FOR_EACH_WORKER (s, w) {
		credit(s, w);
		w->handed_before -= reuseport_handed(sock->group, w->seat);
	}
}

/* ---- the list ---- */

static bool is_udp(const struct sock *sock)
{
	return sock->config.address.kind == ADDRESS_UDP;
}

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

/*
 * A replacement that is ready while the worker that it replaces serves: were it on the list of datagrams
 * now it would take flows from everybody; as his successor it gets all of his, and no other one moves.
 */
static bool is_spare(struct supervisor *s, const struct worker *worker)
{
	const struct worker *current;
	struct slot_view view;

	if (!worker || !pool_slot(s->pool, worker->slot, &view) || view.next_cookie != worker->cookie)
		return false;
	current = view.cookie ? worker_find(s, view.cookie) : NULL;
	return current && current->seat < s->steer.size && s->steer.place[current->seat] != 0;
}

/* In the roll of a reload that adds or removes this listener only some of the workers have it. */
static int steer_some(struct supervisor *s, const struct sock *sock, uint32_t *ret_count, const char **failed)
{
	const struct steer *steer = &s->steer;
	uint32_t *some = malloc((2 * steer->count + 1) * sizeof *some), *keys = some + steer->count, count = 0;
	int rc;

	*failed = "memory";
	if (!some)
		return -ENOMEM;
	for (uint32_t i = 0; i < steer->count; i++) {
		const struct worker *worker = worker_find(s, steer->owner[steer->list[i]]);

		if (!has(s, steer->list[i], sock) || (is_udp(sock) && is_spare(s, worker)))
			continue;
		keys[count] = worker ? worker->slot : steer->list[i];
		some[count++] = steer->list[i];
	}
	rc = reuseport_steer_keys(sock->group, some, keys, count, failed);
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

		if (!sock_steered(sock))
			continue;
		rc = reload_all_name(s, sock) && !is_udp(sock) ? reuseport_steer(sock->group, s->steer.list, count, &failed)
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
	FOR_EACH_WORKER (s, w)
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
		if (s->socks[i].group && !(taken && sock_steered(&s->socks[i])) && vacancy_may_close(s, &s->socks[i], slot))
			reuseport_remove(s->socks[i].group, slot, &failed);
}
