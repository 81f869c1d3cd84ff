#include "supervisor/core/json.h"

#include <string.h>

#include "supervisor/core/escape.h"

static void put(struct json *j, const char *text, size_t size)
{
	if (size > j->size - j->used) {
		j->full = true;
		return;
	}
	memcpy(j->text + j->used, text, size);
	j->used += size;
}

static void put_word(struct json *j, const char *word)
{
	put(j, word, strlen(word));
}

static void put_number(struct json *j, int64_t value)
{
	char digits[NUMBER_TEXT_MAX];

	put(j, digits, number_text(value, digits));
}

static void put_escape(struct json *j, unsigned code)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = { '\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15],
			 hex[code & 15] };

	put(j, text, sizeof text);
}

/* Writes what stands at `text`, which is not plain, and returns how many bytes that were. */
static size_t put_character(struct json *j, const char *text, size_t size)
{
	unsigned char c = (unsigned char)text[0];
	size_t length;

	if (c == '"' || c == '\\') {
		put(j, (char[]){ '\\', (char)c }, 2);
		return 1;
	}
	if (c < 0x20 || c == 0x7f) {
		put_escape(j, c);
		return 1;
	}
	length = utf8_sequence(text, size);
	if (length == 0) {
		put_escape(j, 0xfffd);
		return 1;
	}
	if (c == 0xc2 && (unsigned char)text[1] < 0xa0)
		put_escape(j, (unsigned char)text[1]);
	else
		put(j, text, length);
	return length;
}

/* How many bytes from here on stand for themselves. */
static size_t plain_run(const unsigned char *text, size_t size)
{
	size_t n = 0;

	while (n < size && text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

static void put_key(struct json *j, const char *key)
{
	put_word(j, ",\"");
	put_word(j, key);
	put_word(j, "\":");
}

void json_begin(struct json *j, char *text, size_t size)
{
	*j = (struct json){ .text = text, .size = size };
	put_word(j, "{\"v\":");
	put_number(j, JSON_VERSION);
}

void json_text(struct json *j, const char *key, const char *value, size_t size)
{
	size_t at = 0;

	put_key(j, key);
	put_word(j, "\"");
	while (at < size && !j->full) {
		size_t run = plain_run((const unsigned char *)value + at, size - at);

		put(j, value + at, run);
		at += run;
		if (at < size && !j->full)
			at += put_character(j, value + at, size - at);
	}
	put_word(j, "\"");
}

void json_word(struct json *j, const char *key, const char *value)
{
	json_text(j, key, value, strlen(value));
}

void json_number(struct json *j, const char *key, int64_t value)
{
	put_key(j, key);
	put_number(j, value);
}

void json_flag(struct json *j, const char *key, bool value)
{
	put_key(j, key);
	put_word(j, value ? "true" : "false");
}

size_t json_end(struct json *j)
{
	put_word(j, "}\n");
	return j->full ? 0 : j->used;
}
