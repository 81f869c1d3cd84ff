/*
 * notify: every datagram has a meaning, however malformed (catalogue row E6).
 */
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/notify.h"
#include "tests/unit/suite.h"

#define TEXT(literal) literal, sizeof(literal) - 1
#define MAX_TEXT "18446744073709551615"

static const struct row {
	const char *text;
	size_t size;
	struct notify_message want;
} rows[] = {
	{ TEXT("READY=1"),                         { .ready = true } },
	{ TEXT("READY=1\n"),                       { .ready = true } },
	{ TEXT("\n\nREADY=1\n\nSTOPPING=1\n"),     { .ready = true, .stopping = true } },
	{ TEXT("RELOADING=1\nMONOTONIC_USEC=5"),   { .ready = false } },
	{ TEXT("WATCHDOG=1"),                      { .watchdog = true } },
	{ TEXT("WATCHDOG=trigger"),                { .watchdog_trigger = true } },
	{ TEXT("BARRIER=1"),                       { .barrier = true } },
	{ TEXT("STATUS=up"),                       { .has_status = true, .status = "up" } },
	{ TEXT("STATUS="),                         { .has_status = true } },
	{ TEXT("STATUS=a\nSTATUS=b=c"),            { .has_status = true, .status = "b=c" } },
	{ TEXT("STATUS=\x1b[2J\xff\0z"),           { .has_status = true, .status = "?[2J??z" } },
	{ TEXT("STATUS=\xc3\xa4\xc2\x9b"),         { .has_status = true, .status = "\xc3\xa4?" } },
	{ TEXT("EXTEND_TIMEOUT_USEC=1500000"),     { .has_extend = true, .extend_usec = 1500000 } },
	{ TEXT("EXTEND_TIMEOUT_USEC=" MAX_TEXT),   { .has_extend = true, .extend_usec = UINT64_MAX } },
	{ TEXT("EXTEND_TIMEOUT_USEC=18446744073709551616"), { .ready = false } },
	{ TEXT("EXTEND_TIMEOUT_USEC="),            { .ready = false } },
	{ TEXT("EXTEND_TIMEOUT_USEC=-1"),          { .ready = false } },
	{ TEXT("EXTEND_TIMEOUT_USEC=1 "),          { .ready = false } },
	{ TEXT(""),                                { .ready = false } },
	{ TEXT("READY"),                           { .ready = false } },
	{ TEXT("READY=0"),                         { .ready = false } },
	{ TEXT("READY=11"),                        { .ready = false } },
	{ TEXT("READY=1\0"),                       { .ready = false } },
	{ TEXT(" READY=1"),                        { .ready = false } },
	{ TEXT("XREADY=1"),                        { .ready = false } },
	{ TEXT("MAINPID=1\nFDSTORE=1\n=\n==1"),    { .ready = false } },
	{ TEXT("no equals\nWATCHDOG=1"),           { .watchdog = true } },
};

START_TEST(says)
{
	const struct row *row = &rows[_i];
	struct notify_message got;

	memset(&got, 0xa5, sizeof got);
	notify_parse(row->text, row->size, &got);
	ck_assert_int_eq(got.ready, row->want.ready);
	ck_assert_int_eq(got.stopping, row->want.stopping);
	ck_assert_int_eq(got.watchdog, row->want.watchdog);
	ck_assert_int_eq(got.watchdog_trigger, row->want.watchdog_trigger);
	ck_assert_int_eq(got.barrier, row->want.barrier);
	ck_assert_int_eq(got.has_extend, row->want.has_extend);
	ck_assert_uint_eq(got.extend_usec, row->want.extend_usec);
	ck_assert_int_eq(got.has_status, row->want.has_status);
	ck_assert_str_eq(got.status, row->want.status);
}
END_TEST

START_TEST(ten_thousand_lines)
{
	static char text[10000 * 8 + 16];
	struct notify_message got;
	size_t used = 0;

	for (int i = 0; i < 10000; i++, used += 8)
		memcpy(text + used, "FOO=bar\n", 8);
	memcpy(text + used, "READY=1", 7);
	notify_parse(text, used + 7, &got);
	ck_assert(got.ready);
}
END_TEST

START_TEST(a_status_is_cut_between_characters)
{
	char text[7 + 600] = "STATUS=";
	struct notify_message got;
	size_t size;

	for (size_t i = 7; i < sizeof text; i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	for (size_t lead = 0; lead < 2; lead++) {
		text[7 + lead] = 'x';
		notify_parse(text, sizeof text, &got);
		size = strlen(got.status);
		ck_assert_uint_lt(size, NOTIFY_STATUS_MAX);
		ck_assert_uint_ge(size, NOTIFY_STATUS_MAX - 2);
		ck_assert_uint_eq(utf8_cut(got.status, size), size);
	}
}
END_TEST

/* Whatever comes, the status is clean, and a READY=1 after it counts. */
START_TEST(noise_then_ready)
{
	char text[512];
	struct notify_message got;

	srand(11);
	for (int turn = 0; turn < 3000; turn++) {
		size_t size = (size_t)rand() % 400;
		bool clean = true;

		memcpy(text, "STATUS=", 7);
		for (size_t i = 7; i < 7 + size; i++)
			text[i] = (char)rand();
		memcpy(text + 7 + size, "\nREADY=1", 8);
		notify_parse(text, 7 + size + 8, &got);
		ck_assert(got.ready && got.has_status);
		for (const char *s = got.status; *s; s += utf8_sequence(s, strlen(s)))
			clean &= utf8_sequence(s, strlen(s)) > 0 && (unsigned char)*s >= ' ';
		ck_assert(clean);
	}
}
END_TEST

/* Who keeps to the rests never gets more than the burst and one into a window; who is slow never rests. */
START_TEST(a_budget_is_spent_and_comes_back)
{
	struct notify_budget budget = { 0 };
	uint64_t now = 1000, from = now;
	uint32_t in_window = 0, rests = 0;

	srand(12);
	for (int turn = 0; turn < 100000; turn++) {
		uint32_t rest_ms = notify_spend(&budget, now);

		if (now >= from + NOTIFY_WINDOW_MS) {
			from = now;
			in_window = 0;
		}
		in_window++;
		ck_assert_uint_eq(rest_ms > 0, in_window > NOTIFY_BURST);
		if (rest_ms > 0) {
			ck_assert_uint_eq(now + rest_ms, from + NOTIFY_WINDOW_MS);
			now += rest_ms;
			rests++;
		} else {
			now += rand() % 8 == 0;
		}
	}
	ck_assert_uint_gt(rests, 10);
	budget = (struct notify_budget){ 0 };
	for (int turn = 0; turn < 10000; turn++)
		ck_assert_uint_eq(notify_spend(&budget, 5000 + (uint64_t)turn * NOTIFY_WINDOW_MS / NOTIFY_BURST), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, says, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tests, ten_thousand_lines);
	tcase_add_test(tests, a_status_is_cut_between_characters);
	tcase_add_test(tests, noise_then_ready);
	tcase_add_test(tests, a_budget_is_spent_and_comes_back);
}

int main(void)
{
	return run_suite("core/notify", add_tests);
}
