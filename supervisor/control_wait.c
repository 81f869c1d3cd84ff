#include <stdio.h>
#include <string.h>

#include "config/signals.h"
#include "supervisor/control_internal.h"
#include "supervisor/core/names.h"
#include "supervisor/explain.h"

_Static_assert(WAITERS_MAX == 12, "two texts say 12");

/* Refuses when too many wait already, before anything was begun. */
bool wait_begin(struct client *client, enum wait_what what)
{
	client->wait = (struct wait){ .what = what, .slot = ALL_SLOTS, .failed_slot = ALL_SLOTS };
	client->control->check_waits = true;
	if (control_waiters(client->control) <= WAITERS_MAX ||
	    (client->request.options & OPTION_NO_WAIT))
		return true;
	client_fail(client, CODE_TIMEOUT, "12 clients wait or follow already; there can be no more; try --no-wait");
	return false;
}

/* ---- progress ---- */

static const char *report_name(enum report_what what)
{
	static const char *const names[] = {
		[REPORT_READY] = "worker.ready",
		[REPORT_EXIT] = "worker.exit",
		[REPORT_STOP] = "worker.stop",
		[REPORT_ESCALATE] = "worker.kill",
		[REPORT_UNKILLABLE] = "worker.unkillable",
		[REPORT_SPAWN_ERROR] = "spawn.error",
		[REPORT_ROLL_BEGIN] = "roll.begin",
		[REPORT_ROLL_SLOT] = "roll.slot",
		[REPORT_ROLL_BACK] = "roll.back",
		[REPORT_ROLL_END] = "roll.end",
		[REPORT_SCALE] = "scale",
		[REPORT_GIVE_UP] = "slot.give_up",
		[REPORT_RECYCLE] = "worker.recycle",
		[REPORT_RECYCLE_HELD] = "worker.recycle-held",
		[REPORT_DRAINED] = "slot.drained",
	};

	return names[what];
}

static void put_last_line(struct client *client, struct json *j, uint32_t slot)
{
	struct sup_slot view;

	if (slot != ALL_SLOTS && sup_slot(client->control->s, slot, &view) && view.last_line[0])
		json_word(j, "last_line", view.last_line);
}

static void put_problem(struct client *client, struct json *j, uint32_t slot)
{
	struct sup_slot view;

	if (sup_slot(client->control->s, slot, &view))
		json_word(j, "problem", view.problem);
}

static void put_exit(struct client *client, struct json *j, const struct report *report)
{
	struct end_record end = {
		.code = (int16_t)report->end.code,
		.signal = (int16_t)report->end.signal,
		.core = report->end.core,
		.oom = report->end.oom,
		.cause = (uint8_t)report->cause,
	};
	char text[128];

	explain_end(&end, text, sizeof text);
	json_word(j, "end", text);
	json_flag(j, "asked", report->asked);
	json_word(j, "next", name_next_action(report->next));
	json_word(j, "why", name_why(report->why));
	if (!report->asked)
		put_last_line(client, j, report->slot);
}

/* Without a signal it drains first, and is told of again when it gets one. */
static void put_stop(struct json *j, const struct report *report)
{
	char signal[SIGNAL_TEXT_MAX];

	json_word(j, "cause", name_end_cause(report->cause));
	if (report->signal)
		json_word(j, "signal", signal_name(report->signal, signal));
}

/* What differs between the reports; slot, pid and ms are told of each. */
static void put_details(struct client *client, struct json *j, const struct report *report)
{
	switch (report->what) {
	case REPORT_READY: json_word(j, "how", name_ready_how(report->how)); break;
	case REPORT_EXIT: put_exit(client, j, report); break;
	case REPORT_STOP: put_stop(j, report); break;
	case REPORT_RECYCLE:
	case REPORT_RECYCLE_HELD: json_word(j, "cause", name_end_cause(report->cause)); break;
	case REPORT_SPAWN_ERROR:
		json_word(j, "step", sup_spawn_step(client->control->s));
		json_word(j, "error", strerror(report->error));
		put_problem(client, j, report->slot);
		break;
	case REPORT_ROLL_BEGIN:
		json_number(j, "roll", report->roll);
		json_number(j, "generation", report->generation);
		json_number(j, "slots", report->count);
		break;
	case REPORT_ROLL_SLOT:
		json_number(j, "roll", report->roll);
		json_number(j, "old_pid", sup_pid(client->control->s, report->other));
		json_flag(j, "ok", report->ok);
		json_number(j, "tries", report->count);
		break;
	case REPORT_ROLL_BACK:
		json_number(j, "roll", report->roll);
		json_number(j, "generation", report->generation);
		json_flag(j, "ok", report->ok);
		json_number(j, "tries", report->count);
		break;
	case REPORT_SCALE:
		json_number(j, "from", report->other);
		json_number(j, "to", report->count);
		break;
	case REPORT_GIVE_UP:
		json_word(j, "next", name_next_action(report->next));
		json_word(j, "why", name_why(report->why));
		break;
	case REPORT_ROLL_END:
		json_number(j, "roll", report->roll);
		json_word(j, "verdict", name_verdict(report->verdict));
		break;
	case REPORT_ESCALATE:
		if (report->count > 0)
			json_number(j, "max_old", report->count);
		break;
	case REPORT_UNKILLABLE:
	case REPORT_DRAINED:
	default: break;
	}
}

/* Steps may come faster than they are read; the verdict must find room all the same. */
static bool steps_fit(struct client *client)
{
	if (client->out_end - client->out_start > STEPS_MAX)
		client_write(client);
	return client->out_end - client->out_start <= STEPS_MAX;
}

static void put_skipped(struct client *client)
{
	char text[96];
	struct json j;

	if (client->wait.skipped == 0)
		return;
	snprintf(text, sizeof text, "%u steps are not shown: they came faster than they were read",
	         client->wait.skipped);
	client->wait.skipped = 0;
	reply_begin(client, &j, "note");
	json_word(&j, "text", text);
	reply_end(client, &j);
}

static void put_progress(struct client *client, const struct report *report)
{
	struct json j;

	if (!steps_fit(client)) {
		client->wait.skipped++;
		return;
	}
	put_skipped(client);
	reply_begin(client, &j, "progress");
	json_word(&j, "what", report_name(report->what));
	if (report->slot != ALL_SLOTS)
		json_number(&j, "slot", report->slot);
	if (report->cookie)
		json_number(&j, "pid", sup_pid(client->control->s, report->cookie));
	json_number(&j, "ms", (int64_t)report->ms);
	put_details(client, &j, report);
	reply_end(client, &j);
}

/* ---- verdicts ---- */

static void put_ready(struct client *client, struct json *j)
{
	struct sup_view view;

	sup_look(client->control->s, &view);
	json_number(j, "ready", view.pool.ready);
	json_number(j, "wanted", view.pool.wanted);
	put_workers_policy(client, j);
}

void wait_roll_ended(struct client *client, const struct report *report)
{
	struct json j;

	put_skipped(client);
	reply_begin(client, &j, NULL);
	json_number(&j, "code", report->verdict == VERDICT_DONE ? CODE_DONE : CODE_FAILED);
	json_number(&j, "roll", report->roll);
	json_word(&j, "verdict", name_verdict(report->verdict));
	json_number(&j, "ms", (int64_t)report->ms);
	put_ready(client, &j);
	if (client->wait.failed_slot != ALL_SLOTS) {
		json_number(&j, "slot", client->wait.failed_slot);
		put_last_line(client, &j, client->wait.failed_slot);
	}
	client_done(client, &j, report->verdict == VERDICT_DONE);
}

static bool is_of_roll(const struct report *report)
{
	return report->what == REPORT_ROLL_BEGIN || report->what == REPORT_ROLL_SLOT ||
	       report->what == REPORT_ROLL_BACK || report->what == REPORT_ROLL_END;
}

static bool roll_is_ours(struct wait *wait, const struct report *report)
{
	if (wait->roll == 0 && report->what == REPORT_ROLL_BEGIN && report->slot == wait->slot)
		wait->roll = report->roll;
	return report->roll == wait->roll;
}

static void report_to_roll(struct client *client, const struct report *report)
{
	struct wait *wait = &client->wait;

	if (!is_of_roll(report)) {
		if (wait->slot == ALL_SLOTS || wait->slot == report->slot)
			put_progress(client, report);
		return;
	}
	/* Who has asked for one takes the steps of another for his own. */
	if (!roll_is_ours(wait, report))
		return;
	put_progress(client, report);
	if (report->what == REPORT_ROLL_BACK)
		wait->back = true;
	if (report->what == REPORT_ROLL_SLOT && !report->ok && !wait->back)
		wait->failed_slot = report->slot;
	if (report->what == REPORT_ROLL_END) {
		wait->end = *report;
		wait->ended = true;
	}
	/* It has failed, whatever comes; nobody is kept waiting for the old program to be put back. */
	if (report->what == REPORT_ROLL_BACK && !report->ok)
		client_fail(client, CODE_FAILED, WAIT_STUCK);
}

void wait_report(struct client *client, const struct report *report)
{
	struct wait *wait = &client->wait;

	if (wait->what == WAIT_ROLL) {
		if (!wait->ended)
			report_to_roll(client, report);
		return;
	}
	/* What the workers do meanwhile is no progress of an upgrade. */
	if (wait->what == WAIT_UPGRADE || (wait->slot != ALL_SLOTS && wait->slot != report->slot))
		return;
	put_progress(client, report);
	if (wait->what == WAIT_KILL && report->what == REPORT_EXIT)
		client_ok(client);
}

/* A roll that is under way brings what was asked for: its verdict is that of this client, too. */
void wait_join(struct client *client, const struct pool_view *pool)
{
	client->wait.roll = pool->roll;
	client->wait.back = pool->roll_back;
	put_progress(client, &(struct report){
				     .what = REPORT_ROLL_BEGIN,
				     .slot = ALL_SLOTS,
				     .roll = pool->roll,
				     .generation = pool->roll_generation,
				     .count = pool->wanted,
			     });
}

static void verdict(struct client *client)
{
	struct json j;

	put_skipped(client);
	reply_begin(client, &j, NULL);
	put_ready(client, &j);
	client_done(client, &j, true);
}

/* Is the slot empty of processes? */
static bool is_empty(struct supervisor *s, uint32_t slot)
{
	struct sup_slot view;

	return !sup_slot(s, slot, &view) ||
	       (view.pid == 0 && view.next_pid == 0 && view.slot.old == 0);
}

static bool is_given_up(struct supervisor *s, uint32_t slot)
{
	struct sup_slot view;

	return sup_slot(s, slot, &view) &&
	       (view.slot.state == SLOT_HELD || view.slot.state == SLOT_RETIRED || view.slot.state == SLOT_DRAINED);
}

/* By another request, while its last worker had not ended. */
static bool is_filled_again(struct supervisor *s, const struct pool_view *pool, uint32_t slot)
{
	struct sup_slot view;

	return !pool->stopping && slot < pool->wanted && sup_slot(s, slot, &view) && view.slot.state != SLOT_DRAINED;
}

static uint32_t given_up(struct supervisor *s, uint32_t wanted)
{
	uint32_t count = 0;

	for (uint32_t slot = 0; slot < wanted; slot++)
		count += is_given_up(s, slot);
	return count;
}

/* What was given up before is not what was asked for. */
void wait_scale(struct client *client, uint32_t count)
{
	client->wait.what = WAIT_SCALE;
	client->wait.count = count;
	client->wait.given_up = given_up(client->control->s, count);
}

static void check_scale(struct client *client, const struct pool_view *pool)
{
	struct supervisor *s = client->control->s;
	uint32_t given = given_up(s, pool->wanted);

	if (pool->wanted != client->wait.count) {
		client_fail(client, CODE_FAILED, "another request changed the number of workers");
		return;
	}
	for (uint32_t i = pool->wanted; i < pool->slots_max; i++)
		if (!is_empty(s, i))
			return;
	if (given > client->wait.given_up)
		client_fail(client, CODE_FAILED, "a slot does not get ready; see: clusterctl status");
	else if (pool->ready + given >= pool->wanted)
		verdict(client);
}

static bool is_ready(struct supervisor *s, uint32_t slot)
{
	struct sup_slot view;

	return sup_slot(s, slot, &view) && view.slot.state == SLOT_LIVE && view.state == INSTANCE_READY;
}

static void check_reset(struct client *client, const struct pool_view *pool)
{
	bool whole = client->wait.slot == ALL_SLOTS;
	uint32_t first = whole ? 0 : client->wait.slot, end = whole ? pool->wanted : first + 1;
	bool ready = true;

	if (end > pool->wanted) {
		client_fail(client, CODE_FAILED, "another request changed the number of workers");
		return;
	}
	for (uint32_t i = first; i < end; i++) {
		if (is_given_up(client->control->s, i)) {
			client_fail(client, CODE_FAILED, "a slot does not get ready; see: clusterctl status");
			return;
		}
		ready = ready && is_ready(client->control->s, i);
	}
	if (ready)
		verdict(client);
}

static void check_drain(struct client *client, const struct pool_view *pool)
{
	uint32_t first = client->wait.slot, last = client->wait.slot;

	if (first == ALL_SLOTS) {
		first = 0;
		last = pool->slots_max - 1;
	}
	for (uint32_t i = first; i <= last; i++) {
		if (is_empty(client->control->s, i))
			continue;
		if (is_filled_again(client->control->s, pool, i))
			client_fail(client, CODE_FAILED, "another request has filled the slot again");
		return;
	}
	verdict(client);
}

void wait_check(struct client *client)
{
	struct sup_view view;

	sup_look(client->control->s, &view);
	switch (client->wait.what) {
	case WAIT_SCALE: check_scale(client, &view.pool); break;
	case WAIT_DRAIN: check_drain(client, &view.pool); break;
	case WAIT_RESET: check_reset(client, &view.pool); break;
	case WAIT_READY:
		if (view.pool.up && !view.pool.roll && view.pool.ready >= view.pool.wanted)
			verdict(client);
		break;
	case WAIT_ROLL:
		if (client->wait.ended)
			wait_roll_ended(client, &client->wait.end);
		break;
	case WAIT_NOTHING:
	case WAIT_KILL:
	case WAIT_STOP:
	case WAIT_UPGRADE:
	default: break;
	}
}

/* The cluster has ended, with this exit status of clusterd: what who follows waits for, too. */
void wait_ended(struct client *client, int status)
{
	bool stop = client->wait.what == WAIT_STOP || client->follows;
	struct json j;

	if (client->wait.ended) {
		wait_roll_ended(client, &client->wait.end);
		return;
	}
	put_skipped(client);
	reply_begin(client, &j, NULL);
	json_number(&j, "code", stop ? CODE_DONE : CODE_FAILED);
	json_number(&j, "status", status);
	if (!stop)
		json_word(&j, "error", "the cluster has stopped");
	client_done(client, &j, stop);
}
