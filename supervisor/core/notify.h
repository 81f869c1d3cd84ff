/*
 * notify - what a datagram to NOTIFY_SOCKET says (sd_notify(3)).
 *
 * Pure. Lines KEY=value, separated by newlines; unknown keys, lines without `=`
 * and values that make no sense are skipped, so every datagram has a meaning,
 * even if it is "nothing".
 */
#ifndef CLUSTERD_CORE_NOTIFY_H
#define CLUSTERD_CORE_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NOTIFY_STATUS_MAX = 256 }; /* the NUL included */

struct notify_message {
	bool ready;
	bool stopping;
	bool watchdog;         /* WATCHDOG=1 */
	bool watchdog_trigger; /* WATCHDOG=trigger */
	bool barrier;
	bool has_extend;
	bool has_status;
	uint64_t extend_usec; /* EXTEND_TIMEOUT_USEC; 0 if not given */
	char status[NOTIFY_STATUS_MAX]; /* valid UTF-8 without control characters, cut to fit */
};

/* Sets all of *ret. When STATUS or EXTEND_TIMEOUT_USEC is repeated the last one counts. */
void notify_parse(const char *text, size_t size, struct notify_message *ret);

enum { NOTIFY_BURST = 100, NOTIFY_WINDOW_MS = 100 };

/* All zero at first. */
struct notify_budget {
	uint64_t from_ms;
	uint32_t used;
};

/*
 * One message has been read now: 0, or for how many milliseconds no other may be, since more
 * than NOTIFY_BURST have been in the window that began with the first of them.
 */
uint32_t notify_spend(struct notify_budget *budget, uint64_t now_ms);

#endif
