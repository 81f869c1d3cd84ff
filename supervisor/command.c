/*
 * command - runs [ready] command, which says about one worker whether it is ready.
 *
 * GLUE. It gets clusterd's environment and CLUSTERD_SLOT, CLUSTERD_WORKER_PID and PORT;
 * its output goes where clusterd's own errors go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/internal.h"

enum { ADDED = 3, ADDED_SIZE = 48 };

struct command {
	char path[PATH_MAX];
	char *argv[WORDS_MAX + 1];
	char **envp;
	char added[ADDED][ADDED_SIZE];
};

static void split(const struct words *words, char *argv[WORDS_MAX + 1])
{
	const char *word = words->text;

	for (uint16_t i = 0; i < words->count; i++, word += strlen(word) + 1)
		argv[i] = (char *)(uintptr_t)word; /* execve(2) does not write to it */
	argv[words->count] = NULL;
}

/* Of the worker's own listeners: those of another generation may still be open. */
static uint16_t first_port(const struct worker *worker)
{
	const struct policy *policy = &worker->launch->policy;

	for (uint32_t i = 0; i < policy->listener_count; i++) {
		const struct sock *sock = sock_of(worker->s, &policy->listeners[i]);

		if (sock && sock->bound.kind == ADDRESS_TCP)
			return sock->bound.port;
	}
	return 0;
}

/* Of a name that is there twice some take the first and some the last. */
static bool is_added(const struct command *c, const char *variable)
{
	for (size_t i = 0; i < ADDED; i++)
		if (strncmp(variable, c->added[i], strcspn(c->added[i], "=") + 1) == 0)
			return true;
	return false;
}

static int build(struct command *c, const struct worker *worker)
{
	size_t count = 0;

	snprintf(c->added[0], ADDED_SIZE, "CLUSTERD_SLOT=%" PRIu32, worker->slot);
	snprintf(c->added[1], ADDED_SIZE, "CLUSTERD_WORKER_PID=%d", (int)worker->pid);
	snprintf(c->added[2], ADDED_SIZE, "PORT=%d", first_port(worker));
	while (environ[count])
		count++;
	c->envp = calloc(count + ADDED + 1, sizeof *c->envp);
	if (!c->envp)
		return -ENOMEM;
	for (count = 0; count < ADDED; count++)
		c->envp[count] = c->added[count];
	for (char **at = environ; *at; at++)
		if (!is_added(c, *at))
			c->envp[count++] = *at;
	split(&worker->launch->policy.ready_command, c->argv);
	return spawn_resolve(c->argv[0], getenv("PATH"), c->path, sizeof c->path);
}

int launch_command(const struct worker *worker, struct spawned *ret, const char **failed)
{
	static const struct spawn_fd fds[] = {
		{ SPAWN_NULL, STDIN_FILENO },
		{ STDERR_FILENO, STDOUT_FILENO },
		{ STDERR_FILENO, STDERR_FILENO },
	};
	static struct command command; /* too big for the stack; used up when spawn() returns */
	const struct policy *policy = &worker->launch->policy;
	struct spawn_plan plan = {
		.path = command.path,
		.argv = command.argv,
		.fds = fds,
		.fd_count = sizeof fds / sizeof *fds,
		.process_group = true,
		.death_signal = SIGKILL,
		.directory = policy->cluster_directory[0] ? policy->cluster_directory : NULL,
		.identity = worker->launch->identity,
	};
	int rc;

	*failed = "find the program";
	rc = build(&command, worker);
	plan.envp = command.envp;
	if (rc == 0)
		rc = spawn(&plan, ret, failed);
	free(command.envp);
	command.envp = NULL;
	return rc;
}
