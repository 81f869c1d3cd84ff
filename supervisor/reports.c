/*
 * reports - what happened, in one line each, and the death history.
 *
 * GLUE. The only place where the core's reports become words.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/rules.h"
#include "config/signals.h"
#include "supervisor/adoption.h"
#include "supervisor/core/brief.h"
#include "supervisor/core/moment.h"
#include "supervisor/core/names.h"
#include "supervisor/explain.h"
#include "supervisor/os/clock.h"

enum { NOTE_MAX = 640, TAIL_TEXT_MAX = 4 * 65536 };

void sup_note(struct supervisor *s, enum log_level level, const char *format, ...)
{
	char text[NOTE_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	LOG_AT(&s->log, LOG_NOTE, level, F_TEXT("text", text));
}

static pid_t pid_of(struct supervisor *s, uint32_t cookie)
{
	const struct worker *worker = cookie ? worker_find(s, cookie) : NULL;

	return worker ? worker->pid : 0;
}

/* ---- the life of a worker ---- */

static void on_ready(struct supervisor *s, const struct report *r)
{
	LOG(&s->log, LOG_WORKER_READY, F_NUM("slot", r->slot), F_NUM("pid", pid_of(s, r->cookie)),
	    F_NUM("generation", r->generation), F_MS("after_ms", r->ms),
	    F_TEXT("how", name_ready_how(r->how)));
}

static const char *rule_text(const struct supervisor *s, const struct report *r,
                             char text[RULE_TEXT_MAX], uint16_t *ret_index)
{
	struct rule_end end = {
		.code = r->end.code,
		.signal = r->end.signal,
		.oom = r->end.oom,
		.timeout = r->cause == END_TIMEOUT,
		.watchdog = r->cause == END_WATCHDOG || r->cause == END_HEALTH || r->cause == END_HUNG,
	};
	const struct exit_rule *rule = r->why == WHY_RULE ? exit_rule_find(&s->policy, &end) : NULL;

	*ret_index = rule ? (uint16_t)(rule - s->policy.rules + 1) : 0;
	if (!rule)
		return NULL;
	rule_format(rule, text);
	return text;
}

static void remember(struct supervisor *s, const struct report *r, const struct worker *worker,
                     uint16_t rule)
{
	struct end_record end = {
		.wall_ms = log_wall_ms(),
		.lived_ms = r->ms,
		.delay_ms = (uint32_t)r->delay_ms,
		.generation = r->generation,
		.pid = worker ? worker->pid : 0,
		.code = (int16_t)r->end.code,
		.signal = (int16_t)r->end.signal,
		.core = r->end.core,
		.oom = r->end.oom,
		.asked = r->asked,
		.cause = (uint8_t)r->cause,
		.next = (uint8_t)r->next,
		.why = (uint8_t)r->why,
		.streak = (uint16_t)(r->streak > UINT16_MAX ? UINT16_MAX : r->streak),
		.rule = rule,
	};

	if (worker) {
		end.cpu_user_ms = (uint32_t)worker->reaped.user_ms;
		end.cpu_sys_ms = (uint32_t)worker->reaped.sys_ms;
		end.max_rss_kb = (uint32_t)worker->reaped.max_rss_kb;
	}
	memory_add_end(s, r->slot, &end);
	if (!r->asked)
		s->memory[r->slot].unasked++;
}

static bool abnormal(const struct report *r)
{
	return !r->asked && (r->end.signal || r->end.code || r->cause != END_SELF);
}

static bool ended_well(const struct report *r)
{
	return !r->asked && !abnormal(r);
}

static bool ended_badly(const struct report *r)
{
	return abnormal(r) && r->cause == END_SELF && r->end.signal == 0;
}

/*
 * The last words of a worker that ended badly, once more beside its end: what it wrote may
 * stand far above, or have been dropped. The very last line is in the record of the end.
 */
static void print_tail(struct supervisor *s, const struct worker *worker)
{
	static char tail[TAIL_TEXT_MAX];
	size_t size = output_tail(worker->output, tail, sizeof tail - 1);
	char *line = tail, *end;

	while (size > 0 && tail[size - 1] == '\n')
		size--;
	tail[size] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1) {
		LOG(&s->log, LOG_NOTE, F_BYTES("text", line, (size_t)(end - line)),
		    F_NUM("slot", worker->slot));
	}
}

static void tell_more(struct supervisor *s, const struct report *r, const struct worker *worker)
{
	if (worker->output)
		print_tail(s, worker);
	if (r->cause == END_SELF)
		adoption_missed(s, worker);
}

static void on_exit_report(struct supervisor *s, const struct report *r)
{
	const struct worker *known = worker_find(s, r->cookie);
	const struct worker *worker = known ? known : worker_departed(s, r->cookie);
	const struct reaped none = { .code = 0 }, *used = worker ? &worker->reaped : &none;
	const char *last = worker && worker->output && abnormal(r) ? output_last_line(worker->output) : "";
	char signal[SIGNAL_TEXT_MAX], rule_room[RULE_TEXT_MAX];
	uint16_t rule_index;
	const char *rule = rule_text(s, r, rule_room, &rule_index);
	bool more = r->next != NEXT_NONE;

	s->ended_well = ended_well(r);
	s->ended_badly = ended_badly(r);
	if (!r->asked)
		memory_last_line(s, r->slot, last);
	remember(s, r, worker, rule_index);
	LOG_AT(&s->log, LOG_WORKER_EXIT, abnormal(r) ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
	       F_NUM("slot", r->slot), F_NUM("pid", worker ? worker->pid : 0),
	       F_NUM("generation", r->generation),
	       F_NUM_IF(r->end.signal == 0, "code", r->end.code),
	       F_TEXT_IF(r->end.signal != 0, "signal", signal_name(r->end.signal, signal)),
	       F_FLAG("core", r->end.core), F_FLAG("oom", r->end.oom), F_FLAG("asked", r->asked),
	       F_TEXT_IF(r->cause != END_SELF, "cause", name_end_cause(r->cause)),
	       F_MS("uptime_ms", r->ms), F_MS("cpu_user_ms", used->user_ms),
	       F_MS("cpu_sys_ms", used->sys_ms), F_NUM("max_rss_kb", used->max_rss_kb),
	       F_TEXT_IF(more, "action", name_next_action(r->next)),
	       F_MS_IF(r->next == NEXT_RESPAWN, "delay_ms", r->delay_ms),
	       F_TEXT_IF(more, "why", name_why(r->why)), F_TEXT_IF(rule != NULL, "rule", rule),
	       F_TEXT_IF(last[0] != '\0', "last", last));
	if (worker && abnormal(r))
		tell_more(s, r, worker);
}

static void on_stop(struct supervisor *s, const struct report *r)
{
	struct instance_view was = { .state = INSTANCE_READY };
	char signal[SIGNAL_TEXT_MAX];
	const char *hung;

	pool_instance(s->pool, r->cookie, &was);
	hung = explain_hung((int)r->cause, was.state == INSTANCE_DRAINING);
	LOG(&s->log, LOG_WORKER_STOP, F_NUM("slot", r->slot), F_NUM("pid", pid_of(s, r->cookie)),
	    F_TEXT_IF(r->signal != 0, "signal", signal_name(r->signal, signal)),
	    F_TEXT("why", name_end_cause(r->cause)));
	if (r->cause == END_TIMEOUT)
		adoption_explain(s, r->cookie);
	if (hung)
		LOG(&s->log, LOG_WORKER_HUNG, F_NUM("slot", r->slot), F_NUM("pid", pid_of(s, r->cookie)),
		    F_TEXT("cause", name_end_cause(r->cause)), F_TEXT("detail", hung));
}

static void on_escalate(struct supervisor *s, const struct report *r)
{
	const struct worker *worker = worker_find(s, r->cookie);
	uint64_t since = worker ? worker->leaving_ms : 0;
	char signal[SIGNAL_TEXT_MAX], reason[96];

	snprintf(reason, sizeof reason, "more than %" PRIu32 " generations would drain ([supervisor] max_old)",
	         r->count);
	LOG(&s->log, LOG_WORKER_ESCALATE, F_NUM("slot", r->slot),
	    F_NUM("pid", pid_of(s, r->cookie)), F_TEXT("signal", signal_name(r->signal, signal)),
	    F_MS_IF(since > 0, "after_ms", clock_ms() - since),
	    F_TEXT_IF(r->count > 0, "reason", reason));
}

static void on_unkillable(struct supervisor *s, const struct report *r)
{
	LOG(&s->log, LOG_WORKER_UNKILLABLE, F_NUM("slot", r->slot),
	    F_NUM("pid", pid_of(s, r->cookie)), F_MS("after_ms", r->ms));
}

/* The step of a spawn that failed: the file it was about and what strerror(3) does not say, both "" if nothing. */
struct step {
	char file[PATH_MAX];
	char detail[256];
};

static void explain_step(const struct supervisor *s, const struct launch *launch, int error, struct step *ret)
{
	*ret = (struct step){ "", "" };
	if (launch && strcmp(s->spawn_step, "chdir") == 0)
		snprintf(ret->file, sizeof ret->file, "%s", launch->policy.cluster_directory);
	if (launch && strcmp(s->spawn_step, "exec") == 0) {
		launch_file(&launch->policy, launch->path, ret->file, sizeof ret->file);
		spawn_explain(ret->file, error, ret->detail, sizeof ret->detail);
	} else if (strncmp(s->spawn_step, "seccomp", 7) == 0 && error == EBUSY) {
		snprintf(ret->detail, sizeof ret->detail, "something around clusterd traps system calls already, such as "
		         "another clusterd with adopt, and only one can: leave out adopt here and listen on fd 3");
	}
	if (strcmp(ret->detail, strerror(error)) == 0)
		ret->detail[0] = '\0';
}

/* "exec /srv/app: No such file or directory (…)" for who asks why the slot is empty. */
static void remember_step(struct supervisor *s, uint32_t slot, const struct step *step, int error)
{
	char problem[PROBLEM_MAX + 512];
	size_t length = strlen(step->file), cut = length > PROBLEM_PATH_MAX ? length - PROBLEM_PATH_MAX : 0;

	snprintf(problem, sizeof problem, "%s%s%s%s: %s%s%s%s", s->spawn_step, length > 0 ? " " : "", cut > 0 ? "..." : "",
	         step->file + cut, strerror(error), step->detail[0] ? " (" : "", step->detail,
	         step->detail[0] ? ")" : "");
	memory_problem(s, slot, problem);
}

/* A failed try of a roll decides nothing about its slot. */
static void remember_decision(struct supervisor *s, const struct report *r)
{
	char decision[DECISION_MAX + 1];
	struct end_record as = { .why = (uint8_t)r->why, .next = (uint8_t)r->next, .delay_ms = (uint32_t)r->delay_ms };

	if (r->next == NEXT_NONE)
		return;
	explain_unspawned(&s->policy, &as, decision, sizeof decision);
	memory_decision(s, r->slot, decision);
}

static void on_spawn_error(struct supervisor *s, const struct report *r)
{
	bool more = r->next == NEXT_RESPAWN;
	struct step step;

	explain_step(s, launch_find(s, r->generation), r->error, &step);
	remember_step(s, r->slot, &step, r->error);
	remember_decision(s, r);
	LOG(&s->log, LOG_SPAWN_ERROR, F_NUM("slot", r->slot),
	    F_TEXT("step", s->spawn_step), F_TEXT_IF(step.file[0] != '\0', "file", step.file),
	    F_TEXT("error", strerror(r->error)), F_TEXT_IF(step.detail[0] != '\0', "detail", step.detail),
	    F_MS_IF(more, "retry_ms", r->delay_ms),
	    F_TEXT_IF(!more && r->next != NEXT_NONE, "action", name_next_action(r->next)),
	    F_TEXT("why", name_why(r->why)));
}

/* "52M, over [recycle] max_rss 30M" */
static void recycle_reason(struct supervisor *s, const struct report *r, char *out, size_t size)
{
	const struct worker *worker = worker_find(s, r->cookie);
	char is[BRIEF_TEXT_MAX], limit[BRIEF_TEXT_MAX];

	if (r->cause == END_LIFETIME)
		snprintf(out, size, "%s old, [recycle] max_lifetime %s less its jitter",
			 brief_duration(r->ms, is),
			 brief_duration(s->policy.recycle_max_lifetime, limit));
	else
		snprintf(out, size, "%s, over [recycle] max_rss %s",
			 brief_size(worker ? worker->rss_kb : 0, is),
			 brief_size(s->policy.recycle_max_rss / 1024, limit));
}

static void on_recycle(struct supervisor *s, const struct report *r)
{
	char detail[128];

	recycle_reason(s, r, detail, sizeof detail);
	LOG(&s->log, LOG_RECYCLE, F_NUM("slot", r->slot), F_NUM("pid", pid_of(s, r->cookie)),
	    F_TEXT("cause", name_end_cause(r->cause)), F_TEXT("detail", detail));
}

static void on_recycle_held(struct supervisor *s, const struct report *r)
{
	char detail[128], text[384], stable[BRIEF_TEXT_MAX], delay[BRIEF_TEXT_MAX];

	recycle_reason(s, r, detail, sizeof detail);
	snprintf(
	    text, sizeof text,
	    "%s, as was the one before it: the program needs more than the limit; it is replaced "
	    "at most once in %s ([restart] stable), next in %s; raise max_rss (this is said once)",
	    detail, brief_duration(s->policy.restart_stable, stable),
	    brief_duration(r->delay_ms, delay));
	LOG(&s->log, LOG_NOTE, F_NUM("slot", r->slot), F_TEXT("text", text));
}

/* ---- the cluster ---- */

static void on_roll_begin(struct supervisor *s, const struct report *r)
{
	LOG(&s->log, LOG_ROLL_BEGIN, F_NUM("roll", r->roll), F_NUM("generation", r->generation),
	    F_NUM("workers", r->count));
}

static void on_roll_slot(struct supervisor *s, const struct report *r)
{
	LOG_AT(&s->log, LOG_ROLL_SLOT, r->ok ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
	       F_NUM("roll", r->roll), F_NUM("slot", r->slot),
	       F_NUM_IF(pid_of(s, r->cookie) != 0, "pid", pid_of(s, r->cookie)),
	       F_NUM_IF(pid_of(s, r->other) != 0, "old_pid", pid_of(s, r->other)),
	       F_FLAG("ok", r->ok), F_NUM_IF(!r->ok, "tries", r->count));
}

static void on_roll_back(struct supervisor *s, const struct report *r)
{
	LOG_AT(&s->log, LOG_ROLL_BACK, r->ok ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
	       F_NUM("roll", r->roll), F_NUM("slot", r->slot), F_NUM("generation", r->generation),
	       F_NUM("tries", r->count), F_FLAG("ok", r->ok));
}

static void on_roll_end(struct supervisor *s, const struct report *r)
{
	bool good = r->verdict == VERDICT_DONE || r->verdict == VERDICT_SUPERSEDED;

	LOG_AT(&s->log, LOG_ROLL_END, good ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
	       F_NUM("roll", r->roll), F_NUM("generation", r->generation),
	       F_TEXT("verdict", name_verdict(r->verdict)), F_MS("after_ms", r->ms));
	systemd_rolled(s, r->verdict);
}

static void on_scale(struct supervisor *s, const struct report *r)
{
	s->told_workers = r->count;
	if (r->count != r->other)
		LOG(&s->log, LOG_SCALE, F_NUM("from", r->other), F_NUM("to", r->count),
		    F_TEXT_IF(s->scaled_by != NULL, "by", s->scaled_by));
}

static void give_up_reason(const struct policy *policy, const struct report *r, char *out,
			   size_t size)
{
	static const char *const texts[WHYS] = {
		[WHY_BOOT] = "no worker ever got ready, and each slot has failed 3 times",
		[WHY_RULE] = "so says an [exit RULE]",
		[WHY_SPAWN] = "the program can not be executed",
	};
	bool all = r->why == WHY_CLUSTER_BURST;
	uint32_t most = all ? policy->restart_cluster_burst : policy->restart_burst;
	char window[DURATION_TEXT_MAX];

	_Static_assert(BOOT_FAILURES == 3, "the text says 3");
	if (r->why == WHY_FINISHED)
		snprintf(out, size, "all workers have %s",
			 r->ok ? "finished" : "ended, and not all well");
	else if (r->why == WHY_BURST || all)
		snprintf(out, size, "more than %u respawn%s%s in %s ([restart] %sburst)", most,
			 most == 1 ? "" : "s", all ? " of all slots" : "",
			 duration_text(policy->restart_window, window), all ? "cluster_" : "");
	else
		snprintf(out, size, "%s", texts[r->why] ? texts[r->why] : name_why(r->why));
}

static const char *boot_hint(const struct supervisor *s)
{
	if (s->ended_well)
		return " (the last worker exited 0: a program that puts itself into the background must be told "
		       "to stay in the foreground)";
	if (s->ended_badly && s->policy.listener_count > 0 && !policy_adopts(&s->policy))
		return " (one that says \"address in use\" binds the port by itself: -a gives it clusterd's)";
	return "";
}

/* What happens, in words. */
static void on_give_up(struct supervisor *s, const struct report *r)
{
	char reason[128], detail[320], delay[DURATION_TEXT_MAX], slot[24] = "";

	give_up_reason(&s->policy, r, reason, sizeof reason);
	if (r->slot != ALL_SLOTS)
		snprintf(slot, sizeof slot, "slot %" PRIu32 ": ", r->slot);
	if (r->next == NEXT_RESPAWN)
		snprintf(detail, sizeof detail,
			 "slot %" PRIu32 " is held: %s; the next try comes in %s", r->slot, reason,
			 duration_text(r->delay_ms, delay));
	else if (r->next == NEXT_RETIRE)
		snprintf(detail, sizeof detail,
			 "slot %" PRIu32 " is retired: %s; it stays empty until `clusterctl reset`",
			 r->slot, reason);
	else
		snprintf(detail, sizeof detail, "%s%s; clusterd ends%s", slot, reason,
			 r->why == WHY_BOOT ? boot_hint(s) : "");
	LOG_AT(&s->log, LOG_GIVE_UP, r->ok ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
	       F_NUM_IF(r->slot != ALL_SLOTS, "slot", r->slot),
	       F_TEXT("action", name_next_action(r->next)), F_TEXT("why", name_why(r->why)),
	       F_TEXT("detail", detail));
}

static void on_drained(struct supervisor *s, const struct report *r)
{
	LOG(&s->log, LOG_DRAINED, F_NUM("slot", r->slot));
}

void sup_report(struct supervisor *s, const struct report *report)
{
	static void (*const tell[])(struct supervisor *, const struct report *) = {
		[REPORT_READY] = on_ready,
		[REPORT_EXIT] = on_exit_report,
		[REPORT_STOP] = on_stop,
		[REPORT_ESCALATE] = on_escalate,
		[REPORT_UNKILLABLE] = on_unkillable,
		[REPORT_SPAWN_ERROR] = on_spawn_error,
		[REPORT_ROLL_BEGIN] = on_roll_begin,
		[REPORT_ROLL_SLOT] = on_roll_slot,
		[REPORT_ROLL_BACK] = on_roll_back,
		[REPORT_ROLL_END] = on_roll_end,
		[REPORT_SCALE] = on_scale,
		[REPORT_GIVE_UP] = on_give_up,
		[REPORT_RECYCLE] = on_recycle,
		[REPORT_RECYCLE_HELD] = on_recycle_held,
		[REPORT_DRAINED] = on_drained,
	};

	tell[report->what](s, report);
}
