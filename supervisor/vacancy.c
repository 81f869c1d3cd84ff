/*
 * vacancy - slots of a hash group that are to have no worker, or none for long.
 *
 * GLUE. The kernel's hash gives every socket of the group its share, and nobody can be left out but by
 * closing his. A slot that is drained, held, was given up or is to be respawned much later loses its
 * socket when its last worker has gone, and has one again before the next worker is spawned. The last
 * one of a group stays open: new connections wait there instead of being refused, and it becomes that of
 * the slot whose worker is spawned next.
 *
 * In the roll of a reload that adds or removes a listener the slots whose workers lack it have no socket
 * in its group either: that comes with the first worker that has it, and goes with the last.
 */
#include "supervisor/internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/hangup.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/reload_plan.h"

/* Until the respawn: a connection that waits longer is as good as lost, and all that come would wait. */
enum { LONG_MS = 1000 };

static bool hashed(const struct sock *sock)
{
	return sock->in_use && sock->group && sock->mode == BALANCE_HASH;
}

void vacancy_look(struct supervisor *s)
{
	s->steer.vacancy = true;
}

static bool idle(const struct slot_view *view)
{
	return view->state == SLOT_DRAINED || view->state == SLOT_HELD || view->state == SLOT_RETIRED ||
	       (view->state == SLOT_BACKOFF && view->due_ms >= clock_ms() + LONG_MS);
}

static bool empty(const struct slot_view *view)
{
	return !view->cookie && !view->next_cookie && !view->old;
}

static bool is_empty(const struct supervisor *s, uint32_t slot)
{
	struct slot_view view;

	return pool_slot(s->pool, slot, &view) && empty(&view);
}

static bool lacks(const struct supervisor *s, uint32_t slot, const struct sock *sock)
{
	struct instance_view view;
	bool any = false;

	if (reload_all_name(s, sock))
		return false;
	FOR_EACH_WORKER (s, w) {
		if (w->slot != slot || !pool_instance(s->pool, w->cookie, &view))
			continue;
		if (reload_names(&w->launch->policy, sock))
			return false;
		any = true;
	}
	return any;
}

static bool deserted(const struct supervisor *s, uint32_t slot, const struct sock *sock)
{
	return is_empty(s, slot) || lacks(s, slot, sock);
}

static bool vacant(const struct supervisor *s, uint32_t slot, const struct sock *sock)
{
	struct slot_view view;

	return (pool_slot(s->pool, slot, &view) && idle(&view) && empty(&view)) || lacks(s, slot, sock);
}

bool vacancy_lacks(const struct supervisor *s, const struct sock *sock, uint32_t slot)
{
	return sock->mode == BALANCE_HASH && lacks(s, slot, sock);
}

/* The end of a worker that was replaced is no reason to look at all slots: a roll has thousands. */
static bool may_vacate(const struct supervisor *s, const struct report *report)
{
	struct slot_view view;

	return report->next == NEXT_RETIRE || (report->next == NEXT_RESPAWN && report->delay_ms >= LONG_MS) ||
	       (report->next == NEXT_NONE && pool_slot(s->pool, report->slot, &view) && idle(&view));
}

static bool ends(const struct report *report)
{
	return report->what == REPORT_EXIT || report->what == REPORT_SPAWN_ERROR;
}

static void vacate(struct supervisor *s, struct sock *sock, uint32_t slot)
{
	const char *failed;

	if (reuseport_open(sock->group) == 1)
		s->steer.vacant_last = true;
	else
		reuseport_remove(sock->group, slot, &failed);
}

static void look(struct supervisor *s, struct sock *sock)
{
	for (uint32_t slot = 0; slot < s->slots_max; slot++)
		if (reuseport_fd(sock->group, slot) >= 0 && vacant(s, slot, sock))
			vacate(s, sock, slot);
}

/* The slot will have a worker with it, if the roll goes on: one that has failed is tried again. */
static bool comes(const struct supervisor *s, const struct sock *sock)
{
	const struct launch *launch = launch_find(s, s->generation);

	return launch && reload_names(&launch->policy, sock);
}

static void vacate_now(struct supervisor *s, uint32_t slot, bool all)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (hashed(sock) && reuseport_fd(sock->group, slot) >= 0 &&
		    (all || (!comes(s, sock) && lacks(s, slot, sock))))
			vacate(s, sock, slot);
	}
}

/* A slot is left before that is told: who is told so finds the others. */
void vacancy_report(struct supervisor *s, const struct report *report)
{
	bool vacates = report->what == REPORT_DRAINED || (ends(report) && may_vacate(s, report));

	if (vacates || ends(report))
		vacate_now(s, report->slot, vacates && is_empty(s, report->slot));
	if (vacates || report->what == REPORT_GIVE_UP || report->what == REPORT_ROLL_END ||
	    (report->what == REPORT_READY && s->steer.vacant_last))
		vacancy_look(s);
}

void vacancy_settle(struct supervisor *s)
{
	if (!s->steer.vacancy)
		return;
	s->steer.vacancy = s->steer.vacant_last = false;
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (hashed(&s->socks[i]))
			look(s, &s->socks[i]);
}

/* What waits in its queue goes with it. False if that slot has a socket already. */
static bool give(struct supervisor *s, struct sock *sock, uint32_t from, uint32_t to)
{
	const char *failed;

	if (reuseport_move(sock->group, from, to) < 0)
		return false;
	if (s->hangup_fd >= 0) {
		hangup_forget(s->hangup_fd, reuseport_fd(sock->group, to), &failed);
		sockets_watch_slot(s, sock, to);
	}
	return true;
}

/* The slot of the only socket there is, or ALL_SLOTS. */
static uint32_t last_open(const struct sock *sock)
{
	uint32_t slot = 0;

	if (reuseport_open(sock->group) != 1)
		return ALL_SLOTS;
	while (reuseport_fd(sock->group, slot) < 0)
		slot++;
	return slot;
}

/* The last socket, if the slot that has it is `left`: whoever waits there waits for this worker. */
static int open_slot(struct supervisor *s, struct sock *sock, uint32_t slot,
                     bool (*left)(const struct supervisor *, uint32_t, const struct sock *), const char **failed)
{
	uint32_t last = hashed(sock) ? last_open(sock) : ALL_SLOTS;

	if (last != ALL_SLOTS && left(s, last, sock) && give(s, sock, last, slot))
		return 0;
	return steer_open(s, sock, slot, failed);
}

int vacancy_open(struct supervisor *s, struct sock *sock, uint32_t slot, const char **failed)
{
	return open_slot(s, sock, slot, vacant, failed);
}

int vacancy_end(struct supervisor *s, uint32_t slot, const char **failed)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!hashed(sock))
			continue;
		if (!lacks(s, slot, sock))
			rc = reuseport_fd(sock->group, slot) < 0 ? open_slot(s, sock, slot, deserted, failed) : 0;
		else if (reuseport_fd(sock->group, slot) >= 0)
			vacate(s, sock, slot);
	}
	return rc;
}

/* The port stays ours when the slots that go were all that had a socket: slot 0 gets that one. */
bool vacancy_may_close(struct supervisor *s, struct sock *sock, uint32_t slot)
{
	return !hashed(sock) || reuseport_fd(sock->group, slot) < 0 || reuseport_open(sock->group) > 1 ||
	       !give(s, sock, slot, 0);
}
