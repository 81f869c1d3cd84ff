#include "supervisor/core/pool.h"

#include <string.h>

#include "supervisor/core/pool_impl.h"
#include "supervisor/core/recycle.h"
#include "supervisor/core/replace.h"
#include "supervisor/core/roll.h"
#include "supervisor/core/scale.h"

/* ---- helpers of the other files ---- */

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
uint32_t pool_dice(struct pool *pool)
{
	uint64_t z = pool->dice += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

void pool_emit(struct pool *pool, const struct action *action)
{
	pool->sink(pool->context, action);
}

void pool_report(struct pool *pool, const struct report *report)
{
	pool_emit(pool, &(struct action){ .what = ACT_REPORT,
					  .slot = report->slot,
					  .cookie = report->cookie,
					  .report = *report });
}

uint64_t pool_after(const struct pool *pool, uint64_t delay_ms)
{
	return delay_ms < NEVER_MS - 1 - pool->now_ms ? pool->now_ms + delay_ms : NEVER_MS - 1;
}

/* ---- memory ---- */

enum { ALIGNMENT = 64 };

static uint32_t hash_size(uint32_t instances_max)
{
	uint32_t size = 4;

	while (size / 2 < instances_max && size < (uint32_t)1 << 31)
		size *= 2;
	return size;
}

static size_t aligned(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t heap_members(uint32_t slots_max, uint32_t instances_max)
{
	return (size_t)slots_max + instances_max + 1;
}

size_t pool_size(uint32_t slots_max, uint32_t instances_max)
{
	size_t members = heap_members(slots_max, instances_max);

	return aligned(sizeof(struct pool)) + aligned(slots_max * sizeof(struct slot)) +
	       aligned(instances_max * sizeof(struct instance)) +
	       aligned(hash_size(instances_max) * sizeof(uint32_t)) +
	       aligned(members * sizeof(struct heap_entry)) + aligned(members * sizeof(uint32_t));
}

static void *part(char **next, size_t size)
{
	void *at = *next;

	*next += aligned(size);
	return at;
}

struct pool *pool_lay_out(void *memory, uint32_t slots_max, uint32_t instances_max)
{
	size_t members = heap_members(slots_max, instances_max);
	char *next = memory;
	struct pool *pool = part(&next, sizeof(*pool));
	struct heap_entry *entries;

	*pool = (struct pool){ .slots_max = slots_max, .instances_max = instances_max };
	pool->hash_size = hash_size(instances_max);
	pool->slots = part(&next, slots_max * sizeof(struct slot));
	pool->instances = part(&next, instances_max * sizeof(struct instance));
	pool->hash = part(&next, pool->hash_size * sizeof(uint32_t));
	entries = part(&next, members * sizeof(*entries));
	heap_init(&pool->heap, entries, part(&next, members * sizeof(uint32_t)), (uint32_t)members);
	memset(pool->hash, 0, pool->hash_size * sizeof(uint32_t));
	for (uint32_t s = 0; s < slots_max; s++)
		slot_init(&pool->slots[s]);
	pool->free = NO_INDEX;
	for (uint32_t i = instances_max; i-- > 0;) {
		pool->instances[i] = (struct instance){ .next = pool->free };
		pool->free = i;
	}
	pool->waiting = (struct list){ NO_INDEX, NO_INDEX };
	for (int kind = 0; kind < REPLACES; kind++)
		pool->queues[kind] = (struct list){ NO_INDEX, NO_INDEX };
	pool->roll.pause_ms = NEVER_MS;
	return pool;
}

struct pool *pool_init(void *memory, uint32_t slots_max, uint32_t instances_max,
		       const struct policy *policy, uint32_t generation, uint64_t dice)
{
	struct pool *pool = pool_lay_out(memory, slots_max, instances_max);

	pool->policy = policy;
	pool->generation = generation;
	pool->dice = dice;
	return pool;
}

/* The free list of the new instances ends in that of the old ones. */
static void add_free(struct pool *pool, uint32_t from, uint32_t free)
{
	pool->free = free;
	for (uint32_t i = pool->instances_max; i-- > from;) {
		pool->instances[i] = (struct instance){ .next = pool->free };
		pool->free = i;
	}
}

struct pool *pool_resize(const struct pool *old, void *memory, uint32_t slots_max,
			 uint32_t instances_max)
{
	struct pool *pool = pool_lay_out(memory, slots_max, instances_max);
	struct pool copy = *old;

	copy.slots = pool->slots;
	copy.instances = pool->instances;
	copy.hash = pool->hash;
	copy.hash_size = pool->hash_size;
	copy.heap = pool->heap;
	copy.slots_max = slots_max;
	copy.instances_max = instances_max;
	*pool = copy;
	memcpy(pool->slots, old->slots, old->slots_max * sizeof(struct slot));
	memcpy(pool->instances, old->instances, old->instances_max * sizeof(struct instance));
	add_free(pool, old->instances_max, old->free);
	for (uint32_t s = 0; s < old->slots_max; s++)
		slot_arm(pool, s);
	for (uint32_t i = 0; i < old->instances_max; i++) {
		if (!pool->instances[i].cookie)
			continue;
		instance_hash_add(pool, i);
		instance_arm(pool, i);
	}
	roll_set_pause(pool, pool->roll.pause_ms);
	return pool;
}

/* ---- events ---- */

static void on_start(struct pool *pool, const struct event *event)
{
	if (pool->started)
		return;
	pool->started = true;
	scale_start(pool, event->count);
}

static void due(struct pool *pool, uint32_t id)
{
	if (id == heap_id_of_roll(pool))
		roll_set_pause(pool, NEVER_MS);
	else if (id >= pool->slots_max)
		instance_due_now(pool, id - pool->slots_max);
	else if (pool->slots[id].due_ms[SLOT_DUE_RESPAWN] <= pool->now_ms)
		end_due(pool, id);
	else
		replace_retry(pool, id);
}

static void on_tick(struct pool *pool, const struct event *event)
{
	uint32_t id = 0;

	(void)event;
	while (heap_first(&pool->heap, &id) <= pool->now_ms)
		due(pool, id);
}

static void add_delay(uint64_t *due_ms, uint64_t delay_ms)
{
	if (*due_ms != NEVER_MS)
		*due_ms = delay_ms < NEVER_MS - 1 - *due_ms ? *due_ms + delay_ms : NEVER_MS - 1;
}

/* Nobody could be heard, so nobody is late. */
void on_skipped(struct pool *pool, const struct event *event)
{
	for (uint32_t s = 0; s < pool->slots_max; s++) {
		for (int n = 0; n < SLOT_DUES; n++)
			add_delay(&pool->slots[s].due_ms[n], event->delay_ms);
		slot_arm(pool, s);
	}
	/* Workers that were stopped together with it have what was left to them before. */
	for (uint32_t i = 0; i < pool->instances_max; i++) {
		if (!pool->instances[i].cookie)
			continue;
		for (int n = 0; n < DUES; n++)
			add_delay(&pool->instances[i].due_ms[n],
				  event->asleep_ms > event->delay_ms ? event->asleep_ms : event->delay_ms);
		instance_arm(pool, i);
	}
	add_delay(&pool->roll.pause_ms, event->delay_ms);
	roll_set_pause(pool, pool->roll.pause_ms);
}

/* ---- a reload: deadlines that the new policy gives, for what already runs; they may be over ---- */

/* One that has begun with `old` ms goes on with `new`. */
static uint64_t moved(uint64_t due_ms, uint64_t old, uint64_t new)
{
	uint64_t began_ms = due_ms > old ? due_ms - old : 0;

	if (due_ms == NEVER_MS || old == new)
		return due_ms;
	return new < NEVER_MS - 1 - began_ms ? began_ms + new : NEVER_MS - 1;
}

static void move_due(struct pool *pool, uint32_t index, enum due due, uint64_t old, uint64_t new)
{
	instance_set_due(pool, index, due, moved(pool->instances[index].due_ms[due], old, new));
}

static void move_start(struct pool *pool, uint32_t index, uint64_t old, uint64_t new)
{
	if (old && new)
		move_due(pool, index, DUE_START, old, new);
	else if (old != new)
		instance_set_due(pool, index, DUE_START,
				 new ? pool->instances[index].spawned_ms + new : NEVER_MS);
}

static void move_instance(struct pool *pool, uint32_t index, const struct policy *old)
{
	const struct instance *i = &pool->instances[index];
	const struct policy *new = pool->policy;
	bool waits = i->state == INSTANCE_DRAINING && i->cause != END_SELF;

	if (!i->spawned)
		return;
	if (i->state == INSTANCE_STARTING) {
		move_due(pool, index, DUE_ALIVE, old->ready_after, new->ready_after);
		move_start(pool, index, old->ready_timeout, new->ready_timeout);
	} else if (i->state == INSTANCE_READY) {
		if (old->recycle_max_lifetime != new->recycle_max_lifetime)
			instance_lifetime(pool, index);
	} else if (waits) {
		move_due(pool, index, DUE_STOP, old->stop_drain_delay, new->stop_drain_delay);
	} else if (i->state != INSTANCE_KILLED) {
		move_due(pool, index, DUE_STOP, old->stop_timeout, new->stop_timeout);
	}
}

/* Slot by slot: where an instance lies is not saved, and its new lifetime takes a dice. */
static void move_instances(struct pool *pool, const struct slot *slot, const struct policy *old)
{
	if (slot->current != NO_INDEX)
		move_instance(pool, slot->current, old);
	if (slot->next != NO_INDEX)
		move_instance(pool, slot->next, old);
	for (uint32_t n = slot->old; n != NO_INDEX; n = pool->instances[n].next)
		move_instance(pool, n, old);
}

/*
 * Waits that have no beginning to count from go on for no longer than the new policy has them. What
 * waits for longer than the old delay_max does so by an [exit RULE], and its delay stays.
 */
static void move_slot(struct pool *pool, uint32_t s, const struct policy *old)
{
	const struct slot *slot = &pool->slots[s];
	uint64_t latest = pool_after(pool, pool->policy->restart_delay_max), held = latest;
	struct decision d =
		decide_due(pool->policy, &slot->history, &pool->cluster, pool->now_ms);
	uint64_t due_ms = slot->due_ms[SLOT_DUE_RESPAWN], retry_ms = slot->due_ms[SLOT_DUE_RETRY];

	if (d.held)
		held = pool_after(pool, d.delay_ms);
	if (slot->state == SLOT_BACKOFF && due_ms > latest &&
	    due_ms <= pool_after(pool, old->restart_delay_max))
		slot_set_due(pool, s, SLOT_DUE_RESPAWN, latest);
	if (slot->state == SLOT_HELD && due_ms > held)
		slot_set_due(pool, s, SLOT_DUE_RESPAWN, held);
	if (retry_ms != NEVER_MS && retry_ms > latest)
		slot_set_due(pool, s, SLOT_DUE_RETRY, latest);
}

void on_policy(struct pool *pool, const struct event *event)
{
	const struct policy *old = pool->policy;

	if (!event->policy)
		return;
	pool->policy = event->policy;
	for (uint32_t s = 0; s < pool->wanted; s++) {
		if (old->recycle_max_rss != pool->policy->recycle_max_rss)
			recycle_forget(pool, s);
		move_slot(pool, s, old);
	}
	for (uint32_t s = 0; s < pool->slots_max; s++)
		move_instances(pool, &pool->slots[s], old);
	roll_set_pause(pool, moved(pool->roll.pause_ms, old->roll_pause, pool->policy->roll_pause));
}

typedef void handler(struct pool *pool, const struct event *event);

static handler *const handlers[EVENT_WHATS] = {
	[EV_START] = on_start,
	[EV_SPAWNED] = on_spawned,
	[EV_SPAWN_FAILED] = on_spawn_failed,
	[EV_READY] = on_ready,
	[EV_STOPPING] = on_stopping,
	[EV_EXTEND] = on_extend,
	[EV_PING] = on_ping,
	[EV_UNHEALTHY] = on_unhealthy,
	[EV_RECYCLE] = on_recycle,
	[EV_ENDED] = on_ended,
	[EV_TICK] = on_tick,
	[EV_SKIPPED] = on_skipped,
	[EV_SCALE] = on_scale,
	[EV_ROLL] = on_roll,
	[EV_POLICY] = on_policy,
	[EV_DRAIN] = on_drain,
	[EV_KILL] = on_kill,
	[EV_RESET] = on_reset,
	[EV_STOP] = on_stop,
};

/* What became possible by the event. */
static void settle(struct pool *pool)
{
	slot_spawn_waiting(pool);
	replace_run(pool);
	if (roll_finish(pool))
		replace_run(pool);
	if (!pool->up && pool->ready > 0 && pool->unsettled == 0 && !pool->stopping) {
		pool->up = true;
		pool_emit(pool, &(struct action){ .what = ACT_UP });
	}
	end_check(pool);
	stop_exit(pool);
}

static bool accepts(const struct pool *pool, enum event_what what)
{
	if (pool->exited)
		return false;
	return pool->started || what == EV_START || what == EV_STOP || what == EV_POLICY;
}

void pool_step(struct pool *pool, uint64_t now_ms, const struct event *event, action_sink *sink,
	       void *context)
{
	if (now_ms > pool->now_ms)
		pool->now_ms = now_ms;
	if (!accepts(pool, event->what))
		return;
	pool->sink = sink;
	pool->context = context;
	handlers[event->what](pool, event);
	settle(pool);
	pool->sink = NULL;
	pool->context = NULL;
}

uint64_t pool_deadline(const struct pool *pool)
{
	uint32_t id;

	return heap_first(&pool->heap, &id);
}
