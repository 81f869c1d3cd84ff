#include "supervisor/core/brief.h"

#include <stddef.h>
#include <string.h>

#include "supervisor/core/escape.h"

static void put_tenths(char *at, uint64_t tenths, const char *unit)
{
	at = amount_text(at, tenths / 10, "");
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
	at = amount_text(at, high, high_unit);
	if (low > 0)
		amount_text(at, low, low_unit);
}

const char *brief_duration(uint64_t ms, char text[BRIEF_TEXT_MAX])
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		amount_text(text, ms, "ms");
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
		amount_text(text, kib, "K");
	else if (kib < 1048576)
		amount_text(text, kib / 1024, "M");
	else
		put_tenths(text, kib / 1048576 * 10 + kib % 1048576 * 10 / 1048576, "G");
	return text;
}
