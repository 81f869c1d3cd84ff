/*
 * holder - which process has a socket open, for whoever has to find it at night.
 *
 * From proc(5): net/tcp, net/tcp6, net/udp, net/udp6 and net/unix give the inode of the socket at
 * an address, and the links in PID/fd lead to "socket:[inode]". Of processes of other users that
 * takes CAP_SYS_PTRACE, so finding nobody means nothing. `root` is "/proc" or a made-up tree.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_HOLDER_H
#define CLUSTERD_SUPERVISOR_OS_HOLDER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/address.h"

enum {
	HOLDER_NAME_MAX = 16,     /* comm, proc(5) */
	HOLDER_LINKS_MAX = 100000, /* looked at in one search; then it ends with what it has */
	HOLDER_MORE_MAX = 15,
};

struct holder {
	pid_t pid;
	char name[HOLDER_NAME_MAX + 1]; /* of the program, as it is; "" if it can not be read */
	size_t which;                   /* of the inodes that were asked for */
	size_t more_count;              /* others that have one of them */
	pid_t more[HOLDER_MORE_MAX];
};

/*
 * The socket that keeps others from this address: it listens there, or is bound for UDP. Where
 * IPv6 sockets take IPv4 too can not be seen, so one of `::` counts for both. 0, -ENOENT or -errno.
 */
int holder_inode(const char *root, const struct address *address, ino_t *ret);

/*
 * The first process but `self` that was started at `since` or later (clock ticks after boot), is no
 * zombie, and has one of these sockets, and some of the others. 0 and *ret, -ENOENT or -errno.
 */
int holder_find(const char *root, const ino_t *inodes, size_t count, uint64_t since, pid_t self,
		struct holder *ret);

#endif
