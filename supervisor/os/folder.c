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
	struct stat status;

	if (sys_access(path, W_OK) == 0) {
		snprintf(ret, size, "%s", path);
		return sys_stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? -EISDIR : 0;
	}
	if (errno == ENOENT || errno == ENOTDIR)
		return look(path, W_OK | X_OK, ret, size);
	snprintf(ret, size, "%s", path);
	return -errno;
}

static bool is_foreign(const struct stat *info)
{
	return info->st_uid != geteuid() && info->st_uid != 0;
}

int folder_trust(const char *folder, const char **ret_why)
{
	struct stat link, info;

	if (sys_lstat(folder, &link) < 0 || sys_stat(folder, &info) < 0) {
		int error = errno;

		*ret_why = strerror(error);
		return -error;
	}
	*ret_why = strerror(ENOTDIR);
	if (!S_ISDIR(info.st_mode))
		return -ENOTDIR;
	*ret_why = "a link of another user";
	if (S_ISLNK(link.st_mode) && is_foreign(&link))
		return -EPERM;
	*ret_why = "the folder belongs to another user";
	if (is_foreign(&info))
		return -EPERM;
	*ret_why = "others may write to the folder";
	return (info.st_mode & 022) && !(info.st_mode & S_ISVTX) ? -EPERM : 0;
}
