#include "supervisor/core/recycle.h"

#include "supervisor/core/replace.h"

void recycle_want(struct pool *pool, uint32_t index, enum end_cause cause)
{
	const struct instance *instance = &pool->instances[index];
	struct slot *slot = &pool->slots[instance->slot];

	if (instance->role != ROLE_CURRENT || instance->state != INSTANCE_READY)
		return;
	if (slot->replace != REPLACE_NO || pool->stopping)
		return;
	slot->replace_cause = (uint8_t)cause;
	replace_queue(pool, instance->slot, REPLACE_RECYCLE);
}

void recycle_report(struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];
	const struct instance *instance = &pool->instances[slot->current];

	pool_report(pool, &(struct report){ .what = REPORT_RECYCLE,
					    .slot = s,
					    .cookie = instance->cookie,
					    .generation = instance->generation,
					    .cause = slot->replace_cause,
					    .ms = pool->now_ms - instance->spawned_ms });
}
