#include <string.h>

#include "cmd/clusterctl/table.h"
#include "supervisor/core/brief.h"

/* ---- the answer ---- */

void status_init(struct status *status)
{
	*status = (struct status){ NULL, json_array(), json_array() };
}

void status_line(void *context, json_t *line)
{
	struct status *status = context;
	const char *kind = text_of(line, "kind");

	if (strcmp(kind, "cluster") == 0 && !status->cluster)
		status->cluster = json_incref(line);
	else if (strcmp(kind, "listener") == 0)
		json_array_append(status->listeners, line);
	else if (strcmp(kind, "slot") == 0)
		json_array_append(status->slots, line);
}

void status_free(struct status *status)
{
	json_decref(status->cluster);
	json_decref(status->listeners);
	json_decref(status->slots);
}

int status_code(const struct status *status)
{
	if (!status->cluster)
		return CTL_CAN_NOT_TELL;
	return strcmp(text_of(status->cluster, "state"), "ready") == 0 ? CTL_DONE : CTL_FAILED;
}

/* ---- the head ---- */

void put_paused(const json_t *line, FILE *out)
{
	if (number_of(line, "wanted") != 0)
		return;
	fputs("paused: no worker is wanted, and connections wait; next: clusterctl scale ", out);
	if (json_object_get(line, "workers_policy"))
		fprintf(out, "%lld\n", (long long)number_of(line, "workers_policy"));
	else
		fputs("+1\n", out);
}

static void put_roll(const json_t *cluster, FILE *out)
{
	char left[BRIEF_TEXT_MAX];

	fprintf(out, "roll %lld to generation %lld: %lld of %lld slots done%s",
	        (long long)number_of(cluster, "roll"),
	        (long long)number_of(cluster, "roll_generation"),
	        (long long)number_of(cluster, "roll_done"),
	        (long long)number_of(cluster, "wanted"),
	        flag_of(cluster, "roll_back") ? ", going back" : "");
	if (json_object_get(cluster, "roll_pause_ms"))
		fprintf(out, ", pauses %s more", duration_of(cluster, "roll_pause_ms", left));
	putc('\n', out);
}

static void put_cluster(const json_t *cluster, bool paint, FILE *out)
{
	const char *state = text_of(cluster, "state"), *file = text_of(cluster, "policy_file");
	char up[BRIEF_TEXT_MAX], age[BRIEF_TEXT_MAX];

	put_clean(out, text_of(cluster, "name"));
	fputs(": ", out);
	put_hue(out, paint, state_hue(state), state);
	fprintf(out, ", %lld of %lld ready", (long long)number_of(cluster, "ready"),
	        (long long)number_of(cluster, "wanted"));
	if (json_object_get(cluster, "workers_policy"))
		fprintf(out, " (scaled by hand; the policy says %lld)", (long long)number_of(cluster, "workers_policy"));
	fprintf(out, "    up %s, policy ", duration_of(cluster, "up_ms", up));
	if (file[0]) {
		put_clean(out, file);
		putc(' ', out);
	}
	fprintf(out, "%s %s ago\n", flag_of(cluster, "policy_back") ? "rolled back" : "applied",
	        duration_of(cluster, "policy_age_ms", age));
	put_paused(cluster, out);
	if (number_of(cluster, "roll"))
		put_roll(cluster, out);
}

/* Who looks at the log would not see that nothing comes. */
static void put_log(const json_t *cluster, bool paint, FILE *out)
{
	char text[160];

	if (!text_of(cluster, "log_problem")[0])
		return;
	snprintf(text, sizeof text, "log: %lld lines lost", (long long)number_of(cluster, "log_lines_lost"));
	put_hue(out, paint, HUE_BAD, text);
	fputs(" (", out);
	put_clean(out, text_of(cluster, "log_problem"));
	fputs("); the last are in: clusterctl events\n", out);
}

static void put_listener(const json_t *listener, bool paint, FILE *out)
{
	int64_t queue = number_of(listener, "queue"), repaired = number_of(listener, "repaired");

	put_clean(out, text_of(listener, "name"));
	putc(' ', out);
	put_clean(out, text_of(listener, "address"));
	fprintf(out, "  %s", text_of(listener, "balance"));
	if (queue >= 0)
		fprintf(out, "  queue %lld of %lld", (long long)queue,
		        (long long)number_of(listener, "limit"));
	if (repaired > 0)
		fprintf(out, "  repaired %lld time%s", (long long)repaired, repaired == 1 ? "" : "s");
	if (flag_of(listener, "lost"))
		put_hue(out, paint, HUE_BAD, "  its file is gone: nobody can connect; next: clusterctl roll");
	putc('\n', out);
}

/* ---- the table ---- */

enum {
	C_SLOT, C_STATE, C_PID, C_GEN, C_FOR, C_CPU, C_RSS, C_QUEUE, C_HANDED, C_STARTS, C_ENDS,
	C_LAST, C_TEXT,
	C_COUNT,
};

static const struct column columns[C_COUNT] = {
	[C_SLOT] = { "SLOT", true, 0 },   [C_STATE] = { "STATE", false, 0 },
	[C_PID] = { "PID", true, 0 },     [C_GEN] = { "GEN", true, 3 },
	[C_FOR] = { "FOR", true, 0 },     [C_CPU] = { "CPU", true, 1 },
	[C_RSS] = { "RSS", true, 1 },     [C_QUEUE] = { "QUEUE", true, 4 },
	[C_HANDED] = { "HANDED", true, 5 }, [C_STARTS] = { "STARTS", true, 6 },
	[C_ENDS] = { "ENDS", true, 2 },   [C_LAST] = { "LAST END", false, 0 },
	[C_TEXT] = { "SAYS", false, 7 },
};

static void put_state(struct table *table, const json_t *slot)
{
	const char *state = text_of(slot, "state");
	char due[BRIEF_TEXT_MAX];

	if (number_of(slot, "next_pid"))
		table_cell(table, C_STATE, state_hue(state), "%s, next %lld", state,
		           (long long)number_of(slot, "next_pid"));
	else if (json_object_get(slot, "due_in_ms"))
		table_cell(table, C_STATE, state_hue(state), "%s %s", state,
		           duration_of(slot, "due_in_ms", due));
	else if (json_object_get(slot, "left_out_ms"))
		table_cell(table, C_STATE, HUE_BAD, "%s, left out", state);
	else if (number_of(slot, "old") > 0) /* workers before it that have not ended yet */
		table_cell(table, C_STATE, state_hue(state), "%s, %lld old", state,
		           (long long)number_of(slot, "old"));
	else
		table_cell(table, C_STATE, state_hue(state), "%s", state);
}

static void put_figures(struct table *table, const json_t *slot, bool steered)
{
	int64_t pid = number_of(slot, "pid"), cpu = number_of(slot, "cpu_permille");
	int64_t rss = number_of(slot, "rss_kb"), queue = number_of(slot, "queue");
	char text[BRIEF_TEXT_MAX];

	if (pid)
		table_cell(table, C_PID, HUE_NONE, "%lld", (long long)pid);
	else
		table_cell(table, C_PID, HUE_NONE, "-");
	table_cell(table, C_GEN, HUE_NONE, "%lld", (long long)number_of(slot, "generation"));
	table_cell(table, C_FOR, HUE_NONE, "%s", pid ? duration_of(slot, "for_ms", text) : "-");
	if (cpu >= 0 && pid)
		table_cell(table, C_CPU, HUE_NONE, "%lld%%", (long long)(cpu + 5) / 10);
	else
		table_cell(table, C_CPU, HUE_NONE, "-");
	table_cell(table, C_RSS, HUE_NONE, "%s", rss >= 0 && pid ? brief_size((uint64_t)rss, text) : "-");
	if (queue >= 0)
		table_cell(table, C_QUEUE, HUE_NONE, "%lld", (long long)queue);
	if (steered)
		table_cell(table, C_HANDED, HUE_NONE, "%lld", (long long)number_of(slot, "handed"));
	table_cell(table, C_STARTS, HUE_NONE, "%lld", (long long)number_of(slot, "starts"));
	table_cell(table, C_ENDS, HUE_NONE, "%lld", (long long)number_of(slot, "ends"));
}

/* What an asked end was asked for. */
static const char *asked_words(const char *cause)
{
	static const char *const words[][2] = {
		{ "roll", "replaced" },          { "scale", "scaled away" },
		{ "drain", "drained" },          { "kill", "killed on request" },
		{ "rss", "recycled, memory" },   { "lifetime", "recycled, age" },
		{ "stop", "stopped" },           { "timeout", "not ready in time" },
		{ "watchdog", "watchdog" },      { "health", "health check" },
		{ "hung", "hung" },
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(words[i][0], cause) == 0)
			return words[i][1];
	return "ended as asked";
}

static void put_slot(struct table *table, const json_t *slot, bool steered)
{
	const char *end = text_of(slot, "end"), *status = text_of(slot, "status");
	char age[BRIEF_TEXT_MAX];

	table_row(table);
	table_cell(table, C_SLOT, HUE_NONE, "%lld", (long long)number_of(slot, "slot"));
	put_state(table, slot);
	put_figures(table, slot, steered);
	if (flag_of(slot, "asked"))
		end = asked_words(text_of(slot, "cause"));
	if (end[0])
		table_cell(table, C_LAST, HUE_NONE, "%s, %s ago", end,
		           duration_of(slot, "end_age_ms", age));
	else
		table_cell(table, C_LAST, HUE_NONE, "-");
	table_cell(table, C_TEXT, HUE_DIM, "%s", status[0] ? status : "");
}

/* The queue of a slot and what workers say are shown only where there is something. */
static bool any(const struct status *status, const char *key, bool number)
{
	for (size_t i = 0; i < json_array_size(status->slots); i++) {
		const json_t *slot = json_array_get(status->slots, i);

		if (number ? number_of(slot, key) >= 0 : text_of(slot, key)[0] != '\0')
			return true;
	}
	return false;
}

static bool is_well(const json_t *slot)
{
	return strcmp(text_of(slot, "state"), "ready") == 0 && !json_object_get(slot, "left_out_ms");
}

/* Where not all of them fit, those that are not well come first. */
static void put_slots(const struct status *status, struct table *table, int rows, bool steered)
{
	enum { OTHER_LINES = 5 };
	size_t count = json_array_size(status->slots);
	bool fits = rows == 0 || count + json_array_size(status->listeners) + OTHER_LINES < (size_t)rows;

	for (int well = 0; well < 2; well++)
		for (size_t i = 0; i < count; i++) {
			const json_t *slot = json_array_get(status->slots, i);

			if (fits ? well == 0 : is_well(slot) == (well == 1))
				put_slot(table, slot, steered);
		}
}

static bool any_steered(const struct status *status)
{
	for (size_t i = 0; i < json_array_size(status->listeners); i++)
		if (strcmp(text_of(json_array_get(status->listeners, i), "balance"), "round-robin") == 0)
			return true;
	return false;
}

static bool is_bad(const char *state)
{
	return strcmp(state, "backoff") == 0 || strcmp(state, "held") == 0 ||
	       strcmp(state, "retired") == 0;
}

/* What to do next about the first slot that is in trouble. */
static void put_hint(const struct status *status, FILE *out)
{
	for (size_t i = 0; i < json_array_size(status->slots); i++) {
		const json_t *slot = json_array_get(status->slots, i);
		long long index = number_of(slot, "slot"), streak = number_of(slot, "streak");

		if (!is_bad(text_of(slot, "state")))
			continue;
		fprintf(out, "\nslot %lld is %s%s", index,
		        strcmp(text_of(slot, "state"), "backoff") == 0 ? "in " : "", text_of(slot, "state"));
		if (text_of(slot, "problem")[0]) {
			fputs(": its last start failed: ", out);
			put_clean(out, text_of(slot, "problem"));
		} else if (streak > 0) {
			fprintf(out, " after %lld short li%s in a row", streak,
			        streak == 1 ? "fe" : "ves");
		}
		fprintf(out, "; next: clusterctl why %lld\n", index);
		if (text_of(slot, "last_line")[0]) {
			fputs("last words: ", out);
			put_clean(out, text_of(slot, "last_line"));
			putc('\n', out);
		}
		return;
	}
}

/* It is ready by all that it said, and serves nobody. */
static void put_left_out(const struct status *status, FILE *out)
{
	char text[BRIEF_TEXT_MAX];

	for (size_t i = 0; i < json_array_size(status->slots); i++) {
		const json_t *slot = json_array_get(status->slots, i);
		long long index = number_of(slot, "slot");

		if (!json_object_get(slot, "left_out_ms"))
			continue;
		fprintf(out, "\nslot %lld has taken no connections for %s and is left out; next: "
		        "clusterctl restart %lld\n", index, duration_of(slot, "left_out_ms", text), index);
		return;
	}
}

/* Else a roll that does not go on would look like one that has all the time. */
static void put_awaited(const struct status *status, FILE *out)
{
	for (size_t i = 0; i < json_array_size(status->slots); i++) {
		const json_t *slot = json_array_get(status->slots, i);
		long long index = number_of(slot, "slot");

		if (!flag_of(slot, "roll_waits"))
			continue;
		fprintf(out, "\nroll %lld waits until slot %lld serves again; to go on without it: clusterctl drain %lld\n",
		        (long long)number_of(status->cluster, "roll"), index, index);
		return;
	}
}

void status_print(const struct status *status, const struct ctl *ctl, FILE *out)
{
	struct column shown[C_COUNT];
	bool steered = any_steered(status);
	struct table table;

	put_cluster(status->cluster, ctl->paint, out);
	for (size_t i = 0; i < json_array_size(status->listeners); i++)
		put_listener(json_array_get(status->listeners, i), ctl->paint, out);
	put_log(status->cluster, ctl->paint, out);
	putc('\n', out);
	memcpy(shown, columns, sizeof shown);
	if (!any(status, "status", false))
		shown[C_TEXT].title = "";
	if (!any(status, "queue", true))
		shown[C_QUEUE].title = "";
	if (!steered)
		shown[C_HANDED].title = "";
	table_init(&table, shown, C_COUNT);
	put_slots(status, &table, ctl->rows, steered);
	table_print(&table, ctl->columns, ctl->paint, out);
	table_free(&table);
	put_hint(status, out);
	put_left_out(status, out);
	put_awaited(status, out);
}

/* ---- verbs ---- */

/* Exit status of a look that did not come to an answer: LSB's "unknown". */
static int can_not_tell(int code)
{
	return code == CTL_NOT_RUNNING || code == CTL_USAGE ? code : CTL_CAN_NOT_TELL;
}

int run_status(struct ctl *ctl)
{
	struct status status;
	int code;

	status_init(&status);
	ctl->collect = true;
	code = ctl_look(ctl, "status", status_line, &status);
	if (code == CTL_DONE && !status.cluster)
		code = CTL_CAN_NOT_TELL;
	if (code != CTL_DONE) {
		status_free(&status);
		return can_not_tell(code);
	}
	if (!ctl->json)
		status_print(&status, ctl, stdout);
	code = status_code(&status);
	status_free(&status);
	return code;
}

/* All that are wanted are ready, and nobody would answer. */
static bool is_paused(const struct status *status)
{
	return status_code(status) == CTL_DONE && number_of(status->cluster, "wanted") == 0;
}

int run_isready(struct ctl *ctl)
{
	struct status status;
	bool paused;
	int code;

	status_init(&status);
	ctl->collect = true;
	code = ctl_look(ctl, "status", status_line, &status);
	if (code != CTL_DONE || !status.cluster) {
		status_free(&status);
		return can_not_tell(code);
	}
	paused = is_paused(&status);
	code = paused ? CTL_FAILED : status_code(&status);
	if (!ctl->json)
		printf("%s: %s, %lld of %lld ready\n", text_of(status.cluster, "name"),
		       paused ? "paused" : text_of(status.cluster, "state"),
		       (long long)number_of(status.cluster, "ready"), (long long)number_of(status.cluster, "wanted"));
	status_free(&status);
	return code;
}

static void put_version(void *context, json_t *line)
{
	(void)context;
	printf("clusterd %s (libuv %s), pid %lld, cluster ", text_of(line, "version"),
	       text_of(line, "libuv"), (long long)number_of(line, "pid"));
	put_clean(stdout, text_of(line, "name"));
	putchar('\n');
}

int run_version(struct ctl *ctl)
{
	if (!ctl->json)
		printf("clusterctl %s\n", CLUSTERD_VERSION);
	return ctl_look(ctl, "version", put_version, NULL);
}
