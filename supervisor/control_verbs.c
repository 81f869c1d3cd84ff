#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/signals.h"
#include "supervisor/control_internal.h"
#include "supervisor/log.h"

/* The work goes on; whoever did not want to wait is done. */
static void begun(struct client *client)
{
	if (client->busy && !client->wait.ended && (client->request.options & OPTION_NO_WAIT))
		client_ok(client);
}

/* The slot that an argument names; false when it was refused. */
bool slot_argument(struct client *client, const char *word, uint32_t *ret)
{
	char problem[CONTROL_PROBLEM_MAX];
	struct sup_view view;

	sup_look(client->control->s, &view);
	if (proto_number(word, UINT32_MAX - 1, ret) && *ret < view.pool.slots_max)
		return true;
	snprintf(problem, sizeof problem, "there is no slot %.32s; the last one is %" PRIu32, word,
	         view.pool.slots_max - 1);
	client_fail(client, CODE_USAGE, view.pool.slots_max > 0 ? problem : "there is no slot yet");
	return false;
}

/* SLOT or `all`; false when it was refused. */
static bool slots_argument(struct client *client, unsigned index, uint32_t *ret)
{
	*ret = ALL_SLOTS;
	if (client->request.count <= index || strcmp(client->request.words[index], "all") == 0)
		return true;
	return slot_argument(client, client->request.words[index], ret);
}

static void serve_scale(struct client *client)
{
	struct supervisor *s = client->control->s;
	struct sup_view view;
	const char *failed = "";
	uint32_t count;

	sup_look(s, &view);
	if (!proto_count(client->request.words[0], view.pool.wanted, WORKERS_MAX, &count)) {
		char problem[CONTROL_PROBLEM_MAX];

		snprintf(
		    problem, sizeof problem,
		    "the number of workers is given as N, +N or -N and must then be 0 (paused) to "
		    "%d; it is %" PRIu32 " now",
		    WORKERS_MAX, view.pool.wanted);
		client_fail(client, CODE_USAGE, problem);
		return;
	}
	if (!wait_begin(client, WAIT_SCALE))
		return;
	if (sup_scale(s, count, "clusterctl", &failed) < 0) {
		client_fail(client, CODE_FAILED, failed);
		return;
	}
	wait_scale(client, count);
	begun(client);
}

void put_note(void *context, const char *line)
{
	struct client *client = context;
	struct json j;

	reply_begin(client, &j, "note");
	json_text(&j, "text", line, strnlen(line, 1000));
	reply_end(client, &j);
}

/* A roll makes the removed files of unix listeners again; where it could not, who asked has to know. */
static void tell_lost(struct client *client)
{
	struct sup_listener listener;
	char text[NAME_TEXT_MAX + 96];

	for (uint32_t i = 0; client->busy && sup_listener(client->control->s, i, &listener); i++) {
		if (!listener.lost)
			continue;
		snprintf(text, sizeof text, "[listen %s]: its file was removed and can not be made again; why: clusterctl events",
		         listener.name);
		put_note(client, text);
	}
}

static void serve_roll(struct client *client)
{
	const char *failed = "";
	uint32_t roll = 0;

	if (!wait_begin(client, WAIT_ROLL))
		return;
	if (sup_roll(client->control->s, &roll, &failed) < 0) {
		client_fail(client, CODE_FAILED, failed);
		return;
	}
	client->wait.roll = roll;
	tell_lost(client);
	begun(client);
}

/* What would begin nothing any more, and be told as done or waited for in vain. */
static bool too_late(struct client *client)
{
	struct sup_view view;

	sup_look(client->control->s, &view);
	if (view.pool.stopping)
		client_fail(client, CODE_FAILED, "the cluster is stopping");
	return view.pool.stopping;
}

static bool in_use(struct client *client, uint32_t slot)
{
	struct sup_view view;

	sup_look(client->control->s, &view);
	if (slot >= view.pool.wanted)
		client_fail(client, CODE_FAILED, "the slot is not in use");
	return slot < view.pool.wanted;
}

/* A roll can take long, by its pause say, and nothing would tell why this one does not begin. */
static void tell_queued(struct client *client, const struct pool_view *pool)
{
	char text[96];

	if (!pool->roll || client->wait.ended)
		return;
	snprintf(text, sizeof text, "roll %" PRIu32 " is under way: the slot is restarted when that has ended", pool->roll);
	put_note(client, text);
}

static void serve_restart(struct client *client)
{
	struct supervisor *s = client->control->s;
	struct event event = { .what = EV_ROLL };
	struct sup_view view;

	if (!slot_argument(client, client->request.words[0], &event.slot) || too_late(client))
		return;
	sup_look(s, &view);
	event.generation = view.pool.generation;
	if (!in_use(client, event.slot) || wait_is_vain(client) || !wait_begin(client, WAIT_ROLL))
		return;
	client->wait.slot = event.slot;
	sup_request(s, &event);
	tell_queued(client, &view.pool);
	begun(client);
}

static void join(struct client *client, const struct pool_view *pool)
{
	if (wait_is_vain(client))
		return;
	wait_join(client, pool);
	begun(client);
}

static void serve_reload(struct client *client)
{
	bool dry_run = (client->request.options & OPTION_DRY_RUN) != 0;
	struct sup_view before, after;
	uint32_t roll = 0;

	if (!dry_run && !wait_begin(client, WAIT_ROLL))
		return;
	sup_look(client->control->s, &before);
	if (sup_reload(client->control->s, dry_run, false, put_note, client, &roll) < 0) {
		client_fail(client, CODE_FAILED, dry_run ? "a reload would be refused" : "nothing was changed");
		return;
	}
	sup_look(client->control->s, &after);
	client->wait.roll = roll;
	if (!dry_run && roll == 0 && after.pool.roll)
		join(client, &after.pool);
	else if (roll == 0 && after.pool.wanted != before.pool.wanted) {
		wait_scale(client, after.pool.wanted);
		begun(client);
	} else if (client->busy && roll == 0)
		client_ok(client);
	else
		begun(client);
}

static void serve_check(struct client *client)
{
	uint32_t roll;

	if (sup_reload(client->control->s, true, true, put_note, client, &roll) < 0)
		client_fail(client, CODE_FAILED, "the policy has problems");
	else
		client_ok(client);
}

/* One that was scaled away may still drain, and that can be waited for. */
static bool may_drain(struct client *client, uint32_t slot)
{
	struct sup_slot view;

	return slot == ALL_SLOTS || (sup_slot(client->control->s, slot, &view) && view.slot.old > 0) ||
	       in_use(client, slot);
}

static void serve_drain(struct client *client)
{
	struct event event = { .what = EV_DRAIN };

	if (!slots_argument(client, 0, &event.slot) || too_late(client) || !may_drain(client, event.slot) ||
	    !wait_begin(client, WAIT_DRAIN))
		return;
	client->wait.slot = event.slot;
	sup_request(client->control->s, &event);
	begun(client);
}

static void serve_stop(struct client *client)
{
	struct event event = { .what = EV_STOP,
			       .fast = (client->request.options & OPTION_NOW) != 0 };

	if (!wait_begin(client, WAIT_STOP))
		return;
	sup_request(client->control->s, &event);
	begun(client);
}

static void serve_kill(struct client *client)
{
	struct event event = { .what = EV_KILL };
	struct sup_slot slot;

	if (!slot_argument(client, client->request.words[0], &event.slot))
		return;
	if (!sup_slot(client->control->s, event.slot, &slot) || (slot.pid == 0 && slot.next_pid == 0 && slot.slot.old == 0)) {
		client_fail(client, CODE_FAILED, "the slot holds no process");
		return;
	}
	if (!wait_begin(client, WAIT_KILL))
		return;
	client->wait.slot = event.slot;
	sup_request(client->control->s, &event);
	begun(client);
}

static void serve_signal(struct client *client)
{
	int number = signal_number(client->request.words[0]);
	struct json j;
	uint32_t slot, count;

	if (number <= 0) {
		client_fail(client, CODE_USAGE, "there is no such signal");
		return;
	}
	if (!slots_argument(client, 1, &slot))
		return;
	count = sup_signal(client->control->s, slot, number);
	if (count == 0) {
		client_fail(client, CODE_FAILED, "no process was there to get it");
		return;
	}
	reply_begin(client, &j, NULL);
	json_number(&j, "count", count);
	client_done(client, &j, true);
}

static void serve_reset(struct client *client)
{
	struct event event = { .what = EV_RESET };

	if (!slots_argument(client, 0, &event.slot) || too_late(client) ||
	    (event.slot != ALL_SLOTS && !in_use(client, event.slot)) || !wait_begin(client, WAIT_RESET))
		return;
	client->wait.slot = event.slot;
	sup_request(client->control->s, &event);
	begun(client);
}

static void serve_reopen(struct client *client)
{
	const char *file = sup_policy(client->control->s)->log_file;
	char problem[CONTROL_PROBLEM_MAX];
	int rc = sup_reopen(client->control->s);

	if (rc < 0) {
		snprintf(problem, sizeof problem, "%.150s: %s; the log goes on where it was", file, log_error(rc));
		client_fail(client, CODE_FAILED, problem);
		return;
	}
	if (strcmp(file, "-") == 0)
		put_note(client, "the log goes to standard error: there is no file to be opened again");
	client_ok(client);
}

static void serve_upgrade(struct client *client)
{
	const char *failed = "";

	if (!wait_begin(client, WAIT_UPGRADE))
		return;
	if (sup_upgrade(client->control->s, &failed) < 0 && client->busy)
		client_fail(client, CODE_FAILED, failed);
	else
		begun(client);
}

/* The night after, the log has to tell who did it. */
static void tell_who(const struct client *client, const char *result, const char *detail)
{
	const struct request *request = &client->request;
	char text[128];
	size_t used;

	snprintf(text, sizeof text, "%s", request_word(request));
	for (unsigned i = 0; i < request->count; i++) {
		used = strlen(text);
		snprintf(text + used, sizeof text - used, " %s", request->words[i]);
	}
	used = strlen(text);
	if (request->options & OPTION_NOW)
		snprintf(text + used, sizeof text - used, " --now");
	sup_asked(client->control->s, text, peer_uid(client->fd), peer_pid(client->fd), result, detail);
}

/* Or who did not: the line before this one reads as if it had been done. */
void request_failed(const struct client *client, const char *error)
{
	if (client->told)
		tell_who(client, client->begun ? "failed" : "refused", error);
}

void request_serve(struct client *client)
{
	static void (*const serve[REQUESTS_MAX])(struct client *) = {
#define REQUEST(id, ...) serve_##id,
#include "supervisor/core/requests.def"
#undef REQUEST
	};

	client->told = request_acts(&client->request);
	if (client->told)
		tell_who(client, NULL, NULL);
	serve[client->request.what](client);
	client->begun = client->busy;
}
