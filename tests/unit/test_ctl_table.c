/* Tables, words, options and the status screen of clusterctl. */
#include <stdlib.h>
#include <string.h>

#include "cmd/clusterctl/table.h"
#include "tests/unit/suite.h"

static char *text;
static size_t text_size;

static FILE *open_text(void)
{
	free(text);
	text = NULL;
	return open_memstream(&text, &text_size);
}

static size_t widest(void)
{
	size_t width = 0;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (text_width(line) > width)
			width = text_width(line);
	return width;
}

/* ---- tables ---- */

static const struct column three[] = {
	{ "A", true, 0 }, { "LONG TITLE", false, 2 }, { "REST", false, 1 }
};

static void print_three(int width, bool paint)
{
	FILE *out = open_text();
	struct table table;

	table_init(&table, three, 3);
	table_row(&table);
	table_cell(&table, 0, HUE_NONE, "%d", 7);
	table_cell(&table, 1, HUE_GOOD, "x");
	table_cell(&table, 2, HUE_NONE, "the rest of it");
	table_row(&table);
	table_cell(&table, 0, HUE_NONE, "%d", 100);
	table_print(&table, width, paint, out);
	table_free(&table);
	fclose(out);
}

START_TEST(columns_align)
{
	print_three(0, false);
	ck_assert_str_eq(text, "  A  LONG TITLE  REST\n"
	                       "  7  x           the rest of it\n"
	                       "100\n");
}
END_TEST

START_TEST(columns_go_by_rank_then_are_cut)
{
	print_three(31, false);
	ck_assert_ptr_nonnull(strstr(text, "LONG TITLE"));
	print_three(30, false);
	ck_assert_str_eq(text, "  A  REST\n  7  the rest of it\n100\n");
	print_three(18, false);
	ck_assert_str_eq(text, "  A\n  7\n100\n");
}
END_TEST

START_TEST(no_line_is_wider_than_asked)
{
	for (int width = 3; width < 60; width++) {
		print_three(width, false);
		ck_assert_uint_le(widest(), (size_t)width);
	}
}
END_TEST

START_TEST(colour_only_when_painted)
{
	print_three(0, false);
	ck_assert_ptr_null(strchr(text, '\033'));
	print_three(0, true);
	ck_assert_ptr_nonnull(strstr(text, "\033[32mx\033[0m"));
}
END_TEST

START_TEST(control_characters_are_shown_as_marks)
{
	struct table table;
	FILE *out = open_text();

	table_init(&table, three, 3);
	table_row(&table);
	table_cell(&table, 0, HUE_NONE, "a\033[2Jb\n");
	table_print(&table, 0, false, out);
	put_clean(out, "x\033y\302\233z\177\t\303\244");
	table_free(&table);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "a?[2Jb?"));
	ck_assert_ptr_nonnull(strstr(text, "x?y?z?\t\303\244"));
}
END_TEST

START_TEST(widths_count_characters)
{
	ck_assert_uint_eq(text_width(""), 0);
	ck_assert_uint_eq(text_width("abc"), 3);
	ck_assert_uint_eq(text_width("\303\244\342\202\254"), 2);
}
END_TEST

/* ---- status ---- */

static const char *const answer[] = {
	"{\"v\":1,\"kind\":\"cluster\",\"name\":\"web\",\"state\":\"degraded\",\"ready\":3,\"wanted\":4,"
	"\"up_ms\":273600000,\"policy_file\":\"web.conf\",\"policy_age_ms\":7200000,\"roll\":0}",
	"{\"v\":1,\"kind\":\"listener\",\"name\":\"http\",\"address\":\"0.0.0.0:8080\",\"fd\":3,"
	"\"balance\":\"shared\",\"queue\":0,\"limit\":4096,\"repaired\":0}",
	"{\"v\":1,\"kind\":\"slot\",\"slot\":0,\"state\":\"ready\",\"pid\":5001,\"next_pid\":0,"
	"\"generation\":7,\"for_ms\":8040000,\"cpu_permille\":124,\"rss_kb\":49152,\"queue\":-1,"
	"\"starts\":2,\"ends\":1,\"status\":\"\",\"end\":\"SIGTERM\",\"end_age_ms\":8040000,"
	"\"asked\":true,\"cause\":\"roll\"}",
	"{\"v\":1,\"kind\":\"slot\",\"slot\":2,\"state\":\"backoff\",\"pid\":0,\"next_pid\":0,"
	"\"generation\":7,\"for_ms\":0,\"due_in_ms\":1600,\"cpu_permille\":-1,\"rss_kb\":-1,"
	"\"queue\":-1,\"starts\":10,\"ends\":9,\"streak\":9,\"status\":\"\",\"asked\":false,"
	"\"end\":\"SIGSEGV, core dumped\",\"end_age_ms\":400,\"cause\":\"self\","
	"\"last_line\":\"panic: \\u001b[31mno\"}",
};

static void print_status(int columns, size_t lines, int *ret_code)
{
	struct ctl ctl = { .columns = columns };
	struct status status;
	FILE *out = open_text();

	status_init(&status);
	for (size_t i = 0; i < lines; i++) {
		json_t *line = json_loads(answer[i], 0, NULL);

		ck_assert_ptr_nonnull(line);
		status_line(&status, line);
		json_decref(line);
	}
	*ret_code = status_code(&status);
	if (status.cluster)
		status_print(&status, &ctl, out);
	status_free(&status);
	fclose(out);
}

START_TEST(status_wide)
{
	int code;

	print_status(134, 4, &code);
	ck_assert_int_eq(code, CTL_FAILED);
	ck_assert_str_eq(text,
	        "web: degraded, 3 of 4 ready    up 3d4h, policy web.conf applied 2h ago\n"
	        "http 0.0.0.0:8080  shared  queue 0 of 4096\n"
	        "\n"
	        "SLOT  STATE          PID  GEN    FOR  CPU  RSS  STARTS  ENDS  LAST END\n"
	        "   0  ready         5001    7  2h14m  12%  48M       2     1  replaced, 2h14m ago\n"
	        "   2  backoff 1.6s     -    7      -    -    -      10     9  SIGSEGV, core dumped, 400ms ago\n"
	        "\n"
	        "slot 2 is in backoff after 9 short lives in a row; next: clusterctl why 2\n"
	        "last words: panic: ?[31mno\n");
}
END_TEST

START_TEST(status_80_columns)
{
	int code;

	print_status(80, 4, &code);
	ck_assert_ptr_null(strstr(text, "STARTS"));
	ck_assert_ptr_nonnull(strstr(text, "SIGSEGV, core dumped, 400ms ago\n"));
	ck_assert_uint_le(widest(), 80);
}
END_TEST

START_TEST(status_without_an_answer)
{
	int code;

	print_status(80, 0, &code);
	ck_assert_int_eq(code, CTL_CAN_NOT_TELL);
}
END_TEST

/* ---- options ---- */

static const struct {
	const char *words[8];
	int r;
	const char *request;
} commands[] = {
	{ { "status" }, 0, "status" },
	{ { "-n", "web", "scale", "-2" }, 0, "scale -2" },
	{ { "roll", "--no-wait", "--name=web" }, 0, "roll --no-wait" },
	{ { "ends", "3", "--last", "10" }, 0, "ends 3 --last 10" },
	{ { "events", "-f", "--json" }, 0, "events --follow" },
	{ { "stop", "--now", "--timeout", "5s" }, 0, "stop --now" },
	{ { "kill", "--", "3" }, 0, "kill 3" },
	{ { "--bogus" }, CTL_USAGE, NULL },
	{ { "-x" }, CTL_USAGE, NULL },
	{ { "status", "-n" }, CTL_USAGE, NULL },
	{ { "status", "--json=yes" }, CTL_USAGE, NULL },
	{ { "roll", "--timeout", "soon" }, CTL_USAGE, NULL },
	{ { "scale", "4\nstop" }, CTL_USAGE, NULL },
	{ { "scale", "4 5" }, CTL_USAGE, NULL },
	{ { "scale", "" }, CTL_USAGE, NULL },
	{ { "a", "b", "c", "d", "e", "f" }, CTL_USAGE, NULL },
};

START_TEST(command_row)
{
	char *argv[10] = { (char[]){ "clusterctl" } }, request[4096];
	struct ctl ctl;
	int argc = 1;

	for (; argc < 9 && commands[_i].words[argc - 1]; argc++)
		argv[argc] = strdup(commands[_i].words[argc - 1]);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	ck_assert_int_eq(ctl_options(argc, argv, &ctl), commands[_i].r);
	if (commands[_i].r == 0) {
		ctl_request(&ctl, request, sizeof request);
		ck_assert_str_eq(request, commands[_i].request);
	}
	while (argc > 1)
		free(argv[--argc]);
}
END_TEST

static const struct {
	const char *text;
	uint64_t ms; /* 0: refused */
} durations[] = {
	{ "10", 10000 }, { "10s", 10000 }, { "250ms", 250 }, { "5m", 300000 }, { "1h", 3600000 },
	{ "", 0 },       { "s", 0 },       { "-1", 0 },      { "1d", 0 },      { "0", 0 },
	{ "1 s", 0 },    { "99999999999999999999", 0 },
};

START_TEST(duration_row)
{
	uint64_t ms = 1;

	ck_assert_int_eq(ctl_duration(durations[_i].text, &ms), durations[_i].ms > 0);
	if (durations[_i].ms > 0)
		ck_assert_uint_eq(ms, durations[_i].ms);
}
END_TEST

/* Exit statuses of last lines. */
START_TEST(verdicts)
{
	static const struct {
		const char *line;
		int want;
	} lines[] = {
		{ "{\"ok\":true,\"done\":true}", CTL_DONE },
		{ "{\"ok\":false,\"code\":1,\"done\":true}", CTL_FAILED },
		{ "{\"ok\":false,\"code\":64,\"done\":true}", CTL_USAGE },
		{ "{\"ok\":false,\"code\":75,\"done\":true}", CTL_TIMEOUT },
		{ "{\"ok\":false,\"code\":3,\"done\":true}", CTL_FAILED },
		{ "{\"done\":true}", CTL_FAILED },
	};
	struct ctl ctl = { 0 };

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		json_t *line = json_loads(lines[i].line, 0, NULL);

		ck_assert_int_eq(ctl_verdict(&ctl, line), lines[i].want);
		json_decref(line);
	}
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof *(table))

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, columns_align);
	tcase_add_test(tests, columns_go_by_rank_then_are_cut);
	tcase_add_test(tests, no_line_is_wider_than_asked);
	tcase_add_test(tests, colour_only_when_painted);
	tcase_add_test(tests, control_characters_are_shown_as_marks);
	tcase_add_test(tests, widths_count_characters);
	tcase_add_test(tests, status_wide);
	tcase_add_test(tests, status_80_columns);
	tcase_add_test(tests, status_without_an_answer);
	tcase_add_loop_test(tests, command_row, 0, ROWS(commands));
	tcase_add_loop_test(tests, duration_row, 0, ROWS(durations));
	tcase_add_test(tests, verdicts);
}

int main(void)
{
	int status = run_suite("ctl/table", add_tests);

	free(text);
	return status;
}
