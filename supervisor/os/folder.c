#include "supervisor/os/folder.h"

#include <string.h>

#include "supervisor/os/sys.h"

static int look(const char *path, int rights, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');
	struct stat status;

	if (slash)
		snprintf(ret, size, "%.*s", slash > path ? (int)(slash - path) : 1, path);
	else
		snprintf(ret, size, ".");
	if (sys_stat(ret, &status) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	return sys_access(ret, rights) < 0 ? -errno : 0;
}

int folder_check(const char *path, char *ret, size_t size)
{
	return look(path, R_OK | W_OK | X_OK, ret, size);
}

int folder_file_check(const char *path, char *ret, size_t size)
{
	if (sys_access(path, W_OK) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return look(path, W_OK | X_OK, ret, size);
	snprintf(ret, size, "%s", path);
	return -errno;
}
