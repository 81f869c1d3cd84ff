/*
 * metrics_internal - what the metrics*.c files share, and nobody else includes.
 *
 *   metrics.c       the counters
 *   metrics_text.c  the text
 *   metrics_http.c  the door
 */
#ifndef CLUSTERD_SUPERVISOR_METRICS_INTERNAL_H
#define CLUSTERD_SUPERVISOR_METRICS_INTERNAL_H

#include <uv.h>

#include "supervisor/inspect.h"
#include "supervisor/metrics.h"
#include "supervisor/os/listen.h"

enum {
	BUCKETS = 12,
	VERDICTS = VERDICT_STOPPED + 1,
	STOPS_SIZE = 1024, /* stops under way that are timed; cookies are consecutive */
	HTTP_LINE_MAX = 1024,
	LINGER_MS = 1000,
	LINGER_BYTES = 65536,
};

extern const uint32_t bucket_ms[BUCKETS]; /* upper bounds; +Inf follows */

struct histogram {
	uint64_t counts[BUCKETS + 1];
	uint64_t sum_ms;
};

/* Goes through an upgrade as it is: what changes here must change its size, or it is taken for another. */
struct counters {
	uint64_t exits[END_CAUSES][2]; /* [asked] */
	uint64_t decisions[WHYS];
	uint64_t rolls[VERDICTS];
	uint64_t reloads[2]; /* [ok] */
	uint64_t spawn_errors;
	struct histogram respawn, ready, drain;
};

struct stop {
	uint32_t cookie;
	uint64_t since_ms;
};

struct door;

struct metrics {
	struct supervisor *s;
	struct counters counters;
	uint64_t *ended_ms; /* of each slot: when its last worker died, or 0 */
	uint32_t slots;
	struct stop stops[STOPS_SIZE];
	struct door *door;  /* NULL where nothing listens */
	bool lost;          /* its file is gone, and could not be made again */
	uint64_t asked_ms;  /* the last try then */
};

/* What is at the path of its unix socket. */
enum door_file {
	DOOR_THERE, /* its own file, or it has no path */
	DOOR_GONE,
	DOOR_TAKEN, /* somebody else's */
};

/* metrics_http.c */
enum door_file door_look(struct door *door, bool lost); /* lost: it is known not to be there */
int door_open(struct metrics *metrics, const struct address *address, int inherited_fd,
              char problem[METRICS_PROBLEM_MAX]);
void door_close(struct door *door);
int door_fd(const struct door *door);

#endif
