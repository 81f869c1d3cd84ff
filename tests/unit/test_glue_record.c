/*
 * record: who lives is in the file at every moment, and nobody else; what is found there that makes
 * no sense harms nothing. The file itself is os/rowfile, its rows are core/record.
 */
#include "supervisor/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/control.h"
#include "supervisor/orphans.h"
#include "supervisor/os/proc.h"
#include "tests/unit/suite.h"

enum { WORKERS = 150, FOUND_MAX = 8 };

static char folder[64], path[96];
static struct supervisor s;
static struct launch launch;
static struct worker workers[WORKERS];
static uint64_t own_start;
static int notes, beside_error;
static char note[512];
static bool forgotten; /* the launch */
static struct {
	int count;
	uint32_t rows[FOUND_MAX];
	struct record_row is[FOUND_MAX];
} found;

/* ---- doubles ---- */

void sup_note(struct supervisor *of, enum log_level level, const char *format, ...)
{
	va_list arguments;

	ck_assert_ptr_eq(of, &s);
	ck_assert_int_eq(level, LOG_LEVEL_WARN);
	va_start(arguments, format);
	vsnprintf(note, sizeof note, format, arguments);
	va_end(arguments);
	notes++;
}

struct launch *launch_find(const struct supervisor *of, uint32_t generation)
{
	ck_assert_ptr_eq(of, &s);
	return forgotten || generation != launch.generation ? NULL : &launch;
}

int control_beside(const struct policy *policy, const char *name, const char *suffix, char *ret, size_t size,
                   char problem[CONTROL_PROBLEM_MAX])
{
	ck_assert_ptr_eq(policy, &s.policy);
	ck_assert_str_eq(name, "web");
	if (beside_error < 0)
		snprintf(problem, CONTROL_PROBLEM_MAX, "no folder");
	else
		snprintf(ret, size, "%s/web%s", folder, suffix);
	return beside_error;
}

/* ---- */

static void fresh(void)
{
	memset(&s, 0, sizeof s);
	strcpy(s.name, "web");
	s.record.file.file.fd = -1;
}

static void setup(void)
{
	struct proc_info info;

	strcpy(folder, "/tmp/test-record-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/web.workers", folder);
	fresh();
	memset(&found, 0, sizeof found);
	notes = beside_error = 0;
	forgotten = false;
	launch = (struct launch){ .generation = 7 };
	launch.policy.supervisor_on_death = ON_DEATH_KEEP;
	ck_assert_int_eq(proc_read("/proc", getpid(), &info), 0);
	own_start = info.started;
	/* One process stands for all workers: its start time is known. */
	for (uint32_t i = 0; i < WORKERS; i++)
		workers[i] = (struct worker){ .s = &s, .launch = &launch, .pid = getpid(), .slot = i, .generation = 7 };
}

static void teardown(void)
{
	record_close(&s);
	unlink(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void on_found(struct supervisor *of, uint32_t row, const struct record_row *is)
{
	ck_assert_ptr_eq(of, &s);
	ck_assert_int_lt(found.count, FOUND_MAX);
	found.rows[found.count] = row;
	found.is[found.count++] = *is;
}

static struct record_row row_of(const struct worker *worker)
{
	return (struct record_row){ .pid = worker->pid, .started = own_start, .slot = worker->slot, .generation = 7 };
}

/* NULL: it is empty. */
static void assert_row(uint32_t row, const struct record_row *is)
{
	char want[RECORD_ROW], got[RECORD_ROW];
	FILE *file = fopen(path, "re");

	ck_assert_ptr_nonnull(file);
	record_write(is, want);
	ck_assert_int_eq(fseek(file, (long)row * RECORD_ROW, SEEK_SET), 0);
	ck_assert_uint_eq(fread(got, 1, sizeof got, file), sizeof got);
	ck_assert_mem_eq(got, want, sizeof got);
	fclose(file);
}

static off_t file_rows(void)
{
	struct stat info;

	return stat(path, &info) < 0 ? -1 : info.st_size / RECORD_ROW;
}

/* As the supervisor starts one; its row is its own and says who it is. */
static void start(struct worker *worker)
{
	struct record_row is = row_of(worker);

	record_starting(&s, worker->slot, worker->generation);
	record_started(&s, worker);
	ck_assert_uint_gt(worker->record_row, 0);
	ck_assert_uint_eq(s.record.starting, 0);
	assert_row(worker->record_row, &is);
}

static void put_row(uint32_t row, const char *text)
{
	char bytes[RECORD_ROW];
	FILE *file = fopen(path, row == 0 ? "we" : "r+e");

	ck_assert_ptr_nonnull(file);
	memset(bytes, ' ', sizeof bytes);
	memcpy(bytes, text, strlen(text));
	bytes[RECORD_ROW - 1] = '\n';
	fseek(file, (long)row * RECORD_ROW, SEEK_SET);
	fwrite(bytes, 1, sizeof bytes, file);
	fclose(file);
}

/* As after a SIGKILL: the file stays, the lock is gone. */
static void killed(void)
{
	close(s.record.file.file.fd);
	free(s.record.free);
	fresh();
}

START_TEST(a_start_is_told_before_and_after)
{
	struct record_row is = { .pid = getpid(), .slot = 1, .generation = 7, .starting = true };
	char got[RECORD_ROW];
	struct record_row read;
	uint32_t hint;
	FILE *file;

	record_starting(&s, 1, 7);
	hint = s.record.starting;
	ck_assert_uint_gt(hint, 0);
	file = fopen(path, "re");
	fseek(file, (long)hint * RECORD_ROW, SEEK_SET);
	ck_assert_uint_eq(fread(got, 1, sizeof got, file), sizeof got);
	fclose(file);
	ck_assert_int_eq(record_read(got, &read), RECORD_WORKER);
	ck_assert_uint_ge(read.started, own_start);
	is.started = read.started;
	assert_row(hint, &is);
	record_started(&s, &workers[1]);
	ck_assert_uint_ne(workers[1].record_row, hint);
	assert_row(hint, NULL);
	is = row_of(&workers[1]);
	assert_row(workers[1].record_row, &is);
	ck_assert_uint_eq(s.record.starting, 0);
	record_gone(&s, workers[1].record_row);
	assert_row(workers[1].record_row, NULL);
}
END_TEST

START_TEST(a_start_that_failed_leaves_nothing)
{
	uint32_t hint;

	record_starting(&s, 1, 7);
	hint = s.record.starting;
	record_started(&s, NULL);
	ck_assert_uint_eq(s.record.starting, 0);
	assert_row(hint, NULL);
	record_close(&s);
	ck_assert_int_eq(file_rows(), -1);
	s.record.file.file.fd = -1;
}
END_TEST

START_TEST(rows_are_used_again)
{
	off_t rows;

	start(&workers[0]);
	start(&workers[1]);
	rows = file_rows();
	for (int i = 0; i < 300; i++) {
		record_gone(&s, workers[0].record_row);
		start(&workers[0]);
		ck_assert_uint_ne(workers[0].record_row, workers[1].record_row);
	}
	ck_assert_int_eq(file_rows(), rows);
	record_gone(&s, 0);
	ck_assert_uint_eq(s.record.free_count, 1); /* of the start */
}
END_TEST

START_TEST(many_live_at_once)
{
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < WORKERS; i++)
			start(&workers[i]);
		ck_assert_int_eq(file_rows(), 1 + WORKERS + 1);
		for (uint32_t i = 0; i < WORKERS; i++) {
			struct record_row is = row_of(&workers[i]);

			assert_row(workers[i].record_row, &is); /* nobody has written over it */
		}
		for (uint32_t i = 0; i < WORKERS; i++)
			record_gone(&s, workers[i].record_row);
		ck_assert_uint_eq(s.record.free_count, WORKERS + 1);
	}
}
END_TEST

START_TEST(the_next_one_finds_who_was_left)
{
	for (uint32_t i = 0; i < 3; i++)
		start(&workers[i]);
	record_gone(&s, workers[1].record_row);
	killed();
	ck_assert(record_open(&s, on_found));
	ck_assert_int_eq(found.count, 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(found.rows[i], workers[2 * i].record_row);
		ck_assert_int_eq(found.is[i].pid, getpid());
		ck_assert_uint_eq(found.is[i].slot, 2 * (unsigned)i);
		ck_assert_uint_eq(found.is[i].started, own_start);
	}
	ck_assert_int_eq(notes, 0);
	/* It stays as long as it names one. */
	record_gone(&s, found.rows[0]);
	record_close(&s);
	ck_assert_int_gt(file_rows(), 0);
	fresh();
	ck_assert(record_open(&s, on_found));
	ck_assert_int_eq(found.count, 3);
	ck_assert_uint_eq(found.is[2].slot, 2);
	record_gone(&s, found.rows[2]);
	record_close(&s);
	ck_assert_int_eq(file_rows(), -1);
	s.record.file.file.fd = -1;
}
END_TEST

START_TEST(garbage_is_told_once_and_cleaned)
{
	start(&workers[0]);
	start(&workers[1]);
	killed();
	put_row(workers[0].record_row, "worker 1 1 1 1");
	put_row((uint32_t)file_rows(), "garbage");
	ck_assert(record_open(&s, on_found));
	ck_assert_int_eq(found.count, 1);
	ck_assert_uint_eq(found.rows[0], workers[1].record_row);
	ck_assert_int_eq(notes, 1);
	ck_assert_ptr_nonnull(strstr(note, "2 rows make no sense"));
	assert_row(workers[0].record_row, NULL);
	ck_assert_uint_eq(s.record.free_count, 3); /* these two, and that of the start */
}
END_TEST

static const struct {
	const char *head;
	int notes;
} heads[] = {
	{ "clusterd workers 1 00000000-0000-0000-0000-000000000000", 0 }, /* another boot */
	{ "clusterd workers 2 6b1c0c4e-8d0f-4f0e-9c0b-0e5d6f0a7c11", 0 }, /* another version */
	{ "something else", 1 },
};

START_TEST(what_is_of_another_boot_is_begun_anew)
{
	put_row(0, heads[_i].head);
	put_row(1, "worker 4242 183746 1 3");
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert(record_open(&s, on_found));
	ck_assert_int_eq(found.count, 0);
	ck_assert_int_eq(notes, heads[_i].notes);
	ck_assert_int_eq(file_rows(), 1);
	start(&workers[0]);
	killed();
	ck_assert(record_open(&s, on_found)); /* the new head is of this boot */
	ck_assert_int_eq(found.count, 1);
}
END_TEST

START_TEST(only_with_keep)
{
	launch.policy.supervisor_on_death = ON_DEATH_STOP;
	record_starting(&s, 0, 7);
	record_started(&s, &workers[0]);
	ck_assert_uint_eq(workers[0].record_row, 0);
	launch.policy.supervisor_on_death = ON_DEATH_KEEP;
	forgotten = true;
	record_starting(&s, 0, 7);
	ck_assert_uint_eq(s.record.starting, 0);
	record_gone(&s, 1);
	ck_assert_int_eq(file_rows(), -1);
	ck_assert_int_eq(notes, 0);
}
END_TEST

/* Told once, however many are started. */
START_TEST(what_can_not_be_kept)
{
	beside_error = -EACCES;
	for (uint32_t i = 0; i < 3; i++) {
		record_starting(&s, i, 7);
		record_started(&s, &workers[i]);
		ck_assert_uint_eq(workers[i].record_row, 0);
	}
	ck_assert_int_eq(notes, 1);
	ck_assert_ptr_nonnull(strstr(note, "no folder"));
	ck_assert_ptr_nonnull(strstr(note, strerror(EACCES)));
}
END_TEST

START_TEST(its_clusterd_lives)
{
	struct rowfile other;
	const char *failed;

	ck_assert_int_eq(rowfile_open(path, &other, &failed), 0);
	ck_assert(!record_open(&s, NULL));
	ck_assert_int_eq(notes, 1);
	ck_assert_ptr_nonnull(strstr(note, "held by another clusterd"));
	ck_assert_int_eq(s.record.file.file.fd, -1);
	rowfile_close(&other, false);
}
END_TEST

START_TEST(a_process_that_is_gone_is_told)
{
	for (uint32_t i = 0; i < 2; i++) {
		workers[i].pid = 0x7ffffff0; /* above any pid_max */
		record_starting(&s, i, 7);
		record_started(&s, &workers[i]);
		ck_assert_uint_eq(workers[i].record_row, 0);
	}
	ck_assert_int_eq(notes, 1);
	ck_assert_uint_eq(s.record.free_count, 1);
}
END_TEST

/* An upgrade hands over the open file, and nothing of what was in memory. */
START_TEST(an_upgrade_goes_on)
{
	int fd;

	start(&workers[0]);
	start(&workers[1]);
	record_gone(&s, workers[0].record_row);
	fd = s.record.file.file.fd;
	free(s.record.free);
	fresh();
	s.record.file.file.fd = fd;
	record_resume(&s, on_found);
	ck_assert_int_eq(found.count, 1);
	ck_assert_uint_eq(found.rows[0], workers[1].record_row);
	ck_assert_uint_eq(s.record.free_count, 2);
	start(&workers[2]);
	ck_assert_uint_ne(workers[2].record_row, workers[1].record_row);
}
END_TEST

START_TEST(an_upgrade_from_one_that_kept_none)
{
	s.workers[5] = &workers[0];
	workers[0].hash_next = &workers[1];
	s.workers[WORKER_HASH - 1] = &workers[2];
	record_resume(&s, on_found);
	for (uint32_t i = 0; i < 3; i++) {
		struct record_row is = row_of(&workers[i]);

		ck_assert_uint_gt(workers[i].record_row, 0);
		assert_row(workers[i].record_row, &is);
	}
	ck_assert_int_eq(file_rows(), 4);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_start_is_told_before_and_after);
	tcase_add_test(tests, a_start_that_failed_leaves_nothing);
	tcase_add_test(tests, rows_are_used_again);
	tcase_add_test(tests, many_live_at_once);
	tcase_add_test(tests, the_next_one_finds_who_was_left);
	tcase_add_test(tests, garbage_is_told_once_and_cleaned);
	tcase_add_loop_test(tests, what_is_of_another_boot_is_begun_anew, 0, (int)(sizeof heads / sizeof *heads));
	tcase_add_test(tests, only_with_keep);
	tcase_add_test(tests, what_can_not_be_kept);
	tcase_add_test(tests, its_clusterd_lives);
	tcase_add_test(tests, a_process_that_is_gone_is_told);
	tcase_add_test(tests, an_upgrade_goes_on);
	tcase_add_test(tests, an_upgrade_from_one_that_kept_none);
}

int main(void)
{
	return run_suite("glue/record", add_tests);
}
