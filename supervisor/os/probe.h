/*
 * probe - a connection to one very worker of a steered group.
 *
 * The program of the group sends a connection whose source port is base + seat, and
 * whose source is loopback, to that seat's socket (steer_program.h), so the source
 * port is the address. SO_LINGER 0: closing leaves nothing in TIME_WAIT that would
 * keep the port from the next probe.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_PROBE_H
#define CLUSTERD_SUPERVISOR_OS_PROBE_H

#include <stdint.h>
#include <sys/socket.h>

/*
 * Begins to connect to where a listener is bound (a wildcard means loopback).
 * Returns 0 and *ret_fd, non-blocking and close-on-exec, the caller's: it is
 * writable when the connection stands, and has an error otherwise. Or -errno.
 */
int probe_connect(const struct sockaddr_storage *listener, uint16_t source_port, int *ret_fd,
                  const char **failed);

/* Error of a connection that was being made, 0 when it stands. */
int probe_error(int fd);

#endif
