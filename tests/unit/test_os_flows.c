/*
 * The table of datagram flows, without a kernel: whoever comes and goes, everybody has his share, and only
 * the flows of who goes move.
 */
#include <stdlib.h>
#include <string.h>

#include "supervisor/os/reuseport_group.h"
#include "tests/unit/suite.h"

enum { CAPACITY = 64, ROOM = 256, HALF = 32 };

static struct reuseport *group;
static struct steer_list *list, *old;

static void setup(void)
{
	size_t size = sizeof(*list) + ROOM * sizeof(list->slot[0]);

	group = calloc(1, sizeof(*group) + CAPACITY * sizeof(group->slots[0]));
	list = calloc(1, size);
	old = calloc(1, size);
	ck_assert(group && list && old);
	group->params.capacity = CAPACITY;
	group->layout.room = ROOM;
	group->actives = calloc(CAPACITY, sizeof(uint32_t));
	group->share = calloc(CAPACITY, sizeof(uint32_t));
	group->slot_of = calloc(CAPACITY, sizeof(uint32_t));
	group->homes = malloc(ROOM * sizeof(uint32_t));
	ck_assert(group->actives && group->share && group->slot_of && group->homes);
	memset(group->homes, 0xff, ROOM * sizeof(uint32_t));
	for (uint32_t slot = 0; slot < CAPACITY; slot++)
		group->slots[slot] = (struct reuseport_slot){ .fd = 0, .key = slot };
}

static void teardown(void)
{
	free(group->actives);
	free(group->share);
	free(group->slot_of);
	free(group->homes);
	free(group);
	free(list);
	free(old);
}

/* Writes the next table, and looks whether it is fair. */
static uint32_t write_table(void)
{
	uint32_t n = 0, share[CAPACITY] = { 0 };
	struct steer_list *last = old;

	for (uint32_t slot = 0; slot < CAPACITY; slot++)
		if (group->slots[slot].listed)
			group->actives[n++] = slot;
	old = list;
	list = last;
	reuseport_fill_flows(group, old, list, n);
	ck_assert_uint_eq(list->count, n > 0 ? ROOM : 0);
	for (uint32_t e = 0; e < list->count; e++) {
		ck_assert_uint_lt(list->slot[e], CAPACITY);
		ck_assert(group->slots[list->slot[e]].listed);
		share[list->slot[e]]++;
	}
	for (uint32_t slot = 0; n > 0 && slot < CAPACITY; slot++)
		if (group->slots[slot].listed)
			ck_assert_msg(share[slot] == ROOM / n || share[slot] == ROOM / n + 1, "%u of %u for %u", share[slot],
				      ROOM, n);
	return n;
}

static uint32_t key_at(uint32_t entry)
{
	return group->slots[list->slot[entry]].key;
}

static uint32_t any_listed(uint32_t from)
{
	for (uint32_t slot = from % CAPACITY;; slot = (slot + 1) % CAPACITY)
		if (group->slots[slot].listed)
			return slot;
}

START_TEST(each_has_his_share)
{
	for (uint32_t slot = 0; slot < CAPACITY; slot++) {
		group->slots[slot].listed = true;
		ck_assert_uint_eq(write_table(), slot + 1);
	}
	for (uint32_t slot = CAPACITY; slot-- > 0;) {
		group->slots[slot].listed = false;
		ck_assert_uint_eq(write_table(), slot);
	}
}
END_TEST

/* Workers of the slots 0 to HALF - 1 in seats of their own or, as replacements, above. */
START_TEST(only_who_goes_moves)
{
	uint32_t before[ROOM], key;

	srand((unsigned)_i + 1);
	for (uint32_t slot = 0; slot < (uint32_t)(2 + rand() % (HALF - 2)); slot++)
		group->slots[slot].listed = true;
	write_table();
	for (int step = 0; step < 200; step++) {
		uint32_t goes = any_listed((uint32_t)rand()), comes = goes < HALF ? HALF + goes : goes - HALF;

		key = group->slots[goes].key;
		for (uint32_t e = 0; e < ROOM; e++)
			before[e] = key_at(e);
		/* it dies, and its respawn comes back; or its replacement comes as it goes */
		group->slots[goes].listed = false;
		if (rand() % 2 && write_table() > 0)
			for (uint32_t e = 0; e < ROOM; e++)
				ck_assert(key_at(e) == before[e] || before[e] == key);
		group->slots[comes].listed = true;
		group->slots[comes].key = key;
		write_table();
		for (uint32_t e = 0; e < ROOM; e++)
			ck_assert_uint_eq(key_at(e), before[e]);
	}
}
END_TEST

/* What an older clusterd left: nothing is known but who had what. */
START_TEST(a_table_that_is_taken_over)
{
	for (uint32_t slot = 0; slot < 3; slot++)
		group->slots[slot].listed = true;
	write_table();
	memset(group->homes, 0xff, ROOM * sizeof(uint32_t));
	write_table();
	ck_assert_mem_eq(old->slot, list->slot, ROOM * sizeof(list->slot[0]));
	list->count = 24; /* another table */
	write_table();
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, each_has_his_share);
	tcase_add_loop_test(tests, only_who_goes_moves, 0, 20);
	tcase_add_test(tests, a_table_that_is_taken_over);
}

int main(void)
{
	return run_suite("os/flows", add_tests);
}
