#include <stdlib.h>
#include <string.h>

#include "supervisor/core/brief.h"
#include "supervisor/core/json.h"
#include "supervisor/core/names.h"
#include "supervisor/core/proto.h"
#include "tests/unit/suite.h"

/* ---- requests ---- */

static const struct {
	const char *line;
	int what; /* -1: refused */
	unsigned count, options;
	const char *first;
} lines[] = {
	{ "status", REQUEST_status, 0, 0, NULL },
	{ "  status\t ", REQUEST_status, 0, 0, NULL },
	{ "status\r", REQUEST_status, 0, 0, NULL },
	{ "scale 4", REQUEST_scale, 1, 0, "4" },
	{ "scale -2", REQUEST_scale, 1, 0, "-2" },
	{ "scale +2 --no-wait", REQUEST_scale, 1, OPTION_NO_WAIT, "+2" },
	{ "scale --no-wait +2", REQUEST_scale, 1, OPTION_NO_WAIT, "+2" },
	{ "reload --dry-run --no-wait", REQUEST_reload, 0, OPTION_DRY_RUN | OPTION_NO_WAIT, NULL },
	{ "events -f", REQUEST_events, 0, OPTION_FOLLOW, NULL },
	{ "ends 3 --last 10", REQUEST_ends, 1, OPTION_LAST, "3" },
	{ "ends --last 10 3", REQUEST_ends, 1, OPTION_LAST, "3" },
	{ "signal HUP 2", REQUEST_signal, 2, 0, "HUP" },
	{ "", -1, 0, 0, NULL },
	{ "   ", -1, 0, 0, NULL },
	{ "\r", -1, 0, 0, NULL },
	{ "Status", -1, 0, 0, NULL },
	{ "stat", -1, 0, 0, NULL },
	{ "statuss", -1, 0, 0, NULL },
	{ "status 1", -1, 0, 0, NULL },
	{ "status --no-wait", -1, 0, 0, NULL },
	{ "scale", -1, 0, 0, NULL },
	{ "scale 1 2", -1, 0, 0, NULL },
	{ "scale -f", -1, 0, 0, NULL },
	{ "ends --last", -1, 0, 0, NULL },
	{ "ends --last x", -1, 0, 0, NULL },
	{ "ends --last 99999999999", -1, 0, 0, NULL },
	{ "roll --bogus", -1, 0, 0, NULL },
	{ "signal HUP 1 2", -1, 0, 0, NULL },
	{ "status\001", -1, 0, 0, NULL },
	{ "status \177", -1, 0, 0, NULL },
	{ "wait r\303\244dy", -1, 0, 0, NULL },
	{ "{\"v\":1}", -1, 0, 0, NULL },
};

START_TEST(request_row)
{
	char line[64];
	size_t size = strlen(lines[_i].line);
	struct request request = { .count = 77 };
	const char *problem = NULL;
	int r;

	memcpy(line, lines[_i].line, size);
	line[size] = '\n';
	r = request_parse(line, size, &request, &problem);
	ck_assert_int_eq(r, lines[_i].what < 0 ? -1 : 0);
	if (r < 0) {
		ck_assert_ptr_nonnull(problem);
		ck_assert_uint_eq(request.count, 77); /* untouched */
		return;
	}
	ck_assert_int_eq((int)request.what, lines[_i].what);
	ck_assert_uint_eq(request.count, lines[_i].count);
	ck_assert_uint_eq(request.options, lines[_i].options);
	if (lines[_i].first)
		ck_assert_str_eq(request.words[0], lines[_i].first);
	if (request.options & OPTION_LAST)
		ck_assert_uint_eq(request.last, 10);
	else
		ck_assert_uint_eq(request.last, UINT32_MAX);
}
END_TEST

static const struct {
	const char *line;
	bool ack;
} acks[] = {
	{ "{\"command\":\"worker:ack\",\"pid\":123}", true },
	{ "{\"pid\": 123, \"command\" :\t\"worker:ack\"}", true },
	{ "---%0Acommand: worker:ack%0Apid: 123%0A", true },
	{ "--- %0Apid: 123%0Acommand: worker:ack%0A", true },
	{ "{\"command\":\"worker:ack", false },
	{ "{\"command\":\"worker:ping\"}", false },
	{ "{\"command\":", false },
	{ "{\"command\"", false },
	{ "{\"worker:ack\":\"command\"}", false },
	{ "---%0Acommand: worker:acknowledge%0A", false },
	{ "---", false },
	{ "worker:ack", false },
	{ "", false },
};

START_TEST(ack_row)
{
	ck_assert_int_eq(proto_is_ack(acks[_i].line, strlen(acks[_i].line)), acks[_i].ack);
}
END_TEST

START_TEST(request_nul_byte)
{
	char line[] = "status\0roll\n";
	struct request request;
	const char *problem;

	ck_assert_int_eq(request_parse(line, sizeof line - 2, &request, &problem), -1);
}
END_TEST

static const struct {
	const char *word;
	uint32_t now, max;
	bool ok;
	uint32_t want;
} counts[] = {
	{ "4", 1, 100, true, 4 },    { "+4", 1, 100, true, 5 },     { "-1", 4, 100, true, 3 },
	{ "0", 4, 100, true, 0 },    { "-4", 4, 100, true, 0 },     { "-5", 4, 100, false, 0 },
	{ "100", 4, 100, true, 100 }, { "101", 4, 100, false, 0 },  { "+96", 4, 100, true, 100 },
	{ "+97", 4, 100, false, 0 }, { "", 4, 100, false, 0 },      { "+", 4, 100, false, 0 },
	{ "-", 4, 100, false, 0 },   { "++1", 4, 100, false, 0 },   { "1x", 4, 100, false, 0 },
	{ "18446744073709551617", 4, 100, false, 0 },               { "007", 4, 100, true, 7 },
};

START_TEST(count_row)
{
	uint32_t value = 12345;

	ck_assert_int_eq(proto_count(counts[_i].word, counts[_i].now, counts[_i].max, &value),
	                 counts[_i].ok);
	if (counts[_i].ok)
		ck_assert_uint_eq(value, counts[_i].want);
}
END_TEST

START_TEST(folders)
{
	static const struct {
		unsigned index;
		uid_t uid;
		const char *runtime, *want;
	} rows[] = {
		{ 0, 0, "/run/user/0", "/run/clusterd" },
		{ 1, 0, "/run/user/0", NULL },
		{ 0, 1000, "/xdg", "/xdg/clusterd" },
		{ 1, 1000, "/xdg", "/run/user/1000/clusterd" },
		{ 2, 1000, "/xdg", "/tmp/clusterd-1000" },
		{ 3, 1000, "/xdg", NULL },
		{ 0, 1000, NULL, "/run/user/1000/clusterd" },
		{ 0, 1000, "relative", "/run/user/1000/clusterd" },
		{ 1, 4294967294u, NULL, "/tmp/clusterd-4294967294" },
		{ 2, 1000, NULL, NULL },
	};
	char folder[64], tiny[14];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool ok = proto_folder(rows[i].index, rows[i].uid, rows[i].runtime, folder,
		                       sizeof folder);

		ck_assert_int_eq(ok, rows[i].want != NULL);
		if (ok)
			ck_assert_str_eq(folder, rows[i].want);
	}
	/* one that is too long is passed over */
	ck_assert(proto_folder(0, 7, "/a-folder-whose-name-is-longer-than-what-can-be-had-for-a-socket", folder, sizeof folder));
	ck_assert_str_eq(folder, "/run/user/7/clusterd");
	ck_assert(proto_folder(0, 0, NULL, tiny, 14));
	ck_assert(!proto_folder(0, 0, NULL, tiny, 13));
	ck_assert(!proto_folder(0, 0, NULL, tiny, 0));
}
END_TEST

/* ---- json ---- */

static const struct {
	const char *in;
	size_t size;
	const char *want;
} texts[] = {
	{ "plain", 5, "plain" },
	{ "q\"b\\", 4, "q\\\"b\\\\" },
	{ "\n\t\0\033", 4, "\\u000a\\u0009\\u0000\\u001b" },
	{ "\177", 1, "\\u007f" },
	{ "\302\200\302\237\302\240", 6, "\\u0080\\u009f\302\240" },
	{ "\303\244\342\202\254\360\237\230\200", 9, "\303\244\342\202\254\360\237\230\200" },
	{ "\303", 1, "\\ufffd" },
	{ "\342\202", 2, "\\ufffd\\ufffd" },
	{ "\300\200", 2, "\\ufffd\\ufffd" },             /* overlong */
	{ "\340\237\277", 3, "\\ufffd\\ufffd\\ufffd" }, /* overlong */
	{ "\355\240\200", 3, "\\ufffd\\ufffd\\ufffd" }, /* a surrogate */
	{ "\364\220\200\200", 4, "\\ufffd\\ufffd\\ufffd\\ufffd" }, /* above U+10FFFF */
	{ "\303(", 2, "\\ufffd(" },
	{ "", 0, "" },
};

START_TEST(json_row)
{
	char out[256], want[256];
	struct json j;
	size_t size;

	json_begin(&j, out, sizeof out);
	json_text(&j, "t", texts[_i].in, texts[_i].size);
	size = json_end(&j);
	strcpy(want, "{\"v\":1,\"t\":\"");
	strcat(want, texts[_i].want);
	strcat(want, "\"}\n");
	ck_assert_uint_eq(size, strlen(want));
	ck_assert_mem_eq(out, want, size);
	ck_assert_uint_le(strlen(texts[_i].want) + 2, JSON_TEXT_MAX(texts[_i].size));
}
END_TEST

START_TEST(json_numbers)
{
	char out[256];
	struct json j;

	json_begin(&j, out, sizeof out);
	json_number(&j, "a", 0);
	json_number(&j, "b", INT64_MIN);
	json_number(&j, "c", INT64_MAX);
	json_flag(&j, "d", true);
	json_flag(&j, "e", false);
	out[json_end(&j)] = '\0';
	ck_assert_str_eq(out, "{\"v\":1,\"a\":0,\"b\":-9223372036854775808,"
	                      "\"c\":9223372036854775807,\"d\":true,\"e\":false}\n");
}
END_TEST

/* It fits whole or not at all, and never writes beyond. */
START_TEST(json_room)
{
	char out[64];
	struct json j;
	size_t whole = 0;

	for (size_t room = 0; room < sizeof out; room++) {
		size_t size;

		memset(out, '#', sizeof out);
		json_begin(&j, out, room);
		json_word(&j, "key", "a\nb");
		json_number(&j, "n", -42);
		size = json_end(&j);
		for (size_t i = room; i < sizeof out; i++)
			ck_assert_int_eq(out[i], '#');
		if (size > 0 && whole == 0)
			whole = room;
		ck_assert_uint_eq(size, whole ? whole : 0);
	}
	ck_assert_uint_eq(whole, strlen("{\"v\":1,\"key\":\"a\\u000ab\",\"n\":-42}\n"));
}
END_TEST

/* ---- brief, names ---- */

static const struct {
	uint64_t ms;
	const char *text;
} durations[] = {
	{ 0, "0ms" },          { 999, "999ms" },      { 1000, "1s" },       { 1650, "1.6s" },
	{ 59999, "59.9s" },    { 60000, "1m" },       { 72345, "1m12s" },   { 3599999, "59m59s" },
	{ 3600000, "1h" },     { 8040000, "2h14m" },  { 86399999, "23h59m" }, { 86400000, "1d" },
	{ 273600000, "3d4h" }, { UINT64_MAX, "213503982334d14h" },
};

START_TEST(duration_row)
{
	char text[BRIEF_TEXT_MAX];

	ck_assert_str_eq(brief_duration(durations[_i].ms, text), durations[_i].text);
}
END_TEST

START_TEST(sizes)
{
	char text[BRIEF_TEXT_MAX];

	ck_assert_str_eq(brief_size(0, text), "0K");
	ck_assert_str_eq(brief_size(1023, text), "1023K");
	ck_assert_str_eq(brief_size(1024, text), "1M");
	ck_assert_str_eq(brief_size(49152, text), "48M");
	ck_assert_str_eq(brief_size(1572864, text), "1.5G");
	ck_assert_str_eq(brief_size(1572863, text), "1.4G"); /* never rounded up */
	ck_assert_str_eq(brief_size(1048576, text), "1G");
	ck_assert_str_eq(brief_size(1048575, text), "1023M");
	ck_assert_str_eq(brief_size(UINT64_MAX, text), "17592186044415.9G");
}
END_TEST

/* Every value has a name, and no two share one. */
#define CHECK_NAMES(type, function, count)                                                         \
	for (int i = 0; i < (int)(count); i++) {                                                   \
		ck_assert_str_ne(function((type)i), "unknown");                                    \
		for (int k = 0; k < i; k++)                                                        \
			ck_assert_str_ne(function((type)i), function((type)k));                    \
	}                                                                                          \
	ck_assert_str_eq(function((type)(count)), "unknown");                                      \
	ck_assert_str_eq(function((type)-1), "unknown")

START_TEST(every_name)
{
	CHECK_NAMES(enum slot_state, name_slot_state, SLOT_STATES);
	CHECK_NAMES(enum instance_state, name_instance_state, INSTANCE_STATES);
	CHECK_NAMES(enum end_cause, name_end_cause, END_CAUSES);
	CHECK_NAMES(enum next_action, name_next_action, NEXT_ACTIONS);
	CHECK_NAMES(enum why, name_why, WHYS);
	CHECK_NAMES(enum verdict, name_verdict, VERDICT_STOPPED + 1);
	CHECK_NAMES(enum ready_how, name_ready_how, HOW_LISTEN + 1);
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof *(table))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, request_row, 0, ROWS(lines));
	tcase_add_loop_test(tests, ack_row, 0, ROWS(acks));
	tcase_add_test(tests, request_nul_byte);
	tcase_add_loop_test(tests, count_row, 0, ROWS(counts));
	tcase_add_test(tests, folders);
	tcase_add_loop_test(tests, json_row, 0, ROWS(texts));
	tcase_add_test(tests, json_numbers);
	tcase_add_test(tests, json_room);
	tcase_add_loop_test(tests, duration_row, 0, ROWS(durations));
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, every_name);
}

int main(void)
{
	return run_suite("core/proto", add_tests);
}
