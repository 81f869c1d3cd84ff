/*
 * spawn: how workers end and how they fail to start; catalogue rows D1-D5 and D9.
 */
#include "tests/unit/os_worker.h"
#include "tests/unit/suite.h"

static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void assert_no_child(void)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(every_exit_code)
{
	for (int code = 0; code <= 255; code++) {
		char number[16];
		char *argv[] = { "worker", "exit", number, NULL };
		struct spawn_plan plan = plan_of(argv);
		struct reaped end;

		snprintf(number, sizeof number, "%d", code);
		end = run(&plan);
		ck_assert_int_eq(end.code, code);
		ck_assert_int_eq(end.signal, 0);
	}
	assert_no_child();
}
END_TEST

static bool is_deadly(int signo)
{
	switch (signo) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case 32: /* libc's own */
	case 33: return false;
	default: return true;
	}
}

START_TEST(every_deadly_signal)
{
	for (int signo = 1; signo <= 64; signo++) {
		char number[16];
		char *argv[] = { "worker", "signal", number, NULL };
		struct spawn_plan plan = plan_of(argv);
		struct reaped end;

		if (!is_deadly(signo))
			continue;
		snprintf(number, sizeof number, "%d", signo);
		end = run(&plan);
		ck_assert_msg(end.signal == signo, "signal %d: %d, code %d", signo, end.signal,
			      end.code);
	}
}
END_TEST

/* D1-D5: a file that can not run, the errno, and a word of the explanation. */
static const struct bad_file {
	const char *name;
	const char *content; /* NULL: the file is not made */
	mode_t mode;
	int error;
	const char *explains;
} bad_files[] = {
	{ "missing", NULL, 0, ENOENT, "No such file" },
	{ "script", "#! /nowhere/interpreter -x\n", 0755, ENOENT, "/nowhere/interpreter" },
	{ "badscript", "#!/etc/passwd\n", 0755, EACCES, "/etc/passwd" },
	{ "data", "x", 0644, EACCES, "mode 0644" },
	{ "empty", "", 0755, ENOEXEC, "empty" },
	{ "garbage", "garbage", 0755, ENOEXEC, "neither" },
	{ "shell", "exit 0\n", 0755, ENOEXEC, "neither" },
	{ "../tmp", NULL, 0, EACCES, "directory" },
};

START_TEST(bad_file)
{
	const struct bad_file *row = &bad_files[_i];
	char path[128], text[256];
	char *argv[] = { "worker", NULL };
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	const char *failed = NULL;
	size_t before = count_fds();

	snprintf(path, sizeof path, "%s/%s", *row->name == '.' ? "/tmp" : folder, row->name);
	if (row->content) {
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		ck_assert_int_eq(write(fd, row->content, strlen(row->content)),
				 (ssize_t)strlen(row->content));
		fchmod(fd, row->mode);
		close(fd);
	}
	plan.path = path;
	ck_assert_int_eq(spawn(&plan, &child, &failed), -row->error);
	ck_assert_str_eq(failed, "exec");
	ck_assert_int_gt(spawn_explain(path, row->error, text, sizeof text), 0);
	ck_assert_msg(strstr(text, row->explains) != NULL, "%s: %s", row->name, text);
	ck_assert_uint_eq(count_fds(), before);
	assert_no_child();
}
END_TEST

START_TEST(busy_file_works_after_close)
{
	char path[128], command[8400];
	char *argv[] = { "worker", NULL };
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	const char *failed;
	int fd;

	snprintf(path, sizeof path, "%s/true", folder);
	snprintf(command, sizeof command, "cp /bin/true %s", path);
	ck_assert_int_eq(system(command), 0);
	plan.path = path;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(spawn(&plan, &child, &failed), -ETXTBSY);
	ck_assert_str_eq(failed, "exec");
	close(fd);
	ck_assert_int_eq(run(&plan).code, 0);
}
END_TEST

START_TEST(too_long_argument)
{
	static char huge[131072 + 1];
	char *argv[] = { "worker", huge, NULL };
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	const char *failed;

	memset(huge, 'x', sizeof huge - 1);
	ck_assert_int_eq(spawn(&plan, &child, &failed), -E2BIG);
	ck_assert_str_eq(failed, "exec");
}
END_TEST

/* D9: each step that fails is named, and the program does not run. */
static int hook_fails(void *context, const char **failed)
{
	*failed = context;
	return -ENOSYS;
}

static const struct spawn_limit too_high[] = {
	{ RLIMIT_NOFILE, UINT64_C(1) << 40, UINT64_C(1) << 40, "setrlimit nofile" },
};

START_TEST(failing_step)
{
	char *argv[] = { "worker", "exit", "0", NULL };
	struct spawn_plan plans[] = {
		{ .directory = "/nowhere" },
		{ .limits = too_high, .limit_count = 1 },
		{ .hook = hook_fails, .hook_context = "seccomp" },
		{ .has_oom_score = true, .oom_score = 5000 },
		{ .cpus = (const cpu_set_t[]){ { { 0 } } }, .cpus_size = sizeof(cpu_set_t) },
		{ .death_signal = 1000 },
		{ .fds = (struct spawn_fd[]){ { 900, 0 } }, .fd_count = 1 },
		{ .fds = (struct spawn_fd[]){ { 0, 1 }, { 1, 0 } }, .fd_count = 2 },
	};
	const struct {
		const char *step;
		int error;
	} expected[] = {
		{ "chdir", ENOENT },
		{ "setrlimit nofile", EPERM },
		{ "seccomp", ENOSYS },
		{ "oom_score_adj", EINVAL },
		{ "cpu affinity", EINVAL },
		{ "death signal", EINVAL },
		{ "fd", EBADF },
		{ "fd map", EINVAL },
	};
	struct spawned child = { .pid = -7, .pidfd = -7 };
	const char *failed;

	plans[_i].path = program;
	plans[_i].argv = argv;
	plans[_i].envp = empty_env;
	ck_assert_int_eq(spawn(&plans[_i], &child, &failed), -expected[_i].error);
	ck_assert_str_eq(failed, expected[_i].step);
	ck_assert_int_eq(child.pid, -7);
	assert_no_child();
}
END_TEST

START_TEST(failures_leak_nothing)
{
	char *argv[] = { "worker", NULL };
	struct spawn_plan plan = plan_of(argv);
	struct spawned child;
	const char *failed;
	size_t before = count_fds();

	plan.path = "/nowhere";
	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(spawn(&plan, &child, &failed), -ENOENT);
	ck_assert_uint_eq(count_fds(), before);
	assert_no_child();
}
END_TEST

START_TEST(resolve)
{
	char path[4096], search[512], file[256];
	int fd;

	ck_assert_int_eq(spawn_resolve("./x", "/bin", path, sizeof path), 0);
	ck_assert_str_eq(path, "./x");
	ck_assert_int_eq(spawn_resolve("sh", "/nowhere:/bin", path, sizeof path), 0);
	ck_assert_str_eq(path, "/bin/sh");
	ck_assert_int_eq(spawn_resolve("sh", NULL, path, sizeof path), 0);
	ck_assert_int_eq(spawn_resolve("no-such-program", NULL, path, sizeof path), -ENOENT);
	ck_assert_int_eq(spawn_resolve("", NULL, path, sizeof path), -ENOENT);
	ck_assert_int_eq(spawn_resolve("sh", "/bin", path, 4), -ENAMETOOLONG);

	snprintf(file, sizeof file, "%s/sh", folder);
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	close(fd);
	ck_assert_int_eq(spawn_resolve("sh", folder, path, sizeof path), -EACCES);
	snprintf(search, sizeof search, "%s::/bin", folder);
	ck_assert_int_eq(spawn_resolve("sh", search, path, sizeof path), 0);
	ck_assert_str_eq(path, "/bin/sh");
	ck_assert_int_eq(chmod(file, 0755), 0);
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(spawn_resolve("sh", "/nowhere:", path, sizeof path), 0);
	ck_assert_str_eq(path, "./sh");
	ck_assert_int_eq(spawn_resolve("sh", ":/bin", path, sizeof path), 0);
	ck_assert_str_eq(path, "./sh");
	ck_assert_int_eq(spawn_resolve("cat", "::/bin", path, sizeof path), 0);
	ck_assert_str_eq(path, "/bin/cat");
	ck_assert_int_eq(spawn_resolve("no-such-program", ":/nowhere:", path, sizeof path), -ENOENT);
	ck_assert_int_eq(spawn_resolve("no-such-program", "", path, sizeof path), -ENOENT);
	ck_assert_int_eq(spawn_resolve("tmp", "/", path, sizeof path), -EACCES);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, every_exit_code);
	tcase_add_test(tests, every_deadly_signal);
	tcase_add_loop_test(tests, bad_file, 0, sizeof bad_files / sizeof *bad_files);
	tcase_add_test(tests, busy_file_works_after_close);
	tcase_add_test(tests, too_long_argument);
	tcase_add_loop_test(tests, failing_step, 0, 8);
	tcase_add_test(tests, failures_leak_nothing);
	tcase_add_test(tests, resolve);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		act(argv);
	return run_suite("os/spawn", add_tests);
}
