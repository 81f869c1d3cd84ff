#include <stdlib.h>

#include "supervisor/core/taking.h"
#include "tests/unit/suite.h"

enum { SPAN_MS = 20000, SEEDS = 20, LIMIT = 128, HANDSHAKES = 1024, STEPS = TAKING_LOOK_MS / TAKING_FULL_LOOK_MS };

/* A handshake under way: when its last packet comes, and how long its client then waits before the next try. */
struct handshake {
	uint64_t due, wait;
};

/* A queue as the kernel keeps it, and what it would never tell. Its clock counts what comes. */
struct world {
	uint64_t now, handed, dropped, queue, rtt, retry;
	size_t count;
	struct handshake shaking[HANDSHAKES];
};

static uint64_t some(uint64_t most)
{
	return most ? (uint64_t)rand() % (most + 1) : 0;
}

/* The network takes half of the time, or half as much again. */
static void first_packet(struct world *w)
{
	w->handed++;
	if (w->queue > LIMIT || w->count == HANDSHAKES)
		w->dropped++;
	else
		w->shaking[w->count++] = (struct handshake){ w->now + w->rtt / 2 + some(w->rtt), w->retry };
}

static void last_packets(struct world *w)
{
	for (size_t n = 0; n < w->count; n++) {
		struct handshake *h = &w->shaking[n];

		if (h->due > w->now)
			continue;
		if (w->queue > LIMIT) {
			w->dropped++;
			h->due += h->wait;
			h->wait *= 2;
			continue;
		}
		w->queue++;
		*h = w->shaking[--w->count];
		n--;
	}
}

/* The share of one step of a tenth of a second in which so many come. */
static uint64_t step_of(uint64_t many, int step)
{
	return many * (uint64_t)(step + 1) / STEPS - many * (uint64_t)step / STEPS;
}

/* So many come, and so many are taken, each at some moment. */
static void passes(struct world *w, uint64_t come, uint64_t taken)
{
	for (uint64_t n = 0; n < come; n++) {
		w->now++;
		first_packet(w);
		last_packets(w);
		if (some(come - n - 1) < taken) {
			taken--;
			w->queue -= w->queue > 0;
		}
	}
}

static bool look(struct taking *t, const struct world *w, uint64_t now_ms)
{
	struct taking_seen seen = { w->handed, w->dropped, w->queue, w->queue > LIMIT };

	return taking_look(t, &seen, now_ms);
}

/* Returns after how long it counts as stuck, SPAN_MS if never. The counts begin just before they wrap. */
static int ms_until_stuck(uint64_t come, uint64_t rtt, uint64_t taken)
{
	struct world w = { .rtt = rtt, .retry = 2 * come, .handed = UINT64_MAX - some(1000), .dropped = UINT64_MAX - some(1000) };
	struct taking t = { 0 };

	for (int n = 0; n < SPAN_MS / TAKING_FULL_LOOK_MS; n++) {
		passes(&w, step_of(come, n % STEPS), step_of(taken, n % STEPS));
		if ((t.full || n % STEPS == STEPS - 1) && look(&t, &w, 1000 + (uint64_t)n * TAKING_FULL_LOOK_MS))
			return n * TAKING_FULL_LOOK_MS;
	}
	return SPAN_MS;
}

static const struct {
	uint64_t come, rtt;
} loads[] = {
	{ 1, 0 },   { 10, 0 },  { 1000, 0 },   /* from this machine; the last fills the queue at once */
	{ 10, 10 }, { 50, 20 }, { 500, 100 },  /* from far: some handshakes are always under way */
};

START_TEST(hung_is_seen_under_each_load)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		srand(seed);
		ck_assert_int_lt(ms_until_stuck(loads[_i].come, loads[_i].rtt, 0), 6000);
	}
}
END_TEST

START_TEST(hung_is_seen_at_once_without_handshakes)
{
	ck_assert_int_le(ms_until_stuck(1, 0, 0), TAKING_SAME_MS + TAKING_LOOK_MS);
	ck_assert_int_le(ms_until_stuck(1000, 0, 0), TAKING_SAME_MS + TAKING_LOOK_MS);
}
END_TEST

/* Half of what comes is taken, or a fifth: too much to do is not hung. Where handshakes hide it, once in a minute or two. */
START_TEST(busy_is_not_hung)
{
	uint64_t shares[] = { 2, 5 };
	int wrong = 0;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		srand(seed);
		for (int n = 0; n < 2; n++) {
			uint64_t taken = loads[_i].come / shares[n];

			wrong += taken > 0 && ms_until_stuck(loads[_i].come, loads[_i].rtt, taken) < SPAN_MS;
		}
	}
	ck_assert_int_le(wrong, loads[_i].rtt > 0 ? 1 : 0);
}
END_TEST

START_TEST(idle_is_not_hung)
{
	struct world w = { .handed = 7 };
	struct taking t = { 0 };

	for (uint64_t now = 1000; now < 5000; now += TAKING_LOOK_MS)
		ck_assert(!look(&t, &w, now));
	ck_assert_uint_eq(t.moved_ms, 0);
	w.queue = 1;
	ck_assert(!look(&t, &w, 5000));
	ck_assert_uint_eq(t.still_ms, 4900);
}
END_TEST

START_TEST(each_sign_of_life)
{
	struct world w = { .handed = 10, .queue = 4 };
	struct taking t = { 0 };

	ck_assert(!look(&t, &w, 1000));
	ck_assert(!look(&t, &w, 1299));
	ck_assert(look(&t, &w, 1300));
	ck_assert_uint_eq(t.moved_ms, 0); /* the first look tells nothing */
	w.queue--;
	ck_assert(!look(&t, &w, 1400));
	ck_assert_uint_eq(t.moved_ms, 1400);
	ck_assert(look(&t, &w, 1700));
	w.handed++; /* taken at once, or a handshake */
	ck_assert(!look(&t, &w, 1800));
	ck_assert_uint_eq(t.moved_ms, 1800);
	w.queue++; /* the handshake is through */
	ck_assert(!look(&t, &w, 2100));
	w.handed++; /* another one: no more than there was */
	ck_assert(!look(&t, &w, 2400));
	w.queue++;
	ck_assert(!look(&t, &w, 2699));
	w.handed++;
	ck_assert(!look(&t, &w, 2799));
	ck_assert(look(&t, &w, 2800)); /* it goes up and down, but has not gone on for a second */
	ck_assert_uint_eq(t.moved_ms, 1800);
	taking_forget(&t);
	ck_assert(!look(&t, &w, 2900));
	ck_assert(look(&t, &w, 3200));
}
END_TEST

START_TEST(counts_that_wrap)
{
	ck_assert(taking_above(1, 0));
	ck_assert(!taking_above(0, 0));
	ck_assert(!taking_above(0, 1));
	ck_assert(taking_above(0, UINT64_MAX));
	ck_assert(!taking_above(UINT64_MAX, 0));
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, hung_is_seen_under_each_load, 0, sizeof loads / sizeof *loads);
	tcase_add_test(tests, hung_is_seen_at_once_without_handshakes);
	tcase_add_loop_test(tests, busy_is_not_hung, 0, sizeof loads / sizeof *loads);
	tcase_add_test(tests, idle_is_not_hung);
	tcase_add_test(tests, each_sign_of_life);
	tcase_add_test(tests, counts_that_wrap);
}

int main(void)
{
	return run_suite("core/taking", add_tests);
}
