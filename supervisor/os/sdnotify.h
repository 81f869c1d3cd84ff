/*
 * sdnotify - clusterd's own word to the service manager (sd_notify(3)).
 *
 * Nothing here blocks or fails loudly: without NOTIFY_SOCKET each call is 0 and
 * does nothing; a full queue is -EAGAIN, and the state is sent with the next call.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SDNOTIFY_H
#define CLUSTERD_SUPERVISOR_OS_SDNOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct sdnotify {
	int fd;         /* -1: nobody listens */
	socklen_t size; /* exact: a NUL too many is another abstract name */
	struct sockaddr_un address;
};

enum { SDNOTIFY_TEXT_MAX = 512 };

/* `socket` is the value of NOTIFY_SOCKET or NULL. -EINVAL for what is no path and no @name. */
int sdnotify_init(struct sdnotify *sd, const char *socket, const char **failed);
void sdnotify_finish(struct sdnotify *sd);

/* 1 sent, 0 nobody listens, or -errno. `status` is one line for humans; NULL = none; cut to fit. */
int sdnotify_ready(const struct sdnotify *sd, const char *status);
int sdnotify_reloading(const struct sdnotify *sd, uint64_t monotonic_us);
int sdnotify_stopping(const struct sdnotify *sd, const char *status);
int sdnotify_status(const struct sdnotify *sd, const char *status);
int sdnotify_watchdog(const struct sdnotify *sd);

/*
 * WATCHDOG_USEC and WATCHDOG_PID, NULL when unset: half of the time, in ms, within
 * which sdnotify_watchdog() is due; 0 if none is asked of this process.
 */
uint64_t sdnotify_watchdog_ms(const char *usec, const char *pid);

#endif
