/*
 * logline - turns one event into one line: text, logfmt or json.
 *
 * Pure. What an event is called, which fields it has and how it reads comes from
 * event.def. A line is one line, whatever a worker or a user put into a value:
 * control characters (C0, DEL, C1) and bytes that are not UTF-8 are escaped, as
 * \n, \x1b in text and logfmt, by the rules of RFC 8259 in json.
 *
 *	log_event(log, LOG_WORKER_EXIT, (struct log_field[]){ F_NUM("slot", 3),
 *	          F_TEXT("signal", "SIGSEGV"), F_FLAG("core", true), F_MS("uptime_ms", 72000) }, 4);
 *
 * Fields may come in any order and are shown in the order of event.def; one that
 * the event does not have comes last. A field that is not given is not shown.
 */
#ifndef CLUSTERD_CORE_LOGLINE_H
#define CLUSTERD_CORE_LOGLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"

enum log_id {
#define LOG_EVENT(id, ...) LOG_##id,
#include "supervisor/core/event.def"
#undef LOG_EVENT
	LOG_IDS,
};

enum {
	LOGLINE_MAX = 8192,      /* a line is never longer, newline included */
	LOGLINE_TEXT_MAX = 1024, /* of a text value; what is beyond is cut, and "…" shows it */
	DURATION_TEXT_MAX = 24,
	STAMP_TEXT_MAX = 48,
};

enum log_kind { LOG_KIND_NONE, LOG_KIND_NUMBER, LOG_KIND_MS, LOG_KIND_FLAG, LOG_KIND_TEXT };

struct log_field {
	const char *name;
	enum log_kind kind;
	int64_t number;
	const char *text; /* LOG_KIND_TEXT; need not live longer than the call */
	size_t size;      /* of the text, or SIZE_MAX: up to its NUL */
};

/* Each is one struct log_field. */
#define F_NUM(field, value) { .name = (field), .kind = LOG_KIND_NUMBER, .number = (int64_t)(value) }
#define F_MS(field, value) { .name = (field), .kind = LOG_KIND_MS, .number = (int64_t)(value) }
#define F_FLAG(field, value) { .name = (field), .kind = LOG_KIND_FLAG, .number = (value) ? 1 : 0 }
#define F_TEXT(field, value) { .name = (field), .kind = LOG_KIND_TEXT, .text = (value), .size = SIZE_MAX }
#define F_BYTES(field, value, length) { .name = (field), .kind = LOG_KIND_TEXT, .text = (value), .size = (length) }

/* The same, left out unless the condition holds. */
#define F_NUM_IF(given, field, value) { .name = (field), .kind = (given) ? LOG_KIND_NUMBER : LOG_KIND_NONE, .number = (int64_t)(value) }
#define F_MS_IF(given, field, value) { .name = (field), .kind = (given) ? LOG_KIND_MS : LOG_KIND_NONE, .number = (int64_t)(value) }
#define F_TEXT_IF(given, field, value) { .name = (field), .kind = (given) ? LOG_KIND_TEXT : LOG_KIND_NONE, .text = (value), .size = SIZE_MAX }

struct logline {
	enum log_id id;
	enum log_level level;
	const char *name;  /* of the cluster */
	int64_t wall_ms;   /* Unix time */
	bool stamp;        /* show it */
	bool priority;     /* begin with <N>, as sd-daemon(3) describes, for the journal */
	const struct log_field *fields;
	size_t field_count;
};

/*
 * Writes the line with its newline into out[size], size >= LOGLINE_MAX; returns
 * its length. A line that would be longer loses its last fields.
 */
size_t logline_write(const struct logline *line, enum log_format format, char *out, size_t size);

/* What event.def says. `fields` are names separated by one space. */
struct log_event_info {
	const char *name;
	enum log_level level;
	const char *fields;
	const char *text;
	const char *help;
};
const struct log_event_info *log_event_info(enum log_id id);

/* "250ms", "1.6s", "12s", "1m12s", "2h14m", "3d4h". */
const char *duration_text(uint64_t ms, char text[DURATION_TEXT_MAX]);

/* "2026-11-23T01:02:03.123Z" (RFC 3339, UTC). */
const char *stamp_text(int64_t wall_ms, char text[STAMP_TEXT_MAX]);

/*
 * Copies at most `size` bytes of input that a terminal can show: control
 * characters except tab, and bytes that are not UTF-8, become \r, \x1b, … With
 * `quoted` also tab, " and \ are escaped. Returns the length; out needs
 * LOG_ESCAPED_MAX(in_size).
 */
#define LOG_ESCAPED_MAX(size) ((size) * 4)
size_t log_escape(char *out, const char *in, size_t in_size, bool quoted);

/* True if log_escape(…, false) would copy the bytes as they are; '\n' counts as plain here. */
bool log_plain(const char *in, size_t size);

#endif
