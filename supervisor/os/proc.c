#include "supervisor/os/proc.h"

#include <stdio.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum {
	STAT_MAX = 1024, /* 52 numbers and a name of 64 bytes at most */
	FOLDER_MAX = 256,
	ENVIRON_MAX = 256 * 1024,
	LINK_MAX_SIZE = 64, /* "socket:[INODE]" and more */
	LINES_MAX = 8192,   /* of bytes, for lines of at most 256 */
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

static bool has_variable(const char *text, size_t size, const char *variable)
{
	for (const char *at = text; at < text + size; at += strlen(at) + 1)
		if (strcmp(at, variable) == 0)
			return true;
	return false;
}

/* The text of an environment, cut where it is too long; empty if it can not be read. */
static size_t read_environ(const char *root, pid_t pid, char text[ENVIRON_MAX])
{
	char path[FOLDER_MAX + 32];
	scoped_fd fd = -1;
	size_t size = 0;
	ssize_t got;

	snprintf(path, sizeof path, "%.*s/%d/environ", FOLDER_MAX, root, (int)pid);
	fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	while ((got = sys_read(fd, text + size, ENVIRON_MAX - 1 - size)) > 0)
		size += (size_t)got;
	text[size] = '\0';
	return size;
}

static bool has_all(const char *root, pid_t pid, const char *const *variables, char text[ENVIRON_MAX])
{
	size_t size = read_environ(root, pid, text);

	for (; *variables; variables++)
		if (!has_variable(text, size, *variables))
			return false;
	return true;
}

static void pick(const char *root, DIR *dir, const char *const *variables, uint64_t since, char *text,
		 pid_t *ret_pid, uint64_t *eldest)
{
	for (const struct dirent *entry; (entry = readdir(dir));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		struct proc_info info;

		if (pid < 2 || proc_read(root, pid, &info) < 0 || info.group != pid ||
		    info.started < since || info.started >= *eldest || info.state == 'Z' ||
		    !has_all(root, pid, variables, text))
			continue;
		*eldest = info.started;
		*ret_pid = pid;
	}
}

int proc_find(const char *root, const char *const *variables, uint64_t since, pid_t *ret_pid,
	      uint64_t *ret_started)
{
	uint64_t eldest = UINT64_MAX;
	char *text;
	DIR *dir = proc_folder(root);

	if (!dir)
		return -errno;
	text = malloc(ENVIRON_MAX);
	if (!text) {
		closedir(dir);
		return -ENOMEM;
	}
	pick(root, dir, variables, since, text, ret_pid, &eldest);
	closedir(dir);
	free(text);
	if (eldest == UINT64_MAX)
		return -ENOENT;
	*ret_started = eldest;
	return 0;
}

int proc_lines(const char *path, bool (*see)(void *context, const char *line), void *context)
{
	char text[LINES_MAX], *line = text, *end;
	size_t size = 0;
	scoped_fd fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t got = sys_read(fd, text + size, sizeof text - 1 - size);

		if (got <= 0)
			return got < 0 ? -errno : 0;
		size += (size_t)got;
		text[size] = '\0';
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			if (see(context, line))
				return 0;
		}
		size -= (size_t)(line - text);
		if (size == sizeof text - 1)
			size = 0; /* no line is so long */
		memmove(text, line, size);
	}
}

int proc_socket(const char *link, ino_t *ret)
{
	char text[LINK_MAX_SIZE];
	ssize_t size = sys_readlink(link, text, sizeof text - 1);
	unsigned long inode;

	if (size < 0)
		return errno == ENOENT ? 0 : -errno;
	text[size] = '\0';
	if (sscanf(text, "socket:[%lu]", &inode) != 1)
		return 0;
	*ret = inode;
	return 1;
}

DIR *proc_folder(const char *path)
{
	int fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		fd_close(&fd);
	return dir;
}
