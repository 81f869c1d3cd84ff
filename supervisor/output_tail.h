/*
 * output_tail - the last bytes that a worker wrote to standard error.
 *
 * GLUE, private to output.c. Allocated by the first byte; without memory nothing is kept.
 */
#ifndef CLUSTERD_SUPERVISOR_OUTPUT_TAIL_H
#define CLUSTERD_SUPERVISOR_OUTPUT_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tail {
	char *text;   /* ring of `size` bytes; the owner frees it */
	size_t size;  /* 0: keep nothing */
	uint64_t end; /* bytes ever put into it */
};

void tail_keep(struct tail *tail, const char *text, size_t size);

/* The ring as two pieces of its own memory, the older first. True if there was more before them. */
bool tail_pieces(const struct tail *tail, const char *ret[2], size_t ret_size[2]);
/* What tail_pieces() gave, for a tail that is empty. */
void tail_restore(struct tail *tail, const char *const pieces[2], const size_t sizes[2], bool cut);

/* See output_tail() and output_last_line() in output.h. */
size_t tail_text(const struct tail *tail, char *ret, size_t size);
const char *tail_last_line(const struct tail *tail);

#endif
