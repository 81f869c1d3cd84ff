/*
 * adopt_epoll - epoll sets in which a worker waits already for the socket that ours replaces.
 *
 * Part of adopt. A set holds the socket itself and not its number, so it would never tell of ours;
 * Boost.Asio, for one, puts each socket in before it binds it. So ours is put in as well, under the
 * same number, with the same events and data. That takes pidfd_getfd(2) (see adopt_peer.h).
 *
 * Source  epoll_ctl(2), proc(5): fdinfo.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ADOPT_EPOLL_H
#define CLUSTERD_SUPERVISOR_OS_ADOPT_EPOLL_H

#include "supervisor/os/adopt.h"

/* Fills in epolls and epoll[], as far as /proc tells them. */
void adopt_epoll_look(struct adopt_request *request);

/* False if a set could not be told of socket_fd: the worker will not hear of its connections. */
bool adopt_epoll_join(const struct adopt_request *request, int socket_fd);

#endif
