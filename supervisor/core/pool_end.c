#include "supervisor/core/pool_impl.h"

#include "supervisor/core/replace.h"
#include "supervisor/core/roll.h"

/* No worker was ever ready, and each slot has failed often enough. */
static bool no_boot(const struct pool *pool)
{
	return !pool->ever_ready && pool->boot_failed == pool->wanted && !roll_busy(pool);
}

/* The respawn that was decided will not come: then what is reported is what will. */
static void judge_boot(const struct pool *pool, struct decision *d)
{
	if (d->next == NEXT_RESPAWN && no_boot(pool))
		*d = (struct decision){ .next = NEXT_EXIT, .why = WHY_BOOT };
}

/* Nothing would follow in the slot, though no rule names this end as that of all. */
static bool gives_up(const struct decision *d)
{
	return d->next == NEXT_RETIRE || (d->next == NEXT_EXIT && (d->why == WHY_BURST || d->why == WHY_CLUSTER_BURST));
}

static struct decision failed_try(struct pool *pool, uint32_t s)
{
	return decide_failed_try(pool->policy, &pool->slots[s].history, &pool->cluster,
				 pool->now_ms, pool_dice(pool));
}

/* While a roll lasts a short life of what is new in it is a failed try: no reason to let the slot be, or all end. */
static void judge_roll(struct pool *pool, uint32_t s, struct decision *d)
{
	if (d->unstable && gives_up(d) && roll_keeps(pool, s))
		*d = failed_try(pool, s);
}

/* Carries a decision out. */
static void follow(struct pool *pool, uint32_t s, const struct decision *d)
{
	struct slot *slot = &pool->slots[s];
	bool burst = d->why == WHY_BURST || d->why == WHY_CLUSTER_BURST;
	bool again = slot->state == SLOT_HELD && d->held;

	slot->history.streak = d->streak;
	if ((burst && !again) || d->next == NEXT_EXIT)
		pool_report(pool, &(struct report){ .what = REPORT_GIVE_UP,
						    .slot = d->why == WHY_BOOT ? ALL_SLOTS : s,
						    .next = d->next,
						    .why = d->why,
						    .delay_ms = d->delay_ms });
	if (d->next == NEXT_EXIT) {
		slot_do(pool, s, SLOT_LOST, 0);
		stop_all(pool, STATUS_GAVE_UP, d->why);
	} else if (d->next == NEXT_RETIRE) {
		slot_do(pool, s, SLOT_RETIRE, 0);
		roll_retired(pool, s);
		slot_settle(pool, s);
		slot_boot_failed(pool, s, BOOT_FAILURES);
	} else if (d->held) {
		slot_do(pool, s, SLOT_HOLD, d->delay_ms);
	} else {
		slot_do(pool, s, d->delay_ms ? SLOT_LATER : SLOT_AGAIN, d->delay_ms);
	}
}

void end_due(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	struct decision d =
		decide_due(pool->policy, &slot->history, &pool->cluster, pool->now_ms);

	if (d.next == NEXT_RESPAWN && !d.held) {
		slot_do(pool, s, SLOT_DUE, 0);
		return;
	}
	/* Held, even for less than the delay: a slot that is due stays so until it is told to wait. */
	if (gives_up(&d) && roll_keeps(pool, s)) {
		d = failed_try(pool, s);
		d.held = true;
	}
	d.streak = slot->history.streak;
	follow(pool, s, &d);
	roll_held(pool, s);
}

static struct decision decide_current(struct pool *pool, const struct slot *slot,
				      const struct instance *i, const struct ended *end)
{
	struct life life = { .now_ms = pool->now_ms, .cause = i->cause, .end = *end };

	life.ready = i->ready_ms != 0;
	life.lived_ms = pool->now_ms - i->spawned_ms;
	if (pool->stopping)
		return (struct decision){ .next = NEXT_NONE, .why = WHY_ASKED };
	if (instance_serves(pool, slot->next))
		return (struct decision){ .next = NEXT_NONE, .why = WHY_SPARE };
	if (i->cause == END_KILL)
		return (struct decision){ .next = NEXT_RESPAWN, .why = WHY_REQUEST };
	return decide_end(pool->policy, &slot->history, &pool->cluster, &life, pool_dice(pool));
}

static void current_ended(struct pool *pool, uint32_t s, uint32_t cookie, const struct decision *d)
{
	if (pool->stopping) {
		slot_do(pool, s, SLOT_LOST, 0);
		return;
	}
	if (d->next == NEXT_NONE) {
		replace_proven(pool, s);
		return;
	}
	replace_pointless(pool, s);
	if (d->why == WHY_REQUEST)
		slot_do(pool, s, SLOT_RENEW, 0);
	else
		follow(pool, s, d);
	roll_current_ended(pool, s, cookie, d);
}

/* An end is reported before its decision is carried out, which is when the slot counts it. */
static uint32_t streak_after(const struct pool *pool, const struct instance *i,
			     const struct decision *d)
{
	bool decided = d->next != NEXT_NONE && d->why != WHY_REQUEST;

	return decided ? d->streak : pool->slots[i->slot].history.streak;
}

static void report_end(struct pool *pool, const struct instance *i, const struct event *event,
		       const struct decision *d)
{
	pool_report(pool, &(struct report){ .what = REPORT_EXIT,
					    .slot = i->slot,
					    .cookie = i->cookie,
					    .generation = i->generation,
					    .end = event->end,
					    .cause = i->cause,
					    .asked = decide_asked(i->cause),
					    .next = d->next,
					    .streak = streak_after(pool, i, d),
					    .why = d->why,
					    .delay_ms = d->delay_ms,
					    .ms = pool->now_ms - i->spawned_ms });
}

/* Not if an [exit RULE] says respawn: such an end is no failure. */
static bool is_failed_start(const struct slot *slot, const struct instance *i,
			    const struct decision *d)
{
	bool expected = d->next == NEXT_RESPAWN && d->why == WHY_RULE &&
			d->streak <= slot->history.streak;

	return !i->ready_ms && !decide_asked(i->cause) && !expected;
}

void on_ended(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	struct decision d = { .next = NEXT_NONE, .why = WHY_ASKED };
	struct instance was;
	struct slot *slot;

	if (index == NO_INDEX)
		return;
	was = pool->instances[index];
	slot = &pool->slots[was.slot];
	if (was.role == ROLE_CURRENT)
		d = decide_current(pool, slot, &was, &event->end);
	else if (!decide_asked(was.cause))
		d.why = WHY_SPARE;
	if (was.role == ROLE_CURRENT)
		slot->ended_well = decide_asked(was.cause) ||
				   (event->end.signal == 0 && event->end.code == 0);
	if (is_failed_start(slot, &was, &d))
		slot_boot_failed(pool, was.slot, 1);
	judge_boot(pool, &d);
	judge_roll(pool, was.slot, &d);
	instance_free(pool, index);
	report_end(pool, &was, event, &d);
	slot_settle(pool, was.slot);
	if (was.role == ROLE_CURRENT)
		current_ended(pool, was.slot, was.cookie, &d);
	else if (was.role == ROLE_NEXT && !pool->stopping)
		replace_failed(pool, was.slot, was.cookie);
	slot_all_gone(pool, was.slot);
}

/* ---- it could not be spawned ---- */

static void report_spawn_error(struct pool *pool, const struct instance *i, int error,
			       const struct decision *d)
{
	pool_report(pool, &(struct report){ .what = REPORT_SPAWN_ERROR,
					    .slot = i->slot,
					    .cookie = i->cookie,
					    .generation = i->generation,
					    .error = error,
					    .next = d->next,
					    .why = d->why,
					    .delay_ms = d->delay_ms });
}

/* Before anything ever ran, a program that can not be executed will not heal by waiting. */
static struct decision decide_unspawned(struct pool *pool, const struct slot *slot, bool permanent)
{
	if (permanent && !pool->ever_spawned)
		return (struct decision){ .next = NEXT_EXIT, .why = WHY_SPAWN };
	return decide_spawn_error(pool->policy, &slot->history, &pool->cluster, pool->now_ms,
				  pool_dice(pool));
}

static void current_unspawned(struct pool *pool, uint32_t s, const struct event *event,
			      const struct decision *d)
{
	enum { NO_SUCH_FILE = 2 }; /* ENOENT, the same on every Linux */

	if (!pool->stopping && (d->next != NEXT_EXIT || d->why != WHY_SPAWN)) {
		follow(pool, s, d);
		roll_current_ended(pool, s, event->cookie, d);
		return;
	}
	slot_do(pool, s, SLOT_LOST, 0);
	stop_all(pool, event->error == NO_SUCH_FILE ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE, WHY_SPAWN);
}

void on_spawn_failed(struct pool *pool, const struct event *event)
{
	uint32_t index = instance_find(pool, event->cookie);
	struct decision d = { .next = NEXT_NONE, .why = WHY_SPAWN };
	struct instance was;
	uint32_t s;

	if (index == NO_INDEX || pool->instances[index].spawned)
		return;
	was = pool->instances[index];
	s = was.slot;
	if (was.role == ROLE_CURRENT && !pool->stopping)
		d = decide_unspawned(pool, &pool->slots[s], event->permanent);
	pool->slots[s].ended_well = false;
	slot_boot_failed(pool, s, 1);
	judge_boot(pool, &d);
	judge_roll(pool, s, &d);
	instance_free(pool, index);
	report_spawn_error(pool, &was, event->error, &d);
	slot_settle(pool, s);
	if (was.role == ROLE_CURRENT)
		current_unspawned(pool, s, event, &d);
	else if (was.role == ROLE_NEXT && !pool->stopping)
		replace_failed(pool, s, was.cookie);
	slot_all_gone(pool, s);
}

/* ---- the end of it all ---- */

static int finished_status(const struct pool *pool)
{
	for (uint32_t s = 0; s < pool->wanted; s++)
		if (!pool->slots[s].ended_well)
			return STATUS_GAVE_UP;
	return 0;
}

static void give_up(struct pool *pool, int status, enum why why)
{
	pool_report(pool, &(struct report){ .what = REPORT_GIVE_UP,
					    .slot = ALL_SLOTS,
					    .next = NEXT_EXIT,
					    .why = why,
					    .ok = status == 0 });
	stop_all(pool, status, why);
}

void end_check(struct pool *pool)
{
	if (pool->stopping || pool->wanted == 0 || roll_busy(pool))
		return;
	if (pool->retired == pool->wanted) {
		if (pool->live == 0)
			give_up(pool, finished_status(pool), WHY_FINISHED);
	} else if (no_boot(pool)) {
		give_up(pool, STATUS_GAVE_UP, WHY_BOOT);
	}
}
