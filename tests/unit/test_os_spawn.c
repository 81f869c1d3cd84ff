/*
 * spawn: catalogue rows D1-D5, D9, J1, J2, J6-J9, I3. The program that is spawned is this one, with
 * a verb as its first argument.
 */
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

static int act(char **argv)
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
	case 33:
		return false;
	default:
		return true;
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
		ck_assert_msg(end.signal == signo, "signal %d: %d, code %d", signo, end.signal, end.code);
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
		{ "chdir", ENOENT },        { "setrlimit nofile", EPERM },
		{ "seccomp", ENOSYS },      { "oom_score_adj", EINVAL },
		{ "cpu affinity", EINVAL }, { "death signal", EINVAL },
		{ "fd", EBADF },            { "fd map", EINVAL },
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

/* J1 */
START_TEST(exactly_the_given_fds)
{
	int pipe_ends[2];
	struct spawn_fd fds[] = { { SPAWN_NULL, 0 }, { -1, 1 }, { 2, 2 }, { -1, 3 } };
	struct spawn_plan plan = plan_of(NULL);

	for (int i = 0; i < 100; i++)
		ck_assert_int_ge(open("/dev/null", O_RDONLY), 0); /* not close-on-exec, on purpose */
	ck_assert_int_eq(pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC), 0);
	fds[1].source = fds[3].source = pipe_ends[1];
	ck_assert_str_eq(report_with(plan, "fds", fds, 4, pipe_ends[0]), "0 1 2 3 ");
	fds[3].target = 7;
	ck_assert_str_eq(report_with(plan, "fds", fds, 4, pipe_ends[0]), "0 1 2 7 ");
}
END_TEST

/* J2: the four sources of 0…3 sit in any of the numbers 0…3, and some of 0-2 may be closed. */
static const int permutations[16][4] = {
	{ 0, 1, 2, 3 }, { 1, 0, 2, 3 }, { 3, 2, 1, 0 }, { 1, 2, 3, 0 }, { 3, 0, 1, 2 }, { 2, 3, 0, 1 },
	{ 0, 2, 1, 3 }, { 1, 3, 0, 2 }, { 4, 5, 6, 3 }, { 3, 4, 5, 0 }, { 6, 5, 4, 2 }, { 0, 6, 2, 1 },
	{ 5, 1, 3, 2 }, { 2, 2, 2, 2 }, { 7, 3, 3, 0 }, { 1, 8, 0, 9 },
};

/* Runs with the fds 0-9 as a row wants them; they are libcheck's too, so nothing is asserted here. */
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

/* I3 */
START_TEST(signals_are_clean)
{
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
	status = report(plan_of(NULL), "status");
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

/* J6 */
START_TEST(nobody_stays_nobody)
{
	struct spawn_plan plan = plan_of(NULL);
	char *status;

	if (geteuid() != 0)
		return; /* only root can become somebody else */
	plan.identity = (struct spawn_identity){ true, NOBODY, NOBODY, 2, { NOBODY, 12345 } };
	status = report(plan, "status");
	ck_assert_ptr_nonnull(strstr(status, "Uid:\t65534\t65534\t65534\t65534"));
	ck_assert_ptr_nonnull(strstr(status, "Gid:\t65534\t65534\t65534\t65534"));
	ck_assert_ptr_nonnull(strstr(status, "Groups:\t12345 65534"));
	assert_mask(status, "CapEff:", true);
	assert_mask(status, "CapPrm:", true);
	ck_assert_str_eq(report(plan, "regain"), "0");
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
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, DEADLINE_MS), 1);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0); /* the worker, the last holder, is gone */
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
	ck_assert_int_eq(spawn_resolve("tmp", "/", path, sizeof path), -EACCES);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("os_spawn");
	TCase *tcase = tcase_create("spawn");
	SRunner *runner = srunner_create(suite);
	int failures;

	if (argc > 1)
		return act(argv);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, every_exit_code);
	tcase_add_test(tcase, every_deadly_signal);
	tcase_add_loop_test(tcase, bad_file, 0, sizeof bad_files / sizeof *bad_files);
	tcase_add_test(tcase, busy_file_works_after_close);
	tcase_add_test(tcase, too_long_argument);
	tcase_add_loop_test(tcase, failing_step, 0, 8);
	tcase_add_test(tcase, failures_leak_nothing);
	tcase_add_test(tcase, exactly_the_given_fds);
	tcase_add_loop_test(tcase, fd_permutation, 0, 16);
	tcase_add_test(tcase, stdin_is_dev_null);
	tcase_add_test(tcase, signals_are_clean);
	tcase_add_test(tcase, handlers_survive_in_the_parent);
	tcase_add_test(tcase, nobody_stays_nobody);
	tcase_add_test(tcase, identity_is_all_or_nothing);
	tcase_add_test(tcase, context_is_as_planned);
	tcase_add_test(tcase, dies_with_its_parent);
	tcase_add_test(tcase, resolve);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failures = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
