#include "supervisor/core/roll.h"

#include "supervisor/core/replace.h"

void roll_set_pause(struct pool *pool, uint64_t at_ms)
{
	pool->roll.pause_ms = at_ms;
	heap_set(&pool->heap, heap_id_of_roll(pool), rank_of_roll, at_ms);
}

bool roll_busy(const struct pool *pool)
{
	return pool->roll.number || pool->replacing[REPLACE_RESTART] ||
	       pool->queues[REPLACE_RESTART].first != NO_INDEX;
}

static void end(struct pool *pool, enum verdict verdict)
{
	struct roll *roll = &pool->roll;

	pool_report(pool, &(struct report){ .what = REPORT_ROLL_END,
					    .roll = roll->number,
					    .slot = ALL_SLOTS,
					    .generation = roll->generation,
					    .count = roll->done,
					    .verdict = verdict,
					    .ms = pool->now_ms - roll->begin_ms });
	roll_set_pause(pool, NEVER_MS);
	*roll = (struct roll){ .pause_ms = NEVER_MS };
	for (uint32_t s = 0; s < pool->wanted; s++)
		pool->slots[s].replace_tries = 0;
}

void roll_restart_end(struct pool *pool, uint32_t s, enum verdict verdict)
{
	struct slot *slot = &pool->slots[s];

	pool_report(pool, &(struct report){ .what = REPORT_ROLL_END,
					    .roll = slot->replace_roll,
					    .slot = s,
					    .generation = pool->generation,
					    .verdict = verdict,
					    .ms = pool->now_ms - slot->replace_since_ms });
	slot->replace_roll = 0;
}

/* Drops what is under way for every slot; restarts get their verdict. */
static void drop_all(struct pool *pool, enum verdict verdict, enum end_cause cause)
{
	for (uint32_t s = 0; s < pool->wanted; s++) {
		bool restart = pool->slots[s].replace == REPLACE_RESTART;

		replace_drop(pool, s, cause);
		if (restart)
			roll_restart_end(pool, s, verdict);
	}
}

void roll_abort(struct pool *pool, enum verdict verdict, enum end_cause cause)
{
	drop_all(pool, verdict, cause);
	if (pool->roll.number)
		end(pool, verdict);
}

/* What counts, and is in force again, is the former generation. */
static void stopped(struct pool *pool)
{
	pool_emit(pool, &(struct action){ .what = ACT_GENERATION, .generation = pool->generation });
	end(pool, VERDICT_STOPPED);
}

void roll_stop(struct pool *pool, enum end_cause cause)
{
	drop_all(pool, VERDICT_STOPPED, cause);
	if (pool->roll.number)
		stopped(pool);
}

/* Every slot that was to be replaced has been emptied, and no new worker has proven anything. */
static bool came_to_nothing(const struct pool *pool)
{
	const struct roll *roll = &pool->roll;

	return !roll->back && roll->done == 0 && pool->replacing[REPLACE_ROLL] == 0 &&
	       pool->queues[REPLACE_ROLL].first == NO_INDEX;
}

void roll_forget(struct pool *pool, uint32_t s, enum end_cause cause)
{
	enum replace was = pool->slots[s].replace;
	bool counted = roll_counts(pool, s);

	if (counted)
		pool->roll.done--;
	replace_drop(pool, s, cause);
	if (was == REPLACE_RESTART)
		roll_restart_end(pool, s, VERDICT_STOPPED);
	if ((was == REPLACE_ROLL || counted) && came_to_nothing(pool))
		stopped(pool);
}

void roll_include(struct pool *pool, uint32_t s)
{
	bool restart = pool->slots[s].replace == REPLACE_RESTART;

	if (!pool->roll.number || pool->slots[s].replace == REPLACE_ROLL)
		return;
	replace_drop(pool, s, END_ROLL);
	if (restart)
		roll_restart_end(pool, s, VERDICT_SUPERSEDED);
	replace_queue(pool, s, REPLACE_ROLL);
}

static void queue_all(struct pool *pool)
{
	for (uint32_t s = 0; s < pool->wanted; s++)
		replace_queue(pool, s, REPLACE_ROLL);
}

/* ---- [supervisor] max_old: how many generations may drain at once ---- */

/* One that never was ready has nothing to drain. A replacement that is would drain if it were superseded. */
static bool drains_of(const struct pool *pool, const struct instance *i, uint32_t generation)
{
	return i->cookie && i->role != ROLE_CURRENT && i->ready_ms > 0 && i->generation == generation &&
	       i->state != INSTANCE_KILLED && i->pending != PENDING_KILL &&
	       pool->generation != generation;
}

/* The oldest generation beyond `after` (or at all) of which a worker drains; ret is set then. */
static bool next_draining(const struct pool *pool, bool any, uint32_t after, uint32_t *ret)
{
	bool found = false;

	for (uint32_t n = 0; n < pool->instances_max; n++) {
		const struct instance *i = &pool->instances[n];

		if (!drains_of(pool, i, i->generation) || (!any && i->generation <= after))
			continue;
		if (!found || i->generation < *ret)
			*ret = i->generation;
		found = true;
	}
	return found;
}

static void cut(struct pool *pool, uint32_t generation)
{
	for (uint32_t s = 0; s < pool->slots_max; s++) {
		for (uint32_t n = pool->slots[s].old; n != NO_INDEX; n = pool->instances[n].next) {
			const struct instance *i = &pool->instances[n];

			if (!drains_of(pool, i, generation))
				continue;
			pool_report(pool, &(struct report){ .what = REPORT_ESCALATE,
							    .slot = s,
							    .cookie = i->cookie,
							    .generation = generation,
							    .count = pool->policy->supervisor_max_old,
							    .signal = SIGKILL,
							    .cause = i->cause });
			stop_kill(pool, n);
		}
	}
}

uint32_t pool_draining(const struct pool *pool)
{
	uint32_t count = 0, at;

	for (bool more = next_draining(pool, true, 0, &at); more;
	     more = next_draining(pool, false, at, &at))
		count++;
	return count;
}

/* The generation that counts will drain too if another one is to replace it. */
static void cut_oldest(struct pool *pool, uint32_t generation)
{
	uint32_t count = pool_draining(pool) + (generation != pool->generation);
	uint32_t oldest;

	for (; count > pool->policy->supervisor_max_old; count--) {
		if (!next_draining(pool, true, 0, &oldest))
			break;
		cut(pool, oldest);
	}
}

/* ---- what is through, and fails after all ---- */

/* It has left the queue, has no NEXT, and no retry is due. */
bool roll_awaits(const struct slot *slot)
{
	return slot->replace == REPLACE_ROLL && slot->replacing && slot->next == NO_INDEX &&
	       slot->due_ms[SLOT_DUE_RETRY] == NEVER_MS;
}

/* The roll has replaced the worker of the slot, or found it new, and goes forward. */
static bool is_through(const struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	return pool->roll.number && !pool->roll.back &&
	       (slot->replace != REPLACE_ROLL || roll_awaits(slot));
}

bool roll_keeps(const struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	if (!pool->roll.number)
		return false;
	if (pool->roll.back)
		return slot->generation != pool->roll.generation;
	if (is_through(pool, s))
		return true;
	/* An operator's restart of one that is awaited. */
	return slot->replacing && slot->generation == pool->roll.generation &&
	       (slot->current == NO_INDEX || !roll_needs(pool, s));
}

/* What was queued behind the roll for this worker has lost its object. */
void roll_await(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	bool restart = slot->replace == REPLACE_RESTART;

	if (!is_through(pool, s) || roll_awaits(slot) || slot->steered || !slot_fills_itself(slot))
		return;
	replace_drop(pool, s, END_ROLL);
	if (restart)
		roll_restart_end(pool, s, VERDICT_SUPERSEDED);
	slot->replace = REPLACE_ROLL;
	slot->replacing = true;
	pool->replacing[REPLACE_ROLL]++;
}

bool roll_counts(const struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	return pool->roll.number && slot->replace != REPLACE_ROLL && slot->steered;
}

void roll_left(struct pool *pool, uint32_t s)
{
	if (roll_counts(pool, s))
		pool->roll.done++;
	else
		roll_await(pool, s);
}

/* One that is being emptied has been counted out by roll_forget. */
void roll_steered(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->steered && roll_awaits(slot))
		replace_drop(pool, s, END_ROLL);
	if (!pool->roll.number || slot->replace == REPLACE_ROLL)
		return;
	if (slot->steered) {
		pool->roll.done++;
	} else if (slot_fills_itself(slot)) {
		pool->roll.done--;
		roll_await(pool, s);
	}
}

void roll_current_ended(struct pool *pool, uint32_t s, uint32_t cookie, const struct decision *d)
{
	struct slot *slot = &pool->slots[s];

	roll_await(pool, s);
	if (!roll_awaits(slot) || d->why == WHY_REQUEST)
		return;
	if (!d->unstable) {
		slot->replace_tries = 0;
		return;
	}
	if (slot->replace_tries < UINT32_MAX)
		slot->replace_tries++;
	replace_report_failed(pool, s, cookie);
	if (slot->replace_tries >= pool->policy->roll_tries)
		roll_failed(pool, s);
	else
		roll_held(pool, s);
}

void roll_held(struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];

	if (roll_awaits(slot) && slot->state == SLOT_HELD)
		roll_failed(pool, s);
}

void roll_retired(struct pool *pool, uint32_t s)
{
	if (roll_awaits(&pool->slots[s]))
		replace_drop(pool, s, END_ROLL);
}

/* ---- begin ---- */

static void report_begin(struct pool *pool, uint32_t slot, uint32_t generation, uint32_t count)
{
	pool_report(pool, &(struct report){ .what = REPORT_ROLL_BEGIN,
					    .roll = pool->rolls,
					    .slot = slot,
					    .generation = generation,
					    .count = count });
}

static void begin_all(struct pool *pool, uint32_t generation)
{
	roll_abort(pool, VERDICT_SUPERSEDED, END_ROLL);
	pool->roll = (struct roll){
		.number = pool->rolls,
		.generation = generation,
		.cookie = pool->last_cookie + 1,
		.begin_ms = pool->now_ms,
		.pause_ms = NEVER_MS,
	};
	report_begin(pool, ALL_SLOTS, generation, pool->wanted);
	cut_oldest(pool, generation);
	queue_all(pool);
}

static void begin_one(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	bool rolled = slot->replace == REPLACE_ROLL, covered;

	if (rolled)
		roll_unswitch(pool, s);
	/* On the way back a slot may be queued that stays as it is. */
	covered = rolled && (!pool->roll.back || roll_needs(pool, s));
	if (slot->replace == REPLACE_RESTART) {
		replace_drop(pool, s, END_ROLL);
		roll_restart_end(pool, s, VERDICT_SUPERSEDED);
	}
	report_begin(pool, s, pool->roll.number ? pool->roll.generation : pool->generation, 1);
	slot->replace_roll = pool->rolls;
	slot->replace_since_ms = pool->now_ms;
	/* Several may be awaited at once; no more than `surge` get a NEXT. */
	if (roll_awaits(slot) && pool->replacing[REPLACE_ROLL] <= pool->policy->roll_surge)
		replace_retry(pool, s);
	if (covered) {
		roll_restart_end(pool, s, VERDICT_SUPERSEDED);
		return;
	}
	replace_drop(pool, s, END_ROLL);
	replace_queue(pool, s, REPLACE_RESTART);
	if (rolled)
		roll_left(pool, s);
}

void on_roll(struct pool *pool, const struct event *event)
{
	if (pool->stopping || (event->slot != ALL_SLOTS && event->slot >= pool->wanted))
		return;
	if (++pool->rolls == 0)
		pool->rolls = 1;
	if (event->slot == ALL_SLOTS)
		begin_all(pool, event->generation);
	else
		begin_one(pool, event->slot);
}

/* ---- on the way ---- */

bool roll_may_start(const struct pool *pool, uint32_t busy)
{
	const struct roll *roll = &pool->roll;

	if (roll->pause_ms != NEVER_MS)
		return false;
	return busy < (roll->back || roll->done ? pool->policy->roll_surge : 1);
}

/* Serial number arithmetic (RFC 1982), as cookies may begin again. */
static bool older(uint32_t a, uint32_t b)
{
	return a != b && b - a <= UINT32_MAX / 2;
}

/*
 * On the way forward everything that was spawned before the roll, or runs another
 * generation, is replaced, and what is empty is filled. On the way back only what was
 * switched is.
 */
bool roll_needs(const struct pool *pool, uint32_t s)
{
	const struct roll *roll = &pool->roll;
	const struct slot *slot = &pool->slots[s];
	const struct instance *i;

	if (roll->back)
		return slot->generation != roll->generation;
	if (slot->current == NO_INDEX)
		return true;
	i = &pool->instances[slot->current];
	return i->generation != roll->generation || older(i->cookie, roll->cookie);
}

void roll_unswitch(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (!pool->roll.back)
		return;
	if (slot->state == SLOT_RETIRED || slot->state == SLOT_DRAINED)
		slot->generation = pool->roll.generation;
}

void roll_switched(struct pool *pool)
{
	struct roll *roll = &pool->roll;

	roll->done++;
	roll->proven = true;
	/* It is for watching what is new, the last one too; the way back is no time to wait. */
	if (!roll->back && pool->policy->roll_pause)
		roll_set_pause(pool, pool_after(pool, pool->policy->roll_pause));
}

static void drop_roll(struct pool *pool)
{
	for (uint32_t s = 0; s < pool->wanted; s++)
		if (pool->slots[s].replace == REPLACE_ROLL)
			replace_drop(pool, s, END_ROLL);
}

void roll_report_back(struct pool *pool, uint32_t s, bool begins)
{
	pool_report(pool, &(struct report){ .what = REPORT_ROLL_BACK,
					    .roll = pool->roll.number,
					    .slot = s,
					    .generation = pool->generation,
					    .count = pool->slots[s].replace_tries,
					    .ok = begins });
}

void roll_failed(struct pool *pool, uint32_t s)
{
	struct roll *roll = &pool->roll;

	if (pool->policy->roll_on_failure == ON_FAILURE_STOP ||
	    roll->generation == pool->generation) {
		drop_roll(pool);
		end(pool, VERDICT_FAILED);
		return;
	}
	if (roll->proven)
		roll_report_back(pool, s, true);
	drop_all(pool, VERDICT_SUPERSEDED, END_ROLL);
	roll_set_pause(pool, NEVER_MS);
	roll->back = true;
	roll->done = 0;
	roll->generation = pool->generation;
	queue_all(pool);
}

bool roll_finish(struct pool *pool)
{
	struct roll *roll = &pool->roll;

	/* Where nothing new serves there is nothing to watch. */
	bool paused = roll->pause_ms != NEVER_MS && roll->done > 0;

	if (!roll->number || pool->replacing[REPLACE_ROLL] || paused ||
	    pool->queues[REPLACE_ROLL].first != NO_INDEX || pool->stopping)
		return false;
	pool->generation = roll->generation;
	pool_emit(pool,
		  &(struct action){ .what = ACT_GENERATION, .generation = roll->generation });
	end(pool, roll->back ? VERDICT_ROLLED_BACK : VERDICT_DONE);
	return true;
}
