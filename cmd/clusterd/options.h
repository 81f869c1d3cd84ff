/*
 * options - the command line of clusterd, and the policy that it and the file make.
 *
 * The layers of a policy, each over the last:
 *   the defaults
 *   the file of -c
 *   -n, -l, --name, --log-format in the order given; a -l with the name of a listener of the file
 *     replaces its address, any other -l adds one; a -l without a name is called fd3, fd4, ...
 *   without a listener so far: *:$PORT, or *:1337 without PORT; unless [cluster] listen = no
 *   -b and -a, for every listener there is, wherever on the line they stand
 *   --set, in the order given
 *   the program on the command line, instead of [cluster] command
 *   without a [cluster] name: the last part of the program's path
 */
#ifndef CLUSTERD_CMD_OPTIONS_H
#define CLUSTERD_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/load.h"

#define COMMAND_LINE "command line" /* origin of the program and of what is missing */

enum {
	OPTIONS_PROBLEM_MAX = 200,
	POLICY_FILE_MAX = 1 << 20, /* bytes of a policy file */
};

struct option_row {
	const char *letter, *name, *argument, *key, *group, *help;
	const char *source; /* as an origin: "-n", "--set" */
};

enum {
	OPTIONS_MAX = 0
#define OPT(...) +1
#include "cmd/clusterd/options.def"
#undef OPT
};
extern const struct option_row option_rows[OPTIONS_MAX];

struct options {
	const char *config_file; /* NULL without -c */
	char **program;          /* of argv; *program is NULL if there is none */
	bool check, dump, version;
	bool help, help_all;
	/* The options that say something about the policy, in their order. Owned. NULL: no memory for them. */
	struct given_option {
		const struct option_row *row;
		const char *argument;
	} *given;
	size_t given_count;
};

/*
 * Reads the command line; `argv` ends in NULL and has to outlive *options. Returns 0, or -1 with
 * `problem` set to one line for the user (exit status 64). options_finish follows in either case.
 */
int options_parse(struct options *options, char **argv, char problem[OPTIONS_PROBLEM_MAX]);
void options_finish(struct options *options);

/*
 * Makes the policy anew, at start and at each reload; `config` may hold anything. Calls `complain` for
 * every problem and returns how many there were; without one, config->policy is checked and complete.
 * With one it may be looked at (verify_system), but is not to be run.
 */
int options_load(const struct options *options, struct config *config, config_complaint *complain,
		 void *context);

/*
 * Reads a whole regular file of at most POLICY_FILE_MAX bytes and never waits for one that is
 * something else. Returns 0, or -1 with `problem` set. The caller frees *ret_text.
 */
int read_policy_file(const char *path, char **ret_text, size_t *ret_size,
		     char problem[OPTIONS_PROBLEM_MAX]);

/*
 * What a policy says of the system it is for, for -t: does the program exist, do user, group and
 * directory, may this user do what is asked for, do the limits fit? Looks and touches nothing. Returns the number
 * of complaints.
 */
int verify_system(const struct config *config, config_complaint *complain, void *context);

/* The part of it that also keeps a start from succeeding half: are there open files for all workers? */
int verify_start(const struct config *config, config_complaint *complain, void *context);

/* "web.conf:12: text", or "--set: text" for line 0. */
void format_complaint(char *line, size_t size, const char *source, unsigned number, const char *text);

void help_short(FILE *out);
void help_long(FILE *out);

#endif
