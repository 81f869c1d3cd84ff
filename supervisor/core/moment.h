/*
 * moment - durations and the time of day as text, for the log.
 *
 * Pure. brief.h has the durations of everything that people look at; a log line keeps tenths below 10 s only.
 */
#ifndef CLUSTERD_CORE_MOMENT_H
#define CLUSTERD_CORE_MOMENT_H

#include <stdint.h>

enum { DURATION_TEXT_MAX = 24, STAMP_TEXT_MAX = 48 };

/* "250ms", "1.6s", "12s", "1m12s", "2h14m", "3d4h". Returns `text`. */
const char *duration_text(uint64_t ms, char text[DURATION_TEXT_MAX]);

/* "2026-11-23T01:02:03.123Z" (RFC 3339, UTC). Returns `text`. */
const char *stamp_text(int64_t wall_ms, char text[STAMP_TEXT_MAX]);

#endif
