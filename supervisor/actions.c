/*
 * actions - carries out what the core decided.
 *
 * GLUE. Runs inside pool_step(), so nothing here calls the core; what an action
 * brings about is fed as an event and handled after the step.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/internal.h"
#include "supervisor/metrics.h"
#include "supervisor/orphans.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/reap.h"
#include "supervisor/probe.h"

/* Errors of the step "exec" that no second try can mend. */
static bool permanent(const char *step, int error)
{
	static const int never[] = { ENOENT,  EACCES, ENOEXEC,      EISDIR, ENOTDIR,
		                     ELOOP,   E2BIG,  ENAMETOOLONG, EPERM,  ELIBBAD };

	if (strcmp(step, "exec") != 0)
		return false;
	for (size_t i = 0; i < sizeof never / sizeof *never; i++)
		if (never[i] == error)
			return true;
	return false;
}

/*
 * A worker that is replaced at once: what it takes to put its end into words is spent while
 * the next one starts. Not where something else may have to be told about the spawn.
 */
static bool may_tell_later(const struct worker *worker, const struct report *report)
{
	const struct policy *policy = &worker->launch->policy;

	return report->what == REPORT_EXIT && report->next == NEXT_RESPAWN && report->delay_ms == 0 && !worker->output &&
	       policy->supervisor_on_death == ON_DEATH_STOP && !policy_adopts(policy);
}

void sup_tell_end(struct supervisor *s)
{
	if (!s->end_untold)
		return;
	s->end_untold = false;
	sup_report(s, &s->end);
}

static void act_spawn(struct supervisor *s, const struct action *action)
{
	struct event event = { .what = EV_SPAWNED, .slot = action->slot, .cookie = action->cookie };
	const char *failed = "";
	int rc;

	keep_all(s);
	record_starting(s, action->slot, action->generation);
	rc = worker_start(s, action->slot, action->cookie, action->generation, &failed);
	record_started(s, rc < 0 ? NULL : worker_find(s, action->cookie));
	notice_prepare(s);
	sup_tell_end(s);
	if (rc < 0) {
		event.what = EV_SPAWN_FAILED;
		event.error = -rc;
		event.permanent = permanent(failed, -rc);
		s->spawn_step = failed;
	} else {
		struct worker *worker = worker_find(s, action->cookie);

		s->memory[action->slot].starts++;
		memory_problem(s, action->slot, "");
		/* An adopted program is known to be ready: by its listen(2). */
		event.told = policy_adopts(&worker->launch->policy);
		event.policy = &worker->launch->policy;
		sup_started(s, worker);
		probe_started(worker);
	}
	sup_feed(s, &event);
}

static void act_signal(struct supervisor *s, const struct action *action)
{
	struct worker *worker = worker_find(s, action->cookie);

	if (!worker || worker->pidfd < 0 || !worker->end.open)
		return;
	if (action->cont) {
		server_ask(worker, action->signal);
		return;
	}
	if (action->group)
		reap_signal_group(worker->pid, action->signal);
	/* Even then: it may have left its group. */
	reap_signal(worker->pidfd, action->signal);
}

static void act_steer(struct supervisor *s, const struct action *action)
{
	/* Who may get connections is decided by the reports of each worker (act_report): this only
	 * makes sure that a slot which does not serve is not left on the list. */
	if (!action->on)
		steer_off(s, action->slot);
}

static void act_move(struct supervisor *s, const struct action *action)
{
	steer_move(s, action->slot);
}

static void act_slot_gone(struct supervisor *s, const struct action *action)
{
	steer_slot_gone(s, action->slot);
}

static void act_up(struct supervisor *s, const struct action *action)
{
	(void)action;
	s->up = true;
	log_started(&s->log);
	sup_up(s);
	systemd_ready(s);
	orphans_up(s);
}

static void act_generation(struct supervisor *s, const struct action *action)
{
	reload_settled(s, action->generation);
}

static void act_exit(struct supervisor *s, const struct action *action)
{
	s->exited = true;
	s->status = action->status;
	s->exit_why = action->why;
}

/* What a report means for the worker that it is about. */
static void heed_report(struct supervisor *s, struct worker *worker, const struct report *report)
{
	if (report->what == REPORT_READY) {
		worker->served = true;
		steer_worker(s, worker, true);
		starved_mark(worker);
		probe_ready(worker);
	} else if (report->what == REPORT_STOP) {
		worker->leaving_ms = clock_ms();
		steer_worker(s, worker, false);
		if (report->cause == END_TIMEOUT)
			probe_too_late(worker);
		probe_stop(worker);
	} else if (report->what == REPORT_ROLL_SLOT && !report->ok && worker->output) {
		/* The verdict may fall before it has ended. */
		memory_last_line(s, report->slot, output_last_line(worker->output));
	}
}

static void act_report(struct supervisor *s, const struct action *action)
{
	const struct report *report = &action->report;
	struct worker *worker = report->cookie ? worker_find(s, report->cookie) : NULL;

	if (worker)
		heed_report(s, worker, report);
	vacancy_report(s, report);
	if (report->what == REPORT_GIVE_UP && report->next == NEXT_EXIT)
		sup_stopping(s);
	/* It holds from the moment it is told, and before the signal that follows. */
	steer_apply(s);
	s->end_untold = worker && may_tell_later(worker, report);
	if (s->end_untold)
		s->end = *report;
	else
		sup_report(s, report);
	control_report(s->control, report);
	metrics_report(s->metrics, report);
	if (worker && report->what == REPORT_EXIT) {
		record_gone(s, worker->record_row);
		worker_told(worker);
	}
}

void sup_act(void *context, const struct action *action)
{
	static void (*const acts[])(struct supervisor *, const struct action *) = {
		[ACT_SPAWN] = act_spawn,   [ACT_SIGNAL] = act_signal,
		[ACT_STEER] = act_steer,   [ACT_MOVE] = act_move,
		[ACT_SLOT_GONE] = act_slot_gone, [ACT_UP] = act_up,
		[ACT_GENERATION] = act_generation, [ACT_EXIT] = act_exit,
		[ACT_REPORT] = act_report,
	};

	if (action->what != ACT_SPAWN)
		sup_tell_end(context);
	acts[action->what](context, action);
}
