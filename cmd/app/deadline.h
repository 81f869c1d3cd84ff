/*
 * deadline - time limits of many connections with one timer.
 *
 * Each kind of limit has one length, so a list per kind is sorted by itself and
 * setting a limit is O(1). The timer is armed for the earliest limit only, and
 * not at all when there is none: an idle process sleeps.
 *
 * One that is found out late, because this process was stopped or got no CPU, starts
 * once more: whoever it waits for may have stood still as well, as when a whole
 * machine is paused.
 *
 * Units      monotonic milliseconds of the loop (uv_now).
 * Ownership  a struct deadline is part of what it limits; it must be cleared
 *            before that is freed.
 */
#ifndef APP_DEADLINE_H
#define APP_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

enum { DEADLINE_LATE_MS = 50 };

enum limit {
	LIMIT_NONE,    /* known, but without a limit */
	LIMIT_IDLE,    /* between two requests */
	LIMIT_REQUEST, /* from the first byte of a request (or the connect) to its last */
	LIMIT_ANSWER,  /* for a client to read what it was sent */
	LIMIT_LINGER,  /* for a client to notice that we closed */
	LIMIT_DRAIN,   /* for one more request on an idle connection while we stop */
	LIMITS
};

struct deadline {
	struct deadline *next, *previous;
	uint64_t at_ms;
	enum limit limit;
	bool again; /* it was found out late, and started once more */
};

/* Called for each deadline that passed; it has been cleared. */
typedef void deadline_passed(struct deadline *deadline);

struct deadlines {
	struct deadline lists[LIMITS]; /* heads of rings */
	uint64_t span_ms[LIMITS];
	uint64_t armed_ms;             /* UINT64_MAX: the timer is off */
	uv_timer_t timer;
	deadline_passed *passed;
};

void deadlines_init(struct deadlines *deadlines, uv_loop_t *loop,
                    const uint64_t span_ms[LIMITS], deadline_passed *passed);

/* Starts the limit anew, from now. */
void deadline_set(struct deadlines *deadlines, struct deadline *deadline, enum limit limit);

/* Takes it off its list; harmless for one that is zeroed or cleared. */
void deadline_clear(struct deadline *deadline);

/* The oldest of this kind, or NULL. */
struct deadline *deadline_first(struct deadlines *deadlines, enum limit limit);

#endif
