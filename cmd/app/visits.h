/*
 * visits - a counter that all workers share, kept in Redis.
 *
 * One connection per process, opened by the first visit and again by the next
 * one after it was lost. Visits asked while it is being opened wait for it; a
 * visit that gets no answer within VISITS_TIMEOUT_MS fails, and with it the
 * connection, since answers can no longer be matched.
 *
 * REDIS_URL  redis://[[user]:password@]host[:port][/database] or unix:/path;
 *            default redis://127.0.0.1:6379
 */
#ifndef APP_VISITS_H
#define APP_VISITS_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "cmd/app/redis_url.h"

enum { VISITS_TIMEOUT_MS = 1000, VISITS_PAUSE_MS = 100 };

struct redisAsyncContext;

/* One request to count; part of whoever asks, who must live until it is done. */
struct visit {
	struct visit *next;
	/* `problem` is NULL, or a static sentence that says why there is no count. */
	void (*done)(struct visit *visit, long long count, const char *problem);
};

struct visits {
	uv_loop_t *loop;
	struct redis_url url;
	struct redisAsyncContext *redis; /* NULL: not connected */
	uv_getaddrinfo_t resolver;
	bool resolving;
	bool connected;
	unsigned setup_left;             /* answers to AUTH and SELECT still to come */
	struct visit *first, **end;      /* all that wait, oldest first */
	struct visit *unsent;            /* the first of them that was not sent yet */
	uint64_t retry_ms;               /* no new connection before */
	uv_timer_t timer;                /* on while somebody waits */
};

/* Opens nothing. Returns 0, or -EINVAL for a malformed `url` (NULL: the default). */
int visits_init(struct visits *visits, uv_loop_t *loop, const char *url);

/*
 * Counts a visit. Returns NULL when `visit->done` will be called, never from
 * inside this function; else the problem, and it will not be called.
 */
const char *visits_ask(struct visits *visits, struct visit *visit);

#endif
