/*
 * taking - does a worker take connections off its queue? Judged by looks at the queue from time to time.
 *
 * PURE. The kernel does not count accept(2). What was handed to a queue, less what has been dropped and what still
 * waits, is what was taken, and every handshake under way with it: that part goes up and down while nobody accepts.
 * So a sign of life is a value above all those before, or a shorter queue, for nothing but accept(2) shortens it: a
 * connection that its client has reset waits on.
 *
 * A full queue drops what is handed to it, and each last packet of a handshake that comes too late for it, again and
 * again (tcp_conn_request() and tcp_v4_syn_recv_sock() of the kernel). The latter makes the value too low, for clients
 * far away much too low. So there is a second one without what is dropped, which counts while the queue is not full:
 * one that nobody takes from would stay full once it was, and before that drops nothing. That it is not full may be
 * seen for moments only: TAKING_FULL_LOOK_MS.
 */
#ifndef CLUSTERD_SUPERVISOR_CORE_TAKING_H
#define CLUSTERD_SUPERVISOR_CORE_TAKING_H

#include <stdbool.h>
#include <stdint.h>

/* All by now, of one queue or of several together; the first two may wrap. */
struct taking_seen {
	uint64_t handed, dropped, queue;
	bool full; /* one of them is */
};

enum { TAKING_LESS_DROPPED, TAKING_WITH_DROPPED, TAKING_VALUES };

/* All zero: not looked at yet. */
struct taking {
	uint64_t most[TAKING_VALUES]; /* the highest values */
	uint64_t value, queue;        /* at the last look, less what was dropped */
	bool full;
	uint64_t same_ms;             /* since when the value is that */
	uint64_t still_ms;            /* since when there is no sign of life though something waits, or 0 */
	uint64_t moved_ms;            /* of the last sign of life, or 0 */
};

/* Less what was dropped. */
uint64_t taking_value(const struct taking_seen *seen);

/* Is a count that wraps above another one? */
bool taking_above(uint64_t value, uint64_t other);

enum {
	TAKING_SAME_MS = 300,   /* nothing was taken, for certain, and no handshake ended */
	TAKING_STILL_MS = 1000, /* nothing was taken, but for what handshakes hide */
	TAKING_LOOK_MS = 100,
	TAKING_FULL_LOOK_MS = 20,
};

/* True if nothing of what waits has been taken for one of these times. Looks follow after LOOK_MS, or FULL_LOOK_MS. */
bool taking_look(struct taking *taking, const struct taking_seen *seen, uint64_t now_ms);

/* So much time was nobody's: clusterd itself was kept from looking. */
void taking_forgive(struct taking *taking, uint64_t ms);

/* What was seen so far tells nothing any more. */
void taking_forget(struct taking *taking);

#endif
