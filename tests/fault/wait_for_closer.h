/*
 * wait_for_closer - what closer.h closes is closed, so that descriptors and memory can be counted.
 */
#ifndef CLUSTERD_TESTS_FAULT_WAIT_FOR_CLOSER_H
#define CLUSTERD_TESTS_FAULT_WAIT_FOR_CLOSER_H

#include <sys/stat.h>
#include <time.h>

#include "supervisor/os/closer.h"

enum { LINKS_OF_ONE = 3 }; /* of /proc/self/task: two, and one for each thread */

static inline void wait_for_closer(void)
{
	struct stat threads;

	do {
		closer_has_room(-1);
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	} while (stat("/proc/self/task", &threads) == 0 && threads.st_nlink > LINKS_OF_ONE);
	closer_has_room(-1);
}

#endif
