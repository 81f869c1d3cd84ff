/*
 * output: captured lines, with real pipes and a loop (catalogue rows L1 to L6).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/clock.h"
#include "supervisor/output.h"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 20000 };

static uv_loop_t loop;
static uv_timer_t watchdog;
static struct log sink;
static char file[64];
static struct output *output;
static int ends[2]; /* what the worker writes to */

static void too_late(uv_timer_t *timer)
{
	(void)timer;
	ck_abort_msg("deadline");
}

static void open_log(const char *where, enum log_format format)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &watchdog);
	uv_timer_start(&watchdog, too_late, DEADLINE_MS, 0);
	ck_assert_int_eq(log_open(&sink, &loop, "web", format, LOG_LEVEL_INFO, where), 0);
}

static void open_file(enum log_format format)
{
	int fd;

	strcpy(file, "/tmp/test_output.XXXXXX");
	fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	close(fd);
	open_log(file, format);
}

static void open_output(enum overflow overflow)
{
	const char *failed = "";
	struct output_options options = { .log = &sink, .slot = 3, .overflow = overflow, .tail = 64 };

	ck_assert_int_eq(output_open(&options, &output, ends, &failed), 0);
}

static void say(int fd, const char *text, size_t size)
{
	ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
}

static void worker_ends(void)
{
	close(ends[0]);
	close(ends[1]);
	output_drain(output);
}

/* All handles must be gone after it. */
static void close_all(void)
{
	output_close(output);
	uv_close((uv_handle_t *)&watchdog, NULL);
	log_close(&sink);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* What is in the file; the caller frees it. */
static char *read_file(size_t *ret_size)
{
	FILE *f = fopen(file, "r");
	struct stat info;
	char *text;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &info), 0);
	text = calloc(1, (size_t)info.st_size + 1);
	ck_assert_ptr_nonnull(text);
	*ret_size = fread(text, 1, (size_t)info.st_size, f);
	fclose(f);
	unlink(file);
	return text;
}

static void expect_file(const char *want)
{
	size_t size;
	char *text = read_file(&size);

	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(each_line_has_a_prefix)
{
	open_file(LOG_FORMAT_TEXT);
	open_output(OVERFLOW_DROP);
	say(ends[0], "one\ntwo\n\nthr", 12);
	uv_run(&loop, UV_RUN_NOWAIT);
	say(ends[0], "ee\n", 3);
	say(ends[1], "\x1b[2J\xff\t\r\n", 8);
	worker_ends();
	close_all();
	expect_file("web[3] one\nweb[3] two\nweb[3] \nweb[3] three\nweb[3] \\x1b[2J\\xff\t\\r\n");
}
END_TEST

START_TEST(as_fields)
{
	size_t size;
	char *text;

	open_file(LOG_FORMAT_LOGFMT);
	open_output(OVERFLOW_DROP);
	say(ends[1], "a \"b\"\n", 6);
	worker_ends();
	close_all();
	text = read_file(&size);
	ck_assert_ptr_nonnull(strstr(text, "Z level=info event=output name=web slot=3 stream=err "
	                                   "line=\"a \\\"b\\\"\"\n"));
	free(text);
	open_file(LOG_FORMAT_JSON);
	open_output(OVERFLOW_DROP);
	say(ends[0], "a\n", 2);
	worker_ends();
	close_all();
	text = read_file(&size);
	ck_assert_ptr_nonnull(strstr(text, "\"event\":\"output\",\"name\":\"web\",\"slot\":3,"
	                                   "\"stream\":\"out\",\"line\":\"a\"}\n"));
	free(text);
}
END_TEST

/* L4: what a worker said stands before the record of its exit, newline or not. */
START_TEST(a_partial_line_comes_before_the_exit)
{
	open_file(LOG_FORMAT_TEXT);
	for (int i = 0; i < 1000; i++) {
		char line[64];
		int size = snprintf(line, sizeof line, "abc %d", i);

		open_output(OVERFLOW_DROP);
		say(ends[i % 2], line, (size_t)size);
		worker_ends();
		LOG(&sink, LOG_WORKER_EXIT, F_NUM("slot", 3), F_NUM("pid", i), F_NUM("code", 0));
		if (i < 999)
			output_close(output);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	close_all();

	size_t size;
	char *text = read_file(&size), *at = text;

	for (int i = 0; i < 1000; i++) {
		char said[64], told[64];

		snprintf(said, sizeof said, "web[3] abc %d\n", i);
		snprintf(told, sizeof told, "(pid %d) died", i);
		ck_assert_int_eq(strncmp(at, said, strlen(said)), 0);
		at += strlen(said);
		ck_assert_ptr_nonnull(strstr(at, told));
		ck_assert(strchr(at, '\n') > strstr(at, told));
		at = strchr(at, '\n') + 1;
	}
	ck_assert_str_eq(at, "");
	free(text);
}
END_TEST

/* A process that writes `total` bytes of `line` over and over, and ends. */
static pid_t writer(const char *line, size_t line_size, size_t total)
{
	pid_t pid = fork();

	if (pid != 0) {
		close(ends[0]);
		close(ends[1]);
		return pid;
	}
	alarm(60);
	for (size_t done = 0; done < total;) {
		size_t at = done % line_size;
		size_t most = line_size - at < total - done ? line_size - at : total - done;
		ssize_t n = write(ends[0], line + at, most);

		if (n < 0)
			_exit(1);
		done += (size_t)n;
	}
	_exit(0);
}

static void run_until_end(pid_t pid)
{
	uint64_t end_ms = clock_ms() + DEADLINE_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		ck_assert_uint_lt(clock_ms(), end_ms);
		uv_run(&loop, UV_RUN_ONCE);
	}
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	output_drain(output);
}

/* A timer makes the loop turn, so that the end of the writer is seen. */
static void tick(uv_timer_t *timer)
{
	if (uv_now(&loop) - (uint64_t)(uintptr_t)timer->data > DEADLINE_MS)
		too_late(timer);
}

static void start_ticks(void)
{
	uv_update_time(&loop);
	watchdog.data = (void *)(uintptr_t)uv_now(&loop);
	uv_timer_start(&watchdog, tick, 5, 5);
}

/* L3: cut at the limit with a mark; all bytes are there. */
START_TEST(an_endless_line_is_cut)
{
	enum { TOTAL = 20 * 1024 * 1024 };
	static char xs[4096];
	size_t size, pieces = 0, count = 0;
	char *text, *at, *end;

	memset(xs, 'x', sizeof xs);
	open_file(LOG_FORMAT_TEXT);
	open_output(OVERFLOW_BLOCK);
	start_ticks();
	run_until_end(writer(xs, sizeof xs, TOTAL));
	close_all();
	text = read_file(&size);
	for (at = text; (end = strchr(at, '\n')); at = end + 1, pieces++) {
		size_t length = (size_t)(end - at);
		bool last = end[1] == '\0';

		ck_assert_int_eq(strncmp(at, "web[3] ", 7), 0);
		if (!last)
			ck_assert_int_eq(strncmp(end - 15, " [line goes on]", 15), 0);
		count += length - 7 - (strncmp(end - 15, " [line goes on]", 15) == 0 ? 15 : 0);
	}
	ck_assert_uint_eq(count, TOTAL);
	ck_assert_uint_eq(pieces, TOTAL / OUTPUT_LINE_MAX);
	free(text);
}
END_TEST

/* L3: no letter is cut in two: its halves would be shown as bytes that are no text. */
START_TEST(an_endless_line_is_cut_between_letters)
{
	enum { LETTERS = 1365, TIMES = 128 };
	static char euros[3 * LETTERS];
	char *text;
	size_t size;

	for (size_t i = 0; i < LETTERS; i++)
		memcpy(euros + 3 * i, "\xe2\x82\xac", 3);
	open_file((enum log_format)_i);
	open_output(OVERFLOW_BLOCK);
	start_ticks();
	run_until_end(writer(euros, sizeof euros, sizeof euros * TIMES));
	close_all();
	text = read_file(&size);
	ck_assert_ptr_nonnull(strstr(text, _i == LOG_FORMAT_TEXT ? " [line goes on]\n" : "cut"));
	ck_assert_ptr_null(strchr(text, '\\'));
	ck_assert_ptr_null(strstr(text, "\xef\xbf\xbd")); /* what JSON has for no text */
	free(text);
}
END_TEST

/* L2: whatever the bytes, the lines are whole and clean. */
START_TEST(binary)
{
	enum { TOTAL = 8 * 1024 * 1024 };
	static char noise[1 << 20];
	size_t size, bad = 0;
	char *text;

	srand(5);
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)rand();
	open_file(_i == 0 ? LOG_FORMAT_TEXT : _i == 1 ? LOG_FORMAT_LOGFMT : LOG_FORMAT_JSON);
	open_output(OVERFLOW_BLOCK);
	start_ticks();
	run_until_end(writer(noise, sizeof noise, TOTAL));
	close_all();
	text = read_file(&size);
	ck_assert_uint_gt(size, TOTAL);
	ck_assert_int_eq(text[size - 1], '\n');
	for (size_t i = 0; i < size; i++)
		bad += (unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t';
	ck_assert_uint_eq(bad, 0);
	ck_assert_uint_eq(output_lost(&sink), 0);
	free(text);
}
END_TEST

START_TEST(the_last_words)
{
	char tail[256];
	size_t size;

	open_file(LOG_FORMAT_TEXT);
	open_output(OVERFLOW_DROP);
	ck_assert_str_eq(output_last_line(output), "");
	say(ends[0], "stdout\n", 7);
	for (int i = 0; i < 100; i++)
		say(ends[1], "a line of text\n", 15);
	say(ends[1], "fatal: \x1b\n\n", 10);
	worker_ends();
	ck_assert_str_eq(output_last_line(output), "fatal: \\x1b");
	size = output_tail(output, tail, sizeof tail - 1);
	tail[size] = '\0';
	ck_assert_str_eq(tail, "a line of text\na line of text\na line of text\nfatal: \\x1b\n\n");
	ck_assert_uint_eq(output_tail(output, tail, 5), 5);
	close_all();
	unlink(file);
}
END_TEST

/* L6: the worker has ended, a process of its still holds the pipe. */
START_TEST(a_grandchild_keeps_the_pipe)
{
	uint64_t before;
	int held;

	open_file(LOG_FORMAT_TEXT);
	open_output(OVERFLOW_DROP);
	held = dup(ends[0]);
	say(ends[0], "from the worker", 15);
	before = clock_ms();
	worker_ends();
	ck_assert_uint_lt(clock_ms() - before, 500);
	LOG(&sink, LOG_NOTE, F_TEXT("text", "ended"));
	output_close(output);
	output = NULL;
	say(held, "later\n", 6);
	uv_run(&loop, UV_RUN_NOWAIT);
	uv_run(&loop, UV_RUN_NOWAIT);
	close(held);
	uv_run(&loop, UV_RUN_NOWAIT);
	uv_run(&loop, UV_RUN_NOWAIT);
	close_all();

	size_t size;
	char *text = read_file(&size);

	ck_assert_int_eq(strncmp(text, "web[3] from the worker\n", 23), 0);
	ck_assert_ptr_nonnull(strstr(text, ": ended\nweb[3] later\n"));
	free(text);
}
END_TEST

/* L5: closed or swapped pipes are an end, not a busy loop. */
START_TEST(closed_early)
{
	uint64_t turns = 0, end_ms;

	open_file(LOG_FORMAT_TEXT);
	open_output(OVERFLOW_DROP);
	close(ends[0]);
	end_ms = clock_ms() + 200;
	start_ticks();
	while (clock_ms() < end_ms) {
		uv_run(&loop, UV_RUN_ONCE);
		turns++;
	}
	ck_assert_uint_lt(turns, 100);
	say(ends[1], "still here\n", 11);
	close(ends[1]);
	output_drain(output);
	close_all();
	expect_file("web[3] still here\n");
}
END_TEST

static int taps_seen;

static void on_tap(void *context, uint32_t slot, bool is_error, const char *text, size_t size)
{
	ck_assert_ptr_eq(context, &taps_seen);
	ck_assert_uint_eq(slot, 3);
	ck_assert(is_error);
	ck_assert(size == 5 && memcmp(text, "a\\x1b", 5) == 0);
	taps_seen++;
}

START_TEST(taps_hear_every_line)
{
	struct log_tap tap = { .output = on_tap, .context = &taps_seen };

	open_file(LOG_FORMAT_TEXT);
	log_tap_add(&sink, &tap);
	open_output(OVERFLOW_DROP);
	say(ends[1], "a\x1b\na\x1b\n", 6);
	worker_ends();
	log_tap_remove(&sink, &tap);
	ck_assert_int_eq(taps_seen, 2);
	close_all();
	unlink(file);
}
END_TEST

/* ---- a slow reader of clusterd's standard error ---- */

struct reader {
	int fd;
	uint64_t lines, bad, said; /* lines of the worker; out of order; lost as told */
	bool all;                  /* no number may be missing */
};

/* Reads slowly at first, then to the end. */
static void *read_slowly(void *context)
{
	struct reader *r = context;
	FILE *f = fdopen(r->fd, "r");
	char line[4096];
	uint64_t next = 0, number;
	unsigned turns = 0;

	while (fgets(line, sizeof line, f)) {
		const char *told = strstr(line, " lines of its output were lost");

		if (sscanf(line, "web[3] line %lu", &number) == 1) {
			r->bad += r->all ? number != next : number < next;
			next = number + 1;
			r->lines++;
		} else if (told) {
			while (told > line && told[-1] != ' ')
				told--;
			r->said += strtoul(told, NULL, 10);
		}
		if (turns++ < 200)
			poll(NULL, 0, 1);
	}
	fclose(f);
	return NULL;
}

/* Block: nothing is lost. Drop: what is lost is told, exactly. */
START_TEST(a_slow_reader)
{
	enum { LINES = 200000 };
	enum overflow overflow = _i ? OVERFLOW_BLOCK : OVERFLOW_DROP;
	char *text = malloc(LINES * 16);
	struct reader reader = { .all = overflow == OVERFLOW_BLOCK };
	pthread_t thread;
	size_t size = 0;
	int fds[2], saved = dup(STDERR_FILENO);
	uint64_t lost;

	ck_assert_ptr_nonnull(text);
	for (int i = 0; i < LINES; i++)
		size += (size_t)sprintf(text + size, "line %d\n", i);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	reader.fd = fds[0];
	ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);
	close(fds[1]);
	open_log("-", LOG_FORMAT_TEXT);
	open_output(overflow);
	start_ticks();
	pid_t pid = writer(text, size, size);
	ck_assert_int_eq(pthread_create(&thread, NULL, read_slowly, &reader), 0);
	run_until_end(pid);
	for (int i = 0; i < 2000 && (i < 200 || sink.fill.used > 1); i++)
		uv_run(&loop, UV_RUN_ONCE);
	lost = output_lost(&sink);
	close_all();
	dup2(saved, STDERR_FILENO);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(reader.bad, 0);
	ck_assert_uint_eq(reader.lines + lost, LINES);
	ck_assert_uint_eq(reader.said, lost);
	if (overflow == OVERFLOW_BLOCK)
		ck_assert_uint_eq(lost, 0);
	else
		ck_assert_uint_gt(lost, 0);
	free(text);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, each_line_has_a_prefix);
	tcase_add_test(tests, as_fields);
	tcase_add_test(tests, a_partial_line_comes_before_the_exit);
	tcase_add_test(tests, an_endless_line_is_cut);
	tcase_add_loop_test(tests, an_endless_line_is_cut_between_letters, 0, 3);
	tcase_add_loop_test(tests, binary, 0, 3);
	tcase_add_test(tests, the_last_words);
	tcase_add_test(tests, a_grandchild_keeps_the_pipe);
	tcase_add_test(tests, closed_early);
	tcase_add_test(tests, taps_hear_every_line);
	tcase_add_loop_test(tests, a_slow_reader, 0, 2);
}

int main(void)
{
	return run_suite("glue/output", add_tests);
}
