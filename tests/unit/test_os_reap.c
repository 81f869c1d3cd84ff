/*
 * reap: catalogue rows I1, I4 and what pidfds promise.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/clock.h"
#include "supervisor/os/reap.h"
#include "supervisor/os/spawn.h"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 20000 };

static int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static pid_t fork_exiting(int code)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(code);
	return pid;
}

static void wait_readable(int fd)
{
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, DEADLINE_MS), 1);
}

START_TEST(peek_then_reap)
{
	int gate[2];
	pid_t pid;
	int pidfd;
	struct reaped end = { .pid = -7 };

	ck_assert_int_eq(pipe(gate), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		_exit(read(gate[0], &gate[1], 1) == 0 ? 9 : 1);
	}
	pidfd = open_pidfd(pid);
	ck_assert_int_eq(reap_peek(pidfd, &end), 0);
	ck_assert_int_eq(reap(pidfd, &end), 0);
	ck_assert_int_eq(end.pid, -7);
	close(gate[1]);
	wait_readable(pidfd);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(reap_peek(pidfd, &end), 1);
	ck_assert_int_eq(end.code, 9);
	ck_assert_int_eq(reap(pidfd, &end), 1);
	ck_assert_int_eq(end.pid, pid);
	ck_assert_int_eq(end.code, 9);
	ck_assert_int_eq(reap(pidfd, &end), -ECHILD);
	ck_assert_int_eq(reap_signal(pidfd, SIGTERM), -ESRCH);
}
END_TEST

START_TEST(usage_is_told)
{
	enum { SIZE = 32 << 20 };
	struct reaped end;
	pid_t pid = fork();
	int pidfd;

	if (pid == 0) {
		volatile char *memory = malloc(SIZE);
		uint64_t until = clock_ms() + 60;

		for (int i = 0; i < SIZE; i += 4096)
			memory[i] = 1;
		while (clock_ms() < until)
			;
		_exit(0);
	}
	pidfd = open_pidfd(pid);
	wait_readable(pidfd);
	ck_assert_int_eq(reap(pidfd, &end), 1);
	ck_assert_uint_ge(end.max_rss_kb, SIZE / 1024);
	ck_assert_uint_gt(end.user_ms + end.sys_ms, 0);
}
END_TEST

START_TEST(signal_of_the_end)
{
	struct reaped end;
	pid_t pid = fork();
	int pidfd;

	if (pid == 0)
		for (;;)
			pause();
	pidfd = open_pidfd(pid);
	ck_assert_int_eq(reap_signal(pidfd, 0), 0);
	ck_assert_int_eq(reap_signal(pidfd, SIGUSR1), 0);
	wait_readable(pidfd);
	ck_assert_int_eq(reap(pidfd, &end), 1);
	ck_assert_int_eq(end.signal, SIGUSR1);
	ck_assert(!end.core);
}
END_TEST

/* The members die while the leader is a zombie, which keeps the number of the group. */
START_TEST(group_outlives_its_leader)
{
	int alive[2], ready[2];
	char byte;
	struct reaped end;
	pid_t leader;
	int pidfd;

	ck_assert_int_eq(pipe(alive), 0);
	ck_assert_int_eq(pipe(ready), 0);
	leader = fork();
	if (leader == 0) {
		setpgid(0, 0);
		if (fork() == 0) {
			signal(SIGTERM, SIG_IGN);
			if (write(ready[1], "x", 1) == 1)
				for (;;)
					pause();
		}
		_exit(0);
	}
	close(alive[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	pidfd = open_pidfd(leader);
	wait_readable(pidfd);
	ck_assert_int_eq(reap_signal_group(leader, SIGKILL), 0);
	ck_assert_int_eq(read(alive[0], &byte, 1), 0); /* the last holder is gone */
	ck_assert_int_eq(reap(pidfd, &end), 1);
	ck_assert_int_eq(reap_signal_group(leader, SIGKILL), 0); /* no such group: no error */
	ck_assert_int_eq(reap_signal_group(0, SIGKILL), -EINVAL);
	ck_assert_int_eq(reap_signal_group(-1, SIGKILL), -EINVAL);
	ck_assert_int_eq(reap_signal_group(1, SIGKILL), -EINVAL);
}
END_TEST

struct seen {
	pid_t ours;
	int told, killed, codes;
};

static bool is_ours(void *context, pid_t pid)
{
	return pid == ((const struct seen *)context)->ours;
}

static void count_end(void *context, const struct reaped *end)
{
	struct seen *seen = context;

	seen->told += end->pid > 0;
	seen->killed += end->signal == SIGKILL;
	seen->codes += end->code;
}

/* I1: 200 orphans, one worker of ours among them. */
START_TEST(strangers)
{
	pid_t blocked;
	struct seen seen = { .ours = fork_exiting(3) };
	struct reap_who who = { .is_ours = is_ours, .told = count_end, .context = &seen };
	struct reaped end;
	int pidfd = open_pidfd(seen.ours), reaped = 0;
	uint64_t deadline = clock_ms() + DEADLINE_MS;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	for (int i = 0; i < 20; i++) {
		pid_t middle = fork();

		if (middle == 0) {
			for (int k = 0; k < 10; k++)
				fork_exiting(k);
			raise(SIGKILL);
		}
	}
	wait_readable(pidfd);
	while (reaped < 220 && clock_ms() < deadline) {
		int count = reap_strangers(&who, 7, &blocked);

		ck_assert_int_ge(count, 0);
		ck_assert_int_le(count, 7);
		reaped += count;
		if (blocked) {
			ck_assert_int_eq(blocked, seen.ours);
			ck_assert_int_eq(reap(pidfd, &end), 1);
			ck_assert_int_eq(end.code, 3);
		}
		if (count == 0)
			poll(NULL, 0, 1);
	}
	ck_assert_int_eq(reaped, 220);
	ck_assert_int_eq(seen.told, 220);
	ck_assert_int_eq(seen.killed, 20);
	ck_assert_int_eq(seen.codes, 20 * 45); /* 0 … 9 */
	ck_assert_int_eq(reap_strangers(&who, 7, &blocked), 0);
	ck_assert_int_eq(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG), -1);
}
END_TEST

/* I4: TERM while workers are being started: each one runs or got it, and the parent's TERM too. */
static volatile sig_atomic_t terms;

static void on_term(int signo)
{
	(void)signo;
	terms++;
}

START_TEST(term_storm)
{
	char *argv[] = { "sleep", "1000", NULL }, *envp[] = { NULL };
	struct spawn_plan plan = { .path = "/bin/sleep", .argv = argv, .envp = envp };
	pid_t parent = getpid(), storm;
	int terminated = 0;

	signal(SIGTERM, on_term);
	storm = fork();
	if (storm == 0) {
		for (;;) {
			kill(parent, SIGTERM);
			poll(NULL, 0, 1);
		}
	}
	for (int i = 0; i < 500; i++) {
		struct spawned child;
		const char *failed;
		struct reaped end;

		ck_assert_int_eq(spawn(&plan, &child, &failed), 0);
		ck_assert_int_eq(reap_signal(child.pidfd, SIGTERM), 0);
		while (poll(&(struct pollfd){ .fd = child.pidfd, .events = POLLIN }, 1,
			    DEADLINE_MS) < 0)
			ck_assert_int_eq(errno, EINTR);
		ck_assert_int_eq(reap(child.pidfd, &end), 1);
		terminated += end.signal == SIGTERM;
		close(child.pidfd);
	}
	kill(storm, SIGKILL);
	ck_assert_int_eq(terminated, 500);
	ck_assert_int_gt(terms, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, peek_then_reap);
	tcase_add_test(tests, usage_is_told);
	tcase_add_test(tests, signal_of_the_end);
	tcase_add_test(tests, group_outlives_its_leader);
	tcase_add_test(tests, strangers);
	tcase_add_test(tests, term_storm);
}

int main(void)
{
	return run_suite("os/reap", add_tests);
}
