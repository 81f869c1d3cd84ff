/*
 * os_worker - for tests of spawn: the test program is its own worker.
 *
 * Started with a verb as its first argument it does that and ends (act(), called first of all in
 * main). run() spawns a plan and reaps it. Each includer is one program, so everything is static.
 */
#ifndef CLUSTERD_TESTS_UNIT_OS_WORKER_H
#define CLUSTERD_TESTS_UNIT_OS_WORKER_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/reap.h"
#include "supervisor/os/spawn.h"

enum { DEADLINE_MS = 20000, NOBODY = 65534, REPORT_MAX = 8192 };

static const char self[] = "/proc/self/exe";

/* ---- the spawned side ---- */

static void print_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	bool open_fds[256] = { false };

	for (struct dirent *e; (e = readdir(dir));) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(dir) && fd < 256)
			open_fds[fd] = true;
	}
	closedir(dir);
	for (int fd = 0; fd < 256; fd++)
		if (open_fds[fd])
			dprintf(1, "%d ", fd);
}

static void print_status(void)
{
	char line[512];
	FILE *file = fopen("/proc/self/status", "re");

	while (fgets(line, sizeof line, file))
		dprintf(1, "%s", line);
	fclose(file);
}

/* 10 ways back to root; prints how many worked. */
static void print_regain(void)
{
	int worked = 0;

	for (int i = 0; i < 10; i++)
		worked += setuid(0) == 0 || seteuid(0) == 0 || setresuid(0, 0, 0) == 0 ||
			  setgid(0) == 0 || setregid(0, 0) == 0;
	dprintf(1, "%d", worked);
}

static void print_context(void)
{
	char cwd[4096];
	struct rlimit nofile, core;
	mode_t mask = umask(0);

	getrlimit(RLIMIT_NOFILE, &nofile);
	getrlimit(RLIMIT_CORE, &core);
	dprintf(1, "cwd=%s umask=%03o nice=%d nofile=%llu:%llu core=%llu group=%d nnp=%d pid=%s/%d",
		getcwd(cwd, sizeof cwd), (unsigned)mask, getpriority(PRIO_PROCESS, 0),
		(unsigned long long)nofile.rlim_cur, (unsigned long long)nofile.rlim_max,
		(unsigned long long)core.rlim_cur, getpgid(0) == getpid(),
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), getenv("LISTEN_PID"), (int)getpid());
}

/* Says what each fd is by its inode. */
static void print_inodes(void)
{
	struct stat info;

	for (int fd = 0; fd < 64; fd++)
		if (fstat(fd, &info) == 0)
			dprintf(1, "%d=%llu ", fd, (unsigned long long)info.st_ino);
}

_Noreturn static void act(char **argv)
{
	const char *verb = argv[1];

	if (!strcmp(verb, "exit"))
		_exit(atoi(argv[2]));
	if (!strcmp(verb, "signal")) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(atoi(argv[2]), SIG_DFL);
		kill(getpid(), atoi(argv[2]));
		_exit(77);
	}
	if (!strcmp(verb, "wait"))
		pause();
	if (!strcmp(verb, "fds"))
		print_fds();
	if (!strcmp(verb, "inodes"))
		print_inodes();
	if (!strcmp(verb, "status"))
		print_status();
	if (!strcmp(verb, "regain"))
		print_regain();
	if (!strcmp(verb, "context"))
		print_context();
	_exit(0);
}

/* ---- the spawning side ---- */

static char program[4096]; /* a real path: /proc/self/exe would be the child's own */
static char folder[] = "/tmp/clusterd-spawn-XXXXXX";
static char *empty_env[] = { NULL };

static struct spawn_plan plan_of(char **argv)
{
	return (struct spawn_plan){ .path = program, .argv = argv, .envp = empty_env };
}

static struct reaped wait_end(struct spawned *child)
{
	struct pollfd watch = { .fd = child->pidfd, .events = POLLIN };
	struct reaped end;

	ck_assert_int_eq(poll(&watch, 1, DEADLINE_MS), 1);
	ck_assert_int_eq(reap_peek(child->pidfd, &end), 1);
	ck_assert_int_eq(reap(child->pidfd, &end), 1);
	ck_assert_int_eq(end.pid, child->pid);
	close(child->pidfd);
	return end;
}

static struct reaped run(const struct spawn_plan *plan)
{
	struct spawned child;
	const char *failed = NULL;
	int error = spawn(plan, &child, &failed);

	ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
	return wait_end(&child);
}

static void setup(void)
{
	ssize_t size = readlink(self, program, sizeof program - 1);

	ck_assert_int_gt(size, 0);
	program[size] = '\0';
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(folder, sizeof folder, "/tmp/clusterd-spawn-XXXXXX");
}

#endif
