#include "supervisor/os/listen.h"

#include <netinet/in.h>
#include <string.h>

#include "supervisor/os/closer.h"
#include "supervisor/os/listen_unix.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

static int set_flag(int fd, int level, int name, int value)
{
	return sys_setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int socket_type(const struct listen_spec *spec)
{
	int type = spec->address->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM;

	return type | SOCK_CLOEXEC | (spec->nonblock ? SOCK_NONBLOCK : 0);
}

/* What must be set before bind(2). */
static int prepare(int fd, const struct listen_spec *spec, const char **failed)
{
	int error = 0;

	if (spec->address->kind == ADDRESS_TCP) {
		*failed = "SO_REUSEADDR";
		error = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	}
	if (!error && spec->address->sa.ss_family == AF_INET6) {
		*failed = "IPV6_V6ONLY";
		error = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, !spec->address->any);
	}
	return error;
}

static int start_listening(int fd, const struct listen_spec *spec, const char **failed)
{
	if (spec->share_port) {
		*failed = "SO_REUSEPORT";
		if (set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
			return -errno;
	}
	if (spec->address->kind == ADDRESS_UDP)
		return 0;
	*failed = "listen";
	return sys_listen(fd, spec->backlog) < 0 ? -errno : 0;
}

static int open_inet(const struct listen_spec *spec, struct listening *ret, const char **failed)
{
	const struct address *address = spec->address;
	struct listening made = { .fd = -1, .size = sizeof made.sa };
	scoped_fd fd = -1;
	int error;

	*failed = "socket";
	fd = sys_socket(address->sa.ss_family, socket_type(spec), 0);
	if (fd < 0)
		return -errno;
	error = prepare(fd, spec, failed);
	if (error)
		return error;

	*failed = "bind";
	if (sys_bind(fd, (const struct sockaddr *)&address->sa, address->size) < 0)
		return -errno;
	error = start_listening(fd, spec, failed);
	if (error)
		return error;

	*failed = "getsockname";
	if (sys_getsockname(fd, (struct sockaddr *)&made.sa, &made.size) < 0)
		return -errno;
	made.fd = fd_take(&fd);
	*ret = made;
	return 0;
}

/* `*` where there is no IPv6: the module is missing, or it is off on every interface. */
static int open_any(const struct listen_spec *spec, struct listening *ret, const char **failed)
{
	struct address ipv4 = { .kind = spec->address->kind, .port = spec->address->port };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(ipv4.port) };
	struct listen_spec again = *spec;
	int error = open_inet(spec, ret, failed);

	if (error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL)
		return error;
	memcpy(&ipv4.sa, &sin, sizeof sin);
	ipv4.size = sizeof sin;
	again.address = &ipv4;
	return open_inet(&again, ret, failed);
}

int listen_lock_filter(int fd, const char **failed)
{
	*failed = "SO_LOCK_FILTER";
	return set_flag(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
}

int listen_open(const struct listen_spec *spec, struct listening *ret, const char **failed)
{
	switch (spec->address->kind) {
	case ADDRESS_TCP:
	case ADDRESS_UDP:
		return spec->address->any ? open_any(spec, ret, failed)
					  : open_inet(spec, ret, failed);
	case ADDRESS_UNIX: return listen_unix_open(spec, ret, failed);
	case ADDRESS_NONE:
	case ADDRESS_OFF:
	case ADDRESS_INHERIT: break;
	}
	*failed = "address";
	return -EINVAL;
}

void listen_let_go(int *fd)
{
	struct pollfd look = { .fd = *fd, .events = POLLIN };
	int domain = AF_UNSPEC;
	socklen_t size = sizeof domain;

	if (*fd >= 0 && getsockopt(*fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
	    poll(&look, 1, 0) != 0)
		closer_take(fd_take(fd));
	fd_close(fd);
}

void listen_close(struct listening *listening)
{
	const char *failed;

	listen_unlink_own(listening, &failed);
	listen_let_go(&listening->fd);
}

int listen_path_lost(const struct listening *listening, const char *path)
{
	struct stat info;

	if (sys_lstat(path, &info) < 0)
		return errno == ENOENT ? 1 : -errno;
	return listening->ino && (info.st_dev != listening->dev || info.st_ino != listening->ino);
}

int listen_unlink_own(const struct listening *listening, const char **failed)
{
	struct stat info;

	if (!listening->path[0] || !listening->ino)
		return 0;
	*failed = "lstat";
	if (sys_lstat(listening->path, &info) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (info.st_dev != listening->dev || info.st_ino != listening->ino)
		return 0;
	*failed = "unlink";
	return sys_unlink(listening->path) < 0 ? -errno : 0;
}
