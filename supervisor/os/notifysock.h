/*
 * notifysock - the NOTIFY_SOCKET of one worker (sd_notify(3)).
 *
 * Every worker has a socket of its own: who speaks is known by where the message
 * came in, not by credentials, which root can forge; and one noisy worker
 * fills only its own queue (net.unix.max_dgram_qlen, 10 messages).
 *
 * The address is an abstract name that the kernel picks (unix(7), autobind): it
 * needs no directory, leaves nothing behind, and a worker of any uid can send to
 * it. So can any local process, as with /run/systemd/notify; therefore the
 * sender's uid and pid are handed over for the caller to refuse strangers.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_NOTIFYSOCK_H
#define CLUSTERD_SUPERVISOR_OS_NOTIFYSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	NOTIFYSOCK_TEXT_MAX = 4096,
	NOTIFYSOCK_NAME_MAX = 32,
};

struct notifysock_message {
	pid_t pid; /* of the sender, 0 if the kernel gave none */
	uid_t uid;
	bool cut;                           /* the datagram was longer than the text */
	int fds;                            /* how many fds came along; none is open for long */
	size_t size;                        /* of text */
	char text[NOTIFYSOCK_TEXT_MAX + 1]; /* and a NUL; there may be others in it */
};

/* Opens one; `name` is the value for NOTIFY_SOCKET, "@…". The fd is non-blocking, close-on-exec. */
int notifysock_open(char name[NOTIFYSOCK_NAME_MAX], int *ret_fd, const char **failed);

/*
 * Takes one datagram: 1 and *ret, 0 if there is none, or -errno. Ask closer_has_room(fd) first: fds
 * that came along go to closer.h; pipes are closed before it returns: that is what BARRIER=1 waits for,
 * and it is true, because everything sent before has been handled by then.
 */
int notifysock_receive(int fd, struct notifysock_message *ret);

/* Closes it and forgets it. What nobody has read may hold fds, so that is left to closer.h. */
void notifysock_close(int *fd);

#endif
