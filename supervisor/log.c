/*
 * Events become lines, lines go to the buffer; log_sink.c has the rest.
 */
#include "supervisor/log.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/core/escape.h"
#include "supervisor/log_sink.h"
#include "supervisor/os/logsink.h"

enum { NOTE_MAX = LOGLINE_TEXT_MAX, NOTICE_MAX = 1024 };

int64_t log_wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t log_lost(const struct log *log)
{
	return log->lost;
}

const char *log_problem(const struct log *log)
{
	if (log->lost == log->told)
		return "";
	return log->error ? strerror(log->error) : "its reader stands still";
}

uint64_t output_lost(const struct log *log)
{
	return log->output_lost;
}

/* ---- into the buffer ---- */

static struct logline line_of(const struct log *log, enum log_id id, enum log_level level,
                              const struct log_field *fields, size_t count)
{
	return (struct logline){
		.id = id,
		.level = level,
		.name = log->name,
		.wall_ms = log_wall_ms(),
		.stamp = !log->journal,
		.priority = log->journal,
		.fields = fields,
		.field_count = count,
	};
}

static bool append(struct log *log, const char *text, size_t size)
{
	struct log_buffer *fill = &log->fill;

	if (size > LOG_BUFFER_MAX - fill->used)
		return false;
	memcpy(fill->text + fill->used, text, size);
	fill->used += size;
	return true;
}

/* How many lost lines the log tells of, once all that waits is written. */
static uint64_t promised(const struct log *log)
{
	if (log->fill.notice)
		return log->fill.telling;
	return log->out.notice ? log->out.telling : log->told;
}

static void tell_lost(struct log *log, uint64_t lines)
{
	const struct log_field fields[] = {
		F_NUM("lines", lines),
		F_NUM("total", log->lost),
		F_TEXT_IF(log->error != 0, "reason", strerror(log->error)),
	};
	const struct logline line = line_of(log, LOG_LOG_LOST, LOG_LEVEL_WARN, fields, 3);
	char text[LOGLINE_MAX];

	if (!append(log, text, logline_write(&line, log->format, text, sizeof text)))
		return;
	log->fill.notice = log->fill.used;
	log->fill.telling = log->lost;
}

void log_tell_lost(struct log *log)
{
	uint64_t lines = log->lost - promised(log);

	if (lines > 0 && log->fill.used <= LOG_BUFFER_MAX / 2)
		tell_lost(log, lines);
}

/* A write that has not returned yet is the kernel's: it ends before another program is executed. */
void log_export(const struct log *log, struct log_image *ret)
{
	const struct log_buffer *fill = &log->fill, *out = &log->out;
	size_t from = out->done > 1 ? out->done : 1;

	*ret = (struct log_image){ .lost = 0 };
	if (!log->open)
		return;
	*ret = (struct log_image){
		.text = { out->text + from, fill->text + 1 },
		.size = { log->writing ? 0 : out->used - from, fill->used - 1 },
		.lost = log->lost,
		.told = promised(log),
		.output_lost = log->output_lost,
	};
}

void log_import(struct log *log, const struct log_image *image)
{
	struct log_buffer *to[] = { &log->out, &log->fill };

	for (int i = 0; i < 2; i++) {
		if (image->size[i] == 0)
			continue;
		memcpy(to[i]->text + 1, image->text[i], image->size[i]);
		to[i]->used = 1 + image->size[i];
	}
	log->out.done = log->torn ? 0 : 1;
	log->lost = image->lost;
	log->told = image->told;
	log->output_lost = image->output_lost;
	log_push(log);
}

static void tell_taps(struct log *log, struct logline *line)
{
	char text[LOGLINE_MAX];
	struct log_tap *tap = log->taps, *next;
	int64_t slot = -1;
	size_t size;

	if (!tap)
		return;
	for (size_t i = 0; i < line->field_count; i++)
		if (line->fields[i].kind == LOG_KIND_NUMBER && strcmp(line->fields[i].name, "slot") == 0)
			slot = line->fields[i].number;
	line->stamp = true;
	line->priority = false;
	size = logline_write(line, LOG_FORMAT_JSON, text, sizeof text);
	for (; tap; tap = next) {
		next = tap->next;
		if (tap->line)
			tap->line(tap->context, line->id, slot, text, size);
	}
}

static void put_line(struct log *log, const char *text, size_t size)
{
	log_tell_lost(log);
	if (!append(log, text, size))
		log->lost++;
	log_push(log);
}

/* There is nobody to tell when it fails. */
void log_write_early(const char *text, size_t size)
{
	ssize_t n = write(STDERR_FILENO, text, size);

	(void)n;
}

void log_event_at(struct log *log, enum log_id id, enum log_level level,
                  const struct log_field *fields, size_t count)
{
	int error = errno;
	char text[LOGLINE_MAX];
	struct logline line = line_of(log, id, level, fields, count);

	if (level <= log->level) {
		size_t size = logline_write(&line, log->format, text, sizeof text);

		if (log->open)
			put_line(log, text, size);
		if (!log->open || (log->starting && level <= LOG_LEVEL_ERROR))
			log_write_early(text, size);
	}
	tell_taps(log, &line);
	errno = error;
}

void log_event(struct log *log, enum log_id id, const struct log_field *fields, size_t count)
{
	log_event_at(log, id, log_event_info(id)->level, fields, count);
}

void log_early(const char *format, ...)
{
	char text[NOTE_MAX], shown[LOG_ESCAPED_MAX(NOTE_MAX) + 1];
	va_list list;
	size_t size;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	size = log_escape(shown, text, strlen(text), false);
	shown[size++] = '\n';
	log_write_early(shown, size);
}

/* ---- captured output ---- */

size_t log_room(const struct log *log)
{
	const size_t limit = LOG_BUFFER_MAX - LOG_RESERVE;

	return log->open && log->fill.used < limit ? limit - log->fill.used : 0;
}

char *log_space(struct log *log)
{
	return log->fill.text + log->fill.used;
}

void log_commit(struct log *log, size_t size)
{
	log->fill.used += size;
	log_tell_lost(log);
}

void log_wait(struct log *log, struct log_waiter *waiter)
{
	if (waiter->waiting)
		return;
	waiter->waiting = true;
	waiter->next = NULL;
	*log->waiters_end = waiter;
	log->waiters_end = &waiter->next;
}

void log_wait_stop(struct log *log, struct log_waiter *waiter)
{
	struct log_waiter **at = &log->waiters;

	if (!waiter->waiting)
		return;
	while (*at && *at != waiter)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = waiter->next;
	if (!*at)
		log->waiters_end = at;
	waiter->waiting = false;
}

void log_user_add(struct log *log, struct log_user *user)
{
	user->next = log->users;
	log->users = user;
}

void log_user_remove(struct log *log, struct log_user *user)
{
	struct log_user **at = &log->users;

	while (*at && *at != user)
		at = &(*at)->next;
	if (*at)
		*at = user->next;
}

/* ---- taps ---- */

void log_tap_add(struct log *log, struct log_tap *tap)
{
	tap->next = log->taps;
	log->taps = tap;
}

void log_tap_remove(struct log *log, struct log_tap *tap)
{
	struct log_tap **at = &log->taps;

	while (*at && *at != tap)
		at = &(*at)->next;
	if (*at)
		*at = tap->next;
}

/* ---- opening and closing ---- */

/* systemd.exec(5): JOURNAL_STREAM is the device and inode of the journal's end, in decimal. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat info;

	if (!stream || fstat(STDERR_FILENO, &info) < 0)
		return false;
	snprintf(here, sizeof here, "%ju:%ju", (uintmax_t)info.st_dev, (uintmax_t)info.st_ino);
	return strcmp(here, stream) == 0;
}

static void set_file(struct log *log, const char *file)
{
	if (file != log->file)
		snprintf(log->file, sizeof log->file, "%s", file);
	log->journal = strcmp(file, "-") == 0 && stderr_is_journal();
}

static bool is_stderr(int fd)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && fstat(STDERR_FILENO, &there) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

int log_open(struct log *log, uv_loop_t *loop, const char *name, enum log_format format,
             enum log_level level, const char *file)
{
	int rc, opened;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	*log = (struct log){
		.format = format,
		.level = level,
		.loop = loop,
		.target.fd = -1,
		.next.fd = -1,
		.watch_fd = -1,
	};
	log->waiters_end = &log->waiters;
	snprintf(log->name, sizeof log->name, "%s", name);
	rc = log_sink_start(log);
	if (rc < 0) {
		log_sink_stop(log);
		return rc;
	}
	set_file(log, file);
	opened = log_target_open(file, &log->target);
	if (opened < 0) {
		set_file(log, "-");
		log_target_open("-", &log->target);
	}
	log->torn = logsink_torn(log->target.fd);
	log->open = true;
	log->starting = opened == 0 && !is_stderr(log->target.fd);
	return opened;
}

void log_started(struct log *log)
{
	log->starting = false;
}

void log_close(struct log *log)
{
	if (!log->open)
		return;
	log->stalled = false;
	while (log->users) {
		struct log_user *user = log->users;

		log_user_remove(log, user);
		user->stop(user);
	}
	if (!log->stalled)
		log_flush(log, LOG_CLOSE_MS);
	log->open = false;
	log_sink_stop(log);
}

static int open_again(struct log *log, const char *file)
{
	struct log_target target;
	int rc = log_target_open(file, &target);

	if (rc < 0) {
		LOG_AT(log, LOG_LOG_REOPEN, LOG_LEVEL_ERROR, F_TEXT("file", file),
		       F_TEXT("result", strerror(-rc)));
		return rc;
	}
	set_file(log, file);
	log_sink_switch(log, &target);
	return 0;
}

int log_reopen(struct log *log, const char *file)
{
	int rc;

	if (!log->open || strcmp(file, "-") == 0)
		return 0;
	rc = open_again(log, file);
	if (rc == 0)
		LOG(log, LOG_LOG_REOPEN, F_TEXT("file", log->file), F_TEXT("result", "opened again"));
	return rc;
}

int log_try(const char *file)
{
	struct log_target target;
	int rc = log_target_open(file, &target);

	if (rc == 0)
		log_target_close(&target);
	return rc;
}

int log_configure(struct log *log, enum log_format format, enum log_level level, const char *file)
{
	log->format = format;
	log->level = level;
	if (!log->open || strcmp(file, log->file) == 0)
		return 0;
	return open_again(log, file);
}
