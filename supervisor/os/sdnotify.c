#include "supervisor/os/sdnotify.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

int sdnotify_init(struct sdnotify *sd, const char *socket, const char **failed)
{
	struct sdnotify made = { .fd = -1, .address.sun_family = AF_UNIX };
	size_t length = socket ? strlen(socket) : 0;

	*sd = made;
	if (length == 0)
		return 0;
	*failed = "NOTIFY_SOCKET";
	if ((socket[0] != '/' && socket[0] != '@') || length < 2 ||
	    length >= sizeof made.address.sun_path)
		return -EINVAL;
	memcpy(made.address.sun_path, socket, length);
	made.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (socket[0] == '@')
		made.address.sun_path[0] = '\0';
	else
		made.size++; /* a path has its NUL, a name has not */

	*failed = "socket";
	made.fd = sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (made.fd < 0)
		return -errno;
	*sd = made;
	return 0;
}

void sdnotify_finish(struct sdnotify *sd)
{
	fd_close(&sd->fd);
}

static int send_text(const struct sdnotify *sd, const char *text)
{
	struct sockaddr_un address = sd->address;
	struct iovec data = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr message = {
		.msg_name = &address,
		.msg_namelen = sd->size,
		.msg_iov = &data,
		.msg_iovlen = 1,
	};

	if (sd->fd < 0)
		return 0;
	while (sys_sendmsg(sd->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 1;
}

/* `state` and, if there is one, the status without its line ends: those would start a new field. */
static int send_state(const struct sdnotify *sd, const char *state, const char *status)
{
	char text[SDNOTIFY_TEXT_MAX];
	size_t prefix;

	prefix = (size_t)snprintf(text, sizeof text, "%s%s", state, status ? "STATUS=" : "");
	if (status)
		snprintf(text + prefix, sizeof text - prefix, "%s", status);
	for (char *c = text + prefix; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	return send_text(sd, text);
}

int sdnotify_ready(const struct sdnotify *sd, const char *status)
{
	return send_state(sd, "READY=1\n", status);
}

int sdnotify_reloading(const struct sdnotify *sd, uint64_t monotonic_us)
{
	char text[SDNOTIFY_TEXT_MAX];

	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", monotonic_us);
	return send_text(sd, text);
}

int sdnotify_stopping(const struct sdnotify *sd, const char *status)
{
	return send_state(sd, "STOPPING=1\n", status);
}

int sdnotify_status(const struct sdnotify *sd, const char *status)
{
	return send_state(sd, "", status);
}

int sdnotify_watchdog(const struct sdnotify *sd)
{
	return send_text(sd, "WATCHDOG=1\n");
}

static uint64_t number(const char *text)
{
	size_t length = text ? strspn(text, "0123456789") : 0;

	if (length == 0 || length > 18 || text[length])
		return 0;
	return strtoull(text, NULL, 10);
}

uint64_t sdnotify_watchdog_ms(const char *usec, const char *pid)
{
	uint64_t ms = number(usec) / 2000;

	if (pid && number(pid) != (uint64_t)getpid())
		return 0;
	return ms == 0 && number(usec) > 0 ? 1 : ms;
}
