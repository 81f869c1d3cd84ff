/*
 * starved - a worker that wants to run and gets no CPU is not hung.
 *
 * GLUE. In a throttled cgroup, or on a machine with too much to do, WATCHDOG=1 comes
 * late through no fault of the worker's. So before its watchdog is judged one look
 * is taken: it is runnable, and since its last word it was given less than a
 * tenth of the time. Then the watchdog starts anew, for as long as that lasts.
 *
 * Nor is one whose NOTIFY_SOCKET others keep full: any local process can write to it, and a word
 * that finds no room in the queue is lost.
 */
#include "supervisor/internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/proc.h"

enum { SHARE = 10, TELL_MS = 60000, CROWD = 10 /* net.unix.max_dgram_qlen */ };

static bool watched(const struct worker *worker)
{
	return worker->end.open && worker->launch->policy.health_watchdog > 0;
}

void starved_mark(struct worker *worker)
{
	struct proc_info info;

	if (!watched(worker) || proc_read("/proc", worker->pid, &info) < 0)
		return;
	worker->word_ms = clock_ms();
	worker->word_cpu_ms = info.user_ms + info.sys_ms;
}

static bool starved(const struct worker *worker)
{
	uint64_t since = clock_ms() - worker->word_ms, got;
	struct proc_info info;

	if (proc_read("/proc", worker->pid, &info) < 0)
		return false;
	got = info.user_ms + info.sys_ms - worker->word_cpu_ms;
	return info.state == 'R' && got * SHARE < since;
}

/* Why its watchdog has to wait, or NULL. */
static const char *spared(struct worker *worker)
{
	bool crowded = worker->strangers >= CROWD;

	worker->strangers = 0;
	if (crowded)
		return "can not be heard, for other processes keep its NOTIFY_SOCKET full";
	return starved(worker) ? "wants to run and gets no CPU" : NULL;
}

static void look(struct supervisor *s, struct worker *worker, uint64_t now)
{
	struct instance_view view;
	const char *why;

	if (!watched(worker) || !pool_instance(s->pool, worker->cookie, &view) ||
	    view.state != INSTANCE_READY || view.due_ms > now)
		return;
	why = spared(worker);
	if (!why)
		return;
	if (s->starved_ms == 0 || now - s->starved_ms > TELL_MS) {
		s->starved_ms = now;
		sup_note(s, LOG_LEVEL_WARN, "worker %u (pid %d) %s: its watchdog waits", worker->slot,
		         (int)worker->pid, why);
	}
	starved_mark(worker);
	sup_feed(s, &(struct event){ .what = EV_PING, .cookie = worker->cookie });
}

void starved_spare(struct supervisor *s)
{
	uint64_t now = clock_ms();

	if (s->policy.health_watchdog == 0)
		return;
	FOR_EACH_WORKER (s, w)
		look(s, w, now);
}
