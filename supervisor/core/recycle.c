#include "supervisor/core/recycle.h"

#include "supervisor/core/replace.h"

/* Was the one before it too big as well, less than [restart] stable ago? Then this one stays. */
static bool held(struct pool *pool, const struct instance *instance, enum end_cause cause)
{
	struct slot *slot = &pool->slots[instance->slot];
	uint64_t since_ms = pool->now_ms - slot->recycle_ms;

	if (cause != END_RSS || slot->recycle_ms == 0 || since_ms >= pool->policy->restart_stable)
		return false;
	if (!slot->recycle_told)
		pool_report(
		    pool, &(struct report){ .what = REPORT_RECYCLE_HELD,
					    .slot = instance->slot,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .cause = cause,
					    .delay_ms = pool->policy->restart_stable - since_ms });
	slot->recycle_told = true;
	return true;
}

void recycle_forget(struct pool *pool, uint32_t s)
{
	pool->slots[s].recycle_ms = 0;
	pool->slots[s].recycle_told = false;
}

void recycle_want(struct pool *pool, uint32_t index, enum end_cause cause)
{
	const struct instance *instance = &pool->instances[index];
	struct slot *slot = &pool->slots[instance->slot];

	if (instance->role != ROLE_CURRENT || instance->state != INSTANCE_READY)
		return;
	if (slot->replace != REPLACE_NO || pool->stopping)
		return;
	if (held(pool, instance, cause))
		return;
	slot->replace_cause = (uint8_t)cause;
	replace_queue(pool, instance->slot, REPLACE_RECYCLE);
}

void recycle_report(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	const struct instance *instance = &pool->instances[slot->current];

	if (slot->replace_cause == END_RSS)
		slot->recycle_ms = pool->now_ms;
	pool_report(pool, &(struct report){ .what = REPORT_RECYCLE,
					    .slot = s,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .cause = slot->replace_cause,
					    .ms = pool->now_ms - instance->spawned_ms });
}

/* A moment later, so that what this event decides about the slot comes first. */
void recycle_by_age(struct pool *pool, uint32_t s)
{
	uint32_t current = pool->slots[s].current;

	if (current == NO_INDEX || pool->policy->recycle_max_lifetime == 0 ||
	    pool->instances[current].state != INSTANCE_READY ||
	    pool->instances[current].due_ms[DUE_LIFETIME] != NEVER_MS)
		return;
	instance_set_due(pool, current, DUE_LIFETIME, pool_after(pool, 1));
}
