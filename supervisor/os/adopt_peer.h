/*
 * adopt_peer - what can be learnt about a socket in another process.
 *
 * Part of adopt. By pidfd_getfd(2) where that is allowed (same rights as ptrace(2); Docker's
 * profile denies it), else by /proc.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ADOPT_PEER_H
#define CLUSTERD_SUPERVISOR_OS_ADOPT_PEER_H

#include "supervisor/os/adopt.h"

/* Fills in all from pid to option[], from tid and fd. What can not be learnt keeps its "unknown".
 */
void adopt_peer_look(struct adopt_request *request);

/* A duplicate of an fd of the caller's, or -1. */
int adopt_peer_fd(const struct adopt_request *request, int fd);

/* Copies the socket address at `at` in the caller's memory. Sets address and length, or error. */
void adopt_peer_address(struct adopt_request *request, uint64_t at, uint64_t length);

#endif
