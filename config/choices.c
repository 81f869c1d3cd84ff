/* The types whose values are one of a few words, in the order of the enum in policy.h. */
#include <stdio.h>
#include <string.h>

#include "config/keys.h"

static int find_word(const char *const *words, const char *text)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

static int choice_parse(const struct key *key, const char *text, void *field, char *problem)
{
	const char *const *words = key->type->words;
	int number = find_word(words, text);
	size_t length;

	if (number >= 0) {
		memcpy(field, &number, sizeof(number)); /* every enum is as large as an int */
		return 0;
	}
	length = (size_t)snprintf(problem, PROBLEM_TEXT_MAX, "not one of");
	for (int i = 0; words[i] && length < PROBLEM_TEXT_MAX; i++)
		length += (size_t)snprintf(problem + length, PROBLEM_TEXT_MAX - length, "%s %s",
					   i > 0 ? "," : "", words[i]);
	return -1;
}

static void choice_format(const struct key *key, const void *field, char *text)
{
	int number;

	memcpy(&number, field, sizeof(number));
	snprintf(text, VALUE_TEXT_MAX, "%s", key->type->words[number]);
}

#define CHOICE(name, ...)                                                                          \
	static const char *const name##_words[] = { __VA_ARGS__, NULL };                           \
	const struct type type_##name = { choice_parse, choice_format, name##_words, NULL, false };

CHOICE(restart, "always", "on-failure", "on-abnormal", "never")
CHOICE(give_up, "hold", "retire", "exit")
CHOICE(scope, "group", "process")
CHOICE(on_failure, "rollback", "stop")
CHOICE(log_format, "text", "logfmt", "json")
CHOICE(log_level, "error", "warn", "info", "debug")
CHOICE(output, "inherit", "capture")
CHOICE(overflow, "drop", "block")
CHOICE(on_death, "stop", "keep")
CHOICE(over_max_old, "cut", "refuse")
CHOICE(cpu, "any", "pin")
CHOICE(nonblock, "keep", "yes", "no")
CHOICE(balance, "shared", "hash", "round-robin", "round-robin?")
CHOICE(exit_action, "respawn", "backoff", "retire", "exit")

static const char *const flag_words[] = { "no", "yes", "off", "on", "false", "true", "0", "1", NULL };
static const char *const flag_choices[] = { "no", "yes", NULL };

static int flag_parse(const struct key *key, const char *text, void *field, char *problem)
{
	int number = find_word(flag_words, text);

	(void)key;
	if (number < 0) {
		snprintf(problem, PROBLEM_TEXT_MAX, "not yes or no");
		return -1;
	}
	*(bool *)field = number % 2 == 1;
	return 0;
}

static void flag_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	snprintf(text, VALUE_TEXT_MAX, "%s", *(const bool *)field ? "yes" : "no");
}

const struct type type_flag = { flag_parse, flag_format, flag_choices, NULL, false };

/* Several of these words, in any order; the i-th stands for bit i. */
static const char *const style_words[] = { "systemd", "server-starter", "einhorn", "nginx",
					   "unicorn", "puma",		"php-fpm", NULL };

static int styles_parse(const struct key *key, const char *text, void *field, char *problem)
{
	uint32_t styles = 0;
	char word[32];

	(void)key;
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		size_t length = strcspn(text, " \t");
		int number;

		snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : 0), text);
		number = find_word(style_words, word);
		if (number < 0) {
			snprintf(problem, PROBLEM_TEXT_MAX,
				 "each word must be one of systemd, server-starter, einhorn, nginx, "
				 "unicorn, puma, php-fpm");
			return -1;
		}
		styles |= 1U << number;
		text += length;
	}
	*(uint32_t *)field = styles;
	return 0;
}

static void styles_format(const struct key *key, const void *field, char *text)
{
	uint32_t styles = *(const uint32_t *)field;
	int length = 0;

	(void)key;
	*text = '\0';
	for (int i = 0; style_words[i]; i++)
		if (styles & 1U << i)
			length += snprintf(text + length, VALUE_TEXT_MAX - (size_t)length, "%s%s",
					   length > 0 ? " " : "", style_words[i]);
}

const struct type type_styles = { styles_parse, styles_format, style_words, "STYLE ...", true };
