/*
 * spawn - start one worker and know exactly which step failed.
 *
 * clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD) with a stack of its own: the child
 * borrows the parent's memory until it executes the program, so the cost does not
 * grow with the parent (20-40 us against milliseconds for fork), no pipe is
 * needed to report an error, and nothing is allocated. Nor does it grow with the
 * fds that the parent holds: the child's table has those up to the highest source
 * of the map, and all of them only where there is a hook. clone(2) and not
 * clone3(2): container profiles answer ENOSYS to the latter, and it offers
 * nothing that is needed here.
 *
 * The calling thread sleeps until the child has executed or failed; spawnguard.h sees to it that
 * the user whose identity it takes can not stop it meanwhile. Should
 * execve(2) itself hang (a dead network file system) the caller hangs with it,
 * which only SIGKILL ends; put programs on a local disk, or let the service
 * manager's watchdog do that.
 *
 * Call it from the main thread only: PR_SET_PDEATHSIG fires when the *thread*
 * that spawned ends. All signals are blocked for the duration, and restored.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SPAWN_H
#define CLUSTERD_SUPERVISOR_OS_SPAWN_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SPAWN_FDS_MAX = 64,    /* entries of the fd map */
	SPAWN_GROUPS_MAX = 64, /* supplementary groups */
	SPAWN_PID_SIZE = 11,   /* digits of a pid and the NUL */
	SPAWN_NULL = -1,       /* as a source: /dev/null, read and write */
};

/* Places `source` of the parent at number `target` in the child. */
struct spawn_fd {
	int source;
	int target;
};

struct spawn_limit {
	int resource; /* RLIMIT_NOFILE, … */
	uint64_t soft, hard;
	const char *step; /* "setrlimit nofile": the name of a failure */
};

struct spawn_identity {
	bool given;
	uid_t uid;
	gid_t gid;
	size_t group_count;
	gid_t groups[SPAWN_GROUPS_MAX];
};

/* Everything is borrowed for the call; zero means "leave as it is". */
struct spawn_plan {
	const char *path;  /* as spawn_resolve() found it; relative to `directory` */
	char *const *argv; /* NULL-terminated, as is envp */
	char *const *envp;

	/*
	 * Where the child writes its own pid in decimal (LISTEN_PID, WATCHDOG_PID): each
	 * points into a string of envp and has room for SPAWN_PID_SIZE bytes.
	 */
	char *pid_text[2];

	/*
	 * The child's fds: these, not close-on-exec, and no others. Ascending by target;
	 * sources may be any numbers in any order, may repeat, and may be targets too.
	 */
	const struct spawn_fd *fds;
	size_t fd_count;

	/*
	 * Which signals are to get their default action, bit n - 1 for signal n: spawn_signals(), if
	 * no action has been changed since; 0 = all of them, for 15 us more.
	 */
	uint64_t signals;

	bool process_group; /* setpgid: the child leads a group of its own */
	bool no_new_privs;
	bool clear_ambient; /* drop ambient capabilities, which execve would keep */
	int death_signal;   /* PR_SET_PDEATHSIG; 0 = none */

	/* The hook runs in the child before the fds are placed and before it loses its rights; it
	 * may use the parent's fds, must not allocate, and returns 0 or -errno with *failed set. */
	int (*hook)(void *context, const char **failed);
	void *hook_context;

	const char *directory;
	bool has_umask, has_nice, has_oom_score;
	mode_t umask;
	int nice;      /* absolute, -20…19 */
	int oom_score; /* oom_score_adj, -1000…1000 */
	const struct spawn_limit *limits;
	size_t limit_count;
	const cpu_set_t *cpus;
	size_t cpus_size; /* bytes of *cpus */
	struct spawn_identity identity;
};

struct spawned {
	pid_t pid;
	int pidfd; /* belongs to the caller; close-on-exec; readable when the child has ended */
};

/*
 * Runs the plan. 0 and *ret, or -errno and *failed, the step: "clone", "setpgid",
 * "fd", "setrlimit nofile", "setgroups", "setgid", "setuid", "chdir", "exec", …
 * A child that failed has been reaped. The program is never run with less than
 * the whole plan, and never by a shell: a file without a known format is
 * -ENOEXEC. The child starts with every signal at its default and none blocked;
 * one that arrived before that ends it instead of being lost.
 */
int spawn(const struct spawn_plan *plan, struct spawned *ret, const char **failed);

/* The signals of this process that are not at their default, and those that libc may take. */
uint64_t spawn_signals(void);

/*
 * Finds `program` as execvp(3) does: a name with a slash is taken as it is, any
 * other is looked for in `path` (NULL: /usr/local/bin:/usr/bin:/bin), where an
 * empty element is the current directory. A file that may not be executed is
 * passed over, and if none is found the answer is -EACCES, else -ENOENT.
 * -ENAMETOOLONG if it does not fit.
 */
int spawn_resolve(const char *program, const char *path, char *ret, size_t size);

/*
 * Looks whether execve(2) would take the file: 0, or the -errno that it would give. -ENOEXEC is a guess:
 * it is a file of a format that is known to binfmt_misc only, if at all.
 */
int spawn_check(const char *program);

/*
 * Says after a failed "exec" what is missing, because ENOENT and EACCES do not:
 * "no such file", "it is a directory", "interpreter /usr/bin/pythn3 of its first line: No such
 * file or directory", … Returns the length; never empty. `program` is relative to the caller's
 * directory.
 */
int spawn_explain(const char *program, int error, char *ret, size_t size);

#endif
