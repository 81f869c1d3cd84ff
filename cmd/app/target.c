#include "cmd/app/target.h"

#include <stdbool.h>
#include <string.h>

#include "cmd/app/field.h"

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3986 2.3 */
static bool is_unreserved(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr("-._~", c));
}

/* In place; false when a '%' is not followed by two digits. */
static bool decode(char *text, size_t *size)
{
	size_t to = 0;

	for (size_t at = 0; at < *size; at++) {
		int high, low;

		text[to++] = text[at];
		if (text[at] != '%')
			continue;
		high = *size - at > 2 ? hex_value(text[at + 1]) : -1;
		low = high >= 0 ? hex_value(text[at + 2]) : -1;
		if (low < 0)
			return false;
		if (!is_unreserved(high * 16 + low))
			continue;
		text[to - 1] = (char)(high * 16 + low);
		at += 2;
	}
	*size = to;
	return true;
}

/* Length of "scheme://host" at the start of the target; 0 with the status when it can not be. */
static size_t authority_length(const char *target, size_t size, unsigned *ret_status)
{
	const char *slash;
	size_t host;

	*ret_status = 400;
	if (size < 7 || !field_is_word(target, 7, "http://")) {
		*ret_status = 421;
		return 0;
	}
	slash = memchr(target + 7, '/', size - 7);
	host = slash ? (size_t)(slash - target) - 7 : size - 7;
	/* RFC 9110 4.2.1 and 4.2.4: not empty, and nobody's name before an '@' */
	return host > 0 && field_is_host(target + 7, host) ? host + 7 : 0;
}

unsigned target_find_path(char *target, size_t size, struct target_path *ret_path)
{
	const char *query = memchr(target, '?', size);
	size_t at = 0;
	unsigned status;

	if (query)
		size = (size_t)(query - target);
	if (size > 0 && *target == '*' && (size > 1 || query))
		return 400;
	if (size > 0 && *target != '/' && *target != '*') {
		at = authority_length(target, size, &status);
		if (at == 0)
			return status;
	}
	size -= at;
	if (memchr(target, '%', at + size) && !decode(target + at, &size))
		return 400;
	*ret_path = (struct target_path){ (uint16_t)at, (uint16_t)size };
	return 0;
}
