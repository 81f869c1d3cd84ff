/*
 * log - clusterd's own log, and the way out for captured output.
 *
 * GLUE. Never blocks the loop, never dies of what it writes to: lines wait in two
 * bounded buffers; what does not fit, or can not be written, is counted and said
 * (log.lost) when there is room again. Loses and tears no line when the file is
 * reopened.
 *
 *   regular file      written by libuv's thread pool, one write at a time, so a disk that stalls
 *                     stops nobody; every write ends with a whole line
 *   pipe, terminal    through an open file description of our own (/proc/self/fd/N opened again,
 *                     O_NONBLOCK), because O_NONBLOCK on the inherited one would be seen by all
 *                     who share it. Whole lines of at most PIPE_BUF bytes are atomic (pipe(7)).
 *                     Where it can not be opened again: poll(2) first, then PIPE_BUF at most.
 *   socket            send(2) with MSG_DONTWAIT: journald's stream
 *   other devices     written at once (/dev/null, /dev/full)
 *
 * A line is written at once if it can be: until the loop runs always, so that errors
 * of the start are seen. log_open() sets SIGPIPE and SIGXFSZ to be ignored.
 */
#ifndef CLUSTERD_SUPERVISOR_LOG_H
#define CLUSTERD_SUPERVISOR_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config/policy.h"
#include "supervisor/core/logline.h"

enum {
	LOG_BUFFER_MAX = 512 * 1024, /* bytes of each of the two buffers */
	LOG_RESERVE = 64 * 1024,     /* of it only clusterd's own lines may use this much */
};

/* Gets every event as one JSON line with a time stamp, whatever the level of the log. `slot` is -1
 * for an event without one. */
typedef void log_tap_line(void *context, enum log_id id, int64_t slot, const char *json, size_t size);
/* Gets every captured line of a worker, escaped, without newline. */
typedef void log_tap_output(void *context, uint32_t slot, bool error, const char *text, size_t size);

/* Belongs to whoever added it; it must be removed before it goes. Callbacks must not log. */
struct log_tap {
	struct log_tap *next;
	log_tap_line *line;     /* or NULL */
	log_tap_output *output; /* or NULL */
	void *context;
};

/* Called once, from the loop, when captured output may be written again. */
struct log_waiter {
	struct log_waiter *next;
	void (*room)(struct log_waiter *waiter);
	bool waiting;
};

enum log_sink { LOG_SINK_NONE, LOG_SINK_FILE, LOG_SINK_STREAM, LOG_SINK_SOCKET, LOG_SINK_DEVICE };

/* One of the two buffers: whole lines only. */
struct log_buffer {
	char *text;
	size_t used;
	size_t done; /* written so far */
};

/* Everything here is private to log*.c but name, format, level, lost and output_lost. */
struct log {
	char name[NAME_TEXT_MAX];
	enum log_format format;
	enum log_level level;
	uint64_t lost;        /* lines ever lost, clusterd's own */
	uint64_t output_lost; /* lines ever lost, captured ones */

	uv_loop_t *loop;
	char file[PATH_TEXT_MAX]; /* "-": standard error */
	int fd;
	bool own_fd;              /* close it */
	bool polite;              /* the description is shared and blocks: poll first */
	bool journal;             /* no time stamps, <N> in front */
	enum log_sink sink;
	int next_fd;              /* to be written to once the present write has ended; -1 none */
	struct log_buffer fill, out;
	struct log_job *job;      /* the write of the thread pool */
	bool busy;                /* `out` is being written by it, or waits for the poll */
	bool running;             /* the loop runs */
	bool torn;                /* the last line that reached the sink has no newline */
	uint64_t told;            /* of `lost`, as far as said */
	uint64_t telling;         /* `lost` when the notice in the buffers was made; 0 none */
	int error;                /* errno of the last write that failed */
	struct log_tap *taps;
	struct log_waiter *waiters, **waiters_end;
	uv_poll_t *poll;
	uv_prepare_t *prepare;
	unsigned handles;
};

/*
 * Opens the log: `file` is "-" for standard error or a path. All errors are
 * already told on standard error. Returns 0 or -errno; then log_event() still works
 * and writes to standard error. The struct must not move after it.
 */
int log_open(struct log *log, uv_loop_t *loop, const char *name, enum log_format format,
             enum log_level level, const char *file);

/* Flushes for at most a second, closes, and runs the loop until its handles are gone: call it when
 * the loop does not run, before uv_loop_close(). NULL-safe after a zeroed struct, and twice. */
void log_close(struct log *log);

/* Other format, level or file from now on. 0 or -errno: then the old file goes on, and that was
 * logged. */
int log_configure(struct log *log, enum log_format format, enum log_level level, const char *file);

/* Opens the file again (USR1, after a rename). On an error the old one goes on, and that was logged. */
int log_reopen(struct log *log);

/* Writes what waits, synchronously, for at most timeout_ms. Returns true if all is written. For the
 * end, and before clusterd executes its successor. */
bool log_flush(struct log *log, unsigned timeout_ms);

/* One event, at the level of event.def, or at another. errno is left alone. */
void log_event(struct log *log, enum log_id id, const struct log_field *fields, size_t count);
void log_event_at(struct log *log, enum log_id id, enum log_level level,
                  const struct log_field *fields, size_t count);

/* The same with the fields counted: LOG(log, LOG_SCALE, F_NUM("from", 2), F_NUM("to", 4)). */
#define LOG(log, id, ...)                                                                          \
	log_event(log, id, (const struct log_field[]){ __VA_ARGS__ },                              \
	          sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))
#define LOG_AT(log, id, level, ...)                                                                \
	log_event_at(log, id, level, (const struct log_field[]){ __VA_ARGS__ },                    \
	             sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

/* LOG_NOTE with a text made like printf does. */
void log_note(struct log *log, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For errors before there is a log: one line on standard error, as it is. */
void log_early(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

void log_tap_add(struct log *log, struct log_tap *tap);
void log_tap_remove(struct log *log, struct log_tap *tap);

/* ---- for output.c ---- */

/*
 * Space for `size` bytes of captured lines, or NULL when there is none now.
 * log_commit() says how many of them were used: whole lines; log_push() sends
 * them on their way, once a turn.
 */
char *log_reserve(struct log *log, size_t size);
size_t log_room(const struct log *log);
void log_commit(struct log *log, size_t size);
void log_push(struct log *log);

/* Calls waiter->room when half of the buffer is free. Waiting ends with log_wait_stop(). */
void log_wait(struct log *log, struct log_waiter *waiter);
void log_wait_stop(struct log *log, struct log_waiter *waiter);

#endif
