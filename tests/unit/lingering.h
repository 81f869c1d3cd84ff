/*
 * lingering - a descriptor that is no pleasure to close, and how it is passed on.
 */
#ifndef CLUSTERD_TESTS_UNIT_LINGERING_H
#define CLUSTERD_TESTS_UNIT_LINGERING_H

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_SECONDS = 30 };

/* A TCP connection whose peer reads nothing: close(2) of its last copy waits for LINGER_SECONDS. */
static inline int lingering_fd(void)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = LINGER_SECONDS };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof sin;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int small = 1; /* soon full */
	static char text[65536];

	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sin, size), 0);
	ck_assert_int_eq(listen(listener, 1), 0); /* it stays open, and nobody accepts */
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sin, &size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sin, size), 0);
	while (send(fd, text, sizeof text, MSG_DONTWAIT) > 0)
		continue;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
	return fd;
}

/* Sends one byte and the fd, which is closed here. As sendmsg(2). */
static inline ssize_t lingering_pass(int to, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec text = { .iov_base = "\n", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	const struct linger none = { .l_onoff = 0 };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	ssize_t sent;
	int error;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	sent = sendmsg(to, &message, MSG_NOSIGNAL);
	error = errno;
	if (sent < 0) /* then it is not to hold us up */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	close(fd);
	errno = error;
	return sent;
}

#endif
