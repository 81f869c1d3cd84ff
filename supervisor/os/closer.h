/*
 * closer - closes descriptors that somebody else has sent, or has sent something to.
 *
 * close(2) of the last copy of a file takes as long as whoever made it likes: that of a TCP
 * connection with SO_LINGER waits for its peer, whatever O_NONBLOCK says, and a unix socket may
 * hold such a connection in its queue. So each lot is closed by a thread that lives for nothing
 * else, and is cancelled after CLOSER_MS if its place is needed; the sockets that are left in the lot
 * then lose their linger. A pipe never waits, and is what sd_notify_barrier(3) sends: it is closed at
 * once. One thread calls all of this.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_CLOSER_H
#define CLUSTERD_SUPERVISOR_OS_CLOSER_H

#include <stdbool.h>
#include <stddef.h>

enum {
	CLOSER_FDS_MAX = 253, /* in one lot: SCM_MAX_FD, more than which no message brings */
	CLOSER_LOTS = 16,     /* at a time */
	CLOSER_OWN = 3,       /* of these for what came by one socket */
	CLOSER_FDS = 64,      /* of these in all, so that they do not use up what a process may open */
	CLOSER_MS = 1000,
};

/*
 * May another lot be taken in that came by `socket`, or by none (-1)? If not, ask again soon: what has
 * waited for too long is ended. Not all of it can be: close(2) of a file may wait for a file system that
 * its sender serves, and then only the sender is not heard any more.
 */
bool closer_has_room(int socket);

/*
 * Closes them, at most CLOSER_FDS_MAX. It does not wait after closer_has_room() was true, unless
 * there are no resources for a thread: then they are closed in place, sockets without their linger.
 */
void closer_close(int socket, const int *fds, size_t count);

/*
 * Takes over a socket of ours with something in it that nobody has read. It does not wait: one that
 * finds no room stays open until one of these is called and there is some. Without memory for that
 * it is closed in place.
 */
void closer_take(int fd);

/*
 * To be called before execve(2), which closes in the place of its caller what no thread has begun with, and
 * waits: sockets lose their linger, and those of AF_UNIX stay open past it, for good, as what is in their
 * queues can not be reached. No fd is opened in between. Takes 20 ms at most.
 */
void closer_leave(void);

#endif
