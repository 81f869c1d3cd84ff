#include <signal.h>
#include <string.h>

#include "supervisor/core/decide.h"
#include "tests/unit/core_policy.h"
#include "tests/unit/suite.h"

enum { NOW_MS = 1000000, MINUTE = 60000 };

/* What [restart] and [exit RULE] say: A8, A9 of the catalogue. dice = 0, so no jitter. */
static const struct row {
	const char *given; /* policy, over the defaults */
	enum end_cause cause;
	struct ended end;
	uint64_t lived_ms;
	uint32_t streak; /* before */
	enum next_action next;
	enum why why;
	uint64_t delay_ms;
	uint32_t after; /* streak */
} rows[] = {
	/* clang-format off */
	/* [restart] when = always: everything comes back; stable at once, else with backoff */
	{ "",                           END_SELF,     { .code = 0 },         MINUTE, 0, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	{ "",                           END_SELF,     { .code = 0 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "",                           END_SELF,     { .code = 7 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "",                           END_SELF,     { .signal = SIGSEGV }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "",                           END_SELF,     { .signal = SIGSEGV }, MINUTE, 9, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	{ "",                           END_SELF,     { .signal = SIGKILL, .oom = true }, 50, 0, NEXT_RESPAWN, WHY_BACKOFF, 100, 1 },
	{ "",                           END_WATCHDOG, { .signal = SIGABRT }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	/* `stable` is exact */
	{ "",                           END_SELF,     { .code = 1 },         9999,   0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "",                           END_SELF,     { .code = 1 },         10000,  0, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	{ "restart.stable=0",           END_SELF,     { .code = 1 },         0,      3, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	/* the delay doubles, and is capped */
	{ "",                           END_SELF,     { .code = 1 },         50,     1, NEXT_RESPAWN, WHY_BACKOFF, 200,  2 },
	{ "",                           END_SELF,     { .code = 1 },         50,     8, NEXT_RESPAWN, WHY_BACKOFF, 25600, 9 },
	{ "",                           END_SELF,     { .code = 1 },         50,     9, NEXT_RESPAWN, WHY_BACKOFF, 30000, 10 },
	{ "",                           END_SELF,     { .code = 1 },         50, 99999, NEXT_RESPAWN, WHY_BACKOFF, 30000, 100000 },
	{ "restart.delay=0",            END_SELF,     { .code = 1 },         50,     5, NEXT_RESPAWN, WHY_BACKOFF, 0,    6 },
	{ "restart.delay=1m",           END_SELF,     { .code = 1 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 30000, 1 },
	/* when = on-failure: a non-zero code or any signal, and what hung or never got ready */
	{ "restart.when=on-failure",    END_SELF,     { .code = 0 },         MINUTE, 0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	{ "restart.when=on-failure",    END_SELF,     { .code = 7 },         MINUTE, 0, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	{ "restart.when=on-failure",    END_SELF,     { .signal = SIGSEGV }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "restart.when=on-failure",    END_TIMEOUT,  { .code = 0 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "restart.when=on-failure",    END_WATCHDOG, { .code = 0 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	/* when = on-abnormal: no exit status */
	{ "restart.when=on-abnormal",   END_SELF,     { .code = 0 },         50,     0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	{ "restart.when=on-abnormal",   END_SELF,     { .code = 7 },         50,     0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	{ "restart.when=on-abnormal",   END_SELF,     { .signal = SIGSEGV }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "restart.when=on-abnormal",   END_TIMEOUT,  { .code = 7 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "restart.when=on-abnormal",   END_HEALTH,   { .code = 7 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "restart.when=on-abnormal",   END_HUNG,     { .code = 7 },         50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	/* when = never */
	{ "restart.when=never",         END_SELF,     { .code = 0 },         50,     0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	{ "restart.when=never",         END_SELF,     { .signal = SIGSEGV }, 50,     0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	{ "restart.when=never",         END_TIMEOUT,  { .signal = SIGTERM }, 50,     0, NEXT_RETIRE,  WHY_POLICY,  0,    0 },
	/* [exit RULE] beats all of that */
	{ "exit.78=retire",             END_SELF,     { .code = 78 },        MINUTE, 0, NEXT_RETIRE,  WHY_RULE,    0,    0 },
	{ "exit.78=retire",             END_SELF,     { .code = 77 },        MINUTE, 0, NEXT_RESPAWN, WHY_STABLE,  0,    0 },
	{ "exit.64-78=exit",            END_SELF,     { .code = 64 },        50,     0, NEXT_EXIT,    WHY_RULE,    0,    0 },
	{ "exit.64-78=exit exit.75=respawn", END_SELF, { .code = 75 },       50,     4, NEXT_RESPAWN, WHY_RULE,    0,    4 },
	{ "exit.75=respawn:5000",       END_SELF,     { .code = 75 },        50,     4, NEXT_RESPAWN, WHY_RULE,    5000, 4 },
	{ "exit.75=respawn",            END_SELF,     { .code = 75 },        MINUTE, 4, NEXT_RESPAWN, WHY_RULE,    0,    0 },
	{ "exit.75=respawn:5000",       END_SELF,     { .code = 75 },        MINUTE, 4, NEXT_RESPAWN, WHY_RULE,    5000, 0 },
	{ "exit.75=backoff",            END_SELF,     { .code = 75 },        50,     2, NEXT_RESPAWN, WHY_RULE,    400,  3 },
	{ "exit.75=backoff",            END_SELF,     { .code = 75 },        MINUTE, 2, NEXT_RESPAWN, WHY_RULE,    100,  1 },
	{ "exit.75=backoff:7000",       END_SELF,     { .code = 75 },        50,     2, NEXT_RESPAWN, WHY_RULE,    7000, 3 },
	{ "exit.75=retire:7000",        END_SELF,     { .code = 75 },        50,     2, NEXT_RETIRE,  WHY_RULE,    0,    2 },
	{ "restart.when=never exit.0=respawn", END_SELF, { .code = 0 },      50,     0, NEXT_RESPAWN, WHY_RULE,    0,    0 },
	{ "exit.SIGSEGV=exit",          END_SELF,     { .signal = SIGSEGV }, 50,     0, NEXT_EXIT,    WHY_RULE,    0,    0 },
	{ "exit.oom=retire exit.SIGKILL=exit", END_SELF, { .signal = SIGKILL, .oom = true }, 50, 0, NEXT_RETIRE, WHY_RULE, 0, 0 },
	{ "exit.oom=retire",            END_SELF,     { .signal = SIGKILL }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	{ "exit.timeout=exit exit.SIGTERM=retire", END_TIMEOUT, { .signal = SIGTERM }, 50, 0, NEXT_EXIT, WHY_RULE, 0, 0 },
	{ "exit.watchdog=retire",       END_WATCHDOG, { .signal = SIGABRT }, MINUTE, 0, NEXT_RETIRE,  WHY_RULE,    0,    0 },
	{ "exit.watchdog=retire",       END_HUNG,     { .signal = SIGABRT }, MINUTE, 0, NEXT_RETIRE,  WHY_RULE,    0,    0 },
	{ "exit.watchdog=retire",       END_HEALTH,   { .signal = SIGABRT }, MINUTE, 0, NEXT_RETIRE,  WHY_RULE,    0,    0 },
	{ "exit.watchdog=retire",       END_TIMEOUT,  { .signal = SIGABRT }, 50,     0, NEXT_RESPAWN, WHY_BACKOFF, 100,  1 },
	/* clang-format on */
};

START_TEST(follows)
{
	const struct row *row = &rows[_i];
	struct policy *policy = policy_with(row->given);
	struct history history = { .streak = row->streak };
	struct cluster_history cluster = { 0 };
	struct life life = { .now_ms = NOW_MS,
			     .lived_ms = row->lived_ms,
			     .ready = true,
			     .cause = row->cause,
			     .end = row->end };
	struct decision d = decide_end(policy, &history, &cluster, &life, 0);

	ck_assert_int_eq(d.next, row->next);
	ck_assert_int_eq(d.why, row->why);
	ck_assert_uint_eq(d.delay_ms, row->delay_ms);
	if (row->next == NEXT_RESPAWN)
		ck_assert_uint_eq(d.streak, row->after);
	ck_assert(!d.held);
	free(policy);
}
END_TEST

START_TEST(a_start_that_failed_is_never_a_stable_life)
{
	struct policy *policy = policy_with("");
	struct history history = { 0 };
	struct cluster_history cluster = { 0 };
	struct life life = { .now_ms = NOW_MS, .lived_ms = MINUTE, .cause = END_TIMEOUT };

	ck_assert_int_eq(decide_end(policy, &history, &cluster, &life, 0).why, WHY_BACKOFF);
	free(policy);
}
END_TEST

/* C7: a thousand that died at once come back one after the other, as far as their delay has room for it. */
START_TEST(a_crowd_does_not_come_back_at_once)
{
	enum { CROWD = 1000, BIN_MS = 100, BINS = 400 };
	struct policy *policy = policy_with("");
	int bins[BINS] = { 0 };
	uint32_t dice = 1;

	for (int i = 0; i < CROWD; i++) {
		dice = dice * 1664525 + 1013904223;
		bins[decide_backoff(policy, 4, dice) / BIN_MS]++; /* 1.6 s: four bins */
	}
	for (int i = 0; i < BINS; i++)
		ck_assert_int_le(bins[i], CROWD * 3 / 10);
	memset(bins, 0, sizeof bins);
	for (int i = 0; i < CROWD; i++) {
		dice = dice * 1664525 + 1013904223;
		bins[decide_backoff(policy, 20, dice) / BIN_MS]++; /* delay_max: 75 bins */
	}
	for (int i = 0; i < BINS; i++)
		ck_assert_int_le(bins[i], CROWD / 20);
	free(policy);
}
END_TEST

START_TEST(jitter_takes_at_most_a_quarter)
{
	struct policy *policy = policy_with("restart.delay=4s");
	uint64_t least = UINT64_MAX, most = 0;

	for (uint32_t dice = 0; dice < 5000; dice++) {
		uint64_t delay = decide_backoff(policy, 0, dice);

		least = delay < least ? delay : least;
		most = delay > most ? delay : most;
	}
	ck_assert_uint_eq(most, 4000);
	ck_assert_uint_ge(least, 3000);
	ck_assert_uint_le(least, 3004);
	free(policy);
}
END_TEST

/* C1, C2: burst 2 in 10 s, two respawns at 0 and 1000; the next at `at`. */
static const struct budget_row {
	const char *given;
	uint64_t now_ms; /* of the third end; its respawn would be now */
	enum next_action next;
	enum why why;
	bool held;
	uint64_t delay_ms;
} budget_rows[] = {
	/* clang-format off */
	{ "restart.burst=2",                                   5000,  NEXT_RESPAWN, WHY_BURST,  true,  30000 },
	{ "restart.burst=2 restart.delay_max=1s",              5000,  NEXT_RESPAWN, WHY_BURST,  true,  5000 },
	{ "restart.burst=2 restart.delay_max=1s",              9999,  NEXT_RESPAWN, WHY_BURST,  true,  1000 },
	{ "restart.burst=2",                                   10000, NEXT_RESPAWN, WHY_STABLE, false, 0 },
	{ "restart.burst=2 restart.give_up=retire",            9999,  NEXT_RETIRE,  WHY_BURST,  false, 0 },
	{ "restart.burst=2 restart.give_up=exit",              9999,  NEXT_EXIT,    WHY_BURST,  false, 0 },
	{ "restart.burst=2 restart.give_up=exit",              10000, NEXT_RESPAWN, WHY_STABLE, false, 0 },
	{ "restart.burst=1 restart.give_up=exit",              10999, NEXT_EXIT,    WHY_BURST,  false, 0 },
	{ "restart.burst=1 restart.give_up=exit",              11000, NEXT_RESPAWN, WHY_STABLE, false, 0 },
	{ "restart.burst=3 restart.give_up=exit",              1001,  NEXT_RESPAWN, WHY_STABLE, false, 0 },
	{ "restart.cluster_burst=2 restart.give_up=exit",      9999,  NEXT_EXIT, WHY_CLUSTER_BURST, false, 0 },
	{ "restart.cluster_burst=2 restart.give_up=exit",      10000, NEXT_RESPAWN, WHY_STABLE, false, 0 },
	{ "restart.cluster_burst=1 restart.burst=2 restart.give_up=exit", 9999, NEXT_EXIT, WHY_BURST, false, 0 },
	{ "restart.cluster_burst=1 restart.burst=2 restart.give_up=exit", 10500, NEXT_EXIT, WHY_CLUSTER_BURST, false, 0 },
	/* the respawn counts when it happens, not when it is decided */
	{ "restart.burst=2 restart.stable=1h restart.delay=4s restart.give_up=exit", 5999, NEXT_EXIT, WHY_BURST, false, 0 },
	{ "restart.burst=2 restart.stable=1h restart.delay=4s restart.give_up=exit", 6000, NEXT_RESPAWN, WHY_BACKOFF, false, 4000 },
	/* clang-format on */
};

START_TEST(budgets)
{
	const struct budget_row *row = &budget_rows[_i];
	struct policy *policy = policy_with(row->given);
	struct history history = { 0 };
	struct cluster_history cluster = { 0 };
	struct life life = { .now_ms = row->now_ms, .lived_ms = MINUTE, .ready = true };
	struct decision d;

	policy->restart_window = 10000;
	history_add(&history, &cluster, 0);
	history_add(&history, &cluster, 1000);
	d = decide_end(policy, &history, &cluster, &life, 0);
	ck_assert_int_eq(d.next, row->next);
	ck_assert_int_eq(d.why, row->why);
	ck_assert_int_eq(d.held, row->held);
	ck_assert_uint_eq(d.delay_ms, row->delay_ms);
	free(policy);
}
END_TEST

/* Whatever happens, no window ever holds more than burst respawns. */
START_TEST(never_more_than_burst_in_a_window)
{
	static const uint32_t bursts[] = { 1, 2, 5, BURST_MAX };
	uint32_t burst = bursts[_i];
	struct policy *policy = policy_with("restart.window=1s restart.delay=0 restart.stable=1h");
	struct history history = { 0 };
	struct cluster_history cluster = { 0 };
	static uint64_t at[20000];
	uint64_t now = 0;
	size_t n = 0, allowed = 0;

	policy->restart_burst = burst;
	policy->restart_give_up = GIVE_UP_RETIRE;
	srand((unsigned)_i);
	for (int round = 0; round < 20000; round++) {
		struct life life = { .now_ms = now += (uint64_t)(rand() % (int)(3000 / burst)) };

		if (decide_end(policy, &history, &cluster, &life, 0).next != NEXT_RESPAWN) {
			ck_assert(n >= burst && now - at[n - burst] < 1000); /* not one too few */
			continue;
		}
		history_add(&history, &cluster, now);
		at[n++] = now;
		allowed++;
		ck_assert(n <= burst || at[n - 1] - at[n - 1 - burst] >= 1000);
	}
	ck_assert_uint_gt(allowed, 1000);
	free(policy);
}
END_TEST

START_TEST(a_spawn_error_backs_off_like_a_short_life)
{
	struct policy *policy = policy_with("");
	struct history history = { .streak = 2 };
	struct cluster_history cluster = { 0 };
	struct decision d = decide_spawn_error(policy, &history, &cluster, NOW_MS, 0);

	ck_assert_int_eq(d.next, NEXT_RESPAWN);
	ck_assert_int_eq(d.why, WHY_SPAWN);
	ck_assert_uint_eq(d.delay_ms, 400);
	ck_assert_uint_eq(d.streak, 3);
	free(policy);
}
END_TEST

/* Each failure is known within the turn that tried: without a pause no turn would ever end. */
START_TEST(a_spawn_error_is_never_tried_again_at_once)
{
	static const char *const texts[] = { "restart.delay=0", "restart.delay=1ms",
		                             "restart.delay_max=0", "restart.delay=120ms" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct policy *policy = policy_with(texts[i]);
		struct history history = { 0 };
		struct cluster_history cluster = { 0 };

		for (uint32_t dice = 0; dice < 1024; dice++)
			ck_assert_uint_ge(decide_spawn_error(policy, &history, &cluster, NOW_MS, dice).delay_ms,
			                  SPAWN_PAUSE_MS);
		free(policy);
	}
}
END_TEST

START_TEST(only_what_we_asked_for_is_asked)
{
	for (int cause = 0; cause < END_CAUSES; cause++) {
		bool fault = cause == END_SELF || cause == END_TIMEOUT || cause == END_WATCHDOG ||
			     cause == END_HEALTH || cause == END_HUNG;

		ck_assert_int_eq(decide_asked((enum end_cause)cause), !fault);
	}
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, follows, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(tests, budgets, 0, sizeof(budget_rows) / sizeof(budget_rows[0]));
	tcase_add_loop_test(tests, never_more_than_burst_in_a_window, 0, 4);
	tcase_add_test(tests, a_start_that_failed_is_never_a_stable_life);
	tcase_add_test(tests, a_crowd_does_not_come_back_at_once);
	tcase_add_test(tests, jitter_takes_at_most_a_quarter);
	tcase_add_test(tests, a_spawn_error_backs_off_like_a_short_life);
	tcase_add_test(tests, a_spawn_error_is_never_tried_again_at_once);
	tcase_add_test(tests, only_what_we_asked_for_is_asked);
}

int main(void)
{
	return run_suite("core/decide", add_tests);
}
