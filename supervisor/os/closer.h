/*
 * closer - closes descriptors that somebody else has sent.
 *
 * close(2) of the last copy of a file takes as long as whoever made it likes: that of a TCP
 * connection with SO_LINGER waits for its peer, whatever O_NONBLOCK says, and a unix socket may
 * hold such a connection. So each lot is closed by a thread that lives for nothing else. A pipe
 * never waits, and is what sd_notify_barrier(3) sends: it is closed at once.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_CLOSER_H
#define CLUSTERD_SUPERVISOR_OS_CLOSER_H

#include <stddef.h>

enum { CLOSERS_MAX = 16 };

/*
 * Closes them; the numbers are free when it returns, or soon after. It does not wait, unless
 * CLOSERS_MAX lots are still waiting, or there is no memory for a thread: then they are
 * closed in place, sockets without their linger.
 */
void closer_close(const int *fds, size_t count);

#endif
