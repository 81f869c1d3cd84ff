/*
 * served - which sockets of a network namespace serve, told without touching any of them.
 *
 * From proc(5), net/tcp, tcp6, udp, udp6 and unix: the inodes of streams that listen and of UDP
 * sockets without a peer. To find that out of a descriptor takes a copy of it, and while
 * there is a copy of a connection, its owner's close(2) neither ends it nor takes it out of an
 * epoll set.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SERVED_H
#define CLUSTERD_SUPERVISOR_OS_SERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct served {
	ino_t *list; /* no order */
	size_t count, size;
};

/* Of `root`/net, "/proc/PID" or a made-up tree. 0, or -errno and *ret is empty; files that are not
 * there tell of no socket. Give it back with served_finish(). */
int served_read(const char *root, struct served *ret);

bool served_has(const struct served *served, ino_t inode);
void served_finish(struct served *served);

#endif
