/*
 * logsink - open a log file so that it can harm neither the file system nor the loop.
 *
 * Append only, created 0640, never through a symbolic link in the last
 * component. Regular files and character devices (/dev/null, /dev/full) are
 * taken; directories, block devices, fifos and sockets are refused, since
 * opening or writing one can block for ever.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_LOGSINK_H
#define CLUSTERD_SUPERVISOR_OS_LOGSINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* 0 and *ret_fd, or -errno: -ELOOP symbolic link, -EISDIR, -EINVAL another kind of file. */
int logsink_open(const char *path, int *ret_fd, const char **failed);

/* Does the regular file that this fd writes to end in the middle of a line? Read through
 * /proc/self/fd; false where that can not be. */
bool logsink_torn(int fd);

#endif
