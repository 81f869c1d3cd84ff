#include "supervisor/os/pidfile.h"

#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum { DIGITS_MAX = 16 };

/* O_NONBLOCK: opening a fifo must not wait for its writer. */
static int open_plain(const char *path, mode_t mode, struct stat *info, int *ret_fd,
		      const char **failed)
{
	const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	scoped_fd fd = -1;

	*failed = "open";
	fd = sys_open(path, flags, mode);
	if (fd < 0)
		return -errno;
	*failed = "fstat";
	if (sys_fstat(fd, info) < 0)
		return -errno;
	*failed = "open";
	if (!S_ISREG(info->st_mode))
		return -EINVAL;
	if (info->st_nlink > 1)
		return -EMLINK;
	*ret_fd = fd_take(&fd);
	return 0;
}

static pid_t read_owner(int fd)
{
	char text[DIGITS_MAX + 1];
	ssize_t size = sys_read(fd, text, DIGITS_MAX);
	long pid;

	if (size <= 0)
		return 0;
	text[size] = '\0';
	pid = strtol(text, NULL, 10);
	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* Its last owner may have unlinked the file after we opened and before we locked it. */
static int still_there(const char *path, const struct stat *opened)
{
	struct stat now;

	if (sys_lstat(path, &now) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	return now.st_dev == opened->st_dev && now.st_ino == opened->st_ino ? 0 : -ESTALE;
}

static int write_pid(int fd)
{
	char text[DIGITS_MAX];
	int length = snprintf(text, sizeof text, "%d\n", (int)getpid());

	if (sys_ftruncate(fd, 0) < 0)
		return -errno;
	if (sys_pwrite(fd, text, (size_t)length, 0) != length)
		return errno ? -errno : -EIO;
	return 0;
}

static int try_lock(const char *path, mode_t mode, struct pidfile *ret, pid_t *ret_owner,
		    const char **failed)
{
	struct stat info;
	scoped_fd fd = -1;
	int error = open_plain(path, mode, &info, &fd, failed);

	if (error)
		return error;
	*failed = "lock";
	if (sys_flock(fd, LOCK_EX | LOCK_NB) < 0) {
		error = -errno;
		*ret_owner = read_owner(fd);
		return error;
	}
	error = still_there(path, &info);
	if (error)
		return error;
	*ret = (struct pidfile){ .fd = fd_take(&fd), .dev = info.st_dev, .ino = info.st_ino };
	return 0;
}

int pidfile_lock(const char *path, mode_t mode, struct pidfile *ret, pid_t *ret_owner,
		 const char **failed)
{
	int error = -ESTALE;

	*ret_owner = 0;
	for (int i = 0; i < 10 && error == -ESTALE; i++)
		error = try_lock(path, mode, ret, ret_owner, failed);
	return error;
}

const char *pidfile_reason(int error)
{
	switch (error) {
	case -ELOOP: return "it is a symbolic link, which is not followed";
	case -EMLINK: return "it has a second name, a hard link";
	case -EINVAL: return "it is no plain file";
	default: return strerror(-error);
	}
}

int pidfile_open(const char *path, struct pidfile *ret, pid_t *ret_owner, const char **failed)
{
	struct pidfile file;
	int error = pidfile_lock(path, 0644, &file, ret_owner, failed);

	if (error)
		return error;
	*failed = "write";
	errno = 0;
	error = write_pid(file.fd);
	if (error)
		pidfile_close(&file, path); /* an empty one names nobody */
	else
		*ret = file;
	return error;
}

void pidfile_close(struct pidfile *file, const char *path)
{
	struct stat info;

	if (file->fd < 0)
		return;
	if (sys_lstat(path, &info) == 0 && info.st_dev == file->dev && info.st_ino == file->ino)
		unlink(path);
	fd_close(&file->fd);
}
