#include "cmd/app/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { FIRST_FD = 3, DEFAULT_PORT = 1337, BACKLOG = 4096 };

/* Reads a decimal number that is the whole text. */
static bool read_number(const char *text, unsigned long max, unsigned long *ret_number)
{
	char *end;
	unsigned long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *end || number > max)
		return false;
	*ret_number = number;
	return true;
}

/* Accepted sockets inherit it. It has no meaning, and so fails, on unix sockets. */
static void set_nodelay(int fd)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

static int adopt(struct listen_sockets *sockets, unsigned long count, char *complaint)
{
	for (int fd = FIRST_FD; fd < FIRST_FD + (int)count; fd++) {
		int listening = 0;
		socklen_t size = sizeof listening;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 ||
		    !listening) {
			snprintf(complaint, LISTEN_COMPLAINT_MAX,
				 "LISTEN_FDS=%lu, but fd %d is no listening stream socket", count,
				 fd);
			return EX_USAGE;
		}
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
			snprintf(complaint, LISTEN_COMPLAINT_MAX, "fd %d: %s", fd, strerror(errno));
			return EX_OSERR;
		}
		set_nodelay(fd);
		sockets->fds[sockets->count++] = fd;
	}
	return 0;
}

static int open_family(int family, unsigned port, const char **failed)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	const struct sockaddr *address = (const struct sockaddr *)&four;
	socklen_t size = sizeof four;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	*failed = "socket";
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (family == AF_INET6) {
		address = (const struct sockaddr *)&six;
		size = sizeof six;
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int));
	}
	set_nodelay(fd);
	*failed = "bind";
	if (bind(fd, address, size) == 0) {
		*failed = "listen";
		if (listen(fd, BACKLOG) == 0)
			return fd;
	}
	error = errno;
	close(fd);
	return -error;
}

static unsigned port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in6 six;
		struct sockaddr_in four;
	} address = { .any.sa_family = AF_UNSPEC };
	socklen_t size = sizeof address;

	if (getsockname(fd, &address.any, &size) < 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET ? address.four.sin_port
						      : address.six.sin6_port);
}

static int bind_own(struct listen_sockets *sockets, unsigned port, char *complaint)
{
	const char *failed;
	int fd = open_family(AF_INET6, port, &failed);

	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = open_family(AF_INET, port, &failed);
	if (fd < 0) {
		snprintf(complaint, LISTEN_COMPLAINT_MAX, "port %u: %s: %s%s", port, failed,
			 strerror(-fd), fd == -EADDRINUSE ? "; set PORT to use another" : "");
		return fd == -EACCES ? EX_NOPERM : EX_CANTCREAT;
	}
	sockets->fds[sockets->count++] = fd;
	sockets->port = port_of(fd);
	return 0;
}

int listen_open(struct listen_sockets *ret_sockets, char complaint[LISTEN_COMPLAINT_MAX])
{
	const char *fds = getenv("LISTEN_FDS");
	const char *pid = getenv("LISTEN_PID");
	const char *port = getenv("PORT");
	unsigned long number = 0;
	unsigned long owner;
	bool ours =
	    fds && pid && read_number(pid, INT32_MAX, &owner) && owner == (unsigned long)getpid();

	*ret_sockets = (struct listen_sockets){ 0 };
	if (ours && (!read_number(fds, LISTEN_MAX, &number) || number == 0)) {
		snprintf(complaint, LISTEN_COMPLAINT_MAX, "LISTEN_FDS is not a number from 1 to %d",
			 LISTEN_MAX);
		return EX_USAGE;
	}
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	if (ours)
		return adopt(ret_sockets, number, complaint);
	number = DEFAULT_PORT;
	if (port && *port && !read_number(port, UINT16_MAX, &number)) {
		snprintf(complaint, LISTEN_COMPLAINT_MAX, "PORT is not a number from 0 to 65535");
		return EX_USAGE;
	}
	return bind_own(ret_sockets, (unsigned)number, complaint);
}
