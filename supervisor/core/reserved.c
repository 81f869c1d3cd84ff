#include "supervisor/core/reserved.h"

#include <stddef.h>
#include <string.h>

#include "config/policy.h"

enum { ALWAYS = -1, NEVER = 0 }; /* whatever the style; names that other supervisors use */

static const struct reserved {
	const char *name;
	size_t size;
	bool prefix;
	uint32_t styles; /* that set it */
} reserved[] = {
#define EXACT(name, styles) { name, sizeof name - 1, false, (uint32_t)(styles) }
#define PREFIX(name, styles) { name, sizeof name - 1, true, (uint32_t)(styles) }
	PREFIX("LISTEN_FD", ALWAYS),
	PREFIX("LISTEN_PID", ALWAYS),
	PREFIX("CLUSTERD_", ALWAYS),
	PREFIX("WATCHDOG_", ALWAYS),
	EXACT("NOTIFY_SOCKET", ALWAYS),
	EXACT("READY_FD", ALWAYS),
	PREFIX("EINHORN_", STYLE_EINHORN),
	PREFIX("SERVER_STARTER_", STYLE_SERVER_STARTER),
	PREFIX("PUMA_INHERIT_", STYLE_PUMA),
	EXACT("UNICORN_FD", STYLE_UNICORN),
	EXACT("NGINX", STYLE_NGINX),
	EXACT("FPM_SOCKETS", STYLE_PHP_FPM),
	EXACT("UPSTART_FDS", NEVER),
	EXACT("GUNICORN_FD", NEVER),
	EXACT("GUNICORN_PID", NEVER),
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

static const struct reserved *find(const char *variable)
{
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (is(&reserved[i], variable))
			return &reserved[i];
	return NULL;
}

bool env_reserved(const char *variable)
{
	return find(variable) != NULL;
}

bool env_spoken(const char *variable, uint32_t styles)
{
	const struct reserved *r = find(variable);

	return r && (r->styles == (uint32_t)ALWAYS || (r->styles & styles));
}
