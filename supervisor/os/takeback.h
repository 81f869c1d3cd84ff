/*
 * takeback - processes that are not our children: are they who they should be, which
 * sockets do they hold, and signals that reach nobody else.
 *
 * A process is known by pid and start time (proc(5)) once, and by its pidfd from then
 * on: whatever happens to the number after that, no fd is taken from and no signal sent
 * to a stranger. A socket is got by pidfd_getfd(2): the same open file description, its
 * queue included. That takes the rights of ptrace(2): the same uid where Yama
 * does not restrict that (kernel.yama.ptrace_scope), or CAP_SYS_PTRACE.
 *
 * Functions return 0 or a positive answer, or -errno; on error *failed names the step.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_TAKEBACK_H
#define CLUSTERD_SUPERVISOR_OS_TAKEBACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/os/listen.h"
#include "supervisor/os/served.h"

enum {
	TAKEBACK_FDS = 256,       /* only lower numbers are looked at: listeners come first */
	TAKEBACK_SOCKETS = 32768, /* kept at most */
};

/* A pidfd of that very process, close-on-exec. -ESRCH: it has ended, or the number is another's. */
int takeback_identify(pid_t pid, uint64_t started, const char **failed);

/* One listening or unconnected bound socket that somebody of them holds. */
struct takeback_socket {
	int fd; /* the set's, close-on-exec; -1 once it was taken */
	ino_t inode;
	pid_t holder; /* who was found to have it first */
	bool v6only;
	bool shares_port; /* SO_REUSEPORT */
	struct listen_facts facts;
};

struct takeback {
	struct takeback_socket *list;
	uint32_t count, size;
	uint32_t copied; /* descriptors that were got, those that were let go again included */
	bool asked, told; /* which sockets serve, as it was at the first takeback_collect() */
	struct served served;
};

/*
 * Adds the sockets of a process that are not in the set yet. `pid` is only a way to see which
 * of its fds are sockets that serve; what is got is got by pidfd. Connections are not touched
 * (served.h), unless proc(5) may not tell which they are. -EPERM: the right is missing;
 * -ESRCH: it has ended. What was added before an error stays.
 */
int takeback_collect(struct takeback *set, int pidfd, pid_t pid, const char **failed);

/* Closes what is left. */
void takeback_finish(struct takeback *set);

/*
 * Takes the socket that listen_open() would have made for this spec out of the set: same kind,
 * same address, not one of a SO_REUSEPORT group, not shut down. Its queue is as it was;
 * backlog, O_NONBLOCK if asked for, and owner and mode of a unix path are set as for a new
 * one. The unix path must lead to this very socket. ret->path is empty, so that listen_close() leaves
 * the file to those who have it still; it is ours once the caller sets the path.
 *
 * 1 and *ret, or 0 when there is none.
 */
int takeback_take(struct takeback *set, const struct listen_spec *spec, struct listening *ret,
		  const char **failed);

/* The same for one of a SO_REUSEPORT group that this process holds; nothing is set. 1, *ret_fd and
 * nothing else, or 0. */
int takeback_member(struct takeback *set, pid_t holder, const struct address *wanted, int *ret_fd);

/*
 * Sends to the process group that the process leads. Since Linux 6.9 that can hit no other, even
 * after the process has ended; before that it is only done while it lives, -ESRCH after.
 */
int takeback_signal_group(int pidfd, pid_t pid, int signal);

#endif
