/*
 * notice - what workers say by NOTIFY_SOCKET, or by Einhorn's ack.
 *
 * GLUE. Who speaks is checked, what it means is fed to the core. A worker that never stops talking
 * is read at a bounded rate, so it takes no CPU from the others.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/core/brief.h"
#include "supervisor/core/notify.h"
#include "supervisor/internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/proc.h"
#include "supervisor/probe.h"

enum { ANCESTORS_MAX = 32, REST_RETRY_MS = 1000, REFUSED_INTERVAL_MS = 60000 };

/* Is the process the worker, in its group, or one of its descendants? */
static bool belongs(const struct worker *worker, pid_t pid)
{
	struct proc_info info;

	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		if (pid == worker->pid || getpgid(pid) == worker->pid)
			return true;
		if (proc_read("/proc", pid, &info) < 0)
			return false;
		pid = info.ppid;
	}
	return false;
}

/* With `fd`, `command` or `http` only that tells that it is ready. */
static bool heeds_notify(const struct worker *worker)
{
	enum ready_when when = worker->launch->policy.ready_when.when;

	return when == READY_AUTO || when == READY_NOTIFY;
}

/* Else nobody could tell why a timeout has passed and nothing follows. */
static void extend(struct worker *worker, uint64_t ms)
{
	char text[BRIEF_TEXT_MAX];

	worker_feed(worker, (struct event){ .what = EV_EXTEND, .delay_ms = ms });
	if (!worker->extended)
		sup_note(worker->s, LOG_LEVEL_INFO, "worker %" PRIu32 " (pid %d) asks for %s to start or stop "
		         "(EXTEND_TIMEOUT_USEC); this is said once", worker->slot, (int)worker->pid,
		         brief_duration(ms, text));
	worker->extended = true;
}

/* Told where it makes a worker end, and so once of each. */
static void trigger(struct worker *worker)
{
	bool leaves = worker->leaving_ms != 0;

	worker_feed(worker, (struct event){ .what = EV_UNHEALTHY, .cause = END_WATCHDOG });
	if (!leaves && worker->leaving_ms != 0)
		sup_note(worker->s, LOG_LEVEL_WARN, "worker %" PRIu32 " (pid %d) says WATCHDOG=trigger",
		         worker->slot, (int)worker->pid);
}

static void heed(struct worker *worker, const struct notify_message *message)
{
	if (message->has_status)
		memcpy(worker->status, message->status, sizeof worker->status);
	if (message->extend_usec > 0)
		extend(worker, message->extend_usec / 1000);
	if (message->ready && heeds_notify(worker))
		worker_feed(worker, (struct event){ .what = EV_READY, .how = HOW_NOTIFY });
	if (message->watchdog) {
		worker->strangers = 0;
		starved_mark(worker);
		worker_feed(worker, (struct event){ .what = EV_PING });
	}
	if (message->watchdog_trigger)
		trigger(worker);
	if (message->stopping) {
		if (worker->leaving_ms == 0)
			worker->leaving_ms = clock_ms();
		probe_stop(worker);
		worker_feed(worker, (struct event){ .what = EV_STOPPING });
	}
}

static void on_rested(uv_timer_t *timer);

static void tell_too_much(struct worker *worker)
{
	const char *who = worker->crowd < NOTIFY_BURST / 2 ? "it sends" : "other processes send";

	sup_note(worker->s, LOG_LEVEL_WARN,
	         "worker %" PRIu32 " (pid %d): %s more than %d messages in %d ms to its NOTIFY_SOCKET: what is "
	         "more than that waits, and the worker with it",
	         worker->slot, (int)worker->pid, who, NOTIFY_BURST, NOTIFY_WINDOW_MS);
}

/* Nobody reads it for so long: then the kernel's queue is full, and holds the sender up. */
static void listen_later(struct worker *worker, uint32_t ms)
{
	struct supervisor *s = worker->s;

	ear_close(&s->hearing, &worker->notify);
	worker->resting = true;
	if (!uv_is_active((uv_handle_t *)&s->notices)) {
		uv_update_time(&s->loop);
		uv_timer_start(&s->notices, on_rested, ms, 0);
	}
}

static void rest(struct worker *worker, uint32_t ms)
{
	listen_later(worker, ms);
	if (worker->rested)
		return;
	worker->rested = true;
	tell_too_much(worker);
}

/* Said at most once a minute, with the count, for a flood must not fill the log. */
static void tell_refused(struct worker *worker, pid_t pid, uid_t uid)
{
	struct supervisor *s = worker->s;
	uint64_t now = clock_ms();

	s->refused++;
	if (s->refused_ms != 0 && now - s->refused_ms < REFUSED_INTERVAL_MS)
		return;
	s->refused_ms = now;
	LOG(&s->log, LOG_NOTIFY_REFUSED, F_NUM("slot", worker->slot), F_NUM("pid", pid),
	    F_NUM("uid", uid), F_NUM("count", s->refused));
}

/* Returns false when there was nothing to read. */
static bool read_one(struct worker *worker)
{
	static struct notifysock_message datagram;
	static struct notify_message message;

	if (notifysock_receive(worker->notify_fd, &datagram) <= 0)
		return false;
	if (!belongs(worker, datagram.pid)) {
		worker->strangers++;
		tell_refused(worker, datagram.pid, datagram.uid);
		return true;
	}
	notify_parse(datagram.text, datagram.size, &message);
	heed(worker, &message);
	return true;
}

void notice_read(void *owner)
{
	struct worker *worker = owner;

	for (int turn = 0; turn < NOTIFY_TURN && !worker->gone; turn++) {
		uint32_t rest_ms, before = worker->strangers;

		if (!closer_has_room(worker->notify_fd)) { /* then another descriptor could make us wait */
			worker->strangers += NOTIFY_BURST;
			listen_later(worker, NOTIFY_WINDOW_MS);
			return;
		}
		if (!read_one(worker))
			return;
		rest_ms = notify_spend(&worker->notices, clock_ms());
		if (worker->notices.used == 1)
			worker->crowd = 0;
		worker->crowd += worker->strangers > before;
		if (rest_ms > 0 && !worker->gone) {
			rest(worker, rest_ms);
			return;
		}
	}
}

/* ---- too much of it ---- */

static void hear_again(struct worker *worker)
{
	struct supervisor *s = worker->s;

	if (ear_open(&s->hearing, &worker->notify, worker->notify_fd, notice_read, worker) == 0)
		worker->resting = false;
	else if (!uv_is_active((uv_handle_t *)&s->notices))
		uv_timer_start(&s->notices, on_rested, REST_RETRY_MS, 0);
}

static void each_resting(struct supervisor *s, void (*act)(struct worker *worker))
{
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		for (struct worker *w = s->workers[i], *next; w; w = next) {
			next = w->hash_next;
			if (w->resting)
				act(w);
		}
}

static void on_rested(uv_timer_t *timer)
{
	each_resting(timer->data, hear_again);
}

/* What it could send before its queue was full: a word that keeps it alive may be among it. */
static void read_queue(struct worker *worker)
{
	for (int turn = 0; turn < NOTIFY_TURN && !worker->gone && closer_has_room(worker->notify_fd) && read_one(worker); turn++)
		;
}

void notices_read_all(struct supervisor *s)
{
	if (uv_is_active((uv_handle_t *)&s->notices))
		each_resting(s, read_queue);
}

static struct worker *find_by_pid(struct supervisor *s, pid_t pid, pid_t group)
{
	FOR_EACH_WORKER (s, w)
		if (w->end.open && (w->pid == pid || w->pid == group))
			return w;
	return NULL;
}

/* Whose the process is, as belongs() sees it; the ancestors are read once for all workers. */
static struct worker *worker_of(struct supervisor *s, pid_t pid)
{
	struct worker *worker = NULL;
	struct proc_info info;

	for (int i = 0; !worker && i < ANCESTORS_MAX && pid > 1; i++) {
		worker = find_by_pid(s, pid, getpgid(pid));
		if (proc_read("/proc", pid, &info) < 0)
			break;
		pid = info.ppid;
	}
	return worker;
}

bool sup_ack(struct supervisor *s, pid_t pid)
{
	struct worker *worker = worker_of(s, pid);

	if (!worker || !(worker->launch->policy.cluster_activation & STYLE_EINHORN))
		return false;
	if (heeds_notify(worker))
		worker_feed(worker, (struct event){ .what = EV_READY, .how = HOW_NOTIFY });
	return true;
}

/* ---- the socket of the next worker ---- */

void notice_prepare(struct supervisor *s)
{
	const char *failed;

	/* If that fails, the next spawn tries again, and tells. */
	if (s->spare_fd < 0 && !s->stopping)
		(void)notifysock_open(s->spare_name, &s->spare_fd, &failed);
}
