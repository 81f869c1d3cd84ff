#include <stdlib.h>

#include "supervisor/core/heap.h"
#include "tests/unit/suite.h"

enum { IDS = 100, ROUNDS = 20000 };

static struct heap_entry entries[IDS];
static uint32_t places[IDS];

/* Against the dumbest possible heap: a table. */
START_TEST(agrees_with_a_table)
{
	uint64_t at[IDS];
	struct heap heap;

	heap_init(&heap, entries, places, IDS);
	for (uint32_t id = 0; id < IDS; id++)
		at[id] = HEAP_NEVER_MS;
	srand((unsigned)_i + 1);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t id = (uint32_t)(rand() % IDS), first = IDS, got = IDS;
		uint64_t when = rand() % 3 ? (uint64_t)(rand() % 50) : HEAP_NEVER_MS;
		uint32_t count = 0;

		at[id] = when;
		heap_set(&heap, id, IDS - id, when);
		for (uint32_t n = 0; n < IDS; n++) {
			count += at[n] != HEAP_NEVER_MS;
			if (at[n] != HEAP_NEVER_MS && (first == IDS || at[n] <= at[first]))
				first = n; /* of equal times the highest id has the lowest rank */
		}
		ck_assert_uint_eq(heap.count, count);
		ck_assert_uint_eq(heap_first(&heap, &got),
				  first == IDS ? HEAP_NEVER_MS : at[first]);
		ck_assert_uint_eq(got, first);
	}
}
END_TEST

START_TEST(comes_out_in_order_of_time_then_rank)
{
	static const uint64_t times[] = { 5, 1, 5, 3, 1, 9 };
	static const uint32_t order[] = { 1, 4, 3, 0, 2, 5 };
	struct heap heap;

	heap_init(&heap, entries, places, IDS);
	for (uint32_t id = 0; id < 6; id++)
		heap_set(&heap, id, id, times[id]);
	for (int n = 0; n < 6; n++) {
		uint32_t id = IDS;

		ck_assert_uint_eq(heap_first(&heap, &id), times[order[n]]);
		ck_assert_uint_eq(id, order[n]);
		heap_set(&heap, id, 0, HEAP_NEVER_MS);
	}
	ck_assert_uint_eq(heap.count, 0);
}
END_TEST

START_TEST(taking_out_twice_changes_nothing)
{
	uint32_t id = 7;
	struct heap heap;

	heap_init(&heap, entries, places, IDS);
	heap_set(&heap, 3, 3, 10);
	heap_set(&heap, 4, 4, HEAP_NEVER_MS);
	heap_set(&heap, 3, 3, HEAP_NEVER_MS);
	heap_set(&heap, 3, 3, HEAP_NEVER_MS);
	ck_assert_uint_eq(heap_first(&heap, &id), HEAP_NEVER_MS);
	ck_assert_uint_eq(id, 7);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, agrees_with_a_table, 0, 3);
	tcase_add_test(tests, comes_out_in_order_of_time_then_rank);
	tcase_add_test(tests, taking_out_twice_changes_nothing);
}

int main(void)
{
	return run_suite("core/heap", add_tests);
}
