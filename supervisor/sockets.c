/*
 * sockets - opened once, held by clusterd, lent to the workers.
 *
 * GLUE. A listener is one socket for all (`shared`), or a SO_REUSEPORT group with
 * one for each slot (`hash`, `round-robin`). Either way clusterd never closes one
 * while its slot is wanted, so no connection in a queue is lost with a worker.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/adoption.h"
#include "supervisor/orphans.h"
#include "supervisor/os/hangup.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/os/scope.h"

enum { TAG_SLOTS = 65536 }; /* a tag is sock * TAG_SLOTS + seat */

static bool per_slot(const struct sock *sock)
{
	return sock->group != NULL;
}

int socket_fd(const struct sock *sock, uint32_t slot, uint32_t seat)
{
	if (!per_slot(sock))
		return sock->listening.fd;
	return reuseport_fd(sock->group, sock->mode == BALANCE_HASH ? slot : seat);
}

/* Into the log, and to who asked for the reload that opens it. */
__attribute__((format(printf, 2, 3))) static void note(struct supervisor *s, const char *format, ...)
{
	char line[512];
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof line, format, list);
	va_end(list);
	sup_note(s, LOG_LEVEL_ERROR, "%s", line);
	if (s->socket_tell)
		s->socket_tell(s->socket_context, line);
}

static void complain(struct supervisor *s, const struct sock *sock, const char *step, int error)
{
	char address[ADDRESS_TEXT_MAX], holder[HOLDER_TEXT_MAX] = "";

	address_format(&sock->config.address, address);
	if (error == -EADDRINUSE)
		holder_text(&sock->config.address, holder, sizeof holder);
	note(s, "listener %s %s: %s: %s%s", sock->config.name, address, step, strerror(-error), holder);
}

/* ---- opening ---- */

static int open_inherited(struct supervisor *s, struct sock *sock, const char **failed)
{
	const char *wanted = sock->config.address.inherit;
	char *end;
	long number = strtol(wanted, &end, 10);

	*failed = "no such socket was inherited (LISTEN_FDS)";
	for (int i = 0; i < s->inherited_count; i++) {
		struct inherited *in = &s->inherited[i];
		bool match = *end == '\0' ? in->number == number : strcmp(in->name, wanted) == 0;

		if (!match || in->fd < 0)
			continue;
		sock->inherited = true;
		int rc = listen_check_inherited(in->fd, &sock->listening, failed);
		if (rc == 0)
			in->fd = -1;
		return rc;
	}
	return -ENOENT;
}

int sock_open_shared(struct supervisor *s, struct sock *sock, struct listening *ret,
                     const char **failed)
{
	const struct listener *config = &sock->config;
	struct listen_spec spec = {
		.address = &sock->form,
		.backlog = (int)config->backlog,
		.nonblock = config->nonblock == NONBLOCK_YES,
		.hurried = sock->in_use, /* a repair is tried again */
		.mode = (mode_t)config->mode.value,
	};
	int rc = sock_owner(config, &spec.owner, &spec.group, failed);

	if (rc == 0)
		rc = orphans_lend(s, &spec, ret, failed);
	sock->taken_back = rc > 0;
	if (rc == 0)
		rc = listen_open(&spec, ret, failed);
	/* A worker's socket filter would outlive it and mute the port for all. */
	if (rc >= 0 && config->address.kind != ADDRESS_UNIX)
		rc = listen_lock_filter(ret->fd, failed);
	return rc > 0 ? 0 : rc;
}

static bool has_ipv6(void)
{
	scoped_fd fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0;
}

static void group_address(const struct address *address, struct reuseport_params *params)
{
	params->length = (socklen_t)address->size;
	params->address = address->sa;
	params->v6only = !address->any;
	if (address->any && !has_ipv6()) {
		struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(address->port) };

		memset(&params->address, 0, sizeof params->address);
		memcpy(&params->address, &any, sizeof any);
		params->length = sizeof any;
	}
}

static int create_group(struct supervisor *s, struct sock *sock, uint32_t workers, bool steer,
                        const char **failed)
{
	uint32_t seats = steer_seats(workers);
	struct reuseport_params params = {
		.type = sock->config.address.kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM,
		.backlog = (int)sock->config.backlog,
		.capacity = seats > s->steer.size ? seats : s->steer.size,
		.steer = steer,
	};

	if (steer && params.capacity <= PROBE_SEATS_MAX)
		params.probe_base = PROBE_BASE;
	sock->probe_base = params.probe_base;
	group_address(&sock->form, &params);
	return reuseport_create(&params, &sock->group, failed);
}

/* Steered, or not if that can not be had and round-robin? asked for it; sock->mode says which. */
static int create_either(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed)
{
	bool steer = sock->config.balance != BALANCE_HASH;
	int rc = create_group(s, sock, workers, steer, failed);

	if (rc < 0 && sock->config.balance == BALANCE_ROUND_ROBIN_OR_HASH) {
		if (sock->home.kind == ADDRESS_NONE) /* else that was told when it was opened first */
			sup_balance_fallback(s, sock, *failed, rc);
		steer = false;
		rc = create_group(s, sock, workers, steer, failed);
	}
	if (rc == 0)
		sock->mode = steer ? BALANCE_ROUND_ROBIN : BALANCE_HASH;
	return rc;
}

static int open_group(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed)
{
	int rc = create_either(s, sock, workers, failed);

	if (rc < 0)
		return rc;
	vacancy_look(s);
	rc = orphans_lend_group(s, sock, workers, failed);
	/* A paused cluster has that of slot 0: steer_slot_gone(). */
	for (uint32_t slot = 0; rc == 0 && (slot < workers || slot == 0); slot++)
		if (reuseport_fd(sock->group, slot) < 0 && (slot == 0 || !vacancy_lacks(s, sock, slot)))
			rc = reuseport_add(sock->group, slot, failed);
	if (rc < 0)
		return rc;
	sock->listening.sa = *reuseport_address(sock->group);
	sock->listening.size = sizeof sock->listening.sa;
	return 0;
}

static bool is_mapped(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

/*
 * The address that the kernel really gave: what a worker's environment and the log name. A path stays as it was
 * written: what has replaced a dead socket the kernel goes on calling by the name it had beside that.
 */
static void note_bound(struct sock *sock)
{
	struct address *bound = &sock->bound;
	struct listen_facts facts;
	const char *failed;
	int fd = socket_fd(sock, 0, 0);

	*bound = sock->form;
	if (bound->kind == ADDRESS_UNIX || fd < 0 || listen_inspect(fd, &facts, &failed) < 0)
		return;
	bound->port = (uint16_t)facts.port;
	bound->sa = facts.sa;
	bound->size = (uint16_t)facts.size;
	bound->any = bound->any && !is_mapped(&facts.sa);
	if (bound->kind != ADDRESS_INHERIT)
		return;
	bound->kind = facts.domain == AF_UNIX          ? ADDRESS_UNIX
	              : facts.type == SOCK_DGRAM ? ADDRESS_UDP
	                                         : ADDRESS_TCP;
}

int sock_open(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed)
{
	int rc = adopts_path(sock) ? adopt_link_form(sock, failed) : 0;

	sock->listening.fd = -1;
	sock->mode = BALANCE_SHARED;
	if (rc < 0)
		return rc;
	orphans_form(s, sock);
	if (sock->config.address.kind == ADDRESS_INHERIT)
		rc = open_inherited(s, sock, failed);
	else if (sock->config.balance == BALANCE_SHARED)
		rc = sock_open_shared(s, sock, &sock->listening, failed);
	else
		rc = open_group(s, sock, workers, failed);
	sock->in_use = rc == 0;
	if (rc == 0)
		note_bound(sock);
	if (rc == 0 && sock->home.kind == ADDRESS_NONE)
		sock->home = sock->config.adopt ? sock->config.address : sock->bound;
	if (rc == 0 && adopts_path(sock))
		adopt_link_begin(s, sock);
	return rc;
}

/* The exit status of a socket that could not be opened (clusterd(8), EXIT STATUS). */
static int status_of(struct sock *sock, const char *step, int error)
{
	if (error == -EPERM && sock->config.balance == BALANCE_ROUND_ROBIN &&
	    strncmp(step, "bpf", 3) == 0)
		return STATUS_NOT_PERMITTED;
	return error == -EACCES || error == -EPERM ? STATUS_NOT_PERMITTED : STATUS_SOCKET;
}

static void explain(struct supervisor *s, struct sock *sock, const char *step, int error)
{
	complain(s, sock, step, error);
	orphans_explain(s, error);
	if (error == -EPERM && strncmp(step, "bpf", 3) == 0)
		note(s, "balance = round-robin needs the capability CAP_BPF: grant it "
		     "(systemd: AmbientCapabilities=CAP_BPF, file: setcap cap_bpf+ep, container: "
		     "--cap-add BPF), or use round-robin? or hash");
	if (error == -EACCES && sock->config.address.port > 0)
		note(s, "ports below net.ipv4.ip_unprivileged_port_start (1024, if not changed) need "
		     "root or CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, file: setcap)");
	if (error == -ENOENT && sock->config.address.kind == ADDRESS_UNIX && strncmp(step, "owner", 5) != 0 &&
	    strncmp(step, "group", 5) != 0)
		note(s, "the folder of a unix socket is not made: create it first (systemd: "
		     "RuntimeDirectory=)");
	if (error == -ENOTSOCK)
		note(s, "there is a file of that name that is no socket, and it is not touched: "
		     "remove it, or choose another path");
	if (error == -EADDRNOTAVAIL)
		note(s, "no interface of this machine has that address, or not yet (systemd: "
		     "After=network-online.target); * stands for all");
}

/* Places are reused, so that the tag of a socket never changes. */
struct sock *sock_place(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (!s->socks[i].in_use)
			return &s->socks[i];
	return s->sock_count < SOCKS_MAX ? &s->socks[s->sock_count++] : NULL;
}

struct sock *sock_of(struct supervisor *s, const struct listener *listener)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && !s->socks[i].variant && listener_same(&s->socks[i].config, listener))
			return &s->socks[i];
	return NULL;
}

int sockets_add(struct supervisor *s, const struct listener *config, uint32_t workers)
{
	struct sock *sock = sock_place(s);
	const char *failed = "";
	int rc;

	if (!sock) {
		note(s, "listener %s: %d sockets are open, as many as there can be, until the workers of former "
		     "policies have ended", config->name, SOCKS_MAX);
		return STATUS_SOCKET;
	}
	*sock = (struct sock){ .config = *config, .form = config->address, .fresh = true };
	rc = sock_open(s, sock, workers, &failed);
	if (rc == 0)
		return 0;
	explain(s, sock, failed, rc);
	sock_close(s, sock);
	return status_of(sock, failed, rc);
}

int sockets_open(struct supervisor *s, uint32_t workers)
{
	int status = 0;

	for (uint32_t i = 0; status == 0 && i < s->policy.listener_count; i++)
		status = sockets_add(s, &s->policy.listeners[i], workers);
	for (uint32_t i = 0, count = s->sock_count; status == 0 && i < count; i++)
		orphans_variants(s, &s->socks[i], workers);
	return status;
}

void sock_close(struct supervisor *s, struct sock *sock)
{
	const char *failed;

	if (sock->in_use && adopts_path(sock))
		adopt_link_end(sock);
	sock->in_use = false;
	if (sock->group) {
		/* A worker may hold them open, and then they would go on to be watched. */
		for (uint32_t seat = 0; s->hangup_fd >= 0 && seat < s->steer.size; seat++)
			hangup_forget(s->hangup_fd, reuseport_fd(sock->group, seat), &failed);
		steer_forget(s, sock);
		reuseport_destroy(sock->group);
		sock->group = NULL;
	} else if (sock->listening.fd >= 0) {
		if (s->hangup_fd >= 0)
			hangup_forget(s->hangup_fd, sock->listening.fd, &failed);
		listen_close(&sock->listening);
	}
}

void sockets_close(struct supervisor *s)
{
	if (s->hangup_fd >= 0) {
		uv_close((uv_handle_t *)&s->hangup_poll, NULL);
		fd_close(&s->hangup_fd);
	}
	for (uint32_t i = 0; i < s->sock_count; i++)
		sock_close(s, &s->socks[i]);
	for (int i = 0; i < s->inherited_count; i++)
		fd_close(&s->inherited[i].fd);
}

/* ---- repair ---- */

/* 1 repaired, 2 replaced by another socket, 0 it listens: we shut it down ourselves. Or -errno. */
static int repair(struct supervisor *s, struct sock *sock, uint32_t slot, const char **failed)
{
	int rc;

	if (sock->listening.sa.ss_family == AF_UNIX)
		return sock->inherited ? -ENOTCONN : sock_path_renew(s, sock, failed);
	if (listen_is_down(socket_fd(sock, slot, slot)) <= 0)
		return 0;
	rc = per_slot(sock)
	             ? reuseport_relisten(sock->group, slot, failed)
	             : listen_repair(&sock->listening, (int)sock->config.backlog, failed);
	return rc < 0 ? rc : 1;
}

static void on_relisten(uv_timer_t *timer);

/* Said once: as long as it is down, silence and another try every second. */
static void repair_failed(struct supervisor *s, struct sock *sock, const char *step, int error)
{
	if (sock->inherited && error == -ENOTCONN) {
		complain(s, sock, step, error); /* only who made it can make it anew */
		return;
	}
	uv_timer_start(&s->relisten, on_relisten, RELISTEN_MS, 0);
	if (sock->down)
		return;
	sock->down = true;
	holders_down(s, sock, step, error, RELISTEN_MS / 1000);
}

/* False when it is down still. */
static bool hung_up(struct supervisor *s, uint32_t tag)
{
	struct sock *sock = &s->socks[tag / TAG_SLOTS];
	const char *failed = "shutdown by a worker";
	uint32_t roll;
	int rc;

	if (tag / TAG_SLOTS >= s->sock_count || !sock->in_use)
		return true;
	rc = repair(s, sock, tag % TAG_SLOTS, &failed);
	if (rc < 0)
		repair_failed(s, sock, failed, rc);
	if (rc <= 0)
		return rc == 0;
	sock->repaired++;
	sup_listen_repaired(s, sock, tag % TAG_SLOTS);
	if (rc > 1)
		sup_roll(s, &roll, &failed);
	return true;
}

static void on_relisten(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];
		uint32_t seats = per_slot(sock) ? s->steer.size : 1;
		bool down = false;

		for (uint32_t seat = 0; sock->in_use && sock->down && seat < seats; seat++)
			if ((!per_slot(sock) || socket_fd(sock, seat, seat) >= 0) && !hung_up(s, i * TAG_SLOTS + seat))
				down = true;
		sock->down = down;
	}
}

static void on_hangup(uv_poll_t *poll, int status, int events)
{
	struct supervisor *s = poll->data;
	uint32_t tag;

	(void)events;
	while (status >= 0 && hangup_next(s->hangup_fd, &tag) > 0)
		hung_up(s, tag);
}

int sockets_watch_slot(struct supervisor *s, struct sock *sock, uint32_t slot)
{
	const char *failed;
	int fd = socket_fd(sock, slot, slot);
	uint32_t tag = (uint32_t)(sock - s->socks) * TAG_SLOTS + (per_slot(sock) ? slot : 0);
	int rc;

	if (fd < 0 || sock->config.address.kind == ADDRESS_UDP)
		return 0;
	rc = hangup_watch(s->hangup_fd, fd, tag, &failed);
	return rc == -EEXIST ? 0 : rc;
}

/* How many slots have, or may have, a socket of their own now. */
uint32_t slots_now(const struct supervisor *s)
{
	struct pool_view view;

	pool_view(s->pool, &view);
	return view.wanted;
}

int sockets_watch_all(struct supervisor *s, struct sock *sock)
{
	uint32_t seats = per_slot(sock) ? s->steer.size : 1;
	int rc = 0;

	for (uint32_t seat = 0; rc == 0 && seat < seats; seat++)
		rc = sockets_watch_slot(s, sock, seat);
	return rc;
}

int sockets_watch(struct supervisor *s)
{
	const char *failed;
	int rc = hangup_open(&s->hangup_fd, &failed);

	if (rc < 0)
		return rc;
	rc = uv_poll_init(&s->loop, &s->hangup_poll, s->hangup_fd);
	if (rc < 0) {
		fd_close(&s->hangup_fd);
		return rc;
	}
	s->hangup_poll.data = s;
	for (uint32_t i = 0; rc == 0 && i < s->sock_count; i++)
		if (s->socks[i].in_use)
			rc = sockets_watch_all(s, &s->socks[i]);
	return rc < 0 ? rc : uv_poll_start(&s->hangup_poll, UV_READABLE, on_hangup);
}
