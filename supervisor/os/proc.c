#include "supervisor/os/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum {
	STAT_MAX = 1024, /* 52 numbers and a name of 64 bytes at most */
	FOLDER_MAX = 256,
};

static int read_stat(const char *root, pid_t pid, char text[STAT_MAX])
{
	char path[FOLDER_MAX + 32];
	scoped_fd fd = -1;
	ssize_t size;

	snprintf(path, sizeof path, "%.*s/%d/stat", FOLDER_MAX, root, (int)pid);
	fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	size = sys_read(fd, text, STAT_MAX - 1);
	if (size < 0)
		return -errno;
	text[size] = '\0';
	return 0;
}

int proc_read(const char *root, pid_t pid, struct proc_info *ret)
{
	const uint64_t tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char text[STAT_MAX];
	struct proc_info info = { 0 };
	unsigned long long user, system, threads, started, pages;
	const char *after_name;
	int error = read_stat(root, pid, text);

	if (error)
		return error;
	after_name = strrchr(text, ')'); /* the name may hold spaces and parentheses */
	if (!after_name ||
	    sscanf(
		after_name,
		") %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu %*d %llu"
		" %*u %llu",
		&info.state, &info.ppid, &info.group, &info.session, &user, &system, &threads,
		&started, &pages) != 9)
		return -EBADMSG;
	info.user_ms = user * tick_ms;
	info.sys_ms = system * tick_ms;
	info.threads = threads;
	info.started = started;
	info.rss_bytes = pages * page;
	*ret = info;
	return 0;
}

int proc_fd_count(const char *root, pid_t pid)
{
	char path[FOLDER_MAX + 32];
	int count = 0;
	int fd;
	DIR *dir;

	snprintf(path, sizeof path, "%.*s/%d/fd", FOLDER_MAX, root, (int)pid);
	fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		int error = -errno;

		close(fd);
		return error;
	}
	for (const struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}
