/*
 * memory - what outlives the processes of a slot: its death history, last words, counts.
 *
 * GLUE. A history starts empty and grows with the deaths, so a slot that never
 * dies costs nothing; without memory for more the oldest record makes room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"

enum { ENDS_FIRST = 4 };

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

static void ends_grow(struct slot_memory *m)
{
	uint32_t size = m->ends_size ? 2 * m->ends_size : ENDS_FIRST;
	struct end_record *ends;

	if (size > ENDS_MAX)
		size = ENDS_MAX;
	/* The ring is full and has not wrapped yet, so realloc keeps the order. */
	ends = realloc(m->ends, size * sizeof *ends);
	if (!ends)
		return;
	m->ends = ends;
	m->ends_size = size;
}

void memory_add_end(struct supervisor *s, uint32_t slot, const struct end_record *end)
{
	struct slot_memory *m = &s->memory[slot];

	if (m->ends_count == m->ends_size && m->ends_size < ENDS_MAX)
		ends_grow(m);
	if (m->ends_size > 0)
		m->ends[m->ends_count++ % m->ends_size] = *end;
}

bool sup_end(struct supervisor *s, uint32_t slot, uint32_t index, struct end_record *ret)
{
	const struct slot_memory *m = slot < s->slots_max ? &s->memory[slot] : NULL;

	if (!m || index >= m->ends_count || index >= m->ends_size)
		return false;
	*ret = m->ends[(m->ends_count - 1 - index) % m->ends_size];
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
		free(s->memory[i].ends);
		free(s->memory[i].last_line);
	}
	free(s->memory);
	steer_free(s);
}
