/*
 * app - a small HTTP server to run under clusterd, or alone. See server.h.
 */
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>
#include <llhttp.h>
#include <uv.h>

#include "cmd/app/server.h"

static const char help[] =
    "usage: app [-hV]\n"
    "Serves GET /get, POST /post (JSON) and GET /visits (counted in Redis).\n"
    "Takes its sockets from LISTEN_FDS; else it binds PORT, by default 1337.\n"
    "Environment: LISTEN_FDS LISTEN_PID PORT NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID\n"
    "  CLUSTERD_SLOT   shown by /get\n"
    "  REDIS_URL       redis://[[user]:password@]host[:port][/database] or unix:/path\n"
    "  APP_TIMEOUT_MS  for a request to arrive and for an answer to be read (20000)\n"
    "  APP_IDLE_MS     between two requests of a connection (75000)\n";

int main(int argc, char **argv)
{
	int option = getopt(argc, argv, "hV");

	if (option == 'h') {
		fputs(help, stdout);
		return EX_OK;
	}
	if (option == 'V') {
		printf("app %s, libuv %s, llhttp %d.%d.%d, jansson %s\n", CLUSTERD_VERSION,
		       uv_version_string(), LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
		       LLHTTP_VERSION_PATCH, jansson_version_str());
		return EX_OK;
	}
	if (option != -1 || optind < argc) {
		fputs(help, stderr);
		return EX_USAGE;
	}
	return server_run();
}
