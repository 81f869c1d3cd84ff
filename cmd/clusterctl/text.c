#include <string.h>
#include <time.h>

#include "cmd/clusterctl/table.h"
#include "supervisor/core/brief.h"

static int look(struct ctl *ctl, ctl_line *line, void *context)
{
	char request[4096];

	ctl_request(ctl, request, sizeof request);
	return ctl_look(ctl, request, line, context);
}

static void put_text(void *context, json_t *line)
{
	(void)context;
	put_clean(stdout, text_of(line, "text"));
	putchar('\n');
}

/* ---- config, check ---- */

struct notes {
	unsigned count;
};

static void put_note(void *context, json_t *line)
{
	struct notes *notes = context;

	notes->count++;
	put_text(NULL, line);
}

int run_config(struct ctl *ctl)
{
	struct notes notes = { 0 };
	int code;

	if (!ctl->diff)
		return look(ctl, put_text, NULL);
	code = ctl_look(ctl, "reload --dry-run", put_note, &notes);
	if (code == CTL_DONE && notes.count == 0 && !ctl->json)
		puts("no difference");
	return code;
}

static void keep_notes(void *context, json_t *line)
{
	json_array_append(context, line);
}

/* A good policy has a plan too, which nobody asked for. */
int run_check(struct ctl *ctl)
{
	json_t *notes = json_array();
	int code = look(ctl, keep_notes, notes);

	for (size_t i = 0; code == CTL_FAILED && i < json_array_size(notes); i++)
		put_text(NULL, json_array_get(notes, i));
	json_decref(notes);
	if (code == CTL_DONE && !ctl->json)
		printf("%s: ok\n", ctl->shown);
	return code;
}

/* ---- ends, why ---- */

enum { E_TIME, E_SLOT, E_PID, E_GEN, E_LIVED, E_END, E_NEXT, E_WHY, E_CPU, E_RSS, E_COUNT };

static const struct column end_columns[E_COUNT] = {
	[E_TIME] = { "TIME", false, 0 }, [E_SLOT] = { "SLOT", true, 0 },
	[E_PID] = { "PID", true, 3 },    [E_GEN] = { "GEN", true, 2 },
	[E_LIVED] = { "LIVED", true, 0 }, [E_END] = { "END", false, 0 },
	[E_NEXT] = { "THEN", false, 0 }, [E_WHY] = { "WHY", false, 1 },
	[E_CPU] = { "CPU", true, 4 },    [E_RSS] = { "MAX RSS", true, 4 },
};

static void local_time(int64_t ms, char *text, size_t size)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(text, size, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
		snprintf(text, size, "?");
}

static void add_end(void *context, json_t *line)
{
	struct table *table = context;
	char text[64];
	int64_t cpu = number_of(line, "cpu_user_ms") + number_of(line, "cpu_sys_ms");
	int64_t delay = number_of(line, "delay_ms");

	table_row(table);
	local_time(number_of(line, "time_ms"), text, sizeof text);
	table_cell(table, E_TIME, HUE_NONE, "%s", text);
	table_cell(table, E_SLOT, HUE_NONE, "%lld", (long long)number_of(line, "slot"));
	table_cell(table, E_PID, HUE_NONE, "%lld", (long long)number_of(line, "pid"));
	table_cell(table, E_GEN, HUE_NONE, "%lld", (long long)number_of(line, "generation"));
	table_cell(table, E_LIVED, HUE_NONE, "%s", duration_of(line, "lived_ms", text));
	table_cell(table, E_END, flag_of(line, "asked") ? HUE_NONE : HUE_WARN, "%s%s",
	           text_of(line, "end"), flag_of(line, "asked") ? ", asked" : "");
	if (strcmp(text_of(line, "next"), "respawn") == 0)
		table_cell(table, E_NEXT, HUE_NONE, delay ? "respawn after %s" : "respawn at once",
		           duration_of(line, "delay_ms", text));
	else
		table_cell(table, E_NEXT, HUE_NONE, "%s", text_of(line, "next"));
	table_cell(table, E_WHY, HUE_NONE, "%s", text_of(line, "why"));
	table_cell(table, E_CPU, HUE_NONE, "%s", brief_duration(cpu > 0 ? (uint64_t)cpu : 0, text));
	table_cell(table, E_RSS, HUE_NONE, "%s",
	           brief_size((uint64_t)number_of(line, "max_rss_kb"), text));
}

int run_ends(struct ctl *ctl)
{
	struct table table;
	int code;

	table_init(&table, end_columns, E_COUNT);
	code = look(ctl, add_end, &table);
	if (code == CTL_DONE && !ctl->json && table.rows == 0)
		puts("no worker has ended yet");
	else if (code == CTL_DONE && !ctl->json)
		table_print(&table, ctl->columns, ctl->paint, stdout);
	table_free(&table);
	return code;
}

/* How the slot is, and what brings a worker into one that has none. */
static void put_now(const json_t *line)
{
	const char *state = text_of(line, "state");
	long long slot = number_of(line, "slot");
	char text[BRIEF_TEXT_MAX];

	if (json_object_get(line, "due_in_ms"))
		printf("slot %lld waits (%s): the next start is due in %s, or at once by: clusterctl reset %lld\n",
		       slot, state, duration_of(line, "due_in_ms", text), slot);
	else if (strcmp(state, "drained") == 0 || strcmp(state, "retired") == 0)
		printf("slot %lld is %s now; to start it again: clusterctl reset %lld\n", slot, state, slot);
	else if (strcmp(state, "empty") == 0 && strcmp(text_of(line, "cause"), "stop") == 0)
		printf("slot %lld is empty now, and stays so\n", slot);
	else if (strcmp(state, "empty") == 0)
		printf("slot %lld is not in use now; to use it: clusterctl scale %lld\n", slot, slot + 1);
	else
		printf("slot %lld is %s now, for %s\n", slot, state, duration_of(line, "for_ms", text));
}

static void put_why(void *context, json_t *line)
{
	const char *last = text_of(line, "last_line");

	(void)context;
	put_clean(stdout, text_of(line, "sentence"));
	putchar('\n');
	if (text_of(line, "problem")[0]) {
		fputs("its last start failed: ", stdout);
		put_clean(stdout, text_of(line, "problem"));
		putchar('\n');
	}
	put_now(line);
	if (flag_of(line, "roll_waits"))
		puts("a roll waits until it serves again");
	if (last[0]) {
		fputs("last words: ", stdout);
		put_clean(stdout, last);
		putchar('\n');
	}
}

int run_why(struct ctl *ctl)
{
	return look(ctl, put_why, NULL);
}

/* ---- events, logs, metrics ---- */

static bool is_frame(const char *key)
{
	static const char *const keys[] = { "v", "kind", "time", "event", "name" };

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

static bool put_lost(const json_t *line)
{
	if (strcmp(text_of(line, "kind"), "lost") != 0)
		return false;
	printf("(%lld bytes were overwritten before they could be read)\n", (long long)number_of(line, "bytes"));
	return true;
}

static void put_event(void *context, json_t *line)
{
	const char *key;
	json_t *value;

	(void)context;
	if (put_lost(line))
		return;
	put_clean(stdout, text_of(line, "time"));
	putchar(' ');
	put_clean(stdout, text_of(line, "event"));
	json_object_foreach(line, key, value) {
		char *text;

		if (is_frame(key) || (strcmp(key, "level") == 0 && strcmp(text_of(line, key), "info") == 0))
			continue;
		text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		printf(" %s=", key);
		put_clean(stdout, json_is_string(value) && !strchr(json_string_value(value), ' ')
		                          ? json_string_value(value)
		                          : text ? text : "");
		free(text);
	}
	putchar('\n');
}

int run_events(struct ctl *ctl)
{
	return look(ctl, put_event, NULL);
}

static void put_output(void *context, json_t *line)
{
	(void)context;
	if (put_lost(line))
		return;
	printf("%lld: ", (long long)number_of(line, "slot"));
	put_text(NULL, line);
}

int run_logs(struct ctl *ctl)
{
	return look(ctl, put_output, NULL);
}

/* The text of several whole lines; all of it is ours. */
static void put_metrics(void *context, json_t *line)
{
	(void)context;
	fputs(text_of(line, "text"), stdout);
}

int run_metrics(struct ctl *ctl)
{
	return look(ctl, put_metrics, NULL);
}
