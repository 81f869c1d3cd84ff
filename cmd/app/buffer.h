/*
 * buffer - bytes that grow, and one budget for all that clients make us keep.
 *
 * A request body, an answer nobody reads and input that has to wait are all
 * memory a stranger decides about. Each buffer may take from one shared budget;
 * when it is empty, the append fails and the connection ends.
 *
 * Ownership  the buffer owns its memory until buffer_finish().
 * Errors     an append that fails sets `failed`, which stays set until the
 *            buffer is cleared: check once after a run of appends.
 */
#ifndef APP_BUFFER_H
#define APP_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct budget {
	size_t left; /* bytes */
};

struct buffer {
	char *data;
	size_t size;
	size_t capacity;
	struct budget *budget; /* NULL: bounded by its user, not by the budget */
	bool failed;
};

/* Makes room for `more` bytes after the last. False when memory or budget is out. */
bool buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_number(struct buffer *buffer, unsigned long long number);

/* Forgets the content; keeps at most `keep` bytes of capacity. */
void buffer_clear(struct buffer *buffer, size_t keep);

/* Frees the memory; the buffer is empty and may be used again. */
void buffer_finish(struct buffer *buffer);

#endif
