#include <string.h>

#include "supervisor/core/record.h"
#include "tests/unit/suite.h"

static const struct record_row sample = { .pid = 4242, .started = 183746, .slot = 1, .generation = 3 };

/* A row of this text. */
static void row_of(const char *text, char ret[RECORD_ROW])
{
	memset(ret, ' ', RECORD_ROW);
	memcpy(ret, text, strlen(text));
	ret[RECORD_ROW - 1] = '\n';
}

START_TEST(a_row_is_text)
{
	char text[RECORD_ROW], expected[RECORD_ROW];
	struct record_row row = sample;

	record_write(&row, text);
	row_of("worker 4242 183746 1 3", expected);
	ck_assert_mem_eq(text, expected, RECORD_ROW);
	row.asked = true;
	record_write(&row, text);
	row_of("asked 4242 183746 1 3", expected);
	ck_assert_mem_eq(text, expected, RECORD_ROW);
	row.asked = false;
	row.starting = true;
	record_write(&row, text);
	row_of("starting 4242 183746 1 3", expected);
	ck_assert_mem_eq(text, expected, RECORD_ROW);
	record_head("6b1c0c4e-8d0f-4f0e-9c0b-0e5d6f0a7c11", text);
	row_of("clusterd workers 1 6b1c0c4e-8d0f-4f0e-9c0b-0e5d6f0a7c11", expected);
	ck_assert_mem_eq(text, expected, RECORD_ROW);
}
END_TEST

START_TEST(what_is_written_is_read)
{
	const struct record_row rows[] = {
		sample,
		{ .pid = 2 },
		{ .pid = 4242, .asked = true },
		{ .pid = 4242, .starting = true },
		{ INT32_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX, true, false },
		{ INT32_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX, false, true },
		{ INT32_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX, false, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct record_row got = { 0 };
		char text[RECORD_ROW];

		record_write(&rows[i], text);
		ck_assert_ptr_eq(memchr(text, '\n', RECORD_ROW), text + RECORD_ROW - 1);
		ck_assert_int_eq(record_read(text, &got), RECORD_WORKER);
		ck_assert_int_eq(got.pid, rows[i].pid);
		ck_assert_uint_eq(got.started, rows[i].started);
		ck_assert_uint_eq(got.slot, rows[i].slot);
		ck_assert_uint_eq(got.generation, rows[i].generation);
		ck_assert_int_eq(got.asked, rows[i].asked);
		ck_assert_int_eq(got.starting, rows[i].starting);
	}
}
END_TEST

START_TEST(an_empty_row)
{
	struct record_row row = sample;
	char text[RECORD_ROW], expected[RECORD_ROW];

	record_write(NULL, text);
	row_of("", expected);
	ck_assert_mem_eq(text, expected, RECORD_ROW);
	ck_assert_int_eq(record_read(text, &row), RECORD_EMPTY);
	ck_assert_int_eq(row.pid, sample.pid);
}
END_TEST

/* 0, 1 and what is negative would be signals to many. */
START_TEST(anything_else_is_garbage)
{
	static const char *const texts[] = {
		"worker", "worker ", "worker 4242", "worker 4242 183746 1", "worker 4242 183746 1 3 4",
		"worker  4242 183746 1 3", "worker 04242 183746 1 3", "worker +4242 183746 1 3",
		"worker -4242 183746 1 3", "worker 0 183746 1 3", "worker 1 183746 1 3",
		"worker 4294971538 183746 1 3", "worker 2147483648 183746 1 3",
		"worker 4242 18446744073709551616 1 3", "worker 4242 183746 4294967296 3",
		"worker 4242 183746 1 3x", "worker 4242 183746 1 0x3", " worker 4242 183746 1 3",
		"Worker 4242 183746 1 3", "asked", "asked4242 183746 1 3", "worker\t4242 183746 1 3",
		"clusterd workers 1 6b1c0c4e-8d0f-4f0e-9c0b-0e5d6f0a7c11",
	};
	struct record_row row = sample;
	char text[RECORD_ROW];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		row_of(texts[i], text);
		ck_assert_msg(record_read(text, &row) == RECORD_GARBAGE, "%s", texts[i]);
		ck_assert_int_eq(row.pid, sample.pid);
	}
	record_write(&sample, text);
	text[RECORD_ROW - 1] = ' ';
	ck_assert_int_eq(record_read(text, &row), RECORD_GARBAGE);
	memset(text, 0, sizeof text);
	ck_assert_int_eq(record_read(text, &row), RECORD_GARBAGE);
	memset(text, '9', sizeof text);
	ck_assert_int_eq(record_read(text, &row), RECORD_GARBAGE);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, a_row_is_text);
	tcase_add_test(tests, what_is_written_is_read);
	tcase_add_test(tests, an_empty_row);
	tcase_add_test(tests, anything_else_is_garbage);
}

int main(void)
{
	return run_suite("core/record", add_tests);
}
