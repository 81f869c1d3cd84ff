/*
 * steer - which slots get new connections, in the modes that have one socket each.
 *
 * GLUE. The core says on and off per slot; the list is written to the kernel once
 * after each batch of events, so that a thousand deaths at once cost one write.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/reuseport.h"

int steer_grow(struct supervisor *s, uint32_t slots)
{
	uint32_t *list = calloc(slots, sizeof *list);
	uint32_t *place = calloc(slots, sizeof *place);

	if (!list || !place) {
		free(list);
		free(place);
		return -ENOMEM;
	}
	if (s->steer.size > 0) {
		memcpy(list, s->steer.list, s->steer.size * sizeof *list);
		memcpy(place, s->steer.place, s->steer.size * sizeof *place);
	}
	steer_free(s);
	s->steer.list = list;
	s->steer.place = place;
	s->steer.size = slots;
	return 0;
}

void steer_free(struct supervisor *s)
{
	free(s->steer.list);
	free(s->steer.place);
	s->steer.list = s->steer.place = NULL;
}

/* place[slot] is 1 + its index in the list, or 0. */
void steer_slot(struct supervisor *s, uint32_t slot, bool on)
{
	struct steer *steer = &s->steer;
	uint32_t at;

	if (slot >= steer->size || on == (steer->place[slot] != 0))
		return;
	steer->dirty = true;
	if (on) {
		steer->list[steer->count++] = slot;
		steer->place[slot] = steer->count;
		return;
	}
	at = steer->place[slot] - 1;
	steer->place[slot] = 0;
	steer->list[at] = steer->list[--steer->count];
	if (at < steer->count)
		steer->place[steer->list[at]] = at + 1;
}

/* After an upgrade: the core knows which slots it had switched on. */
void steer_restore(struct supervisor *s, uint32_t slot)
{
	struct instance_view current = { .state = INSTANCE_STARTING }, next = current;
	struct slot_view view;

	if (!pool_slot(s->pool, slot, &view))
		return;
	pool_instance(s->pool, view.cookie, &current);
	pool_instance(s->pool, view.next_cookie, &next);
	if (current.state == INSTANCE_READY || next.state == INSTANCE_READY)
		steer_slot(s, slot, true);
}

void steer_apply(struct supervisor *s)
{
	const char *failed = "";

	if (!s->steer.dirty)
		return;
	s->steer.dirty = false;
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];
		int rc = 0;

		if (sock->group && sock->mode == BALANCE_ROUND_ROBIN)
			rc = reuseport_steer(sock->group, s->steer.list, s->steer.count, &failed);
		if (rc < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: steering: %s: %s",
			         sock->config.name, failed, strerror(-rc));
	}
}

/* Hands what waits in the slot's queues to its siblings. */
void steer_move(struct supervisor *s, uint32_t slot)
{
	const char *failed = "";

	steer_apply(s);
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!sock->group || sock->mode != BALANCE_ROUND_ROBIN)
			continue;
		if (sock->config.address.kind != ADDRESS_TCP || reuseport_fd(sock->group, slot) < 0)
			continue;
		/* -EAGAIN: no sibling is ready; the queue waits for the replacement. */
		reuseport_move_queue(sock->group, slot, &failed);
	}
}

/* Sockets for the slots up to `slots` in every group. On error those that were added are gone. */
int steer_add_slots(struct supervisor *s, uint32_t from, uint32_t slots, const char **failed)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->sock_count; i++)
		for (uint32_t slot = from; rc == 0 && s->socks[i].group && slot < slots; slot++) {
			rc = reuseport_add(s->socks[i].group, slot, failed);
			if (rc == -EEXIST)
				rc = 0; /* the slot's former worker still leaves */
			if (rc == 0 && s->hangup_fd >= 0)
				rc = sockets_watch_slot(s, &s->socks[i], slot);
		}
	if (rc < 0)
		for (uint32_t slot = from; slot < slots; slot++)
			steer_slot_gone(s, slot);
	return rc;
}

void steer_slot_gone(struct supervisor *s, uint32_t slot)
{
	const char *failed;

	steer_slot(s, slot, false);
	steer_apply(s);
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].group)
			reuseport_remove(s->socks[i].group, slot, &failed);
}
