#include "config/load.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/assign.h"
#include "config/refused.h"
#include "config/words.h"

/* What is known of the file while inih reads it. */
struct loader {
	struct config *config;
	config_complaint *complain;
	void *context;
	int complaints;

	const char *file;
	const char *next, *end;
	unsigned line;
	bool indented; /* the line that inih has now goes on with the key above */

	char section[SECTION_TEXT_MAX + 1]; /* the first word between [ and ]; "" before any */
	char *instance;                     /* the rest, in `section` too; or NULL */
	bool section_refused;               /* complained about: its keys are left out */
	struct {
		const char *text;
		size_t length;
		unsigned line;
	} sections[SECTIONS_MAX];
	size_t section_count;

	/* The value being read, in config->value; it is set when the next key or section comes. */
	char key[SECTION_TEXT_MAX + 1];
	unsigned key_line;  /* 0: none */
	bool key_refused;
	size_t value_length;
	bool cut; /* a comment was, off one of its lines */
};

static void tell(config_complaint *complain, void *context, const char *source, unsigned line,
		 char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	complain(context, source, line, text);
}

__attribute__((format(printf, 3, 4))) static void complain_at(struct loader *l, unsigned line,
							       const char *format, ...)
{
	char text[COMPLAINT_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	l->complaints++;
	tell(l->complain, l->context, l->file, line, text);
}

/* Number of backslashes at the end is odd: the last one joins this line with the next. */
static bool ends_in_backslash(const char *text, size_t length)
{
	size_t count = 0;

	while (count < length && text[length - count - 1] == '\\')
		count++;
	return count % 2 == 1;
}

static void append(struct loader *l, const char *text)
{
	char *value = l->config->value;
	size_t length = strlen(text);
	bool joined = l->key_line > 0 && ends_in_backslash(value, l->value_length);

	if (l->key_refused)
		return;
	if (l->value_length + length + 2 > sizeof(l->config->value)) {
		complain_at(l, l->line, "the value of %s is too long; at most %d bytes", l->key,
			    VALUE_TEXT_MAX - 2);
		l->key_refused = true;
		return;
	}
	if (joined)
		l->value_length--;
	else if (l->indented)
		value[l->value_length++] = ' ';
	memcpy(value + l->value_length, text, length + 1);
	l->value_length += length;
}

static void flush_value(struct loader *l)
{
	struct assignment a = {
		.section = l->section,
		.instance = l->instance,
		.key = l->key,
		.value = l->config->value,
		.origin = { l->file, l->key_line },
	};
	char problem[PROBLEM_TEXT_MAX];

	if (l->key_line > 0 && !l->key_refused &&
	    assign_value(&l->config->draft, &l->config->draft_origins, &a, problem) < 0) {
		complain_at(l, l->key_line, "%s%s", problem,
			    l->cut && strstr(problem, word_not_closed) ?
				    " (a blank and ; begin a comment, in quotes too: write \\x3b in $'...')" : "");
		l->key_refused = true;
	}
	if (l->key_line > 0 && l->key_refused)
		config_refuse(l->config, l->section, l->instance, l->key);
	l->key_line = 0;
	l->value_length = 0;
}

/* Splits "listen web" into section and instance. */
static void name_section(struct loader *l, const char *text, size_t length)
{
	size_t name;

	memcpy(l->section, text, length);
	l->section[length] = '\0';
	name = strcspn(l->section, " \t");
	l->instance = NULL;
	if (l->section[name]) {
		l->section[name] = '\0';
		l->instance = l->section + name + 1;
		l->instance += strspn(l->instance, " \t");
	}
}

/* Is the section new? If it is, it is remembered. */
static bool remember_section(struct loader *l, const char *text, size_t length)
{
	for (size_t i = 0; i < l->section_count; i++) {
		if (l->sections[i].length == length &&
		    memcmp(l->sections[i].text, text, length) == 0) {
			complain_at(l, l->line, "[%.*s] is already on line %u", (int)length, text,
				    l->sections[i].line);
			return false;
		}
	}
	if (l->section_count == SECTIONS_MAX) {
		complain_at(l, l->line, "more than %d sections", SECTIONS_MAX);
		return false;
	}
	l->sections[l->section_count].text = text;
	l->sections[l->section_count].length = length;
	l->sections[l->section_count++].line = l->line;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t trim_end(const char *text, size_t length)
{
	while (length > 0 && (is_blank(text[length - 1]) || text[length - 1] == '\r'))
		length--;
	return length;
}

static size_t count_blanks(const char *text, size_t length)
{
	size_t count = 0;

	while (count < length && is_blank(text[count]))
		count++;
	return count;
}

/* The length of the line without its comment: ; behind a blank, as inih has it. */
static size_t without_comment(const char *text, size_t length)
{
	for (size_t i = 1; i < length; i++)
		if (text[i] == ';' && is_blank(text[i - 1]))
			return trim_end(text, i);
	return length;
}

/* "[...]", from the bracket on. */
static void open_section(struct loader *l, const char *text, size_t length)
{
	struct assignment a = { .section = l->section, .origin = { l->file, l->line } };
	char problem[PROBLEM_TEXT_MAX];
	const char *close;

	l->section_refused = true;
	length = without_comment(text, length);
	close = memchr(text, ']', length);
	if (!close || close + 1 != text + length) {
		complain_at(l, l->line, close ? "text after the ]" : "the ] is missing");
		return;
	}
	text++;
	text += count_blanks(text, (size_t)(close - text));
	length = trim_end(text, (size_t)(close - text));
	if (length == 0 || length > SECTION_TEXT_MAX) {
		complain_at(l, l->line, "the name of a section has 1 to %d bytes", SECTION_TEXT_MAX);
		return;
	}
	if (!remember_section(l, text, length))
		return;
	name_section(l, text, length);
	a.instance = l->instance;
	l->section_refused =
		assign_section(&l->config->draft, &l->config->draft_origins, &a, problem) < 0;
	if (l->section_refused) {
		complain_at(l, l->line, "%s", problem);
		config_refuse(l->config, l->section, NULL, NULL);
	}
}

/* "NAME =": what a line that was meant as a key looks like. Copies the name if it is short enough. */
static bool looks_like_pair(const char *text, size_t length, char name[SECTION_TEXT_MAX + 1])
{
	size_t end = 0;

	while (end < length && end < SECTION_TEXT_MAX && !is_blank(text[end]) && text[end] != '=')
		end++;
	memcpy(name, text, end);
	name[end] = '\0';
	while (end < length && is_blank(text[end]))
		end++;
	return end < length && text[end] == '=';
}

/*
 * An indented line that looks like a key or a section was most likely meant as one, but for inih it
 * belongs to the value above. Many values have one word, which nothing can go on with. A backslash
 * above says that it is meant.
 */
static bool check_continuation(struct loader *l, const char *text, size_t length)
{
	const struct key *above = key_in_section(l->section, l->key);
	char name[SECTION_TEXT_MAX + 1];
	bool is_pair = looks_like_pair(text, length, name);
	bool goes_on = !is_pair && strcmp(l->section, "env") == 0;

	if (ends_in_backslash(l->config->value, l->value_length))
		return true;
	if (above)
		goes_on = above->type->many && *text != '[' &&
			  !(is_pair && key_in_section(l->section, name));
	if (!goes_on && !l->key_refused && !l->section_refused)
		complain_at(l, l->line, "indented, so it would go on with %s of line %u", l->key,
			    l->key_line);
	return goes_on;
}

/* Says what is wrong with a line that is no section: false if inih must not see it. */
static bool check_pair(struct loader *l, const char *text, size_t length)
{
	size_t name = 0;

	length = without_comment(text, length);
	while (name < length && text[name] != '=' && text[name] != ':')
		name++;
	if (name == length) {
		complain_at(l, l->line, "neither a [section] nor key = value");
		return false;
	}
	name = trim_end(text, name);
	if (name == 0 || name > SECTION_TEXT_MAX) {
		complain_at(l, l->line, "the name of a key has 1 to %d bytes", SECTION_TEXT_MAX);
		return false;
	}
	if (!*l->section && !l->section_refused) {
		complain_at(l, l->line, "%.*s stands before any [section]", (int)name, text);
		return false;
	}
	return true;
}

/* What no version of inih can be trusted with. */
static bool check_line(struct loader *l, const char *text, size_t length)
{
	if (length > LINE_TEXT_MAX) {
		complain_at(l, l->line, "line of %zu bytes; the limit is %d (a value may go on in the "
					"next, indented line)", length, LINE_TEXT_MAX);
		return false;
	}
	if (memchr(text, '\0', length)) {
		complain_at(l, l->line, "the line holds a NUL byte");
		return false;
	}
	return true;
}

/* A line that begins something new: a section is opened here, only a pair is for inih. */
static size_t take_line(struct loader *l, const char *text, size_t length)
{
	if (*text != '[')
		return check_pair(l, text, length) ? length : 0;
	open_section(l, text, length);
	return 0;
}

/*
 * Decides what inih gets to see of the line *text: returns its length, 0 for nothing. An indent stays
 * only where it means that the value above goes on.
 */
static size_t filter_line(struct loader *l, const char **text, size_t length)
{
	const char *line, *start;

	if (l->line == 1 && length >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
		*text += 3;
		length -= 3;
	}
	line = *text;
	length = trim_end(line, length);
	start = line + count_blanks(line, length);
	if (start == line + length || *start == ';' || *start == '#')
		return 0;
	l->indented = start > line && l->key_line > 0;
	if (!l->indented) {
		flush_value(l);
		l->cut = false;
	}
	l->cut |= without_comment(line, length) < length;
	if (!check_line(l, line, length))
		return 0;
	if (l->indented) {
		length = without_comment(line, length);
		return check_continuation(l, start, length - (size_t)(start - line)) ? length : 0;
	}
	*text = start;
	return take_line(l, start, length - (size_t)(start - line));
}

/*
 * inih gives its handler no line number, and version 55 cuts a line longer than its buffer in two
 * without an error. So this reader counts the lines, opens the sections, refuses what inih would
 * misread, and hands on an empty line instead.
 */
static char *read_line(char *out, int size, void *context)
{
	struct loader *l = context;
	const char *eol, *text = l->next;
	size_t length;

	if (l->next == l->end)
		return NULL;
	eol = memchr(text, '\n', (size_t)(l->end - text));
	l->next = eol ? eol + 1 : l->end;
	l->line++;
	length = filter_line(l, &text, (size_t)((eol ? eol : l->end) - text));
	if (length + 2 > (size_t)size)
		length = 0; /* can not be: LINE_TEXT_MAX is what inih asks for */
	memcpy(out, text, length);
	memcpy(out + length, "\n", 2);
	return out;
}

/* inih calls this for key = value, and with the same key again for an indented line. */
static int take_pair(void *context, const char *section, const char *key, const char *value)
{
	struct loader *l = context;

	(void)section; /* read_line knows it uncut */
	if (!l->indented) {
		snprintf(l->key, sizeof(l->key), "%s", key);
		l->key_line = l->line;
		l->key_refused = l->section_refused;
	}
	append(l, value);
	return 1;
}

int config_parse(struct config *config, const char *text, size_t size, const char *file,
		 config_complaint *complain, void *context)
{
	struct loader l = {
		.config = config,
		.complain = complain,
		.context = context,
		.file = file,
		.next = text,
		.end = text + size,
	};

	memcpy(&config->draft, &config->policy, sizeof(config->draft));
	memcpy(&config->draft_origins, &config->origins, sizeof(config->draft_origins));
	(void)ini_parse_stream(read_line, &l, take_pair, &l);
	flush_value(&l);
	if (l.complaints == 0)
		config_take_draft(config);
	return l.complaints;
}

void config_take_draft(struct config *config)
{
	memcpy(&config->policy, &config->draft, sizeof(config->policy));
	memcpy(&config->origins, &config->draft_origins, sizeof(config->origins));
}

void config_init(struct config *config)
{
	memset(config, 0, sizeof(*config));
	policy_defaults(&config->policy);
}

/* Cuts "SECTION.KEY" or "SECTION.INSTANCE.KEY" in `name` at its first and last dot. */
static int split_name(char *name, struct assignment *a)
{
	char *first = strchr(name, '.'), *last = strrchr(name, '.');

	if (!first)
		return -1;
	*first = '\0';
	*last = '\0';
	a->section = name;
	a->instance = last > first ? first + 1 : NULL;
	a->key = last + 1;
	return 0;
}

int config_set(struct config *config, const char *name, const char *value, const char *source,
	       config_complaint *complain, void *context)
{
	struct assignment a = { .value = value, .origin = { source, 0 } };
	char copy[NAME_TEXT_MAX * 4], problem[PROBLEM_TEXT_MAX];
	int failed;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", name) >= sizeof(copy) ||
	    split_name(copy, &a) < 0) {
		snprintf(problem, sizeof(problem), "%.60s: a name such as restart.burst is needed", name);
		tell(complain, context, source, 0, problem);
		return 1;
	}
	memcpy(&config->draft, &config->policy, sizeof(config->draft));
	memcpy(&config->draft_origins, &config->origins, sizeof(config->draft_origins));
	failed = assign_value(&config->draft, &config->draft_origins, &a, problem);
	if (failed) {
		config_refuse(config, a.section, a.instance, a.key);
		tell(complain, context, source, 0, problem);
		return 1;
	}
	config_take_draft(config);
	return 0;
}

int config_assign(struct config *config, const char *assignment, const char *source,
		  config_complaint *complain, void *context)
{
	const char *equals = strchr(assignment, '=');
	char name[NAME_TEXT_MAX * 4];

	if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof(name)) {
		char text[COMPLAINT_TEXT_MAX];

		snprintf(text, sizeof(text), "%.60s: SECTION.KEY=VALUE is needed", assignment);
		tell(complain, context, source, 0, text);
		return 1;
	}
	memcpy(name, assignment, (size_t)(equals - assignment));
	name[equals - assignment] = '\0';
	return config_set(config, name, equals + 1, source, complain, context);
}
