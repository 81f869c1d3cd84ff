/*
 * worker - one process: started, listened to, reaped.
 *
 * GLUE. Everything it learns becomes an event of the core.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/internal.h"
#include "supervisor/os/cgroup.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/scope.h"
#include "supervisor/probe.h"

enum { READY_FD_MAX = 4096, OOM_CLAIM_MS = 1000 };

struct worker *worker_find(struct supervisor *s, uint32_t cookie)
{
	struct worker *w = s->workers[cookie % WORKER_HASH];

	while (w && w->cookie != cookie)
		w = w->hash_next;
	return w;
}

const struct worker *worker_departed(const struct supervisor *s, uint32_t cookie)
{
	const struct worker *w = s->departed;

	while (w && w->cookie != cookie)
		w = w->hash_next;
	return w;
}

static void unlink_worker(struct worker *worker)
{
	struct worker **at = &worker->s->workers[worker->cookie % WORKER_HASH];

	while (*at && *at != worker)
		at = &(*at)->hash_next;
	if (*at)
		*at = worker->hash_next;
}

static void worker_free(struct worker *worker)
{
	fd_close(&worker->pidfd);
	notifysock_close(&worker->notify_fd);
	fd_close(&worker->ready_fd);
	free(worker);
}

void workers_bury(struct supervisor *s)
{
	while (s->departed) {
		struct worker *worker = s->departed;

		s->departed = worker->hash_next;
		worker_free(worker);
	}
}

void worker_feed(struct worker *worker, struct event event)
{
	event.cookie = worker->cookie;
	sup_feed(worker->s, &event);
}

/* ---- the end ---- */

/*
 * An OOM kill is known when the counter of our cgroup, which the workers share, has grown. Another
 * process of that cgroup may have been the victim, so only a SIGKILL that nobody here sent counts,
 * and what no end has claimed OOM_CLAIM_MS after it was first seen was none of a worker.
 */
static void look_for_oom(struct supervisor *s)
{
	uint64_t count, now = clock_ms();

	if (s->oom_fd < 0 || cgroup_oom_read(s->oom_fd, &count) < 0)
		return;
	if (count > s->oom_seen) {
		s->oom_seen = count;
		s->oom_seen_ms = now;
	} else if (now > s->oom_seen_ms + OOM_CLAIM_MS) {
		s->oom_kills = count;
	}
}

static bool killed_by_oom(struct worker *worker)
{
	struct supervisor *s = worker->s;
	struct instance_view view;

	if (worker->reaped.signal != SIGKILL || s->oom_kills == UINT64_MAX)
		return false;
	if (!pool_instance(s->pool, worker->cookie, &view) || view.state == INSTANCE_KILLED)
		return false;
	look_for_oom(s);
	if (s->oom_seen <= s->oom_kills)
		return false;
	s->oom_kills++;
	return true;
}

static void on_end(void *owner)
{
	struct worker *worker = owner;
	int rc = reap_peek(worker->pidfd, &worker->reaped);

	if (rc == 0)
		return;
	if (rc > 0) {
		/* While the zombie holds its number the group can not be anybody else's. */
		if (worker->launch->policy.stop_kill == SCOPE_GROUP)
			reap_signal_group(worker->pid, SIGKILL);
		rc = reap(worker->pidfd, &worker->reaped);
	}
	if (rc < 0 && rc != -ECHILD)
		return; /* the set is level-triggered: it is tried again */
	ear_close(&worker->s->hearing, &worker->end);
	if (worker->output)
		output_drain(worker->output);
	worker_feed(worker, (struct event){
			     .what = EV_ENDED,
			     .end = {
				     .code = worker->reaped.code,
				     .signal = worker->reaped.signal,
				     .core = worker->reaped.core,
				     .oom = killed_by_oom(worker),
			     },
		     });
}

static void close_ears(struct worker *worker)
{
	struct hearing *h = &worker->s->hearing;

	ear_close(h, &worker->end);
	ear_close(h, &worker->notify);
	ear_close(h, &worker->ready);
	server_forget(worker);
}

void worker_told(struct worker *worker)
{
	struct supervisor *s = worker->s;

	worker->gone = true;
	probe_stop(worker);
	steer_leave_seat(s, worker);
	unlink_worker(worker);
	if (worker->output)
		output_close(worker->output);
	worker->output = NULL;
	close_ears(worker);
	worker->hash_next = s->departed;
	s->departed = worker;
}

/* ---- what it says ---- */

static void on_ready_fd(void *owner)
{
	struct worker *worker = owner;
	char text[READY_FD_MAX];
	ssize_t n = read(worker->ready_fd, text, sizeof text);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && !memchr(text, '\n', (size_t)n))
		return;
	ear_close(&worker->s->hearing, &worker->ready);
	fd_close(&worker->ready_fd);
	if (n > 0)
		worker_feed(worker, (struct event){ .what = EV_READY, .how = HOW_FD });
}

/* ---- the beginning ---- */

int worker_watch(struct worker *worker, const char **failed)
{
	struct hearing *h = &worker->s->hearing;
	int rc;

	*failed = "watch";
	rc = ear_open(h, &worker->end, worker->pidfd, on_end, worker);
	if (rc == 0 && worker->notify_fd >= 0)
		rc = ear_open(h, &worker->notify, worker->notify_fd, notice_read, worker);
	if (rc == 0 && worker->ready_fd >= 0)
		rc = ear_open(h, &worker->ready, worker->ready_fd, on_ready_fd, worker);
	return rc;
}

struct worker *worker_new(struct supervisor *s, uint32_t slot, uint32_t cookie)
{
	struct worker *worker = calloc(1, sizeof *worker);

	if (!worker)
		return NULL;
	worker->s = s;
	worker->slot = slot;
	worker->cookie = cookie;
	worker->pidfd = worker->notify_fd = worker->ready_fd = worker->server.image.pidfd = -1;
	worker->hash_next = s->workers[cookie % WORKER_HASH];
	s->workers[cookie % WORKER_HASH] = worker;
	return worker;
}

/* A process that can not be watched must not live on. */
static void abandon(struct worker *worker)
{
	struct reaped reaped;

	if (worker->pidfd >= 0) {
		reap_signal_group(worker->pid, SIGKILL);
		reap_signal(worker->pidfd, SIGKILL);
		if (reap_wait(worker->pidfd, KILLED_MS, &reaped) == 0)
			strangers_soon(worker->s);
	}
	worker_told(worker);
}

int worker_start(struct supervisor *s, uint32_t slot, uint32_t cookie, uint32_t generation,
                 const char **failed)
{
	const struct launch *launch = launch_find(s, generation);
	struct worker *worker = worker_new(s, slot, cookie);
	struct spawned spawned;
	int rc;

	*failed = "memory";
	if (!worker)
		return -ENOMEM;
	worker->launch = launch;
	worker->generation = generation;
	worker->seat = steer_take_seat(s, slot, cookie);
	worker->handed_before = steer_handed(s, worker->seat);
	rc = vacancy_end(s, slot, failed);
	if (rc == 0)
		rc = launch_spawn(worker, launch, &spawned, failed);
	if (rc == 0) {
		worker->spawned_ms = clock_ms();
		rc = worker_watch(worker, failed);
	}
	if (rc < 0)
		abandon(worker);
	return rc;
}

/* ---- all of them ---- */

/* At the very end: whoever is left behind keeps no handle open. */
void workers_abandon(struct supervisor *s)
{
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		while (s->workers[i])
			worker_told(s->workers[i]);
	hear_stop(&s->hearing);
}

void workers_policy(struct supervisor *s)
{
	FOR_EACH_WORKER (s, w)
		if (w->output)
			output_set_overflow(w->output, s->policy.log_overflow);
}

/* Children that somebody here waits for by their pidfd. */
static bool is_ours(void *context, pid_t pid)
{
	struct supervisor *s = context;

	if (pid == upgrade_trial(s))
		return true;
	FOR_EACH_WORKER (s, w)
		if ((w->pid == pid && w->end.open) || probe_command(w) == pid)
			return true;
	return false;
}

/* Orphans that became our children. A worker that has ended hides those behind it: next time. */
int worker_reap_strangers(struct supervisor *s)
{
	pid_t hiding = 0;
	struct reap_who who = { .is_ours = is_ours, .told = sup_stranger, .context = s };
	int reaped = reap_strangers(&who, STRANGERS_TURN, &hiding);

	return hiding ? STRANGERS_TURN : reaped;
}
