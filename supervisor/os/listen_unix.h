/*
 * listen_unix - the part of listen.c for AF_UNIX; use listen.h.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_LISTEN_UNIX_H
#define CLUSTERD_SUPERVISOR_OS_LISTEN_UNIX_H

#include "supervisor/os/listen.h"

/* listen_open() for ADDRESS_UNIX, abstract names included. */
int listen_unix_open(const struct listen_spec *spec, struct listening *ret, const char **failed);

#endif
