/*
 * Prints the tables of the project, a row a line, for the tests that compare them with the man pages,
 * the completions and the examples:
 *
 *	option LONG LETTER ARGUMENT KEY     "-" for what is empty
 *	key SECTION.NAME DEFAULT
 *
 * `list defaults` prints config/examples/full.conf: the dump of a policy in which only the address of
 * one listener is set, so that its other keys show too.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/clusterd/options.h"
#include "config/keys.h"
#include "config/load.h"

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void list_keys(const struct key *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("key %s.%s %s\n", rows[i].section, rows[i].name, or_dash(rows[i].fallback));
}

static void print_line(void *context, const char *line)
{
	(void)context;
	puts(line);
}

static void no_complaint(void *context, const char *source, unsigned line, const char *text)
{
	(void)context;
	fprintf(stderr, "%s:%u: %s\n", source, line, text);
}

static int list_defaults(void)
{
	static struct config config;

	config_init(&config);
	if (config_set(&config, "listen.web.address", "*:1337", "an example", no_complaint, NULL) != 0)
		return 1;
	config_dump(&config, print_line, NULL);
	return ferror(stdout) != 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "defaults") == 0)
		return list_defaults();
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		printf("option %s %s %s %s\n", option_rows[i].name, or_dash(option_rows[i].letter),
		       or_dash(option_rows[i].argument), or_dash(option_rows[i].key));
	list_keys(keys, KEYS_MAX);
	list_keys(listen_keys, LISTEN_KEYS_MAX);
	list_keys(exit_keys, EXIT_KEYS_MAX);
	return ferror(stdout) != 0;
}
