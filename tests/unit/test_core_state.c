#include "tests/unit/core_play.h"
#include "tests/unit/suite.h"

#define QUIET "restart.delay=3ms ready.when=notify "

/* Pools in all kinds of states. */
static const char *const scripts[] = {
	"start 0",
	"start 3",
	"start 3; spawned 1; spawned 2; ready 1; end 2 1",
	"start 3; spawned 1; spawned 2; spawned 3; ready 1; ready 2; roll 2; spawned 4; ready 4",
	"start 3; spawned 1; spawned 2; spawned 3; ready 1; ready 2; roll 2; spawned 4; end 4 1",
	"start 3; spawned 1; ready 1; big 1; restart 1; drain 2; scale 4",
	"start 2; spawned 1; ready 1; roll 2; spawned 3; ready 3; at 101; stopping 3; kill 0",
	"start 2; spawned 1; spawned 2; ready 1; ready 2; roll 2; spawned 3; ready 3; at 101; end 3 1",
	"start 2; spawned 1; spawned 2; ready 1; stop; at 30001; at 40001",
	"start 4; scale 1; scale 4; scale 2",
};

enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

struct saved {
	unsigned char *bytes;
	size_t size;
};

static struct saved save(const struct pool *pool)
{
	struct saved s = { .size = pool_save(pool, NULL, 0) };

	s.bytes = malloc(s.size);
	ck_assert_ptr_nonnull(s.bytes);
	ck_assert_uint_eq(pool_save(pool, s.bytes, s.size), s.size);
	return s;
}

static struct pool *load(const struct saved *s, const struct policy *policy, void **ret_memory)
{
	*ret_memory = malloc(pool_size(4, 16));
	ck_assert_ptr_nonnull(*ret_memory);
	return pool_load(s->bytes, s->size, *ret_memory, 4, 16, policy);
}

START_TEST(round_trip)
{
	struct play p;
	struct saved first, second;
	struct pool *copy;
	uint32_t slots = 0, instances = 0;
	void *memory;

	play_begin(&p, QUIET, 4, 16);
	play(&p, scripts[_i]);
	first = save(p.pool);
	ck_assert(pool_load_size(first.bytes, first.size, &slots, &instances));
	ck_assert_uint_eq(slots, 4);
	ck_assert_uint_eq(instances, 16);
	copy = load(&first, p.policy, &memory);
	ck_assert_ptr_nonnull(copy);
	ck_assert_uint_eq(pool_deadline(copy), pool_deadline(p.pool));
	second = save(copy);
	ck_assert_uint_eq(first.size, second.size);
	ck_assert_mem_eq(first.bytes, second.bytes, first.size);
	free(first.bytes);
	free(second.bytes);
	free(memory);
	play_end(&p);
}
END_TEST

START_TEST(any_truncation_is_refused)
{
	struct play p;
	struct saved s;
	void *memory;
	size_t size;

	play_begin(&p, QUIET, 4, 16);
	play(&p, scripts[_i]);
	s = save(p.pool);
	size = s.size;
	for (s.size = 0; s.size < size; s.size++) {
		unsigned char *exact = malloc(s.size + 1); /* an over-read is seen by ASan */
		struct saved cut = { exact, s.size };

		memcpy(exact, s.bytes, s.size);
		ck_assert_ptr_null(load(&cut, p.policy, &memory));
		free(memory);
		free(exact);
	}
	free(s.bytes);
	play_end(&p);
}
END_TEST

START_TEST(any_flip_is_refused)
{
	struct play p;
	struct saved s;
	void *memory;

	play_begin(&p, QUIET, 4, 16);
	play(&p, scripts[_i]);
	s = save(p.pool);
	for (size_t bit = 0; bit < 8 * s.size; bit++) {
		s.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_ptr_null(load(&s, p.policy, &memory));
		s.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		free(memory);
	}
	free(s.bytes);
	play_end(&p);
}
END_TEST

/* Someone who also mends the checksum gets a pool that is valid, or none. */
START_TEST(a_forged_state_is_refused_or_harmless)
{
	enum { SUM_AT = 24, SUMMED_FROM = 32 };
	struct play p, q;
	struct saved s;
	int loaded = 0;

	play_begin(&p, QUIET, 4, 16);
	play(&p, scripts[_i]);
	s = save(p.pool);
	for (size_t at = SUMMED_FROM; at < s.size; at++) {
		unsigned char was = s.bytes[at];
		uint64_t sum = 0xcbf29ce484222325;
		void *memory;

		s.bytes[at] = (unsigned char)(was ^ (1 << at % 8));
		for (size_t n = SUMMED_FROM; n < s.size; n++)
			sum = (sum ^ s.bytes[n]) * 0x100000001b3;
		memcpy(s.bytes + SUM_AT, &sum, sizeof(sum));
		q = p;
		q.pool = load(&s, p.policy, &memory);
		if (q.pool) {
			loaded++;
			ck_assert(pool_valid(q.pool));
			play(&q, "at 100000; scale 3; roll 9; at 200000; stop; stop");
		}
		free(memory);
		s.bytes[at] = was;
	}
	ck_assert_int_gt(loaded, 0);
	free(s.bytes);
	play_end(&p);
}
END_TEST

/* At NEVER_MS even what never comes is due, for ever. */
START_TEST(a_clock_at_its_end_is_refused)
{
	struct play p;
	struct saved s;
	void *memory;

	play_begin(&p, QUIET, 4, 16);
	play(&p, "start 1; spawned 1; ready 1");
	p.pool->now_ms = NEVER_MS;
	s = save(p.pool);
	ck_assert_ptr_null(load(&s, p.policy, &memory));
	free(memory);
	free(s.bytes);
	p.pool->now_ms = 1;
	play_end(&p);
}
END_TEST

START_TEST(does_not_fit_a_smaller_pool)
{
	struct play p;
	struct saved s;
	void *memory = malloc(pool_size(4, 16));

	play_begin(&p, QUIET, 4, 16);
	play(&p, "start 3");
	s = save(p.pool);
	ck_assert_ptr_null(pool_load(s.bytes, s.size, memory, 3, 16, p.policy));
	ck_assert_ptr_null(pool_load(s.bytes, s.size, memory, 4, 2, p.policy));
	ck_assert_ptr_nonnull(pool_load(s.bytes, s.size, memory, 4, 3, p.policy));
	free(memory);
	free(s.bytes);
	play_end(&p);
}
END_TEST

START_TEST(resized_it_goes_on)
{
	struct play p;
	struct pool *old;

	play_begin(&p, QUIET, 2, 2);
	play(&p, "start 2; spawned 1; spawned 2; ready 1; ready 2; scale 9 > ; roll 2 > ");
	old = p.pool;
	p.pool = pool_resize(old, malloc(pool_size(4, 8)), 4, 8);
	free(old);
	play(&p, "at 2 > spawn 0#3g2; scale 3 > spawn 2#4; end 1 1 > -0, move 0, died #1 respawn 3; "
		 "at 5 > spawn 0#5; stop > rolled stopped, -1, term #2");
	play_end(&p);
}
END_TEST

/* A slot that a roll is through with is waited for only where it does not serve, and not on the way back. */
START_TEST(what_a_roll_waits_for)
{
	struct play p;
	struct slot *slot;

	play_begin(&p, QUIET "roll.tries=9 roll.pause=1h", 4, 16);
	play(&p, "start 2; spawned 1; spawned 2; ready 1; ready 2; roll 2; spawned 3; ready 3; at 101");
	slot = &p.pool->slots[0];
	play(&p, "end 3 1");
	ck_assert(slot->replacing && slot->next == NO_INDEX && pool_valid(p.pool));
	p.pool->roll.back = true;
	ck_assert(!pool_valid(p.pool));
	p.pool->roll.back = false;
	play(&p, "at 104; spawned 4; ready 4");
	ck_assert(!slot->replacing && pool_valid(p.pool));
	slot->replace = REPLACE_ROLL;
	slot->replacing = true;
	p.pool->replacing[REPLACE_ROLL]++;
	ck_assert(!pool_valid(p.pool));
	play_end(&p);
}
END_TEST

/* What another version has counted otherwise is counted anew. */
START_TEST(what_a_roll_has_done)
{
	struct play p;
	struct pool *copy;
	struct saved s;
	void *memory;

	play_begin(&p, QUIET, 4, 16);
	play(&p, "start 2; spawned 1; spawned 2; ready 1; ready 2; roll 2; spawned 3; ready 3; at 101");
	ck_assert_uint_eq(p.pool->roll.done, 1);
	p.pool->roll.done = 2;
	ck_assert(!pool_valid(p.pool));
	s = save(p.pool);
	copy = load(&s, p.policy, &memory);
	ck_assert_ptr_nonnull(copy);
	ck_assert_uint_eq(copy->roll.done, 1);
	free(s.bytes);
	free(memory);
	play_end(&p);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, round_trip, 0, SCRIPTS);
	tcase_add_loop_test(tests, any_truncation_is_refused, 0, SCRIPTS);
	tcase_add_loop_test(tests, any_flip_is_refused, 0, SCRIPTS);
	tcase_add_loop_test(tests, a_forged_state_is_refused_or_harmless, 0, SCRIPTS);
	tcase_add_test(tests, a_clock_at_its_end_is_refused);
	tcase_add_test(tests, does_not_fit_a_smaller_pool);
	tcase_add_test(tests, resized_it_goes_on);
	tcase_add_test(tests, what_a_roll_waits_for);
	tcase_add_test(tests, what_a_roll_has_done);
}

int main(void)
{
	return run_suite("core/state", add_tests);
}
