#include "supervisor/os/spawn.h"

#include <linux/close_range.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/spawnguard.h"
#include "supervisor/os/sys.h"

enum {
	STACK_SIZE = 128 * 1024, /* of the child, until it executes; the deepest user is the hook */
	GUARD_SIZE = 64 * 1024,  /* a multiple of every page size in use */
	SIGNALS = 64,            /* the kernel's _NSIG */
	SET_SIZE = SIGNALS / 8,
};

/* Shared by parent and child: they are in one address space, and the parent sleeps meanwhile. */
struct child {
	const struct spawn_plan *plan;
	pid_t parent;
	int null_fd;
	int fds_end; /* above all sources */
	char oom_score[SPAWN_PID_SIZE];
	const char *step; /* where it stopped */
	int error;        /* errno, or 0 if the program runs */
};

/*
 * The child's stack is not the one that AddressSanitizer knows for this thread, so what runs on it
 * carries no such checks. It may call only what is async-signal-safe.
 */
#define ON_CHILD_STACK __attribute__((no_sanitize("address")))

/* The hook opens and closes fds: it gets a table of its own at once. */
static bool shares_fds(const struct spawn_plan *plan)
{
	return !plan->hook;
}

static int result(long answer)
{
	return answer < 0 ? -errno : 0;
}

/* Writes `number` in decimal; text has SPAWN_PID_SIZE bytes. */
ON_CHILD_STACK static void digits(unsigned int number, char *text)
{
	unsigned int power = 1;

	while (number / power >= 10)
		power *= 10;
	for (; power > 0; power /= 10)
		*text++ = (char)('0' + number / power % 10);
	*text = '\0';
}

static int enter_group(struct child *c)
{
	return c->plan->process_group ? result(sys_setpgid(0, 0)) : 0;
}

static int forbid_privileges(struct child *c)
{
	return c->plan->no_new_privs ? result(sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0)) : 0;
}

static int run_hook(struct child *c)
{
	return c->plan->hook ? c->plan->hook(c->plan->hook_context, &c->step) : 0;
}

/*
 * The child begins on the parent's table, which may hold thousands of fds for other workers, and
 * takes a copy of no more than it needs: close_range(2) with CLOSE_RANGE_UNSHARE copies what it is
 * not going to close. To copy all of them in clone(2) and close them here makes the start of N
 * workers N^2. Until then nothing may be opened or closed.
 */
static int own_fds(struct child *c)
{
	if (!shares_fds(c->plan))
		return 0;
	return result(sys_close_range((unsigned int)c->fds_end, ~0U, CLOSE_RANGE_UNSHARE));
}

/*
 * Copies the sources that lie among the targets above them all: so no target can hit a source that
 * is still needed. A source that is its own target stays, as no other target has its number.
 */
ON_CHILD_STACK static int lift_fds(struct child *c, int above, int lifted[SPAWN_FDS_MAX])
{
	const struct spawn_fd *fds = c->plan->fds;

	for (size_t i = 0; i < c->plan->fd_count; i++) {
		int source = fds[i].source == SPAWN_NULL ? c->null_fd : fds[i].source;

		lifted[i] = source;
		if (source >= above || source == fds[i].target)
			continue;
		lifted[i] = sys_fcntl(source, F_DUPFD_CLOEXEC, above);
		if (lifted[i] < 0)
			return -errno;
	}
	return 0;
}

static int place_fd(int source, int target)
{
	return source == target ? result(sys_fcntl(target, F_SETFD, 0))
				: result(sys_dup3(source, target, 0));
}

static int close_between(int first, int end)
{
	return first < end ? result(sys_close_range((unsigned int)first, (unsigned int)end - 1, 0))
			   : 0;
}

/* The child has an fd table of its own by now: what is closed here stays open in the parent. */
ON_CHILD_STACK static int place_fds(struct child *c)
{
	const struct spawn_fd *fds = c->plan->fds;
	size_t count = c->plan->fd_count;
	int above = count > 0 ? fds[count - 1].target + 1 : 0;
	int lifted[SPAWN_FDS_MAX];
	int next = 0;
	int error = lift_fds(c, above, lifted);

	for (size_t i = 0; i < count && !error; i++) {
		error = close_between(next, fds[i].target);
		if (!error)
			error = place_fd(lifted[i], fds[i].target);
		next = fds[i].target + 1;
	}
	return error ? error : result(sys_close_range((unsigned int)above, ~0U, 0));
}

/* The kernel sets it for this process alone, although memory is shared, because it is a vfork. */
ON_CHILD_STACK static int set_oom_score(struct child *c)
{
	scoped_fd fd = -1;
	size_t size = 0;

	if (!c->plan->has_oom_score)
		return 0;
	fd = sys_open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	while (c->oom_score[size])
		size++;
	return result(sys_write(fd, c->oom_score, size));
}

ON_CHILD_STACK static int set_limits(struct child *c)
{
	for (size_t i = 0; i < c->plan->limit_count; i++) {
		const struct spawn_limit *limit = &c->plan->limits[i];
		struct rlimit value = { .rlim_cur = limit->soft, .rlim_max = limit->hard };

		c->step = limit->step;
		if (sys_setrlimit(limit->resource, &value) < 0)
			return -errno;
	}
	return 0;
}

static int set_nice(struct child *c)
{
	return c->plan->has_nice ? result(sys_setpriority(PRIO_PROCESS, 0, c->plan->nice)) : 0;
}

static int set_cpus(struct child *c)
{
	return c->plan->cpus ? result(sys_sched_setaffinity(0, c->plan->cpus_size, c->plan->cpus))
			     : 0;
}

static int set_umask(struct child *c)
{
	if (c->plan->has_umask)
		umask(c->plan->umask);
	return 0;
}

static int set_groups(struct child *c)
{
	const struct spawn_identity *id = &c->plan->identity;

	return id->given ? result(sys_setgroups(id->group_count, id->groups)) : 0;
}

static int set_gid(struct child *c)
{
	const struct spawn_identity *id = &c->plan->identity;

	return id->given ? result(sys_setresgid(id->gid, id->gid, id->gid)) : 0;
}

static int set_uid(struct child *c)
{
	const struct spawn_identity *id = &c->plan->identity;

	return id->given ? result(sys_setresuid(id->uid, id->uid, id->uid)) : 0;
}

static int clear_ambient(struct child *c)
{
	return c->plan->clear_ambient
		   ? result(sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0))
		   : 0;
}

static int enter_directory(struct child *c)
{
	return c->plan->directory ? result(sys_chdir(c->plan->directory)) : 0;
}

/* Comes after setuid, which clears it. A parent that died before it was set sends nothing any more.
 */
static int set_death_signal(struct child *c)
{
	if (c->plan->death_signal == 0)
		return 0;
	if (sys_prctl(PR_SET_PDEATHSIG, (unsigned long)c->plan->death_signal, 0, 0) < 0)
		return -errno;
	return getppid() == c->parent ? 0 : -ESRCH;
}

static uint64_t bit(int signal)
{
	return (uint64_t)1 << (signal - 1);
}

static bool can_act(int signal)
{
	return signal != SIGKILL && signal != SIGSTOP;
}

uint64_t spawn_signals(void)
{
	/* libc's own two get their handlers with the first thread and the first change of a uid. */
	uint64_t changed = bit(32) | bit(33);

	for (int signal = 1; signal <= SIGNALS; signal++) {
		unsigned long action[8] = { 0 };

		/* Who can not be asked is reset. */
		if (can_act(signal) && (sys_rt_sigaction(signal, NULL, action, SET_SIZE) < 0 ||
					action[0] != (unsigned long)SIG_DFL))
			changed |= bit(signal);
	}
	return changed;
}

/* All handlers go first: only then a signal that waits can end the child and do nothing else. */
ON_CHILD_STACK static int default_signals(struct child *c)
{
	const unsigned long action[8] = { (unsigned long)SIG_DFL }; /* >= struct sigaction's size */
	const unsigned long none = 0;

	for (int signal = 1; signal <= SIGNALS; signal++) {
		if (!(c->plan->signals ? c->plan->signals & bit(signal) : can_act(signal)))
			continue;
		if (sys_rt_sigaction(signal, action, NULL, SET_SIZE) < 0)
			return -errno;
	}
	return result(sys_rt_sigprocmask(SIG_SETMASK, &none, NULL, SET_SIZE));
}

ON_CHILD_STACK static int execute(struct child *c)
{
	for (size_t i = 0; i < 2; i++) {
		if (c->plan->pid_text[i])
			digits((unsigned int)getpid(), c->plan->pid_text[i]);
	}
	return result(sys_execve(c->plan->path, c->plan->argv, c->plan->envp));
}

/*
 * In this order: what needs rights before the identity is given up, the hook while the parent's fds
 * are there, the directory with the eyes of the new user, signals last.
 */
static const struct {
	const char *name;
	int (*run)(struct child *);
} steps[] = {
	{ "setpgid", enter_group },
	{ "no_new_privs", forbid_privileges },
	{ "hook", run_hook },
	{ "fd table", own_fds },
	{ "fd", place_fds },
	{ "oom_score_adj", set_oom_score },
	{ "setrlimit", set_limits },
	{ "nice", set_nice },
	{ "cpu affinity", set_cpus },
	{ "umask", set_umask },
	{ "setgroups", set_groups },
	{ "setgid", set_gid },
	{ "setuid", set_uid },
	{ "ambient capabilities", clear_ambient },
	{ "chdir", enter_directory },
	{ "death signal", set_death_signal },
	{ "signals", default_signals },
	{ "exec", execute },
};

/* Returns only if something failed; clone(2) then ends the child without running any exit handler.
 */
ON_CHILD_STACK static int child_main(void *argument)
{
	struct child *c = argument;

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		c->step = steps[i].name;
		c->error = -steps[i].run(c);
		if (c->error)
			break;
	}
	return 127;
}

/* The fd map must ascend, or a later target would undo an earlier one. */
static int check_fds(const struct spawn_plan *plan)
{
	if (plan->fd_count > SPAWN_FDS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < plan->fd_count; i++) {
		if (plan->fds[i].target < 0 || plan->fds[i].source < SPAWN_NULL ||
		    (i > 0 && plan->fds[i].target <= plan->fds[i - 1].target))
			return -EINVAL;
	}
	return plan->identity.group_count > SPAWN_GROUPS_MAX ? -E2BIG : 0;
}

static int open_null(const struct spawn_plan *plan, int *ret)
{
	for (size_t i = 0; i < plan->fd_count; i++) {
		if (plan->fds[i].source != SPAWN_NULL)
			continue;
		*ret = sys_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
		return result(*ret);
	}
	return 0;
}

/*
 * The top of the child's stack, mapped at the first call and kept: only one child is on it at a
 * time, as the parent sleeps, and mapping it anew costs a tenth of a spawn.
 */
static int child_stack(char **ret)
{
	static char *kept;
	char *stack;
	int error;

	if (!kept) {
		stack = sys_mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		if (stack == MAP_FAILED)
			return -errno;
		if (sys_mprotect(stack + GUARD_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
			error = -errno;
			munmap(stack, GUARD_SIZE + STACK_SIZE);
			return error;
		}
		kept = stack;
	}
	*ret = kept + GUARD_SIZE + STACK_SIZE;
	return 0;
}

static int end_of_sources(const struct child *c)
{
	int end = c->null_fd + 1;

	for (size_t i = 0; i < c->plan->fd_count; i++)
		if (c->plan->fds[i].source >= end)
			end = c->plan->fds[i].source + 1;
	return end;
}

static int run_child(struct child *c, struct spawned *ret, const char **failed)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD |
			  (shares_fds(c->plan) ? CLONE_FILES : 0);
	char *stack = NULL;
	int error;

	*failed = "stack";
	error = child_stack(&stack);
	if (error)
		return error;
	*failed = "clone";
	if (c->plan->identity.given)
		spawnguard_begin(&ret->pidfd);
	ret->pid = sys_clone(child_main, stack, flags, c, &ret->pidfd);
	error = ret->pid < 0 ? -errno : 0;
	if (c->plan->identity.given)
		spawnguard_end();
	return error;
}

/* A child that could not become the program has ended or is about to. */
static void bury(int pidfd)
{
	siginfo_t info;

	while (sys_waitid(P_PIDFD, pidfd, &info, WEXITED, NULL) < 0 && errno == EINTR)
		;
}

/* With all signals blocked: no handler of ours may run in the child, on the parent's memory. */
static int run_quietly(struct child *c, struct spawned *ret, const char **failed)
{
	const unsigned long all = ~0UL;
	unsigned long before;
	int error;

	*failed = "block signals";
	if (sys_rt_sigprocmask(SIG_BLOCK, &all, &before, SET_SIZE) < 0)
		return -errno;
	error = run_child(c, ret, failed);
	if (!error && c->error) {
		*failed = c->step;
		error = -c->error;
		bury(ret->pidfd);
		close(ret->pidfd);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SET_SIZE);
	return error;
}

int spawn(const struct spawn_plan *plan, struct spawned *ret, const char **failed)
{
	struct child c = { .plan = plan, .parent = getpid(), .null_fd = -1 };
	struct spawned made = { .pidfd = -1 };
	scoped_fd null_fd = -1;
	int error;

	*failed = "fd map";
	error = check_fds(plan);
	if (error)
		return error;
	*failed = "/dev/null";
	error = open_null(plan, &null_fd);
	if (error)
		return error;
	c.null_fd = null_fd;
	c.fds_end = end_of_sources(&c);
	if (plan->has_oom_score)
		snprintf(c.oom_score, sizeof c.oom_score, "%d", plan->oom_score);
	error = run_quietly(&c, &made, failed);
	if (!error)
		*ret = made;
	return error;
}
