#include "supervisor/core/heap.h"

#include <stdbool.h>
#include <string.h>

void heap_init(struct heap *heap, struct heap_entry *entries, uint32_t *places, uint32_t ids_max)
{
	heap->entries = entries;
	heap->places = places;
	heap->count = 0;
	memset(places, 0, ids_max * sizeof(*places));
}

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->rank < b->rank;
}

static void put(struct heap *heap, uint32_t place, const struct heap_entry *entry)
{
	heap->entries[place] = *entry;
	heap->places[entry->id] = place + 1;
}

/* `entry` goes to `place`, or nearer to the root. */
static void sift_up(struct heap *heap, uint32_t place, struct heap_entry entry)
{
	while (place > 0) {
		uint32_t parent = (place - 1) / 2;

		if (!before(&entry, &heap->entries[parent]))
			break;
		put(heap, place, &heap->entries[parent]);
		place = parent;
	}
	put(heap, place, &entry);
}

/* `entry` goes to `place`, or farther from the root. */
static void sift_down(struct heap *heap, uint32_t place, struct heap_entry entry)
{
	for (;;) {
		uint32_t child = 2 * place + 1;

		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
		    before(&heap->entries[child + 1], &heap->entries[child]))
			child++;
		if (!before(&heap->entries[child], &entry))
			break;
		put(heap, place, &heap->entries[child]);
		place = child;
	}
	put(heap, place, &entry);
}

static void settle(struct heap *heap, uint32_t place, struct heap_entry entry)
{
	if (place > 0 && before(&entry, &heap->entries[(place - 1) / 2]))
		sift_up(heap, place, entry);
	else
		sift_down(heap, place, entry);
}

static void take_out(struct heap *heap, uint32_t id)
{
	uint32_t place = heap->places[id];

	if (!place)
		return;
	heap->places[id] = 0;
	heap->count--;
	if (place - 1 < heap->count)
		settle(heap, place - 1, heap->entries[heap->count]);
}

void heap_set(struct heap *heap, uint32_t id, uint64_t rank, uint64_t at_ms)
{
	struct heap_entry entry = { .at_ms = at_ms, .rank = rank, .id = id };

	if (at_ms == HEAP_NEVER_MS)
		take_out(heap, id);
	else if (heap->places[id])
		settle(heap, heap->places[id] - 1, entry);
	else
		sift_up(heap, heap->count++, entry);
}

uint64_t heap_first(const struct heap *heap, uint32_t *ret_id)
{
	if (heap->count == 0)
		return HEAP_NEVER_MS;
	*ret_id = heap->entries[0].id;
	return heap->entries[0].at_ms;
}
