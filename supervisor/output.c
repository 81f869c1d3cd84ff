#include "supervisor/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/core/escape.h"
#include "supervisor/output_internal.h"
#include "supervisor/output_line.h"
#include "supervisor/os/scope.h"

enum {
	READ_MAX = 256 * 1024,
	ROOM_MIN = 32 * 1024, /* with less a pipe that may block its writer is not read */
	FLUSHES_MAX = 16, /* of the log, for one pipe, when it closes */
};

/* ---- the last words ---- */

size_t output_tail(const struct output *o, char *ret, size_t size)
{
	return tail_text(&o->tail, ret, size);
}

const char *output_last_line(struct output *o)
{
	return tail_last_line(&o->tail);
}

/* ---- lines ---- */

static void tell_lost(struct output *o)
{
	if (o->lost == o->told)
		return;
	if (log_room(o->log) < ROOM_MIN) {
		log_wait(o->log, &o->waiter);
		return;
	}
	LOG(o->log, LOG_OUTPUT_LOST, F_NUM("slot", o->slot), F_NUM("lines", o->lost - o->told),
	    F_NUM("total", o->lost));
	o->told = o->lost;
}

/* False when the line has to wait. */
static bool put_line(struct output *o, struct output_batch *batch, const char *text, size_t size,
                     bool cut)
{
	if (output_batch_add(batch, text, size, cut))
		return true;
	if (o->overflow == OVERFLOW_BLOCK && o->log->open)
		return false;
	o->lost++;
	o->log->output_lost++;
	return true;
}

/* Logs the lines of `text`; returns how many bytes that were. `last` says that no more will come. */
static size_t put_lines(struct output *o, bool error, const char *text, size_t size, bool last)
{
	struct output_batch batch;
	size_t at = 0;

	output_batch_begin(&batch, o->log, o->slot, error, text, size);
	while (at < size) {
		size_t left = size - at;
		size_t most = left < batch.line_max + 1 ? left : batch.line_max + 1;
		const char *end = memchr(text + at, '\n', most);
		size_t length = end ? (size_t)(end - text) - at : left;
		bool cut = length > batch.line_max;

		if (!end && !cut && !last)
			break;
		if (cut)
			length = utf8_cut(text + at, batch.line_max);
		if (!put_line(o, &batch, text + at, length, cut))
			break;
		at += length + (end && !cut ? 1 : 0);
	}
	output_batch_end(&batch);
	return at;
}

/* ---- pipes ---- */

static void output_free(struct output *o)
{
	log_wait_stop(o->log, &o->waiter);
	log_user_remove(o->log, &o->user);
	for (int i = 0; i < 2; i++)
		free(o->streams[i].held);
	free(o->tail.text);
	free(o);
}

static void on_closed(uv_handle_t *handle)
{
	struct stream *stream = handle->data;
	struct output *o = stream->output;

	if (--o->handles == 0 && o->closing)
		output_free(o);
}

void stream_close(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	uv_poll_stop(&stream->poll);
	uv_close((uv_handle_t *)&stream->poll, on_closed);
	fd_close(&stream->fd);
	free(stream->held);
	stream->held = NULL;
	stream->held_size = 0;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void pause_reading(struct stream *stream)
{
	uv_poll_stop(&stream->poll);
	stream->paused = true;
	log_wait(stream->output->log, &stream->output->waiter);
}

/* Keeps what is left for later. Without memory it is logged as if it were a line. */
static void hold(struct stream *stream, const char *text, size_t size)
{
	char *held = size > 0 ? malloc(size) : NULL;

	free(stream->held);
	stream->held = held;
	stream->held_size = held ? size : 0;
	if (held)
		memcpy(held, text, size);
	else if (size > 0 && put_lines(stream->output, stream->error, text, size, true) < size)
		stream->output->lost++;
}

enum outcome { MORE, NOTHING, ENDED, NO_ROOM };

/* One read(2) behind what is held. */
static enum outcome read_more(struct stream *stream, char *text, size_t size, size_t *ret_read)
{
	ssize_t n = read(stream->fd, text, size);

	if (n > 0) {
		if (stream->error)
			tail_keep(&stream->output->tail, text, (size_t)n);
		*ret_read = (size_t)n;
		return MORE;
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? NOTHING : ENDED;
}

/* Logs what is held and what one read of at most `size` bytes brings. */
static enum outcome take(struct stream *stream, size_t size, size_t *ret_read)
{
	static char text[OUTPUT_LINE_MAX + READ_MAX];
	size_t used = stream->held_size, logged;
	enum outcome outcome = MORE;

	*ret_read = 0;
	if (used > 0)
		memcpy(text, stream->held, used);
	if (used <= OUTPUT_LINE_MAX) /* else lines that found no room go first */
		outcome = read_more(stream, text + used, size, ret_read);
	used += *ret_read;
	logged = put_lines(stream->output, stream->error, text, used, outcome == ENDED);
	if (logged > 0 || *ret_read > 0)
		hold(stream, text + logged, used - logged);
	if (used - logged > OUTPUT_LINE_MAX || (outcome == ENDED && logged < used))
		return NO_ROOM;
	/* Nobody may write any more: what is left is no line yet, or it waits for room. */
	if (outcome == NOTHING && memchr(text + logged, '\n', used - logged))
		return NO_ROOM;
	return outcome;
}

/* How much to read when nothing may be dropped; 0 for not now. */
static size_t room_for_block(struct log *log)
{
	if (log_room(log) < ROOM_MIN)
		log_push(log);
	return log_room(log) < ROOM_MIN ? 0 : log_room(log);
}

/* Reads up to `most` bytes. */
static enum outcome take_all(struct stream *stream, size_t most)
{
	struct output *o = stream->output;
	enum outcome outcome = MORE;
	size_t n;

	while (outcome == MORE && most > 0) {
		size_t size = most < READ_MAX ? most : READ_MAX;

		if (o->overflow == OVERFLOW_BLOCK) {
			size_t room = room_for_block(o->log);

			if (room == 0)
				return NO_ROOM;
			size = size < room ? size : room;
		}
		outcome = take(stream, size, &n);
		most -= n;
		stream->orphan += o->closing ? n : 0;
	}
	return outcome;
}

/* What is held when no more is in the pipe is a line that its writer did not end. */
static void finish_line(struct stream *stream)
{
	struct output *o = stream->output;
	size_t logged;

	if (stream->held_size == 0)
		return;
	logged = put_lines(o, stream->error, stream->held, stream->held_size, true);
	if (logged == stream->held_size) {
		free(stream->held);
		stream->held = NULL;
		stream->held_size = 0;
	}
}

static void take_turn(struct stream *stream)
{
	struct output *o = stream->output;
	enum outcome outcome = take_all(stream, OUTPUT_TURN);

	if (outcome == NO_ROOM && o->log->open)
		pause_reading(stream);
	else if (outcome == ENDED || outcome == NO_ROOM ||
	         (o->closing && stream->orphan >= OUTPUT_ORPHAN_MAX))
		stream_close(stream);
	tell_lost(o);
	log_push(o->log);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	take_turn(poll->data);
}

static void on_room(struct log_waiter *waiter)
{
	struct output *o = (struct output *)((char *)waiter - offsetof(struct output, waiter));

	for (int i = 0; i < 2; i++) {
		struct stream *stream = &o->streams[i];

		if (stream->fd < 0 || !stream->paused)
			continue;
		stream->paused = false;
		uv_poll_start(&stream->poll, UV_READABLE, on_readable);
		take_turn(stream);
	}
	tell_lost(o);
	log_push(o->log);
}

/* ---- opening ---- */

/* On success the fd is the stream's. */
static int stream_watch(struct output *o, int index, int fd, const char **failed)
{
	struct stream *stream = &o->streams[index];
	int rc = uv_poll_init(o->log->loop, &stream->poll, fd);

	*failed = "poll";
	if (rc < 0)
		return rc;
	o->handles++;
	stream->poll.data = stream;
	stream->output = o;
	stream->error = index == 1;
	stream->fd = fd;
	return uv_poll_start(&stream->poll, UV_READABLE, on_readable);
}

static int stream_open(struct output *o, int index, int *ret_write, const char **failed)
{
	int fds[2], rc;

	*failed = "pipe";
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rc = stream_watch(o, index, fds[0], failed);
	if (rc < 0 && o->streams[index].fd < 0)
		close(fds[0]);
	if (rc < 0)
		close(fds[1]);
	else
		*ret_write = fds[1];
	return rc;
}

/* What is in the pipe still goes out, as long as the sink takes it. */
void output_on_log_close(struct log_user *user)
{
	struct output *o = (struct output *)((char *)user - offsetof(struct output, user));

	for (int i = 0; i < 2; i++) {
		struct stream *stream = &o->streams[i];
		int tries = FLUSHES_MAX;

		if (stream->fd < 0)
			continue;
		/* A reader that has stalled is waited for once, not once for each pipe. */
		while (take_all(stream, OUTPUT_DRAIN_MAX) == NO_ROOM && tries-- > 0 &&
		       !o->log->stalled && log_flush(o->log, LOG_CLOSE_MS))
			;
		finish_line(stream);
		stream_close(stream);
	}
	tell_lost(o);
	log_wait_stop(o->log, &o->waiter);
}

static struct output *output_new(const struct output_options *options)
{
	struct output *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->log = options->log;
	o->slot = options->slot;
	o->overflow = options->overflow;
	o->tail.size = options->tail;
	o->streams[0].fd = o->streams[1].fd = -1;
	o->waiter.room = on_room;
	o->user.stop = output_on_log_close;
	log_user_add(o->log, &o->user);
	return o;
}

int output_open(const struct output_options *options, struct output **ret, int ret_fds[2],
                const char **failed)
{
	struct output *o = output_new(options);
	scoped_fd out = -1, err = -1;
	int rc;

	*failed = "memory";
	if (!o)
		return -ENOMEM;
	rc = stream_open(o, 0, &out, failed);
	if (rc == 0)
		rc = stream_open(o, 1, &err, failed);
	if (rc < 0) {
		stream_close(&o->streams[0]);
		stream_close(&o->streams[1]);
		output_close(o);
		return rc;
	}
	ret_fds[0] = fd_take(&out);
	ret_fds[1] = fd_take(&err);
	*ret = o;
	return 0;
}

void output_export(const struct output *o, struct output_image *ret)
{
	for (int i = 0; i < 2; i++) {
		ret->fds[i] = o->streams[i].fd;
		ret->held[i] = o->streams[i].held;
		ret->held_size[i] = o->streams[i].held_size;
	}
	ret->tail_cut = tail_pieces(&o->tail, ret->tail, ret->tail_size);
	ret->lost = o->lost;
	ret->told = o->told;
}

int output_adopt(const struct output_options *options, const struct output_image *image,
                 struct output **ret, const char **failed)
{
	struct output *o = output_new(options);
	int rc = 0;

	*failed = "memory";
	if (!o)
		return -ENOMEM;
	for (int i = 0; rc == 0 && i < 2; i++) {
		if (image->fds[i] < 0)
			continue;
		rc = stream_watch(o, i, image->fds[i], failed);
		if (rc < 0)
			continue;
		hold(&o->streams[i], image->held[i], image->held_size[i]);
		/* Lines that found no room: nothing more may come that would make the pipe readable. */
		if (o->streams[i].held_size > 0)
			pause_reading(&o->streams[i]);
	}
	if (rc < 0) {
		output_close(o);
		return rc;
	}
	tail_restore(&o->tail, image->tail, image->tail_size, image->tail_cut);
	o->lost += image->lost;
	o->told += image->told;
	tell_lost(o);
	log_push(o->log);
	*ret = o;
	return 0;
}

/* ---- the end ---- */

void output_drain(struct output *o)
{
	for (int i = 0; i < 2; i++) {
		struct stream *stream = &o->streams[i];
		enum outcome outcome;

		if (stream->fd < 0)
			continue;
		outcome = take_all(stream, OUTPUT_DRAIN_MAX);
		if (outcome == NOTHING)
			finish_line(stream);
		else if (outcome == ENDED)
			stream_close(stream);
	}
	tell_lost(o);
	log_push(o->log);
}

void output_close(struct output *o)
{
	struct log *log;

	if (!o)
		return;
	log = o->log;
	o->closing = true;
	for (int i = 0; i < 2; i++)
		if (o->streams[i].fd >= 0)
			uv_unref((uv_handle_t *)&o->streams[i].poll);
	if (o->handles == 0)
		output_free(o);
	outputs_bound(log);
}

void output_set_overflow(struct output *o, enum overflow overflow)
{
	o->overflow = overflow;
	if (overflow == OVERFLOW_BLOCK)
		return;
	/* Who was kept waiting need not wait any more. */
	log_wait_stop(o->log, &o->waiter);
	on_room(&o->waiter);
}
