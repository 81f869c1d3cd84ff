/*
 * steer_former - the seats of workers that a former clusterd has started.
 *
 * GLUE. After an upgrade they are who they were; orphans, whose clusterd was killed, sit among them.
 */
#include "supervisor/internal.h"
#include "supervisor/os/reuseport.h"

/* Part of the state of an upgrade. */
enum { STANDING_KNOWN = 1, STANDING_OWNER = 2, STANDING_LISTED = 4 };

#define ORPHAN_COOKIE UINT32_MAX /* the core counts cookies from 1 on */

/* ---- orphans ---- */

/* Theirs is a seat of its own beyond those of the slots, so that what is asked of a new worker never
 * reaches one of them. */
void steer_orphan(struct supervisor *s, uint32_t seat, bool on)
{
	if (seat >= s->steer.size)
		return;
	s->steer.owner[seat] = ORPHAN_COOKIE;
	steer_seat(s, seat, on);
}

/* It has a socket, and no worker sits there. */
bool steer_is_stray(const struct supervisor *s, uint32_t seat)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (sock_steered(&s->socks[i]) && reuseport_fd(s->socks[i].group, seat) >= 0)
			return s->steer.owner[seat] == 0;
	return false;
}

void steer_orphan_gone(struct supervisor *s, uint32_t seat)
{
	if (seat < s->steer.size && s->steer.owner[seat] == ORPHAN_COOKIE)
		steer_give_up(s, seat);
}

/* ---- after an upgrade ---- */

uint32_t steer_standing(const struct worker *worker)
{
	const struct steer *steer = &worker->s->steer;
	uint32_t seat = worker->seat, standing = STANDING_KNOWN;

	if (seat < steer->size && steer->owner[seat] == worker->cookie)
		standing |= STANDING_OWNER;
	if (seat < steer->size && steer->place[seat] != 0)
		standing |= STANDING_LISTED;
	return standing;
}

/* As far as an older clusterd lets one know. */
static uint32_t guess_standing(const struct supervisor *s, const struct worker *worker)
{
	struct instance_view view;
	uint32_t standing = s->steer.owner[worker->seat] == 0 ? STANDING_OWNER : 0;

	if (pool_instance(s->pool, worker->cookie, &view) && view.state == INSTANCE_READY)
		standing |= STANDING_LISTED;
	return standing;
}

/*
 * After an upgrade: the owners, and who was on the list. A worker that is ready need be neither: one that
 * is left out, or that was started before there was a listener to steer.
 */
void steer_restore(struct supervisor *s, const struct worker *worker)
{
	uint32_t standing = worker->standing;

	if (!steer_used(s) || worker->seat >= s->steer.size)
		return;
	if (!(standing & STANDING_KNOWN))
		standing = guess_standing(s, worker);
	if (standing & STANDING_OWNER)
		s->steer.owner[worker->seat] = worker->cookie;
	else
		s->steer.shared = true;
	if (standing & STANDING_LISTED)
		steer_seat(s, worker->seat, true);
}
