/*
 * log_writer - a thread that writes for the log, so that a disk that stalls stops nobody.
 *
 * GLUE, private to log_sink.c. Not libuv's thread pool: that calls abort(3) where it can not make
 * its threads, and the log is needed most when a limit of processes is reached.
 */
#ifndef CLUSTERD_SUPERVISOR_LOG_WRITER_H
#define CLUSTERD_SUPERVISOR_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct log_writer;

struct log_written {
	size_t size;
	int error; /* errno of the write that failed, 0 if all is written */
};

/*
 * Starts the thread. 0, or -errno: -EAGAIN when there may be no thread more. `done` is the caller's,
 * and is sent after each write.
 */
int log_writer_create(uv_async_t *done, struct log_writer **ret);

/* Writes all of the text, which must stay until that has ended. One at a time. */
void log_writer_begin(struct log_writer *writer, int fd, const char *text, size_t size);

/* Waits until deadline_ms of the monotonic clock at most, 0 = not at all. True if the write that was
 * begun has ended; it is told once. */
bool log_writer_wait(struct log_writer *writer, uint64_t deadline_ms, struct log_written *ret);

/*
 * Ends the thread; NULL is none. False while a write hangs in the kernel: that can not be called off,
 * so the thread stays until the process ends, and what it writes must stay too.
 */
bool log_writer_destroy(struct log_writer *writer);

#endif
