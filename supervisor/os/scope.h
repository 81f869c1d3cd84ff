/*
 * scope - file descriptors that close themselves.
 *
 *	scoped_fd fd = -1;             closed when the scope ends
 *	return fd_take(&fd);           unless it was handed on
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SCOPE_H
#define CLUSTERD_SUPERVISOR_OS_SCOPE_H

#include <errno.h>
#include <unistd.h>

#define scoped_fd __attribute__((cleanup(scope_close))) int

/* Keeps errno, so that `return -errno` may follow. close(2) is never retried: on Linux the fd is
 * gone even after EINTR. */
static inline void scope_close(const int *fd)
{
	int error = errno;

	if (*fd >= 0)
		close(*fd);
	errno = error;
}

/* Hands the fd over: the variable becomes -1, so its scope closes nothing. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes the fd that a struct owns and forgets it. */
static inline void fd_close(int *fd)
{
	scope_close(fd);
	*fd = -1;
}

#endif
