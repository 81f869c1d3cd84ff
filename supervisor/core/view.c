#include "supervisor/core/roll.h"

void pool_view(const struct pool *pool, struct pool_view *ret)
{
	*ret = (struct pool_view){
		.wanted = pool->wanted,
		.slots_max = pool->slots_max,
		.instances_max = pool->instances_max,
		.live = pool->live,
		.ready = pool->ready,
		.generation = pool->generation,
		.roll = pool->roll.number,
		.roll_generation = pool->roll.generation,
		.roll_done = pool->roll.done,
		.roll_pause_ms = pool->roll.pause_ms,
		.roll_back = pool->roll.back,
		.stopping = pool->stopping,
		.up = pool->up,
	};
}

static uint32_t cookie_of(const struct pool *pool, uint32_t index)
{
	return index == NO_INDEX ? 0 : pool->instances[index].cookie;
}

bool pool_slot(const struct pool *pool, uint32_t s, struct slot_view *ret)
{
	const struct slot *slot;

	if (s >= pool->slots_max)
		return false;
	slot = &pool->slots[s];
	*ret = (struct slot_view){
		.state = slot->state,
		.cookie = cookie_of(pool, slot->current),
		.next_cookie = cookie_of(pool, slot->next),
		.old = slot->olds,
		.generation = slot->generation,
		.streak = slot->history.streak,
		.due_ms = slot->waits ? pool->now_ms : slot->due_ms[SLOT_DUE_RESPAWN],
		.restart = slot->replace_roll,
		.stuck = slot->replace == REPLACE_ROLL && pool->roll.back &&
			 slot->replace_tries >= pool->policy->roll_tries,
		.awaited = roll_awaits(slot),
	};
	return true;
}

bool pool_instance(const struct pool *pool, uint32_t cookie, struct instance_view *ret)
{
	uint32_t index = instance_find(pool, cookie);
	const struct instance *i;

	if (index == NO_INDEX)
		return false;
	i = &pool->instances[index];
	*ret = (struct instance_view){
		.state = i->state,
		.slot = i->slot,
		.generation = i->generation,
		.spawned_ms = i->spawned_ms,
		.ready_ms = i->ready_ms,
		.killed_ms = i->killed_ms,
		.due_ms = instance_due(i),
		.cause = i->cause,
	};
	return true;
}

/* What runs, what would run next, and what a roll is about to bring. */
bool pool_generation_used(const struct pool *pool, uint32_t generation)
{
	if (pool->generation == generation ||
	    (pool->roll.number && pool->roll.generation == generation))
		return true;
	for (uint32_t s = 0; s < pool->wanted; s++)
		if (pool->slots[s].generation == generation && pool->slots[s].state != SLOT_EMPTY)
			return true;
	for (uint32_t i = 0; i < pool->instances_max; i++)
		if (pool->instances[i].cookie && pool->instances[i].generation == generation)
			return true;
	return false;
}
