#include "supervisor/core/json.h"

#include <string.h>

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
	char digits[24];
	size_t at = sizeof digits;
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (value < 0)
		digits[--at] = '-';
	put(j, digits + at, sizeof digits - at);
}

static void put_escape(struct json *j, unsigned code)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = { '\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15],
			 hex[code & 15] };

	put(j, text, sizeof text);
}

/* RFC 3629, section 4: the bytes that may follow each first byte. */
static const struct {
	unsigned char first_low, first_high;
	unsigned char second_low, second_high;
	unsigned char size;
} sequences[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
	{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

/* Length of the UTF-8 sequence of two to four bytes at `text`, or 0. */
static size_t sequence_size(const unsigned char *text, size_t size)
{
	for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
		size_t want = sequences[i].size;

		if (text[0] < sequences[i].first_low || text[0] > sequences[i].first_high)
			continue;
		if (size < want || text[1] < sequences[i].second_low ||
		    text[1] > sequences[i].second_high)
			return 0;
		for (size_t k = 2; k < want; k++)
			if ((text[k] & 0xc0) != 0x80)
				return 0;
		return want;
	}
	return 0;
}

/* Writes what stands at `text`, which is not plain, and returns how many bytes that were. */
static size_t put_character(struct json *j, const unsigned char *text, size_t size)
{
	unsigned char c = text[0];
	size_t length;

	if (c == '"' || c == '\\') {
		put(j, (char[]){ '\\', (char)c }, 2);
		return 1;
	}
	if (c < 0x20 || c == 0x7f) {
		put_escape(j, c);
		return 1;
	}
	length = sequence_size(text, size);
	if (length == 0) {
		put_escape(j, 0xfffd);
		return 1;
	}
	if (c == 0xc2 && text[1] < 0xa0)
		put_escape(j, text[1]);
	else
		put(j, (const char *)text, length);
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
			at += put_character(j, (const unsigned char *)value + at, size - at);
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
