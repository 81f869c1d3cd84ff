#include <stdlib.h>
#include <string.h>

#include "cmd/clusterctl/ctl.h"
#include "config/keys.h"

enum kind { KIND_flag, KIND_request, KIND_text, KIND_duration };

static const struct option {
	const char *letter, *name, *argument;
	size_t offset;
	enum kind kind;
} options[] = {
#define OPT(letter, name, argument, field, kind, help)                                             \
	{ letter, name, argument, offsetof(struct ctl, field), KIND_##kind },
#include "cmd/clusterctl/options.def"
#undef OPT
};

bool ctl_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return false;
	value = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(units[i].unit, end) == 0 && value <= 1000000000) {
			*ret_ms = value * units[i].ms;
			return *ret_ms > 0;
		}
	}
	return false;
}

static int wrong(const char *what, const char *word)
{
	ctl_say("clusterctl: %s %s; see: clusterctl --help", what, word);
	return CTL_USAGE;
}

/* "-nweb": the letter of an option that takes a value, and the value. */
static bool is_attached(const struct option *option, const char *word)
{
	return option->letter[0] && option->argument[0] && word[0] == '-' && word[1] == option->letter[0] &&
	       word[2];
}

/* "-n", "-nweb", "--name" or "--name=web". */
static const struct option *option_find(const char *word, const char **ret_value)
{
	const char *equals = strchr(word, '=');
	size_t size = equals ? (size_t)(equals - word) : strlen(word);

	*ret_value = equals ? equals + 1 : NULL;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		const struct option *option = &options[i];
		bool is_long = size > 2 && strlen(option->name) == size - 2 &&
		               strncmp(word, "--", 2) == 0 &&
		               strncmp(word + 2, option->name, size - 2) == 0;

		if (is_long || (size == 2 && option->letter[0] && word[1] == option->letter[0]))
			return option;
		if (is_attached(option, word)) {
			*ret_value = word + 2;
			return option;
		}
	}
	return NULL;
}

static int unknown(const char *word)
{
	char name[64];
	struct suggestion near = { .word = name + 2 };

	snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
	for (size_t i = 0; i < sizeof options / sizeof *options && strncmp(name, "--", 2) == 0; i++)
		suggest(&near, options[i].name);
	if (!near.best)
		return wrong("unknown option", word);
	ctl_say("clusterctl: unknown option %s (did you mean --%s?)", name, near.best);
	return CTL_USAGE;
}

static int set(const struct option *option, const char *value, struct ctl *ctl)
{
	void *field = (char *)ctl + option->offset;

	switch (option->kind) {
	case KIND_flag:
	case KIND_request: *(bool *)field = true; break;
	case KIND_text:
		if (!*value)
			return wrong("an empty value for", option->name);
		*(const char **)field = value;
		break;
	case KIND_duration:
		if (!ctl_duration(value, field))
			return wrong("not a duration (250ms, 10s, 5m, 1h):", value);
		break;
	}
	return 0;
}

/* Takes argv[*i], and what follows it if it wants a value. */
static int take_option(int argc, char **argv, int *i, struct ctl *ctl)
{
	const char *word = argv[*i], *value;
	const struct option *option = option_find(word, &value);

	if (!option)
		return unknown(word);
	if (option->argument[0] && !value) {
		if (*i + 1 >= argc)
			return wrong("a value is missing after", word);
		value = argv[++*i];
	}
	if (!option->argument[0] && value)
		return wrong("no value belongs to", word);
	return set(option, value, ctl);
}

/* A blank or a newline inside would be another word, or another request. */
static bool is_word(const char *word)
{
	for (const char *at = word; *at; at++)
		if (*at <= ' ' || *at > '~')
			return false;
	return *word != '\0';
}

static int take_word(const char *word, struct ctl *ctl)
{
	if (!*word)
		return wrong("an empty argument:", "''");
	if (!is_word(word))
		return wrong("not a word of printable ASCII:", word);
	if (!ctl->verb) {
		ctl->verb = word;
		return 0;
	}
	if (ctl->count == CTL_WORDS_MAX)
		return wrong("too many arguments:", word);
	ctl->words[ctl->count++] = word;
	return 0;
}

/* -2 is an argument of scale. */
static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
}

int ctl_options(int argc, char **argv, struct ctl *ret)
{
	bool words_only = false;

	*ret = (struct ctl){ 0 };
	for (int i = 1; i < argc; i++) {
		int r;

		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
			continue;
		}
		r = !words_only && is_option(argv[i]) ? take_option(argc, argv, &i, ret)
		                                      : take_word(argv[i], ret);
		if (r)
			return r;
	}
	return 0;
}

void ctl_request(const struct ctl *ctl, char *text, size_t size)
{
	int used = snprintf(text, size, "%s", ctl->verb);

	for (unsigned i = 0; i < ctl->count; i++)
		used += snprintf(text + used, size - (size_t)used, " %.512s", ctl->words[i]);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (options[i].kind == KIND_request && *(const bool *)((const char *)ctl + options[i].offset))
			used += snprintf(text + used, size - (size_t)used, " --%s", options[i].name);
	if (ctl->last)
		snprintf(text + used, size - (size_t)used, " --last %.16s", ctl->last);
}
