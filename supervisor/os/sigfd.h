/*
 * sigfd - signals as a file (signalfd(2)).
 *
 * Blocked and read: unlike a handler that writes to a pipe, none is lost when they
 * come faster than they are read, none arrives between two instructions, and those
 * that come while clusterd executes its successor wait for it.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SIGFD_H
#define CLUSTERD_SUPERVISOR_OS_SIGFD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Blocks these signals and no others, whatever was blocked before; the caller owns
 * *ret_fd, which does not block. Call it before there are threads. 0 or -errno.
 */
int sigfd_open(const int *signals, size_t count, int *ret_fd, const char **failed);

struct sigfd_signal {
	int number;
	bool sent; /* by a process; false for one of the kernel, as a terminal's */
	pid_t pid; /* who sent it; 0: the kernel, or a process that our pid namespace does not show */
	uid_t uid;
};

/* 1 and *ret, 0 when none waits, or -errno. Never blocks. */
int sigfd_next(int fd, struct sigfd_signal *ret);

#endif
