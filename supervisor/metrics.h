/*
 * metrics - counters of everything that was decided, and their HTTP door.
 *
 * OpenMetrics 1.0 text (core/metrics.def lists every family). [metrics] listen
 * serves /metrics, /healthz (200 while clusterd runs) and /readyz (200 when all
 * wanted workers are ready and it is not paused, else 503) over HTTP/1.1, one request
 * per connection. Only the first line of a request is read. At most METRICS_CLIENTS
 * connections, each with 1 KiB in, one part of the answer in memory, and METRICS_IDLE_MS; when
 * all places are taken the oldest makes room.
 *
 * The counters are kept even where nothing listens, for `clusterctl metrics`.
 * GLUE; logs nothing itself. Everything but metrics_start takes NULL.
 */
#ifndef CLUSTERD_SUPERVISOR_METRICS_H
#define CLUSTERD_SUPERVISOR_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"
#include "supervisor/core/pool.h"

enum {
	METRICS_CLIENTS = 4,
	METRICS_IDLE_MS = 5000,
	METRICS_PROBLEM_MAX = 384,
	METRICS_PART = 16384, /* room that metrics_text wants */
};

struct supervisor;
struct metrics;

/*
 * inherited_fd is the socket of before an upgrade (metrics_fd), or -1; taken over on
 * success. Returns 0, or -errno with `problem` a sentence (exit status 73).
 */
int metrics_start(struct supervisor *s, const struct policy *policy, int inherited_fd,
                  struct metrics **ret, char problem[METRICS_PROBLEM_MAX]);

/* Closes the socket and its connections. Freed when the loop has closed the handles. */
void metrics_stop(struct metrics *metrics);

/*
 * A unix socket whose file somebody removed is made anew. 1 if it was, 0 if there is nothing to do or
 * it is known already that it fails, else -errno with a sentence.
 */
int metrics_keep(struct metrics *metrics, const struct policy *policy, char problem[METRICS_PROBLEM_MAX]);

/* For every ACT_REPORT, after the supervisor has dealt with it. */
void metrics_report(struct metrics *metrics, const struct report *report);

/* The result of a reload. */
void metrics_reload(struct metrics *metrics, bool ok);

/* The counters, for an upgrade: returns their size, and *ret is borrowed. 0 without metrics. */
size_t metrics_counts(const struct metrics *metrics, const void **ret);
/* Goes on counting from there. Another version has them in another size: then from zero. */
void metrics_resume(struct metrics *metrics, const void *counts, size_t size);

/* -1 where nothing listens. */
int metrics_fd(const struct metrics *metrics);

/* Where a text stands that is written in parts. All zero at the beginning. */
struct metrics_place {
	uint32_t family, row;
};

/*
 * Writes whole lines of the text, as many as fit (at least METRICS_PART bytes), and
 * moves on. Returns how many bytes; 0 when all has been written.
 */
size_t metrics_text(struct metrics *metrics, struct metrics_place *place, char *text, size_t size);

#endif
