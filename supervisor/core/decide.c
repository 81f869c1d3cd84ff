#include "supervisor/core/decide.h"

#include "config/rules.h"

bool decide_asked(enum end_cause cause)
{
	return cause >= END_RSS;
}

bool decide_hung(enum end_cause cause)
{
	return cause == END_WATCHDOG || cause == END_HEALTH || cause == END_HUNG;
}

static bool covered(enum restart_when when, const struct life *life)
{
	bool abnormal = life->end.signal != 0 || life->cause == END_TIMEOUT ||
			decide_hung(life->cause);

	switch (when) {
	case RESTART_ALWAYS: return true;
	case RESTART_ON_FAILURE: return abnormal || life->end.code != 0;
	case RESTART_ON_ABNORMAL: return abnormal;
	case RESTART_NEVER: break;
	}
	return false;
}

uint64_t decide_backoff(const struct policy *policy, uint32_t streak, uint32_t dice)
{
	uint64_t delay = policy->restart_delay;

	while (streak-- > 0 && delay > 0 && delay < policy->restart_delay_max)
		delay *= 2;
	if (delay > policy->restart_delay_max)
		delay = policy->restart_delay_max;
	return delay - delay * (dice % 1024) / 4096;
}

/* When the window of a ring has room for one more: the `limit`-th last entry must have left it. */
static uint64_t room_at(const uint64_t *at_ms, uint32_t size, uint32_t used, uint32_t limit,
			uint64_t window_ms)
{
	if (limit == 0 || used < limit)
		return 0;
	return at_ms[(used - limit) % size] + window_ms;
}

static void ring_add(uint64_t *at_ms, uint32_t size, uint32_t *used, uint64_t now_ms)
{
	at_ms[*used % size] = now_ms;
	if (++*used == 2 * size)
		*used = size;
}

void history_add(struct history *history, struct cluster_history *cluster, uint64_t now_ms)
{
	ring_add(history->at_ms, BURST_MAX, &history->used, now_ms);
	ring_add(cluster->at_ms, CLUSTER_BURST_MAX, &cluster->used, now_ms);
}

static void hold(const struct policy *policy, struct decision *d, uint64_t wait_ms)
{
	d->held = true;
	d->delay_ms = policy->restart_delay_max;
	if (d->delay_ms < wait_ms)
		d->delay_ms = wait_ms;
}

static void give_up(const struct policy *policy, struct decision *d, uint64_t wait_ms)
{
	switch (policy->restart_give_up) {
	case GIVE_UP_HOLD: hold(policy, d, wait_ms); break;
	case GIVE_UP_RETIRE: d->next = NEXT_RETIRE; break;
	case GIVE_UP_EXIT: d->next = NEXT_EXIT; break;
	}
}

/* When both budgets have room. */
static uint64_t budget_at(const struct policy *policy, const struct history *history,
			  const struct cluster_history *cluster, uint64_t *ret_slot_ms)
{
	uint64_t slot_ms = room_at(history->at_ms, BURST_MAX, history->used, policy->restart_burst,
				   policy->restart_window);
	uint64_t all_ms = room_at(cluster->at_ms, CLUSTER_BURST_MAX, cluster->used,
				  policy->restart_cluster_burst, policy->restart_window);

	*ret_slot_ms = slot_ms;
	return slot_ms > all_ms ? slot_ms : all_ms;
}

/* A respawn after d->delay_ms, if the budgets have room for it then. */
static struct decision within_budget(const struct policy *policy, const struct history *history,
				     const struct cluster_history *cluster, uint64_t now_ms,
				     struct decision d)
{
	uint64_t slot_ms, room_ms = budget_at(policy, history, cluster, &slot_ms);

	if (room_ms <= now_ms + d.delay_ms)
		return d;
	d.why = slot_ms > now_ms + d.delay_ms ? WHY_BURST : WHY_CLUSTER_BURST;
	give_up(policy, &d, room_ms - now_ms);
	if (d.next != NEXT_RESPAWN)
		d.delay_ms = 0;
	return d;
}

/* A start that failed is never a stable life. */
static bool stable(const struct policy *policy, const struct life *life)
{
	return life->ready && life->lived_ms >= policy->restart_stable;
}

/* What [restart] says for an end that is covered. */
static struct decision by_policy(const struct policy *policy, const struct history *history,
				 const struct life *life, uint32_t dice)
{
	struct decision d = { .next = NEXT_RESPAWN, .why = WHY_STABLE };

	if (stable(policy, life))
		return d;
	d.why = WHY_BACKOFF;
	d.streak = history->streak + 1;
	d.delay_ms = decide_backoff(policy, history->streak, dice);
	return d;
}

static struct decision by_rule(const struct policy *policy, const struct history *history,
			       const struct life *life, const struct exit_rule *rule, uint32_t dice)
{
	struct decision d = { .next = NEXT_RESPAWN, .why = WHY_RULE, .streak = history->streak };

	if (stable(policy, life))
		d.streak = 0;
	switch (rule->action) {
	case EXIT_RESPAWN: break;
	case EXIT_BACKOFF:
		d.delay_ms = decide_backoff(policy, d.streak, dice);
		d.streak++;
		break;
	case EXIT_RETIRE: d.next = NEXT_RETIRE; break;
	case EXIT_END: d.next = NEXT_EXIT; break;
	}
	if (rule->has_delay && d.next == NEXT_RESPAWN)
		d.delay_ms = rule->delay_ms;
	return d;
}

struct decision decide_end(const struct policy *policy, const struct history *history,
			   const struct cluster_history *cluster, const struct life *life,
			   uint32_t dice)
{
	struct rule_end end = {
		.code = life->end.code,
		.signal = life->end.signal,
		.oom = life->end.oom,
		.timeout = life->cause == END_TIMEOUT,
		.watchdog = decide_hung(life->cause),
	};
	const struct exit_rule *rule = exit_rule_find(policy, &end);
	struct decision d;

	if (rule)
		d = by_rule(policy, history, life, rule, dice);
	else if (covered(policy->restart_when, life))
		d = by_policy(policy, history, life, dice);
	else
		d = (struct decision){ .next = NEXT_RETIRE, .why = WHY_POLICY };
	d.unstable = !stable(policy, life);
	if (d.next != NEXT_RESPAWN)
		return d;
	return within_budget(policy, history, cluster, life->now_ms, d);
}

struct decision decide_spawn_error(const struct policy *policy, const struct history *history,
				   const struct cluster_history *cluster, uint64_t now_ms,
				   uint32_t dice)
{
	struct decision d = { .next = NEXT_RESPAWN, .why = WHY_SPAWN, .unstable = true };

	d.streak = history->streak + 1;
	d.delay_ms = decide_backoff(policy, history->streak, dice);
	if (d.delay_ms < SPAWN_PAUSE_MS)
		d.delay_ms = SPAWN_PAUSE_MS;
	return within_budget(policy, history, cluster, now_ms, d);
}

struct decision decide_failed_try(const struct policy *policy, const struct history *history,
				  const struct cluster_history *cluster, uint64_t now_ms,
				  uint32_t dice)
{
	uint64_t slot_ms, room_ms = budget_at(policy, history, cluster, &slot_ms);
	struct decision d = { .next = NEXT_RESPAWN, .why = WHY_ROLL, .unstable = true };

	d.streak = history->streak + 1;
	d.delay_ms = decide_backoff(policy, history->streak, dice);
	if (room_ms > now_ms + d.delay_ms)
		hold(policy, &d, room_ms - now_ms);
	return d;
}

struct decision decide_due(const struct policy *policy, const struct history *history,
			   const struct cluster_history *cluster, uint64_t now_ms)
{
	struct decision d = { .next = NEXT_RESPAWN, .why = WHY_BACKOFF };

	d.streak = history->streak;
	return within_budget(policy, history, cluster, now_ms, d);
}
