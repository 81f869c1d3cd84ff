/*
 * unixdiag - how many connections wait at a unix socket.
 *
 * getsockopt(2) does not tell, sock_diag(7) does. It takes no right, only AF_NETLINK, which a
 * sandbox may forbid, and a kernel with unix_diag.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_UNIXDIAG_H
#define CLUSTERD_SUPERVISOR_OS_UNIXDIAG_H

#include <stdint.h>

/*
 * Connections that wait for accept(2), and the limit. Returns 0; -EOPNOTSUPP of one that does not
 * listen, -EPROTO of an answer that makes no sense, else what the kernel said: -ENOENT of a socket
 * of another network namespace, or of a kernel that can not tell.
 */
int unixdiag_queue(int fd, uint32_t *ret_queue, uint32_t *ret_limit);

#endif
