#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#include "cmd/clusterd/features.h"
#include "cmd/clusterd/options.h"
#include "supervisor/core/escape.h"
#include "supervisor/os/inherit.h"
#include "supervisor/supervisor.h"

enum { LINE_SIZE = PATH_MAX + COMPLAINT_TEXT_MAX };

/* Who has to hear of a complaint, and whether the command line or the policy is to blame. */
struct audience {
	supervisor_complain *line; /* NULL: standard error */
	void *context;
	int policy, usage;
};

/* A name or a value may hold anything; what it sends to the terminal is escaped, as in the log. */
static void say(const char *before, const char *line)
{
	char shown[LOG_ESCAPED_MAX(LINE_SIZE)];
	size_t size = strlen(line);

	fprintf(stderr, "%s%.*s\n", before,
	        (int)log_escape(shown, line, size < LINE_SIZE ? size : LINE_SIZE, false), shown);
}

static void hear(void *context, const char *source, unsigned number, const char *text)
{
	struct audience *who = context;
	char line[LINE_SIZE];

	format_complaint(line, sizeof(line), source, number, text);
	if (number == 0 && (*source == '-' || strcmp(source, COMMAND_LINE) == 0))
		who->usage++;
	else
		who->policy++;
	if (who->line)
		who->line(who->context, line);
	else
		say(number > 0 ? "" : "clusterd: ", line);
}

/* For a reload: the same layers again. */
static int read_again(void *context, struct policy *policy, supervisor_complain *complain,
		      void *complain_context)
{
	struct audience who = { .line = complain, .context = complain_context };
	struct config *config = malloc(sizeof(*config));
	int complaints;

	if (!config) {
		complain(complain_context, "no memory to read the policy");
		return 1;
	}
	complaints = options_load(context, config, hear, &who);
	if (complaints == 0)
		memcpy(policy, &config->policy, sizeof(*policy));
	free(config);
	return complaints;
}

static void print_line(void *context, const char *line)
{
	fprintf(context, "%s\n", line);
}

static int print_version(void)
{
	printf("clusterd %s\n", CLUSTERD_VERSION);
	printf("libuv %s, inih %s\n", uv_version_string(), INIH_VERSION);
	features_print(stdout);
	return EX_OK;
}

/*
 * The path by which an upgrade finds the new program, even after the working folder has changed. A bare
 * name was searched for in $PATH; what execve(2) was given then, getauxval(3) tells. Links in it are
 * followed by the upgrade, not now: they may point to the new program.
 */
static const char *own_path(const char *argument, char path[PATH_MAX])
{
	const char *executed = (const char *)getauxval(AT_EXECFN);
	char folder[PATH_MAX];

	if (strchr(argument, '/') || !executed)
		executed = argument;
	if (executed[0] != '/' && getcwd(folder, sizeof(folder)) &&
	    snprintf(path, PATH_MAX, "%s/%s", folder, executed) < PATH_MAX)
		return path;
	return executed;
}

static int run(struct options *options, struct config *config, int state_fd, char **argv)
{
	char path[PATH_MAX];
	struct supervisor_options supervisor = {
		.policy = config ? &config->policy : NULL,
		.state_fd = state_fd,
		.policy_file = options->config_file,
		.read = read_again,
		.read_context = options,
		.argv = argv,
		.self = own_path(argv[0], path),
	};

	return supervisor_run(&supervisor);
}

static int load_and_run(struct options *options, struct config *config, char **argv)
{
	struct audience who = { 0 };
	int complaints = options_load(options, config, hear, &who);

	if (options->check)
		complaints += verify_system(config, hear, &who);
	if (complaints > 0)
		return who.policy == 0 && !options->check ? EX_USAGE : EX_CONFIG;
	if (!options->check && !options->dump && verify_start(config, hear, &who) > 0)
		return EX_CONFIG;
	if (options->dump)
		config_dump(config, print_line, stdout);
	else if (options->check)
		printf("%s: ok\n", options->config_file ? options->config_file : COMMAND_LINE);
	else
		return run(options, config, -1, argv);
	return fflush(stdout) == 0 ? EX_OK : EX_OSERR;
}

/*
 * Started by a clusterd that replaces itself? Its state holds the policy in force, so nothing is
 * loaded anew; the command line is read for later reloads.
 */
static bool is_upgrade(const char *how, struct options *options, char **argv, int *ret_status)
{
	int fd;

	if (!how)
		return false;
	if (sscanf(how, "check:%d", &fd) == 1) {
		*ret_status = supervisor_check_state(fd);
		return true;
	}
	if (sscanf(how, "take:%d", &fd) != 1)
		return false;
	unsetenv(UPGRADE_ENV);
	*ret_status = run(options, NULL, fd, argv);
	return true;
}

int main(int argc, char **argv)
{
	struct options options;
	struct config *config = malloc(sizeof(*config));
	char problem[OPTIONS_PROBLEM_MAX];
	int status = EX_OK;

	(void)argc;
	inherit_standard();
	if (!config || options_parse(&options, argv, problem) < 0) {
		say("clusterd: ", config ? problem : "no memory");
		status = config && options.given ? EX_USAGE : EX_OSERR;
	} else if (is_upgrade(getenv(UPGRADE_ENV), &options, argv, &status)) {
		/* It has run, and status says how it ended. */
	} else if (options.help) {
		(options.help_all ? help_long : help_short)(stdout);
	} else if (options.version) {
		status = print_version();
	} else {
		status = load_and_run(&options, config, argv);
	}
	if (config)
		options_finish(&options);
	free(config);
	return status;
}
