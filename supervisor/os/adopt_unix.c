#include "supervisor/os/adopt_unix.h"

#include <limits.h>
#include <string.h>

#include "supervisor/os/sys.h"

/* 1 when path is a link to real, 0 when it is something else, or -errno. */
static int is_link_to(const char *real, const char *path)
{
	char target[PATH_MAX];
	size_t length = strlen(real);
	ssize_t size = sys_readlink(path, target, sizeof(target));

	if (size < 0)
		return errno == EINVAL ? 0 : -errno; /* EINVAL: no link at all */
	return (size_t)size == length && memcmp(target, real, length) == 0;
}

int adopt_unix_publish(const char *real, const char *path, const char **failed)
{
	int ours;

	*failed = "symlink";
	if (sys_symlink(real, path) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	ours = is_link_to(real, path);
	if (ours < 0)
		*failed = "readlink";
	return ours == 0 ? -EEXIST : ours < 0 ? ours : 0;
}

int adopt_unix_withdraw(const char *real, const char *path, const char **failed)
{
	int ours = is_link_to(real, path);

	*failed = "readlink";
	if (ours == -ENOENT || ours == 0)
		return 0;
	if (ours < 0)
		return ours;
	*failed = "unlink";
	return sys_unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}
