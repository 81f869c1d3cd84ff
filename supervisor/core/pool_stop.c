#include "supervisor/core/pool_impl.h"

#include "supervisor/core/replace.h"
#include "supervisor/core/roll.h"

/* A worker that is asked to leave while it serves may serve on for a while. */
static bool drains(enum end_cause cause)
{
	return decide_asked(cause) && cause != END_KILL;
}

static void send_signal(struct pool *pool, const struct instance *instance, int signal, bool group)
{
	pool_emit(pool, &(struct action){ .what = ACT_SIGNAL,
					  .slot = instance->slot,
					  .cookie = instance->cookie,
					  .signal = signal,
					  .group = group,
					  .cont = signal != SIGKILL });
}

static void report_stop(struct pool *pool, const struct instance *instance, int signal,
			enum report_what what)
{
	pool_report(pool, &(struct report){ .what = what,
					    .slot = instance->slot,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .signal = signal,
					    .cause = instance->cause });
}

void stop_kill(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];

	if (!instance->spawned) {
		instance->pending = PENDING_KILL;
		slot_steer(pool, instance->slot);
		return;
	}
	if (instance->state == INSTANCE_KILLED)
		return;
	instance_clear_dues(pool, index);
	instance_set_state(pool, index, INSTANCE_KILLED);
	instance->killed_ms = pool->now_ms;
	send_signal(pool, instance, SIGKILL, pool->policy->stop_kill == SCOPE_GROUP);
	instance_set_due(pool, index, DUE_STOP, pool_after(pool, UNKILLABLE_MS));
}

/* The one stop signal; without a grace SIGKILL takes its place. */
static void stop_signal(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];
	int signal = decide_hung(instance->cause) ? pool->policy->health_signal : pool->policy->stop_signal;

	if (pool->policy->stop_timeout == 0) {
		report_stop(pool, instance, SIGKILL, REPORT_STOP);
		stop_kill(pool, index);
		return;
	}
	report_stop(pool, instance, signal, REPORT_STOP);
	instance_set_state(pool, index, INSTANCE_STOPPING);
	send_signal(pool, instance, signal, false);
	instance_set_due(pool, index, DUE_STOP, pool_after(pool, pool->policy->stop_timeout));
}

void stop_begin(struct pool *pool, uint32_t index, enum end_cause cause)
{
	struct instance *instance = &pool->instances[index];
	bool serves = instance->state == INSTANCE_READY;

	if (instance_leaving(instance))
		return;
	instance->cause = (uint8_t)cause;
	if (!instance->spawned) {
		instance->pending = PENDING_STOP;
		return;
	}
	instance_clear_dues(pool, index);
	if (!serves || pool->policy->stop_drain_delay == 0 || !drains(cause)) {
		stop_signal(pool, index);
		return;
	}
	report_stop(pool, instance, 0, REPORT_STOP);
	instance_set_state(pool, index, INSTANCE_DRAINING);
	instance_set_due(pool, index, DUE_STOP, pool_after(pool, pool->policy->stop_drain_delay));
}

static void still_there(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];

	if (instance->unkillable < UINT8_MAX)
		instance->unkillable++;
	pool_report(pool, &(struct report){ .what = REPORT_UNKILLABLE,
					    .slot = instance->slot,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .count = instance->unkillable,
					    .cause = instance->cause,
					    .ms = pool->now_ms - instance->killed_ms });
	if (pool->stopping && instance->unkillable >= UNKILLABLE_TRIES) {
		instance->abandoned = true;
		pool->abandoned++;
		return;
	}
	instance_set_due(pool, index, DUE_STOP, pool_after(pool, UNKILLABLE_MS));
}

void stop_due(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];

	if (instance->state == INSTANCE_DRAINING) {
		/* It said that it would end, and did not. */
		if (instance->cause == END_SELF)
			instance->cause = END_HUNG;
		stop_signal(pool, index);
	} else if (instance->state == INSTANCE_STOPPING) {
		report_stop(pool, instance, SIGKILL, REPORT_ESCALATE);
		stop_kill(pool, index);
	} else if (instance->state == INSTANCE_KILLED) {
		still_there(pool, index);
	}
}

/* ---- the whole cluster ---- */

static void kill_slot(struct pool *pool, const struct slot *slot)
{
	if (slot->current != NO_INDEX) {
		struct instance *current = &pool->instances[slot->current];

		if (!instance_leaving(current))
			current->cause = END_STOP;
		stop_kill(pool, slot->current);
	}
	for (uint32_t index = slot->old; index != NO_INDEX; index = pool->instances[index].next)
		stop_kill(pool, index);
}

static void stop_slot(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->current != NO_INDEX)
		stop_begin(pool, slot->current, END_STOP);
	slot_do(pool, s, SLOT_END, 0);
}

/* Absorbing: nothing is spawned any more. Returns false if that was so already. */
static bool stop_first(struct pool *pool, int status, enum why why)
{
	if (pool->stopping)
		return false;
	roll_abort(pool, VERDICT_STOPPED, END_STOP);
	pool->stopping = true;
	pool->status = status;
	pool->why = why;
	return true;
}

/* The current instances leave; old ones already do, and the replacements just began to. */
void stop_all(struct pool *pool, int status, enum why why)
{
	if (!stop_first(pool, status, why))
		return;
	for (uint32_t s = 0; s < pool->slots_max; s++)
		stop_slot(pool, s);
}

static void kill_all(struct pool *pool)
{
	stop_first(pool, 0, WHY_REQUEST);
	for (uint32_t s = 0; s < pool->slots_max; s++) {
		kill_slot(pool, &pool->slots[s]);
		slot_do(pool, s, SLOT_END, 0);
	}
}

void on_stop(struct pool *pool, const struct event *event)
{
	bool kill = event->fast || pool->stop_asked;

	pool->stop_asked = true;
	if (kill)
		kill_all(pool);
	else
		stop_all(pool, 0, WHY_REQUEST);
}

/* It is told as killed, also where it was leaving for another reason; not while all of them have to go. */
static void kill_asked(struct pool *pool, uint32_t index)
{
	if (!pool->stopping)
		pool->instances[index].cause = END_KILL;
	stop_kill(pool, index);
}

/* The try has failed, as by any other end. While the cluster stops there is none. */
static void kill_next(struct pool *pool, uint32_t s)
{
	uint32_t next = pool->slots[s].next;

	if (next == NO_INDEX)
		return;
	instance_retire(pool, next);
	kill_asked(pool, next);
	slot_steer(pool, s);
	replace_failed(pool, s, pool->instances[next].cookie);
}

void on_kill(struct pool *pool, const struct event *event)
{
	struct slot *slot;
	uint32_t current;

	if (event->slot >= pool->slots_max)
		return;
	slot = &pool->slots[event->slot];
	kill_next(pool, event->slot);
	current = slot->current;
	for (uint32_t i = slot->old; i != NO_INDEX; i = pool->instances[i].next)
		kill_asked(pool, i);
	if (current != NO_INDEX)
		kill_asked(pool, current);
}

void stop_exit(struct pool *pool)
{
	if (!pool->stopping || pool->exited || pool->live > pool->abandoned)
		return;
	pool->exited = true;
	pool_emit(pool, &(struct action){ .what = ACT_EXIT,
					  .status = pool->abandoned ? STATUS_LEFT_BEHIND
								    : pool->status,
					  .why = pool->why });
}
