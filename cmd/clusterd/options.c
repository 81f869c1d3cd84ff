#include "cmd/clusterd/options.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/assign.h"
#include "config/words.h"

const struct option_row option_rows[OPTIONS_MAX] = {
#define OPT(letter, name, argument, key, group, help)                                              \
	{ letter, name, argument, key, group, help, sizeof(letter) > 1 ? "-" letter : "--" name },
#include "cmd/clusterd/options.def"
#undef OPT
};

/* The options that only switch something on. */
static const struct {
	const char *name;
	size_t offset;
} switches[] = {
	{ "check-config", offsetof(struct options, check) },
	{ "dump-config", offsetof(struct options, dump) },
	{ "version", offsetof(struct options, version) },
};

static bool is(const struct option_row *row, const char *name)
{
	return strcmp(row->name, name) == 0;
}

static const struct option_row *find_long(const char *name, size_t length)
{
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		if (strlen(option_rows[i].name) == length &&
		    memcmp(option_rows[i].name, name, length) == 0)
			return &option_rows[i];
	return NULL;
}

static const struct option_row *find_letter(char letter)
{
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		if (letter != '\0' && option_rows[i].letter[0] == letter)
			return &option_rows[i];
	return NULL;
}

/* The first key of this name; --max-rss is max_rss. */
static const struct key *key_named(const char *word)
{
	char name[64];

	snprintf(name, sizeof(name), "%s", word);
	for (char *p = name; *p; p++)
		if (*p == '-')
			*p = '_';
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int unknown_long(const char *name, size_t length, char *problem)
{
	char word[64];
	struct suggestion near = { .word = word };
	const struct key *key;

	snprintf(word, sizeof(word), "%.*s", (int)(length < 60 ? length : 60), name);
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		suggest(&near, option_rows[i].name);
	key = key_named(word);
	if (key)
		snprintf(problem, OPTIONS_PROBLEM_MAX,
			 "there is no option --%s, but a key: --set %s.%s=VALUE", word, key->section,
			 key->name);
	else if (near.best)
		snprintf(problem, OPTIONS_PROBLEM_MAX, "unknown option --%s (did you mean --%s?)", word,
			 near.best);
	else
		snprintf(problem, OPTIONS_PROBLEM_MAX, "unknown option --%s; see clusterd -h", word);
	return -1;
}

/* One option, with its argument if it takes one. */
static void take_option(struct options *options, const struct option_row *row, const char *argument,
			bool by_letter)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (is(row, switches[i].name)) {
			*(bool *)((char *)options + switches[i].offset) = true;
			return;
		}
	}
	if (is(row, "config")) {
		options->config_file = argument;
	} else if (is(row, "help")) {
		options->help = true;
		options->help_all |= !by_letter;
	} else {
		options->given[options->given_count].row = row;
		options->given[options->given_count++].argument = argument;
	}
}

/* "--name", "--name=VALUE" or "--name VALUE"; returns how many words it was, or -1. */
static int take_long(struct options *options, char **argv, char *problem)
{
	const char *name = argv[0] + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row = find_long(name, length);
	bool takes_argument = row && *row->argument;

	if (!row)
		return unknown_long(name, length, problem);
	if (equals && !takes_argument) {
		snprintf(problem, OPTIONS_PROBLEM_MAX, "--%s takes no argument", row->name);
		return -1;
	}
	if (takes_argument && !equals && !argv[1]) {
		snprintf(problem, OPTIONS_PROBLEM_MAX, "--%s needs %s", row->name, row->argument);
		return -1;
	}
	take_option(options, row, equals ? equals + 1 : argv[1], false);
	return takes_argument && !equals ? 2 : 1;
}

/* "-n4", "-n 4", "-at": letters up to one that takes an argument; returns how many words, or -1. */
static int take_letters(struct options *options, char **argv, char *problem)
{
	for (const char *letter = argv[0] + 1; *letter; letter++) {
		const struct option_row *row = find_letter(*letter);

		if (!row) {
			snprintf(problem, OPTIONS_PROBLEM_MAX, "unknown option -%c; see clusterd -h",
				 *letter);
			return -1;
		}
		if (!*row->argument) {
			take_option(options, row, NULL, true);
		} else if (letter[1]) {
			take_option(options, row, letter + 1, true);
			return 1;
		} else if (argv[1]) {
			take_option(options, row, argv[1], true);
			return 2;
		} else {
			snprintf(problem, OPTIONS_PROBLEM_MAX, "-%c needs %s", *letter, row->argument);
			return -1;
		}
	}
	return 1;
}

int options_parse(struct options *options, char **argv, char problem[OPTIONS_PROBLEM_MAX])
{
	size_t letters = 0;
	int words;

	memset(options, 0, sizeof(*options));
	for (char **word = argv; *word; word++)
		letters += strlen(*word);
	options->given = calloc(letters + 1, sizeof(*options->given));
	if (!options->given) {
		snprintf(problem, OPTIONS_PROBLEM_MAX, "no memory");
		return -1;
	}
	for (argv += *argv != NULL; *argv && argv[0][0] == '-' && argv[0][1]; argv += words) {
		if (strcmp(*argv, "--") == 0) {
			argv++;
			break;
		}
		words = argv[0][1] == '-' ? take_long(options, argv, problem) :
					    take_letters(options, argv, problem);
		if (words < 0)
			return -1;
	}
	options->program = argv;
	if (options->config_file && !*options->config_file) {
		snprintf(problem, OPTIONS_PROBLEM_MAX, "--config needs FILE");
		return -1;
	}
	return 0;
}

void options_finish(struct options *options)
{
	free(options->given);
	memset(options, 0, sizeof(*options));
}
