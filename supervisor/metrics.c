#include "supervisor/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/metrics_internal.h"
#include "supervisor/os/clock.h"


const uint32_t bucket_ms[BUCKETS] = { 5,    10,   25,   50,    100,   250,
				      500,  1000, 2500, 5000,  10000, 60000 };

static void observe(struct histogram *histogram, uint64_t ms)
{
	unsigned i = 0;

	while (i < BUCKETS && ms > bucket_ms[i])
		i++;
	histogram->counts[i]++;
	histogram->sum_ms += ms;
}

int metrics_start(struct supervisor *s, const struct policy *policy, int inherited_fd,
                  struct metrics **ret, char problem[METRICS_PROBLEM_MAX])
{
	struct metrics *metrics = calloc(1, sizeof *metrics);
	enum address_kind kind = policy->metrics_listen.kind;
	int r;

	snprintf(problem, METRICS_PROBLEM_MAX, "out of memory");
	if (!metrics)
		return -ENOMEM;
	metrics->s = s;
	if (kind != ADDRESS_NONE && kind != ADDRESS_OFF) {
		r = door_open(metrics, &policy->metrics_listen, inherited_fd, problem);
		if (r < 0) {
			free(metrics);
			return r;
		}
	}
	*ret = metrics;
	return 0;
}

void metrics_stop(struct metrics *metrics)
{
	if (!metrics)
		return;
	door_close(metrics->door);
	free(metrics->ended_ms);
	free(metrics);
}

size_t metrics_counts(const struct metrics *metrics, const void **ret)
{
	if (!metrics)
		return 0;
	*ret = &metrics->counters;
	return sizeof metrics->counters;
}

void metrics_resume(struct metrics *metrics, const void *counts, size_t size)
{
	if (metrics && size == sizeof metrics->counters)
		memcpy(&metrics->counters, counts, size);
}

int metrics_fd(const struct metrics *metrics)
{
	return metrics && metrics->door ? door_fd(metrics->door) : -1;
}

int metrics_keep(struct metrics *metrics, const struct policy *policy, char problem[METRICS_PROBLEM_MAX])
{
	struct door *old = metrics ? metrics->door : NULL;
	enum door_file file;
	bool told;
	int r;

	if (!old)
		return 0;
	told = metrics->lost;
	file = door_look(old, told);
	metrics->lost = file != DOOR_THERE;
	/* Who has its place is asked now and then: a worker that tells of each visit would wake us up for the next. */
	if (file == DOOR_THERE || (file == DOOR_TAKEN && told && clock_ms() - metrics->asked_ms < FILE_AGAIN_MS))
		return 0;
	metrics->asked_ms = clock_ms();
	r = door_open(metrics, &policy->metrics_listen, -1, problem);
	if (r < 0)
		return told ? 0 : r;
	metrics->lost = false;
	door_close(old);
	return 1;
}

/* NULL when there is no memory for it: then this one figure is not measured. */
static uint64_t *ended_of(struct metrics *metrics, uint32_t slot)
{
	uint32_t want = metrics->slots ? metrics->slots : 16;
	uint64_t *more;

	if (slot < metrics->slots)
		return &metrics->ended_ms[slot];
	if (slot >= UINT32_MAX / 4)
		return NULL;
	while (want <= slot)
		want *= 2;
	more = realloc(metrics->ended_ms, want * sizeof *more);
	if (!more)
		return NULL;
	memset(more + metrics->slots, 0, (want - metrics->slots) * sizeof *more);
	metrics->ended_ms = more;
	metrics->slots = want;
	return &metrics->ended_ms[slot];
}

static void count_ready(struct metrics *metrics, const struct report *report)
{
	uint64_t *ended_ms = ended_of(metrics, report->slot);

	observe(&metrics->counters.ready, report->ms);
	if (!ended_ms || *ended_ms == 0)
		return;
	observe(&metrics->counters.respawn, sup_now_ms(metrics->s) - *ended_ms);
	*ended_ms = 0;
}

static void count_stop(struct metrics *metrics, const struct report *report)
{
	struct stop *stop = &metrics->stops[report->cookie % STOPS_SIZE];

	if (stop->cookie != report->cookie)
		*stop = (struct stop){ report->cookie, sup_now_ms(metrics->s) };
}

static void count_exit(struct metrics *metrics, const struct report *report)
{
	struct stop *stop = &metrics->stops[report->cookie % STOPS_SIZE];
	uint64_t now_ms = sup_now_ms(metrics->s), *ended_ms;

	if (report->cause < END_CAUSES)
		metrics->counters.exits[report->cause][report->asked]++;
	if (report->why < WHYS)
		metrics->counters.decisions[report->why]++;
	if (stop->cookie == report->cookie && report->cookie != 0) {
		observe(&metrics->counters.drain, now_ms - stop->since_ms);
		stop->cookie = 0;
	}
	ended_ms = report->asked ? NULL : ended_of(metrics, report->slot);
	if (ended_ms)
		*ended_ms = now_ms;
}

void metrics_report(struct metrics *metrics, const struct report *report)
{
	if (!metrics)
		return;
	switch (report->what) {
	case REPORT_READY: count_ready(metrics, report); break;
	case REPORT_STOP: count_stop(metrics, report); break;
	case REPORT_EXIT: count_exit(metrics, report); break;
	case REPORT_SPAWN_ERROR:
		metrics->counters.spawn_errors++;
		if (report->why < WHYS)
			metrics->counters.decisions[report->why]++;
		break;
	case REPORT_ROLL_END:
		if ((unsigned)report->verdict < VERDICTS)
			metrics->counters.rolls[report->verdict]++;
		break;
	case REPORT_ESCALATE:
	case REPORT_UNKILLABLE:
	case REPORT_ROLL_BEGIN:
	case REPORT_ROLL_SLOT:
	case REPORT_ROLL_BACK:
	case REPORT_SCALE:
	case REPORT_GIVE_UP:
	case REPORT_RECYCLE:
	case REPORT_RECYCLE_HELD:
	case REPORT_DRAINED:
	default: break;
	}
}

void metrics_reload(struct metrics *metrics, bool ok)
{
	if (metrics)
		metrics->counters.reloads[ok]++;
}
