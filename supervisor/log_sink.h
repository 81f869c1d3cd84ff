/*
 * log_sink - how log.c's buffers reach a file, a pipe, a terminal, a socket.
 *
 * GLUE, private to log.c.
 */
#ifndef CLUSTERD_SUPERVISOR_LOG_SINK_H
#define CLUSTERD_SUPERVISOR_LOG_SINK_H

#include <sys/types.h>

#include "supervisor/log.h"

/* Opens "-" or a path. 0 and *ret, or -errno. */
int log_target_open(const char *file, struct log_target *ret);
void log_target_close(struct log_target *target);

/* Bytes written, 0 when it takes none now, or -errno. */
ssize_t log_target_write(const struct log_target *target, const char *text, size_t size);

/* Handles, buffers and locks. 0, or -errno: log_sink_stop() must follow all the same. */
int log_sink_start(struct log *log);
void log_sink_stop(struct log *log);

/* Writes to this target from now on, between two lines. */
void log_sink_switch(struct log *log, const struct log_target *target);

/* In log.c: to standard error, at once. */
void log_write_early(const char *text, size_t size);

/* In log.c: adds log.lost to the buffer if there is something to tell and room. */
void log_tell_lost(struct log *log);

#endif
