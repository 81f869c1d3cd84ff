/*
 * route - which request gets which answer; one table, one error handler.
 *
 * No I/O: answers are appended to a buffer. The counter lives in Redis, so
 * a visit is handed back to the caller, who finishes it with route_visits().
 */
#ifndef APP_ROUTE_H
#define APP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd/app/buffer.h"
#include "cmd/app/http.h"
#include "cmd/app/reply.h"

/* What the answers are made of; one per process. */
struct site {
	struct reply_common common;
	char hello[128];       /* the body of GET /get */
	size_t hello_size;
	struct buffer scratch; /* a body under construction */
};

enum route_result {
	ROUTE_ANSWERED, /* with success or with an error: it is in the buffer */
	ROUTE_VISITS,   /* count a visit, then call route_visits() or route_error() */
};

/* `slot` is shown by GET /get when it is not NULL; digits only. */
void site_init(struct site *site, long pid, const char *slot);
void site_finish(struct site *site);

/* What is wrong with a request whose head is complete; status 0 if nothing. */
struct http_problem route_check(const struct http_reader *reader);

/* Answers a complete request. */
enum route_result route_answer(struct site *site, const struct http_reader *reader,
                               enum reply_connection connection, struct buffer *out);

void route_visits(struct site *site, long long visits, bool head_only,
                  enum reply_connection connection, struct buffer *out);

/* The error handler: every error answer of app is written here. */
void route_error(struct site *site, const struct http_problem *problem, bool head_only,
                 enum reply_connection connection, struct buffer *out);

#endif
