/*
 * memory - what outlives the processes of a slot: its death history, last words, counts.
 *
 * GLUE. A history starts empty and grows with the deaths, so a slot that never
 * dies costs nothing; without memory for more the oldest record makes room. It
 * grows by chunks of one size and not by realloc(3), which would leave holes that
 * the next size does not fit into.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"

_Static_assert(ENDS_MAX % ENDS_CHUNK == 0, "the history is made of whole chunks");

int memory_grow(struct supervisor *s, uint32_t slots)
{
	struct slot_memory *memory = calloc(slots, sizeof *memory);

	if (!memory || steer_grow(s, slots) < 0) {
		free(memory);
		return -ENOMEM;
	}
	if (s->slots_max > 0)
		memcpy(memory, s->memory, s->slots_max * sizeof *memory);
	free(s->memory);
	s->memory = memory;
	return 0;
}

static struct end_record *end_at(const struct slot_memory *m, uint32_t index)
{
	uint32_t at = index % m->ends_size;

	return &m->ends[at / ENDS_CHUNK][at % ENDS_CHUNK];
}

/* The ring is full and has not wrapped yet, so more room at its end keeps the order. */
static void ends_grow(struct slot_memory *m)
{
	struct end_record *chunk = malloc(ENDS_CHUNK * sizeof *chunk);

	if (!chunk)
		return;
	m->ends[m->ends_size / ENDS_CHUNK] = chunk;
	m->ends_size += ENDS_CHUNK;
}

void memory_add_end(struct supervisor *s, uint32_t slot, const struct end_record *end)
{
	struct slot_memory *m = &s->memory[slot];

	if (m->ends_count == m->ends_size && m->ends_size < ENDS_MAX)
		ends_grow(m);
	if (m->ends_size > 0)
		*end_at(m, m->ends_count++) = *end;
}

bool sup_end(struct supervisor *s, uint32_t slot, uint32_t index, struct end_record *ret)
{
	const struct slot_memory *m = slot < s->slots_max ? &s->memory[slot] : NULL;

	if (!m || index >= m->ends_count || index >= m->ends_size)
		return false;
	*ret = *end_at(m, m->ends_count - 1 - index);
	return true;
}

void memory_last_line(struct supervisor *s, uint32_t slot, const char *line)
{
	char *copy = strndup(line, LAST_LINE_MAX);

	free(s->memory[slot].last_line);
	s->memory[slot].last_line = copy;
}

void memory_free(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->slots_max; i++) {
		for (uint32_t chunk = 0; chunk < ENDS_CHUNKS; chunk++)
			free(s->memory[i].ends[chunk]);
		free(s->memory[i].last_line);
	}
	free(s->memory);
	steer_free(s);
}
