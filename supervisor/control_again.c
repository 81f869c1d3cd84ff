/*
 * `wait`: for a state, and after an upgrade of clusterd for what was begun before it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/control_internal.h"

/* The roll of all, or the restart of one slot, which has a number of its own. */
static bool is_under_way(struct supervisor *s, const struct pool_view *pool, uint32_t roll, uint32_t *ret_slot)
{
	struct sup_slot view;

	*ret_slot = ALL_SLOTS;
	if (roll == pool->roll)
		return true;
	for (uint32_t slot = 0; slot < pool->wanted; slot++)
		if (sup_slot(s, slot, &view) && view.slot.restart == roll) {
			*ret_slot = slot;
			return true;
		}
	return false;
}

/* After an upgrade, for who waited for that roll before it; it may have ended since. */
static void serve_wait_roll(struct client *client)
{
	const struct report *last = &client->control->last_roll;
	struct sup_view view;
	uint32_t roll;

	if (client->request.count < 2 || !proto_number(client->request.words[1], UINT32_MAX - 1, &roll)) {
		client_fail(client, CODE_USAGE, "the number of a roll is needed");
		return;
	}
	if (!wait_begin(client, WAIT_ROLL))
		return;
	client->wait.roll = roll;
	sup_look(client->control->s, &view);
	if (roll > 0 && roll == last->roll)
		wait_roll_ended(client, last);
	else if (roll == 0 || !is_under_way(client->control->s, &view.pool, roll, &client->wait.slot))
		client_fail(client, CODE_FAILED, "there is no such roll, or it has ended before the last upgrade");
}

/* After an upgrade, for who waited for that number of workers before it. */
static void serve_wait_scale(struct client *client)
{
	uint32_t count;

	if (client->request.count < 2 || !proto_number(client->request.words[1], UINT32_MAX - 1, &count)) {
		client_fail(client, CODE_USAGE, "the number of workers is needed");
		return;
	}
	if (!wait_begin(client, WAIT_SCALE))
		return;
	wait_scale(client, count);
	wait_check(client);
}

/* The same for who waited for slots to be filled again. */
static void serve_wait_reset(struct client *client)
{
	uint32_t slot = ALL_SLOTS;

	if (client->request.count > 1 && !slot_argument(client, client->request.words[1], &slot))
		return;
	if (!wait_begin(client, WAIT_RESET))
		return;
	client->wait.slot = slot;
	wait_check(client);
}

/* Why it can take long though all workers are ready. */
static void tell_roll(struct client *client)
{
	struct sup_view view;
	char text[96];

	sup_look(client->control->s, &view);
	if (!view.pool.roll)
		return;
	snprintf(text, sizeof text, "roll %" PRIu32 " is under way: its end is waited for", view.pool.roll);
	put_note(client, text);
}

bool wait_is_vain(struct client *client)
{
	struct sup_view view;
	struct sup_slot slot;

	sup_look(client->control->s, &view);
	for (uint32_t i = 0; view.pool.roll && i < view.pool.wanted; i++)
		if (sup_slot(client->control->s, i, &slot) && slot.slot.stuck) {
			client_fail(client, CODE_FAILED, WAIT_STUCK);
			return true;
		}
	return false;
}

void serve_wait(struct client *client)
{
	bool ready = strcmp(client->request.words[0], "ready") == 0;

	if (strcmp(client->request.words[0], "roll") == 0)
		serve_wait_roll(client);
	else if (strcmp(client->request.words[0], "scale") == 0)
		serve_wait_scale(client);
	else if (strcmp(client->request.words[0], "reset") == 0)
		serve_wait_reset(client);
	else if ((!ready && strcmp(client->request.words[0], "stopped") != 0) || client->request.count > 1)
		client_fail(client, CODE_USAGE, "wait for what: ready or stopped");
	else if (wait_begin(client, ready ? WAIT_READY : WAIT_STOP)) {
		if (ready)
			tell_roll(client);
		wait_check(client);
	}
}
