/*
 * watch - a worker that takes no connections costs nobody else.
 *
 * GLUE. In round-robin mode each worker has a queue of its own, so one that hangs would
 * keep its share waiting. A worker whose queue does not move for STUCK_MS leaves the
 * list and its queue goes to the siblings. It comes back on trial, at first after
 * TRIAL_MS, then after twice as long each time: what it gets then waits STUCK_MS at
 * the most. It is never killed for that, unless [health] accept says after how long.
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
	LOOK_MS = 100,
	IDLE_LOOKS = 5,
	STUCK_MS = 300,
	TRIAL_MS = 1000,
	TRIAL_MAX_MS = 30000,
	REATTACH_MS = 10000,
};

/* What waits there for a listener that the worker was not started with is no queue of its own. */
static int64_t queue_of(const struct supervisor *s, const struct worker *worker)
{
	int64_t queue = 0;
	uint32_t waiting, most;

	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->group && sock->mode == BALANCE_ROUND_ROBIN &&
		    reload_names(&worker->launch->policy, sock) &&
		    listen_queue(socket_fd(sock, worker->slot, worker->seat), &waiting, &most) == 0)
			queue += waiting;
	}
	return queue;
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
	a->stuck_ms = 0;
}

static void is_well(struct supervisor *s, struct worker *worker)
{
	if (worker->accepting.trial_ms > 0 && !worker->accepting.out) {
		tell(s, worker, "takes connections again");
		worker->accepting.trial_ms = 0;
	}
}

/* True when there is a reason to look again soon. */
static bool look_at(struct supervisor *s, struct worker *worker, uint64_t now)
{
	struct accepting *a = &worker->accepting;
	uint64_t handed = steer_connections(s, worker), taken;
	int64_t queue;

	if (a->out) {
		if (now >= a->back_ms) {
			a->out = false;
			a->idle_handed = handed;
			steer_worker(s, worker, true);
		}
		return true;
	}
	if (handed == a->idle_handed) {
		a->stuck_ms = 0; /* nothing has waited while it was idle */
		return a->trial_ms > 0;
	}
	queue = queue_of(s, worker);
	taken = handed - (uint64_t)queue;
	if (queue == 0) {
		a->idle_handed = handed;
		is_well(s, worker);
	}
	if (queue == 0 || taken != a->taken || a->stuck_ms == 0)
		a->stuck_ms = now;
	else if (now - a->stuck_ms >= STUCK_MS)
		leave_out(s, worker, now);
	a->taken = taken;
	return true;
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

static bool look_at_slot(struct supervisor *s, uint32_t slot, uint64_t now)
{
	struct instance_view view;
	struct slot_view at;
	struct worker *worker;
	bool busy;

	if (!pool_slot(s->pool, slot, &at) || at.cookie == 0)
		return false;
	worker = worker_find(s, at.cookie);
	if (!worker || !pool_instance(s->pool, at.cookie, &view) || view.state != INSTANCE_READY)
		return false;
	busy = look_at(s, worker, now);
	judge(s, worker, now);
	return busy;
}

static void on_watch(uv_timer_t *timer);

static void look_soon(struct supervisor *s)
{
	uv_timer_start(&s->watch, on_watch, LOOK_MS, 0);
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
	look_soon(s);
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

static void on_watch(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	uint64_t now = clock_ms();
	bool busy = false;

	/* After a pause of our own nothing that was seen before can be judged. */
	if (now - s->watch_ms > LATE_MS)
		for (uint32_t i = 0; i < WORKER_HASH; i++)
			for (struct worker *w = s->workers[i]; w; w = w->hash_next)
				w->accepting.stuck_ms = 0;
	s->watch_ms = now;
	for (uint32_t slot = 0; slot < s->slots_max && !s->stopping; slot++)
		busy |= look_at_slot(s, slot, now);
	s->watch_idle = busy ? 0 : s->watch_idle + 1;
	if (now - s->reattach_ms >= REATTACH_MS) {
		s->reattach_ms = now;
		steer_reattach(s);
	}
	steer_apply(s);
	if (s->watch_idle < IDLE_LOOKS || !rest(s))
		look_soon(s);
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
		look_soon(s);
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
