#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/core/tlv.h"
#include "supervisor/metrics.h"
#include "supervisor/os/populate.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/probe.h"
#include "supervisor/state.h"

enum { STATE_ROOM = 65536 };

static void put_launch(struct tlv_writer *w, const struct launch *launch, struct policy_text *known)
{
	size_t mark = tlv_begin(w, STATE_LAUNCH);

	tlv_put_number(w, STATE_GENERATION, launch->generation);
	tlv_put_text(w, STATE_LAUNCH_PATH, launch->path);
	tlv_put(w, STATE_LAUNCH_IDENTITY, &launch->identity, sizeof launch->identity);
	state_put_policy(w, &launch->policy, known);
	tlv_end(w, mark);
}

static void put_group(struct tlv_writer *w, const struct sock *sock)
{
	struct reuseport_image image = reuseport_export(sock->group);

	tlv_put(w, STATE_SOCK_IMAGE, &image, sizeof image);
	for (uint32_t slot = 0; slot < image.params.capacity; slot++) {
		int32_t fd = reuseport_fd(sock->group, slot);

		tlv_put(w, STATE_SOCK_FDS, &fd, sizeof fd);
	}
}

static void put_sock(struct tlv_writer *w, const struct sock *sock)
{
	size_t mark = tlv_begin(w, STATE_SOCK);

	tlv_put(w, STATE_SOCK_LISTENER, &sock->config, sizeof sock->config);
	tlv_put(w, STATE_SOCK_LISTENING, &sock->listening, sizeof sock->listening);
	tlv_put(w, STATE_SOCK_BOUND, &sock->bound, sizeof sock->bound);
	tlv_put_number(w, STATE_SOCK_MODE, sock->mode);
	tlv_put(w, STATE_SOCK_FORM, &sock->form, sizeof sock->form);
	tlv_put(w, STATE_SOCK_HOME, &sock->home, sizeof sock->home);
	tlv_put_number(w, STATE_SOCK_FLAGS, (uint64_t)sock->inherited | (uint64_t)sock->variant << 1 |
	                                            (uint64_t)sock->adopted << 2 |
	                                            (uint64_t)sock->taken_back << 3);
	tlv_put_number(w, STATE_SOCK_REPAIRED, sock->repaired);
	if (sock->group)
		put_group(w, sock);
	tlv_end(w, mark);
}

static void put_slot(struct tlv_writer *w, struct supervisor *s, uint32_t slot)
{
	const struct slot_memory *m = &s->memory[slot];
	size_t mark = tlv_begin(w, STATE_SLOT);
	struct end_record end;

	tlv_put_number(w, STATE_SLOT_INDEX, slot);
	tlv_put_number(w, STATE_SLOT_STARTS, m->starts);
	tlv_put_number(w, STATE_SLOT_UNASKED, m->unasked);
	tlv_put_number(w, STATE_SLOT_HANDED, m->handed);
	for (uint32_t i = ENDS_MAX; i > 0; i--)
		if (sup_end(s, slot, i - 1, &end))
			tlv_put(w, STATE_SLOT_ENDS, &end, sizeof end);
	if (m->last_line)
		tlv_put_text(w, STATE_SLOT_LAST_LINE, m->last_line);
	if (m->problem)
		tlv_put_text(w, STATE_SLOT_PROBLEM, m->problem);
	if (m->decision)
		tlv_put_text(w, STATE_SLOT_DECISION, m->decision);
	tlv_end(w, mark);
}

static void put_left_out(struct tlv_writer *w, const struct accepting *a)
{
	const uint64_t image[] = { a->since_ms, a->back_ms, a->trial_ms, a->out };

	if (a->trial_ms > 0)
		tlv_put(w, STATE_WORKER_LEFT_OUT, image, sizeof image);
}

static void put_worker(struct tlv_writer *w, const struct worker *worker)
{
	size_t mark = tlv_begin(w, STATE_WORKER);
	struct probe_image probed;

	tlv_put_number(w, STATE_WORKER_COOKIE, worker->cookie);
	tlv_put_number(w, STATE_WORKER_SLOT, worker->slot);
	tlv_put_number(w, STATE_WORKER_SEAT, worker->seat);
	tlv_put_number(w, STATE_WORKER_HANDED, worker->handed_before);
	tlv_put_number(w, STATE_WORKER_GENERATION, worker->generation);
	tlv_put_number(w, STATE_WORKER_PID, (uint64_t)worker->pid);
	tlv_put_number(w, STATE_WORKER_PIDFD, (uint64_t)worker->pidfd);
	tlv_put_number(w, STATE_WORKER_NOTIFY_FD, (uint64_t)worker->notify_fd);
	tlv_put_number(w, STATE_WORKER_READY_FD, (uint64_t)(worker->ready.open ? worker->ready_fd : -1));
	tlv_put_number(w, STATE_WORKER_SPAWNED_MS, worker->spawned_ms);
	tlv_put_number(w, STATE_WORKER_LEAVING_MS, worker->leaving_ms);
	tlv_put_text(w, STATE_WORKER_STATUS, worker->status);
	tlv_put_number(w, STATE_WORKER_STANDING, steer_standing(worker));
	if (worker->server.end.open || worker->server.image.several)
		tlv_put(w, STATE_WORKER_SERVER, &worker->server.image, sizeof worker->server.image);
	put_left_out(w, &worker->accepting);
	probe_export(worker, &probed);
	if (probed.due_ms > 0)
		tlv_put(w, STATE_WORKER_PROBED, &probed, sizeof probed);
	if (worker->output)
		state_put_output(w, worker->output);
	tlv_end(w, mark);
}

static void put_adoption(struct tlv_writer *w, const struct adoption *a)
{
	size_t mark = tlv_begin(w, STATE_ADOPTION);

	tlv_put_number(w, STATE_ADOPTION_COOKIE, a->cookie);
	tlv_put_number(w, STATE_ADOPTION_SLOT, a->slot);
	tlv_put_number(w, STATE_ADOPTION_SEAT, a->seat);
	tlv_put_number(w, STATE_ADOPTION_FD, (uint64_t)a->notify_fd);
	tlv_put_number(w, STATE_ADOPTION_GIVEN, a->given);
	tlv_end(w, mark);
}

static void put_workers(struct tlv_writer *w, struct supervisor *s)
{
	FOR_EACH_WORKER (s, worker)
		if (!worker->gone)
			put_worker(w, worker);
}

static void put_numbers(struct tlv_writer *w, struct supervisor *s)
{
	tlv_put_number(w, STATE_VERSION_TAG, STATE_VERSION);
	tlv_put_text(w, STATE_NAME, s->name);
	tlv_put_number(w, STATE_STARTED_MS, s->started_ms);
	tlv_put_number(w, STATE_POLICY_MS, s->policy_ms);
	tlv_put_number(w, STATE_STARTED_WALL_MS, s->started_wall_ms);
	tlv_put_number(w, STATE_POLICY_WALL_MS, s->policy_wall_ms);
	tlv_put_number(w, STATE_POLICY_CHANGED_MS, s->policy_changed_wall_ms);
	tlv_put_number(w, STATE_GENERATION, s->generation);
	tlv_put_number(w, STATE_FLAGS, (uint64_t)s->up | (uint64_t)s->scaled << 1 | (uint64_t)s->no_strangers << 2 |
		       (uint64_t)s->policy_back << 3);
	tlv_put_number(w, STATE_WORKERS_TOLD, s->told_workers);
	tlv_put_number(w, STATE_OOM_KILLS, s->oom_kills);
	tlv_put_number(w, STATE_OOM_FD, (uint64_t)s->oom_fd);
	tlv_put_number(w, STATE_SYSTEMD_MS, s->systemd_ms);
	tlv_put_number(w, STATE_TROUBLE, s->trouble);
	tlv_put_number(w, STATE_CONTROL_FD, (uint64_t)control_fd(s->control));
	tlv_put_number(w, STATE_METRICS_FD, (uint64_t)metrics_fd(s->metrics));
	tlv_put_number(w, STATE_BEGUN_US, s->upgrade_us);
	tlv_put(w, STATE_NOFILE, &s->nofile, sizeof s->nofile);
	tlv_put(w, STATE_SDNOTIFY, &s->sd, sizeof s->sd);
	tlv_put(w, STATE_PIDFILE, &s->pidfile, sizeof s->pidfile);
	tlv_put(w, STATE_RECORD, &s->record.file, sizeof s->record.file);
	tlv_put(w, STATE_BY_HAND, &s->by_hand, sizeof s->by_hand);
	tlv_put_text(w, STATE_SELF, s->self);
}

static void put_counts(struct tlv_writer *w, const struct metrics *metrics)
{
	const void *counts = NULL;
	size_t size = metrics_counts(metrics, &counts);

	if (size > 0)
		tlv_put(w, STATE_COUNTS, counts, size);
}

static void put_log(struct tlv_writer *w, const struct log *log)
{
	size_t mark = tlv_begin(w, STATE_LOG);
	struct log_image image;

	log_export(log, &image);
	tlv_put(w, STATE_LOG_OUT, image.text[0], image.size[0]);
	tlv_put(w, STATE_LOG_FILL, image.text[1], image.size[1]);
	tlv_put_number(w, STATE_LOG_LOST, image.lost);
	tlv_put_number(w, STATE_LOG_TOLD, image.told);
	tlv_put_number(w, STATE_LOG_OUTPUT_LOST, image.output_lost);
	tlv_end(w, mark);
}

/* Written where it stays: for a thousand workers it is most of the state, and an upgrade would copy it once more. */
static void put_pool(struct tlv_writer *w, const struct pool *pool)
{
	size_t mark = tlv_begin(w, STATE_POOL), room = w->used < w->size ? w->size - w->used : 0;

	w->used += pool_save(pool, room > 0 ? w->out + w->used : NULL, room);
	tlv_end(w, mark);
}

static void put_all(struct tlv_writer *w, struct supervisor *s, struct policy_text *known)
{
	size_t mark = tlv_begin(w, STATE_HEAD);

	put_numbers(w, s);
	state_put_policy(w, &s->policy, known);
	for (const struct launch *l = s->launches; l; l = l->next)
		put_launch(w, l, known);
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use)
			put_sock(w, &s->socks[i]);
	for (uint32_t slot = 0; slot < s->slots_max; slot++)
		put_slot(w, s, slot);
	put_workers(w, s);
	put_log(w, &s->log);
	put_counts(w, s->metrics);
	state_put_left(w, &s->log);
	tlv_put(w, STATE_INHERITED, s->inherited, (size_t)s->inherited_count * sizeof *s->inherited);
	for (const struct adoption *a = s->adoptions; a; a = a->next)
		put_adoption(w, a);
	put_pool(w, s->pool);
	tlv_end(w, mark);
}

/* In one go, if it needs no more than the last time and a little; else it is known then what it needs. */
int state_save(struct supervisor *s, uint8_t **ret, size_t *ret_size)
{
	static size_t needed = STATE_ROOM;
	struct tlv_writer w = { .size = needed + needed / 4 };
	struct config *scratch = calloc(1, sizeof *scratch);

	while (scratch && (w.out = malloc(w.size))) {
		struct policy_text known = { .scratch = scratch };

		if (needed > STATE_ROOM)
			populate(w.out, needed);
		put_all(&w, s, &known);
		if (w.used <= w.size)
			break;
		free(w.out);
		w = (struct tlv_writer){ .size = w.used };
	}
	free(scratch);
	if (!w.out)
		return -ENOMEM;
	*ret = w.out;
	*ret_size = needed = w.used;
	return 0;
}

static void each_of_group(const struct sock *sock, void (*visit)(int, void *), void *context)
{
	struct reuseport_image image = reuseport_export(sock->group);

	visit(image.control_fd, context);
	visit(image.sockets_fd, context);
	visit(image.program_fd, context);
	for (uint32_t slot = 0; slot < image.params.capacity; slot++)
		visit(reuseport_fd(sock->group, slot), context);
}

struct visitor {
	void (*visit)(int fd, void *context);
	void *context;
};

static void each_of_output(void *context, const struct output *output, uint32_t slot)
{
	const struct visitor *visitor = context;
	struct output_image image;

	(void)slot;
	output_export(output, &image);
	visitor->visit(image.fds[0], visitor->context);
	visitor->visit(image.fds[1], visitor->context);
}

static void each_of_worker(const struct worker *worker, void (*visit)(int, void *), void *context)
{
	visit(worker->pidfd, context);
	if (worker->notify_fd >= 0)
		visit(worker->notify_fd, context);
	if (worker->ready.open)
		visit(worker->ready_fd, context);
	if (worker->server.end.open)
		visit(worker->server.image.pidfd, context);
	if (worker->output)
		each_of_output(&(struct visitor){ visit, context }, worker->output, worker->slot);
}

void state_each_fd(struct supervisor *s, void (*visit)(int fd, void *context), void *context)
{
	visit(s->sd.fd, context);
	visit(s->pidfile.fd, context);
	visit(s->record.file.file.fd, context);
	visit(s->oom_fd, context);
	visit(control_fd(s->control), context);
	visit(metrics_fd(s->metrics), context);
	for (int i = 0; i < s->inherited_count; i++)
		visit(s->inherited[i].fd, context);
	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->group)
			each_of_group(sock, visit, context);
		else if (sock->in_use)
			visit(sock->listening.fd, context);
	}
	for (const struct adoption *a = s->adoptions; a; a = a->next)
		visit(a->notify_fd, context);
	FOR_EACH_WORKER (s, worker)
		each_of_worker(worker, visit, context);
	outputs_left(&s->log, each_of_output, &(struct visitor){ visit, context });
}
