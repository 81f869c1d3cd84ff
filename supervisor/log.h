/*
 * log - clusterd's own log, and the way out for captured output.
 *
 * GLUE. Never blocks the loop, never dies of what it writes to: lines wait in two
 * bounded buffers; what does not fit, or can not be written, is counted and said
 * (log.lost) when there is room again. Loses and tears no line when the file is
 * reopened.
 *
 *   regular file      written by a thread, one write at a time, so a disk that stalls stops nobody;
 *                     every write ends with a whole line. Where there may be no thread more
 *                     (RLIMIT_NPROC, pids.max) it is written at once.
 *   pipe, terminal    through an open file description of our own (/proc/self/fd/N opened again,
 *                     O_NONBLOCK), because O_NONBLOCK on the inherited one would be seen by all
 *                     who share it. Whole lines of at most PIPE_BUF bytes are atomic (pipe(7)).
 *                     Where it can not be opened again (another user's): poll(2) first, then
 *                     PIPE_BUF bytes at most, which only another writer in between can make wait.
 *   socket            send(2) with MSG_DONTWAIT: journald's stream
 *   other devices     written at once (/dev/null, /dev/full)
 *
 * What can be written at once is: in the first turn of the loop and before it always,
 * so that errors of the start are seen; on standard error if the file does not take
 * them, and also if it does, until log_started(), for whoever starts clusterd does not
 * look into the file. log_open() sets SIGPIPE and SIGXFSZ to be ignored. Time stamps are
 * left out, and sd-daemon(3) priorities put in front, when JOURNAL_STREAM says that
 * standard error is the journal (systemd.exec(5)).
 */
#ifndef CLUSTERD_SUPERVISOR_LOG_H
#define CLUSTERD_SUPERVISOR_LOG_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <uv.h>

#include "config/policy.h"
#include "supervisor/core/logline.h"

enum {
	LOG_BUFFER_MAX = 256 * 1024, /* bytes of each of the two buffers */
	LOG_RESERVE = 64 * 1024,     /* of it only clusterd's own lines may use this much */
	LOG_CLOSE_MS = 1000,         /* how long log_close() waits for a slow sink */
};

/*
 * Gets every event as one JSON line, newline included, with a time stamp, whatever the
 * level of the log. `slot` is -1 for an event without one. Must not log.
 */
typedef void log_tap_line(void *context, enum log_id id, int64_t slot, const char *json,
                          size_t size);
/* Gets every captured line of a worker, escaped, without newline. Must not log. */
typedef void log_tap_output(void *context, uint32_t slot, bool is_error, const char *text,
                            size_t size);

/* Belongs to whoever added it; it must be removed before it goes. */
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

/* Who must let go before the log closes: log_close() calls it once. */
struct log_user {
	struct log_user *next;
	void (*stop)(struct log_user *user);
};

enum log_sink { LOG_SINK_NONE, LOG_SINK_FILE, LOG_SINK_STREAM, LOG_SINK_SOCKET, LOG_SINK_DEVICE };

struct log_target {
	int fd; /* -1: none */
	enum log_sink kind;
	bool owned;  /* close it */
	bool polite; /* the description is shared and blocks: poll first */
};

/* Whole lines; text[0] is kept free for the newline that ends a torn line. */
struct log_buffer {
	char *text;
	size_t used;
	size_t done;      /* written so far */
	size_t notice;    /* where a log.lost line in it ends, or 0 */
	uint64_t telling; /* `lost` as that line says it */
};

struct log_writer;

/* Private to log*.c. */
struct log {
	char name[NAME_TEXT_MAX];
	char file[PATH_TEXT_MAX]; /* "-": standard error */
	enum log_format format;
	enum log_level level;
	uint64_t lost;        /* lines ever lost */
	uint64_t told;        /* as far as a log.lost that was written has said it */
	uint64_t output_lost; /* captured lines for which there was no room */
	int error;            /* errno of the last write, 0 if it succeeded */

	uv_loop_t *loop;
	struct log_target target;
	struct log_target next; /* written to once `out` is empty; fd -1: none */
	struct log_buffer fill, out;
	struct log_writer *writer; /* the thread that writes to files; NULL until it is needed */
	bool writing;              /* it does */
	bool resting;              /* it ends when it does not */
	uv_async_t done;           /* it has */
	int watch_fd;        /* epoll: waits for the target, which uv_poll_t must not touch */
	uv_poll_t watch;
	bool watching;
	uv_prepare_t prepare;
	uv_idle_t no_wait; /* on while somebody waits for room that is there already */
	unsigned handles;
	bool open;
	bool journal;
	bool running; /* the loop runs */
	bool starting; /* errors go to standard error, too */
	bool stalled; /* the last log_flush() gave up */
	bool torn;    /* the last line that reached the sink has no newline */
	struct log_tap *taps;
	struct log_waiter *waiters, **waiters_end;
	struct log_user *users;
};

/*
 * Opens the log: `file` is "-" for standard error or a path. Returns 0, or -errno: then
 * the log is open all the same, on standard error. The struct must not move while open.
 */
int log_open(struct log *log, uv_loop_t *loop, const char *name, enum log_format format,
             enum log_level level, const char *file);

/* The start has succeeded: errors go to the file alone. */
void log_started(struct log *log);

/*
 * Flushes for at most LOG_CLOSE_MS, closes, and turns the loop until its handles are gone:
 * call it when the loop does not run, before uv_loop_close(). May be called twice, and on a
 * struct that is all zero.
 */
void log_close(struct log *log);

/* Other format, level or file from now on. On an error, -errno, the old file goes on and log.reopen
 * has said so. */
int log_configure(struct log *log, enum log_format format, enum log_level level, const char *file);

/* Why a file could not be opened, from -errno. */
static inline const char *log_error(int error)
{
	return error == -ELOOP ? "it is a symbolic link, which is not followed (and - is standard error)" : strerror(-error);
}

/* Whether log_configure() could open that file now: 0, or -errno. It makes the file. */
int log_try(const char *file);

/* Opens the file of the policy (again): USR1, after a rename, or when it could not be had at an upgrade. As above. */
int log_reopen(struct log *log, const char *file);

/* Writes what waits, for at most timeout_ms: at the end, and before clusterd executes its successor.
 * True if all is written. */
bool log_flush(struct log *log, unsigned timeout_ms);

/* From now on, or no more, the thread that writes to a file ends when it has nothing to write, and the
 * next line has another one: execve(2) would wait for its end. */
void log_rest(struct log *log, bool resting);

/*
 * For an upgrade: what could not be written yet, in its order, and the counts. The text is borrowed.
 * log_import() is for a log that has just been opened: it copies the text, which goes out first.
 */
struct log_image {
	const char *text[2];
	size_t size[2]; /* each below LOG_BUFFER_MAX */
	uint64_t lost, told, output_lost;
};
void log_export(const struct log *log, struct log_image *ret);
void log_import(struct log *log, const struct log_image *image);

/* One event, at the level of event.def or at another. errno is left alone. */
void log_event(struct log *log, enum log_id id, const struct log_field *fields, size_t count);
void log_event_at(struct log *log, enum log_id id, enum log_level level,
                  const struct log_field *fields, size_t count);

/* The same with the fields counted: LOG(log, LOG_SCALE, F_NUM("from", 2), F_NUM("to", 4)). */
#define LOG_FIELDS(...) ((const struct log_field[]){ __VA_ARGS__ })
#define LOG_COUNT(...) (sizeof LOG_FIELDS(__VA_ARGS__) / sizeof(struct log_field))
#define LOG(log, id, ...) log_event(log, id, LOG_FIELDS(__VA_ARGS__), LOG_COUNT(__VA_ARGS__))
#define LOG_AT(log, id, level, ...)                                                                \
	log_event_at(log, id, level, LOG_FIELDS(__VA_ARGS__), LOG_COUNT(__VA_ARGS__))

/* For errors before there is a log: one line on standard error, escaped. */
void log_early(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t log_lost(const struct log *log);

/* Why lines are lost now, "" once all that were are told in the log. Valid until the next call. */
const char *log_problem(const struct log *log);
uint64_t output_lost(const struct log *log);

void log_tap_add(struct log *log, struct log_tap *tap);
void log_tap_remove(struct log *log, struct log_tap *tap);

/* ---- for output.c ---- */

/* Bytes of captured lines that fit now. */
size_t log_room(const struct log *log);

/*
 * Where the next log_room() bytes go; log_commit() says how many were written there:
 * whole lines. log_push() then sends them on their way, once per turn.
 */
char *log_space(struct log *log);
void log_commit(struct log *log, size_t size);
void log_push(struct log *log);

/* Calls waiter->room once when at least half of a buffer is free. */
void log_wait(struct log *log, struct log_waiter *waiter);
void log_wait_stop(struct log *log, struct log_waiter *waiter);

void log_user_add(struct log *log, struct log_user *user);
void log_user_remove(struct log *log, struct log_user *user);

/* Unix time in milliseconds, for time stamps only. */
int64_t log_wall_ms(void);

#endif
