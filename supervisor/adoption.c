/*
 * adoption - sockets of ours for programs that bind by themselves ([listen] adopt = yes).
 *
 * GLUE. What a program asks for decides the form of the socket: a server that binds
 * 0.0.0.0 must get an IPv4 socket, even if the listener says `*`, for programs look at
 * the family of what they accept. So the listener's socket, which reserves the
 * port from the start, is opened anew in the form of the first bind; further forms
 * (redis binds 0.0.0.0 and [::]) get sockets of their own.
 *
 * The listen(2) that follows is answered by us, and is the worker's readiness.
 *
 * An adoption outlives its worker: as long as any process is left under the filter
 * its binds have to be answered, or they fail with ENOSYS.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/adoption.h"
#include "supervisor/os/adopt.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/hangup.h"
#include "supervisor/os/reap.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/os/scope.h"

enum {
	TURN = 32,
	BINDS_TOLD = 64, /* a program that binds all the time must not fill the log */
	PAUSE_MS = 10,
	PAUSES_MAX = 200,
};

/* ---- which socket ---- */

static bool v6only(const struct sock *sock)
{
	return sock->bound.sa.ss_family == AF_INET6 && !sock->form.any;
}

/* The form that a program asks for, as an address of ours. */
static struct address form_of(const struct adopt_request *request)
{
	struct address form = { .kind = ADDRESS_TCP, .size = (uint16_t)request->length };

	form.sa = request->address;
	if (request->address.ss_family == AF_UNIX) {
		form.kind = ADDRESS_UNIX;
	} else if (request->address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&request->address;

		form.port = ntohs(in6->sin6_port);
		form.any = !request->v6only && (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ||
		                                IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr));
	} else {
		form.port = ntohs(((const struct sockaddr_in *)&request->address)->sin_port);
	}
	return form;
}

static struct sock *same_form(struct supervisor *s, const struct adopt_request *request)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->config.adopt &&
		    adopt_same_address(&sock->bound.sa, v6only(sock), &request->address,
		                       request->v6only))
			return sock;
	}
	return NULL;
}

/* The listener that means this address, or NULL: then the bind is none of ours. */
static struct sock *listener_for(struct supervisor *s, const struct adopt_request *request)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->config.adopt && !sock->variant &&
		    adopt_covers(&sock->home.sa, !sock->home.any, &request->address))
			return sock;
	}
	return NULL;
}

/* Nobody holds the socket yet, so it can be opened anew. If that fails it keeps its old form. */
static int reshape(struct supervisor *s, struct sock *sock, const struct address *form,
                   const char **failed)
{
	struct address before = sock->form;
	uint32_t slots = slots_now(s);
	int rc;

	sock_close(s, sock);
	sock->form = *form;
	rc = sock_open(s, sock, slots, failed);
	if (rc < 0) {
		const char *again;

		sock->form = before;
		if (sock_open(s, sock, slots, &again) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "listener %s: %s: it is closed now",
			         sock->config.name, again);
	}
	sockets_watch_all(s, sock);
	s->steer.dirty = true;
	return rc;
}

static int open_variant(struct supervisor *s, struct sock *of, const struct address *form,
                        struct sock **ret, const char **failed)
{
	struct sock *sock = sock_place(s);
	int rc;

	*failed = "too many sockets";
	if (!sock)
		return -EMFILE;
	*sock = (struct sock){ .config = of->config, .form = *form, .home = of->home, .variant = true };
	rc = sock_open(s, sock, slots_now(s), failed);
	if (rc < 0) {
		sock_close(s, sock);
		return rc;
	}
	sockets_watch_all(s, sock);
	s->steer.dirty = true;
	*ret = sock;
	return 0;
}

static bool asks_for_all(const struct adopt_request *request)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&request->address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&request->address;

	return request->address.ss_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)
	                                              : in->sin_addr.s_addr == htonl(INADDR_ANY);
}

/*
 * A program that asks for all addresses gets no more than the listener has: who says 127.0.0.1 must
 * not find the port open to the world. The family stays what the program asked for. True if that is
 * less than it asked for.
 */
static bool narrow(struct adopt_request *request, const struct sock *of)
{
	const struct address *home = &of->home;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&home->sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&request->address;
	struct adopt_request before = *request;

	/* Of one address it says nothing, and the listener may have it otherwise. */
	if (request->address.ss_family == AF_INET6 && !asks_for_all(request))
		request->v6only = !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
	if (home->kind != ADDRESS_TCP || home->any || !asks_for_all(request))
		return false;
	if (home->sa.ss_family == request->address.ss_family) {
		request->address = home->sa;
		request->v6only = home->sa.ss_family == AF_INET6;
	} else if (home->sa.ss_family == AF_INET && !request->v6only) {
		in6->sin6_addr = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
		memcpy(&in6->sin6_addr.s6_addr[12], &in->sin_addr, sizeof in->sin_addr);
	}
	return memcmp(&before.address, &request->address, sizeof before.address) != 0;
}

static int socket_for(struct supervisor *s, const struct adopt_request *request, struct sock *of,
                      struct sock **ret, const char **failed)
{
	struct address form = form_of(request);
	int rc = 0;

	*ret = adopts_path(of) ? of : same_form(s, request);
	if (*ret)
		return 0;
	if (of->adopted)
		return open_variant(s, of, &form, ret, failed);
	rc = reshape(s, of, &form, failed);
	*ret = of;
	return rc;
}

/* ---- one call ---- */

static void tell(struct adoption *a, const struct adopt_request *request, const char *result)
{
	struct address asked = form_of(request);
	char text[ADDRESS_TEXT_MAX];

	if (a->told > BINDS_TOLD)
		return;
	if (a->told++ == BINDS_TOLD)
		result = "again; no more is told of what it binds";
	address_format(&asked, text);
	LOG(&a->s->log, LOG_ADOPT, F_NUM("slot", a->slot), F_NUM("pid", request->pid),
	    F_TEXT("address", text), F_TEXT("result", result));
}

static void tell_failed(struct adoption *a, const struct adopt_request *request, const char *step,
                        int error)
{
	char result[200];

	snprintf(result, sizeof result, "%s: %s; the program sees this error", step, strerror(-error));
	tell(a, request, result);
}

static void was_seen(struct adoption *a)
{
	struct worker *worker = worker_find(a->s, a->cookie);

	if (!worker)
		return;
	worker->served = true;
	worker->given = a->given;
	if (a->other.port != 0)
		worker->other = a->other;
}

/* A pidfd; -1 for the first process of the worker. */
static int server_of(const struct adoption *a, const struct adopt_request *request)
{
	const struct worker *worker = worker_find(a->s, a->cookie);

	return !worker || request->pid == worker->pid ? -1 : reap_open(request->pid);
}

static void tell_server(struct adoption *a, pid_t pid, int pidfd)
{
	struct worker *worker = worker_find(a->s, a->cookie);

	if (worker)
		server_bound(worker, pid, pidfd);
	else
		fd_close(&pidfd);
}

static const char *given(bool narrowed, bool lost)
{
	if (narrowed)
		return lost ? "gets our socket, which has less addresses, but not all of its options"
		            : "gets our socket, which has less addresses";
	return lost ? "gets our socket, but not all of its options" : "gets our socket";
}

static void tell_deaf(struct adoption *a)
{
	if (!a->s->adopt_deaf)
		sup_note(a->s, LOG_LEVEL_WARN, "adopt: worker %u waited for connections (epoll) before it bound, and "
		         "will hear of none: let clusterd have CAP_SYS_PTRACE, or let it listen on fd 3, and leave "
		         "out adopt", a->slot);
	a->s->adopt_deaf = true;
}

/* Called for a bind that a listener of ours covers. */
static void give(struct adoption *a, struct adopt_request *request, struct sock *of)
{
	struct supervisor *s = a->s;
	const char *failed = "", *lost = NULL;
	struct adopt_request ours;
	scoped_fd server = -1;
	struct sock *sock;
	bool narrowed;
	int rc = adopt_look(a->notify_fd, request, &failed);

	if (rc == -ENOENT)
		return;
	if (rc < 0 || (request->type >= 0 && request->type != SOCK_STREAM)) {
		adopt_continue(a->notify_fd, request, &failed);
		return;
	}
	ours = *request;
	narrowed = narrow(&ours, of);
	rc = socket_for(s, &ours, of, &sock, &failed);
	if (rc == 0)
		rc = steer_furnish(s, a->seat, &failed);
	server = server_of(a, request); /* before it is answered: while it waits its number is its own */
	if (rc == 0)
		rc = adopt_replace(a->notify_fd, request, socket_fd(sock, a->slot, a->seat), &lost, &failed);
	if (rc == -ENOENT)
		return;
	if (rc < 0) {
		tell_failed(a, request, failed, rc);
		adopt_answer(a->notify_fd, request, -rc, &failed);
		return;
	}
	sock->adopted = a->given = true;
	was_seen(a);
	tell_server(a, request->pid, fd_take(&server));
	if (adopts_path(sock))
		adopt_link_publish(s, sock);
	tell(a, request, given(narrowed, lost));
	if (request->deaf)
		tell_deaf(a);
}

/* Any other error is one of the program's own, and the kernel will tell it. */
static void tell_blind(struct adoption *a, int error)
{
	if (error != -EPERM || a->s->adopt_blind)
		return;
	a->s->adopt_blind = true;
	sup_note(a->s, LOG_LEVEL_WARN,
	         "adopt: what worker %u binds can not be read (%s): it runs as another "
	         "user (leave out cluster.user), or the filter of a container forbids it; "
	         "let clusterd have CAP_SYS_PTRACE",
	         a->slot, strerror(-error));
}

static void on_bind(struct adoption *a, struct adopt_request *request)
{
	const char *failed = "";
	struct sock *of;

	if (request->error) {
		tell_blind(a, request->error);
		adopt_continue(a->notify_fd, request, &failed);
		return;
	}
	of = listener_for(a->s, request);
	if (of) {
		give(a, request, of);
		return;
	}
	a->other = form_of(request);
	was_seen(a);
	adopt_continue(a->notify_fd, request, &failed);
}

static bool is_ours(struct adoption *a, const struct adopt_request *request)
{
	for (uint32_t i = 0; i < a->s->sock_count; i++) {
		const struct sock *sock = &a->s->socks[i];

		if (sock->in_use && sock->config.adopt &&
		    adopt_same_socket(request, socket_fd(sock, a->slot, a->seat)))
			return true;
	}
	return false;
}

/* Ours listens already, with the backlog of the policy: the call is answered without running. */
static void on_listen(struct adoption *a, struct adopt_request *request)
{
	const char *failed = "";

	if (!a->given || adopt_look(a->notify_fd, request, &failed) < 0 || !is_ours(a, request)) {
		adopt_continue(a->notify_fd, request, &failed);
		return;
	}
	adopt_answer(a->notify_fd, request, 0, &failed);
	sup_feed(a->s, &(struct event){ .what = EV_READY, .cookie = a->cookie, .how = HOW_LISTEN });
}

/* ---- life ---- */

static void adoption_free(struct adoption *a)
{
	fd_close(&a->notify_fd);
	free(a);
}

static void on_closed(uv_handle_t *handle)
{
	struct adoption *a = handle->data;

	if (--a->handles == 0)
		adoption_free(a);
}

static void adoption_close(struct adoption *a)
{
	struct adoption **at = &a->s->adoptions;

	while (*at && *at != a)
		at = &(*at)->next;
	if (*at)
		*at = a->next;
	a->next = NULL;
	if (a->handles == 0) {
		adoption_free(a);
		return;
	}
	uv_close((uv_handle_t *)&a->poll, on_closed);
	uv_close((uv_handle_t *)&a->pause, on_closed);
}

static void on_request(uv_poll_t *poll, int status, int events);

static int listen_for_requests(struct adoption *a)
{
	return uv_poll_start(&a->poll, UV_READABLE | UV_DISCONNECT, on_request);
}

static void on_pause_over(uv_timer_t *timer)
{
	if (listen_for_requests(timer->data) < 0)
		adoption_close(timer->data);
}

/*
 * The threads that close our copies of its descriptors get no CPU for a while on a busy machine. A call
 * that is not looked at is made by the kernel, which finds the address in use: so it waits for them, but
 * not for ever, as some copies can not be closed (closer.h).
 */
static bool paused(struct adoption *a)
{
	if (closer_has_room(-1) || a->pauses == PAUSES_MAX) {
		a->pauses = 0;
		return false;
	}
	a->pauses++;
	uv_poll_stop(&a->poll);
	uv_timer_start(&a->pause, on_pause_over, PAUSE_MS, 0);
	return true;
}

static void on_request(uv_poll_t *poll, int status, int events)
{
	struct adoption *a = poll->data;
	struct adopt_request request;
	const char *failed = "";

	(void)status;
	(void)events;
	for (int turn = 0; turn < TURN && !paused(a); turn++) {
		int rc = adopt_receive(a->notify_fd, &request, &failed);

		if (rc == -ENOENT)
			continue;
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			adoption_close(a);
			return;
		}
		if (request.call == ADOPT_BIND)
			on_bind(a, &request);
		else
			on_listen(a, &request);
	}
}

int adoption_watch(struct supervisor *s, struct adoption *a)
{
	int rc = uv_poll_init(&s->loop, &a->poll, a->notify_fd);

	if (rc < 0)
		return rc;
	uv_timer_init(&s->loop, &a->pause);
	a->poll.data = a->pause.data = a;
	a->handles = 2;
	/* It goes on until the last process under the filter is gone; the loop need not. */
	uv_unref((uv_handle_t *)&a->poll);
	uv_unref((uv_handle_t *)&a->pause);
	return listen_for_requests(a);
}

int adoption_begin(struct supervisor *s, const struct worker *worker, int notify_fd)
{
	struct adoption *a = calloc(1, sizeof *a);
	int rc;

	if (!a) {
		close(notify_fd);
		return -ENOMEM;
	}
	*a = (struct adoption){
		.s = s,
		.slot = worker->slot,
		.seat = worker->seat,
		.cookie = worker->cookie,
		.notify_fd = notify_fd,
	};
	rc = adoption_watch(s, a);
	if (rc < 0) {
		adoption_close(a);
		return rc;
	}
	a->next = s->adoptions;
	s->adoptions = a;
	return 0;
}

void adoptions_stop(struct supervisor *s)
{
	while (s->adoptions)
		adoption_close(s->adoptions);
}
