/*
 * watch - a worker that takes no connections costs nobody else.
 *
 * GLUE. In round-robin mode each worker has a queue of its own, so one that hangs would
 * keep its share waiting. A worker that takes nothing off its queue (core/taking.h) leaves
 * the list and its queue goes to the siblings. It comes back on trial, at first after
 * TRIAL_MS, then after twice as long each time: what it gets then waits no longer
 * than before. The trial ends when its queue is empty, or when it takes connections for
 * longer than handshakes can feign. It is never killed for that, unless [health] accept says after how long.
 *
 * A seat is looked at only while connections may be waiting in it: the count of
 * those handed out is in memory shared with the kernel, and the queue is asked
 * for only when that has changed since the queue was last seen empty. When nothing
 * has come for IDLE_LOOKS the looks end, until one of the sockets is readable:
 * an idle cluster wakes nobody up.
 */
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/pollset.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/os/scope.h"
#include "supervisor/reload_plan.h"

enum {
	IDLE_LOOKS = 5,
	TRIAL_MS = 1000,
	TRIAL_MAX_MS = 30000,
	REATTACH_MS = 10000,
};

/* Of its own queue for this listener; all 0 if it has none. */
static void see_one(const struct worker *worker, const struct sock *sock, struct taking_seen *ret)
{
	int fd = socket_fd(sock, worker->slot, worker->seat);
	uint32_t waiting, most, dropped;

	*ret = (struct taking_seen){ 0 };
	if (listen_queue(fd, &waiting, &most) == 0 && listen_dropped(fd, &dropped) == 0)
		*ret = (struct taking_seen){
			reuseport_handed(sock->group, worker->seat), dropped, waiting, waiting > most
		};
}

/* What waits there for a listener that the worker was not started with is no queue of its own. */
static void see(const struct supervisor *s, const struct worker *worker, uint64_t handed, struct taking_seen *ret)
{
	struct taking_seen one;

	*ret = (struct taking_seen){ .handed = handed };
	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (!sock_steered(sock) || !reload_names(&worker->launch->policy, sock))
			continue;
		see_one(worker, sock, &one);
		ret->queue += one.queue;
		ret->dropped += one.dropped;
		ret->full |= one.full;
	}
}

void turn_begin(struct turn *turn, const struct worker *worker, const struct sock *sock)
{
	struct taking_seen seen;

	*turn = (struct turn){ .place = 0 };
	see_one(worker, sock, &seen);
	(void)taking_look(&turn->taking, &seen, clock_ms());
}

/* What was handed out by now is before it in the queue, or comes next. */
void turn_queued(struct turn *turn, const struct worker *worker, const struct sock *sock)
{
	struct taking_seen seen;

	see_one(worker, sock, &seen);
	turn->place = seen.handed - seen.dropped;
	turn->queued = true;
}

bool turn_waits(const struct turn *turn, const struct worker *worker, const struct sock *sock)
{
	struct taking taking = turn->taking;
	struct taking_seen seen;

	if (worker->accepting.out || worker->accepting.taking.moved_ms <= taking.still_ms)
		return false;
	see_one(worker, sock, &seen);
	(void)taking_look(&taking, &seen, clock_ms());
	return taking.moved_ms > 0 && seen.queue > 0 && (!turn->queued || taking_above(turn->place, taking_value(&seen)));
}

static void tell(struct supervisor *s, const struct worker *worker, const char *state)
{
	LOG_AT(&s->log, LOG_BALANCE, LOG_LEVEL_WARN, F_TEXT("listener", "*"),
	       F_TEXT("mode", "round-robin"), F_NUM("slot", worker->slot), F_TEXT("state", state));
}

static void leave_out(struct supervisor *s, struct worker *worker, uint64_t now)
{
	struct accepting *a = &worker->accepting;

	if (a->trial_ms == 0)
		a->since_ms = now;
	a->trial_ms = a->trial_ms ? 2 * a->trial_ms : TRIAL_MS;
	if (a->trial_ms > TRIAL_MAX_MS)
		a->trial_ms = TRIAL_MAX_MS;
	a->back_ms = now + a->trial_ms;
	a->out = true;
	if (a->trial_ms == TRIAL_MS)
		tell(s, worker, "takes no connections; it is left out and its queue moved");
	steer_worker(s, worker, false);
	steer_hand_over(s, worker);
	taking_forget(&a->taking);
}

static void is_well(struct supervisor *s, struct worker *worker)
{
	if (worker->accepting.trial_ms > 0 && !worker->accepting.out) {
		tell(s, worker, "takes connections again");
		worker->accepting.trial_ms = 0;
	}
}

/* When to look again, in milliseconds; 0 when there is no reason to. */
static uint64_t look_at(struct supervisor *s, struct worker *worker, uint64_t now)
{
	struct accepting *a = &worker->accepting;
	uint64_t handed = steer_connections(s, worker);
	struct taking_seen seen;

	if (a->out) {
		if (now >= a->back_ms) {
			a->out = false;
			a->idle_handed = handed;
			steer_worker(s, worker, true);
		}
		return TAKING_LOOK_MS;
	}
	if (handed == a->idle_handed) {
		taking_forget(&a->taking); /* nothing has waited while it was idle */
		return a->trial_ms > 0 ? TAKING_LOOK_MS : 0;
	}
	see(s, worker, handed, &seen);
	if (seen.queue == 0) {
		a->idle_handed = handed;
		is_well(s, worker);
	}
	if (taking_look(&a->taking, &seen, now))
		leave_out(s, worker, now);
	else if (a->taking.moved_ms > a->back_ms + TAKING_STILL_MS)
		is_well(s, worker); /* its queue may never be empty */
	return seen.full && !a->out ? TAKING_FULL_LOOK_MS : TAKING_LOOK_MS;
}

/* [health] accept: left out for so long, it counts as hung; but not before a trial has failed, for
 * it may only have paused, or nobody has come since. */
static void judge(struct supervisor *s, struct worker *worker, uint64_t now)
{
	uint64_t most = s->policy.health_accept;

	if (most == 0 || !worker->accepting.out || worker->accepting.trial_ms <= TRIAL_MS ||
	    now - worker->accepting.since_ms < most)
		return;
	worker->accepting = (struct accepting){ .trial_ms = 0 };
	sup_feed(s, &(struct event){
			    .what = EV_UNHEALTHY, .cookie = worker->cookie, .cause = END_HUNG });
}

static uint64_t look_at_slot(struct supervisor *s, uint32_t slot, uint64_t now)
{
	struct instance_view view;
	struct slot_view at;
	struct worker *worker;
	uint64_t next;

	if (!pool_slot(s->pool, slot, &at) || at.cookie == 0)
		return 0;
	worker = worker_find(s, at.cookie);
	if (!worker || !pool_instance(s->pool, at.cookie, &view) || view.state != INSTANCE_READY)
		return 0;
	next = look_at(s, worker, now);
	judge(s, worker, now);
	return next;
}

static void on_watch(uv_timer_t *timer);

static void look_after(struct supervisor *s, uint64_t ms)
{
	uv_timer_start(&s->watch, on_watch, ms, 0);
}

/* An empty set in place of the one that was watched: it forgets all of them in one call. */
static void rest_ends(struct supervisor *s)
{
	if (!s->arrival.open)
		return;
	ear_close(&s->hearing, &s->arrival);
	fd_close(&s->arrivals_fd);
	s->arrivals_fd = pollset_open();
}

void watch_wake(struct supervisor *s)
{
	if (!s->arrival.open)
		return;
	rest_ends(s);
	s->watch_idle = 0;
	s->watch_ms = clock_ms();
	look_after(s, TAKING_LOOK_MS);
}

static void on_arrival(void *owner)
{
	watch_wake(owner);
}

static int add_seats(const struct supervisor *s, const struct sock *sock)
{
	int rc = 0;

	for (uint32_t seat = 0; rc == 0 && seat < s->steer.size; seat++)
		if (reuseport_fd(sock->group, seat) >= 0)
			rc = pollset_add(s->arrivals_fd, reuseport_fd(sock->group, seat), NULL);
	return rc;
}

/* No look until a socket is readable. False if that can not be had: then the looks go on. */
static bool rest(struct supervisor *s)
{
	int rc = ear_open(&s->hearing, &s->arrival, s->arrivals_fd, on_arrival, s);

	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++)
		/* While nobody who is ready has the listener, what waits there is nobody's queue. */
		if (sock_steered(&s->socks[i]) && s->socks[i].served)
			rc = add_seats(s, &s->socks[i]);
	if (rc != 0)
		rest_ends(s);
	return rc == 0;
}

/* While clusterd was kept from looking the workers may have been kept from taking: that counts as one look. */
static void forgive(struct supervisor *s, uint64_t since_ms)
{
	if (since_ms <= 2 * TAKING_LOOK_MS)
		return;
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		for (struct worker *w = s->workers[i]; w; w = w->hash_next)
			taking_forgive(&w->accepting.taking, since_ms - TAKING_LOOK_MS);
}

static void on_watch(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	uint64_t now = clock_ms();
	uint64_t soonest = 0, next;

	forgive(s, now - s->watch_ms);
	s->watch_ms = now;
	for (uint32_t slot = 0; slot < s->slots_max && !s->stopping; slot++)
		if ((next = look_at_slot(s, slot, now)) > 0 && (soonest == 0 || next < soonest))
			soonest = next;
	s->watch_idle = soonest > 0 ? 0 : s->watch_idle + 1;
	if (now - s->reattach_ms >= REATTACH_MS) {
		s->reattach_ms = now;
		steer_reattach(s);
	}
	steer_apply(s);
	if (s->watch_idle < IDLE_LOOKS || !rest(s))
		look_after(s, soonest > 0 ? soonest : TAKING_LOOK_MS);
}

/* There is something to watch only where connections are steered. */
void watch_policy(struct supervisor *s)
{
	rest_ends(s);
	if (!steer_used(s)) {
		uv_timer_stop(&s->watch);
		return;
	}
	s->watch_ms = clock_ms();
	if (!uv_is_active((uv_handle_t *)&s->watch))
		look_after(s, TAKING_LOOK_MS);
}

int watch_start(struct supervisor *s)
{
	int rc = uv_timer_init(&s->loop, &s->watch);

	if (rc < 0)
		return rc;
	s->watch.data = s;
	s->watch_open = true;
	s->arrivals_fd = pollset_open(); /* without it the looks never end */
	watch_policy(s);
	return 0;
}

void watch_stop(struct supervisor *s)
{
	if (s->watch_open)
		uv_close((uv_handle_t *)&s->watch, NULL);
	s->watch_open = false;
	ear_close(&s->hearing, &s->arrival);
	fd_close(&s->arrivals_fd);
}
