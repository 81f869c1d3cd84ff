/*
 * log: never blocks, never dies, loses nothing that it does not tell (catalogue rows L7 to L10).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/log.h"
#include "supervisor/os/clock.h"
#include "tests/unit/suite.h"

static uv_loop_t loop;
static struct log sink;
static char folder[64], file[96];

static uv_timer_t alive; /* as signals are in clusterd: a loop without handles does not turn */

static void too_late(uv_timer_t *timer)
{
	(void)timer;
	ck_abort_msg("deadline");
}

static void setup(void)
{
	strcpy(folder, "/tmp/test_log.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/log", folder);
	unsetenv("JOURNAL_STREAM");
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &alive);
	uv_timer_start(&alive, too_late, 50000, 0);
}

static void teardown(void)
{
	char path[128];

	log_close(&sink);
	uv_close((uv_handle_t *)&alive, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof path, "%s/old.%d", folder, i);
		unlink(path);
	}
	unlink(file);
	rmdir(folder);
}

static void open_on(const char *where)
{
	ck_assert_int_eq(log_open(&sink, &loop, "web", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, where), 0);
}

/* Makes `fd` standard error for the test's process. */
static void become_stderr(int fd)
{
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

static void count_up(uint64_t number)
{
	char text[32];

	snprintf(text, sizeof text, "number %lu.", number);
	LOG(&sink, LOG_NOTE, F_TEXT("text", text));
}

/* Adds what the lines of the stream say: numbers that come in order, and lines told as lost. */
struct tally {
	uint64_t lines, torn, disorder, next, told;
};

static void tally(struct tally *t, FILE *f)
{
	char line[LOGLINE_MAX + 1], dot;
	uint64_t number;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f)) {
		const char *text = strstr(line, "clusterd web: ");

		if (!text || line[strlen(line) - 1] != '\n')
			t->torn++;
		else if (sscanf(text, "clusterd web: number %lu%c", &number, &dot) == 2 && dot == '.') {
			t->disorder += number < t->next;
			t->next = number + 1;
			t->lines++;
		} else if (strstr(text, "log lines were lost")) {
			t->told += strtoul(text + strlen("clusterd web: "), NULL, 10);
		}
	}
	fclose(f);
}

START_TEST(early_lines_are_seen_before_the_loop_runs)
{
	struct tally t = { 0 };

	open_on(file);
	count_up(0);
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines, 1);
}
END_TEST

START_TEST(level_and_format_change_while_it_runs)
{
	char text[512] = "";
	FILE *f;

	open_on(file);
	LOG_AT(&sink, LOG_NOTE, LOG_LEVEL_DEBUG, F_TEXT("text", "no"));
	ck_assert_int_eq(log_configure(&sink, LOG_FORMAT_LOGFMT, LOG_LEVEL_DEBUG, file), 0);
	LOG_AT(&sink, LOG_NOTE, LOG_LEVEL_DEBUG, F_TEXT("text", "yes"));
	ck_assert_int_eq(log_configure(&sink, LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, file), 0);
	LOG(&sink, LOG_SCALE, F_NUM("from", 1));
	f = fopen(file, "r");
	ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "level=debug event=note name=web text=yes\n"));
	ck_assert_ptr_null(strstr(text, "no\n"));
	ck_assert_ptr_null(strstr(text, "scale"));
}
END_TEST

START_TEST(a_file_that_can_not_be_opened)
{
	char bad[128];

	snprintf(bad, sizeof bad, "%s/none/log", folder);
	open_on(file);
	ck_assert_int_eq(log_configure(&sink, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, bad), -ENOENT);
	ck_assert_str_eq(sink.file, file);
	log_close(&sink);
	ck_assert_int_eq(log_open(&sink, &loop, "web", LOG_FORMAT_TEXT, LOG_LEVEL_INFO, bad), -ENOENT);
	ck_assert_str_eq(sink.file, "-");
}
END_TEST

/* L9: renamed and reopened 1,000 times; no line is lost or torn. */
START_TEST(reopen_under_load)
{
	enum { REOPENS = 1000, LINES = 20 };
	struct tally t = { 0 };
	char path[128];

	open_on(file);
	for (uint64_t i = 0; i < REOPENS; i++) {
		for (uint64_t k = 0; k < LINES; k++) {
			count_up(i * LINES + k);
			if (k % 5 == 0)
				uv_run(&loop, UV_RUN_NOWAIT);
		}
		snprintf(path, sizeof path, "%s/old.%lu", folder, i);
		ck_assert_int_eq(rename(file, path), 0);
		ck_assert_int_eq(log_reopen(&sink, sink.file), 0);
	}
	log_close(&sink);
	for (uint64_t i = 0; i < REOPENS; i++) {
		snprintf(path, sizeof path, "%s/old.%lu", folder, i);
		tally(&t, fopen(path, "r"));
	}
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines, REOPENS * LINES);
	ck_assert_uint_eq(t.torn + t.disorder + t.told, 0);
}
END_TEST

static off_t file_size(void)
{
	struct stat info;

	return stat(file, &info) < 0 ? 0 : info.st_size;
}

/* L7: a disk that is full: every line is counted, none blocks. */
START_TEST(dev_full)
{
	open_on("/dev/full");
	for (uint64_t i = 0; i < 1000; i++) {
		count_up(i);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(log_lost(&sink), 1000);
	ck_assert_int_eq(log_configure(&sink, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, file), 0);
	count_up(1000);
	log_close(&sink);

	struct tally t = { 0 };

	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines, 1);
	ck_assert_uint_eq(t.told, 1000);
}
END_TEST

/* L7: a limit of the file's size, then space again: the count is exact and no line is mixed up. */
START_TEST(file_size_limit)
{
	enum { LINES = 4000 };
	struct rlimit limit, small;
	struct tally t = { 0 };

	open_on(file);
	if (_i)
		uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 50001;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint64_t i = 0; i < LINES / 2; i++) {
		count_up(i);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ck_assert(log_flush(&sink, 5000));
	ck_assert_uint_gt(log_lost(&sink), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t i = LINES / 2; i < LINES; i++) {
		count_up(i);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	log_close(&sink);
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.disorder, 0);
	ck_assert_uint_le(t.torn, 1);
	ck_assert_uint_eq(t.told, sink.lost);
	ck_assert_uint_eq(t.lines + t.told, LINES);
}
END_TEST

/* L7: a line that a full disk has cut in two is ended before the next one, also by who opens the file again. */
START_TEST(a_torn_line_is_ended)
{
	struct rlimit limit, small;
	struct tally t = { 0 };
	uint64_t lost;

	open_on(file);
	count_up(0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = (rlim_t)(file_size() * 2 - 4);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	count_up(1);
	lost = log_lost(&sink);
	ck_assert_uint_eq(lost, 1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	if (_i == 0) {
		ck_assert_int_eq(log_reopen(&sink, sink.file), 0);
	} else {
		log_close(&sink);
		open_on(file);
		lost = 0;
	}
	count_up(2);
	log_close(&sink);
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines, 2);
	ck_assert_uint_eq(t.told, lost);
}
END_TEST

/* L8: `clusterd 2>&1 | head -1`. */
START_TEST(reader_gone)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	become_stderr(fds[1]);
	open_on("-");
	count_up(0);
	uv_run(&loop, UV_RUN_NOWAIT);
	close(fds[0]);
	for (uint64_t i = 1; i < 1000; i++)
		count_up(i);
	ck_assert_uint_eq(log_lost(&sink), 999);
}
END_TEST

static void drain(int fd, struct tally *t)
{
	int other = dup(fd);

	ck_assert_int_ge(other, 0);
	ck_assert_int_eq(fcntl(other, F_SETFL, O_NONBLOCK), 0);
	tally(t, fdopen(other, "r"));
}

/* A reader that sleeps: no wait, a bounded memory, and the count when it wakes. */
START_TEST(slow_reader)
{
	enum { LINES = 20000 };
	struct tally t = { 0 };
	uint64_t before_ms;
	int fds[2];

	if (_i)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	become_stderr(fds[1]);
	open_on("-");
	before_ms = clock_ms();
	for (uint64_t i = 0; i < LINES; i++)
		count_up(i);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_lt(clock_ms() - before_ms, 5000);
	ck_assert_uint_gt(log_lost(&sink), 0);
	/* The description that is shared with others has not been touched. */
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
	for (int turn = 0; turn < 2000 && t.told == 0; turn++) {
		drain(fds[0], &t);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(t.told, log_lost(&sink));
	ck_assert_uint_eq(t.lines + t.told, LINES);
	ck_assert_uint_eq(t.disorder, 0);
	ck_assert_int_eq(log_flush(&sink, 1000), true);
	close(fds[0]);
}
END_TEST

/* The end waits a second, not longer. */
static void close_is_given_up(void)
{
	uint64_t before_ms = clock_ms();

	log_close(&sink);
	ck_assert_uint_ge(clock_ms() - before_ms, LOG_CLOSE_MS - 100);
	ck_assert_uint_lt(clock_ms() - before_ms, LOG_CLOSE_MS + 2000);
}

/* For a reader. */
START_TEST(close_is_bounded)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	become_stderr(fds[1]);
	open_on("-");
	for (uint64_t i = 0; i < 10000; i++)
		count_up(i);
	close_is_given_up();
	close(fds[0]);
}
END_TEST

/* L10: while the disk stalls (the thread that writes does, in a handler), the loop goes on. */
static int hold[2];

static void on_hold(int signo)
{
	char byte;
	ssize_t n;

	(void)signo;
	do
		n = read(hold[0], &byte, 1);
	while (n < 0 && errno == EINTR);
}

static void hold_others(void)
{
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");

	ck_assert_ptr_nonnull(tasks);
	while ((entry = readdir(tasks)))
		if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid())
			ck_assert_int_eq(syscall(SYS_tgkill, getpid(), atoi(entry->d_name), SIGUSR1), 0);
	closedir(tasks);
}

START_TEST(slow_disk)
{
	struct tally t = { 0 };
	uint64_t before_ms, slowest_ms = 0;

	open_on(file);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(pipe(hold), 0);
	signal(SIGUSR1, on_hold);
	count_up(0);
	hold_others();
	for (uint64_t i = 1; i < 20000; i++) {
		before_ms = clock_ms();
		count_up(i);
		uv_run(&loop, UV_RUN_NOWAIT);
		if (clock_ms() - before_ms > slowest_ms)
			slowest_ms = clock_ms() - before_ms;
	}
	ck_assert_uint_lt(slowest_ms, 1000);
	ck_assert_uint_gt(log_lost(&sink), 0);
	close(hold[1]);
	log_close(&sink);
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines + t.told, 20000);
	ck_assert_uint_eq(t.told, sink.lost);
	ck_assert_uint_eq(t.torn + t.disorder, 0);
}
END_TEST

/* Nor does the end wait longer for a write that hangs than for a reader. */
START_TEST(close_is_bounded_on_a_hung_disk)
{
	open_on(file);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(pipe(hold), 0);
	signal(SIGUSR1, on_hold);
	count_up(0);
	hold_others();
	for (uint64_t i = 1; i < 100; i++)
		count_up(i);
	close_is_given_up();
	close(hold[1]);
}
END_TEST

/* The start of a thousand workers is one turn of the loop: what the disk has taken meanwhile makes
 * room before it ends. */
START_TEST(a_long_turn)
{
	enum { ROUNDS = 8, LINES = 2000, WAIT_MS = 20000 };
	struct tally t = { 0 };
	uint64_t count = 0;

	open_on(file);
	uv_run(&loop, UV_RUN_NOWAIT);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		uint64_t give_up_ms = clock_ms() + WAIT_MS;

		for (uint64_t i = 0; i < LINES; i++)
			count_up(count++);
		/* a line now and then, until the thread has got what waits; it may have no CPU for a while */
		while (sink.fill.used > LOG_BUFFER_MAX / 4 && clock_ms() < give_up_ms) {
			usleep(1000);
			count_up(count++);
		}
	}
	ck_assert_uint_gt(count * 40, 2 * LOG_BUFFER_MAX); /* more than there is room for */
	ck_assert_uint_eq(log_lost(&sink), 0);
	log_close(&sink);
	tally(&t, fopen(file, "r"));
	ck_assert_uint_eq(t.lines, count);
	ck_assert_uint_eq(t.torn + t.disorder, 0);
}
END_TEST

/* The sink may take all that there is while somebody else logs: then nothing is under way that ends. */
static void on_room(struct log_waiter *waiter)
{
	waiter->room = NULL;
}

START_TEST(who_waits_for_room_is_called)
{
	struct log_waiter waiter = { .room = on_room };
	struct tally t = { 0 };
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	become_stderr(fds[1]);
	open_on("-");
	while (log_room(&sink) > 0)
		count_up(0);
	log_wait(&sink, &waiter);
	drain(fds[0], &t);
	count_up(0);
	uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert(waiter.room == NULL);
}
END_TEST

/* systemd.exec(5): the journal adds the time, and reads the priority. */
START_TEST(the_journal)
{
	char text[256] = "", stream[64];
	struct stat info;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	become_stderr(fds[1]);
	ck_assert_int_eq(fstat(STDERR_FILENO, &info), 0);
	snprintf(stream, sizeof stream, "%lu:%lu", info.st_dev, info.st_ino + (unsigned)_i);
	setenv("JOURNAL_STREAM", stream, 1);
	open_on("-");
	LOG(&sink, LOG_NOTE, F_TEXT("text", "hello"));
	ck_assert_int_gt(read(fds[0], text, sizeof text - 1), 0);
	if (_i == 0)
		ck_assert_str_eq(text, "<4>clusterd web: hello\n");
	else
		ck_assert_str_eq(text + strlen("2026-11-23T01:02:03.123Z"), " clusterd web: hello\n");
	close(fds[0]);
}
END_TEST

/* ---- taps ---- */

static char tapped[1024];
static int64_t tapped_slot;

static void on_line(void *context, enum log_id id, int64_t slot, const char *json, size_t size)
{
	ck_assert_ptr_eq(context, tapped);
	ck_assert_int_eq((int)id, LOG_DRAINED);
	tapped_slot = slot;
	memcpy(tapped, json, size);
}

START_TEST(taps_get_json_whatever_the_level)
{
	struct log_tap tap = { .line = on_line, .context = tapped };

	open_on(file);
	log_tap_add(&sink, &tap);
	LOG_AT(&sink, LOG_DRAINED, LOG_LEVEL_DEBUG, F_NUM("slot", 5));
	log_tap_remove(&sink, &tap);
	LOG(&sink, LOG_SCALE, F_NUM("from", 1));
	ck_assert_int_eq(tapped_slot, 5);
	ck_assert_int_eq(strncmp(tapped, "{\"v\":1,\"time\":\"", 15), 0);
	ck_assert_ptr_nonnull(strstr(tapped, "\"event\":\"drained\",\"name\":\"web\",\"slot\":5}\n"));
}
END_TEST

START_TEST(errno_is_left_alone)
{
	open_on("/dev/full");
	errno = E2BIG;
	count_up(1);
	ck_assert_int_eq(errno, E2BIG);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, early_lines_are_seen_before_the_loop_runs);
	tcase_add_test(tests, level_and_format_change_while_it_runs);
	tcase_add_test(tests, a_file_that_can_not_be_opened);
	tcase_add_test(tests, reopen_under_load);
	tcase_add_test(tests, dev_full);
	tcase_add_loop_test(tests, file_size_limit, 0, 2);
	tcase_add_loop_test(tests, a_torn_line_is_ended, 0, 2);
	tcase_add_test(tests, reader_gone);
	tcase_add_loop_test(tests, slow_reader, 0, 2);
	tcase_add_test(tests, close_is_bounded);
	tcase_add_test(tests, slow_disk);
	tcase_add_test(tests, close_is_bounded_on_a_hung_disk);
	tcase_add_test(tests, a_long_turn);
	tcase_add_test(tests, who_waits_for_room_is_called);
	tcase_add_loop_test(tests, the_journal, 0, 2);
	tcase_add_test(tests, taps_get_json_whatever_the_level);
	tcase_add_test(tests, errno_is_left_alone);
}

int main(void)
{
	return run_suite("glue/log", add_tests);
}
