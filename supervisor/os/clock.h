/*
 * clock - the one clock that decisions use.
 *
 * Milliseconds of CLOCK_MONOTONIC: never jumps, stands still while the machine
 * sleeps, and is the clock of uv_hrtime() and of systemd's MONOTONIC_USEC.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_CLOCK_H
#define CLUSTERD_SUPERVISOR_OS_CLOCK_H

#include <stdint.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline uint64_t clock_ms(void)
{
	return clock_us() / 1000;
}

/* For /proc/PID/stat alone: ticks since the machine was started, sleep included. */
static inline uint64_t clock_boot_ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) /
	       (1000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

#endif
