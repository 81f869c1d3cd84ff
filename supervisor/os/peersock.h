/*
 * peersock - connections of those who may send descriptors along.
 *
 * A unix socket takes SCM_RIGHTS from whoever is connected, asked for or not, and to throw such a
 * descriptor away can take as long as its sender likes (closer.h): in read(2) that does not want it,
 * or in close(2) of a connection that holds it unread, even one that was refused. Linux 6.16 can
 * forbid it; before that what comes is closed elsewhere.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_PEERSOCK_H
#define CLUSTERD_SUPERVISOR_OS_PEERSOCK_H

#include <stddef.h>
#include <sys/types.h>

/* Of a listening socket, and of those accepted from it later: nothing can be sent along, if the kernel
 * knows how. It does no harm to a socket of another family. */
void peersock_forbid_fds(int fd);

/* As read(2) of a socket: bytes, 0 at the end, or -1 and errno. */
ssize_t peersock_read(int fd, void *buffer, size_t size);

/* Closes it and forgets it, as fd_close() of scope.h. */
void peersock_close(int *fd);

#endif
