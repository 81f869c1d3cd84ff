/* The layers of a policy, in their order: options.h. */
#include <stdlib.h>
#include <string.h>

#include "cmd/clusterd/options.h"
#include "config/assign.h"
#include "config/refused.h"
#include "config/words.h"

enum { DEFAULT_PORT = 1337 };

_Static_assert(NAME_TEXT_MAX == 64, "a text says 63");
_Static_assert(WORDS_TEXT_MAX == 4096 && WORDS_MAX == 512, "a text says 4095 and 512");

struct layers {
	const struct options *options;
	struct config *config;
	config_complaint *complain;
	void *context;
	int complaints;
};

static void complain_about(struct layers *l, const char *source, const char *text)
{
	l->complaints++;
	l->complain(l->context, source, 0, text);
}

static void set(struct layers *l, const char *name, const char *value, const char *source)
{
	l->complaints += config_set(l->config, name, value, source, l->complain, l->context);
}

static void load_file(struct layers *l)
{
	const char *file = l->options->config_file;
	char problem[OPTIONS_PROBLEM_MAX], *text;
	size_t size;
	int complaints;

	if (!file)
		return;
	if (read_policy_file(file, &text, &size, problem) < 0) {
		complain_about(l, file, problem);
		config_refuse(l->config, "cluster", NULL, NULL); /* the program may be in it */
		return;
	}
	complaints = config_parse(l->config, text, size, file, l->complain, l->context);
	if (complaints > 0)
		config_take_draft(l->config);
	l->complaints += complaints;
	free(text);
}

/* fd3 for the first socket: a free name that tells a worker where the socket is. */
static void free_name(const struct policy *policy, char *name, size_t size)
{
	uint32_t taken = 0, fd = 3 + policy->listener_count;

	do {
		snprintf(name, size, "fd%u", fd++);
		for (taken = 0; taken < policy->listener_count; taken++)
			if (strcmp(policy->listeners[taken].name, name) == 0)
				break;
	} while (taken < policy->listener_count);
}

/* Of the same -l before: another one may only replace what the file says. */
static bool is_given(const struct config *config, const char *name, const char *source)
{
	const struct key *address = key_find("listen.address");

	for (uint32_t i = 0; i < config->policy.listener_count; i++)
		if (strcmp(config->policy.listeners[i].name, name) == 0)
			return config->origins.listeners[i].keys[address - listen_keys].source == source;
	return false;
}

/* The listen = no of the file is for the listeners of the file; that of -l none stays. */
static void allow_listeners(struct layers *l, const char *source)
{
	const struct key *key = key_find("cluster.listen");

	if (!l->config->policy.cluster_listen && l->config->policy.listener_count == 0 &&
	    l->config->origins.keys[key - keys].source != source)
		set(l, "cluster.listen", "yes", source);
}

/* [NAME=]ADDRESS: the = of a unix path comes after a byte that no name has. */
static void add_listener(struct layers *l, const char *argument, const char *source)
{
	const char *equals = strchr(argument, '='), *address = argument;
	char name[64] = "", key[96], text[128];

	if (equals && equals - argument < (ptrdiff_t)sizeof(name)) {
		memcpy(name, argument, (size_t)(equals - argument));
		name[equals - argument] = '\0';
	}
	if (listener_name_valid(name))
		address = equals + 1;
	else
		free_name(&l->config->policy, name, sizeof(name));
	if (!*address) {
		complain_about(l, source, "the address is missing");
		return;
	}
	if (is_given(l->config, name, source)) {
		snprintf(text, sizeof(text), "there is a listener %s already", name);
		complain_about(l, source, text);
		return;
	}
	allow_listeners(l, source);
	snprintf(key, sizeof(key), "listen.%s.address", name);
	set(l, key, address, source);
}

static void add_default_listener(struct layers *l)
{
	const char *port = getenv("PORT");
	char address[32];

	if (l->config->policy.listener_count > 0 || !l->config->policy.cluster_listen)
		return;
	if (!port || !*port) {
		snprintf(address, sizeof(address), "*:%d", DEFAULT_PORT);
		set(l, "listen.fd3.address", address, "default");
	} else if (strspn(port, "0123456789") == strlen(port) && strlen(port) < 6) {
		snprintf(address, sizeof(address), "*:%s", port);
		set(l, "listen.fd3.address", address, "PORT");
	} else {
		complain_about(l, "PORT", "the environment variable is not a port from 0 to 65535");
	}
}

static void take_flag(struct layers *l, const struct given_option *given)
{
	const struct option_row *row = given->row;

	if (strcmp(row->name, "name") == 0 && !*given->argument)
		complain_about(l, row->source, "a name of 1 to 63 bytes is needed");
	else if (strcmp(row->name, "listen") != 0)
		set(l, row->key, given->argument, row->source);
	else if (strcmp(given->argument, "none") == 0)
		set(l, "cluster.listen", "no", row->source);
	else
		add_listener(l, given->argument, row->source);
}

/* -b, -a: the keys of listeners. */
static bool is_for_listeners(const struct option_row *row)
{
	return strncmp(row->key, "listen.", 7) == 0;
}

static void take_flags(struct layers *l)
{
	const struct options *options = l->options;

	for (size_t i = 0; i < options->given_count; i++) {
		const struct option_row *row = options->given[i].row;

		if (!is_for_listeners(row) && strcmp(row->name, "set") != 0)
			take_flag(l, &options->given[i]);
	}
	add_default_listener(l);
	for (size_t i = 0; i < options->given_count; i++) {
		const struct given_option *given = &options->given[i];

		if (is_for_listeners(given->row))
			set(l, given->row->key, given->argument ? given->argument : "yes",
			    given->row->source);
	}
	for (size_t i = 0; i < options->given_count; i++) {
		const struct given_option *given = &options->given[i];

		if (strcmp(given->row->name, "set") == 0)
			l->complaints += config_assign(l->config, given->argument, given->row->source,
						       l->complain, l->context);
	}
}

static void take_program(struct layers *l)
{
	struct words *command = &l->config->policy.cluster_command;
	char **program = l->options->program;

	if (!*program)
		return;
	if (!**program) {
		complain_about(l, COMMAND_LINE, "the name of the program is empty");
		config_refuse(l->config, "cluster", NULL, "command");
		return;
	}
	memset(command, 0, sizeof(*command));
	for (; *program; program++) {
		if (words_append(command, *program) < 0) {
			complain_about(l, COMMAND_LINE,
				       "the program and its arguments are too long; at most 4095 "
				       "bytes and 512 words");
			return;
		}
	}
	l->config->origins.keys[key_find("cluster.command") - keys] = (struct origin){ COMMAND_LINE, 0 };
}

/* Not every file name is one of a cluster. */
static void make_name(char *name)
{
	for (char *p = name; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("/\"';#$", *p) ||
		    (p == name && strchr(".-", *p)))
			*p = '_';
}

/* "/usr/bin/my app" is cluster my_app. */
static void name_cluster(struct layers *l)
{
	const struct words *command = &l->config->policy.cluster_command;
	const char *program = words_next(command, NULL), *slash;
	char name[NAME_TEXT_MAX];

	if (l->config->policy.cluster_name[0] || config_refused(l->config, "cluster.name"))
		return;
	slash = program ? strrchr(program, '/') : NULL;
	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : program ? program : "clusterd");
	make_name(name);
	set(l, "cluster.name", *name ? name : "clusterd", "name of the program");
}

int options_load(const struct options *options, struct config *config, config_complaint *complain,
		 void *context)
{
	struct layers l = { options, config, complain, context, 0 };

	config_init(config);
	load_file(&l);
	take_flags(&l);
	take_program(&l);
	if (config->policy.cluster_command.count == 0 && !options->dump &&
	    !config_refused(config, "cluster.command"))
		complain_about(&l, options->config_file ? options->config_file : COMMAND_LINE,
			       "no program: give one on the command line or as [cluster] command; "
			       "see clusterd -h");
	name_cluster(&l);
	l.complaints += config_check(config, complain, context);
	return l.complaints;
}
