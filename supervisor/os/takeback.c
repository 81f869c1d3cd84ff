#include "supervisor/os/takeback.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/os/listen_unix.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2) /* Linux 6.9 */
#endif

enum { PATH_SIZE = 64, SET_FIRST = 16 };

int takeback_identify(pid_t pid, uint64_t started, const char **failed)
{
	struct proc_info info;
	scoped_fd pidfd = -1;
	int error;

	*failed = "pidfd_open";
	pidfd = sys_pidfd_open(pid, 0);
	if (pidfd < 0)
		return errno == EINVAL ? -ESRCH : -errno; /* EINVAL: a number that no process has */
	*failed = "/proc/PID/stat";
	error = proc_read("/proc", pid, &info);
	if (error)
		return error == -ENOENT ? -ESRCH : error;
	if (info.started != started || info.state == 'Z' || info.state == 'X')
		return -ESRCH;
	return fd_take(&pidfd);
}

/* ---- the set ---- */

static bool known(const struct takeback *set, ino_t inode)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (set->list[i].inode == inode)
			return true;
	return false;
}

static int make_room(struct takeback *set)
{
	uint32_t size = set->size ? 2 * set->size : SET_FIRST;
	struct takeback_socket *list;

	if (set->count < set->size)
		return 0;
	if (size > TAKEBACK_SOCKETS)
		return -E2BIG;
	list = realloc(set->list, size * sizeof *list);
	if (!list)
		return -ENOMEM;
	set->list = list;
	set->size = size;
	return 0;
}

static int option(int fd, int level, int name, bool *ret)
{
	int value = 0;
	socklen_t size = sizeof value;

	if (sys_getsockopt(fd, level, name, &value, &size) < 0)
		return -errno;
	*ret = value != 0;
	return 0;
}

/* 1 or 0. A connection of a stream is no listener; a connected datagram socket serves one peer. */
static int serves(int fd, const struct listen_facts *facts, const char **failed)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof peer;

	if (facts->domain != AF_INET && facts->domain != AF_INET6 && facts->domain != AF_UNIX)
		return 0;
	if (facts->type != SOCK_DGRAM || facts->port == 0)
		return facts->type == SOCK_STREAM && facts->accepts;
	*failed = "getpeername";
	if (sys_getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
		return 0;
	return errno == ENOTCONN ? 1 : -errno;
}

static int keep(struct takeback *set, int *fd, ino_t inode, pid_t holder, const char **failed)
{
	struct takeback_socket made = { .inode = inode, .holder = holder };
	int error = listen_inspect(*fd, &made.facts, failed);

	if (!error)
		error = serves(*fd, &made.facts, failed);
	if (error <= 0)
		return error;
	*failed = "IPV6_V6ONLY";
	error = made.facts.domain == AF_INET6
			? option(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &made.v6only)
			: 0;
	if (error)
		return error;
	*failed = "SO_REUSEPORT";
	error = option(*fd, SOL_SOCKET, SO_REUSEPORT, &made.shares_port);
	if (error)
		return error;
	*failed = "memory";
	error = make_room(set);
	if (error)
		return error;
	made.fd = fd_take(fd);
	set->list[set->count++] = made;
	return 0;
}

static int collect_fd(struct takeback *set, int pidfd, pid_t pid, int number, const char **failed)
{
	char path[PATH_SIZE];
	struct stat info;
	scoped_fd fd = -1;
	ino_t inode = 0;
	int rc;

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, number);
	*failed = "/proc/PID/fd";
	rc = proc_socket(path, &inode);
	if (rc <= 0 || known(set, inode) || (set->told && !served_has(&set->served, inode)))
		return rc < 0 ? rc : 0;
	*failed = "pidfd_getfd";
	fd = sys_pidfd_getfd(pidfd, number, 0);
	if (fd < 0)
		return errno == EBADF ? 0 : -errno;
	set->copied++;
	*failed = "fstat";
	if (sys_fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISSOCK(info.st_mode) || known(set, info.st_ino))
		return 0;
	return keep(set, &fd, info.st_ino, pid, failed);
}

static int collect(struct takeback *set, int pidfd, pid_t pid, const char **failed)
{
	char path[PATH_SIZE];
	const struct dirent *entry;
	int error = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	*failed = "/proc/PID/fd";
	dir = proc_folder(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : errno == EACCES ? -EPERM : -errno;
	while (!error && (entry = readdir(dir))) {
		char *end;
		long number = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && *end == '\0' && number < TAKEBACK_FDS)
			error = collect_fd(set, pidfd, pid, (int)number, failed);
	}
	closedir(dir);
	return error == -EACCES ? -EPERM : error;
}

/* Once for a set: a socket is told of in the namespace it was made in, which is ours, wherever its holder
 * has gone since. */
static int ask_which_serve(struct takeback *set)
{
	int error = set->asked ? 0 : served_read("/proc/self", &set->served);

	if (error && error != -EACCES && error != -EPERM)
		return error;
	set->told = set->asked ? set->told : error == 0;
	set->asked = true;
	return 0;
}

int takeback_collect(struct takeback *set, int pidfd, pid_t pid, const char **failed)
{
	int error = ask_which_serve(set);

	*failed = "/proc/self/net";
	return error ? error : collect(set, pidfd, pid, failed);
}

void takeback_finish(struct takeback *set)
{
	for (uint32_t i = 0; i < set->count; i++)
		fd_close(&set->list[i].fd);
	served_finish(&set->served);
	free(set->list);
	*set = (struct takeback){ .list = NULL };
}

/* ---- the match ---- */

static bool same_inet(const struct takeback_socket *socket, const struct address *wanted)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&socket->facts.sa;
	const struct sockaddr_in *four = (const struct sockaddr_in *)&socket->facts.sa;
	const struct sockaddr_in6 *six_wanted = (const struct sockaddr_in6 *)&wanted->sa;
	const struct sockaddr_in *four_wanted = (const struct sockaddr_in *)&wanted->sa;

	if (wanted->port == 0 || socket->facts.port != wanted->port)
		return false;
	if (socket->facts.domain == AF_INET)
		/* `*` where there is no IPv6 */
		return wanted->any ? four->sin_addr.s_addr == htonl(INADDR_ANY)
				   : wanted->sa.ss_family == AF_INET &&
					     four->sin_addr.s_addr == four_wanted->sin_addr.s_addr;
	return wanted->sa.ss_family == AF_INET6 && socket->v6only == !wanted->any &&
	       memcmp(&six->sin6_addr, &six_wanted->sin6_addr, sizeof six->sin6_addr) == 0 &&
	       six->sin6_scope_id == six_wanted->sin6_scope_id;
}

/* listen_unix.c: one that replaced a dead one goes on being called PATH.PID. */
static bool same_path(const struct takeback_socket *socket, const struct address *wanted)
{
	const struct sockaddr_un *bound = (const struct sockaddr_un *)&socket->facts.sa;
	const char *path = ((const struct sockaddr_un *)&wanted->sa)->sun_path;
	char name[sizeof bound->sun_path + 1] = "";
	size_t length = strnlen(path, sizeof bound->sun_path);

	if (path[0] == '\0')
		return socket->facts.size == wanted->size &&
		       memcmp(bound, &wanted->sa, wanted->size) == 0;
	memcpy(name, bound->sun_path, sizeof bound->sun_path);
	if (strncmp(name, path, length) != 0)
		return false;
	return name[length] == '\0' ||
	       (name[length] == '.' && name[length + 1] != '\0' &&
		name[length + 1 + strspn(name + length + 1, "0123456789")] == '\0');
}

static bool matches(const struct takeback_socket *socket, const struct address *wanted, bool member)
{
	int type = wanted->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM;

	if (socket->fd < 0 || socket->facts.type != type || socket->shares_port != member ||
	    (socket->facts.domain == AF_UNIX) != (wanted->kind == ADDRESS_UNIX))
		return false;
	return wanted->kind == ADDRESS_UNIX ? same_path(socket, wanted)
					    : same_inet(socket, wanted);
}

static int set_nonblock(int fd)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	return flags < 0 || sys_fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

/* O_NONBLOCK is never taken away: those who hold the socket may rely on it. */
static int after_care(const struct takeback_socket *socket, const struct listen_spec *spec,
		      struct listening *made, const char **failed)
{
	int error = 0;

	*failed = "F_SETFL";
	if (spec->nonblock)
		error = set_nonblock(socket->fd);
	if (error || socket->facts.type == SOCK_DGRAM)
		return error;
	*failed = "listen";
	if (sys_listen(socket->fd, spec->backlog) < 0)
		return -errno;
	return spec->address->kind == ADDRESS_UNIX ? listen_unix_again(socket->fd, spec, made, failed) : 0;
}

int takeback_take(struct takeback *set, const struct listen_spec *spec, struct listening *ret,
		  const char **failed)
{
	for (uint32_t i = 0; i < set->count; i++) {
		struct takeback_socket *socket = &set->list[i];
		struct listening made = { .size = socket->facts.size, .sa = socket->facts.sa };
		int error = 0;

		if (!matches(socket, spec->address, false))
			continue;
		*failed = "poll";
		if (socket->facts.type == SOCK_STREAM)
			error = listen_is_down(socket->fd);
		if (error == 0)
			error = after_care(socket, spec, &made, failed);
		if (error > 0 || error == -ESTALE)
			continue; /* it was shut down, or the path leads elsewhere */
		if (error)
			return error;
		if (spec->address->kind == ADDRESS_UNIX) {
			made.size = spec->address->size;
			made.sa = spec->address->sa;
		}
		made.fd = fd_take(&socket->fd);
		*ret = made;
		return 1;
	}
	return 0;
}

int takeback_member(struct takeback *set, pid_t holder, const struct address *wanted, int *ret_fd)
{
	for (uint32_t i = 0; i < set->count; i++) {
		struct takeback_socket *socket = &set->list[i];

		if (socket->holder != holder || !matches(socket, wanted, true) ||
		    (socket->facts.type == SOCK_STREAM && listen_is_down(socket->fd) != 0))
			continue;
		*ret_fd = fd_take(&socket->fd);
		return 1;
	}
	return 0;
}

/* ---- signals ---- */

int takeback_signal_group(int pidfd, pid_t pid, int signal)
{
	if (sys_pidfd_send_signal(pidfd, signal, NULL, PIDFD_SIGNAL_PROCESS_GROUP) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	/* While it lives nobody else can have its number. */
	if (pid <= 1 || sys_pidfd_send_signal(pidfd, 0, NULL, 0) < 0)
		return pid <= 1 ? -EINVAL : -errno;
	return sys_kill(-pid, signal) < 0 ? -errno : 0;
}
