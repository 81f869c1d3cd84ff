#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "supervisor/control_internal.h"
#include "supervisor/core/names.h"
#include "supervisor/explain.h"
#include "supervisor/log.h"
#include "supervisor/metrics.h"

/* Room is left for another line of this answer in this turn. */
static bool part_has_room(const struct client *client)
{
	return client->out_end - client->out_start < CHUNK_SIZE && !client->dead;
}

/* ---- status ---- */

static const char *cluster_state(const struct pool_view *pool)
{
	if (pool->stopping)
		return "stopping";
	if (!pool->up)
		return "starting";
	return pool->ready >= pool->wanted ? "ready" : "degraded";
}

void put_workers_policy(struct client *client, struct json *json)
{
	uint32_t workers = sup_workers_policy(client->control->s);

	if (workers > 0)
		json_number(json, "workers_policy", workers);
}

/* How long until then, if it is to come. */
static bool put_left(struct json *j, const char *key, uint64_t now_ms, uint64_t due_ms)
{
	if (due_ms != NEVER_MS)
		json_number(j, key, due_ms > now_ms ? (int64_t)(due_ms - now_ms) : 0);
	return due_ms != NEVER_MS;
}

static void put_cluster(struct client *client, const struct sup_view *view)
{
	const struct pool_view *pool = &view->pool;
	struct json j;

	reply_begin(client, &j, "cluster");
	json_word(&j, "name", view->name);
	json_word(&j, "version", CLUSTERD_VERSION);
	json_number(&j, "pid", view->pid);
	json_word(&j, "state", cluster_state(pool));
	json_number(&j, "ready", pool->ready);
	json_number(&j, "wanted", pool->wanted);
	json_number(&j, "live", pool->live);
	put_workers_policy(client, &j);
	json_number(&j, "generation", pool->generation);
	json_number(&j, "roll", pool->roll);
	if (pool->roll) {
		json_number(&j, "roll_generation", pool->roll_generation);
		json_number(&j, "roll_done", pool->roll_done);
		json_flag(&j, "roll_back", pool->roll_back);
	}
	json_number(&j, "up_ms", (int64_t)view->up_ms);
	json_word(&j, "policy_file", view->policy_file);
	json_number(&j, "policy_age_ms", (int64_t)view->policy_age_ms);
	json_number(&j, "listeners", view->listeners);
	json_number(&j, "log_lines_lost", (int64_t)view->lines_lost);
	json_number(&j, "output_lines_lost", (int64_t)view->output_lost);
	json_word(&j, "log_problem", view->log_problem);
	if (view->policy_back)
		json_flag(&j, "policy_back", true);
	if (pool->roll)
		put_left(&j, "roll_pause_ms", sup_now_ms(client->control->s), pool->roll_pause_ms);
	reply_end(client, &j);
}

static void put_listener(struct client *client, const struct sup_listener *listener)
{
	struct json j;

	reply_begin(client, &j, "listener");
	json_word(&j, "name", listener->name);
	json_word(&j, "address", listener->address);
	json_number(&j, "fd", listener->fd);
	json_word(&j, "balance", listener->balance);
	json_number(&j, "queue", listener->queue);
	json_number(&j, "limit", listener->limit);
	json_number(&j, "repaired", (int64_t)listener->repaired);
	json_flag(&j, "lost", listener->lost);
	reply_end(client, &j);
}

/* The fields of an end, each with the same name in `status`, `ends` and `why`. */
static void put_end(struct json *j, const struct end_record *end)
{
	char text[128];

	explain_end(end, text, sizeof text);
	json_word(j, "end", text);
	json_number(j, "end_age_ms", log_wall_ms() - end->wall_ms);
	json_flag(j, "asked", end->asked);
	json_word(j, "cause", name_end_cause((enum end_cause)end->cause));
	json_word(j, "next", name_next_action((enum next_action)end->next));
	json_word(j, "why", name_why((enum why)end->why));
	json_number(j, "delay_ms", (int64_t)end->delay_ms);
}

static const char *slot_word(const struct sup_slot *slot)
{
	return slot->slot.state == SLOT_LIVE ? name_instance_state(slot->state)
	                                     : name_slot_state(slot->slot.state);
}

/* Why a slot is without a worker, if that could not be started. */
static const char *problem_of(const struct sup_slot *slot)
{
	return slot->slot.state == SLOT_LIVE ? "" : slot->problem;
}

static void put_slot(struct client *client, uint32_t index, const struct sup_slot *slot)
{
	struct sup_usage usage = { .rss_kb = -1, .cpu_permille = -1 };
	struct end_record end;
	struct json j;

	sup_usage(client->control->s, index, &usage);
	reply_begin(client, &j, "slot");
	json_number(&j, "slot", index);
	json_word(&j, "state", slot_word(slot));
	json_number(&j, "pid", slot->pid);
	json_number(&j, "next_pid", slot->next_pid);
	json_number(&j, "old", slot->slot.old);
	json_number(&j, "generation", slot->slot.generation);
	json_number(&j, "for_ms", (int64_t)slot->state_ms);
	put_left(&j, "due_in_ms", sup_now_ms(client->control->s), slot->slot.due_ms);
	if (slot->left_out_ms > 0)
		json_number(&j, "left_out_ms", (int64_t)slot->left_out_ms);
	if (slot->slot.awaited)
		json_flag(&j, "roll_waits", true);
	json_number(&j, "cpu_permille", usage.cpu_permille);
	json_number(&j, "cpu_ms", (int64_t)usage.cpu_ms);
	json_number(&j, "rss_kb", usage.rss_kb);
	json_number(&j, "queue", slot->queue);
	json_number(&j, "handed", (int64_t)slot->handed);
	json_number(&j, "starts", (int64_t)slot->starts);
	json_number(&j, "ends", (int64_t)slot->ends);
	json_number(&j, "streak", slot->slot.streak);
	json_word(&j, "status", slot->status);
	json_word(&j, "last_line", slot->last_line);
	json_word(&j, "problem", problem_of(slot));
	if (sup_end(client->control->s, index, 0, &end))
		put_end(&j, &end);
	reply_end(client, &j);
}

/* part 0: the cluster; 1: its listeners; 2: its slots. */
static bool more_status(struct client *client)
{
	struct supervisor *s = client->control->s;
	struct sup_view view;
	struct sup_listener listener;
	struct sup_slot slot;

	sup_look(s, &view);
	if (client->part == 0) {
		put_cluster(client, &view);
		client->part = 1;
		for (uint32_t i = 0; sup_listener(s, i, &listener); i++)
			put_listener(client, &listener);
	}
	while (part_has_room(client) && client->index < view.pool.slots_max) {
		uint32_t index = client->index++;

		/* Beyond what is wanted only slots that still hold a process are of interest. */
		if (sup_slot(s, index, &slot) &&
		    (index < view.pool.wanted || slot.pid || slot.next_pid || slot.slot.old))
			put_slot(client, index, &slot);
	}
	if (client->index < view.pool.slots_max)
		return true;
	client_ok(client);
	return false;
}

void serve_status(struct client *client)
{
	client->more = more_status;
}

void serve_version(struct client *client)
{
	struct sup_view view;
	struct json j;

	sup_look(client->control->s, &view);
	reply_begin(client, &j, "version");
	json_word(&j, "version", CLUSTERD_VERSION);
	json_word(&j, "libuv", uv_version_string());
	json_number(&j, "pid", view.pid);
	json_word(&j, "name", view.name);
	json_word(&j, "upgrade_problem", view.upgrade_problem);
	reply_end(client, &j);
	client_ok(client);
}

/* ---- config ---- */

/* Long lines are the rule here: the room is made for each. The origin of a value is not known any
 * more, so its comment is left out; no value has " ;" in it (config/words.h). */
static void put_config_line(void *context, const char *line)
{
	struct client *client = context;
	const char *comment = strstr(line, " ;");
	size_t size = comment ? (size_t)(comment - line) : strlen(line);
	struct json j;

	while (size > 0 && line[size - 1] == ' ')
		size--;
	if (line[0] == ';' || (size == 0 && client->index++ == 0) || !client_room(client, JSON_TEXT_MAX(size) + REPLY_SIZE))
		return;
	reply_begin(client, &j, "config");
	json_text(&j, "text", line, size);
	reply_end(client, &j);
}

void serve_config(struct client *client)
{
	struct config *config = calloc(1, sizeof *config);

	if (!config) {
		client_fail(client, CODE_FAILED, "out of memory");
		return;
	}
	config_init(config);
	config->policy = *sup_policy(client->control->s);
	config_dump(config, put_config_line, client);
	free(config);
	client_ok(client);
}

/* ---- ends, why ---- */

static void put_end_line(struct client *client, uint32_t slot, const struct end_record *end)
{
	struct json j;

	reply_begin(client, &j, "end");
	json_number(&j, "slot", slot);
	json_number(&j, "time_ms", end->wall_ms);
	json_number(&j, "pid", end->pid);
	json_number(&j, "generation", end->generation);
	put_end(&j, end);
	json_number(&j, "code", end->signal ? -1 : end->code);
	json_number(&j, "signal", end->signal);
	json_flag(&j, "core", end->core);
	json_flag(&j, "oom", end->oom);
	json_number(&j, "lived_ms", (int64_t)end->lived_ms);
	json_number(&j, "cpu_user_ms", end->cpu_user_ms);
	json_number(&j, "cpu_sys_ms", end->cpu_sys_ms);
	json_number(&j, "max_rss_kb", end->max_rss_kb);
	json_number(&j, "streak", end->streak);
	reply_end(client, &j);
}

/* Slot after slot, in each from the oldest of those asked for. index = slot; part = records left. */
static bool more_ends(struct client *client)
{
	struct supervisor *s = client->control->s;
	struct sup_view view;
	struct end_record end;
	uint32_t last = client->wait.slot;

	sup_look(s, &view);
	if (last == ALL_SLOTS)
		last = view.pool.slots_max - 1;
	while (part_has_room(client) && client->index <= last) {
		if (client->part == 0) {
			client->index++;
			client->part = client->request.last;
		} else if (sup_end(s, client->index, --client->part, &end)) {
			put_end_line(client, client->index, &end);
		}
	}
	if (client->index <= last)
		return true;
	client_ok(client);
	return false;
}

void serve_ends(struct client *client)
{
	uint32_t slot = 0;

	if (client->request.last > ENDS_MAX)
		client->request.last = ENDS_MAX;
	client->wait.slot = ALL_SLOTS;
	if (client->request.count > 0) {
		if (!slot_argument(client, client->request.words[0], &slot))
			return;
		client->wait.slot = slot;
	}
	client->index = slot;
	client->part = client->request.last;
	client->more = more_ends;
}

/* The policy that decided; NULL if it was another one than there is now. */
static const struct policy *policy_of(struct supervisor *s, const struct end_record *end)
{
	struct sup_view view;

	sup_look(s, &view);
	return end->wall_ms < (int64_t)view.policy_changed_wall_ms ? NULL : sup_policy(s);
}

static bool lacks_worker(const struct sup_slot *view)
{
	return view->slot.state == SLOT_BACKOFF || view->slot.state == SLOT_HELD || view->slot.state == SLOT_RETIRED;
}

/* The last end, or of a slot without a worker that serves the one that has led to that. */
static bool telling_end(struct supervisor *s, uint32_t slot, const struct sup_slot *view, struct end_record *ret)
{
	bool lacks = lacks_worker(view) || view->slot.awaited;

	for (uint32_t back = 0; lacks && sup_end(s, slot, back, ret); back++)
		if (ret->next != NEXT_NONE)
			return true;
	return sup_end(s, slot, 0, ret);
}

/* About the start that has failed since. */
static void add_decision(char *sentence, size_t size, const char *decision)
{
	size_t used = strlen(sentence);

	snprintf(sentence + used, size - used, "; its last start failed, and %s", decision);
}

void serve_why(struct client *client)
{
	struct supervisor *s = client->control->s;
	char sentence[EXPLAIN_TEXT_MAX];
	struct end_record end;
	struct sup_slot view = { .problem = "", .decision = "" };
	bool is_due = false, failed;
	struct json j;
	uint32_t slot;

	if (!slot_argument(client, client->request.words[0], &slot))
		return;
	reply_begin(client, &j, "why");
	json_number(&j, "slot", slot);
	if (sup_slot(s, slot, &view)) {
		json_word(&j, "state", slot_word(&view));
		json_number(&j, "for_ms", (int64_t)view.state_ms);
		is_due = put_left(&j, "due_in_ms", sup_now_ms(s), view.slot.due_ms);
		json_word(&j, "problem", problem_of(&view));
		if (view.slot.awaited)
			json_flag(&j, "roll_waits", true);
	}
	failed = lacks_worker(&view) && view.decision[0];
	if (telling_end(s, slot, &view, &end)) {
		json_word(&j, "last_line", end.asked ? "" : view.last_line);
		explain_decision(policy_of(s, &end), slot, &end, is_due && !failed, sentence, sizeof sentence);
		json_number(&j, "pid", end.pid);
		put_end(&j, &end);
		json_number(&j, "streak", end.streak);
		json_number(&j, "lived_ms", (int64_t)end.lived_ms);
	} else {
		json_word(&j, "last_line", "");
		snprintf(sentence, sizeof sentence, "no worker of this slot has ended yet");
	}
	if (failed)
		add_decision(sentence, sizeof sentence, view.decision);
	json_word(&j, "sentence", sentence);
	reply_end(client, &j);
	client_ok(client);
}

/* ---- events, logs, metrics ---- */

static void put_lost(struct client *client, uint64_t lost)
{
	struct json j;

	if (lost == 0)
		return;
	reply_begin(client, &j, "lost");
	json_number(&j, "bytes", (int64_t)lost);
	reply_end(client, &j);
}

/* A log record {"v":1,"time":…} becomes {"v":1,"kind":"event","time":…}. */
static void put_event(struct client *client, const char *text, size_t size)
{
	static const char from[] = "{\"v\":1,", to[] = "{\"v\":1,\"kind\":\"event\",";
	size_t old = sizeof from - 1, new = sizeof to - 1;

	if (size <= old || memcmp(text, from, old) != 0 || !client_room(client, size + new))
		return;
	memcpy(client->out + client->out_end, to, new);
	memcpy(client->out + client->out_end + new, text + old, size - old);
	client->out_end += new + size - old;
}

static void put_output(struct client *client, const char *text, size_t size)
{
	if (!client_room(client, size))
		return;
	memcpy(client->out + client->out_end, text, size);
	client->out_end += size;
}

static bool more_ring(struct client *client)
{
	bool logs = client->request.what == REQUEST_logs;
	const struct ring *ring = logs ? &client->control->output : &client->control->events;
	bool first = client->ring_at == 0;
	char text[16384];
	uint64_t lost = 0;
	uint32_t slot;
	size_t size = 1;

	while (part_has_room(client) && size > 0) {
		size = ring_next(ring, &client->ring_at, &slot, text, sizeof text, &lost);
		put_lost(client, first ? 0 : lost);
		lost = 0;
		if (size > 0 && !logs)
			put_event(client, text, size);
		else if (size > 0 && (client->wait.slot == ALL_SLOTS || client->wait.slot == slot))
			put_output(client, text, size);
	}
	if (client->follows || size > 0)
		return true;
	client_ok(client);
	return false;
}

static void ring_begin(struct client *client)
{
	client->follows = (client->request.options & OPTION_FOLLOW) != 0;
	if (client->follows && control_waiters(client->control) > WAITERS_MAX) {
		client_fail(client, CODE_TIMEOUT, "12 clients wait or follow already; there can be no more");
		return;
	}
	client->more = more_ring;
}

void serve_events(struct client *client)
{
	client->ring_at = client->control->events.start;
	ring_begin(client);
}

void serve_logs(struct client *client)
{
	uint32_t slot = ALL_SLOTS;

	if (client->request.count > 0 && !slot_argument(client, client->request.words[0], &slot))
		return;
	if (sup_policy(client->control->s)->log_output != OUTPUT_CAPTURE) {
		client_fail(client, CODE_FAILED,
		            "what the workers write is not captured: it is where clusterd's own "
		            "standard error goes (the journal, the terminal); "
		            "[log] output = capture and a roll change that");
		return;
	}
	client->wait.slot = slot;
	client->ring_at = client->control->output.start;
	ring_begin(client);
}

static bool more_metrics(struct client *client)
{
	struct metrics_place place = { .family = client->part, .row = client->index };
	char text[METRICS_PART];
	size_t size = metrics_text(sup_metrics(client->control->s), &place, text, sizeof text);
	struct json j;

	client->part = place.family;
	client->index = place.row;
	if (size == 0) {
		client_ok(client);
		return false;
	}
	if (!client_room(client, JSON_TEXT_MAX(size) + REPLY_SIZE))
		return false;
	reply_begin(client, &j, "metrics");
	json_text(&j, "text", text, size);
	reply_end(client, &j);
	return true;
}

void serve_metrics(struct client *client)
{
	client->more = more_metrics;
}
