/*
 * conn - the life of one connection: read, answer, keep or close.
 *
 * A connection at rest holds its struct and nothing else; the request reader,
 * unsent answers and waiting input exist only while they are needed, and what
 * clients can make us hold is bounded by one budget.
 *
 * Sockets are watched by watch.h, not uv_tcp: most short connections are
 * accepted, read, answered and closed without the loop ever hearing of them.
 */
#ifndef APP_CONN_H
#define APP_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "cmd/app/buffer.h"
#include "cmd/app/deadline.h"
#include "cmd/app/http.h"
#include "cmd/app/route.h"
#include "cmd/app/visits.h"
#include "cmd/app/watch.h"

enum {
	CONN_READ_MAX = 16384,             /* bytes taken in one read */
	CONN_OUT_HIGH = 65536,             /* bytes of answers after which they are sent */
	CONN_LINGER_MAX = 8 * 1024 * 1024, /* bytes thrown away after the last answer */
	CONN_READERS_KEPT = 64,            /* readers kept for the next request */
	CONN_BUDGET = 64 * 1024 * 1024,    /* bytes all clients together can make us hold */
};

struct conn;
struct conn_reader; /* a pooled http_reader */

/* What all connections of a loop share. */
struct hub {
	uv_loop_t *loop;
	struct site site;
	struct visits visits;
	struct deadlines deadlines;
	struct watch watch;
	struct budget budget;
	struct buffer out;             /* answers of the connection being served */
	struct conn_reader *spare;     /* a stack of unused readers */
	size_t spares;
	struct conn *fresh;            /* accepted, empty so far, not yet watched */
	uv_prepare_t prepare;          /* on while there are such */
	unsigned luck;                 /* how often a fresh one had its request, of late; 0: hardly ever */
	unsigned unlooked;             /* those that were not looked at early */
	size_t connections;
	bool draining;                 /* every answer closes its connection */
	void (*emptied)(struct hub *hub); /* the last connection has ended */
	void *owner;
	char in[CONN_READ_MAX];
};

/* `limits` as of deadlines_init(). The visits are set up by the caller. 0 or an error of libuv. */
int hub_init(struct hub *hub, uv_loop_t *loop, const uint64_t limits[LIMITS]);

/* Frees what is pooled; no connection may be left. */
void hub_finish(struct hub *hub);

/*
 * Stop: answers what is under way, waits LIMIT_DRAIN for one more request on
 * connections at rest, closes each after its answer.
 */
void hub_drain(struct hub *hub);

/*
 * Takes over an accepted non-blocking socket. NULL when memory is out; the
 * socket is closed then. Call conn_start() next, after the whole batch was
 * accepted: by then most clients have sent their request.
 */
struct conn *conn_create(struct hub *hub, int fd);
void conn_start(struct conn *conn);

#endif
