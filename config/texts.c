/* The types whose values are text: names, paths, command lines, addresses. */
#include <stdio.h>
#include <string.h>

#include "config/keys.h"
#include "config/words.h"

static int fail(char *problem, const char *why)
{
	snprintf(problem, PROBLEM_TEXT_MAX, "%s", why);
	return -1;
}

/* As word_unquote said, with the number that it does not know how to put. */
static int fail_word(char *problem, const char *why, size_t size)
{
	if (why != word_too_long)
		return fail(problem, why);
	snprintf(problem, PROBLEM_TEXT_MAX, "%s; at most %zu bytes", why, size - 1);
	return -1;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

static int name_parse(const struct key *key, const char *text, void *field, char *problem)
{
	char name[NAME_TEXT_MAX];
	const char *why;

	(void)key;
	if (word_unquote(text, name, sizeof(name), &why) < 0)
		return fail_word(problem, why, sizeof(name));
	if (name[strcspn(name, "/ \"';#")] || has_control(name) || *name == '.' || *name == '-')
		return fail(problem, "a name holds no blank, quote, slash, ; or #, and begins "
				     "with neither . nor -");
	memcpy(field, name, sizeof(name));
	return 0;
}

static int path_parse(const struct key *key, const char *text, void *field, char *problem)
{
	char path[PATH_TEXT_MAX];
	const char *why;

	(void)key;
	if (word_unquote(text, path, sizeof(path), &why) < 0)
		return fail_word(problem, why, sizeof(path));
	if (has_control(path))
		return fail(problem, "control characters");
	memcpy(field, path, sizeof(path));
	return 0;
}

static void text_format(const struct key *key, const void *field, char *text)
{
	(void)key;
	*text = '\0';
	if (*(const char *)field)
		word_quote(field, text);
}

const struct type type_name = { name_parse, text_format, NULL, "NAME", true };
const struct type type_path = { path_parse, text_format, NULL, "PATH", true };

static int words_value_parse(const struct key *key, const char *text, void *field, char *problem)
{
	const char *why;

	(void)key;
	return words_parse(text, field, &why) < 0 ? fail_word(problem, why, WORDS_TEXT_MAX) : 0;
}

static void words_value_format(const struct key *key, const void *field, char *text)
{
	const struct words *words = field;
	size_t length = 0;

	(void)key;
	*text = '\0';
	for (const char *word = words_next(words, NULL); word; word = words_next(words, word)) {
		if (length > 0)
			text[length++] = ' ';
		length += word_quote(word, text + length);
	}
}

const struct type type_words = { words_value_parse, words_value_format, NULL, "PROGRAM ARG ...", true };

static const char *const ready_words[] = { "auto", "alive", "notify", "fd", "command", NULL };

static int ready_parse(const struct key *key, const char *text, void *field, char *problem)
{
	struct ready_mode mode;

	memset(&mode, 0, sizeof(mode));
	for (int i = 0; ready_words[i]; i++) {
		if (strcmp(ready_words[i], text) == 0) {
			mode.when = (enum ready_when)i;
			memcpy(field, &mode, sizeof(mode));
			return 0;
		}
	}
	if (strncmp(text, "http ", 5) != 0)
		return fail(problem, "not one of auto, alive, notify, fd, command, http /PATH");
	mode.when = READY_HTTP;
	if (path_parse(key, text + 5 + strspn(text + 5, " \t"), mode.path, problem) < 0)
		return -1;
	if (mode.path[0] != '/' || strchr(mode.path, ' '))
		return fail(problem, "the path after http begins with / and holds no blank");
	memcpy(field, &mode, sizeof(mode));
	return 0;
}

static void ready_format(const struct key *key, const void *field, char *text)
{
	const struct ready_mode *mode = field;

	(void)key;
	if (mode->when == READY_HTTP) {
		memcpy(text, "http ", 5);
		word_quote(mode->path, text + 5);
	} else {
		snprintf(text, VALUE_TEXT_MAX, "%s", ready_words[mode->when]);
	}
}

const struct type type_ready = { ready_parse, ready_format, ready_words,
				 "auto|alive|notify|fd|command|http PATH", true };

static int address_value_parse(const struct key *key, const char *text, void *field, char *problem)
{
	const char *why;

	(void)key;
	if (*text == '\0') {
		memset(field, 0, sizeof(struct address));
		return 0;
	}
	return address_parse(text, field, &why) < 0 ? fail(problem, why) : 0;
}

static int address_or_off_parse(const struct key *key, const char *text, void *field,
				char *problem)
{
	if (strcmp(text, "off") != 0)
		return address_value_parse(key, text, field, problem);
	memset(field, 0, sizeof(struct address));
	((struct address *)field)->kind = ADDRESS_OFF;
	return 0;
}

static void address_value_format(const struct key *key, const void *field, char *text)
{
	char bare[ADDRESS_TEXT_MAX];

	(void)key;
	address_format(field, bare);
	memcpy(text, bare, strlen(bare) + 1);
}

const struct type type_address = { address_value_parse, address_value_format, NULL, "ADDRESS", false };
const struct type type_address_or_off = { address_or_off_parse, address_value_format, NULL,
					  "ADDRESS|off", false };
