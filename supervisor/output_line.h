/*
 * output_line - captured lines into the log's buffer, many at a time.
 *
 * GLUE, private to output.c.
 */
#ifndef CLUSTERD_SUPERVISOR_OUTPUT_LINE_H
#define CLUSTERD_SUPERVISOR_OUTPUT_LINE_H

#include "supervisor/core/moment.h"
#include "supervisor/log.h"

struct output_batch {
	struct log *log;
	uint32_t slot;
	bool error;
	bool plain;      /* nothing in the whole text needs an escape */
	bool tapped;     /* somebody follows */
	size_t line_max; /* longer lines are cut */
	size_t room;     /* bytes from `at` on */
	size_t used;
	char *at;
	size_t prefix_size;
	char prefix[2 * STAMP_TEXT_MAX + 2 * NAME_TEXT_MAX + 96];
};

/* `text` is all that may be added, so that it is looked at once. */
void output_batch_begin(struct output_batch *batch, struct log *log, uint32_t slot, bool error,
                        const char *text, size_t size);

/* False when there is no room for the line; then nothing was added. */
bool output_batch_add(struct output_batch *batch, const char *text, size_t size, bool cut);

void output_batch_end(struct output_batch *batch);

#endif
