/*
 * spawn: what a worker finds when it runs; catalogue rows I3, J1, J2, J6-J9 and D9.
 */
#include "tests/unit/os_worker.h"

#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tests/unit/suite.h"

/* Runs `verb` with its fd 1 in a pipe and returns what it printed. */
static char *report_with(struct spawn_plan plan, const char *verb, const struct spawn_fd *fds,
			 size_t count, int out)
{
	static char text[REPORT_MAX];
	char *argv[] = { "worker", (char *)(uintptr_t)verb, NULL };
	ssize_t size, total = 0;
	struct reaped end;

	plan.argv = argv;
	plan.fds = fds;
	plan.fd_count = count;
	end = run(&plan);
	ck_assert_int_eq(end.signal, 0);
	ck_assert_int_eq(end.code, 0);
	while ((size = read(out, text + total, sizeof text - 1 - (size_t)total)) > 0)
		total += size;
	text[total] = '\0';
	return text;
}

static char *report(struct spawn_plan plan, const char *verb)
{
	int ends[2];
	struct spawn_fd fds[] = { { SPAWN_NULL, 0 }, { -1, 1 }, { 2, 2 } };
	char *text;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	fds[1].source = ends[1];
	text = report_with(plan, verb, fds, 3, ends[0]);
	close(ends[0]);
	close(ends[1]);
	return text;
}

/* J1 */
START_TEST(exactly_the_given_fds)
{
	int pipe_ends[2];
	struct spawn_fd fds[] = { { SPAWN_NULL, 0 }, { -1, 1 }, { 2, 2 }, { -1, 3 } };
	struct spawn_plan plan = plan_of(NULL);

	for (int i = 0; i < 100; i++)
		ck_assert_int_ge(open("/dev/null", O_RDONLY),
				 0); /* not close-on-exec, on purpose */
	ck_assert_int_eq(pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC), 0);
	fds[1].source = fds[3].source = pipe_ends[1];
	ck_assert_str_eq(report_with(plan, "fds", fds, 4, pipe_ends[0]), "0 1 2 3 ");
	fds[3].target = 7;
	ck_assert_str_eq(report_with(plan, "fds", fds, 4, pipe_ends[0]), "0 1 2 7 ");
}
END_TEST

/* J2: the four sources of 0…3 sit in any of the numbers 0…3, and some of 0-2 may be closed. */
static const int permutations[16][4] = {
	{ 0, 1, 2, 3 }, { 1, 0, 2, 3 }, { 3, 2, 1, 0 }, { 1, 2, 3, 0 },
	{ 3, 0, 1, 2 }, { 2, 3, 0, 1 }, { 0, 2, 1, 3 }, { 1, 3, 0, 2 },
	{ 4, 5, 6, 3 }, { 3, 4, 5, 0 }, { 6, 5, 4, 2 }, { 0, 6, 2, 1 },
	{ 5, 1, 3, 2 }, { 2, 2, 2, 2 }, { 7, 3, 3, 0 }, { 1, 8, 0, 9 },
};

/* Runs with the fds 0-9 as a row wants them; they are libcheck's too, so nothing is asserted here.
 */
static int spawn_with_sources(const int sources[4], const int files[10], struct spawn_plan *plan,
			      struct spawned *ret, const char **failed)
{
	int saved[10], error;

	for (int fd = 0; fd < 10; fd++) {
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 200);
		close(fd);
	}
	for (int i = 0; i < 4; i++)
		dup3(files[sources[i]], sources[i], O_CLOEXEC);
	error = spawn(plan, ret, failed);
	if (!error && ret->pidfd < 10) {
		int pidfd = ret->pidfd;

		ret->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 200);
		close(pidfd);
	}
	for (int fd = 0; fd < 10; fd++) {
		close(fd);
		if (saved[fd] >= 0)
			dup2(saved[fd], fd);
		close(saved[fd]);
	}
	return error;
}

static int make_file(int i)
{
	char path[128];
	int fd, high;

	snprintf(path, sizeof path, "%s/%d", folder, i);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	close(fd);
	return high;
}

START_TEST(fd_permutation)
{
	const int *sources = permutations[_i];
	int files[10];
	char expected[256] = "", text[REPORT_MAX] = "", *argv[] = { "worker", "inodes", NULL };
	struct spawn_fd fds[4];
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	struct stat info;
	const char *failed;
	int error;

	for (int i = 0; i < 10; i++)
		files[i] = make_file(i);
	for (int i = 0; i < 4; i++) {
		size_t used = strlen(expected);

		fds[i] = (struct spawn_fd){ sources[i], i };
		ck_assert_int_eq(fstat(files[sources[i]], &info), 0);
		snprintf(expected + used, sizeof expected - used, "%d=%llu ", i,
			 (unsigned long long)info.st_ino);
	}
	plan.fds = fds;
	plan.fd_count = 4;
	error = spawn_with_sources(sources, files, &plan, &child, &failed);
	ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
	ck_assert_int_eq(wait_end(&child).code, 0);
	/* the child printed to its fd 1, which is the file of sources[1] */
	ck_assert_int_gt(pread(files[sources[1]], text, sizeof text - 1, 0), 0);
	ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(stdin_is_dev_null)
{
	char *text = report(plan_of(NULL), "inodes");
	struct stat info;
	char expected[64];

	ck_assert_int_eq(stat("/dev/null", &info), 0);
	snprintf(expected, sizeof expected, "0=%llu ", (unsigned long long)info.st_ino);
	ck_assert_int_eq(strncmp(text, expected, strlen(expected)), 0);
}
END_TEST

static void assert_mask(const char *status, const char *name, bool empty)
{
	const char *at = strstr(status, name);

	ck_assert_ptr_nonnull(at);
	ck_assert_msg((strtoull(at + strlen(name), NULL, 16) == 0) == empty, "%.40s", at);
}

/* O2: the descriptors that a parent holds for a thousand others are not even copied. */
START_TEST(a_large_table_is_not_copied)
{
	enum { MANY = 900, FEW = 256 };
	struct spawn_fd fds[] = { { SPAWN_NULL, 0 }, { -1, 1 }, { 2, 2 } };
	const char *size;
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	fds[0].source = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[1].source = ends[1];
	for (int i = 0; i < MANY; i++)
		ck_assert_int_ge(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	size = strstr(report_with(plan_of(NULL), "status", fds, 3, ends[0]), "FDSize:");
	ck_assert_ptr_nonnull(size);
	ck_assert_msg(strtol(size + 7, NULL, 10) <= FEW, "%.20s", size);
}
END_TEST

/* I3: whether all signals are reset or those that spawn_signals() found. */
START_TEST(signals_are_clean)
{
	struct spawn_plan plan;
	sigset_t mask, after;
	char *status;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGILL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGRTMIN, SIG_IGN);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	plan = plan_of(NULL);
	plan.signals = _i ? spawn_signals() : 0;
	status = report(plan, "status");
	assert_mask(status, "SigIgn:", true);
	assert_mask(status, "SigBlk:", true);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int signo = 1; signo <= 64; signo++)
		ck_assert_int_eq(sigismember(&after, signo) == 1, sigismember(&mask, signo) == 1);
}
END_TEST

static volatile sig_atomic_t handled;

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

static uint64_t signal_bit(int signo)
{
	return (uint64_t)1 << (signo - 1);
}

START_TEST(signals_that_are_not_default)
{
	const uint64_t of_libc = signal_bit(32) | signal_bit(33);
	uint64_t before;

	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_DFL);
	before = spawn_signals();
	ck_assert_uint_eq(before & (signal_bit(32) - 1), 0);
	ck_assert_uint_eq(before & of_libc, of_libc);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, on_signal);
	ck_assert_uint_eq(spawn_signals(), before | signal_bit(SIGPIPE) | signal_bit(SIGUSR1));
}
END_TEST

/* A handler of the parent never runs in the child, and still runs in the parent. */
START_TEST(handlers_survive_in_the_parent)
{
	char *argv[] = { "worker", "exit", "0", NULL };
	struct spawn_plan plan = plan_of(argv);

	signal(SIGUSR1, on_signal);
	run(&plan);
	raise(SIGUSR1);
	ck_assert_int_eq(handled, 1);
}
END_TEST

/* The build may lie where only its owner comes, as below /root: another user runs a copy. */
static void copy_for_everybody(char *path)
{
	int from = open(program, O_RDONLY | O_CLOEXEC), to = mkostemp(path, O_CLOEXEC);

	ck_assert_int_ge(from, 0);
	ck_assert_int_ge(to, 0);
	while (sendfile(to, from, NULL, 1 << 20) > 0)
		continue;
	ck_assert_int_eq(lseek(to, 0, SEEK_CUR) == lseek(from, 0, SEEK_END), 1);
	ck_assert_int_eq(fchmod(to, 0755), 0);
	close(from);
	close(to);
}

/* J6 */
START_TEST(nobody_stays_nobody)
{
	struct spawn_plan plan = plan_of(NULL);
	char copy[] = "/tmp/clusterd-spawn-XXXXXX";
	char *status;

	if (geteuid() != 0)
		return; /* only root can become somebody else */
	copy_for_everybody(copy);
	plan.path = copy;
	plan.identity = (struct spawn_identity){ true, NOBODY, NOBODY, 2, { NOBODY, 12345 } };
	status = report(plan, "status");
	ck_assert_ptr_nonnull(strstr(status, "Uid:\t65534\t65534\t65534\t65534"));
	ck_assert_ptr_nonnull(strstr(status, "Gid:\t65534\t65534\t65534\t65534"));
	ck_assert_ptr_nonnull(strstr(status, "Groups:\t12345 65534"));
	assert_mask(status, "CapEff:", true);
	assert_mask(status, "CapPrm:", true);
	ck_assert_str_eq(report(plan, "regain"), "0");
	ck_assert_int_eq(unlink(copy), 0);
	ck_assert_int_eq(geteuid(), 0); /* the parent, whose memory was shared, is who it was */
}
END_TEST

/* How many of 100 spawns as root a plain user got through, or did not fail in the right step. */
static int break_outs(struct spawn_plan *plan)
{
	int count = 0;

	plan->identity = (struct spawn_identity){ true, 0, 0, 0, { 0 } };
	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return 100;
	for (int i = 0; i < 100; i++) {
		struct spawned child;
		const char *failed = "";

		count += spawn(plan, &child, &failed) != -EPERM || strcmp(failed, "setgroups") != 0;
	}
	return count;
}

/* A user who may not become another never runs the program. */
START_TEST(identity_is_all_or_nothing)
{
	char *argv[] = { "worker", "exit", "0", NULL };
	struct spawn_plan plan = plan_of(argv);
	pid_t user = fork();
	int status;

	if (user == 0)
		_exit(break_outs(&plan));
	ck_assert_int_eq(waitpid(user, &status, 0), user);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* On the child's stack, which AddressSanitizer does not know. */
__attribute__((no_sanitize("address"))) static int stop_here(void *context, const char **failed)
{
	(void)context;
	(void)failed;
	return kill(getpid(), SIGSTOP);
}

/* J6: between setuid and exec the child can be stopped by any process of the worker's user. */
START_TEST(a_child_that_is_stopped_goes_on)
{
	char *argv[] = { "worker", "exit", "7", NULL };
	struct spawn_plan plan = plan_of(argv);

	if (geteuid() != 0)
		return; /* nobody else gives an identity */
	plan.identity = (struct spawn_identity){ true, 0, 0, 0, { 0 } };
	plan.hook = stop_here;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(run(&plan).code, 7);
}
END_TEST

/* J7, J3 */
START_TEST(context_is_as_planned)
{
	static const struct spawn_limit limits[] = {
		{ RLIMIT_NOFILE, 64, 128, "setrlimit nofile" },
		{ RLIMIT_CORE, 0, 0, "setrlimit core" },
	};
	char listen_pid[] = "LISTEN_PID=0000000000";
	char *envp[] = { listen_pid, NULL };
	struct spawn_plan plan = plan_of(NULL);
	char expected[256];
	char *text;

	plan.envp = envp;
	plan.pid_text[0] = strchr(listen_pid, '=') + 1;
	plan.directory = folder;
	plan.has_umask = plan.has_nice = plan.has_oom_score = true;
	plan.umask = 027;
	plan.nice = 5;
	plan.oom_score = 300;
	plan.limits = limits;
	plan.limit_count = 2;
	plan.process_group = plan.no_new_privs = true;
	text = report(plan, "context");
	snprintf(expected, sizeof expected,
		 "cwd=%s umask=027 nice=5 nofile=64:128 core=0 group=1 nnp=1 pid=%s/%s", folder,
		 plan.pid_text[0], plan.pid_text[0]);
	ck_assert_str_eq(text, expected);
	ck_assert_int_gt(atoi(plan.pid_text[0]), 1);
}
END_TEST

/* J9: a middle process spawns a worker with a death signal and is killed. */
START_TEST(dies_with_its_parent)
{
	char *argv[] = { "worker", "wait", NULL };
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	const char *failed;
	int ends[2], status;
	char byte;
	pid_t middle;
	struct spawn_fd fds[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { -1, 3 } };

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[3].source = ends[1];
	plan.fds = fds;
	plan.fd_count = 4;
	plan.death_signal = SIGKILL;
	middle = fork();
	if (middle == 0) {
		if (spawn(&plan, &child, &failed) != 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(ends[1]);
	ck_assert_int_eq(waitpid(middle, &status, 0), middle);
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, DEADLINE_MS),
			 1);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0); /* the worker, the last holder, is gone */
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, exactly_the_given_fds);
	tcase_add_loop_test(tests, fd_permutation, 0, 16);
	tcase_add_test(tests, stdin_is_dev_null);
	tcase_add_test(tests, a_large_table_is_not_copied);
	tcase_add_loop_test(tests, signals_are_clean, 0, 2);
	tcase_add_test(tests, signals_that_are_not_default);
	tcase_add_test(tests, handlers_survive_in_the_parent);
	tcase_add_test(tests, nobody_stays_nobody);
	tcase_add_test(tests, identity_is_all_or_nothing);
	tcase_add_test(tests, a_child_that_is_stopped_goes_on);
	tcase_add_test(tests, context_is_as_planned);
	tcase_add_test(tests, dies_with_its_parent);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		act(argv);
	return run_suite("os/spawn_child", add_tests);
}
