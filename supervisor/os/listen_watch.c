#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/os/listen.h"
#include "supervisor/os/sys.h"

static int get_number(int fd, int name, int *ret)
{
	socklen_t size = sizeof *ret;

	return sys_getsockopt(fd, SOL_SOCKET, name, ret, &size) < 0 ? -errno : 0;
}

static int port_of(const struct sockaddr_storage *sa)
{
	switch (sa->ss_family) {
	case AF_INET: return ntohs(((const struct sockaddr_in *)sa)->sin_port);
	case AF_INET6: return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
	default: return 0;
	}
}

int listen_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;

	if (sys_getsockname(fd, (struct sockaddr *)&sa, &size) < 0)
		return -errno;
	return port_of(&sa);
}

int listen_inspect(int fd, struct listen_facts *ret, const char **failed)
{
	struct listen_facts facts = { .size = sizeof facts.sa };
	int accepts = 0, flags;

	*failed = "SO_DOMAIN";
	if (get_number(fd, SO_DOMAIN, &facts.domain) < 0)
		return -errno;
	*failed = "SO_TYPE";
	if (get_number(fd, SO_TYPE, &facts.type) < 0)
		return -errno;
	*failed = "SO_ACCEPTCONN";
	if (get_number(fd, SO_ACCEPTCONN, &accepts) < 0)
		return -errno;
	*failed = "F_GETFL";
	flags = sys_fcntl(fd, F_GETFL, 0);
	if (flags < 0)
		return -errno;
	*failed = "getsockname";
	if (sys_getsockname(fd, (struct sockaddr *)&facts.sa, &facts.size) < 0)
		return -errno;
	facts.accepts = accepts != 0;
	facts.nonblock = flags & O_NONBLOCK;
	facts.port = port_of(&facts.sa);
	*ret = facts;
	return 0;
}

/* A unix socket without a name reports only its family; an IP one has port 0. */
static bool is_bound(const struct listen_facts *facts)
{
	if (facts->domain == AF_UNIX)
		return facts->size > offsetof(struct sockaddr_un, sun_path);
	return facts->port != 0;
}

int listen_check_inherited(int fd, struct listening *ret, const char **failed)
{
	struct listen_facts facts;
	int error = listen_inspect(fd, &facts, failed);

	if (error)
		return error;
	*failed = "socket family";
	if (facts.domain != AF_INET && facts.domain != AF_INET6 && facts.domain != AF_UNIX)
		return -EAFNOSUPPORT;
	*failed = "socket type";
	if (facts.type != SOCK_STREAM && facts.type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	*failed = "not listening";
	if (facts.type == SOCK_STREAM && !facts.accepts)
		return -EINVAL;
	*failed = "not bound";
	if (!is_bound(&facts))
		return -EINVAL;
	*ret = (struct listening){ .fd = fd, .size = facts.size, .sa = facts.sa };
	return 0;
}

int listen_is_down(int fd)
{
	struct pollfd watch = { .fd = fd, .events = POLLRDHUP };
	int accepts = 0;
	int error = get_number(fd, SO_ACCEPTCONN, &accepts);

	if (error)
		return error;
	if (!accepts)
		return 1;
	/* AF_UNIX goes on saying that it accepts */
	if (sys_poll(&watch, 1, 0) < 0)
		return -errno;
	return (watch.revents & (POLLHUP | POLLRDHUP)) != 0;
}

int listen_repair(const struct listening *listening, int backlog, const char **failed)
{
	*failed = "bind";
	if (sys_bind(listening->fd, (const struct sockaddr *)&listening->sa, listening->size) < 0 &&
	    errno != EINVAL) /* still bound: its user chose the port */
		return -errno;
	*failed = "listen";
	return sys_listen(listening->fd, backlog) < 0 ? -errno : 0;
}

int listen_queue(int fd, uint32_t *ret_queue, uint32_t *ret_limit)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;

	if (sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return -errno;
	if (info.tcpi_state != TCP_LISTEN)
		return -EOPNOTSUPP;
	*ret_queue = info.tcpi_unacked;
	*ret_limit = info.tcpi_sacked;
	return 0;
}

int listen_dropped(int fd, uint32_t *ret_dropped)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t size = sizeof info;

	if (sys_getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0)
		return -errno;
	*ret_dropped = info[SK_MEMINFO_DROPS];
	return 0;
}
