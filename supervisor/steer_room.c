/*
 * steer_room - how many seats there are.
 *
 * GLUE. A group has as many sockets as it was made for, so there is room for more workers than at the start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/reuseport.h"

enum { SEATS_PER_SLOT = 4, SEATS_MIN = 64 };

/* How many seats a group made for so many workers has. */
uint32_t steer_seats(uint32_t workers)
{
	uint32_t seats = SEATS_MIN;

	while (seats < SEATS_PER_SLOT * workers && seats < REUSEPORT_SLOTS_MAX)
		seats *= 2;
	return seats;
}

static void *grown(void *old, size_t had, size_t count, size_t each)
{
	void *fresh = calloc(count, each);

	if (fresh && had > 0)
		memcpy(fresh, old, had * each);
	return fresh;
}

int steer_grow(struct supervisor *s, uint32_t slots)
{
	struct steer *steer = &s->steer;
	uint32_t seats = steer_seats(slots);
	struct steer fresh = *steer;

	if (seats <= steer->size)
		return 0;
	fresh.list = grown(steer->list, steer->size, seats, sizeof *fresh.list);
	fresh.place = grown(steer->place, steer->size, seats, sizeof *fresh.place);
	fresh.owner = grown(steer->owner, steer->size, seats, sizeof *fresh.owner);
	fresh.size = seats;
	if (!fresh.list || !fresh.place || !fresh.owner) {
		free(fresh.list);
		free(fresh.place);
		free(fresh.owner);
		return -ENOMEM;
	}
	steer_free(s);
	*steer = fresh;
	return 0;
}

void steer_free(struct supervisor *s)
{
	free(s->steer.list);
	free(s->steer.place);
	free(s->steer.owner);
	s->steer.list = s->steer.place = s->steer.owner = NULL;
}

uint32_t steer_room(const struct supervisor *s)
{
	uint32_t room = UINT32_MAX;

	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->group && reuseport_export(sock->group).params.capacity < room)
			room = reuseport_export(sock->group).params.capacity;
	}
	return room;
}
