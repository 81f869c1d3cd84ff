/*
 * memory - what outlives the processes of a slot: its death history, last words, counts.
 *
 * GLUE. A history starts empty and grows with the deaths, so a slot that never
 * dies costs nothing; without memory for more the oldest record makes room. It
 * grows by chunks of one size and not by realloc(3), which would leave holes that
 * the next size does not fit into. A thousand workers that died a hundred times each are the most
 * of what clusterd ever holds, so a record is kept packed.
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

/* An end_record; 48 bits of milliseconds are 8,900 years. */
struct kept_end {
	uint64_t wall_ms : 48, rule : 16;
	uint64_t lived_ms : 48, streak : 16;
	uint32_t delay_ms, generation, pid, cpu_user_ms, cpu_sys_ms, max_rss_kb;
	uint32_t code : 8, signal : 7, core : 1, oom : 1, asked : 1, cause : 5, next : 3, why : 5;
} __attribute__((packed, aligned(4)));

_Static_assert(sizeof(struct kept_end) == 44, "no padding");
_Static_assert(END_CAUSES <= 32 && NEXT_ACTIONS <= 8 && WHYS <= 32, "they fit into their bits");

static struct kept_end pack(const struct end_record *end)
{
	return (struct kept_end){
		.wall_ms = (uint64_t)end->wall_ms & 0xffffffffffff,
		.rule = end->rule,
		.lived_ms = end->lived_ms & 0xffffffffffff,
		.streak = end->streak,
		.delay_ms = end->delay_ms,
		.generation = end->generation,
		.pid = (uint32_t)end->pid,
		.cpu_user_ms = end->cpu_user_ms,
		.cpu_sys_ms = end->cpu_sys_ms,
		.max_rss_kb = end->max_rss_kb,
		.code = (unsigned)end->code & 0xff,
		.signal = (unsigned)end->signal & 0x7f,
		.core = end->core != 0,
		.oom = end->oom != 0,
		.asked = end->asked != 0,
		.cause = (unsigned)end->cause & 0x1f,
		.next = (unsigned)end->next & 0x7,
		.why = (unsigned)end->why & 0x1f,
	};
}

static struct end_record unpack(const struct kept_end *kept)
{
	return (struct end_record){
		.wall_ms = (int64_t)kept->wall_ms,
		.rule = kept->rule,
		.lived_ms = kept->lived_ms,
		.streak = kept->streak,
		.delay_ms = kept->delay_ms,
		.generation = kept->generation,
		.pid = (int32_t)kept->pid,
		.cpu_user_ms = kept->cpu_user_ms,
		.cpu_sys_ms = kept->cpu_sys_ms,
		.max_rss_kb = kept->max_rss_kb,
		.code = kept->code,
		.signal = kept->signal,
		.core = kept->core,
		.oom = kept->oom,
		.asked = kept->asked,
		.cause = kept->cause,
		.next = kept->next,
		.why = kept->why,
	};
}

static struct kept_end *end_at(const struct slot_memory *m, uint32_t index)
{
	uint32_t at = index % m->ends_size;

	return &m->ends[at / ENDS_CHUNK][at % ENDS_CHUNK];
}

/* The ring is full and has not wrapped yet, so more room at its end keeps the order. */
static void ends_grow(struct slot_memory *m)
{
	struct kept_end *chunk = malloc(ENDS_CHUNK * sizeof *chunk);

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
		*end_at(m, m->ends_count++) = pack(end);
}

bool sup_end(struct supervisor *s, uint32_t slot, uint32_t index, struct end_record *ret)
{
	const struct slot_memory *m = slot < s->slots_max ? &s->memory[slot] : NULL;

	if (!m || index >= m->ends_count || index >= m->ends_size)
		return false;
	*ret = unpack(end_at(m, m->ends_count - 1 - index));
	return true;
}

static void keep_text(char **at, const char *text, size_t most)
{
	char *copy = *text ? strndup(text, most) : NULL;

	free(*at);
	*at = copy;
}

void memory_last_line(struct supervisor *s, uint32_t slot, const char *line)
{
	keep_text(&s->memory[slot].last_line, line, LAST_LINE_MAX);
}

void memory_problem(struct supervisor *s, uint32_t slot, const char *problem)
{
	keep_text(&s->memory[slot].problem, problem, PROBLEM_MAX);
	if (!*problem)
		memory_decision(s, slot, "");
}

void memory_decision(struct supervisor *s, uint32_t slot, const char *decision)
{
	keep_text(&s->memory[slot].decision, decision, DECISION_MAX);
}

void memory_free(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->slots_max; i++) {
		for (uint32_t chunk = 0; chunk < ENDS_CHUNKS; chunk++)
			free(s->memory[i].ends[chunk]);
		free(s->memory[i].last_line);
		free(s->memory[i].problem);
		free(s->memory[i].decision);
	}
	free(s->memory);
	steer_free(s);
}
