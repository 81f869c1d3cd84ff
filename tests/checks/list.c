/*
 * Prints the tables of the project, a row a line, for the tests that compare them with the man pages,
 * the completions and the examples:
 *
 *	option LONG LETTER ARGUMENT KEY     "-" for what is empty
 *	key SECTION.NAME DEFAULT
 */
#include <stdio.h>

#include "cmd/clusterd/options.h"
#include "config/keys.h"

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void list_keys(const struct key *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("key %s.%s %s\n", rows[i].section, rows[i].name, or_dash(rows[i].fallback));
}

int main(void)
{
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		printf("option %s %s %s %s\n", option_rows[i].name, or_dash(option_rows[i].letter),
		       or_dash(option_rows[i].argument), or_dash(option_rows[i].key));
	list_keys(keys, KEYS_MAX);
	list_keys(listen_keys, LISTEN_KEYS_MAX);
	list_keys(exit_keys, EXIT_KEYS_MAX);
	return ferror(stdout) != 0;
}
