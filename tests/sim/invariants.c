#include "tests/sim/invariants.h"

#include <stdio.h>
#include <stdlib.h>

#include "supervisor/core/pool_impl.h"
#include "supervisor/core/roll.h"

enum { WHOLE_CHECK_EVERY = 16, SLACK_MS = 100 };

static const char *const names[EVENT_WHATS] = {
	"START", "SPAWNED", "SPAWN_FAILED", "READY", "STOPPING", "EXTEND", "PING", "UNHEALTHY",
	"RECYCLE", "ENDED", "TICK", "SKIPPED", "SCALE", "ROLL", "POLICY", "DRAIN", "KILL", "RESET",
	"STOP",
};

void invariants_broken(const struct world *world, const char *what, const char *file, int line)
{
	printf("seed %llu, %u workers, event %llu: broken: %s (%s:%d)\n",
	       (unsigned long long)world->seed, world->workers, (unsigned long long)world->events,
	       what, file, line);
	for (uint64_t n = world->events > LAST_EVENTS ? world->events - LAST_EVENTS : 0;
	     n < world->events; n++) {
		const struct event *e = &world->last[n % LAST_EVENTS].event;

		printf("%8llu ms %-12s slot=%d cookie=%u generation=%u count=%u delay=%llu "
		       "code=%d signal=%d\n",
		       (unsigned long long)world->last[n % LAST_EVENTS].now_ms, names[e->what],
		       (int)e->slot, e->cookie, e->generation, e->count,
		       (unsigned long long)e->delay_ms, e->end.code, e->end.signal);
	}
	exit(1);
}

static void touch(struct world *world, uint32_t s)
{
	uint32_t stamp = (uint32_t)world->events;

	if (s >= world->slots_max || world->seen[s].stamp == stamp)
		return;
	world->seen[s].stamp = stamp;
	world->touched[world->touched_count++] = s;
}

void invariants_begin(struct world *world)
{
	const struct event *event = world->event;

	world->touched_count = 0;
	world->ended_reports = 0;
	world->failed_tries = 0;
	world->roll_ended = false;
	world->ready_before = world->ready;
	if (event->what != EV_RESET)
		return;
	/* An operator's reset forgets the bursts. */
	for (uint32_t s = 0; s < world->pool->wanted; s++) {
		if (event->slot != ALL_SLOTS && event->slot != s)
			continue;
		world->seen[s].respawns = 0;
		world->seen[s].counted = false;
	}
	if (event->slot == ALL_SLOTS)
		world->cluster_respawns = 0;
}

/* ---- actions ---- */

/* The `limit` entries before this one must not all be within the window. */
static bool within(const uint64_t *at_ms, uint32_t size, uint32_t count, uint32_t limit,
		   uint64_t window_ms)
{
	uint64_t last = at_ms[(count - 1) % size];

	return limit == 0 || count <= limit || limit >= size ||
	       last - at_ms[(count - 1 - limit) % size] >= window_ms;
}

static void counted_spawn(struct world *world, struct seen *seen)
{
	const struct policy *policy = world->policy;

	seen->counted = false;
	seen->respawn_ms[seen->respawns++ % BURST_MAX] = world->now_ms;
	world->cluster_respawn_ms[world->cluster_respawns++ % CLUSTER_BURST_MAX] = world->now_ms;
	HOLDS(world, within(seen->respawn_ms, BURST_MAX, seen->respawns, policy->restart_burst,
			    policy->restart_window));
	HOLDS(world, within(world->cluster_respawn_ms, CLUSTER_BURST_MAX, world->cluster_respawns,
			    policy->restart_cluster_burst, policy->restart_window));
}

static void on_spawn(struct world *world, const struct action *action)
{
	struct seen *seen = &world->seen[action->slot];
	const struct slot *slot = &world->pool->slots[action->slot];

	HOLDS(world, !world->stop_sent && !world->pool->stopping);
	HOLDS(world, action->slot < world->pool->wanted);
	world->last_cookie = action->cookie;
	if (slot->current == NO_INDEX ||
	    world->pool->instances[slot->current].cookie != action->cookie)
		return;
	if (seen->counted)
		counted_spawn(world, seen);
}

/* What a roll has brought to a slot, and dies young, neither retires it nor ends the cluster. */
static bool kept(const struct world *world, const struct report *r)
{
	const struct roll *roll = &world->pool->roll;
	const struct slot *slot = &world->pool->slots[r->slot];

	if (!roll->number || world->seen[r->slot].cookie != r->cookie)
		return false;
	if (roll->back)
		return r->generation != roll->generation;
	return r->generation == roll->generation && r->cookie >= world->roll_cookie &&
	       (slot->replace != REPLACE_ROLL || slot->replacing);
}

static void on_exit_report(struct world *world, const struct report *r)
{
	world->ended_reports++;
	if (r->asked)
		HOLDS(world, r->next == NEXT_NONE ||
				     (r->next == NEXT_RESPAWN && r->why == WHY_REQUEST));
	if (r->next == NEXT_RESPAWN)
		world->seen[r->slot].counted = r->why != WHY_REQUEST;
	if (r->ms >= world->policy->restart_stable)
		world->seen[r->slot].long_lived |= world->seen[r->slot].cookie == r->cookie;
	else
		HOLDS(world, r->next == NEXT_RESPAWN || r->next == NEXT_NONE || !kept(world, r));
}

/* Who leaves for a replacement leaves a slot that serves, if it served itself. */
static void on_stop_report(struct world *world, const struct report *r)
{
	const struct seen *seen = &world->seen[r->slot];
	bool replaced = r->cause == END_ROLL || r->cause == END_RSS || r->cause == END_LIFETIME;

	if (replaced && seen->cookie == r->cookie && seen->ready)
		HOLDS(world, world->pool->slots[r->slot].steered);
}

static bool fills_itself(const struct slot *slot)
{
	return slot->state == SLOT_LIVE || slot->state == SLOT_BACKOFF || slot->state == SLOT_HELD;
}

static void on_roll_end(struct world *world, const struct report *r)
{
	world->roll_ended = true;
	if (r->slot != ALL_SLOTS || (r->verdict != VERDICT_DONE && r->verdict != VERDICT_ROLLED_BACK))
		return;
	for (uint32_t s = 0; s < world->pool->wanted; s++) {
		const struct slot *slot = &world->pool->slots[s];

		HOLDS(world, slot->current == NO_INDEX || slot->generation == r->generation);
		HOLDS(world, r->verdict != VERDICT_DONE || slot->steered || !fills_itself(slot));
	}
}

/* A slot that is due, and for which no respawn is left. */
static void on_give_up(struct world *world, const struct report *r)
{
	const struct roll *roll = &world->pool->roll;

	if (r->next == NEXT_RESPAWN || r->slot == ALL_SLOTS || !roll->number || world->event->what == EV_ENDED)
		return;
	HOLDS(world, !roll->back || world->pool->slots[r->slot].generation == roll->generation);
	HOLDS(world, roll->back || !roll_awaits(&world->pool->slots[r->slot]));
}

static void forget_tries(struct world *world)
{
	for (uint32_t s = 0; s < world->slots_max; s++)
		world->seen[s].tries = 0;
}

static void on_roll_begin(struct world *world, const struct report *r)
{
	if (r->slot != ALL_SLOTS)
		return;
	world->roll_cookie = world->last_cookie + 1;
	forget_tries(world);
}

/* None that has failed is forgotten but by a replacement that took over, or a long life. */
static void on_roll_slot(struct world *world, const struct report *r)
{
	struct seen *seen = &world->seen[r->slot];

	world->roll_ended |= !r->ok;
	if (r->roll != world->pool->roll.number)
		return;
	if (!r->ok)
		HOLDS(world, r->count == seen->tries + 1 || (r->count == 1 && seen->long_lived));
	seen->tries = r->ok ? 0 : r->count;
	seen->long_lived = false;
	if (!r->ok && r->count >= world->policy->roll_tries)
		world->failed_tries = r->roll;
}

static void on_spawn_error(struct world *world, const struct report *r)
{
	HOLDS(world, r->next == NEXT_RESPAWN || r->next == NEXT_NONE || !kept(world, r));
	if (r->next == NEXT_RESPAWN)
		world->seen[r->slot].counted = true;
}

static void on_report(struct world *world, const struct report *r)
{
	static void (*const of[])(struct world *, const struct report *) = {
		[REPORT_EXIT] = on_exit_report,       [REPORT_SPAWN_ERROR] = on_spawn_error,
		[REPORT_STOP] = on_stop_report,       [REPORT_GIVE_UP] = on_give_up,
		[REPORT_ROLL_BEGIN] = on_roll_begin,  [REPORT_ROLL_SLOT] = on_roll_slot,
		[REPORT_ROLL_END] = on_roll_end,
	};

	if (r->slot != ALL_SLOTS)
		touch(world, r->slot);
	if ((size_t)r->what < sizeof(of) / sizeof(of[0]) && of[r->what])
		of[r->what](world, r);
}

static void on_steer(struct world *world, const struct action *action)
{
	struct seen *seen = &world->seen[action->slot];

	HOLDS(world, seen->steered != action->on);
	seen->steered = action->on;
	if (action->on)
		world->ready++;
	else
		world->ready--;
}

void invariants_action(struct world *world, const struct action *action)
{
	if (action->what == ACT_REPORT) {
		on_report(world, &action->report);
		return;
	}
	if (action->what == ACT_EXIT) {
		HOLDS(world, world->live == 0 || action->status == STATUS_LEFT_BEHIND);
		return;
	}
	if (action->what == ACT_UP || action->what == ACT_GENERATION)
		return;
	touch(world, action->slot);
	if (action->what == ACT_SPAWN)
		on_spawn(world, action);
	else if (action->what == ACT_STEER)
		on_steer(world, action);
	else if (action->what == ACT_MOVE)
		HOLDS(world, !world->seen[action->slot].steered && world->ready > 0);
	else if (action->what == ACT_SLOT_GONE)
		HOLDS(world, action->slot >= world->pool->wanted);
}

/* ---- after the event ---- */

/* Nobody gets older than the policy allows unseen: it is due, or it is being replaced. */
static void check_age(const struct world *world, uint32_t s)
{
	const struct slot *slot = &world->pool->slots[s];
	const struct instance *i;

	if (slot->current == NO_INDEX || slot->replace != REPLACE_NO ||
	    world->policy->recycle_max_lifetime == 0)
		return;
	i = &world->pool->instances[slot->current];
	HOLDS(world, i->state != INSTANCE_READY || i->due_ms[DUE_LIFETIME] != NEVER_MS);
}

/* What is recycled is there: an empty slot has its own rules. */
static void check_recycled(const struct world *world, uint32_t s)
{
	const struct slot *slot = &world->pool->slots[s];

	if (slot->replace == REPLACE_RECYCLE)
		HOLDS(world, slot->current != NO_INDEX || slot->next != NO_INDEX);
}

/* What a roll is through with serves, or the roll waits for it. */
static void check_through(const struct world *world, uint32_t s)
{
	const struct slot *slot = &world->pool->slots[s];

	if (world->pool->roll.number && !world->pool->roll.back && slot->replace != REPLACE_ROLL)
		HOLDS(world, slot->steered || !fills_itself(slot));
}

/* No slot is held for longer than the policy in force lets it. */
static void check_held(const struct world *world, const struct slot_view *view)
{
	uint64_t most = world->policy->restart_delay_max;

	if (world->event->what != EV_POLICY || view->state != SLOT_HELD)
		return;
	if (most < world->policy->restart_window)
		most = world->policy->restart_window;
	HOLDS(world, view->due_ms <= world->now_ms + most);
}

static void forget_emptied(struct world *world, uint32_t s)
{
	const struct slot *slot = &world->pool->slots[s];

	if ((slot->state == SLOT_EMPTY || slot->state == SLOT_DRAINED) && slot->replace == REPLACE_NO)
		world->seen[s].tries = 0;
}

static void check_slot(struct world *world, uint32_t s)
{
	struct seen *seen = &world->seen[s];
	struct slot_view view;
	struct instance_view i = { 0 }, n = { 0 };

	HOLDS(world, pool_slot(world->pool, s, &view));
	world->nexts -= seen->next_cookie != 0;
	world->nexts += view.next_cookie != 0;
	seen->cookie = view.cookie;
	seen->next_cookie = view.next_cookie;
	if (view.cookie)
		HOLDS(world, pool_instance(world->pool, view.cookie, &i) && i.slot == s);
	if (view.next_cookie)
		HOLDS(world, pool_instance(world->pool, view.next_cookie, &n) && n.slot == s);
	seen->ready = view.cookie && i.state == INSTANCE_READY;
	HOLDS(world, seen->steered ==
			     (seen->ready || (view.next_cookie && n.state == INSTANCE_READY)));
	HOLDS(world, (view.state == SLOT_LIVE) == (view.cookie != 0));
	if (view.state == SLOT_BACKOFF || view.state == SLOT_HELD)
		HOLDS(world, view.due_ms != NEVER_MS);
	if (view.state != SLOT_BACKOFF && view.state != SLOT_HELD)
		seen->counted = false;
	check_held(world, &view);
	check_age(world, s);
	check_recycled(world, s);
	check_through(world, s);
	forget_emptied(world, s);
}

/* Beside those that are recycled no more than `surge` workers are replaced; on the way back without a pause. */
static void check_roll(const struct world *world)
{
	const struct pool *pool = world->pool;
	uint32_t nexts = 0;

	HOLDS(world, !pool->roll.back || pool->roll.pause_ms == NEVER_MS);
	for (uint32_t s = 0; world->nexts > world->policy->roll_surge && s < pool->wanted; s++)
		nexts += pool->slots[s].next != NO_INDEX && pool->slots[s].replace != REPLACE_RECYCLE;
	HOLDS(world, nexts <= world->policy->roll_surge);
	if (world->event->what == EV_ROLL || world->event->what == EV_READY || world->event->what == EV_SPAWNED)
		HOLDS(world, world->ready >= world->ready_before);
}

static void check_sums(struct world *world)
{
	uint32_t most = world->policy->roll_surge + world->policy->recycle_at_most;
	struct pool_view view;

	pool_view(world->pool, &view);
	HOLDS(world, view.live == world->live);
	HOLDS(world, view.ready == world->ready);
	/* A replacement that took over from one that was leaving anyway was not named by an action. */
	for (uint32_t s = 0; world->nexts > most && s < world->slots_max; s++)
		check_slot(world, s);
	HOLDS(world, world->nexts <= most);
	check_roll(world);
	/* Where a roll has used up its tries it is over, or on its way back. */
	if (world->failed_tries && world->failed_tries == view.roll)
		HOLDS(world, view.roll_back);
}

static void check_stop(const struct world *world)
{
	const struct policy *policy = world->policy;
	uint64_t most = policy->stop_drain_delay + policy->stop_timeout + world->extended_ms +
			UNKILLABLE_MS * UNKILLABLE_TRIES + SLACK_MS;

	if (world->stop_sent)
		HOLDS(world, world->now_ms - world->stop_ms <= most + 30000);
}

/* Slots may change without an action that names them: a replacement that was never born. */
static bool concerns_all(const struct world *world)
{
	enum event_what what = world->event->what;

	return world->roll_ended || what == EV_SCALE || what == EV_DRAIN || what == EV_ROLL ||
	       what == EV_STOP || what == EV_POLICY;
}

void invariants_event(struct world *world)
{
	const struct event *event = world->event;

	if (world->pool->roll.back != world->back)
		forget_tries(world);
	world->back = world->pool->roll.back;
	for (uint32_t s = 0; concerns_all(world) && s < world->slots_max; s++)
		touch(world, s);
	for (uint32_t n = 0; n < world->touched_count; n++)
		check_slot(world, world->touched[n]);
	HOLDS(world, world->ended_reports == (event->what == EV_ENDED));
	check_sums(world);
	check_stop(world);
	if (event->what == EV_TICK && !world->exited)
		HOLDS(world, pool_deadline(world->pool) > world->now_ms);
	if (world->events % WHOLE_CHECK_EVERY == 0)
		HOLDS(world, pool_valid(world->pool));
}

bool invariants_whole(const struct world *world)
{
	struct pool_view view;

	pool_view(world->pool, &view);
	return view.roll == 0 && view.ready == view.wanted && view.live == view.wanted &&
	       !roll_busy(world->pool) && world->nexts == 0;
}
