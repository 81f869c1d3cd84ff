#include "config/types.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/keys.h"
#include "config/signals.h"
#include "config/words.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int fail(char *problem, const char *why)
{
	snprintf(problem, PROBLEM_TEXT_MAX, "%s", why);
	return -1;
}

/* Reads a run of digits; returns what follows, or NULL where there is none or it overflows. */
static const char *digits(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return NULL;
	*ret = value;
	return text;
}

/* A number with a unit, and how it is written back. */
struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit durations[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit sizes[] = {
	{ "T", 1ULL << 40 }, { "G", 1ULL << 30 }, { "M", 1ULL << 20 }, { "K", 1ULL << 10 },
};

static const struct unit *unit_find(const struct unit *units, size_t count, const char *suffix,
				    size_t length)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(units[i].suffix) == length && memcmp(units[i].suffix, suffix, length) == 0)
			return &units[i];
	return NULL;
}

int duration_format(unsigned long long ms, char *text, size_t size)
{
	int length = 0;

	if (ms == 0)
		return snprintf(text, size, "0");
	for (size_t i = 0; i < COUNT(durations); i++) {
		unsigned long long n = ms / durations[i].factor;

		ms %= durations[i].factor;
		if (n > 0 && length >= 0 && (size_t)length < size)
			length += snprintf(text + length, size - (size_t)length, "%llu%s", n,
					   durations[i].suffix);
	}
	return length;
}

static void bytes_text(uint64_t bytes, char *text, size_t size)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		if (bytes > 0 && bytes % sizes[i].factor == 0) {
			snprintf(text, size, "%" PRIu64 "%s", bytes / sizes[i].factor, sizes[i].suffix);
			return;
		}
	}
	snprintf(text, size, "%" PRIu64, bytes);
}

/* Is value within min and max? `text_of` writes a limit in the type's own form. */
static int in_range(const struct key *key, uint64_t value, char *problem,
		    void (*text_of)(uint64_t, char *, size_t))
{
	char low[32], high[32];

	if (value >= (uint64_t)key->min && value <= (uint64_t)key->max)
		return 0;
	text_of((uint64_t)key->min, low, sizeof(low));
	text_of((uint64_t)key->max, high, sizeof(high));
	snprintf(problem, PROBLEM_TEXT_MAX, "out of range; it can be %s to %s", low, high);
	return -1;
}

static void number_text(uint64_t value, char *text, size_t size)
{
	snprintf(text, size, "%" PRIu64, value);
}

static void duration_text(uint64_t value, char *text, size_t size)
{
	duration_format(value, text, size);
}

static int number_in_range(const struct key *key, const char *text, const char *suffix,
			   uint64_t *ret, char *problem, const char *why)
{
	uint64_t value;
	const char *end = digits(text, &value);

	if (!end || (*end && strcmp(end, suffix) != 0))
		return fail(problem, why);
	if (in_range(key, value, problem, number_text) < 0)
		return -1;
	*ret = value;
	return 0;
}

static int number_parse(const struct key *key, const char *text, void *field, char *problem)
{
	uint64_t value;

	if (number_in_range(key, text, "", &value, problem, "not a whole number") < 0)
		return -1;
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static void number_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	snprintf(text, VALUE_TEXT_MAX, "%" PRIu32, *(const uint32_t *)field);
}

const struct type type_number = { number_parse, number_format, NULL, "N", false };

static int percent_parse(const struct key *key, const char *text, void *field, char *problem)
{
	uint64_t value;

	if (number_in_range(key, text, "%", &value, problem, "not a percentage such as 10%") < 0)
		return -1;
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static void percent_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	snprintf(text, VALUE_TEXT_MAX, "%" PRIu32 "%%", *(const uint32_t *)field);
}

const struct type type_percent = { percent_parse, percent_format, NULL, "N%", false };

/* A number above 0, or a word for 0. */
static int number_or_word(const struct key *key, const char *text, void *field, char *problem,
			  const char *word)
{
	char why[64];
	uint64_t value = 0;

	snprintf(why, sizeof(why), "not a whole number or %s", word);
	if (strcmp(text, word) != 0 && number_in_range(key, text, "", &value, problem, why) < 0) {
		size_t used = strlen(problem);

		if (strcmp(problem, why) != 0)
			snprintf(problem + used, PROBLEM_TEXT_MAX - used, ", or %s", word);
		return -1;
	}
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int count_parse(const struct key *key, const char *text, void *field, char *problem)
{
	return number_or_word(key, text, field, problem, "auto");
}

static void count_format(const struct key *key, const void *field, char *text)
{
	if (*(const uint32_t *)field == 0)
		snprintf(text, VALUE_TEXT_MAX, "auto");
	else
		number_format(key, field, text);
}

const struct type type_count = { count_parse, count_format, NULL, "N|auto", false };

static int limit_parse(const struct key *key, const char *text, void *field, char *problem)
{
	return number_or_word(key, text, field, problem, "none");
}

static void limit_format(const struct key *key, const void *field, char *text)
{
	if (*(const uint32_t *)field == 0)
		snprintf(text, VALUE_TEXT_MAX, "none");
	else
		number_format(key, field, text);
}

const struct type type_limit = { limit_parse, limit_format, NULL, "N|none", false };

/* "1h30m", "250ms", or "0": each part with its unit, the larger first. */
static int duration_parse(const struct key *key, const char *text, void *field, char *problem)
{
	static const char why[] = "not a duration such as 250ms, 10s, 5m or 1h";
	const struct unit *last = NULL;
	uint64_t total = 0;

	for (const char *p = text; strcmp(text, "0") != 0 && (*p || p == text);) {
		const struct unit *unit;
		uint64_t n;
		size_t length;

		p = digits(p, &n);
		if (!p)
			return fail(problem, why);
		length = strspn(p, "abcdefghijklmnopqrstuvwxyz");
		unit = unit_find(durations, COUNT(durations), p, length);
		if (!unit || (last && unit <= last) || __builtin_mul_overflow(n, unit->factor, &n) ||
		    __builtin_add_overflow(total, n, &total))
			return fail(problem, why);
		p += length;
		last = unit;
	}
	if (in_range(key, total, problem, duration_text) < 0)
		return -1;
	*(uint64_t *)field = total;
	return 0;
}

static void duration_value(const struct key *key, const void *field, char *text)
{
	(void)key;
	duration_format(*(const uint64_t *)field, text, VALUE_TEXT_MAX);
}

const struct type type_duration = { duration_parse, duration_value, NULL, "DURATION", false };

/* "64M": returns what follows, or NULL. */
static const char *take_bytes(const char *text, uint64_t *ret)
{
	uint64_t n;
	const char *end = digits(text, &n);
	const struct unit *unit;

	if (!end)
		return NULL;
	unit = *end ? unit_find(sizes, COUNT(sizes), end, 1) : NULL;
	if (unit) {
		end++;
		if (__builtin_mul_overflow(n, unit->factor, &n))
			return NULL;
	}
	*ret = n;
	return end;
}

static int bytes_parse(const struct key *key, const char *text, void *field, char *problem)
{
	uint64_t value;
	const char *end = take_bytes(text, &value);

	if (!end || *end)
		return fail(problem, "not a size such as 512K, 64M or 2G");
	if (in_range(key, value, problem, bytes_text) < 0)
		return -1;
	*(uint64_t *)field = value;
	return 0;
}

static void bytes_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	bytes_text(*(const uint64_t *)field, text, VALUE_TEXT_MAX);
}

const struct type type_bytes = { bytes_parse, bytes_format, NULL, "SIZE", false };

static int octal_parse(const struct key *key, const char *text, void *field, char *problem)
{
	struct optional value = { .given = *text != '\0' };

	if (strlen(text) > 6 || strspn(text, "01234567") != strlen(text))
		return fail(problem, "not an octal number such as 0640");
	for (; *text; text++)
		value.value = value.value * 8 + (*text - '0');
	if (value.value > key->max) {
		snprintf(problem, PROBLEM_TEXT_MAX, "more than %04" PRIo64, (uint64_t)key->max);
		return -1;
	}
	memset(field, 0, sizeof(value));
	((struct optional *)field)->given = value.given;
	((struct optional *)field)->value = value.value;
	return 0;
}

static void octal_format(const struct key *key, const void *field, char *text)
{
	const struct optional *value = field;

	(void)key;
	*text = '\0';
	if (value->given)
		snprintf(text, VALUE_TEXT_MAX, "%04" PRIo32, (uint32_t)value->value);
}

const struct type type_octal = { octal_parse, octal_format, NULL, "MODE", false };

static int integer_parse(const struct key *key, const char *text, void *field, char *problem)
{
	bool negative = *text == '-';
	uint64_t value = 0;
	const char *end = *text ? digits(text + negative, &value) : text;

	if (!end || *end)
		return fail(problem, "not a whole number");
	if (value > (uint64_t)(negative ? -key->min : key->max)) {
		snprintf(problem, PROBLEM_TEXT_MAX, "out of range; it can be %" PRId64 " to %" PRId64,
			 key->min, key->max);
		return -1;
	}
	memset(field, 0, sizeof(struct optional));
	((struct optional *)field)->given = *text != '\0';
	((struct optional *)field)->value = negative ? -(int32_t)value : (int32_t)value;
	return 0;
}

static void integer_format(const struct key *key, const void *field, char *text)
{
	const struct optional *value = field;

	(void)key;
	*text = '\0';
	if (value->given)
		snprintf(text, VALUE_TEXT_MAX, "%" PRId32, value->value);
}

const struct type type_integer = { integer_parse, integer_format, NULL, "N", false };

static const char *take_rlimit(const char *text, uint64_t *ret)
{
	if (strncmp(text, "infinity", 8) == 0) {
		*ret = UINT64_MAX;
		return text + 8;
	}
	text = take_bytes(text, ret);
	return text && *ret <= INT64_MAX ? text : NULL;
}

static int rlimit_parse(const struct key *key, const char *text, void *field, char *problem)
{
	struct rlimit_pair value = { .given = *text != '\0' };
	const char *end = text;

	(void)key;
	if (*text) {
		end = take_rlimit(text, &value.soft);
		value.hard = value.soft;
		if (end && *end == ':')
			end = take_rlimit(end + 1, &value.hard);
	}
	if (!end || *end)
		return fail(problem, "not a limit such as 65536, 64M, infinity or SOFT:HARD");
	if (value.soft > value.hard)
		return fail(problem, "the soft limit is above the hard one");
	memset(field, 0, sizeof(value));
	((struct rlimit_pair *)field)->given = value.given;
	((struct rlimit_pair *)field)->soft = value.soft;
	((struct rlimit_pair *)field)->hard = value.hard;
	return 0;
}

static int rlimit_text(uint64_t value, char *text, size_t size)
{
	if (value == UINT64_MAX)
		return snprintf(text, size, "infinity");
	return snprintf(text, size, "%" PRIu64, value);
}

static void rlimit_format(const struct key *key, const void *field, char *text)
{
	const struct rlimit_pair *value = field;
	int length;

	(void)key;
	*text = '\0';
	if (!value->given)
		return;
	length = rlimit_text(value->soft, text, VALUE_TEXT_MAX);
	if (value->soft != value->hard) {
		text[length] = ':';
		rlimit_text(value->hard, text + length + 1, VALUE_TEXT_MAX - (size_t)length - 1);
	}
}

const struct type type_rlimit = { rlimit_parse, rlimit_format, NULL, "N|SOFT:HARD", false };

static int signo_parse(const struct key *key, const char *text, void *field, char *problem)
{
	int number = signal_number(text);

	if (number < key->min || number > key->max)
		return fail(problem, "not a signal such as SIGTERM, USR1 or SIGRTMIN+3");
	*(int32_t *)field = number;
	return 0;
}

static void signo_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	signal_name(*(const int32_t *)field, text);
}

const struct type type_signo = { signo_parse, signo_format, NULL, "SIGNAL", false };
