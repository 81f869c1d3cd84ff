/*
 * probe - what its parts share: probe.c has the words, serve.c serves, report.c reports.
 */
#ifndef CLUSTERD_TESTS_WORKERS_PROBE_H
#define CLUSTERD_TESTS_WORKERS_PROBE_H

#include <stdbool.h>

enum { LISTENERS_MAX = 16 };

struct probe {
	char **argv;
	int first_fd, listener_count;
	bool blocking;
	long crash_after; /* answers; < 0: never */
	long drain_ms, term_exit;
};

extern struct probe probe;

long probe_now_ms(void);

/* Does one WORD or WORD=VALUE; false if there is none of that name. */
bool probe_word(const char *text);

/* Serves until TERM, then exits. */
_Noreturn void serve(void);

#endif
