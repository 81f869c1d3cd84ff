#include "supervisor/os/inherit.h"

#include <string.h>

#include "supervisor/os/sys.h"

enum { FIRST = 3, DIGITS_MAX = 9 };

/* Digits and nothing else, at most nine of them; -1 if not. */
static int number(const char *text)
{
	size_t length = strspn(text, "0123456789");

	if (length == 0 || length > DIGITS_MAX || text[length])
		return -1;
	return (int)strtol(text, NULL, 10);
}

static void put_name(const char **names, char ret[INHERIT_NAME_MAX])
{
	size_t length = *names ? strcspn(*names, ":") : 0;

	if (length > 0)
		snprintf(ret, INHERIT_NAME_MAX, "%.*s", (int)length, *names);
	if (*names)
		*names = (*names)[length] ? *names + length + 1 : NULL;
}

static void drop(const struct inherited *list, int count)
{
	for (int i = 0; i < count; i++)
		close(list[i].fd);
}

/* What came through execve(2) is not close-on-exec; all that this process opens is. */
static int move_up(int fd)
{
	int flags = sys_fcntl(fd, F_GETFD, 0), moved;

	if (flags < 0)
		return -errno;
	if (flags & FD_CLOEXEC)
		return -EBADF;
	moved = sys_fcntl(fd, F_DUPFD_CLOEXEC, INHERIT_BASE);
	return moved < 0 ? -errno : moved;
}

int inherit_take(const char *listen_pid, const char *listen_fds, const char *names,
		 struct inherited ret[INHERIT_MAX], const char **failed)
{
	struct inherited made[INHERIT_MAX] = { 0 };
	int pid, count;

	if (!listen_pid || !listen_fds)
		return 0;
	*failed = "LISTEN_PID";
	pid = number(listen_pid);
	if (pid < 0)
		return -EINVAL;
	if (pid != getpid())
		return 0;
	*failed = "LISTEN_FDS";
	count = number(listen_fds);
	if (count < 0)
		return -EINVAL;
	if (count > INHERIT_MAX)
		return -E2BIG;

	for (int i = 0; i < count; i++) {
		made[i].number = FIRST + i;
		made[i].fd = move_up(FIRST + i);
		if (made[i].fd < 0) {
			drop(made, i);
			return made[i].fd;
		}
		put_name(&names, made[i].name);
	}
	for (int i = 0; i < count; i++)
		close(FIRST + i);
	memcpy(ret, made, sizeof made);
	return count;
}

void inherit_standard(void)
{
	int fd;

	do
		fd = sys_open("/dev/null", O_RDWR, 0);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}
