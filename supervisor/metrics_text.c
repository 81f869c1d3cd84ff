#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/core/names.h"
#include "supervisor/metrics_internal.h"

enum { ROW_SIZE = 2048 }; /* room that one row may take */

struct out {
	struct metrics *metrics;
	const char *family;
	char *text;
	size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void say(struct out *out, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(out->text + out->used, out->size - out->used, format, args);
	va_end(args);
	if (length > 0 && (size_t)length < out->size - out->used)
		out->used += (size_t)length;
}

/* NAME{LABEL="VALUE"} NUMBER; `suffix` and the label may be "". */
static void sample(struct out *out, const char *suffix, const char *label, const char *value,
                   uint64_t number)
{
	if (label[0])
		say(out, "%s%s{%s=\"%s\"} %llu\n", out->family, suffix, label, value,
		    (unsigned long long)number);
	else
		say(out, "%s%s %llu\n", out->family, suffix, (unsigned long long)number);
}

static void slot_sample(struct out *out, const char *suffix, uint32_t slot, uint64_t number)
{
	say(out, "%s%s{slot=\"%u\"} %llu\n", out->family, suffix, slot, (unsigned long long)number);
}

static void seconds(struct out *out, const char *suffix, uint64_t ms)
{
	say(out, "%s%s %llu.%03llu\n", out->family, suffix, (unsigned long long)(ms / 1000),
	    (unsigned long long)(ms % 1000));
}

/* ---- rows: false past the last one ---- */

static bool rows_build(struct out *out, uint32_t row)
{
	if (row == 0)
		say(out, "%s_info{version=\"%s\",libuv=\"%s\"} 1\n", out->family, CLUSTERD_VERSION,
		    uv_version_string());
	return row == 0;
}

static struct sup_view look(struct out *out)
{
	struct sup_view view;

	sup_look(out->metrics->s, &view);
	return view;
}

static bool rows_start(struct out *out, uint32_t row)
{
	if (row == 0)
		seconds(out, "", look(out).started_wall_ms);
	return row == 0;
}

static bool rows_policy_time(struct out *out, uint32_t row)
{
	if (row == 0)
		seconds(out, "", look(out).policy_wall_ms);
	return row == 0;
}

#define ONE_NUMBER(id, suffix, expression)                                                         \
	static bool rows_##id(struct out *out, uint32_t row)                                       \
	{                                                                                          \
		if (row == 0)                                                                      \
			sample(out, suffix, "", "", expression);                                   \
		return row == 0;                                                                   \
	}

ONE_NUMBER(wanted, "", look(out).pool.wanted)
ONE_NUMBER(ready, "", look(out).pool.ready)
ONE_NUMBER(roll_slots_done, "", look(out).pool.roll_done)
ONE_NUMBER(log_lost, "_total", look(out).lines_lost)
ONE_NUMBER(output_lost, "_total", look(out).output_lost)
ONE_NUMBER(spawn_errors, "_total", out->metrics->counters.spawn_errors)

/* A slot is in the state of its process, or in its own where it holds none. */
enum { STATES = INSTANCE_STATES + SLOT_STATES };

static const char *state_name(uint32_t state)
{
	return state < INSTANCE_STATES ? name_instance_state((enum instance_state)state)
	                               : name_slot_state((enum slot_state)(state - INSTANCE_STATES));
}

static uint32_t state_of(const struct sup_slot *slot)
{
	return slot->slot.state == SLOT_LIVE ? (uint32_t)slot->state
	                                     : INSTANCE_STATES + (uint32_t)slot->slot.state;
}

static bool slot_of(struct out *out, uint32_t row, struct sup_slot *ret)
{
	struct sup_view view = look(out);

	return row < view.pool.wanted && sup_slot(out->metrics->s, row, ret);
}

static bool rows_workers(struct out *out, uint32_t row)
{
	uint64_t counts[STATES] = { 0 };
	struct sup_slot slot;

	if (row > 0)
		return false;
	for (uint32_t i = 0; slot_of(out, i, &slot); i++)
		counts[state_of(&slot)]++;
	for (uint32_t i = 0; i < STATES; i++)
		if (i != INSTANCE_STATES + SLOT_LIVE)
			sample(out, "", "state", state_name(i), counts[i]);
	return true;
}

static bool rows_worker_state(struct out *out, uint32_t row)
{
	struct sup_slot slot;

	if (!slot_of(out, row, &slot))
		return false;
	for (uint32_t i = 0; i < STATES; i++)
		if (i != INSTANCE_STATES + SLOT_LIVE)
			say(out, "%s{slot=\"%u\",%s=\"%s\"} %d\n", out->family, row, out->family,
			    state_name(i), i == state_of(&slot));
	return true;
}

#define EACH_SLOT(id, suffix, expression)                                                          \
	static bool rows_##id(struct out *out, uint32_t row)                                       \
	{                                                                                          \
		struct sup_slot slot;                                                              \
                                                                                                   \
		if (!slot_of(out, row, &slot))                                                     \
			return false;                                                              \
		slot_sample(out, suffix, row, expression);                                         \
		return true;                                                                       \
	}

EACH_SLOT(starts, "_total", slot.starts)
EACH_SLOT(unasked, "_total", slot.ends)
static bool rows_cpu(struct out *out, uint32_t row)
{
	struct sup_usage usage;

	if (row >= look(out).pool.wanted)
		return false;
	if (sup_usage(out->metrics->s, row, &usage))
		say(out, "%s_total{slot=\"%u\"} %llu.%03u\n", out->family, row,
		    (unsigned long long)(usage.cpu_ms / 1000), (unsigned)(usage.cpu_ms % 1000));
	return true;
}

static bool rows_rss(struct out *out, uint32_t row)
{
	struct sup_usage usage;

	if (row >= look(out).pool.wanted)
		return false;
	if (sup_usage(out->metrics->s, row, &usage))
		slot_sample(out, "", row, (uint64_t)usage.rss_kb * 1024);
	return true;
}

static bool steers(struct supervisor *s)
{
	struct sup_listener listener;

	for (uint32_t i = 0; sup_listener(s, i, &listener); i++)
		if (strcmp(listener.balance, "round-robin") == 0)
			return true;
	return false;
}

static bool rows_handed(struct out *out, uint32_t row)
{
	struct sup_slot slot;

	if ((row == 0 && !steers(out->metrics->s)) || !slot_of(out, row, &slot))
		return false;
	slot_sample(out, "_total", row, slot.handed);
	return true;
}

static bool rows_queue(struct out *out, uint32_t row)
{
	struct sup_slot slot;

	if (!slot_of(out, row, &slot))
		return false;
	if (slot.queue >= 0)
		slot_sample(out, "", row, (uint64_t)slot.queue);
	return true;
}

static bool rows_exits(struct out *out, uint32_t row)
{
	if (row >= END_CAUSES)
		return false;
	for (int asked = 0; asked < 2; asked++)
		say(out, "%s_total{cause=\"%s\",asked=\"%s\"} %llu\n", out->family,
		    name_end_cause((enum end_cause)row), asked ? "yes" : "no",
		    (unsigned long long)out->metrics->counters.exits[row][asked]);
	return true;
}

#define EACH_WORD(id, count, label, word, array)                                                   \
	static bool rows_##id(struct out *out, uint32_t row)                                       \
	{                                                                                          \
		if (row >= (count))                                                                \
			return false;                                                              \
		sample(out, "_total", label, word, out->metrics->counters.array[row]);             \
		return true;                                                                       \
	}

EACH_WORD(decisions, WHYS, "why", name_why((enum why)row), decisions)
EACH_WORD(rolls, VERDICTS, "verdict", name_verdict((enum verdict)row), rolls)
EACH_WORD(reloads, 2, "result", row ? "ok" : "refused", reloads)

static bool histogram(struct out *out, uint32_t row, const struct histogram *h)
{
	uint64_t count = 0;

	if (row > 0)
		return false;
	for (unsigned i = 0; i <= BUCKETS; i++) {
		count += h->counts[i];
		if (i < BUCKETS)
			say(out, "%s_bucket{le=\"%u.%03u\"} %llu\n", out->family,
			    bucket_ms[i] / 1000, bucket_ms[i] % 1000, (unsigned long long)count);
		else
			sample(out, "_bucket", "le", "+Inf", count);
	}
	sample(out, "_count", "", "", count);
	seconds(out, "_sum", h->sum_ms);
	return true;
}

#define HISTOGRAM(id, field)                                                                       \
	static bool rows_##id(struct out *out, uint32_t row)                                       \
	{                                                                                          \
		return histogram(out, row, &out->metrics->counters.field);                         \
	}

HISTOGRAM(respawn, respawn)
HISTOGRAM(time_to_ready, ready)
HISTOGRAM(drain, drain)

#define EACH_LISTENER(id, suffix, number)                                                          \
	static bool rows_##id(struct out *out, uint32_t row)                                       \
	{                                                                                          \
		struct sup_listener listener;                                                      \
                                                                                                   \
		if (!sup_listener(out->metrics->s, row, &listener))                                \
			return false;                                                              \
		if ((int64_t)(number) >= 0)                                                        \
			sample(out, suffix, "listener", listener.name, (uint64_t)(number));        \
		return true;                                                                       \
	}

EACH_LISTENER(backlog, "", listener.queue)
EACH_LISTENER(backlog_limit, "", listener.limit)
EACH_LISTENER(repairs, "_total", listener.repaired)

/* ---- the text ---- */

static const struct {
	const char *name, *type, *unit, *help;
	bool (*rows)(struct out *out, uint32_t row);
} families[] = {
#define METRIC(id, name, type, unit, help) { name, #type, unit, help, rows_##id },
#include "supervisor/core/metrics.def"
#undef METRIC
};

enum { FAMILIES = sizeof families / sizeof *families };

static void say_head(struct out *out, uint32_t family)
{
	say(out, "# TYPE %s %s\n", families[family].name, families[family].type);
	if (families[family].unit[0])
		say(out, "# UNIT %s %s\n", families[family].name, families[family].unit);
	say(out, "# HELP %s %s\n", families[family].name, families[family].help);
}

size_t metrics_text(struct metrics *metrics, struct metrics_place *place, char *text, size_t size)
{
	struct out out = { .metrics = metrics, .text = text, .size = size };

	while (metrics && place->family < FAMILIES && size - out.used > ROW_SIZE) {
		out.family = families[place->family].name;
		if (place->row == 0)
			say_head(&out, place->family);
		if (families[place->family].rows(&out, place->row)) {
			place->row++;
		} else {
			place->family++;
			place->row = 0;
		}
	}
	if (place->family == FAMILIES && size - out.used > ROW_SIZE) {
		say(&out, "# EOF\n");
		place->family++;
	}
	return out.used;
}
