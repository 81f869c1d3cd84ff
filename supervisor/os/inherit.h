/*
 * inherit - the descriptors that clusterd itself was started with: 0, 1, 2 and sockets (sd_listen_fds(3)).
 *
 * The protocol: LISTEN_PID is our pid, LISTEN_FDS says how many, from fd 3 on,
 * LISTEN_FDNAMES names them, parted by colons.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_INHERIT_H
#define CLUSTERD_SUPERVISOR_OS_INHERIT_H

enum { INHERIT_MAX = 64, INHERIT_NAME_MAX = 64 };

struct inherited {
	int fd;                      /* moved away from 3…, close-on-exec */
	int number;                  /* what it was: 3, 4, … */
	char name[INHERIT_NAME_MAX]; /* "" if not named; a longer name is cut */
};

/*
 * Takes the sockets over: each is moved to a number of at least INHERIT_BASE and the old number is
 * closed. The texts are the values of the three variables, NULL when unset; the caller
 * unsets them, for they are not meant for the workers.
 *
 * Returns how many (0: none were meant for this process). As PID 1 a LISTEN_PID
 * of 1 is ours as it is. -EINVAL: a number is no number; -E2BIG: more than
 * INHERIT_MAX; -EBADF: an fd is not open, or was not passed but opened since (close-on-exec).
 * On error nothing has been closed.
 */
int inherit_take(const char *listen_pid, const char *listen_fds, const char *names,
		 struct inherited ret[INHERIT_MAX], const char **failed);

enum { INHERIT_BASE = 100 };

/*
 * Opens /dev/null in the place of each standard descriptor that is closed: the next socket would get its
 * number, and what is printed would go there. Without /dev/null they stay closed.
 */
void inherit_standard(void);

#endif
