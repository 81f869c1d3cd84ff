/*
 * listen - the sockets app serves: handed over by LISTEN_FDS, or its own.
 *
 * Protocol: sd_listen_fds(3). The variables are removed when read.
 * No logging: a failure is described in `complaint`.
 */
#ifndef APP_LISTEN_H
#define APP_LISTEN_H

#include <stddef.h>

enum { LISTEN_MAX = 64, LISTEN_COMPLAINT_MAX = 200 };

struct listen_sockets {
	int fds[LISTEN_MAX]; /* close-on-exec, owned by the caller */
	size_t count;        /* at least 1 on success */
	unsigned port;       /* of the socket we bound ourselves; 0 when handed over */
};

/* Returns 0, or an exit status of sysexits.h with a sentence in `complaint`. */
int listen_open(struct listen_sockets *ret_sockets, char complaint[LISTEN_COMPLAINT_MAX]);

#endif
