#include <stdlib.h>
#include <string.h>

#include "supervisor/core/tlv.h"
#include "tests/unit/suite.h"

enum { ROOM = 4096 };

static size_t sample(uint8_t *out, size_t size)
{
	struct tlv_writer w = { .out = out, .size = size };
	size_t mark = tlv_begin(&w, 7);

	tlv_put_number(&w, 1, 0x1122334455667788u);
	tlv_put_text(&w, 2, "line\nSTATE=1");
	tlv_put(&w, 3, "", 0);
	tlv_end(&w, mark);
	tlv_put_number(&w, 8, UINT64_MAX);
	return w.used;
}

START_TEST(what_is_written_is_read)
{
	uint8_t bytes[ROOM];
	size_t size = sample(bytes, sizeof bytes);
	struct tlv outer, empty;
	uint64_t number;
	char text[32];

	ck_assert(tlv_valid(bytes, size));
	ck_assert(tlv_find(bytes, size, 7, &outer));
	ck_assert(tlv_valid(outer.bytes, outer.size));
	ck_assert(tlv_number(&outer, 1, &number));
	ck_assert_uint_eq(number, 0x1122334455667788u);
	ck_assert(tlv_text(&outer, 2, text, sizeof text));
	ck_assert_str_eq(text, "line\nSTATE=1");
	ck_assert(tlv_find(outer.bytes, outer.size, 3, &empty));
	ck_assert_uint_eq(empty.size, 0);
	ck_assert(!tlv_find(bytes, size, 1, &empty));
}
END_TEST

START_TEST(counting_needs_no_memory)
{
	uint8_t bytes[ROOM], again[ROOM];
	size_t size = sample(NULL, 0);

	ck_assert_uint_eq(size, sample(bytes, sizeof bytes));
	/* One byte too few: nothing is written beyond, and the need is still told. */
	memset(again, 0xee, sizeof again);
	ck_assert_uint_eq(sample(again, size - 1), size);
	for (size_t i = size - 1; i < sizeof again; i++)
		ck_assert_uint_eq(again[i], 0xee);
}
END_TEST

START_TEST(a_cut_is_never_valid_inside_a_record)
{
	uint8_t bytes[ROOM];
	size_t size = sample(bytes, sizeof bytes);
	struct tlv outer;

	ck_assert(tlv_find(bytes, size, 7, &outer));
	for (size_t cut = 1; cut < size; cut++)
		ck_assert_int_eq(tlv_valid(bytes, cut), cut == (size_t)(outer.bytes - bytes) + outer.size);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
	uint8_t bytes[ROOM];
	size_t size = sample(bytes, sizeof bytes);
	struct tlv outer;
	uint64_t number = 42;
	char small[4] = "abc";

	ck_assert(tlv_find(bytes, size, 7, &outer));
	ck_assert(!tlv_text(&outer, 2, small, sizeof small));
	ck_assert_str_eq(small, "abc");
	ck_assert(!tlv_number(&outer, 2, &number));
	ck_assert(!tlv_number(&outer, 9, &number));
	ck_assert_uint_eq(number, 42);
}
END_TEST

/* Whatever the bytes are, reading stays inside of them: the sanitizers watch. */
START_TEST(random_bytes_are_harmless)
{
	srand((unsigned)_i);
	for (int round = 0; round < 2000; round++) {
		size_t size = (size_t)(rand() % 64);
		uint8_t *bytes = malloc(size + 1);
		struct tlv found;

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)(rand() % 12);
		if (tlv_find(bytes, size, (uint16_t)(rand() % 12), &found))
			ck_assert(found.bytes + found.size <= bytes + size);
		tlv_valid(bytes, size);
		free(bytes);
	}
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, what_is_written_is_read);
	tcase_add_test(tests, counting_needs_no_memory);
	tcase_add_test(tests, a_cut_is_never_valid_inside_a_record);
	tcase_add_test(tests, what_does_not_fit_is_refused);
	tcase_add_loop_test(tests, random_bytes_are_harmless, 0, 5);
}

int main(void)
{
	return run_suite("core/tlv", add_tests);
}
