/*
 * brief - durations and sizes as people read them: two units at most.
 */
#ifndef CLUSTERD_CORE_BRIEF_H
#define CLUSTERD_CORE_BRIEF_H

#include <stdint.h>

enum { BRIEF_TEXT_MAX = 32 };

/* "0ms" "250ms" "1.6s" "59.9s" "1m12s" "2h14m" "3d4h": never rounded up. Returns `text`. */
const char *brief_duration(uint64_t ms, char text[BRIEF_TEXT_MAX]);

/* "900K" "48M" "1.5G" of so many KiB, never rounded up. Returns `text`. */
const char *brief_size(uint64_t kib, char text[BRIEF_TEXT_MAX]);

#endif
