#include "supervisor/os/peersock.h"

#include <string.h>

#include "supervisor/os/closer.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

void peersock_forbid_fds(int fd)
{
	/* Where it fails, peersock_read() and peersock_close() do what can be done. */
	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){ 0 }, sizeof(int));
}

static void close_fds(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[CLOSER_FDS_MAX];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), count * sizeof *fds);
		closer_has_room(-1); /* clears up; without room it is closed here, without its linger */
		closer_close(-1, fds, count);
	}
}

ssize_t peersock_read(int fd, void *buffer, size_t size)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(CLOSER_FDS_MAX * sizeof(int))];
	} control;
	struct iovec text = { .iov_base = buffer, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t got = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got >= 0)
		close_fds(&message);
	return got;
}

void peersock_close(int *fd)
{
	int unread = 0;

	/* Nothing can be added behind the look. */
	if (*fd >= 0 && shutdown(*fd, SHUT_RDWR) == 0 && ioctl(*fd, FIONREAD, &unread) == 0 && unread > 0)
		closer_take(fd_take(fd));
	fd_close(fd);
}
