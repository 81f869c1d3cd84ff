/*
 * inspect - answers what the control socket and the metrics ask.
 */
#include "supervisor/inspect.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "config/files.h"
#include "supervisor/orphans.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/filelimit.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/os/unixdiag.h"
#include "supervisor/reload_plan.h"

enum {
	LOOK_MIN_MS = 100,  /* a share of CPU over less is noise: the kernel counts in ticks */
	LOOK_MOVE_MS = 900, /* `top` looks every second */
};

void sup_look(struct supervisor *s, struct sup_view *ret)
{
	uint64_t now = clock_ms();

	*ret = (struct sup_view){
		.name = s->name,
		.policy_file = s->options->policy_file ? s->options->policy_file : "",
		.pid = getpid(),
		.up_ms = now - s->started_ms,
		.started_wall_ms = s->started_wall_ms,
		.policy_wall_ms = s->policy_wall_ms,
		.policy_age_ms = now - s->policy_ms,
		.policy_back = s->policy_back,
		.policy_changed_wall_ms = s->policy_changed_wall_ms,
		.lines_lost = log_lost(&s->log),
		.log_problem = log_problem(&s->log),
		.output_lost = output_lost(&s->log),
		.upgrade_problem = s->upgrade_problem,
	};
	ret->listeners = s->policy.listener_count;
	pool_view(s->pool, &ret->pool);
}

uint32_t sup_workers_policy(struct supervisor *s)
{
	struct pool_view view;
	uint32_t workers = s->scaled ? workers_wanted(&s->policy) : 0;

	pool_view(s->pool, &view);
	return workers == view.wanted ? 0 : workers;
}

const char *balance_word(enum balance mode)
{
	switch (mode) {
	case BALANCE_SHARED: return "shared";
	case BALANCE_HASH: return "hash";
	case BALANCE_ROUND_ROBIN:
	case BALANCE_ROUND_ROBIN_OR_HASH: break;
	}
	return "round-robin";
}

static void add_queue(int fd, int64_t *queue, int64_t *limit)
{
	uint32_t waiting, most;

	if (fd < 0 || listen_queue(fd, &waiting, &most) < 0)
		return;
	*queue = (*queue < 0 ? 0 : *queue) + waiting;
	*limit = (*limit < 0 ? 0 : *limit) + most;
}

static void unix_queue(int fd, struct sup_listener *ret)
{
	uint32_t waiting, most;

	if (fd < 0 || unixdiag_queue(fd, &waiting, &most) < 0)
		return;
	ret->queue = waiting;
	ret->limit = most;
}

/* As place_sockets() of errand.c counts: what is adopted has no number of ours. */
static int fd_of(const struct supervisor *s, uint32_t index)
{
	int fd = FIRST_FD;

	for (uint32_t i = 0; i < index; i++)
		fd += !s->policy.listeners[i].adopt;
	return s->policy.listeners[index].adopt ? -1 : fd;
}

/* No connection is given to a seat that is not on the list; while nobody is ready they wait in all. */
static bool has_room(const struct supervisor *s, const struct sock *sock, uint32_t seat)
{
	return sock->mode != BALANCE_ROUND_ROBIN || s->steer.count == 0 || s->steer.place[seat] != 0;
}

static void group_queue(const struct supervisor *s, const struct sock *sock, struct sup_listener *ret)
{
	int64_t none = 0;

	for (uint32_t seat = 0; seat < s->steer.size; seat++)
		add_queue(reuseport_fd(sock->group, seat), &ret->queue, has_room(s, sock, seat) ? &ret->limit : &none);
}

bool sup_listener(struct supervisor *s, uint32_t index, struct sup_listener *ret)
{
	const struct sock *sock = NULL;

	if (index < s->policy.listener_count)
		sock = sock_of(s, &s->policy.listeners[index]);
	if (!sock)
		return false;
	*ret = (struct sup_listener){
		.fd = fd_of(s, index),
		.balance = balance_word(sock->mode),
		.queue = -1,
		.limit = -1,
		.repaired = sock->repaired,
		.lost = sock_path_lost(sock),
	};
	memcpy(ret->name, sock->config.name, sizeof ret->name);
	address_format(&sock->home, ret->address);
	if (sock->home.kind == ADDRESS_UNIX)
		unix_queue(sock->listening.fd, ret);
	else if (!sock->group)
		add_queue(sock->listening.fd, &ret->queue, &ret->limit);
	else
		group_queue(s, sock, ret);
	return true;
}

/* Since when it has been in its state. */
static uint64_t state_since(const struct worker *worker, const struct instance_view *view)
{
	if (view->state == INSTANCE_KILLED)
		return view->killed_ms;
	if (view->state > INSTANCE_READY && worker->leaving_ms)
		return worker->leaving_ms;
	return view->ready_ms ? view->ready_ms : view->spawned_ms;
}

static void look_at_current(struct supervisor *s, struct worker *worker, struct sup_slot *ret)
{
	struct instance_view view;

	if (!pool_instance(s->pool, worker->cookie, &view))
		return;
	ret->pid = worker->pid;
	ret->state = view.state;
	ret->state_ms = clock_ms() - state_since(worker, &view);
	ret->status = worker->status;
	if (worker->accepting.trial_ms > 0)
		ret->left_out_ms = clock_ms() - worker->accepting.since_ms + 1;
}

static void look_at_queue(struct supervisor *s, const struct worker *worker, struct sup_slot *ret)
{
	int64_t limit = -1;

	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && s->socks[i].group && reload_names(&worker->launch->policy, &s->socks[i]))
			add_queue(socket_fd(&s->socks[i], worker->slot, worker->seat), &ret->queue, &limit);
	/* Of a seat that is somebody else's it has got nothing. */
	if (worker->seat < s->steer.size && s->steer.owner[worker->seat] == worker->cookie)
		ret->handed += steer_handed(s, worker->seat) - worker->handed_before;
}

bool sup_slot(struct supervisor *s, uint32_t slot, struct sup_slot *ret)
{
	struct worker *current, *next;

	*ret = (struct sup_slot){ .queue = -1, .status = "",
		                  .last_line = "", .problem = "", .decision = "" };
	if (!pool_slot(s->pool, slot, &ret->slot))
		return false;
	ret->starts = s->memory[slot].starts;
	ret->ends = s->memory[slot].unasked;
	if (s->memory[slot].last_line)
		ret->last_line = s->memory[slot].last_line;
	if (s->memory[slot].problem)
		ret->problem = s->memory[slot].problem;
	if (s->memory[slot].decision)
		ret->decision = s->memory[slot].decision;
	current = ret->slot.cookie ? worker_find(s, ret->slot.cookie) : NULL;
	next = ret->slot.next_cookie ? worker_find(s, ret->slot.next_cookie) : NULL;
	ret->handed = s->memory[slot].handed;
	if (current) {
		look_at_current(s, current, ret);
		look_at_queue(s, current, ret);
	}
	ret->next_pid = next ? next->pid : 0;
	return true;
}

/*
 * The share of a CPU is measured since the last look; that moves on when it lies far enough
 * back, so that a scrape and `top` do not spoil each other's figures.
 */
bool sup_usage(struct supervisor *s, uint32_t slot, struct sup_usage *ret)
{
	struct slot_view view;
	struct proc_info info;
	struct worker *worker;
	uint64_t since_ms, now_ms = clock_ms();

	if (!pool_slot(s->pool, slot, &view) || view.cookie == 0)
		return false;
	worker = worker_find(s, view.cookie);
	if (!worker || proc_read("/proc", worker->pid, &info) < 0)
		return false;
	since_ms = now_ms - worker->last_look_ms;
	*ret = (struct sup_usage){ .rss_kb = (int64_t)(info.rss_bytes / 1024),
		                   .cpu_ms = info.user_ms + info.sys_ms,
		                   .cpu_permille = -1 };
	if (since_ms >= LOOK_MIN_MS && ret->cpu_ms >= worker->last_cpu_ms)
		ret->cpu_permille = (int64_t)((ret->cpu_ms - worker->last_cpu_ms) * 1000 / since_ms);
	if (since_ms >= LOOK_MOVE_MS) {
		worker->last_cpu_ms = (uint32_t)ret->cpu_ms;
		worker->last_look_ms = now_ms;
	}
	return true;
}

const struct policy *sup_policy(struct supervisor *s)
{
	return &s->policy;
}

uint64_t sup_now_ms(struct supervisor *s)
{
	(void)s;
	return clock_ms();
}

struct uv_loop_s *sup_loop(struct supervisor *s)
{
	return &s->loop;
}

void sup_request(struct supervisor *s, const struct event *event)
{
	bool kills = event->fast || s->stop_asked;

	if (event->what == EV_STOP && (!s->stop_asked || !s->stop_kills)) {
		s->stop_asked = true;
		s->stop_kills = kills;
		sup_stopping(s);
		sup_note_stop(s, kills);
	}
	if (event->what == EV_STOP)
		orphans_stop(s, kills);
	sup_feed(s, event);
}

_Static_assert(WORKERS_MAX == 16384, "a text says 16384");

static int scale(struct supervisor *s, uint32_t count, bool keep, const char *by, const char **failed)
{
	struct pool_view view;
	int rc = 0;

	*failed = "the cluster is stopping";
	if (s->stopping)
		return -ECANCELED;
	pool_view(s->pool, &view);
	*failed = "more workers than 16384";
	if (count > WORKERS_MAX)
		return -EINVAL;
	*failed = STEER_NO_ROOM;
	if (count > view.wanted && count > steer_room(s))
		return -EINVAL;
	*failed = "no memory";
	if (sup_pool_grow(s, count) < 0)
		return -ENOMEM;
	filelimit_raise(policy_files(&s->policy, count));
	if (count > view.wanted)
		rc = steer_add_slots(s, view.wanted, count, failed);
	if (rc < 0)
		return rc;
	s->scaled = true;
	s->scaled_by = by;
	sup_request(s, &(struct event){ .what = EV_SCALE, .count = count, .keep = keep });
	return 0;
}

int sup_scale(struct supervisor *s, uint32_t count, const char *by, const char **failed)
{
	return scale(s, count, false, by, failed);
}

int sup_scale_back(struct supervisor *s, uint32_t count, const char **failed)
{
	return scale(s, count, true, "rollback", failed);
}

uint32_t sup_signal(struct supervisor *s, uint32_t slot, int signo)
{
	uint32_t sent = 0;

	FOR_EACH_WORKER (s, w)
		if ((slot == ALL_SLOTS || w->slot == slot) && w->end.open)
			sent += server_signal(w, signo) == 0;
	return sent;
}

int sup_reopen(struct supervisor *s)
{
	return log_reopen(&s->log, s->policy.log_file);
}

pid_t sup_pid(struct supervisor *s, uint32_t cookie)
{
	const struct worker *worker = cookie ? worker_find(s, cookie) : NULL;

	return worker ? worker->pid : 0;
}

const char *sup_spawn_step(const struct supervisor *s)
{
	return s->spawn_step ? s->spawn_step : "";
}

struct metrics *sup_metrics(struct supervisor *s)
{
	return s->metrics;
}
