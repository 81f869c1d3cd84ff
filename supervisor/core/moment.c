#include "supervisor/core/moment.h"

#include <stdio.h>
#include <string.h>

#include "supervisor/core/escape.h"

/*
 * By hand, as every line begins with a time stamp and the end of a worker is answered only after
 * its line: printf(3) would bring 10 KB of cold code with it.
 */
static char *put_digits(char *at, unsigned value, unsigned width)
{
	for (unsigned i = width; i > 0; i--, value /= 10)
		at[i - 1] = (char)('0' + value % 10);
	return at + width;
}

/* Two units are enough to judge a duration by; the smaller one is left out when it is 0. */
static void two_units(char *text, uint64_t big, const char *big_unit, uint64_t small,
                      const char *small_unit)
{
	text = amount_text(text, big, big_unit);
	if (small)
		amount_text(text, small, small_unit);
}

const char *duration_text(uint64_t ms, char text[DURATION_TEXT_MAX])
{
	uint64_t s = ms / 1000, minutes = s / 60, hours = minutes / 60, tenths = ms % 1000 / 100;

	if (ms < 1000)
		amount_text(text, ms, "ms");
	else if (ms < 10000 && tenths)
		amount_text(amount_text(text, s, "."), tenths, "s");
	else if (s < 60)
		amount_text(text, s, "s");
	else if (hours == 0)
		two_units(text, minutes, "m", s % 60, "s");
	else if (hours < 24)
		two_units(text, hours, "h", minutes % 60, "m");
	else
		two_units(text, hours / 24, "d", hours % 24, "h");
	return text;
}

struct date {
	int64_t year;
	unsigned month, day;
};

/*
 * Days since 1970-01-01 to a date of the proleptic Gregorian calendar: the year
 * begins in March, so that the leap day is its last, and 400 years are an era.
 * Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
 * civil_from_days.
 */
static struct date date_of(int64_t days)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	unsigned day_of_era = (unsigned)(shifted - era * 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
	                        day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned shifted_month = (5 * day_of_year + 2) / 153;
	unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;

	return (struct date){
		.year = year_of_era + era * 400 + (month <= 2),
		.month = month,
		.day = day_of_year - (153 * shifted_month + 2) / 5 + 1,
	};
}

static char *put_part(char *at, unsigned value, unsigned width, char after)
{
	at = put_digits(at, value, width);
	*at = after;
	return at + 1;
}

const char *stamp_text(int64_t wall_ms, char text[STAMP_TEXT_MAX])
{
	enum { DAY_MS = 86400000, YEAR_MAX = 9999 };
	int64_t days = wall_ms / DAY_MS - (wall_ms % DAY_MS < 0);
	unsigned ms = (unsigned)(wall_ms - days * DAY_MS);
	struct date date = date_of(days);
	char *at = text;

	if (date.year >= 0 && date.year <= YEAR_MAX)
		at = put_part(at, (unsigned)date.year, 4, '-');
	else
		at += snprintf(text, STAMP_TEXT_MAX / 2, "%04d-", (int)date.year);
	at = put_part(at, date.month, 2, '-');
	at = put_part(at, date.day, 2, 'T');
	at = put_part(at, ms / 3600000, 2, ':');
	at = put_part(at, ms / 60000 % 60, 2, ':');
	at = put_part(at, ms / 1000 % 60, 2, '.');
	*put_part(at, ms % 1000, 3, 'Z') = '\0';
	return text;
}
