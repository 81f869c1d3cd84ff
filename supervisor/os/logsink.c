#include "supervisor/os/logsink.h"

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

/* O_NONBLOCK only for the opening: on a regular file or a device it means nothing later. */
int logsink_open(const char *path, int *ret_fd, const char **failed)
{
	const int flags =
	    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat info;
	scoped_fd fd = -1;

	*failed = "open";
	fd = sys_open(path, flags, 0640);
	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno; /* a fifo without reader, or a socket */
	*failed = "fstat";
	if (sys_fstat(fd, &info) < 0)
		return -errno;
	*failed = "not a file";
	if (!S_ISREG(info.st_mode) && !S_ISCHR(info.st_mode))
		return -EINVAL;
	*ret_fd = fd_take(&fd);
	return 0;
}

bool logsink_torn(int fd)
{
	char self[sizeof "/proc/self/fd/2147483647"], last = '\n';
	struct stat info;
	scoped_fd again = -1;

	if (sys_fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size == 0)
		return false;
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	again = sys_open(self, O_RDONLY | O_CLOEXEC, 0);
	return again >= 0 && sys_pread(again, &last, 1, info.st_size - 1) == 1 && last != '\n';
}
