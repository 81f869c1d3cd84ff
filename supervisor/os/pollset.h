/*
 * pollset - many descriptors behind one.
 *
 * An epoll(7) set which is itself watched by the loop. To begin with a descriptor and to end with
 * it is one system call each; uv_poll_t makes five and two (it tries the descriptor, and sets
 * O_NONBLOCK), which at two descriptors a worker is a tenth of a respawn.
 *
 * Level-triggered, for reading. The caller drops a descriptor before it closes it: a child that is
 * between its fork and its execve(2) has a copy, and with that the set would go on reporting it.
 *
 * Errors  a negative errno. Limits: the kernel's fs.epoll.max_user_watches.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_POLLSET_H
#define CLUSTERD_SUPERVISOR_OS_POLLSET_H

#include <sys/epoll.h>

/* A close-on-exec fd that belongs to the caller. It is readable while any of its members is. */
int pollset_open(void);

/* From now on `owner` is reported (as event.data.ptr) while the fd is readable or hung up. */
int pollset_add(int set, int fd, void *owner);

int pollset_drop(int set, int fd);

/* What is readable now, at most `max`: how many. Does not wait. */
int pollset_look(int set, struct epoll_event *events, int max);

#endif
