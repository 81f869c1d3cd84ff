/*
 * proc - what /proc says of one process (proc(5): stat, environ, fd), and the lines of its tables.
 *
 * `root` is "/proc" or a made-up tree. -ENOENT or -ESRCH: no such process;
 * -EBADMSG: the text is not what proc(5) promises. A pid may be recycled between
 * two calls: compare `started`.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_PROC_H
#define CLUSTERD_SUPERVISOR_OS_PROC_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_info {
	char state; /* R S D Z T t X I */
	pid_t ppid, group, session;
	uint64_t user_ms, sys_ms; /* CPU time so far */
	uint64_t started;         /* clock ticks after boot: with the pid, a unique name */
	uint64_t threads;
	uint64_t rss_bytes;
};

int proc_read(const char *root, pid_t pid, struct proc_info *ret);

/*
 * The process that leads a group, was started at `since` or later, and has all these NAME=VALUE in
 * the environment it was started with; the eldest of several. `variables` ends with NULL. -ENOENT:
 * there is none, or none that may be asked.
 */
int proc_find(const char *root, const char *const *variables, uint64_t since, pid_t *ret_pid,
	      uint64_t *ret_started);

/*
 * Which socket the link PID/fd/N leads to: 1 and *ret, or 0 (no socket, or closed meanwhile), or
 * -errno. Not by stat(2), which asks the file system that a file is on, and waits for ever for one that
 * does not answer.
 */
int proc_socket(const char *link, ino_t *ret);

/* Each line of a file, without its newline, until `see` answers true. 0 or -errno. */
int proc_lines(const char *path, bool (*see)(void *context, const char *line), void *context);

/* Opens a folder to be read, or NULL and errno. closedir(3) it. */
DIR *proc_folder(const char *path);

#endif
