#include <string.h>

#include "cmd/clusterd/options.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 79 };

static const char usage[] =
	"Usage: clusterd [options] [--] program [argument ...]\n"
	"       clusterd -c FILE [options] [-- program [argument ...]]\n";

static const char examples[] =
	"Examples:\n"
	"  clusterd -n auto -- ./app         a worker per CPU, on *:1337 or *:$PORT\n"
	"  clusterd -c web.conf -t           find every problem of a policy file\n";

/* Breaks the text between words, with every line from HELP_COLUMN on. */
static void print_wrapped(FILE *out, int column, const char *text)
{
	if (column >= HELP_COLUMN - 1) {
		fputc('\n', out);
		column = 0;
	}
	while (*text) {
		size_t length = strlen(text), room = HELP_WIDTH - HELP_COLUMN;

		if (length > room) {
			for (length = room; length > 0 && text[length] != ' '; length--)
				;
			if (length == 0)
				length = room;
		}
		fprintf(out, "%*s%.*s\n", HELP_COLUMN - column, "", (int)length, text);
		text += length;
		text += strspn(text, " ");
		column = 0;
	}
}

/* The text of a flag that stands for a key is that of the key. */
static const char *help_of(const struct option_row *row)
{
	const struct key *key = *row->key ? key_find(row->key) : NULL;

	return key ? key->help : row->help;
}

static void print_option(FILE *out, const struct option_row *row)
{
	int column = fprintf(out, "  %s%s%s--%s", *row->letter ? "-" : "", row->letter,
			     *row->letter ? ", " : "    ", row->name);

	if (*row->argument)
		column += fprintf(out, " %s", row->argument);
	print_wrapped(out, column, help_of(row));
}

static void print_options(FILE *out)
{
	const char *group = "";

	for (size_t i = 0; i < OPTIONS_MAX; i++) {
		if (strcmp(group, option_rows[i].group) != 0) {
			group = option_rows[i].group;
			fprintf(out, "\n%s:\n", group);
		}
		print_option(out, &option_rows[i]);
	}
}

static void print_form(FILE *out, int column, const struct key *key)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "%s", key->help);

	if (key->type->form)
		length += snprintf(text + length, sizeof(text) - (size_t)length, ": %s", key->type->form);
	for (int i = 0; !key->type->form && key->type->words[i]; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length, "%s%s",
				   i > 0 ? "|" : ": ", key->type->words[i]);
	if (*key->fallback)
		snprintf(text + length, sizeof(text) - (size_t)length, " (%s)", key->fallback);
	print_wrapped(out, column, text);
}

static void print_keys(FILE *out, const char *instance, const struct key *rows, size_t count)
{
	for (const struct key *key = rows; key < rows + count; key++) {
		if (key == rows || strcmp(key->section, key[-1].section) != 0)
			fprintf(out, "\n[%s%s]\n", key->section, instance);
		print_form(out, fprintf(out, "  %s", key->name), key);
	}
}

void help_short(FILE *out)
{
	fprintf(out, "%s\nStarts a program several times on the same sockets and keeps it running.\n\n%s",
		usage, examples);
	print_options(out);
	fprintf(out, "\nMore: clusterd --help, man 8 clusterd\n");
}

void help_long(FILE *out)
{
	help_short(out);
	fprintf(out, "\nKeys of the policy, for the file and for --set, with their defaults:\n");
	print_keys(out, "", keys, KEYS_MAX);
	print_keys(out, " NAME", listen_keys, LISTEN_KEYS_MAX);
	print_keys(out, " RULE", exit_keys, EXIT_KEYS_MAX);
	fprintf(out, "\n[env]\n");
	print_wrapped(out, fprintf(out, "  NAME"), "a variable of the workers' environment");
}
