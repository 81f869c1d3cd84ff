/*
 * pidfile and logsink: catalogue rows M7, M8, M10.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/logsink.h"
#include "supervisor/os/pidfile.h"
#include "tests/unit/suite.h"

static char folder[] = "/tmp/clusterd-files-XXXXXX";
static char path[64];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/f", folder);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(folder, sizeof folder, "/tmp/clusterd-files-XXXXXX");
}

static void shell(const char *before, const char *after)
{
	char command[256];

	snprintf(command, sizeof command, "cd %s && %s %s", folder, before, after);
	ck_assert_int_eq(system(command), 0);
}

static void expect_content(const char *expected)
{
	char text[64] = "";
	FILE *file = fopen(path, "re");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_lt(fread(text, 1, sizeof text - 1, file), sizeof text);
	fclose(file);
	ck_assert_str_eq(text, expected);
}

START_TEST(one_owner)
{
	struct pidfile first, second = { .fd = -7 };
	char mine[16];
	const char *failed;
	pid_t owner;

	snprintf(mine, sizeof mine, "%d\n", (int)getpid());
	shell("printf '99999999 and much more than one number' >", "f"); /* stale and malformed */
	ck_assert_int_eq(pidfile_open(path, &first, &owner, &failed), 0);
	expect_content(mine);
	ck_assert_int_eq(pidfile_open(path, &second, &owner, &failed), -EWOULDBLOCK);
	ck_assert_int_eq(owner, getpid());
	ck_assert_str_eq(failed, "lock");
	ck_assert_int_eq(second.fd, -7);
	expect_content(mine); /* the second start did no harm */
	pidfile_close(&first, path);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(pidfile_open(path, &first, &owner, &failed), 0);
	pidfile_close(&first, path);
}
END_TEST

START_TEST(foreign_pidfile_stays)
{
	struct pidfile file;
	const char *failed;
	pid_t owner;

	ck_assert_int_eq(pidfile_open(path, &file, &owner, &failed), 0);
	shell("rm f && echo 1 >", "f");
	pidfile_close(&file, path);
	expect_content("1\n");
	pidfile_close(&file, path); /* a second time does nothing */
	expect_content("1\n");
}
END_TEST

/* Of 20 that start at once exactly one holds the file. */
START_TEST(simultaneous_pidfiles)
{
	struct pidfile file;
	const char *failed;
	pid_t owner, children[20];
	int said[2], winners = 0;
	char byte;

	ck_assert_int_eq(pipe(said), 0);
	for (int i = 0; i < 20; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			byte = pidfile_open(path, &file, &owner, &failed) == 0 ? 'y' : 'n';
			if (write(said[1], &byte, 1) == 1)
				pause();
			_exit(1);
		}
	}
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(read(said[0], &byte, 1), 1);
		winners += byte == 'y';
	}
	for (int i = 0; i < 20; i++) {
		kill(children[i], SIGKILL);
		ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
	}
	ck_assert_int_eq(winners, 1);
}
END_TEST

/* What is no plain file of one name is refused and left alone. */
static const struct target {
	const char *make;
	int pidfile_error, logsink_error; /* 0: taken */
} targets[] = {
	{ "touch", 0, 0 },
	{ "mkdir", -EISDIR, -EISDIR },
	{ "mkfifo", -EINVAL, -EINVAL },
	{ "ln -s /nowhere", -ELOOP, -ELOOP },
	{ "ln -s /dev/null", -ELOOP, -ELOOP },
	{ "touch g && ln g", -EMLINK, 0 },
};

START_TEST(odd_targets)
{
	const struct target *target = &targets[_i];
	struct pidfile file = { .fd = -1 };
	struct stat before, after;
	const char *failed;
	pid_t owner;
	int fd = -1;

	shell(target->make, "f");
	ck_assert_int_eq(lstat(path, &before), 0);
	ck_assert_int_eq(logsink_open(path, &fd, &failed), target->logsink_error);
	ck_assert_int_eq(fd >= 0, target->logsink_error == 0);
	ck_assert_int_eq(pidfile_open(path, &file, &owner, &failed), target->pidfile_error);
	ck_assert_int_eq(lstat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(before.st_mode, after.st_mode);
}
END_TEST

START_TEST(devices)
{
	struct pidfile file;
	const char *failed;
	pid_t owner;
	int fd;

	ck_assert_int_eq(pidfile_open("/dev/null", &file, &owner, &failed), -EINVAL);
	ck_assert_int_eq(access("/dev/null", F_OK), 0);
	ck_assert_int_eq(logsink_open("/dev/null", &fd, &failed), 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
	ck_assert_int_eq(logsink_open("/dev/full", &fd, &failed), 0);
	ck_assert_int_eq(write(fd, "x", 1), -1);
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(logsink_open("/nowhere/log", &fd, &failed), -ENOENT);
	ck_assert_str_eq(failed, "open");
}
END_TEST

START_TEST(log_appends)
{
	const char *failed;
	struct stat info;
	int first, second;

	umask(0);
	ck_assert_int_eq(logsink_open(path, &first, &failed), 0);
	ck_assert_int_eq(logsink_open(path, &second, &failed), 0);
	ck_assert_int_eq(fcntl(first, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(write(first, "a", 1), 1);
	ck_assert_int_eq(write(second, "b", 1), 1);
	ck_assert_int_eq(write(first, "c", 1), 1);
	expect_content("abc");
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_int_eq(info.st_mode & 07777, 0640);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, one_owner);
	tcase_add_test(tests, foreign_pidfile_stays);
	tcase_add_test(tests, simultaneous_pidfiles);
	tcase_add_loop_test(tests, odd_targets, 0, sizeof targets / sizeof *targets);
	tcase_add_test(tests, devices);
	tcase_add_test(tests, log_appends);
}

int main(void)
{
	return run_suite("os/files", add_tests);
}
