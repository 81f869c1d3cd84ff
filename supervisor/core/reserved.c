#include "supervisor/core/reserved.h"

#include <stddef.h>
#include <string.h>

static const struct reserved {
	const char *name;
	size_t size;
	bool prefix;
} reserved[] = {
#define EXACT(name) { name, sizeof name - 1, false }
#define PREFIX(name) { name, sizeof name - 1, true }
	PREFIX("LISTEN_"), PREFIX("CLUSTERD_"), PREFIX("EINHORN_"), PREFIX("WATCHDOG_"),
	PREFIX("SERVER_STARTER_"), PREFIX("PUMA_INHERIT_"), EXACT("NOTIFY_SOCKET"), EXACT("READY_FD"),
	EXACT("UPSTART_FDS"), EXACT("UNICORN_FD"), EXACT("NGINX"), EXACT("FPM_SOCKETS"),
	EXACT("GUNICORN_FD"), EXACT("GUNICORN_PID"),
#undef EXACT
#undef PREFIX
};

/* The first letter tells nearly always: every variable is asked about at every start of a worker. */
static bool is(const struct reserved *r, const char *variable)
{
	if (variable[0] != r->name[0] || strncmp(variable, r->name, r->size) != 0)
		return false;
	return r->prefix || variable[r->size] == '=' || variable[r->size] == '\0';
}

bool env_reserved(const char *variable)
{
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (is(&reserved[i], variable))
			return true;
	return false;
}
