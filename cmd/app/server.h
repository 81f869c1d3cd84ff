/*
 * server - the process: sockets, signals, watchdog, start and stop.
 *
 * Environment, all optional:
 *   LISTEN_FDS, LISTEN_PID, PORT     what to serve, see listen.h
 *   NOTIFY_SOCKET, WATCHDOG_USEC     whom to tell, see notify.h
 *   CLUSTERD_SLOT                    shown by GET /get
 *   REDIS_URL                        see visits.h
 *   APP_TIMEOUT_MS                   limit for a request to come and for an answer to
 *                                    be read; default SERVER_TIMEOUT_MS
 *   APP_IDLE_MS                      limit between two requests; default SERVER_IDLE_MS
 */
#ifndef APP_SERVER_H
#define APP_SERVER_H

enum {
	SERVER_TIMEOUT_MS = 20 * 1000,
	SERVER_IDLE_MS = 75 * 1000,
	SERVER_LINGER_MS = 2 * 1000,
	SERVER_DRAIN_IDLE_MS = 1000,    /* for the next request of a connection at rest */
	SERVER_DRAIN_MS = 25 * 1000,    /* for all; below the usual 30 s before SIGKILL */
	SERVER_PAUSE_MS = 100,          /* without accepting after accept failed */
	SERVER_ACCEPT_BATCH = 32,       /* connections taken before they are served */
	SERVER_LAST_ACCEPTS = 4096,     /* taken at most from a socket when we stop */
};

/* Serves until a signal says stop. Logs to stderr. Returns an exit status of sysexits.h. */
int server_run(void);

#endif
