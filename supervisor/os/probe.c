#include "supervisor/os/probe.h"

#include <netinet/in.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

union either {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t target_of(const struct sockaddr_storage *listener, union either *ret)
{
	memset(ret, 0, sizeof *ret);
	if (listener->ss_family == AF_INET6) {
		memcpy(&ret->v6, listener, sizeof ret->v6);
		if (memcmp(&ret->v6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
			ret->v6.sin6_addr = in6addr_loopback;
		return sizeof ret->v6;
	}
	memcpy(&ret->v4, listener, sizeof ret->v4);
	if (ret->v4.sin_addr.s_addr == htonl(INADDR_ANY))
		ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof ret->v4;
}

static void source_of(const union either *target, uint16_t port, union either *ret)
{
	*ret = *target;
	if (target->any.sa_family == AF_INET6) {
		ret->v6.sin6_addr = in6addr_loopback;
		ret->v6.sin6_port = htons(port);
	} else {
		ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ret->v4.sin_port = htons(port);
	}
}

int probe_connect(const struct sockaddr_storage *listener, uint16_t source_port, int *ret_fd,
                  const char **failed)
{
	struct linger linger = { .l_onoff = 1 };
	union either target, source;
	socklen_t size = target_of(listener, &target);
	scoped_fd fd = -1;

	source_of(&target, source_port, &source);
	*failed = "socket";
	fd = sys_socket(listener->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	*failed = "setsockopt";
	if (sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
	    sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0)
		return -errno;
	*failed = "bind";
	if (sys_bind(fd, &source.any, size) < 0)
		return -errno;
	*failed = "connect";
	if (sys_connect(fd, &target.any, size) < 0 && errno != EINPROGRESS)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

int probe_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof error;

	return sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}
