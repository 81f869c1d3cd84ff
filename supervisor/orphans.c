#include "supervisor/orphans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/signals.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"

enum { SEARCH_TRIES = 200, SEARCH_PAUSE_MS = 5 };
enum { PROVEN_MS = 100, UNKILLABLE_WAIT_MS = 10000 };

/* ---- finding them ---- */

static struct orphans *have(struct supervisor *s)
{
	if (!s->orphans) {
		s->orphans = calloc(1, sizeof *s->orphans);
		if (s->orphans)
			s->orphans->end = &s->orphans->first;
	}
	return s->orphans;
}

static bool is_known(const struct supervisor *s, const struct record_row *is)
{
	for (const struct orphan *o = s->orphans ? s->orphans->first : NULL; o; o = o->next)
		if (o->is.pid == is->pid)
			return true;
	return false;
}

/*
 * By what a worker is told of itself: its clusterd was killed before it could write its pid down.
 * It may not have executed its program yet, so there are several looks; or there is none.
 */
static int search(struct supervisor *s, struct record_row *is, const char **failed)
{
	char name[sizeof "CLUSTERD_NAME=" + NAME_TEXT_MAX], slot[32], generation[40];
	const char *const variables[] = { name, slot, generation, NULL };
	int rc;

	snprintf(name, sizeof name, "CLUSTERD_NAME=%s", s->name);
	snprintf(slot, sizeof slot, "CLUSTERD_SLOT=%u", is->slot);
	snprintf(generation, sizeof generation, "CLUSTERD_GENERATION=%u", is->generation);
	is->starting = false;
	rc = proc_find("/proc", variables, is->started, &is->pid, &is->started);
	for (int i = 0; rc < 0 && i < SEARCH_TRIES; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = SEARCH_PAUSE_MS * 1000000L }, NULL);
		rc = proc_find("/proc", variables, is->started, &is->pid, &is->started);
	}
	return rc == 0 ? takeback_identify(is->pid, is->started, failed) : -ESRCH;
}

static void on_found(struct supervisor *s, uint32_t row, const struct record_row *found)
{
	struct record_row row_is = *found, *is = &row_is;
	const char *failed = "memory";
	struct orphan *orphan = NULL;
	int pidfd = is->starting ? search(s, is, &failed)
	                         : takeback_identify(is->pid, is->started, &failed);

	if (pidfd >= 0 && is_known(s, is)) { /* there is a row of it as well */
		fd_close(&pidfd);
		pidfd = -ESRCH;
	}
	if (pidfd >= 0 && found->starting)
		record_set(s, row, is);
	if (pidfd == -ESRCH) {
		record_gone(s, row);
		return;
	}
	if (pidfd >= 0 && have(s))
		orphan = calloc(1, sizeof *orphan);
	if (!orphan) {
		sup_note(s, LOG_LEVEL_ERROR, "orphan (pid %d) is left alone: %s: %s", (int)is->pid,
		         failed, strerror(pidfd < 0 ? -pidfd : ENOMEM));
		fd_close(&pidfd);
		return;
	}
	*orphan = (struct orphan){ .s = s, .row = row, .is = *is, .pidfd = pidfd };
	*s->orphans->end = orphan;
	s->orphans->end = &orphan->next;
}

void orphans_find(struct supervisor *s)
{
	if (s->policy.supervisor_on_death != ON_DEATH_KEEP)
		return;
	record_open(s, on_found);
	if (!s->orphans)
		return;
	orphans_collect(s);
	/* The numbers go on, so no two workers that live are of the same one by accident. */
	for (const struct orphan *o = s->orphans->first; o; o = o->next)
		if (o->is.generation >= s->generation && o->is.generation < UINT32_MAX)
			s->generation = o->is.generation + 1;
}

/* ---- the end of one ---- */

static void on_poll_closed(uv_handle_t *handle)
{
	struct orphan *orphan = handle->data;

	fd_close(&orphan->pidfd);
	free(orphan);
}

static void let_go(struct orphan *orphan)
{
	if (orphan->watched) {
		uv_close((uv_handle_t *)&orphan->poll, on_poll_closed);
		return;
	}
	fd_close(&orphan->pidfd);
	free(orphan);
}

static void unlink_orphan(struct orphan *orphan)
{
	struct orphan **at = &orphan->s->orphans->first;

	while (*at != orphan)
		at = &(*at)->next;
	*at = orphan->next;
	if (!*at)
		orphan->s->orphans->end = at;
}

static void on_end(uv_poll_t *poll, int status, int events)
{
	struct orphan *orphan = poll->data;
	struct supervisor *s = orphan->s;

	(void)events;
	if (status < 0)
		return;
	/* What is left of its group; not before Linux 6.9, for the number may be another's by now. */
	if (s->policy.stop_kill == SCOPE_GROUP)
		takeback_signal_group(orphan->pidfd, orphan->is.pid, SIGKILL);
	record_gone(s, orphan->row);
	if (orphan->seat > 0)
		steer_orphan_gone(s, orphan->seat);
	LOG(&s->log, LOG_ORPHAN_EXIT, F_NUM("slot", orphan->is.slot), F_NUM("pid", orphan->is.pid),
	    F_FLAG("asked", orphan->is.asked),
	    F_MS_IF(orphan->told, "after_ms", clock_ms() - orphan->asked_ms));
	unlink_orphan(orphan);
	let_go(orphan);
	if (!s->orphans->first && s->orphans->timer_open)
		uv_timer_stop(&s->orphans->timer);
	if (s->exited)
		sup_settle(s);
}

/* ---- stopping them ---- */

static void tell(struct orphan *orphan, int signal, const char *why)
{
	char name[SIGNAL_TEXT_MAX];
	struct supervisor *s = orphan->s;

	signal_name(signal, name);
	LOG_AT(&s->log, LOG_ORPHAN_STOP, signal == SIGKILL ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
	       F_NUM("slot", orphan->is.slot), F_NUM("pid", orphan->is.pid), F_TEXT("signal", name),
	       F_TEXT("why", why));
}

static void on_timer(uv_timer_t *timer);

static void enter(struct supervisor *s, enum phase phase, uint64_t timeout_ms)
{
	s->orphans->phase = phase;
	if (s->orphans->timer_open)
		uv_timer_start(&s->orphans->timer, on_timer, timeout_ms, 0);
}

static void kill_all(struct supervisor *s, const char *why)
{
	for (struct orphan *o = s->orphans->first; o; o = o->next) {
		tell(o, SIGKILL, why);
		if (s->policy.stop_kill == SCOPE_GROUP)
			takeback_signal_group(o->pidfd, o->is.pid, SIGKILL);
		reap_signal(o->pidfd, SIGKILL);
	}
	enter(s, KILLED, UNKILLABLE_WAIT_MS);
}

static void give_up(struct supervisor *s)
{
	for (const struct orphan *o = s->orphans->first; o; o = o->next)
		sup_note(s, LOG_LEVEL_ERROR, "orphan (pid %d) has survived SIGKILL; it is left behind",
		         (int)o->is.pid);
	s->orphans->phase = GIVEN_UP;
	if (s->exited)
		sup_settle(s);
}

/* One that was asked before, by a clusterd that was killed then, is not asked again. */
static void ask(struct orphan *orphan, const char *why)
{
	struct supervisor *s = orphan->s;

	if (orphan->is.asked)
		return;
	orphan->is.asked = orphan->told = true;
	orphan->asked_ms = clock_ms();
	/* Then written down: to be asked twice does less harm than to be killed unasked. */
	reap_signal(orphan->pidfd, (int)s->policy.stop_signal);
	reap_signal(orphan->pidfd, SIGCONT);
	record_set(s, orphan->row, &orphan->is);
	tell(orphan, (int)s->policy.stop_signal, why);
}

static void ask_all(struct supervisor *s, const char *why)
{
	struct orphans *orphans = s->orphans;

	orphans_claim_paths(s);
	if (!orphans->first || orphans->phase >= ASKED)
		return;
	orphans_seats(s, false);
	if (s->policy.stop_timeout == 0) {
		kill_all(s, why);
		return;
	}
	for (struct orphan *o = orphans->first; o; o = o->next)
		ask(o, why);
	enter(s, ASKED, s->policy.stop_timeout);
}

/* As a worker that leaves: nothing new, and for drain_delay it is not asked to stop. Until then the
 * paths stay theirs, for clusterd may give up and leave them as they are. */
static void leave_all(struct supervisor *s, const char *why)
{
	struct orphans *orphans = s->orphans;

	if (!orphans->first || s->policy.stop_drain_delay == 0) {
		ask_all(s, why);
	} else if (orphans->phase < DRAINING) {
		orphans_seats(s, false);
		orphans->why = why;
		enter(s, DRAINING, s->policy.stop_drain_delay);
	}
}

/* Has every slot a ready worker, or is it meant to have none? */
static bool is_whole(struct supervisor *s)
{
	struct pool_view view;
	struct slot_view slot;
	uint32_t empty = 0;

	pool_view(s->pool, &view);
	for (uint32_t i = 0; i < view.wanted; i++)
		if (pool_slot(s->pool, i, &slot))
			empty += slot.state == SLOT_RETIRED || slot.state == SLOT_DRAINED;
	return view.wanted == 0 || (view.ready > 0 && view.ready + empty >= view.wanted);
}

/*
 * Like a worker that is replaced in a roll: what has just got ready must stay so for a while, for
 * nobody else can take over from the orphans. A slot that goes on failing keeps them.
 */
static void prove(struct supervisor *s)
{
	bool whole = is_whole(s);

	if (whole && s->orphans->whole) {
		leave_all(s, "replaced");
		return;
	}
	s->orphans->whole = whole;
	enter(s, PROVING, PROVEN_MS);
}

static void on_timer(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	switch (s->orphans->phase) {
	case PROVING: prove(s); break;
	case DRAINING: ask_all(s, s->orphans->why); break;
	case ASKED: kill_all(s, "stop timeout"); break;
	case KILLED: give_up(s); break;
	case SERVING:
	case GIVEN_UP: break;
	}
}

void orphans_up(struct supervisor *s)
{
	if (s->orphans && s->orphans->first && s->orphans->phase == SERVING)
		prove(s);
}

void orphans_stop(struct supervisor *s, bool fast)
{
	if (!s->orphans)
		return;
	if (!fast) {
		leave_all(s, "stop");
		return;
	}
	orphans_claim_paths(s);
	if (s->orphans->first && s->orphans->phase < KILLED)
		kill_all(s, "stop at once");
}

bool orphans_hold(struct supervisor *s)
{
	struct orphans *orphans = s->orphans;

	if (!orphans || !orphans->first || s->closing)
		return false;
	/* They alone serve unless they, or clusterd, were asked to stop. */
	if (s->stop_asked || orphans->phase >= ASKED) {
		leave_all(s, "stop");
		return orphans->first && orphans->phase != GIVEN_UP;
	}
	orphans_seats(s, true);
	sup_note(s, LOG_LEVEL_WARN,
	         "the orphans of the clusterd that was killed are left as they are: they serve on");
	return false;
}

/* ---- the loop ---- */

static int watch(struct orphan *orphan)
{
	struct supervisor *s = orphan->s;
	int rc = uv_poll_init(&s->loop, &orphan->poll, orphan->pidfd);

	if (rc < 0)
		return rc;
	orphan->poll.data = orphan;
	orphan->watched = true;
	return uv_poll_start(&orphan->poll, UV_READABLE, on_end);
}

static void watch_all(struct supervisor *s)
{
	struct orphans *orphans = s->orphans;

	uv_timer_init(&s->loop, &orphans->timer);
	orphans->timer.data = s;
	orphans->timer_open = true;
	for (struct orphan *o = orphans->first; o; o = o->next) {
		int rc = watch(o);

		if (rc < 0)
			sup_note(s, LOG_LEVEL_ERROR, "orphan (pid %d) can not be watched: %s",
			         (int)o->is.pid, uv_strerror(rc));
	}
}

void orphans_begin(struct supervisor *s)
{
	if (!s->orphans)
		return;
	takeback_finish(&s->orphans->set);
	watch_all(s);
	orphans_seats(s, true);
	for (const struct orphan *o = s->orphans->first; o; o = o->next)
		LOG(&s->log, LOG_ORPHAN_ADOPT, F_NUM("slot", o->is.slot), F_NUM("pid", o->is.pid),
		    F_NUM("generation", o->is.generation));
}

/* A row is that of a worker of ours, or of an orphan that was there before the upgrade. */
static void on_found_again(struct supervisor *s, uint32_t row, const struct record_row *is)
{
	if (is->starting) {
		record_gone(s, row);
		return;
	}
	FOR_EACH_WORKER (s, w)
		if (w->pid == is->pid) {
			w->record_row = row;
			return;
		}
	on_found(s, row, is);
}

void orphans_resume(struct supervisor *s)
{
	record_resume(s, on_found_again);
	if (!s->orphans)
		return;
	orphans_find_seats(s);
	watch_all(s);
	if (s->up)
		orphans_up(s);
}

void orphans_finish(struct supervisor *s)
{
	struct orphans *orphans = s->orphans;

	if (!orphans)
		return;
	takeback_finish(&orphans->set);
	while (orphans->first) {
		struct orphan *orphan = orphans->first;

		orphans->first = orphan->next;
		let_go(orphan);
	}
	if (orphans->timer_open)
		uv_close((uv_handle_t *)&orphans->timer, NULL);
}
