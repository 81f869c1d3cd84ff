/*
 * watch - many sockets in one epoll set, which the loop sees as one handle.
 *
 * uv_poll_init() and uv_poll_start() take four calls of epoll_ctl(2) for each socket, uv_close()
 * one more: for a connection that asks once and goes, that is more than the answer takes. Here a
 * socket costs one, and one when it is closed.
 */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include <stdint.h>

#include <uv.h>

struct watch {
	void (*ready)(void *owner);
	uv_poll_t poll;
	int set; /* -1: not open */
};

/* `ready` is called for each socket that is ready, with its owner. 0 or an error of libuv. */
int watch_open(struct watch *watch, uv_loop_t *loop, void (*ready)(void *owner));

/*
 * From now on `fd` is waited for with these events: EPOLLIN, EPOLLOUT, or 0 for none; `*events` is
 * what it was, 0 before the first time, and is changed. Level-triggered. It has to be ended before
 * close(2), which does not end it while another descriptor refers to the socket: one in a process
 * that takes a look at what this one holds (pidfd_getfd(2)). 0 or -ENOMEM, -ENOSPC.
 */
int watch_for(const struct watch *watch, int fd, uint32_t *events, uint32_t wanted, void *owner);

#endif
