#include "supervisor/core/replace.h"

#include "supervisor/core/recycle.h"
#include "supervisor/core/roll.h"

void replace_queue(struct pool *pool, uint32_t s, enum replace kind)
{
	struct slot *slot = &pool->slots[s];

	slot->replace = (uint8_t)kind;
	/* What a roll has seen fail counts on until its end, also where something else is queued behind it. */
	if (kind == REPLACE_ROLL || !pool->roll.number)
		slot->replace_tries = 0;
	slot->replacing = false;
	list_append(pool, LINK_REPLACE, &pool->queues[kind], s);
}

/* Leaves the machinery, whatever it was about. */
static void done(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->replacing)
		pool->replacing[slot->replace]--;
	else
		list_remove(pool, LINK_REPLACE, &pool->queues[slot->replace], s);
	slot->replacing = false;
	slot->replace = REPLACE_NO;
	slot_set_due(pool, s, SLOT_DUE_RETRY, NEVER_MS);
	recycle_by_age(pool, s);
}

void replace_drop(struct pool *pool, uint32_t s, enum end_cause cause)
{
	uint32_t next = pool->slots[s].next;

	if (pool->slots[s].replace == REPLACE_NO)
		return;
	if (next != NO_INDEX) {
		instance_retire(pool, next);
		stop_begin(pool, next, cause);
		slot_steer(pool, s);
	}
	done(pool, s);
}

void replace_pointless(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->replace == REPLACE_RECYCLE && slot->next == NO_INDEX)
		done(pool, s);
}

static bool may_start(const struct pool *pool, enum replace kind)
{
	const struct policy *policy = pool->policy;
	uint32_t busy = pool->replacing[kind];

	if (kind == REPLACE_ROLL)
		return roll_may_start(pool, busy);
	if (pool->roll.number)
		return false;
	return busy < (kind == REPLACE_RESTART ? policy->roll_surge : policy->recycle_at_most);
}

static uint32_t generation_of(const struct pool *pool, const struct slot *slot)
{
	if (slot->replace == REPLACE_ROLL)
		return pool->roll.generation;
	return slot->replace == REPLACE_RESTART ? pool->generation : slot->generation;
}

static void start(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	enum replace kind = slot->replace;

	list_remove(pool, LINK_REPLACE, &pool->queues[kind], s);
	slot->replacing = true;
	pool->replacing[kind]++;
	if (kind == REPLACE_ROLL)
		roll_unswitch(pool, s);
	if (kind == REPLACE_ROLL && !roll_needs(pool, s)) {
		done(pool, s);
		roll_left(pool, s);
		return;
	}
	if (kind == REPLACE_RECYCLE && slot->replace_tries == 0)
		recycle_report(pool, s);
	instance_spawn(pool, s, ROLE_NEXT, generation_of(pool, slot));
}

void replace_run(struct pool *pool)
{
	for (int kind = REPLACE_ROLL; kind < REPLACES; kind++)
		while (pool->queues[kind].first != NO_INDEX && pool->free != NO_INDEX &&
		       !pool->stopping && may_start(pool, (enum replace)kind))
			start(pool, pool->queues[kind].first);
}

/* The next try, or the first place of the queue when no instance is free. */
void replace_retry(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	slot_set_due(pool, s, SLOT_DUE_RETRY, NEVER_MS);
	if (instance_spawn(pool, s, ROLE_NEXT, generation_of(pool, slot)) != NO_INDEX)
		return;
	slot->replacing = false;
	pool->replacing[slot->replace]--;
	list_prepend(pool, LINK_REPLACE, &pool->queues[slot->replace], s);
}

void replace_ready(struct pool *pool, uint32_t next, enum ready_how how)
{
	const struct instance *instance = &pool->instances[next];
	uint32_t current = pool->slots[instance->slot].current;
	uint64_t from_ms = how == HOW_ALIVE ? instance->spawned_ms : instance->ready_ms;

	if (!instance_serves(pool, current) || from_ms + MIN_STABLE_MS <= pool->now_ms)
		replace_proven(pool, instance->slot);
	else
		instance_set_due(pool, next, DUE_PROVEN, from_ms + MIN_STABLE_MS);
}

static void report_slot(struct pool *pool, uint32_t s, uint32_t cookie, uint32_t other, bool ok)
{
	const struct slot *slot = &pool->slots[s];

	if (slot->replace == REPLACE_RECYCLE)
		return;
	pool_report(pool, &(struct report){ .what = REPORT_ROLL_SLOT,
					    .roll = slot->replace == REPLACE_ROLL
							    ? pool->roll.number
							    : slot->replace_roll,
					    .slot = s,
					    .cookie = cookie,
					    .other = other,
					    .generation = generation_of(pool, slot),
					    .ok = ok,
					    .count = slot->replace_tries });
}

void replace_report_failed(struct pool *pool, uint32_t s, uint32_t cookie)
{
	report_slot(pool, s, cookie, 0, false);
}

/* NEXT takes over. */
void replace_proven(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	uint32_t old = slot->current, new = slot->next;
	enum replace kind = slot->replace;
	enum end_cause cause = kind == REPLACE_RECYCLE ? slot->replace_cause : END_ROLL;
	uint32_t other = old == NO_INDEX ? 0 : pool->instances[old].cookie;

	instance_set_due(pool, new, DUE_PROVEN, NEVER_MS);
	if (old != NO_INDEX)
		instance_retire(pool, old);
	slot->next = NO_INDEX;
	slot->current = new;
	slot->generation = pool->instances[new].generation;
	slot->history.streak = 0;
	slot->replace_tries = 0;
	pool->instances[new].role = ROLE_CURRENT;
	slot_do(pool, s, SLOT_ADOPT, 0);
	report_slot(pool, s, pool->instances[new].cookie, other, true);
	done(pool, s);
	if (kind == REPLACE_ROLL)
		roll_switched(pool);
	else if (kind == REPLACE_RESTART)
		roll_restart_end(pool, s, VERDICT_DONE);
	if (old != NO_INDEX)
		stop_begin(pool, old, cause);
}

void replace_unserved(struct pool *pool, uint32_t s)
{
	if (instance_serves(pool, pool->slots[s].next))
		replace_proven(pool, s);
}

void replace_failed(struct pool *pool, uint32_t s, uint32_t cookie)
{
	struct slot *slot = &pool->slots[s];
	bool last = slot->replace_tries + 1 >= pool->policy->roll_tries;
	uint64_t delay;

	if (slot->replace_tries < UINT32_MAX)
		slot->replace_tries++;
	replace_report_failed(pool, s, cookie);
	/* Who is recycled serves; one that does not is another, or on its way out. */
	if (slot->replace == REPLACE_RECYCLE && !instance_serves(pool, slot->current)) {
		done(pool, s);
		return;
	}
	if (slot->replace == REPLACE_ROLL && !pool->roll.back && last) {
		roll_failed(pool, s);
		return;
	}
	if (slot->replace == REPLACE_ROLL && slot->replace_tries == pool->policy->roll_tries)
		roll_report_back(pool, s, false);
	if (slot->replace == REPLACE_RESTART && last) {
		done(pool, s);
		roll_restart_end(pool, s, VERDICT_FAILED);
		return;
	}
	delay = decide_backoff(pool->policy, slot->replace_tries - 1, pool_dice(pool));
	slot_set_due(pool, s, SLOT_DUE_RETRY, pool_after(pool, delay));
}
