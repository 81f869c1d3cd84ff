/*
 * state_take - what a state names becomes alive again: fds, handles, lists.
 *
 * GLUE. The step after state_load(), in the clusterd that goes on.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "supervisor/adoption.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/probe.h"
#include "supervisor/state.h"

static int take_sock(struct supervisor *s, struct sock *sock, const char **failed)
{
	int rc;

	if (sock->in_use && adopts_path(sock))
		adopt_link_begin(s, sock);
	if (!sock->image)
		return 0;
	rc = reuseport_adopt_fds(sock->image, sock->image_fds, sock->image->params.capacity,
	                         &sock->group, failed);
	sock->probe_base = sock->image->params.probe_base;
	free(sock->image);
	free(sock->image_fds);
	sock->image = NULL;
	sock->image_fds = NULL;
	return rc;
}

static void close_on_exec(int fd, void *context)
{
	(void)context;
	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void resume_probe(struct worker *worker)
{
	struct instance_view view;

	if (!pool_instance(worker->s->pool, worker->cookie, &view))
		return;
	if (view.state == INSTANCE_STARTING)
		probe_started(worker);
	else if (view.state == INSTANCE_READY)
		probe_resume(worker, &worker->probed);
}

static int take_worker(struct worker *worker, const char **failed)
{
	struct supervisor *s = worker->s;
	struct output_options options = {
		.log = &s->log,
		.slot = worker->slot,
		.overflow = s->policy.log_overflow,
		.tail = worker->launch->policy.log_tail,
	};
	int rc = 0;

	if (worker->image)
		rc = output_adopt(&options, worker->image, &worker->output, failed);
	state_forget_output(worker);
	if (rc < 0)
		return rc;
	resume_probe(worker);
	rc = worker_watch(worker, failed);
	if (rc == 0)
		rc = server_watch(worker);
	starved_mark(worker); /* what it did before is not known here */
	return rc;
}

int state_take_over(struct supervisor *s, const char **problem)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++)
		rc = take_sock(s, &s->socks[i], problem);
	for (uint32_t i = 0; rc == 0 && i < WORKER_HASH; i++)
		for (struct worker *w = s->workers[i]; rc == 0 && w; w = w->hash_next)
			rc = take_worker(w, problem);
	state_take_left(s);
	for (struct adoption *a = s->adoptions; rc == 0 && a; a = a->next)
		rc = adoption_watch(s, a);
	FOR_EACH_WORKER (s, w)
		steer_restore(s, w);
	vacancy_look(s); /* whose socket was left because it was the last of its group is not saved */
	/* Not all there are: one that clusterd was started with, a lock say, stays for the next upgrade too. */
	state_each_fd(s, close_on_exec, NULL);
	close_on_exec(s->carried_control, NULL); /* who they are for has yet to begin */
	close_on_exec(s->carried_metrics, NULL);
	return rc;
}
