/*
 * keep - what workers change on a socket that all share is put back.
 *
 * GLUE. Looked at whenever clusterd has woken up for anything, and before a worker
 * is started; nothing wakes it up for this. The backlog is the policy's. Whether
 * accept(2) waits is the policy's too, unless [listen] nonblock = keep leaves it,
 * and with it time limits and buffer sizes, to the workers.
 *
 * When it has woken up the paths of unix sockets and of the record are looked at too.
 *
 * Left alone: sockets that one worker has to itself, the options of a socket that
 * took the place of one which its program had made (adopt), and the backlog and
 * the buffers of sockets that clusterd was started with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/control.h"
#include "supervisor/internal.h"
#include "supervisor/metrics.h"
#include "supervisor/orphans.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/reuseport.h"

enum { TELL_MS = 60000, REPAIRS_TOLD = 200 };

static enum listen_blocking blocking_of(const struct sock *sock)
{
	if (sock->config.adopt || sock->config.nonblock == NONBLOCK_KEEP)
		return LISTEN_AS_WORKERS_LIKE;
	return sock->config.nonblock == NONBLOCK_YES ? LISTEN_NONBLOCK : LISTEN_BLOCK;
}

/* A program may call listen(2) with a number of its own and mean no harm: that is no warning. */
static void tell(struct supervisor *s, struct sock *sock, unsigned changed)
{
	static const char *const names[] = { "the backlog", "the flags", "the time limits", "the buffer sizes" };
	char address[ADDRESS_TEXT_MAX], what[80] = "";
	bool harm = changed != LISTEN_BACKLOG;
	uint64_t now = clock_ms();
	size_t used = 0;

	if (harm && sock->kept_told_ms > 0 && now - sock->kept_told_ms < TELL_MS)
		return;
	if (harm)
		sock->kept_told_ms = now;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (changed & 1U << i)
			used += (size_t)snprintf(what + used, sizeof what - used, "%s%s", used ? ", " : "",
			                         names[i]);
	address_format(&sock->bound, address);
	LOG_AT(&s->log, LOG_LISTEN_KEPT, harm ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
	       F_TEXT("listener", sock->config.name), F_TEXT("address", address), F_TEXT("changed", what));
}

static void keep(struct supervisor *s, struct sock *sock)
{
	enum listen_blocking blocking = blocking_of(sock);
	bool first = !sock->kept;
	const char *failed;
	int rc = 0;

	if (first)
		rc = listen_keep_init(sock->listening.fd, sock->inherited ? 0 : (int)sock->config.backlog,
		                      blocking != LISTEN_AS_WORKERS_LIKE && !sock->inherited, &sock->keep,
		                      &failed);
	if (rc < 0)
		return; /* the next time; it serves as it is */
	sock->kept = true;
	rc = listen_keep(sock->listening.fd, &sock->keep, blocking, &failed);
	if (rc > 0 && first) /* a reload has changed the backlog, or it is asked for the first time */
		rc &= ~LISTEN_BACKLOG;
	if (rc > 0)
		tell(s, sock, (unsigned)rc);
}

void keep_all(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && !s->socks[i].group && s->socks[i].listening.fd >= 0)
			keep(s, &s->socks[i]);
}

/* Another backlog is in force from now on. */
void keep_policy(struct supervisor *s)
{
	const char *failed;

	for (uint32_t i = 0; i < s->policy.listener_count; i++) {
		const struct listener *listener = &s->policy.listeners[i];
		struct sock *sock = sock_of(s, listener);

		if (!sock || sock->config.backlog == listener->backlog)
			continue;
		sock->config.backlog = listener->backlog;
		sock->kept = false;
		if (sock->group && reuseport_set_backlog(sock->group, (int)listener->backlog, &failed) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: backlog: %s failed", listener->name, failed);
	}
}

/* ---- one that was shut down ---- */

/* The slot whose worker has this seat; the seat of a steered group moves from worker to worker. */
static bool slot_of(struct supervisor *s, const struct sock *sock, uint32_t seat, uint32_t *ret)
{
	uint32_t cookie = seat < s->steer.size ? s->steer.owner[seat] : 0;
	const struct worker *worker = cookie ? worker_find(s, cookie) : NULL;

	*ret = sock->mode == BALANCE_ROUND_ROBIN && worker ? worker->slot : seat;
	return sock->group && (sock->mode != BALANCE_ROUND_ROBIN || worker);
}

/* A worker that does it all the time must not fill the log. */
static bool may_tell(struct supervisor *s, struct sock *sock, const char *address)
{
	uint64_t now = clock_ms();

	if (sock->repair_told_ms == 0 || now - sock->repair_told_ms >= TELL_MS) {
		sock->repair_told_ms = now;
		sock->repairs_told = 0;
	}
	if (sock->repairs_told < REPAIRS_TOLD)
		return ++sock->repairs_told > 0;
	if (sock->repairs_told++ == REPAIRS_TOLD)
		sup_note(s, LOG_LEVEL_WARN, "%s is shut down again and again: that is told %d times a minute, and "
		         "counted by clusterctl status", address, REPAIRS_TOLD);
	return false;
}

void sup_listen_repaired(struct supervisor *s, struct sock *sock, uint32_t seat)
{
	char address[ADDRESS_TEXT_MAX], by[24];
	uint32_t slot;
	bool known = slot_of(s, sock, seat, &slot);

	address_format(&sock->bound, address);
	if (!may_tell(s, sock, address))
		return;
	snprintf(by, sizeof by, "worker %" PRIu32, slot);
	LOG(&s->log, LOG_LISTEN_REPAIRED, F_TEXT("listener", sock->config.name),
	    F_TEXT("address", address), F_TEXT_IF(known, "by", by));
}

/* ---- a unix path that is gone ---- */

/* A new socket is of no use to workers that have the old one, so that is left to who rolls them. */
static void look_for_path(struct supervisor *s, struct sock *sock)
{
	bool lost = sock_path_lost(sock);
	char address[ADDRESS_TEXT_MAX];

	if (lost && !sock->lost) {
		address_format(&sock->bound, address);
		sup_note(s, LOG_LEVEL_ERROR, "listener %s %s: its file was removed, and nobody can connect any more; "
		         "clusterctl roll makes it again", sock->config.name, address);
	}
	sock->lost = lost;
}

static void look_for_paths(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		look_for_path(s, &s->socks[i]);
}

/* ---- the control socket ---- */

static void keep_control(struct supervisor *s)
{
	char problem[CONTROL_PROBLEM_MAX];
	int rc = control_keep(s->control, &s->policy, problem);

	if (rc > 0)
		sup_note(s, LOG_LEVEL_WARN, "control socket %s had been removed; it is there again",
		         control_path(s->control));
	else if (rc < 0)
		sup_note(s, LOG_LEVEL_ERROR, "control socket: %s", problem);
}

static void keep_metrics(struct supervisor *s)
{
	char problem[METRICS_PROBLEM_MAX];
	int rc = metrics_keep(s->metrics, &s->policy, problem);

	if (rc > 0)
		sup_note(s, LOG_LEVEL_WARN, "the socket of [metrics] listen had been removed; it is there again");
	else if (rc < 0)
		sup_note(s, LOG_LEVEL_ERROR, "the socket of [metrics] listen had been removed: %s", problem);
}

static void on_awake(uv_check_t *check)
{
	keep_all(check->data);
	look_for_paths(check->data);
	keep_control(check->data);
	keep_metrics(check->data);
	record_keep(check->data);
}

void keep_start(struct supervisor *s)
{
	uv_check_init(&s->loop, &s->awake);
	s->awake.data = s;
	uv_check_start(&s->awake, on_awake);
	uv_unref((uv_handle_t *)&s->awake);
}
