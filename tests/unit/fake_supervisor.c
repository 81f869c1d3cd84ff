/*
 * fake_supervisor - a double of the supervisor behind inspect.h, for tests of the
 * control socket and of the metrics. Included by the test that uses it: defining every
 * sup_* function keeps the real ones out of the link.
 *
 * Slots, listeners and ends are what the test puts there; requests are counted and kept.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "config/keys.h"
#include "supervisor/control.h"
#include "supervisor/inspect.h"
#include "supervisor/metrics.h"

enum { FAKE_SLOTS_MAX = 4096, FAKE_ENDS = 3 };

struct supervisor {
	uv_loop_t loop;
	struct policy policy;
	struct sup_view view;
	struct sup_slot slots[FAKE_SLOTS_MAX];
	uint32_t end_count; /* of every slot */
	struct end_record end;
	struct control *control;
	struct metrics *metrics;
	/* what was asked for */
	unsigned requests, rolls, scales, signals, acks, reopens, reloads, upgrades;
	struct event last;
	char asked[160];    /* the last that was logged, by whom, and whether that was this process */
	const char *refuse; /* scale, roll, reload and upgrade fail with it */
	const char *note;   /* what a reload tells */
	uint32_t reload_roll;
	uint32_t workers_policy;
	uint64_t looks;
};

static struct supervisor *fake_create(uint32_t slots)
{
	struct supervisor *s = calloc(1, sizeof *s);

	uv_loop_init(&s->loop);
	policy_defaults(&s->policy);
	s->view = (struct sup_view){ .name = "web", .policy_file = "web.conf", .log_problem = "", .upgrade_problem = "", .pid = 4000,
				     .up_ms = 3661000, .policy_age_ms = 61000,
				     .started_wall_ms = 1700000000250, .policy_wall_ms = 1700003600000, .listeners = 1 };
	s->view.pool = (struct pool_view){ .wanted = slots, .slots_max = slots, .ready = slots,
					   .live = slots, .generation = 7, .up = true };
	for (uint32_t i = 0; i < slots; i++) {
		s->slots[i] = (struct sup_slot){ .pid = (pid_t)(5000 + i), .state_ms = 8040000,
						 .queue = -1, .state = INSTANCE_READY,
						 .starts = 2, .ends = 1, .status = "",
						 .last_line = "", .problem = "", .decision = "" };
		s->slots[i].slot.state = SLOT_LIVE;
		s->slots[i].slot.generation = 7;
		s->slots[i].slot.due_ms = NEVER_MS;
	}
	s->end = (struct end_record){ .pid = 4242, .lived_ms = 400, .delay_ms = 1600,
				      .signal = 11, .core = 1, .generation = 7, .streak = 5,
				      .cause = END_SELF, .next = NEXT_RESPAWN, .why = WHY_BACKOFF };
	return s;
}

static void fake_destroy(struct supervisor *s)
{
	control_stop(s->control, 0);
	metrics_stop(s->metrics);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&s->loop), 0);
	free(s);
}

void sup_look(struct supervisor *s, struct sup_view *ret)
{
	s->looks++;
	*ret = s->view;
}

uint32_t sup_workers_policy(struct supervisor *s)
{
	return s->workers_policy;
}

bool sup_listener(struct supervisor *s, uint32_t index, struct sup_listener *ret)
{
	if (index >= s->view.listeners)
		return false;
	*ret = (struct sup_listener){ .name = "http", .address = "127.0.0.1:8080", .fd = 3,
				      .balance = "shared", .queue = 0, .limit = 4096 };
	return true;
}

bool sup_slot(struct supervisor *s, uint32_t slot, struct sup_slot *ret)
{
	if (slot >= s->view.pool.slots_max)
		return false;
	*ret = s->slots[slot];
	return true;
}

bool sup_usage(struct supervisor *s, uint32_t slot, struct sup_usage *ret)
{
	*ret = (struct sup_usage){ .rss_kb = 48000, .cpu_permille = 123, .cpu_ms = 1500 };
	return slot < s->view.pool.wanted;
}

bool sup_end(struct supervisor *s, uint32_t slot, uint32_t index, struct end_record *ret)
{
	if (slot >= s->view.pool.slots_max || index >= s->end_count)
		return false;
	*ret = s->end;
	ret->pid -= (int32_t)index;
	return true;
}

const struct policy *sup_policy(struct supervisor *s)
{
	return &s->policy;
}

uint64_t sup_now_ms(struct supervisor *s)
{
	(void)s;
	return uv_hrtime() / 1000000;
}

pid_t sup_pid(struct supervisor *s, uint32_t cookie)
{
	(void)s;
	return (pid_t)(10000 + cookie);
}

const char *sup_spawn_step(const struct supervisor *s)
{
	(void)s;
	return "chdir";
}

struct metrics *sup_metrics(struct supervisor *s)
{
	return s->metrics;
}

uv_loop_t *sup_loop(struct supervisor *s)
{
	return &s->loop;
}

void sup_request(struct supervisor *s, const struct event *event)
{
	s->requests++;
	s->last = *event;
}

int sup_scale(struct supervisor *s, uint32_t count, const char *by, const char **failed)
{
	(void)by;
	s->scales++;
	*failed = s->refuse;
	if (s->refuse)
		return -1;
	s->view.pool.wanted = count;
	return 0;
}

int sup_roll(struct supervisor *s, uint32_t *ret_roll, const char **failed)
{
	*failed = s->refuse;
	if (s->refuse)
		return -1;
	*ret_roll = ++s->rolls;
	return 0;
}

int sup_reload(struct supervisor *s, bool dry_run, bool roll, sup_tell *tell, void *context,
               uint32_t *ret_roll)
{
	(void)roll;
	s->reloads += !dry_run;
	if (s->note)
		tell(context, s->note);
	if (s->refuse)
		return -1;
	*ret_roll = dry_run ? 0 : s->reload_roll;
	return 0;
}

uint32_t sup_signal(struct supervisor *s, uint32_t slot, int signo)
{
	s->signals++;
	s->last = (struct event){ .slot = slot, .cause = signo };
	return slot == ALL_SLOTS ? s->view.pool.live : 1;
}

bool sup_ack(struct supervisor *s, pid_t pid)
{
	s->acks++;
	return pid == getpid() && !s->refuse;
}

void sup_asked(struct supervisor *s, const char *what, uid_t uid, pid_t pid, const char *result, const char *detail)
{
	snprintf(s->asked, sizeof s->asked, "%s by %ld %d%s%s%s%s", what, (long)uid, pid == getpid(), result ? ": " : "",
	         result ? result : "", result ? ": " : "", result ? detail : "");
}

int sup_reopen(struct supervisor *s)
{
	s->reopens++;
	return 0;
}

int sup_upgrade(struct supervisor *s, const char **failed)
{
	s->upgrades++;
	*failed = s->refuse ? s->refuse : "";
	return s->refuse ? -1 : 0;
}
