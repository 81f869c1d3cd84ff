#include "supervisor/core/brief.h"

#include <stddef.h>
#include <string.h>

static char *put_number(char *at, uint64_t value)
{
	char digits[24];
	size_t i = sizeof digits;

	do {
		digits[--i] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	memcpy(at, digits + i, sizeof digits - i);
	return at + (sizeof digits - i);
}

static char *put_unit(char *at, uint64_t value, const char *unit)
{
	at = put_number(at, value);
	memcpy(at, unit, strlen(unit) + 1);
	return at + strlen(unit);
}

static void put_tenths(char *at, uint64_t tenths, const char *unit)
{
	at = put_unit(at, tenths / 10, "");
	if (tenths % 10 > 0) {
		*at++ = '.';
		*at++ = (char)('0' + tenths % 10);
	}
	memcpy(at, unit, strlen(unit) + 1);
}

/* Two neighbouring units; the smaller one only if there is something of it. */
static void put_pair(char *at, uint64_t high, const char *high_unit, uint64_t low,
                     const char *low_unit)
{
	at = put_unit(at, high, high_unit);
	if (low > 0)
		put_unit(at, low, low_unit);
}

const char *brief_duration(uint64_t ms, char text[BRIEF_TEXT_MAX])
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		put_unit(text, ms, "ms");
	else if (s < 60)
		put_tenths(text, ms / 100, "s");
	else if (s < 3600)
		put_pair(text, s / 60, "m", s % 60, "s");
	else if (s < 86400)
		put_pair(text, s / 3600, "h", s / 60 % 60, "m");
	else
		put_pair(text, s / 86400, "d", s / 3600 % 24, "h");
	return text;
}

const char *brief_size(uint64_t kib, char text[BRIEF_TEXT_MAX])
{
	if (kib < 1024)
		put_unit(text, kib, "K");
	else if (kib < 1048576)
		put_unit(text, kib / 1024, "M");
	else
		put_tenths(text, kib / 1048576 * 10 + kib % 1048576 * 10 / 1048576, "G");
	return text;
}
