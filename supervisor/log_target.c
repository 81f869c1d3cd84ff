/*
 * What the log can be written to, and one write to it that does not wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/log_sink.h"
#include "supervisor/os/logsink.h"
#include "supervisor/os/scope.h"

/* ---- where to ---- */

/* A description of our own, that may be made O_NONBLOCK; see open(2) on /proc/self/fd, proc(5). */
static bool reopen_own(int fd, struct log_target *target)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	target->fd = fd;
	target->owned = true;
	return true;
}

static int target_of_stderr(struct log_target *target)
{
	struct stat info;

	*target = (struct log_target){ .fd = STDERR_FILENO, .kind = LOG_SINK_DEVICE };
	if (fstat(STDERR_FILENO, &info) < 0)
		return -errno;
	if (S_ISREG(info.st_mode))
		target->kind = LOG_SINK_FILE;
	else if (S_ISSOCK(info.st_mode))
		target->kind = LOG_SINK_SOCKET;
	else if (S_ISFIFO(info.st_mode) || isatty(STDERR_FILENO))
		target->kind = LOG_SINK_STREAM;
	if (target->kind == LOG_SINK_STREAM)
		target->polite = !reopen_own(STDERR_FILENO, target);
	return 0;
}

int log_target_open(const char *file, struct log_target *ret)
{
	struct log_target target = { .owned = true };
	const char *failed = "";
	struct stat info;
	int rc;

	if (strcmp(file, "-") == 0)
		return target_of_stderr(ret);
	rc = logsink_open(file, &target.fd, &failed);
	if (rc < 0)
		return rc;
	if (fstat(target.fd, &info) == 0 && S_ISREG(info.st_mode))
		target.kind = LOG_SINK_FILE;
	else
		target.kind = isatty(target.fd) ? LOG_SINK_STREAM : LOG_SINK_DEVICE;
	*ret = target;
	return 0;
}

void log_target_close(struct log_target *target)
{
	if (target->owned)
		fd_close(&target->fd);
	*target = (struct log_target){ .fd = -1 };
}

/* ---- one write ---- */

/* As many whole lines as a pipe takes at once or not at all (pipe(7)); of a longer line, a piece. */
static size_t atomic_size(const char *text, size_t size)
{
	const char *end;

	if (size <= PIPE_BUF)
		return size;
	end = memrchr(text, '\n', PIPE_BUF);
	return end ? (size_t)(end - text) + 1 : PIPE_BUF;
}

static bool writable_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLOUT | POLLERR | POLLHUP));
}

ssize_t log_target_write(const struct log_target *target, const char *text, size_t size)
{
	ssize_t n;

	switch (target->kind) {
	case LOG_SINK_SOCKET:
		n = send(target->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case LOG_SINK_STREAM:
		if (target->polite && !writable_now(target->fd))
			return 0;
		n = write(target->fd, text, atomic_size(text, size));
		break;
	case LOG_SINK_FILE:
	case LOG_SINK_DEVICE:
	case LOG_SINK_NONE:
	default:
		n = write(target->fd, text, size);
		break;
	}
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n < 0 ? -errno : -EIO;
}
