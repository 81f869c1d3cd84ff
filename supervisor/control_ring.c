#include <stdlib.h>
#include <string.h>

#include "supervisor/control_internal.h"

struct record {
	uint32_t size; /* of the text that follows */
	uint32_t slot;
};

int ring_init(struct ring *ring, size_t size)
{
	*ring = (struct ring){ .bytes = malloc(size), .size = size };
	return ring->bytes ? 0 : -1;
}

static void copy_in(struct ring *ring, const void *from, size_t size)
{
	size_t at = ring->end & (ring->size - 1), first = ring->size - at;

	if (first > size)
		first = size;
	memcpy(ring->bytes + at, from, first);
	memcpy(ring->bytes, (const char *)from + first, size - first);
	ring->end += size;
}

static void copy_out(const struct ring *ring, uint64_t offset, void *to, size_t size)
{
	size_t at = offset & (ring->size - 1), first = ring->size - at;

	if (first > size)
		first = size;
	memcpy(to, ring->bytes + at, first);
	memcpy((char *)to + first, ring->bytes, size - first);
}

void ring_add(struct ring *ring, uint32_t slot, const char *text, size_t size)
{
	struct record record = { .size = (uint32_t)size, .slot = slot };

	if (size == 0 || size > ring->size / 4)
		return;
	while (ring->end + sizeof record + size - ring->start > ring->size) {
		struct record oldest;

		copy_out(ring, ring->start, &oldest, sizeof oldest);
		ring->start += sizeof oldest + oldest.size;
	}
	copy_in(ring, &record, sizeof record);
	copy_in(ring, text, size);
}

size_t ring_next(const struct ring *ring, uint64_t *at, uint32_t *ret_slot, char *text, size_t size,
                 uint64_t *lost)
{
	struct record record;

	if (*at < ring->start) {
		*lost += ring->start - *at;
		*at = ring->start;
	}
	if (*at == ring->end)
		return 0;
	copy_out(ring, *at, &record, sizeof record);
	if (record.size > size)
		return 0;
	copy_out(ring, *at + sizeof record, text, record.size);
	*at += sizeof record + record.size;
	*ret_slot = record.slot;
	return record.size;
}
