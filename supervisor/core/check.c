/*
 * check - what has to be true of every pool between two steps. Loading a saved state
 * relies on it, and so do the tests.
 */
#include "supervisor/core/roll.h"

static bool only_due(const struct instance *i, unsigned allowed)
{
	for (unsigned due = 0; due < DUES; due++)
		if (i->due_ms[due] != NEVER_MS && !(allowed >> due & 1))
			return false;
	return true;
}

static bool has_due(const struct instance *i, enum due due)
{
	return i->due_ms[due] != NEVER_MS;
}

static bool deadlines_valid(const struct pool *pool, const struct instance *i)
{
	unsigned ready = 1u << DUE_WATCHDOG | 1u << DUE_LIFETIME;

	if (!i->spawned)
		return i->state == INSTANCE_STARTING && only_due(i, 0);
	switch ((enum instance_state)i->state) {
	case INSTANCE_STARTING: return only_due(i, 1u << DUE_ALIVE | 1u << DUE_START);
	case INSTANCE_READY:
		return only_due(i, i->role == ROLE_NEXT ? ready | 1u << DUE_PROVEN : ready);
	case INSTANCE_DRAINING:
	case INSTANCE_STOPPING: return only_due(i, 1u << DUE_STOP) && has_due(i, DUE_STOP);
	case INSTANCE_KILLED:
		return only_due(i, 1u << DUE_STOP) && has_due(i, DUE_STOP) != i->abandoned &&
		       (!i->abandoned || pool->stopping);
	case INSTANCE_STATES: break;
	}
	return false;
}

static bool role_valid(const struct pool *pool, const struct instance *i)
{
	if (i->role == ROLE_OLD)
		return instance_leaving(i);
	if (i->role == ROLE_NEXT)
		return i->pending == PENDING_NOTHING && !pool->stopping;
	return !pool->stopping || instance_leaving(i);
}

static bool in_range(const struct instance *i)
{
	return i->state < INSTANCE_STATES && i->role < ROLES && i->cause < END_CAUSES &&
	       i->when <= READY_HTTP && i->pending < PENDINGS;
}

static bool instance_valid(const struct pool *pool, const struct instance *i)
{
	if (!in_range(i) || (i->spawned && i->pending) ||
	    (i->abandoned && i->state != INSTANCE_KILLED))
		return false;
	if (i->spawned_ms > pool->now_ms || i->ready_ms > pool->now_ms ||
	    i->killed_ms > pool->now_ms)
		return false;
	return deadlines_valid(pool, i) && role_valid(pool, i);
}

static bool instances_valid(const struct pool *pool)
{
	uint32_t live = 0, abandoned = 0;

	for (uint32_t n = 0; n < pool->instances_max; n++) {
		const struct instance *i = &pool->instances[n];

		if (!i->cookie)
			continue;
		if (!instance_valid(pool, i) || instance_find(pool, i->cookie) != n)
			return false;
		live++;
		abandoned += i->abandoned;
	}
	return live == pool->live && abandoned == pool->abandoned;
}

static bool ring_valid(const uint64_t *at_ms, uint32_t size, uint32_t used, uint64_t now_ms)
{
	uint64_t later = now_ms;

	if (used >= 2 * size)
		return false;
	for (uint32_t n = 0; n < size && n < used; n++) {
		uint64_t at = at_ms[(used - 1 - n) % size];

		if (at > later)
			return false;
		later = at;
	}
	return true;
}

static bool timer_valid(const struct slot *slot)
{
	bool armed = slot->due_ms[SLOT_DUE_RESPAWN] != NEVER_MS;

	switch ((enum slot_state)slot->state) {
	case SLOT_BACKOFF: return armed != slot->waits;
	case SLOT_HELD: return armed && !slot->waits;
	case SLOT_EMPTY:
	case SLOT_LIVE:
	case SLOT_RETIRED:
	case SLOT_DRAINED: return !armed && !slot->waits;
	case SLOT_STATES: break;
	}
	return false;
}

static bool replace_kind_valid(const struct pool *pool, const struct slot *slot)
{
	bool restart = slot->replace == REPLACE_RESTART;

	if (slot->replace_cause >= END_CAUSES || slot->recycle_ms > pool->now_ms ||
	    restart != (slot->replace_roll != 0))
		return false;
	switch ((enum replace)slot->replace) {
	case REPLACE_NO:
	case REPLACE_RESTART: return true;
	case REPLACE_ROLL: return pool->roll.number != 0;
	case REPLACE_RECYCLE: return slot->replacing || slot->current != NO_INDEX;
	case REPLACES: break;
	}
	return false;
}

/* It was switched, and the roll waits until it serves again. */
static bool awaited_valid(const struct pool *pool, const struct slot *slot)
{
	return slot->replace == REPLACE_ROLL && !pool->roll.back && !slot->steered &&
	       slot_fills_itself(slot);
}

static bool replace_valid(const struct pool *pool, const struct slot *slot)
{
	bool retry = slot->due_ms[SLOT_DUE_RETRY] != NEVER_MS;
	bool next = slot->next != NO_INDEX;

	if (slot->replacing && !retry && !next)
		return awaited_valid(pool, slot);
	if (slot->replacing)
		return slot->replace != REPLACE_NO && retry != next;
	return !retry && !next;
}

static bool olds_valid(const struct pool *pool, uint32_t s)
{
	uint32_t prev = NO_INDEX, count = 0;

	for (uint32_t n = pool->slots[s].old; n != NO_INDEX; n = pool->instances[n].next) {
		const struct instance *i = &pool->instances[n];

		if (++count > pool->instances_max || i->slot != s || i->role != ROLE_OLD ||
		    i->prev != prev)
			return false;
		prev = n;
	}
	return count == pool->slots[s].olds;
}

static bool held_by(const struct pool *pool, uint32_t s, uint32_t index, enum role role)
{
	return index == NO_INDEX ||
	       (pool->instances[index].slot == s && pool->instances[index].role == role);
}

/* What is not wanted is empty; what stops waits for nothing. */
static bool slot_fits_pool(const struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	if (pool->stopping)
		return slot->replace == REPLACE_NO && slot->state != SLOT_BACKOFF &&
		       slot->state != SLOT_HELD;
	if (s >= pool->wanted)
		return slot->state == SLOT_EMPTY && slot->replace == REPLACE_NO;
	return slot->state != SLOT_EMPTY;
}

static bool slot_valid(const struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	if (slot->boot_failures > BOOT_FAILURES || !slot_fits_pool(pool, s))
		return false;
	if ((slot->state == SLOT_LIVE) != (slot->current != NO_INDEX))
		return false;
	if (slot->steered != (instance_serves(pool, slot->current) || instance_serves(pool, slot->next)))
		return false;
	return timer_valid(slot) && replace_kind_valid(pool, slot) && replace_valid(pool, slot) &&
	       olds_valid(pool, s) &&
	       held_by(pool, s, slot->current, ROLE_CURRENT) &&
	       held_by(pool, s, slot->next, ROLE_NEXT) &&
	       ring_valid(slot->history.at_ms, BURST_MAX, slot->history.used, pool->now_ms);
}

static bool list_valid(const struct pool *pool, enum link_of link, const struct list *list,
		       enum replace kind, uint32_t *ret_count)
{
	uint32_t prev = NO_INDEX, count = 0;

	for (uint32_t s = list->first; s != NO_INDEX; s = pool->slots[s].links[link].next) {
		const struct slot *slot;

		if (s >= pool->slots_max || ++count > pool->slots_max)
			return false;
		slot = &pool->slots[s];
		if (slot->links[link].prev != prev)
			return false;
		if (link == LINK_WAIT ? !slot->waits : slot->replacing || slot->replace != kind)
			return false;
		prev = s;
	}
	*ret_count += count;
	return list->last == prev;
}

static bool lists_valid(const struct pool *pool)
{
	uint32_t waiting = 0, queued = 0, waits = 0, queues = 0;

	if (!list_valid(pool, LINK_WAIT, &pool->waiting, REPLACE_NO, &waiting))
		return false;
	for (int kind = 0; kind < REPLACES; kind++)
		if (!list_valid(pool, LINK_REPLACE, &pool->queues[kind], (enum replace)kind,
				&queued))
			return false;
	for (uint32_t s = 0; s < pool->slots_max; s++) {
		waits += pool->slots[s].waits;
		queues += pool->slots[s].replace != REPLACE_NO && !pool->slots[s].replacing;
	}
	return waits == waiting && queues == queued;
}

static bool counters_valid(const struct pool *pool)
{
	uint32_t ready = 0, retired = 0, unsettled = 0, boot_failed = 0, done = 0;
	uint32_t replacing[REPLACES] = { 0 };

	for (uint32_t s = 0; s < pool->slots_max; s++) {
		const struct slot *slot = &pool->slots[s];
		bool wanted = s < pool->wanted;

		ready += slot->steered;
		done += roll_counts(pool, s);
		retired += slot->state == SLOT_RETIRED;
		unsettled += wanted && !slot->settled;
		boot_failed += wanted && slot->boot_failures >= BOOT_FAILURES;
		replacing[slot->replace] += slot->replacing;
	}
	for (int kind = 0; kind < REPLACES; kind++)
		if (replacing[kind] != pool->replacing[kind])
			return false;
	return ready == pool->ready && done == pool->roll.done && retired == pool->retired && unsettled == pool->unsettled &&
	       boot_failed == pool->boot_failed;
}

static bool roll_valid(const struct pool *pool)
{
	const struct roll *roll = &pool->roll;

	if (roll->number == 0)
		return roll->pause_ms == NEVER_MS;
	return roll->begin_ms <= pool->now_ms && !pool->stopping;
}

static bool flags_valid(const struct pool *pool)
{
	if (pool->wanted > pool->slots_max || (unsigned)pool->why >= WHYS)
		return false;
	if (pool->now_ms > NEVER_MS / 4 * 3) /* no clock comes that far, and all would be due for ever */
		return false;
	if (!pool->started && (pool->wanted || pool->live))
		return false;
	return !pool->exited || (pool->stopping && pool->live <= pool->abandoned);
}

bool pool_valid(const struct pool *pool)
{
	if (!flags_valid(pool) || !instances_valid(pool) || !roll_valid(pool))
		return false;
	for (uint32_t s = 0; s < pool->slots_max; s++)
		if (!slot_valid(pool, s))
			return false;
	return lists_valid(pool) && counters_valid(pool) &&
	       ring_valid(pool->cluster.at_ms, CLUSTER_BURST_MAX, pool->cluster.used, pool->now_ms);
}
