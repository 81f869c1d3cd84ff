#include "cmd/app/syntax.h"

#include <string.h>
#include <strings.h>

enum { PROTOCOL = 2, PROTOCOL_SIZE = 8, NAME_SIZE = 5 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
	return is_digit(c) || ((c | ' ') >= 'a' && (c | ' ') <= 'z');
}

/* Is this byte right as the next one? A CR that is not at the end is llhttp's to refuse. */
static bool step(struct request_line *line, char c)
{
	if (c == '\r')
		return true;
	if (c != ' ') {
		if (line->part == PROTOCOL && line->size < NAME_SIZE && c != "HTTP/"[line->size])
			return false;
		if (line->size < UINT16_MAX)
			line->size++;
		return true;
	}
	if (line->size == 0 || line->part == PROTOCOL)
		return false;
	line->part++;
	line->size = 0;
	return true;
}

size_t request_line_scan(struct request_line *line, const char *text, size_t size)
{
	size_t at = 0;

	while (at < size && step(line, text[at]))
		at++;
	return at;
}

bool request_line_ends(const struct request_line *line)
{
	return line->part == PROTOCOL ? line->size >= PROTOCOL_SIZE : line->part == 0 && line->size == 0;
}

bool is_token_char(char c)
{
	return c != '\0' && (is_alphanumeric(c) || strchr("!#$%&'*+-.^_`|~", c));
}

/* What stands in the brackets is for inet_pton(3) to judge, not for us: nobody looks it up. */
static size_t literal_size(const char *text, size_t size)
{
	size_t at = 1;

	while (at < size && text[at] != '\0' && (is_alphanumeric(text[at]) || strchr(":.-_~", text[at])))
		at++;
	return at > 1 && at < size && text[at] == ']' ? at + 1 : 0;
}

static size_t name_size(const char *text, size_t size)
{
	size_t at = 0;

	while (at < size && text[at] != '\0' &&
	       (is_alphanumeric(text[at]) || strchr("-._~%!$&'()*+,;=", text[at])))
		at++;
	return at;
}

bool is_host(const char *text, size_t size)
{
	size_t at = size > 0 && text[0] == '[' ? literal_size(text, size) : name_size(text, size);

	if (at == 0)
		return size == 0;
	if (at < size && text[at] == ':')
		for (at++; at < size && is_digit(text[at]);)
			at++;
	return at == size;
}

bool is_word(const char *text, size_t size, const char *word)
{
	return size == strlen(word) && strncasecmp(text, word, size) == 0;
}

size_t trimmed(const char *text, size_t size)
{
	while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'))
		size--;
	return size;
}

/* One parameter of a media type. Only charset matters, and must be UTF-8. */
static bool is_fitting(const char *text, size_t size)
{
	while (size > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		size--;
	}
	size = trimmed(text, size);
	if (size < 8 || strncasecmp(text, "charset=", 8) != 0)
		return true;
	return is_word(text + 8, size - 8, "utf-8") || is_word(text + 8, size - 8, "\"utf-8\"");
}

bool is_json(const char *value, size_t size)
{
	const char *end = value + size;
	const char *semicolon = memchr(value, ';', size);
	size_t type = semicolon ? (size_t)(semicolon - value) : size;

	if (!is_word(value, trimmed(value, type), "application/json"))
		return false;
	while (semicolon) {
		const char *at = semicolon + 1;

		semicolon = memchr(at, ';', (size_t)(end - at));
		if (!is_fitting(at, (size_t)((semicolon ? semicolon : end) - at)))
			return false;
	}
	return true;
}
