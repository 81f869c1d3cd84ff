#include "supervisor/core/pool_impl.h"

#include <string.h>

/* ---- cookie -> instance: open addressing with linear probing (Knuth, TAOCP 3, 6.4 L and R) ---- */

static uint32_t hash_home(const struct pool *pool, uint32_t cookie)
{
	return cookie * 2654435769u & (pool->hash_size - 1);
}

static uint32_t hash_place(const struct pool *pool, uint32_t cookie)
{
	uint32_t place = hash_home(pool, cookie);

	while (pool->hash[place] && pool->instances[pool->hash[place] - 1].cookie != cookie)
		place = (place + 1) & (pool->hash_size - 1);
	return place;
}

uint32_t instance_find(const struct pool *pool, uint32_t cookie)
{
	uint32_t found;

	if (cookie == 0)
		return NO_INDEX;
	found = pool->hash[hash_place(pool, cookie)];
	return found ? found - 1 : NO_INDEX;
}

void instance_hash_add(struct pool *pool, uint32_t index)
{
	pool->hash[hash_place(pool, pool->instances[index].cookie)] = index + 1;
}

/* Moves back what the removed one had pushed away, so that no marker of a grave is needed. */
static void hash_remove(struct pool *pool, uint32_t cookie)
{
	uint32_t mask = pool->hash_size - 1;
	uint32_t hole = hash_place(pool, cookie);
	uint32_t place = hole;

	for (;;) {
		uint32_t home;

		place = (place + 1) & mask;
		if (!pool->hash[place])
			break;
		home = hash_home(pool, pool->instances[pool->hash[place] - 1].cookie);
		if (((place - home) & mask) < ((place - hole) & mask))
			continue;
		pool->hash[hole] = pool->hash[place];
		hole = place;
	}
	pool->hash[hole] = 0;
}

/* ---- deadlines ---- */

uint64_t instance_due(const struct instance *instance)
{
	uint64_t first = NEVER_MS;

	for (int due = 0; due < DUES; due++)
		if (instance->due_ms[due] < first)
			first = instance->due_ms[due];
	return first;
}

void instance_arm(struct pool *pool, uint32_t index)
{
	const struct instance *instance = &pool->instances[index];

	heap_set(&pool->heap, heap_id_of_instance(pool, index),
		 rank_of_instances | instance->cookie, instance_due(instance));
}

void instance_set_due(struct pool *pool, uint32_t index, enum due due, uint64_t at_ms)
{
	pool->instances[index].due_ms[due] = at_ms;
	instance_arm(pool, index);
}

void instance_clear_dues(struct pool *pool, uint32_t index)
{
	for (int due = 0; due < DUES; due++)
		pool->instances[index].due_ms[due] = NEVER_MS;
	instance_arm(pool, index);
}

/* ---- life ---- */

static uint32_t watchdog_of(const struct policy *policy)
{
	return policy->health_watchdog < UINT32_MAX ? (uint32_t)policy->health_watchdog : UINT32_MAX;
}

void instance_told(struct pool *pool, uint32_t index, const struct policy *policy)
{
	pool->instances[index].watchdog_ms = watchdog_of(policy);
	pool->instances[index].when = (uint8_t)policy->ready_when.when;
}

uint32_t instance_spawn(struct pool *pool, uint32_t slot, enum role role, uint32_t generation)
{
	uint32_t index = pool->free;
	struct instance *instance;

	if (index == NO_INDEX)
		return NO_INDEX;
	instance = &pool->instances[index];
	pool->free = instance->next;
	/* After 2^32 spawns the numbers begin again; one that still lives keeps its own. */
	do
		pool->last_cookie++;
	while (pool->last_cookie == 0 || instance_find(pool, pool->last_cookie) != NO_INDEX);
	*instance = (struct instance){
		.cookie = pool->last_cookie,
		.slot = slot,
		.generation = generation,
		.prev = NO_INDEX,
		.next = NO_INDEX,
		.state = INSTANCE_STARTING,
		.role = (uint8_t)role,
	};
	instance_told(pool, index, pool->policy);
	for (int due = 0; due < DUES; due++)
		instance->due_ms[due] = NEVER_MS;
	instance_hash_add(pool, index);
	pool->live++;
	if (role == ROLE_CURRENT)
		pool->slots[slot].current = index;
	else
		pool->slots[slot].next = index;
	pool_emit(pool, &(struct action){ .what = ACT_SPAWN,
					  .slot = slot,
					  .cookie = instance->cookie,
					  .generation = generation });
	return index;
}

static void leave_slot(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];
	struct slot *slot = &pool->slots[instance->slot];

	if (slot->current == index) {
		slot->current = NO_INDEX;
	} else if (slot->next == index) {
		slot->next = NO_INDEX;
	} else {
		slot->olds--;
		if (instance->prev != NO_INDEX)
			pool->instances[instance->prev].next = instance->next;
		else
			slot->old = instance->next;
		if (instance->next != NO_INDEX)
			pool->instances[instance->next].prev = instance->prev;
	}
}

void instance_free(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];

	instance_clear_dues(pool, index);
	leave_slot(pool, index);
	slot_steer(pool, instance->slot);
	hash_remove(pool, instance->cookie);
	if (instance->abandoned)
		pool->abandoned--;
	instance->cookie = 0;
	instance->next = pool->free;
	pool->free = index;
	pool->live--;
}

void instance_retire(struct pool *pool, uint32_t index)
{
	struct instance *instance = &pool->instances[index];
	struct slot *slot = &pool->slots[instance->slot];

	leave_slot(pool, index);
	instance->role = ROLE_OLD;
	instance->prev = NO_INDEX;
	instance->next = slot->old;
	if (slot->old != NO_INDEX)
		pool->instances[slot->old].prev = index;
	slot->old = index;
	slot->olds++;
}

void instance_set_state(struct pool *pool, uint32_t index, enum instance_state state)
{
	pool->instances[index].state = (uint8_t)state;
	slot_steer(pool, pool->instances[index].slot);
}

bool instance_serves(const struct pool *pool, uint32_t index)
{
	return index != NO_INDEX && pool->instances[index].state == INSTANCE_READY;
}

/* Leaving because we asked; a worker that only said that it stops does not count. */
bool instance_leaving(const struct instance *instance)
{
	if (instance->pending != PENDING_NOTHING || instance->state >= INSTANCE_STOPPING)
		return true;
	return instance->state == INSTANCE_DRAINING && instance->cause != END_SELF;
}
