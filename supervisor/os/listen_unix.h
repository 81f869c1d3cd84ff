/*
 * listen_unix - the part of listen.c for AF_UNIX; use listen.h.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_LISTEN_UNIX_H
#define CLUSTERD_SUPERVISOR_OS_LISTEN_UNIX_H

#include "supervisor/os/listen.h"

/* listen_open() for ADDRESS_UNIX, abstract names included. */
int listen_unix_open(const struct listen_spec *spec, struct listening *ret, const char **failed);

/*
 * For a socket that listens at spec->address and was made by another process: after our listen(2)
 * who connects to its path meets us (unix(7), SO_PEERCRED), or, with CAP_NET_ADMIN, it was bound to the
 * very file that is there, should its queue be full. -ESTALE if not: the path leads to another socket
 * or to none. Owner and mode are set as for a new one, and made->dev and ino, not the
 * path. An abstract name needs none of it: 0.
 */
int listen_unix_again(int fd, const struct listen_spec *spec, struct listening *made, const char **failed);

#endif
