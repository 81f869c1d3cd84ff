#include "cmd/app/notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000 };

static int notify_fd = -1;

int notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t size;
	int fd;

	if (!path)
		return 0;
	size = strlen(path);
	if (size < 2 || size >= sizeof address.sun_path || (*path != '/' && *path != '@'))
		return -EINVAL;
	memcpy(address.sun_path, path, size);
	if (*path == '@')
		address.sun_path[0] = '\0';
	unsetenv("NOTIFY_SOCKET");
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	notify_fd = fd;
	return 0;
}

void notify_send(const char *state, bool must_arrive)
{
	struct pollfd writable = { .fd = notify_fd, .events = POLLOUT };

	if (notify_fd < 0)
		return;
	while (send(notify_fd, state, strlen(state), MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !must_arrive || poll(&writable, 1, PATIENCE_MS) <= 0)
			return;
	}
}

uint64_t notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t half_ms = 0;

	if (usec && (!pid || strtol(pid, NULL, 10) == getpid())) {
		half_ms = strtoull(usec, NULL, 10) / 2000;
		if (half_ms == 0 && strtoull(usec, NULL, 10) > 0)
			half_ms = 1;
	}
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return half_ms;
}
