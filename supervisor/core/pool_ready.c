#include "supervisor/core/pool_impl.h"

#include "supervisor/core/recycle.h"
#include "supervisor/core/replace.h"

static void watch(struct pool *pool, uint32_t index)
{
	uint32_t watchdog_ms = pool->instances[index].watchdog_ms;

	instance_set_due(pool, index, DUE_WATCHDOG,
			 watchdog_ms ? pool_after(pool, watchdog_ms) : NEVER_MS);
}

/* Spread by jitter to the younger side, so that none gets older than the policy allows. */
void instance_lifetime(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];
	uint64_t lifetime = pool->policy->recycle_max_lifetime;
	uint64_t spread = lifetime * pool->policy->recycle_jitter / 100;
	uint64_t due = NEVER_MS;

	if (lifetime)
		due = instance->ready_ms + lifetime - spread * (pool_dice(pool) % 1024) / 1024;
	instance_set_due(pool, index, DUE_LIFETIME, due);
}

void ready_now(struct pool *pool, uint32_t index, enum ready_how how)
{
	struct instance *instance = &pool->instances[index];

	instance->ready_ms = pool->now_ms;
	instance_set_due(pool, index, DUE_START, NEVER_MS);
	instance_set_due(pool, index, DUE_ALIVE, NEVER_MS);
	instance_set_state(pool, index, INSTANCE_READY);
	watch(pool, index);
	instance_lifetime(pool, index);
	pool->ever_ready = true;
	slot_settle(pool, instance->slot);
	pool_report(pool, &(struct report){ .what = REPORT_READY,
					    .slot = instance->slot,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .how = how,
					    .ms = pool->now_ms - instance->spawned_ms });
	if (instance->role == ROLE_NEXT)
		replace_ready(pool, index, how);
}

void ready_lost(struct pool *pool, uint32_t index, enum end_cause cause)
{
	struct instance *instance = &pool->instances[index];
	uint32_t s = instance->slot;

	if (instance_leaving(instance))
		return;
	if (instance->role == ROLE_NEXT) {
		instance_retire(pool, index);
		stop_begin(pool, index, cause);
		slot_steer(pool, s);
		replace_failed(pool, s, instance->cookie);
	} else {
		stop_begin(pool, index, cause);
		replace_unserved(pool, s);
	}
}

/* ---- what the worker says ---- */

void on_spawned(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	const struct policy *policy = pool->policy;
	struct instance *instance;
	enum pending pending;
	bool alive;

	if (index == NO_INDEX || pool->instances[index].spawned)
		return;
	instance = &pool->instances[index];
	if (event->policy)
		instance_told(pool, index, event->policy);
	instance->spawned = true;
	instance->spawned_ms = pool->now_ms;
	pool->ever_spawned = true;
	pending = instance->pending;
	instance->pending = PENDING_NOTHING;
	if (pending == PENDING_KILL) {
		stop_kill(pool, index);
		return;
	}
	if (pending == PENDING_STOP) {
		stop_begin(pool, index, instance->cause);
		return;
	}
	alive = (instance->when == READY_AUTO && !event->told) || instance->when == READY_ALIVE;
	if (alive && policy->ready_after == 0) {
		ready_now(pool, index, HOW_ALIVE);
		return;
	}
	if (alive)
		instance_set_due(pool, index, DUE_ALIVE, pool_after(pool, policy->ready_after));
	if (policy->ready_timeout)
		instance_set_due(pool, index, DUE_START, pool_after(pool, policy->ready_timeout));
}

void on_ready(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);

	if (index == NO_INDEX || !pool->instances[index].spawned ||
	    pool->instances[index].state != INSTANCE_STARTING)
		return;
	if (pool->instances[index].when != READY_ALIVE)
		ready_now(pool, index, event->how);
}

/*
 * It takes no new connections from now on. If it does not end within the time that a
 * stop may take, it is hung.
 */
void on_stopping(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	struct instance *instance;

	if (index == NO_INDEX)
		return;
	instance = &pool->instances[index];
	if (!instance->spawned || instance->state > INSTANCE_READY)
		return;
	instance_clear_dues(pool, index);
	instance_set_state(pool, index, INSTANCE_DRAINING);
	instance_set_due(pool, index, DUE_STOP, pool_after(pool, pool->policy->stop_timeout));
	replace_unserved(pool, instance->slot);
}

static void extend(struct pool *pool, uint32_t index, enum due due, uint64_t at_ms)
{
	uint64_t now = pool->instances[index].due_ms[due];

	if (now != NEVER_MS && now < at_ms)
		instance_set_due(pool, index, due, at_ms);
}

/* Who only waits for [stop] drain_delay to be over has not been asked to stop yet. */
void on_extend(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	const struct instance *instance;
	bool stops;

	if (index == NO_INDEX)
		return;
	instance = &pool->instances[index];
	stops = instance->state == INSTANCE_STOPPING ||
		(instance->state == INSTANCE_DRAINING && instance->cause == END_SELF);
	extend(pool, index, DUE_START, pool_after(pool, event->delay_ms));
	if (stops)
		extend(pool, index, DUE_STOP, pool_after(pool, event->delay_ms));
}

void on_ping(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);

	if (index != NO_INDEX && pool->instances[index].state == INSTANCE_READY)
		watch(pool, index);
}

void on_unhealthy(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	enum end_cause cause = (enum end_cause)event->cause;

	if (index == NO_INDEX || !decide_hung(cause))
		return;
	if (pool->instances[index].state <= INSTANCE_READY && pool->instances[index].spawned)
		ready_lost(pool, index, cause);
}

void on_recycle(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);

	if (index != NO_INDEX && !pool->stopping)
		recycle_want(pool, index, event->cause == END_LIFETIME ? END_LIFETIME : END_RSS);
}

/* ---- its deadlines ---- */

static void due_alive(struct pool *pool, uint32_t index)
{
	ready_now(pool, index, HOW_ALIVE);
}

static void due_start(struct pool *pool, uint32_t index)
{
	ready_lost(pool, index, END_TIMEOUT);
}

static void due_proven(struct pool *pool, uint32_t index)
{
	replace_proven(pool, pool->instances[index].slot);
}

static void due_watchdog(struct pool *pool, uint32_t index)
{
	ready_lost(pool, index, END_WATCHDOG);
}

static void due_lifetime(struct pool *pool, uint32_t index)
{
	recycle_want(pool, index, END_LIFETIME);
}

/* One deadline at a time: what it causes may change the others. */
void instance_due_now(struct pool *pool, uint32_t index)
{
	static void (*const handlers[DUES])(struct pool *, uint32_t) = {
		[DUE_ALIVE] = due_alive,       [DUE_START] = due_start,
		[DUE_PROVEN] = due_proven,     [DUE_WATCHDOG] = due_watchdog,
		[DUE_LIFETIME] = due_lifetime, [DUE_STOP] = stop_due,
	};

	for (int due = 0; due < DUES; due++) {
		if (pool->instances[index].due_ms[due] > pool->now_ms)
			continue;
		instance_set_due(pool, index, (enum due)due, NEVER_MS);
		handlers[due](pool, index);
		return;
	}
}
