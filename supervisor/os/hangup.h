/*
 * hangup - tells when a listening socket was shut down by one of its holders.
 *
 * An epoll instance that asks for nothing but the hang-up of the sockets in it:
 * shutdown(2) or connect(AF_UNSPEC) of a TCP listener shows as EPOLLHUP, of a unix
 * one as EPOLLRDHUP (epoll_ctl(2); net/ipv4/tcp.c, net/unix/af_unix.c). Connections
 * that arrive wake nobody. The epoll fd is itself pollable, so a loop that would
 * set O_NONBLOCK on whatever it watches never touches the shared sockets.
 *
 * Edge-triggered: each hang-up is told once.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_HANGUP_H
#define CLUSTERD_SUPERVISOR_OS_HANGUP_H

#include <stdint.h>

/* The caller owns *ret_fd. 0 or -errno. */
int hangup_open(int *ret_fd, const char **failed);

/* Adds a socket; `tag` comes back from hangup_next(). */
int hangup_watch(int epoll_fd, int fd, uint32_t tag, const char **failed);

/* Takes a socket out, before it is closed. */
int hangup_forget(int epoll_fd, int fd, const char **failed);

/* 1 and *ret_tag, 0 when no hang-up waits, or -errno. Never blocks. */
int hangup_next(int epoll_fd, uint32_t *ret_tag);

#endif
