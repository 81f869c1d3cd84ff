#include "supervisor/os/notifysock.h"

#include <string.h>
#include <sys/un.h>

#include "supervisor/os/closer.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

/* The kernel picks five hex digits when bind(2) gets a family and nothing else. */
static int bind_anywhere(int fd, struct sockaddr_un *ret, socklen_t *size)
{
	const sa_family_t family = AF_UNIX;
	struct sockaddr_un address = { .sun_family = family };

	if (sys_bind(fd, (const struct sockaddr *)&address, sizeof family) < 0)
		return -errno;
	return sys_getsockname(fd, (struct sockaddr *)ret, size) < 0 ? -errno : 0;
}

int notifysock_open(char name[NOTIFYSOCK_NAME_MAX], int *ret_fd, const char **failed)
{
	struct sockaddr_un address;
	socklen_t size = sizeof address;
	scoped_fd fd = -1;
	int error;

	*failed = "socket";
	fd = sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;

	*failed = "SO_PASSCRED";
	if (sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0)
		return -errno;

	*failed = "bind";
	error = bind_anywhere(fd, &address, &size);
	if (error)
		return error;

	size -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
	if (size < 2 || size > NOTIFYSOCK_NAME_MAX - 1)
		return -EPROTO;
	memcpy(name, address.sun_path, size);
	name[0] = '@';
	name[size] = '\0';
	*ret_fd = fd_take(&fd);
	return 0;
}

/* Fds of the message are ours now whether we want them or not. */
static int close_fds(int socket, const struct cmsghdr *control)
{
	size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fds[CLOSER_FDS_MAX];

	if (count > CLOSER_FDS_MAX)
		count = CLOSER_FDS_MAX;
	memcpy(fds, CMSG_DATA(control), count * sizeof *fds);
	closer_close(socket, fds, count);
	return (int)count;
}

static void read_control(int socket, struct msghdr *message, struct notifysock_message *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct ucred credentials;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			ret->fds += close_fds(socket, c);
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&credentials, CMSG_DATA(c), sizeof credentials);
			ret->pid = credentials.pid;
			ret->uid = credentials.uid;
		}
	}
}

int notifysock_receive(int fd, struct notifysock_message *ret)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(CLOSER_FDS_MAX * sizeof(int))];
	} control;
	struct iovec text = { .iov_base = ret->text, .iov_len = NOTIFYSOCK_TEXT_MAX };
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t size;

	do {
		size = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size < 0)
		return errno == EAGAIN ? 0 : -errno;

	ret->pid = 0;
	ret->uid = (uid_t)-1;
	ret->fds = 0;
	ret->size = (size_t)size;
	ret->text[size] = '\0';
	ret->cut = message.msg_flags & MSG_TRUNC;
	read_control(fd, &message, ret);
	return 1;
}

void notifysock_close(int *fd)
{
	char byte;

	/* Nothing can be added behind the look. */
	if (*fd >= 0 && shutdown(*fd, SHUT_RDWR) == 0 && recv(*fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
		closer_take(fd_take(fd));
	fd_close(fd);
}
