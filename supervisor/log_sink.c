/*
 * How lines reach the sink. A buffer is filled while the other one is written:
 *
 *   log_push   while nothing is under way: swap, then write as much as the sink takes;
 *              it goes on when the thread has written (FILE), or epoll says that
 *              there is room (STREAM, SOCKET)
 *
 * A write that fails loses the rest of its buffer, counted line by line; the next one
 * tries again, so that the log recovers when a full disk has space. A line cut in two by
 * that is ended with a newline before anything else is written, also by who opens the file
 * again: after a reopen, an upgrade, or the death of the clusterd before.
 */
#include "supervisor/log_sink.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "supervisor/log_writer.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/logsink.h"
#include "supervisor/os/scope.h"

/* ---- what was written ---- */

static size_t count_lines(const char *text, size_t size)
{
	size_t lines = 0;
	const char *end = text + size, *at;

	for (; (at = memchr(text, '\n', (size_t)(end - text))); text = at + 1)
		lines++;
	return lines;
}

static void wrote(struct log *log, size_t size)
{
	struct log_buffer *out = &log->out;

	out->done += size;
	log->torn = out->text[out->done - 1] != '\n';
	log->error = 0;
	if (out->notice && out->done >= out->notice) {
		log->told = out->telling;
		out->notice = 0;
	}
}

/*
 * The rest of the buffer is lost. A notice of earlier losses is no loss: it is made again. Why a
 * start fails must not be lost with it: before the loop runs it goes to standard error as well.
 */
static void lose(struct log *log, int error)
{
	struct log_buffer *out = &log->out;
	size_t from = out->done > 1 ? out->done : 1;

	if (!log->running && strcmp(log->file, "-") != 0)
		log_write_early(out->text + from, out->used - from);
	log->lost += count_lines(out->text + from, out->used - from) - (out->notice > 0);
	log->error = error;
	out->notice = 0;
	out->done = out->used;
}

/*
 * Called from the loop only, never by whoever fills the buffer: who still finds no room waits
 * again, and is called when the sink has taken more.
 */
static void wake(struct log *log)
{
	size_t count = 0;

	for (const struct log_waiter *w = log->waiters; w; w = w->next)
		count++;
	while (count-- > 0 && log->waiters && log->fill.used <= LOG_BUFFER_MAX / 2) {
		struct log_waiter *waiter = log->waiters;

		log_wait_stop(log, waiter);
		waiter->room(waiter);
	}
}

static void on_no_wait(uv_idle_t *idle)
{
	uv_idle_stop(idle);
	wake(idle->data);
}

/* ---- the thread ---- */

/* Takes what it has written, waiting until deadline_ms at most. False while it writes. */
static bool writer_take(struct log *log, uint64_t deadline_ms)
{
	struct log_written written;

	if (!log_writer_wait(log->writer, deadline_ms, &written))
		return false;
	log->writing = false;
	if (written.size > 0)
		wrote(log, written.size);
	if (written.error)
		lose(log, written.error);
	return true;
}

static void rest(struct log *log)
{
	if (log->resting && !log->writing && log_writer_destroy(log->writer))
		log->writer = NULL;
}

static void on_written(uv_async_t *async)
{
	struct log *log = async->data;

	if (log->writing)
		writer_take(log, 0);
	log_push(log);
	rest(log);
	wake(log);
}

/* False: it is to be written at once, as there may be no thread; the next time there may be. */
static bool writer_start(struct log *log)
{
	if (!log->writer && log_writer_create(&log->done, &log->writer) < 0)
		return false;
	log_writer_begin(log->writer, log->target.fd, log->out.text + log->out.done,
	                 log->out.used - log->out.done);
	log->writing = true;
	return true;
}

/* ---- waiting for the sink ---- */

static void watch_stop(struct log *log)
{
	if (log->watching)
		uv_poll_stop(&log->watch);
	log->watching = false;
}

static void on_writable(uv_poll_t *watch, int status, int events)
{
	struct log *log = watch->data;

	(void)status;
	(void)events;
	watch_stop(log);
	log_push(log);
	wake(log);
}

/* uv_poll_t would set O_NONBLOCK on the target, so it watches an epoll of ours that watches it. */
static int watch_start(struct log *log)
{
	struct epoll_event event = { .events = EPOLLOUT };
	int rc;

	if (log->watch_fd < 0)
		return -EBADF;
	epoll_ctl(log->watch_fd, EPOLL_CTL_DEL, log->target.fd, NULL);
	if (epoll_ctl(log->watch_fd, EPOLL_CTL_ADD, log->target.fd, &event) < 0)
		return -errno;
	rc = uv_poll_start(&log->watch, UV_READABLE, on_writable);
	log->watching = rc == 0;
	return rc;
}

/* ---- the flow ---- */

static void switch_target(struct log *log)
{
	log_target_close(&log->target);
	log->target = log->next;
	log->next = (struct log_target){ .fd = -1 };
	log->torn = logsink_torn(log->target.fd);
}

/* Makes what was filled the next thing to be written. False if there is nothing. */
static bool next_buffer(struct log *log)
{
	struct log_buffer filled = log->fill;

	if (log->next.fd >= 0)
		switch_target(log);
	if (filled.used <= 1)
		return false;
	log->fill = (struct log_buffer){ .text = log->out.text, .used = 1, .done = 1 };
	log->out = filled;
	log->out.done = log->torn ? 0 : 1;
	return true;
}

/*
 * A turn of the loop may be long, the start of a thousand workers is one: what the sink has taken
 * meanwhile is used at once and not when the turn is over. A stream is asked only when lines would
 * be lost soon.
 */
static void catch_up(struct log *log)
{
	if (log->writing)
		writer_take(log, 0);
	if (log->watching && log->fill.used > LOG_BUFFER_MAX / 2)
		watch_stop(log);
}

static bool busy(const struct log *log)
{
	return log->writing || log->watching;
}

static bool written(const struct log *log)
{
	return log->out.done == log->out.used;
}

/* One step of writing `out`. False when it goes on later. */
static bool advance(struct log *log)
{
	struct log_buffer *out = &log->out;
	ssize_t n;

	if (log->target.kind == LOG_SINK_FILE && log->running && writer_start(log))
		return false;
	n = log_target_write(&log->target, out->text + out->done, out->used - out->done);
	if (n > 0) {
		wrote(log, (size_t)n);
		return true;
	}
	if (n == 0 && watch_start(log) == 0)
		return false;
	lose(log, n < 0 ? (int)-n : EAGAIN);
	return true;
}

void log_push(struct log *log)
{
	catch_up(log);
	if (busy(log))
		return;
	do {
		while (!written(log))
			if (!advance(log))
				return;
		if (log->error == 0)
			log_tell_lost(log);
	} while (next_buffer(log));
	/* Nothing is under way any more that could wake them. */
	if (log->waiters)
		uv_idle_start(&log->no_wait, on_no_wait);
}

void log_sink_switch(struct log *log, const struct log_target *target)
{
	if (log->next.fd >= 0)
		log_target_close(&log->next);
	log->next = *target;
	/* A reader that has stalled is not waited for: what it has not taken goes to the new one. */
	if (log->watching) {
		watch_stop(log);
		switch_target(log);
	}
	log_push(log);
}

/* ---- without the loop ---- */

static bool target_wait(struct log *log, uint64_t deadline_ms)
{
	struct pollfd p = { .fd = log->target.fd, .events = POLLOUT };
	uint64_t now = clock_ms();

	watch_stop(log);
	return now < deadline_ms && poll(&p, 1, (int)(deadline_ms - now)) != 0;
}

static bool flush(struct log *log, uint64_t deadline_ms)
{
	for (;;) {
		log_push(log);
		if (!busy(log))
			return true;
		if (log->writing && !writer_take(log, deadline_ms))
			return false;
		if (log->watching && !target_wait(log, deadline_ms))
			return false;
	}
}

bool log_flush(struct log *log, unsigned timeout_ms)
{
	if (log->open)
		log->stalled = !flush(log, clock_ms() + timeout_ms);
	return !log->stalled;
}

/* ---- the beginning ---- */

static void on_first_turn(uv_prepare_t *prepare)
{
	struct log *log = prepare->data;

	log->running = true;
	uv_prepare_stop(prepare);
}

static int watch_init(struct log *log)
{
	int rc;

	log->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (log->watch_fd < 0)
		return -errno;
	rc = uv_poll_init(log->loop, &log->watch, log->watch_fd);
	if (rc < 0) {
		fd_close(&log->watch_fd);
		return rc;
	}
	log->watch.data = log;
	log->handles++;
	uv_unref((uv_handle_t *)&log->watch);
	return 0;
}

static int buffers_init(struct log *log)
{
	log->fill.text = malloc(LOG_BUFFER_MAX);
	log->out.text = malloc(LOG_BUFFER_MAX);
	if (!log->fill.text || !log->out.text)
		return -ENOMEM;
	log->fill.text[0] = log->out.text[0] = '\n';
	log->fill.used = log->fill.done = log->out.used = log->out.done = 1;
	return 0;
}

int log_sink_start(struct log *log)
{
	int rc = buffers_init(log);

	if (rc < 0)
		return rc;
	rc = uv_async_init(log->loop, &log->done, on_written);
	if (rc < 0)
		return rc;
	log->done.data = log;
	log->handles++;
	uv_unref((uv_handle_t *)&log->done);
	uv_prepare_init(log->loop, &log->prepare);
	log->prepare.data = log;
	log->handles++;
	uv_prepare_start(&log->prepare, on_first_turn);
	uv_unref((uv_handle_t *)&log->prepare);
	uv_idle_init(log->loop, &log->no_wait);
	log->no_wait.data = log;
	log->handles++;
	uv_unref((uv_handle_t *)&log->no_wait);
	return watch_init(log);
}

void log_rest(struct log *log, bool resting)
{
	log->resting = resting;
	rest(log);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
	struct log *log = handle->data;

	log->handles--;
}

/* What a write that hangs in the kernel uses is left to the end of the process. */
void log_sink_stop(struct log *log)
{
	bool hangs = !log_writer_destroy(log->writer);

	log->writer = NULL;
	if (log->handles > 0) {
		uv_close((uv_handle_t *)&log->done, on_closed);
		uv_close((uv_handle_t *)&log->prepare, on_closed);
		uv_close((uv_handle_t *)&log->no_wait, on_closed);
	}
	if (log->watch_fd >= 0)
		uv_close((uv_handle_t *)&log->watch, on_closed);
	while (log->handles > 0)
		uv_run(log->loop, UV_RUN_NOWAIT);
	if (hangs)
		return;
	fd_close(&log->watch_fd);
	free(log->fill.text);
	free(log->out.text);
	log_target_close(&log->target);
	if (log->next.fd >= 0)
		log_target_close(&log->next);
}
