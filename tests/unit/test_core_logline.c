/*
 * logline: the three forms show the same fields, those of event.def, in lines that
 * no value can break.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/logline.h"
#include "supervisor/core/moment.h"
#include "tests/unit/suite.h"

static const struct {
	const char *name, *help;
} known[] = {
#define LOG_FIELD(name, help) { #name, help },
#include "supervisor/core/event.def"
#undef LOG_FIELD
};

enum { KNOWN = sizeof known / sizeof *known, FIELDS_MAX = 24 };

static char text[LOGLINE_MAX + 1];

static const char *write_line(enum log_id id, enum log_format format,
                              const struct log_field *fields, size_t count)
{
	struct logline line = { .id = id, .level = LOG_LEVEL_INFO, .name = "web",
		                .wall_ms = 1795395723123, .stamp = true, .fields = fields,
		                .field_count = count };

	text[logline_write(&line, format, text, LOGLINE_MAX)] = '\0';
	return text;
}

#define LINE(id, format, ...)                                                                      \
	write_line(id, format, (const struct log_field[]){ __VA_ARGS__ },                          \
	           sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

/* ---- what it reads like ---- */

START_TEST(reads_like_the_manual)
{
	ck_assert_str_eq(LINE(LOG_WORKER_EXIT, LOG_FORMAT_TEXT, F_NUM("slot", 3), F_NUM("pid", 4242),
	                      F_TEXT("signal", "SIGSEGV"), F_FLAG("core", true), F_FLAG("oom", false),
	                      F_MS("uptime_ms", 72000), F_TEXT("action", "respawn"),
	                      F_MS("delay_ms", 1600), F_TEXT("why", "backoff")),
	                 "2026-11-23T01:02:03.123Z clusterd web: worker 3 (pid 4242) died: SIGSEGV, "
	                 "core dumped, after 1m12s; respawn in 1.6s (backoff)\n");
	ck_assert_str_eq(LINE(LOG_WORKER_EXIT, LOG_FORMAT_TEXT, F_NUM("slot", 3), F_NUM("pid", 4242),
	                      F_NUM("code", 0), F_FLAG("asked", true), F_TEXT("cause", "roll"),
	                      F_MS("uptime_ms", 8040000)),
	                 "2026-11-23T01:02:03.123Z clusterd web: worker 3 (pid 4242) ended: exit 0, "
	                 "after 2h14m, as asked (roll)\n");
	ck_assert_str_eq(LINE(LOG_WORKER_EXIT, LOG_FORMAT_TEXT, F_NUM("slot", 0), F_NUM("pid", 7),
	                      F_NUM("code", 1), F_MS("uptime_ms", 50), F_TEXT("action", "respawn"),
	                      F_MS("delay_ms", 0), F_TEXT("why", "stable"),
	                      F_TEXT("last", "say \"x\"\x1b[2J")),
	                 "2026-11-23T01:02:03.123Z clusterd web: worker 0 (pid 7) died: exit 1, after "
	                 "50ms; respawn (stable); last line: \"say \\\"x\\\"\\x1b[2J\"\n");
}
END_TEST

START_TEST(logfmt_and_json)
{
	ck_assert_str_eq(LINE(LOG_SPAWN_ERROR, LOG_FORMAT_LOGFMT, F_MS("retry_ms", 100),
	                      F_NUM("slot", 1), F_TEXT("step", "exec"), F_TEXT("error", "no such file"),
	                      F_TEXT("detail", "")),
	                 "time=2026-11-23T01:02:03.123Z level=info event=spawn.error name=web slot=1 "
	                 "step=exec error=\"no such file\" detail=\"\" retry_ms=100\n");
	ck_assert_str_eq(LINE(LOG_SPAWN_ERROR, LOG_FORMAT_JSON, F_NUM("slot", 1),
	                      F_TEXT("error", "a\n\x1b\xff\"")),
	                 "{\"v\":1,\"time\":\"2026-11-23T01:02:03.123Z\",\"level\":\"info\",\"event\":"
	                 "\"spawn.error\",\"name\":\"web\",\"slot\":1,"
	                 "\"error\":\"a\\u000a\\u001b\\ufffd\\\"\"}\n");
}
END_TEST

START_TEST(for_the_journal)
{
	struct log_field fields[] = { F_TEXT("text", "hello") };
	struct logline line = { .id = LOG_NOTE, .level = LOG_LEVEL_WARN, .name = "web",
		                .priority = true, .fields = fields, .field_count = 1 };

	text[logline_write(&line, LOG_FORMAT_TEXT, text, LOGLINE_MAX)] = '\0';
	ck_assert_str_eq(text, "<4>clusterd web: hello\n");
	text[logline_write(&line, LOG_FORMAT_LOGFMT, text, LOGLINE_MAX)] = '\0';
	ck_assert_str_eq(text, "<4>level=warn event=note name=web text=hello\n");
	text[logline_write(&line, LOG_FORMAT_JSON, text, LOGLINE_MAX)] = '\0';
	ck_assert_ptr_eq(strstr(text, "<4>{\"v\":1,\"level\""), text);
}
END_TEST

START_TEST(a_bracket_at_the_end_of_a_value_joins_nothing)
{
	struct log_field fields[] = { F_TEXT("text", "a>"), F_NUM("slot", 1) };
	struct logline line = { .id = LOG_NOTE, .level = LOG_LEVEL_WARN, .name = "web>",
		                .fields = fields, .field_count = 2 };

	for (int i = 0; i < 2; i++) {
		line.priority = i == 1;
		text[logline_write(&line, LOG_FORMAT_LOGFMT, text, LOGLINE_MAX)] = '\0';
		ck_assert_str_eq(text + (i == 1 ? 3 : 0), "level=warn event=note name=web> text=a> slot=1\n");
	}
}
END_TEST

START_TEST(one_is_no_plural)
{
	ck_assert_ptr_nonnull(strstr(LINE(LOG_SCALE, LOG_FORMAT_TEXT, F_NUM("from", 2), F_NUM("to", 1)),
	                             "scale from 2 to 1 worker\n"));
	ck_assert_ptr_nonnull(strstr(LINE(LOG_SCALE, LOG_FORMAT_TEXT, F_NUM("from", 1), F_NUM("to", 2)),
	                             "scale from 1 to 2 workers\n"));
	ck_assert_ptr_nonnull(strstr(LINE(LOG_SCALE, LOG_FORMAT_TEXT, F_NUM("from", 1), F_NUM("to", 0)),
	                             "scale from 1 to 0 workers\n"));
	ck_assert_ptr_nonnull(strstr(LINE(LOG_START, LOG_FORMAT_TEXT, F_NUM("pid", 9), F_NUM("workers", 1)),
	                             "starts as pid 9, 1 worker\n"));
}
END_TEST

/* ---- the table ---- */

static bool is_known(const char *name, size_t size)
{
	for (size_t i = 0; i < KNOWN; i++)
		if (strlen(known[i].name) == size && memcmp(known[i].name, name, size) == 0)
			return true;
	return false;
}

static bool lists(const char *list, const char *name, size_t size)
{
	for (const char *at = list; (at = strstr(at, name)); at += size)
		if ((at == list || at[-1] == ' ') && (at[size] == ' ' || !at[size]))
			return true;
	return false;
}

/* The fields of an event, one of each kind by its name, so that the same name is the same value. */
static size_t all_fields(enum log_id id, struct log_field *fields, char names[][32])
{
	const char *list = log_event_info(id)->fields;
	size_t count = 0;

	while (*list) {
		size_t size = strcspn(list, " ");

		ck_assert_msg(is_known(list, size), "%.*s has no LOG_FIELD", (int)size, list);
		ck_assert_uint_lt(count, FIELDS_MAX);
		snprintf(names[count], 32, "%.*s", (int)size, list);
		fields[count] = (struct log_field)F_NUM(names[count], 1000 + (int)count);
		count++;
		list += size + (list[size] == ' ');
	}
	return count;
}

START_TEST(every_event_shows_its_fields_in_logfmt_and_json)
{
	enum log_id id = (enum log_id)_i;
	struct log_field fields[FIELDS_MAX];
	char names[FIELDS_MAX][32], logfmt[LOGLINE_MAX + 1], json[LOGLINE_MAX + 1], pair[64];
	size_t count = all_fields(id, fields, names);
	const char *in_logfmt, *in_json;

	strcpy(logfmt, write_line(id, LOG_FORMAT_LOGFMT, fields, count));
	strcpy(json, write_line(id, LOG_FORMAT_JSON, fields, count));
	in_logfmt = strstr(logfmt, "name=web");
	in_json = strstr(json, "\"name\":\"web\"");
	for (size_t i = 0; i < count; i++) {
		snprintf(pair, sizeof pair, " %s=%d", names[i], 1000 + (int)i);
		in_logfmt = strstr(in_logfmt, pair);
		ck_assert_msg(in_logfmt, "%s not in %s", pair, logfmt);
		snprintf(pair, sizeof pair, ",\"%s\":%d", names[i], 1000 + (int)i);
		in_json = strstr(in_json, pair);
		ck_assert_msg(in_json, "%s not in %s", pair, json);
	}
	snprintf(pair, sizeof pair, "event=%s ", log_event_info(id)->name);
	ck_assert_ptr_nonnull(strstr(logfmt, pair));
}
END_TEST

/* Brackets match, and only fields of the event are named. */
START_TEST(every_template_fits_its_event)
{
	const struct log_event_info *info = log_event_info((enum log_id)_i);
	int depth = 0;

	for (const char *at = info->text; *at; at++) {
		char close = *at == '{' ? '}' : *at == '[' ? '|' : '\0', name[32];
		const char *from = at + (*at == '[' ? 2 : 1), *end;

		depth += (*at == '[') - (*at == ']');
		ck_assert_int_ge(depth, 0);
		if (!close)
			continue;
		end = strchr(from, close);
		ck_assert_msg(end, "%s: %s", info->name, at);
		snprintf(name, sizeof name, "%.*s", (int)(end - from), from);
		ck_assert_msg(lists(info->fields, name, strlen(name)), "%s has no %s", info->name, name);
		ck_assert(*at == '{' || strchr("+?!~", at[1]));
	}
	ck_assert_int_eq(depth, 0);
	ck_assert_uint_gt(strlen(info->help), 0);
}
END_TEST

START_TEST(a_text_value_is_the_value_of_the_field)
{
	enum log_id id = (enum log_id)_i;
	struct log_field fields[FIELDS_MAX];
	char names[FIELDS_MAX][32], value[24];
	size_t count = all_fields(id, fields, names);

	for (size_t i = 0; i < count; i++) {
		char hole[FIELDS_MAX * 32 + 3];
		const char *line;

		snprintf(hole, sizeof hole, "{%s}", names[i]);
		if (!strstr(log_event_info(id)->text, hole))
			continue;
		snprintf(value, sizeof value, "%zu", 1000 + i);
		/* Alone with what a template may ask to be absent: in one of the two lines it shows. */
		line = write_line(id, LOG_FORMAT_TEXT, fields, count);
		if (!strstr(line, value)) {
			struct log_field one = fields[i], two[2] = { one, F_TEXT("action", "x") };

			line = write_line(id, LOG_FORMAT_TEXT, two, 2);
			if (!strstr(line, value)) {
				struct log_field asked[2] = { one, F_FLAG("asked", true) };

				line = write_line(id, LOG_FORMAT_TEXT, asked, 2);
			}
		}
		if (!strstr(line, value)) {
			struct log_field why[3] = { fields[i], F_TEXT("action", "x"), F_TEXT("why", "y") };

			line = write_line(id, LOG_FORMAT_TEXT, why, 3);
		}
		ck_assert_msg(strstr(line, value), "%s: %s not shown", log_event_info(id)->name, hole);
	}
}
END_TEST

START_TEST(every_known_field_is_used)
{
	for (size_t i = 0; i < KNOWN; i++) {
		bool used = false;

		for (int id = 0; id < LOG_IDS; id++)
			used |= lists(log_event_info((enum log_id)id)->fields, known[i].name,
			              strlen(known[i].name));
		ck_assert_msg(used, "%s is in no event", known[i].name);
	}
}
END_TEST

START_TEST(an_unlisted_field_is_not_lost)
{
	ck_assert_ptr_nonnull(strstr(LINE(LOG_SCALE, LOG_FORMAT_LOGFMT, F_NUM("odd", 9)), " odd=9"));
	ck_assert_ptr_nonnull(strstr(LINE(LOG_SCALE, LOG_FORMAT_JSON, F_NUM("odd", 9)), ",\"odd\":9}"));
}
END_TEST

/* ---- hostile values ---- */

/* One line that a terminal can show. (An assertion per byte would take minutes.) */
static bool clean(const char *line, size_t size)
{
	if (size < 2 || size > LOGLINE_MAX || line[size - 1] != '\n')
		return false;
	for (size_t at = 0; at < size - 1;) {
		size_t length = utf8_sequence(line + at, size - at);
		unsigned char c = (unsigned char)line[at];

		if (length == 0 || (c < ' ' && c != '\t') || c == 0x7f)
			return false;
		if (c == 0xc2 && (unsigned char)line[at + 1] < 0xa0)
			return false;
		at += length;
	}
	return true;
}

START_TEST(no_value_breaks_the_line)
{
	char value[3000];
	struct log_field fields[] = { F_NUM("slot", 1), F_BYTES("last", value, 0), F_BYTES("why", value, 0) };
	struct logline line = { .level = LOG_LEVEL_INFO, .name = "web", .stamp = true,
		                .fields = fields, .field_count = 3 };

	srand((unsigned)_i);
	for (int turn = 0; turn < 500; turn++) {
		fields[1].size = (size_t)rand() % sizeof value;
		fields[2].size = (size_t)rand() % sizeof value;
		for (size_t i = 0; i < sizeof value; i++)
			value[i] = (char)(rand() % (turn % 2 ? 256 : 48));
		line.id = (enum log_id)(rand() % LOG_IDS);
		for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++)
			ck_assert(clean(text, logline_write(&line, (enum log_format)format, text,
			                                    LOGLINE_MAX)));
	}
}
END_TEST

/* log_plain is a fast way to say that log_escape would change nothing. */
START_TEST(plain_agrees_with_escape)
{
	char in[300], out[LOG_ESCAPED_MAX(300)];

	srand(7);
	for (int turn = 0; turn < 5000; turn++) {
		size_t size = (size_t)rand() % sizeof in;

		for (size_t i = 0; i < size; i++)
			in[i] = (char)(' ' + rand() % 95);
		if (size && turn % 2)
			in[(size_t)rand() % size] = (char)rand();
		for (size_t i = 0; i < size; i++)
			if (in[i] == '\n' || (unsigned char)in[i] >= 0x80)
				in[i] = '\t';
		ck_assert_int_eq(log_plain(in, size),
		                 log_escape(out, in, size, false) == size && memcmp(in, out, size) == 0);
	}
	ck_assert(log_plain("a\nb", 3));
	ck_assert(!log_plain("\xc3\xa4", 2));
}
END_TEST

static const struct {
	const char *in, *out;
} escapes[] = {
	{ "a\tb", "a\tb" },          { "\r", "\\r" },          { "\x1b[0m", "\\x1b[0m" },
	{ "\xc3\xa4", "\xc3\xa4" },  { "\xc3", "\\xc3" },      { "\xc2\x9b", "\\xc2\\x9b" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, { "\xc0\xaf", "\\xc0\\xaf" }, { "\x7f", "\\x7f" },
	{ "\\ \"", "\\ \"" },        { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
	{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
};

START_TEST(escapes_what_a_terminal_obeys)
{
	char out[64];
	size_t size = log_escape(out, escapes[_i].in, strlen(escapes[_i].in), false);

	out[size] = '\0';
	ck_assert_str_eq(out, escapes[_i].out);
}
END_TEST

/* ---- times ---- */

static const struct {
	uint64_t ms;
	const char *text;
} durations[] = {
	{ 0, "0ms" },          { 50, "50ms" },        { 999, "999ms" },      { 1000, "1s" },
	{ 1600, "1.6s" },      { 9999, "9.9s" },      { 12345, "12s" },      { 59999, "59s" },
	{ 60000, "1m" },       { 72000, "1m12s" },    { 3599999, "59m59s" }, { 3600000, "1h" },
	{ 8040000, "2h14m" },  { 86400000, "1d" },    { 273600000, "3d4h" },
	{ UINT64_MAX, "213503982334d14h" },
};

START_TEST(durations_have_two_units)
{
	char out[DURATION_TEXT_MAX];

	ck_assert_str_eq(duration_text(durations[_i].ms, out), durations[_i].text);
}
END_TEST

static const struct {
	int64_t ms;
	const char *text;
} stamps[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ 951782400000, "2000-02-29T00:00:00.000Z" },
	{ 951868800000, "2000-03-01T00:00:00.000Z" },
	{ 1709251199999, "2024-02-29T23:59:59.999Z" },
	{ 1795395723123, "2026-11-23T01:02:03.123Z" },
	{ 4107542400000, "2100-03-01T00:00:00.000Z" },
};

START_TEST(stamps_are_utc)
{
	char out[STAMP_TEXT_MAX];

	ck_assert_str_eq(stamp_text(stamps[_i].ms, out), stamps[_i].text);
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof *(table))

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, reads_like_the_manual);
	tcase_add_test(tests, logfmt_and_json);
	tcase_add_test(tests, for_the_journal);
	tcase_add_loop_test(tests, every_event_shows_its_fields_in_logfmt_and_json, 0, LOG_IDS);
	tcase_add_test(tests, a_bracket_at_the_end_of_a_value_joins_nothing);
	tcase_add_test(tests, one_is_no_plural);
	tcase_add_loop_test(tests, every_template_fits_its_event, 0, LOG_IDS);
	tcase_add_loop_test(tests, a_text_value_is_the_value_of_the_field, 0, LOG_IDS);
	tcase_add_test(tests, every_known_field_is_used);
	tcase_add_test(tests, an_unlisted_field_is_not_lost);
	tcase_add_loop_test(tests, no_value_breaks_the_line, 0, 4);
	tcase_add_test(tests, plain_agrees_with_escape);
	tcase_add_loop_test(tests, escapes_what_a_terminal_obeys, 0, ROWS(escapes));
	tcase_add_loop_test(tests, durations_have_two_units, 0, ROWS(durations));
	tcase_add_loop_test(tests, stamps_are_utc, 0, ROWS(stamps));
}

int main(void)
{
	return run_suite("core/logline", add_tests);
}
