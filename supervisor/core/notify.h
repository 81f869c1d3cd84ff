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
	bool reloading;
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

#endif
