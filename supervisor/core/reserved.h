/*
 * reserved - names of environment variables that clusterd says something by.
 *
 * What clusterd itself was given by such a name was meant for it, or for another program: a worker
 * that took LISTEN_FDS or NOTIFY_SOCKET of somebody else for its own would do harm.
 *
 * Pure.
 */
#ifndef CLUSTERD_SUPERVISOR_CORE_RESERVED_H
#define CLUSTERD_SUPERVISOR_CORE_RESERVED_H

#include <stdbool.h>
#include <stdint.h>

/* `variable` is NAME or NAME=value. For what clusterd itself was given: whoever speaks by that name. */
bool env_reserved(const char *variable);

/* For what the policy says of the workers: only names that clusterd sets for these activation styles. */
bool env_spoken(const char *variable, uint32_t styles);

#endif
