/*
 * pidfile - a pid file that is locked as long as its owner lives.
 *
 * The lock (flock) is the truth, the digits are for people. The file is emptied
 * only after it was locked, so a second start never damages the first's. A
 * symbolic link, a hard link, a fifo, a device or a directory is refused
 * (CVE-2016-1247 and its kin).
 */
#ifndef CLUSTERD_SUPERVISOR_OS_PIDFILE_H
#define CLUSTERD_SUPERVISOR_OS_PIDFILE_H

#include <sys/types.h>

struct pidfile {
	int fd; /* holds the lock */
	dev_t dev;
	ino_t ino;
};

/* -EWOULDBLOCK: another process holds it, its pid in *ret_owner (0 if it is not readable);
 * -ELOOP, -EMLINK, -EISDIR, -EINVAL: not a plain file of one name. */
int pidfile_open(const char *path, struct pidfile *ret, pid_t *ret_owner, const char **failed);

/* Why it is none, from -errno: a sentence where the kernel's word would puzzle. */
const char *pidfile_reason(int error);

/* As pidfile_open() for another kind of file: it is made with this mode if it is missing, locked, and left as
 * it is. *ret_owner: the number it begins with, if any. */
int pidfile_lock(const char *path, mode_t mode, struct pidfile *ret, pid_t *ret_owner,
		 const char **failed);

/* Unlinks it if the path still is our file, and lets go of the lock. */
void pidfile_close(struct pidfile *file, const char *path);

#endif
