#include <netinet/in.h>
#include <sys/time.h>

#include "supervisor/os/listen.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72 /* Linux 5.14 */
#endif

static int get_number(int fd, int name, int *ret)
{
	socklen_t size = sizeof *ret;

	return sys_getsockopt(fd, SOL_SOCKET, name, ret, &size) < 0 ? -errno : 0;
}

/*
 * A unix socket does not tell its backlog, so it is set each time; that is also how the name that
 * SO_PEERCRED gives becomes ours again. One that was shut down must not listen again here: it might
 * do so on another port (listen_repair).
 */
static int keep_backlog(int fd, struct listen_keep *keep, const char **failed)
{
	uint32_t queue, before = 0, after = 0;
	int rc;

	if (keep->backlog == 0)
		return 0;
	*failed = "TCP_INFO";
	rc = listen_queue(fd, &queue, &before);
	if (rc < 0 && keep->domain != AF_UNIX)
		return rc == -EOPNOTSUPP ? 0 : rc;
	if (rc == 0 && before == keep->limit)
		return 0;
	*failed = "listen";
	if (sys_listen(fd, keep->backlog) < 0)
		return -errno;
	if (keep->domain == AF_UNIX)
		return 0;
	*failed = "TCP_INFO";
	rc = listen_queue(fd, &queue, &after);
	if (rc < 0)
		return rc;
	keep->limit = after;
	return after == before ? 0 : LISTEN_BACKLOG;
}

static int keep_flags(int fd, bool nonblock, const char **failed)
{
	int flags, wanted;

	*failed = "F_GETFL";
	flags = sys_fcntl(fd, F_GETFL, 0);
	if (flags < 0)
		return -errno;
	wanted = (flags & ~(O_NONBLOCK | O_ASYNC)) | (nonblock ? O_NONBLOCK : 0);
	if (wanted == flags)
		return 0;
	*failed = "F_SETFL";
	return sys_fcntl(fd, F_SETFL, wanted) < 0 ? -errno : LISTEN_FLAGS;
}

static int keep_timeout(int fd, int name, const char **failed)
{
	struct timeval none = { 0 }, now = { 0 };
	socklen_t size = sizeof now;

	*failed = "time limit";
	if (sys_getsockopt(fd, SOL_SOCKET, name, &now, &size) < 0)
		return -errno;
	if (now.tv_sec == 0 && now.tv_usec == 0)
		return 0;
	return sys_setsockopt(fd, SOL_SOCKET, name, &none, sizeof none) < 0 ? -errno : LISTEN_TIMEOUTS;
}

/* The kernel tells twice the value that is set (socket(7)). */
static int keep_buffer(int fd, int name, int wanted, const char **failed)
{
	int now, half = wanted / 2, rc;

	*failed = "buffer size";
	rc = get_number(fd, name, &now);
	if (rc < 0 || now == wanted)
		return rc;
	return sys_setsockopt(fd, SOL_SOCKET, name, &half, sizeof half) < 0 ? -errno : LISTEN_BUFFERS;
}

/* A size that was once set is fixed for every connection accepted later; this lets the kernel choose
 * again. Kernels before 5.14 can not. */
static int unlock_buffers(int fd, const char **failed)
{
	int locked = 0, none = 0, rc;

	*failed = "SO_BUF_LOCK";
	rc = get_number(fd, SO_BUF_LOCK, &locked);
	if (rc < 0 || locked == 0)
		return rc == -ENOPROTOOPT ? 0 : rc;
	return sys_setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &none, sizeof none) < 0 ? -errno : LISTEN_BUFFERS;
}

static int keep_buffers(int fd, const struct listen_keep *keep, const char **failed)
{
	int receive, send, unlock;

	if (keep->receive == 0)
		return 0;
	receive = keep_buffer(fd, SO_RCVBUF, keep->receive, failed);
	if (receive < 0)
		return receive;
	send = keep_buffer(fd, SO_SNDBUF, keep->send, failed);
	if (send < 0)
		return send;
	unlock = unlock_buffers(fd, failed);
	return unlock < 0 ? unlock : receive | send | unlock;
}

int listen_keep_init(int fd, int backlog, bool buffers, struct listen_keep *ret, const char **failed)
{
	struct listen_keep keep = { .backlog = backlog };
	scoped_fd fresh = -1;
	int type, rc;

	*failed = "SO_DOMAIN";
	rc = get_number(fd, SO_DOMAIN, &keep.domain);
	if (rc == 0)
		rc = get_number(fd, SO_TYPE, &type);
	if (rc < 0)
		return rc;
	if (type != SOCK_STREAM)
		keep.backlog = 0;
	if (buffers) {
		*failed = "socket";
		fresh = sys_socket(keep.domain, type | SOCK_CLOEXEC, 0);
		if (fresh < 0)
			return -errno;
		*failed = "buffer size";
		rc = get_number(fresh, SO_RCVBUF, &keep.receive);
		if (rc == 0)
			rc = get_number(fresh, SO_SNDBUF, &keep.send);
	}
	if (rc == 0)
		*ret = keep;
	return rc;
}

int listen_keep(int fd, struct listen_keep *keep, enum listen_blocking blocking, const char **failed)
{
	int changed = keep_backlog(fd, keep, failed), rc;

	if (changed < 0 || blocking == LISTEN_AS_WORKERS_LIKE)
		return changed;
	rc = keep_flags(fd, blocking == LISTEN_NONBLOCK, failed);
	if (rc < 0)
		return rc;
	changed |= rc;
	rc = keep_timeout(fd, SO_RCVTIMEO, failed);
	if (rc < 0)
		return rc;
	changed |= rc;
	rc = keep_timeout(fd, SO_SNDTIMEO, failed);
	if (rc < 0)
		return rc;
	changed |= rc;
	rc = keep_buffers(fd, keep, failed);
	return rc < 0 ? rc : changed | rc;
}
