#include "supervisor/os/folder.h"

#include <string.h>

#include "supervisor/os/sys.h"

int folder_check(const char *path, char *ret, size_t size)
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
	return sys_access(ret, R_OK | W_OK | X_OK) < 0 ? -errno : 0;
}
