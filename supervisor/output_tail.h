/*
 * output_tail - the last bytes that a worker wrote to standard error.
 *
 * GLUE, private to output.c. Allocated by the first byte; without memory nothing is kept.
 */
#ifndef CLUSTERD_SUPERVISOR_OUTPUT_TAIL_H
#define CLUSTERD_SUPERVISOR_OUTPUT_TAIL_H

#include <stddef.h>
#include <stdint.h>

struct tail {
	char *text;   /* ring of `size` bytes; the owner frees it */
	size_t size;  /* 0: keep nothing */
	uint64_t end; /* bytes ever put into it */
};

void tail_keep(struct tail *tail, const char *text, size_t size);

/* See output_tail() and output_last_line() in output.h. */
size_t tail_text(const struct tail *tail, char *ret, size_t size);
const char *tail_last_line(const struct tail *tail);

#endif
