/*
 * server - the process of a worker that serves, where that is not its first one.
 *
 * GLUE. `npm start`, or a shell that does not become the program, starts the server as a child and does not
 * pass on what it is told: were it asked to end, it would, and the server be killed with requests under way.
 * Under the filter of adopt it is known who bound. As long as that is one descendant of the worker and nobody
 * else, it gets the signals; once it has ended, the first process is asked as well, for it may wait for more.
 */
#include <signal.h>

#include "supervisor/internal.h"
#include "supervisor/os/reap.h"
#include "supervisor/os/scope.h"

void server_forget(struct worker *worker)
{
	ear_close(&worker->s->hearing, &worker->server.end);
	fd_close(&worker->server.image.pidfd);
}

static void on_server_end(void *owner)
{
	struct worker *worker = owner;
	int asked = worker->server.image.asked;

	server_forget(worker);
	if (asked)
		server_ask(worker, asked);
}

int server_watch(struct worker *worker)
{
	struct server *server = &worker->server;

	return server->image.pidfd < 0 ? 0 : ear_open(&worker->s->hearing, &server->end, server->image.pidfd,
	                                              on_server_end, worker);
}

void server_bound(struct worker *worker, pid_t pid, int pidfd)
{
	struct server_image *image = &worker->server.image;

	if (worker->server.end.open && image->pid == pid) {
		fd_close(&pidfd);
		return;
	}
	if (worker->server.end.open || pidfd < 0)
		image->several = true;
	server_forget(worker);
	if (image->several) {
		fd_close(&pidfd);
		return;
	}
	image->pid = pid;
	image->pidfd = pidfd;
	if (server_watch(worker) < 0)
		server_forget(worker);
}

int server_signal(const struct worker *worker, int signal)
{
	int rc = worker->server.end.open ? reap_signal(worker->server.image.pidfd, signal) : -ESRCH;

	return rc < 0 ? reap_signal(worker->pidfd, signal) : 0;
}

void server_ask(struct worker *worker, int signal)
{
	worker->server.image.asked = signal;
	server_signal(worker, signal);
	/* A stopped process acts on nothing but SIGKILL until it is continued. */
	server_signal(worker, SIGCONT);
}
