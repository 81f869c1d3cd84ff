#include "cmd/app/server.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <uv.h>

#include "cmd/app/conn.h"
#include "cmd/app/listen.h"
#include "cmd/app/notify.h"

enum { FILLED_TO_GROW = 8 };

struct listener {
	uv_poll_t poll;
	struct server *server;
	int fd;
};

struct server {
	uv_loop_t loop;
	struct hub hub;
	struct listener listeners[LISTEN_MAX];
	size_t listening;
	uv_signal_t signals[2];
	uv_timer_t pause; /* on while accepting is stopped after an error */
	uv_timer_t watchdog;
	uv_timer_t drain; /* on while stopping */
	int batch;        /* connections to accept at a time, 1 to SERVER_ACCEPT_BATCH */
	unsigned filled;  /* batches in a row that the queue outlasted */
	bool complained;  /* about accept, since it last worked */
};

static void complain(const char *what)
{
	fprintf(stderr, "app: %s\n", what);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct server *server = timer->data;

	for (size_t i = 0; i < server->listening; i++)
		uv_poll_start(&server->listeners[i].poll, UV_READABLE, on_acceptable);
}

/*
 * Out of file descriptors or memory, or the socket was shut down: the socket
 * stays readable, so polling on would spin. Look again in a moment.
 */
static void pause_accepting(struct server *server, int error)
{
	if (!server->complained)
		fprintf(stderr, "app: accept: %s; trying again every %d ms\n", strerror(error),
			SERVER_PAUSE_MS);
	server->complained = true;
	for (size_t i = 0; i < server->listening; i++)
		uv_poll_stop(&server->listeners[i].poll);
	uv_timer_start(&server->pause, on_pause_over, SERVER_PAUSE_MS, 0);
}

/* Errors of accept(2) that are about the one connection, not about us. */
static bool is_passing(int error)
{
	static const int passing[] = { EINTR,       ECONNABORTED, EPROTO, ENETDOWN,
				       ENOPROTOOPT, EHOSTDOWN,    ENONET, EHOSTUNREACH,
				       EOPNOTSUPP,  ENETUNREACH,  EPERM };

	for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
		if (error == passing[i])
			return true;
	}
	return false;
}

/*
 * An accept4() that finds nothing costs nearly as much as one that does, since
 * the kernel builds the file first. So the batch grows when the queue outlasts
 * it again and again, and shrinks to what was found when it did not.
 */
static void fit_batch(struct server *server, int found, int error)
{
	server->filled = error == 0 ? server->filled + 1 : 0;
	if (error != 0)
		server->batch = found > 0 ? found : 1;
	else if (server->filled % FILLED_TO_GROW == 0)
		server->batch = (int)least((uint64_t)server->batch * 2, SERVER_ACCEPT_BATCH);
}

/* Accepts and serves one batch. Returns 0, or the errno that ended it. */
static int accept_batch(struct server *server, int fd)
{
	struct conn *batch[SERVER_ACCEPT_BATCH];
	size_t count = 0;
	int error = 0;

	for (int tries = 0; tries < server->batch && error == 0; tries++) {
		int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (accepted < 0) {
			error = is_passing(errno) ? 0 : errno;
			continue;
		}
		batch[count] = conn_create(&server->hub, accepted);
		if (batch[count])
			count++;
		else
			error = ENOMEM;
	}
	for (size_t i = 0; i < count; i++)
		conn_start(batch[i]);
	fit_batch(server, (int)count, error);
	if (count > 0)
		server->complained = false;
	return error;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	int error = accept_batch(listener->server, listener->fd);

	(void)status;
	(void)events;
	if (error == 0 && status < 0)
		error = EIO;
	if (error != 0 && error != EAGAIN)
		pause_accepting(listener->server, error);
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	notify_send("WATCHDOG=1", false);
}

/* Not while the last connections are taken: the first of them may be served before the next has
 * come. */
static void on_drained(struct hub *hub)
{
	const struct server *server =
	    (const void *)((const char *)hub - offsetof(struct server, hub));

	if (hub->draining && server->listening == 0)
		uv_stop(hub->loop);
}

static void on_drain_over(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void stop_listening(struct server *server)
{
	uv_timer_stop(&server->pause);
	for (size_t i = 0; i < server->listening; i++) {
		struct listener *listener = &server->listeners[i];
		int error = 0;

		/* Whoever we would leave in the queue of our own socket would be reset. */
		for (int n = 0; n < SERVER_LAST_ACCEPTS && error == 0; n += server->batch)
			error = accept_batch(server, listener->fd);
		uv_close((uv_handle_t *)&listener->poll, NULL);
		close(listener->fd); /* no shutdown(2): others may hold the same socket */
	}
	server->listening = 0;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct server *server = handle->data;

	(void)number;
	/* Back to the default disposition: the second signal ends us at once. */
	for (size_t i = 0; i < sizeof server->signals / sizeof *server->signals; i++)
		uv_signal_stop(&server->signals[i]);
	notify_send("STOPPING=1", true);
	server->hub.draining = true;
	stop_listening(server);
	hub_drain(&server->hub);
	uv_timer_start(&server->drain, on_drain_over, SERVER_DRAIN_MS, 0);
	if (server->hub.connections == 0)
		uv_stop(&server->loop);
}

static uint64_t milliseconds(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	char *end;
	unsigned long value;

	if (!text)
		return fallback;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || value == 0 || value > 3600 * 1000) {
		fprintf(stderr,
			"app: %s is not a number of milliseconds up to an hour; using %llu\n", name,
			(unsigned long long)fallback);
		return fallback;
	}
	return value;
}

static int init_hub(struct server *server)
{
	const char *slot = getenv("CLUSTERD_SLOT");
	uint64_t timeout_ms = milliseconds("APP_TIMEOUT_MS", SERVER_TIMEOUT_MS);
	const uint64_t limits[LIMITS] = {
		[LIMIT_IDLE] = milliseconds("APP_IDLE_MS", SERVER_IDLE_MS),
		[LIMIT_REQUEST] = timeout_ms,
		[LIMIT_ANSWER] = timeout_ms,
		[LIMIT_LINGER] = least(timeout_ms, SERVER_LINGER_MS),
		[LIMIT_DRAIN] = least(timeout_ms, SERVER_DRAIN_IDLE_MS),
	};

	if (slot && (!*slot || strspn(slot, "0123456789") != strlen(slot)))
		slot = NULL;
	site_init(&server->hub.site, getpid(), slot);
	server->hub.emptied = on_drained;
	return hub_init(&server->hub, &server->loop, limits);
}

/* Each of these can only fail for want of memory or descriptors. */
static int init_loop(struct server *server)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	int error = uv_loop_init(&server->loop);

	if (error)
		return error;
	uv_timer_init(&server->loop, &server->pause);
	uv_timer_init(&server->loop, &server->watchdog);
	uv_timer_init(&server->loop, &server->drain);
	server->pause.data = server;
	server->batch = 1;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !error; i++) {
		error = uv_signal_init(&server->loop, &server->signals[i]);
		server->signals[i].data = server;
		if (!error)
			error = uv_signal_start(&server->signals[i], on_signal, numbers[i]);
	}
	return error;
}

static int start_listening(struct server *server, const struct listen_sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		struct listener *listener = &server->listeners[i];
		int error;

		listener->server = server;
		listener->fd = sockets->fds[i];
		error = uv_poll_init(&server->loop, &listener->poll, listener->fd);
		listener->poll.data = listener;
		if (!error)
			error = uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
		if (error)
			return error;
		server->listening++;
	}
	return 0;
}

/* As many connections as we are allowed, not only the 1024 of the soft limit. */
static void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void announce(const struct listen_sockets *sockets)
{
	if (sockets->port)
		fprintf(stderr, "app: pid %ld serves port %u\n", (long)getpid(), sockets->port);
	notify_send("READY=1", true);
}

static int fail(const char *step, int error)
{
	fprintf(stderr, "app: %s: %s\n", step, uv_strerror(error));
	return EX_OSERR;
}

int server_run(void)
{
	static struct server server;
	struct listen_sockets sockets;
	char complaint[LISTEN_COMPLAINT_MAX];
	uint64_t watchdog_ms = notify_watchdog_ms();
	int status = listen_open(&sockets, complaint);
	int error;

	if (status != 0) {
		complain(complaint);
		return status;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	error = init_loop(&server);
	if (!error)
		error = init_hub(&server);
	if (error)
		return fail("event loop", error);
	if (visits_init(&server.hub.visits, &server.loop, getenv("REDIS_URL")) != 0) {
		complain("REDIS_URL is not of the form "
			 "redis://[[user]:password@]host[:port][/database]");
		return EX_USAGE;
	}
	error = start_listening(&server, &sockets);
	if (error)
		return fail("listening socket", error);
	error = notify_open();
	if (error)
		fprintf(stderr, "app: NOTIFY_SOCKET: %s; nobody is told\n", strerror(-error));
	if (watchdog_ms)
		uv_timer_start(&server.watchdog, on_watchdog, watchdog_ms, watchdog_ms);
	announce(&sockets);
	uv_run(&server.loop, UV_RUN_DEFAULT);
	hub_finish(&server.hub);
	return EX_OK;
}
