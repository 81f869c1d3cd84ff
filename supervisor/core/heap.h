/*
 * heap - who is due next: a binary heap that knows where each of its members is
 * (Cormen et al., Introduction to Algorithms, 6.5), so that a deadline is set,
 * moved and taken out in O(log n).
 *
 * Members are the ids 0 … ids_max-1, each at most once. Equal times are ordered by
 * rank, so the order never depends on how the heap came about; two members that are
 * in the heap together must not have the same rank.
 *
 * Ownership  the caller owns both arrays, of ids_max members each.
 */
#ifndef CLUSTERD_CORE_HEAP_H
#define CLUSTERD_CORE_HEAP_H

#include <stdint.h>

#define HEAP_NEVER_MS UINT64_MAX

struct heap_entry {
	uint64_t at_ms;
	uint64_t rank;
	uint32_t id;
};

struct heap {
	struct heap_entry *entries;
	uint32_t *places; /* of an id in entries, plus 1; 0 = not in the heap */
	uint32_t count;
};

void heap_init(struct heap *heap, struct heap_entry *entries, uint32_t *places, uint32_t ids_max);

/* Puts in or moves `id`; at_ms = HEAP_NEVER_MS takes it out. */
void heap_set(struct heap *heap, uint32_t id, uint64_t rank, uint64_t at_ms);

/* The earliest time, with its id; HEAP_NEVER_MS, and *ret_id as it was, if there is none. */
uint64_t heap_first(const struct heap *heap, uint32_t *ret_id);

#endif
