#include "supervisor/core/logline.h"

#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/json.h"
#include "supervisor/core/moment.h"

static const struct log_event_info events[] = {
#define LOG_EVENT(id, name, level, fields, text, help)                                             \
	[LOG_##id] = { name, LOG_LEVEL_##level, fields, text, help },
#include "supervisor/core/event.def"
#undef LOG_EVENT
};

const struct log_event_info *log_event_info(enum log_id id)
{
	return &events[id];
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	return names[level];
}

/* syslog(3) numbers: err, warning, info, debug. */
static char level_priority(enum log_level level)
{
	return "3467"[level];
}

/* ---- the room in a line ---- */

struct out {
	char *text;
	size_t size, used;
	size_t begin; /* behind the priority */
};

static void put(struct out *out, const char *text, size_t size)
{
	if (size > out->size - out->used)
		size = out->size - out->used;
	memcpy(out->text + out->used, text, size);
	out->used += size;
}

static void put_word(struct out *out, const char *word)
{
	put(out, word, strlen(word));
}

static void put_number(struct out *out, int64_t value)
{
	char digits[NUMBER_TEXT_MAX];

	put(out, digits, number_text(value, digits));
}

/* ---- values ---- */

static size_t text_size(const struct log_field *field)
{
	return field->size == SIZE_MAX ? strlen(field->text) : field->size;
}

/* Bytes of the value that are shown: at most LOGLINE_TEXT_MAX, no sequence cut in two. */
static size_t shown_size(const struct log_field *field)
{
	size_t size = text_size(field);

	return size <= LOGLINE_TEXT_MAX ? size : utf8_cut(field->text, LOGLINE_TEXT_MAX);
}

static void put_escaped(struct out *out, const struct log_field *field, bool quoted)
{
	char escaped[LOG_ESCAPED_MAX(LOGLINE_TEXT_MAX)];
	size_t size = shown_size(field);

	put(out, escaped, log_escape(escaped, field->text, size, quoted));
	if (size < text_size(field))
		put_word(out, "…");
}

/* A value that logfmt's readers would cut or misread stands in quotes. */
static bool bare(const struct log_field *field)
{
	size_t size = text_size(field);

	if (size == 0 || size > LOGLINE_TEXT_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)field->text[i];

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
			return false;
	}
	return true;
}

enum manner { HUMAN, HUMAN_QUOTED, MACHINE };

static const char *flag_word(bool yes, bool human)
{
	if (human)
		return yes ? "yes" : "no";
	return yes ? "true" : "false";
}

static void put_value(struct out *out, const struct log_field *field, enum manner manner)
{
	char duration[DURATION_TEXT_MAX];
	bool human = manner != MACHINE;

	switch (field->kind) {
	case LOG_KIND_NUMBER:
		put_number(out, field->number);
		break;
	case LOG_KIND_MS:
		if (human && field->number >= 0)
			put_word(out, duration_text((uint64_t)field->number, duration));
		else
			put_number(out, field->number);
		break;
	case LOG_KIND_FLAG:
		put_word(out, flag_word(field->number != 0, human));
		break;
	case LOG_KIND_TEXT:
		put_escaped(out, field, manner != HUMAN);
		break;
	case LOG_KIND_NONE:
		break;
	}
}

static const struct log_field *find(const struct logline *line, const char *name, size_t size)
{
	for (size_t i = 0; i < line->field_count; i++) {
		const struct log_field *field = &line->fields[i];

		if (field->kind != LOG_KIND_NONE && field->name[0] == name[0] &&
		    strncmp(field->name, name, size) == 0 && field->name[size] == '\0')
			return field;
	}
	return NULL;
}

/* ---- the order of the fields ---- */

/* The field of that name in the list of the event. */
static bool listed(const char *list, const char *name)
{
	size_t size = strlen(name);

	while (*list) {
		const char *end = strchr(list, ' ');
		size_t length = end ? (size_t)(end - list) : strlen(list);

		if (length == size && memcmp(list, name, size) == 0)
			return true;
		list += length + (end ? 1 : 0);
	}
	return false;
}

typedef void visit_field(void *context, const struct log_field *field);

/* First those that the event lists, in that order; then what else was given. */
static void each_field(const struct logline *line, visit_field *visit, void *context)
{
	const char *list = events[line->id].fields;

	for (const char *at = list; *at;) {
		const char *end = strchr(at, ' ');
		size_t size = end ? (size_t)(end - at) : strlen(at);
		const struct log_field *field = find(line, at, size);

		if (field)
			visit(context, field);
		at += size + (end ? 1 : 0);
	}
	for (size_t i = 0; i < line->field_count; i++)
		if (line->fields[i].kind != LOG_KIND_NONE && !listed(list, line->fields[i].name))
			visit(context, &line->fields[i]);
}

/* ---- text ---- */

static bool truthy(const struct log_field *field)
{
	if (!field)
		return false;
	return field->kind == LOG_KIND_TEXT ? text_size(field) > 0 : field->number != 0;
}

static bool holds(const struct logline *line, char condition, const char *name, size_t size)
{
	const struct log_field *field = find(line, name, size);

	switch (condition) {
	case '+': return field != NULL;
	case '?': return truthy(field);
	case '~': return !field || field->number != 1;
	default: return !truthy(field);
	}
}

/*
 * Fills the template in. `hidden` is the depth of brackets since the first one whose
 * condition does not hold; the table is ours, and a test proves that its brackets match.
 */
static void put_template(struct out *out, const struct logline *line, const char *at)
{
	const char *begin = at;
	unsigned hidden = 0;

	while (*at) {
		size_t size = 1;

		if (*at == '[') {
			size = (size_t)(strchr(at, '|') - at) + 1;
			if (hidden > 0 || !holds(line, at[1], at + 2, size - 3))
				hidden++;
		} else if (*at == ']') {
			hidden -= hidden > 0;
		} else if (*at == '{') {
			size = (size_t)(strchr(at, '}') - at) + 1;
			const struct log_field *field = find(line, at + 1, size - 2);
			bool quoted = at > begin && at[-1] == '"';

			if (hidden == 0 && field)
				put_value(out, field, quoted ? HUMAN_QUOTED : HUMAN);
		} else {
			size = strcspn(at, "[]{");
			if (hidden == 0)
				put(out, at, size);
		}
		at += size;
	}
}

static void write_text(struct out *out, const struct logline *line)
{
	char stamp[STAMP_TEXT_MAX];
	struct log_field name = F_TEXT("name", line->name);

	if (line->stamp) {
		put_word(out, stamp_text(line->wall_ms, stamp));
		put(out, " ", 1);
	}
	put_word(out, "clusterd");
	if (*line->name) {
		put(out, " ", 1);
		put_escaped(out, &name, false);
	}
	put_word(out, ": ");
	put_template(out, line, events[line->id].text);
}

/* ---- logfmt ---- */

static void put_pair(void *context, const struct log_field *field)
{
	struct out *out = context;
	bool quoted = field->kind == LOG_KIND_TEXT && !bare(field);

	put_word(out, out->used > out->begin ? " " : "");
	put_word(out, field->name);
	put(out, "=", 1);
	if (quoted)
		put(out, "\"", 1);
	put_value(out, field, MACHINE);
	if (quoted)
		put(out, "\"", 1);
}

static void write_logfmt(struct out *out, const struct logline *line)
{
	char stamp[STAMP_TEXT_MAX];
	struct log_field head[] = {
		F_TEXT_IF(line->stamp, "time", stamp_text(line->wall_ms, stamp)),
		F_TEXT("level", level_name(line->level)),
		F_TEXT("event", events[line->id].name),
		F_TEXT("name", line->name),
	};

	for (size_t i = 0; i < sizeof head / sizeof *head; i++)
		if (head[i].kind != LOG_KIND_NONE)
			put_pair(out, &head[i]);
	each_field(line, put_pair, out);
}

/* ---- json ---- */

static void put_member(void *context, const struct log_field *field)
{
	struct json *json = context;

	switch (field->kind) {
	case LOG_KIND_NUMBER:
	case LOG_KIND_MS:
		json_number(json, field->name, field->number);
		break;
	case LOG_KIND_FLAG:
		json_flag(json, field->name, field->number != 0);
		break;
	case LOG_KIND_TEXT:
		json_text(json, field->name, field->text, shown_size(field));
		break;
	case LOG_KIND_NONE:
		break;
	}
}

/* A member that does not fit is left out, whole: the line stays JSON. */
struct careful {
	struct json json;
	size_t reserve;
};

static void put_member_if_it_fits(void *context, const struct log_field *field)
{
	struct careful *careful = context;
	struct json before = careful->json;

	put_member(&careful->json, field);
	if (careful->json.full || careful->json.size - careful->json.used < careful->reserve)
		careful->json = before;
}

static size_t write_json(char *text, size_t size, const struct logline *line)
{
	char stamp[STAMP_TEXT_MAX];
	struct careful careful = { .reserve = 2 };

	json_begin(&careful.json, text, size);
	if (line->stamp)
		json_word(&careful.json, "time", stamp_text(line->wall_ms, stamp));
	json_word(&careful.json, "level", level_name(line->level));
	json_word(&careful.json, "event", events[line->id].name);
	json_text(&careful.json, "name", line->name, strlen(line->name));
	each_field(line, put_member_if_it_fits, &careful);
	return json_end(&careful.json);
}

/* ---- the line ---- */

size_t logline_write(const struct logline *line, enum log_format format, char *text, size_t size)
{
	struct out out = { .text = text, .size = size - 1 };

	if (line->priority)
		put(&out, (char[]){ '<', level_priority(line->level), '>' }, 3);
	out.begin = out.used;
	if (format == LOG_FORMAT_JSON)
		return out.used + write_json(text + out.used, size - out.used, line);
	if (format == LOG_FORMAT_LOGFMT)
		write_logfmt(&out, line);
	else
		write_text(&out, line);
	out.used = utf8_cut(text, out.used);
	text[out.used++] = '\n';
	return out.used;
}
