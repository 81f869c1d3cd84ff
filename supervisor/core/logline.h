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

#endif
