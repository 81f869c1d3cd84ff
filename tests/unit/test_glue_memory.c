/* memory: the last deaths of each slot, in order, whatever the slot has been through. */
#include "supervisor/internal.h"

#include <string.h>

#include "tests/unit/suite.h"

enum { SLOTS = 3, DEATHS = 3 * ENDS_MAX + 7 };

static struct supervisor s;
static int steer_error, steered, steer_freed;

/* ---- doubles ---- */

int steer_grow(struct supervisor *of, uint32_t slots)
{
	ck_assert_ptr_eq(of, &s);
	steered = (int)slots;
	return steer_error;
}

void steer_free(struct supervisor *of)
{
	ck_assert_ptr_eq(of, &s);
	steer_freed++;
}

/* ---- */

static void grow(uint32_t slots)
{
	ck_assert_int_eq(memory_grow(&s, slots), 0);
	ck_assert_int_eq(steered, (int)slots);
	s.slots_max = slots;
}

static void setup(void)
{
	memset(&s, 0, sizeof s);
	steer_error = steer_freed = 0;
	grow(SLOTS);
}

static void teardown(void)
{
	memory_free(&s);
	ck_assert_int_eq(steer_freed, 1);
}

static void die(uint32_t slot, int32_t pid)
{
	memory_add_end(&s, slot, &(struct end_record){ .pid = pid });
}

/* The history of the slot is newest, newest - 1, ... : so many. */
static void assert_history(uint32_t slot, int32_t newest, uint32_t count)
{
	struct end_record end = { .pid = -1 };

	for (uint32_t i = 0; i < count; i++) {
		ck_assert(sup_end(&s, slot, i, &end));
		ck_assert_int_eq(end.pid, newest - (int32_t)i);
	}
	ck_assert(!sup_end(&s, slot, count, &end));
}

START_TEST(who_never_died_has_no_history)
{
	struct end_record end = { .pid = 7 };

	for (uint32_t slot = 0; slot <= SLOTS; slot++)
		ck_assert(!sup_end(&s, slot, 0, &end));
	ck_assert_int_eq(end.pid, 7);
	ck_assert_ptr_null(s.memory[0].ends[0]);
}
END_TEST

START_TEST(the_oldest_makes_room)
{
	for (int32_t n = 1; n <= DEATHS; n++) {
		die(1, n);
		assert_history(1, n, n < ENDS_MAX ? (uint32_t)n : ENDS_MAX);
	}
	assert_history(0, 0, 0);
	assert_history(2, 0, 0);
}
END_TEST

static void assert_equal(const struct end_record *a, const struct end_record *b)
{
#define SAME(field) ck_assert_msg(a->field == b->field, #field " differs")
	SAME(wall_ms);
	SAME(lived_ms);
	SAME(delay_ms);
	SAME(generation);
	SAME(pid);
	SAME(cpu_user_ms);
	SAME(cpu_sys_ms);
	SAME(max_rss_kb);
	SAME(code);
	SAME(signal);
	SAME(core);
	SAME(oom);
	SAME(asked);
	SAME(cause);
	SAME(next);
	SAME(why);
	SAME(streak);
	SAME(rule);
#undef SAME
}

/* Packed into few bits, and out again: each row sets what the one before left out. */
static const struct end_record records[] = {
	{ 0 },
	{ .wall_ms = (1LL << 48) - 1, .delay_ms = UINT32_MAX, .pid = INT32_MAX, .cpu_sys_ms = UINT32_MAX, .code = 255,
	  .core = 1, .asked = 1, .next = NEXT_ACTIONS - 1, .streak = UINT16_MAX },
	{ .lived_ms = (1ULL << 48) - 1, .generation = UINT32_MAX, .cpu_user_ms = UINT32_MAX, .max_rss_kb = UINT32_MAX,
	  .signal = 64, .oom = 1, .cause = END_CAUSES - 1, .why = WHYS - 1, .rule = UINT16_MAX },
	{ .asked = 1 },
	{ .core = 1 },
	{ .oom = 1 },
	{ .cause = 1, .next = 2, .why = 3, .code = 4, .signal = 5, .delay_ms = 6, .generation = 7, .pid = 8,
	  .cpu_user_ms = 9, .cpu_sys_ms = 10, .max_rss_kb = 11, .streak = 12, .rule = 13, .lived_ms = 14, .wall_ms = 15 },
};

START_TEST(every_field_is_kept)
{
	struct end_record end;

	memory_add_end(&s, 0, &records[_i]);
	ck_assert(sup_end(&s, 0, 0, &end));
	assert_equal(&end, &records[_i]);
}
END_TEST

START_TEST(more_slots_keep_what_was)
{
	for (int32_t n = 1; n <= ENDS_CHUNK + 1; n++)
		die(SLOTS - 1, n);
	memory_last_line(&s, 0, "out of memory");
	s.memory[1].starts = 5;
	grow(2 * SLOTS);
	assert_history(SLOTS - 1, ENDS_CHUNK + 1, ENDS_CHUNK + 1);
	ck_assert_str_eq(s.memory[0].last_line, "out of memory");
	ck_assert_uint_eq(s.memory[1].starts, 5);
	for (uint32_t slot = SLOTS; slot < 2 * SLOTS; slot++) {
		assert_history(slot, 0, 0);
		ck_assert_ptr_null(s.memory[slot].last_line);
	}
	die(2 * SLOTS - 1, 1);
	assert_history(2 * SLOTS - 1, 1, 1);
}
END_TEST

/* What could not grow is as it was. */
START_TEST(no_room_for_more_slots)
{
	struct slot_memory *before = s.memory;

	die(1, 42);
	steer_error = -ENOMEM;
	ck_assert_int_eq(memory_grow(&s, 2 * SLOTS), -ENOMEM);
	ck_assert_ptr_eq(s.memory, before);
	assert_history(1, 42, 1);
}
END_TEST

START_TEST(last_words_are_cut)
{
	char line[LAST_LINE_MAX + 50];

	memset(line, 'x', sizeof line - 1);
	line[sizeof line - 1] = '\0';
	memory_last_line(&s, 0, line);
	ck_assert_uint_eq(strlen(s.memory[0].last_line), LAST_LINE_MAX);
	memory_last_line(&s, 0, "short");
	ck_assert_str_eq(s.memory[0].last_line, "short");
	ck_assert_ptr_null(s.memory[1].last_line);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, who_never_died_has_no_history);
	tcase_add_test(tests, the_oldest_makes_room);
	tcase_add_loop_test(tests, every_field_is_kept, 0, (int)(sizeof records / sizeof *records));
	tcase_add_test(tests, more_slots_keep_what_was);
	tcase_add_test(tests, no_room_for_more_slots);
	tcase_add_test(tests, last_words_are_cut);
}

int main(void)
{
	return run_suite("glue/memory", add_tests);
}
