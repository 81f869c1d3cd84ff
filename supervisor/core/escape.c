#include "supervisor/core/escape.h"

#include <string.h>

static bool follows(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* The second byte of a sequence is what rules out overlong forms, surrogates and > U+10FFFF. */
static bool second_fits(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0: return second >= 0xa0 && second <= 0xbf;
	case 0xed: return second >= 0x80 && second <= 0x9f;
	case 0xf0: return second >= 0x90 && second <= 0xbf;
	case 0xf4: return second >= 0x80 && second <= 0x8f;
	default: return follows(second);
	}
}

/* How long a sequence is that begins with this byte; 0 if none does. */
static size_t sequence_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t utf8_sequence(const char *text, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = size > 0 ? sequence_length(bytes[0]) : 0;

	if (length == 0 || length > size)
		return 0;
	if (length > 1 && !second_fits(bytes[0], bytes[1]))
		return 0;
	for (size_t i = 2; i < length; i++)
		if (!follows(bytes[i]))
			return 0;
	return length;
}

size_t utf8_cut(const char *text, size_t size)
{
	for (size_t back = 1; back <= 3 && back <= size; back++) {
		unsigned char c = (unsigned char)text[size - back];

		if (!follows(c))
			return sequence_length(c) > back ? size - back : size;
	}
	return size;
}

size_t number_text(int64_t value, char text[NUMBER_TEXT_MAX])
{
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	size_t at = NUMBER_TEXT_MAX, size;

	do {
		text[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (value < 0)
		text[--at] = '-';
	size = NUMBER_TEXT_MAX - at;
	memmove(text, text + at, size);
	return size;
}

char *amount_text(char *at, uint64_t value, const char *unit)
{
	char digits[NUMBER_TEXT_MAX];
	size_t size = number_text((int64_t)value, digits), length = strlen(unit);

	memcpy(at, digits, size);
	memcpy(at + size, unit, length + 1);
	return at + size + length;
}

/* ---- what a terminal may see ---- */

static size_t escape_byte(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[] = "\aa\bb\ff\nn\rr\tt\vv";

	out[0] = '\\';
	for (const char *l = letters; *l; l += 2)
		if ((unsigned char)*l == c) {
			out[1] = l[1];
			return 2;
		}
	out[1] = 'x';
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

/* Length of what stands at `in` and may be shown as it is, or 0. */
static size_t shown(const char *in, size_t size, bool quoted)
{
	unsigned char c = (unsigned char)*in;
	size_t length;

	if (c == '\t')
		return !quoted;
	if (c < 0x80)
		return c >= ' ' && c != 0x7f && !(quoted && (c == '"' || c == '\\'));
	length = utf8_sequence(in, size);
	/* U+0080 to U+009F are controls too: some terminals obey them. */
	return c == 0xc2 && length == 2 && (unsigned char)in[1] < 0xa0 ? 0 : length;
}

size_t log_escape(char *out, const char *in, size_t in_size, bool quoted)
{
	size_t used = 0;

	for (size_t at = 0; at < in_size;) {
		size_t length = shown(in + at, in_size - at, quoted);

		if (length > 0) {
			memcpy(out + used, in + at, length);
			used += length;
			at += length;
		} else if (quoted && (in[at] == '"' || in[at] == '\\')) {
			out[used++] = '\\';
			out[used++] = in[at++];
		} else {
			used += escape_byte(out + used, (unsigned char)in[at++]);
		}
	}
	return used;
}

/* Blocks of a constant size, without a way out of the loop, become vector instructions. */
enum { PLAIN_BLOCK = 64 };

static unsigned char odd(unsigned char c)
{
	return (unsigned char)(((unsigned char)(c - 0x20) >= 0x5f) & (c != '\n') & (c != '\t'));
}

bool log_plain(const char *in, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)in;
	unsigned char any = 0;

	for (; size >= PLAIN_BLOCK; size -= PLAIN_BLOCK, bytes += PLAIN_BLOCK) {
		for (size_t i = 0; i < PLAIN_BLOCK; i++)
			any |= odd(bytes[i]);
		if (any)
			return false;
	}
	for (size_t i = 0; i < size; i++)
		any |= odd(bytes[i]);
	return !any;
}
