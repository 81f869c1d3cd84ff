#include "supervisor/os/rowfile.h"

#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

/* In a sticky folder somebody else may have made it before us. */
static int examine(struct rowfile *made, const char **failed)
{
	struct stat info;

	*failed = "fstat";
	if (sys_fstat(made->file.fd, &info) < 0)
		return -errno;
	*failed = "it belongs to another user, or others may write to it";
	if ((info.st_uid != geteuid() && info.st_uid != 0) || (info.st_mode & 022))
		return -EPERM;
	made->rows = info.st_size / ROWFILE_ROW < ROWFILE_ROWS_MAX
			     ? (uint32_t)(info.st_size / ROWFILE_ROW)
			     : ROWFILE_ROWS_MAX;
	return 0;
}

int rowfile_open(const char *path, struct rowfile *ret, const char **failed)
{
	struct rowfile made = { .file.fd = -1 };
	size_t length = strlen(path);
	pid_t owner;
	int error;

	*failed = "path";
	if (length >= sizeof made.path)
		return -ENAMETOOLONG;
	memcpy(made.path, path, length + 1);
	error = pidfile_lock(path, 0600, &made.file, &owner, failed);
	if (error)
		return error;
	error = examine(&made, failed);
	if (error)
		fd_close(&made.file.fd);
	else
		*ret = made;
	return error;
}

int rowfile_read(const struct rowfile *file, uint32_t row, char ret[ROWFILE_ROW])
{
	ssize_t size = sys_pread(file->file.fd, ret, ROWFILE_ROW, (off_t)row * ROWFILE_ROW);

	if (size < 0)
		return -errno;
	return size == ROWFILE_ROW ? 0 : -ENODATA;
}

int rowfile_write(const struct rowfile *file, uint32_t row, const char text[ROWFILE_ROW])
{
	ssize_t size = sys_pwrite(file->file.fd, text, ROWFILE_ROW, (off_t)row * ROWFILE_ROW);

	if (size < 0)
		return -errno;
	return size == ROWFILE_ROW ? 0 : -ENOSPC;
}

int rowfile_clear(struct rowfile *file, const char **failed)
{
	*failed = "ftruncate";
	if (sys_ftruncate(file->file.fd, 0) < 0)
		return -errno;
	file->rows = 0;
	return 0;
}

void rowfile_close(struct rowfile *file, bool remove)
{
	if (remove)
		pidfile_close(&file->file, file->path);
	else
		fd_close(&file->file.fd);
}
