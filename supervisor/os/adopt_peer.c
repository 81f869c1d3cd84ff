#include "supervisor/os/adopt_peer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/os/adopt_epoll.h"
#include "supervisor/os/adopt_option.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

enum { PATH_SIZE = 64, TEXT_SIZE = 4096 };

/* The number behind the first `name` in a small file of /proc, or -1. */
static long field(const char *path, const char *name, int base)
{
	char text[TEXT_SIZE];
	scoped_fd fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	const char *line;
	ssize_t size;

	if (fd < 0)
		return -1;
	size = sys_read(fd, text, sizeof(text) - 1);
	if (size < 0)
		return -1;
	text[size] = '\0';
	line = strstr(text, name);
	return line == NULL ? -1 : strtol(line + strlen(name), NULL, base);
}

static bool v6only_by_default(void)
{
	return field("/proc/sys/net/ipv6/bindv6only", "", 10) == 1;
}

static pid_t process_of(pid_t tid)
{
	char path[PATH_SIZE];
	long pid;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	pid = field(path, "\nTgid:\t", 10);
	return pid > 0 ? (pid_t)pid : tid;
}

/* Before Linux 6.9 a pidfd is for a process only. */
int adopt_peer_fd(const struct adopt_request *request, int fd)
{
	scoped_fd pidfd = sys_pidfd_open(request->tid, PIDFD_THREAD);

	if (pidfd < 0)
		pidfd = sys_pidfd_open(request->pid, 0);
	return pidfd < 0 ? -1 : sys_pidfd_getfd(pidfd, fd, 0);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return sys_getsockopt(fd, level, name, &value, &size) < 0 ? -1 : value;
}

/* What /proc does not tell of a worker of another user without CAP_DAC_READ_SEARCH. */
static void look_at_both(struct adopt_request *request, int fd)
{
	struct stat info;
	int flags = sys_fcntl(fd, F_GETFL, 0);

	if (flags >= 0)
		request->nonblock = (flags & O_NONBLOCK) != 0;
	if (sys_fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode))
		request->inode = info.st_ino;
}

static void look_inside(struct adopt_request *request, int fd)
{
	request->domain = option(fd, SOL_SOCKET, SO_DOMAIN);
	if (request->domain < 0)
		return; /* by now it is something else, and fstat(2) of a file may wait for ever */
	request->looked_inside = true;
	look_at_both(request, fd);
	request->type = option(fd, SOL_SOCKET, SO_TYPE);
	request->protocol = option(fd, SOL_SOCKET, SO_PROTOCOL);
	request->v6only = request->domain == AF_INET6 && option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
	adopt_options_read(fd, request);
}

/* The kernel's name of the protocol is all that /proc tells (xattr of sockfs, net/socket.c). */
static void look_outside(struct adopt_request *request, const char *path)
{
	static const struct {
		const char *name;
		int domain, type, protocol;
	} known[] = {
		{ "TCP", AF_INET, SOCK_STREAM, IPPROTO_TCP },
		{ "TCPv6", AF_INET6, SOCK_STREAM, IPPROTO_TCP },
		{ "MPTCP", AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
		{ "MPTCPv6", AF_INET6, SOCK_STREAM, IPPROTO_MPTCP },
		{ "UDP", AF_INET, SOCK_DGRAM, IPPROTO_UDP },
		{ "UDPv6", AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
		{ "UNIX-STREAM", AF_UNIX, SOCK_STREAM, 0 },
	};
	char name[32];
	ssize_t size = sys_getxattr(path, "system.sockprotoname", name, sizeof(name) - 1);

	if (size < 0)
		return;
	name[size] = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(name, known[i].name) != 0)
			continue;
		request->domain = known[i].domain;
		request->type = known[i].type;
		request->protocol = known[i].protocol;
		request->v6only = known[i].domain == AF_INET6 && v6only_by_default();
	}
}

void adopt_peer_look(struct adopt_request *request)
{
	char path[PATH_SIZE];
	int is_socket, fd;
	ino_t inode;
	long flags;

	request->pid = process_of(request->tid);
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)request->tid, request->fd);
	flags = field(path, "flags:\t", 8);
	request->nonblock = flags >= 0 && (flags & O_NONBLOCK) != 0;
	request->cloexec = flags >= 0 && (flags & O_CLOEXEC) != 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)request->tid, request->fd);
	is_socket = proc_socket(path, &inode);
	if (is_socket == 0)
		return;
	if (is_socket > 0)
		request->inode = inode;
	if (is_socket > 0 && request->call == ADOPT_BIND)
		adopt_epoll_look(request);
	fd = adopt_peer_fd(request, request->fd);
	if (fd < 0) {
		look_outside(request, path);
		return;
	}
	look_inside(request, fd);
	closer_take(fd); /* the worker may have closed its own */
}

void adopt_peer_address(struct adopt_request *request, uint64_t at, uint64_t length)
{
	size_t size = (uint32_t)length;
	struct iovec to = { .iov_base = &request->address };
	struct iovec from = { .iov_base = (void *)(uintptr_t)at };
	ssize_t got;

	if (size < sizeof(sa_family_t) || size > sizeof(request->address)) {
		request->error = -EINVAL;
		return;
	}
	to.iov_len = from.iov_len = size;
	got = sys_process_vm_readv(request->tid, &to, &from);
	if (got == (ssize_t)size)
		request->length = (socklen_t)size;
	else
		request->error = got < 0 ? -errno : -EFAULT;
}
