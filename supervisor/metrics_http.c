#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "supervisor/metrics_internal.h"
#include "supervisor/os/peersock.h"

/* What has been asked, once the first line is there. */
enum page { PAGE_NONE, PAGE_METRICS, PAGE_OTHER };

struct visitor {
	struct door *door;
	uv_poll_t poll;
	int fd;
	uint64_t deadline_ms, order;
	enum page page;
	bool lingers;        /* all is sent: what still comes in is read and thrown away */
	size_t thrown;
	struct metrics_place place;
	size_t in_used, out_start, out_end;
	char in[HTTP_LINE_MAX];
	char out[METRICS_PART];
};

struct door {
	struct metrics *metrics;
	struct supervisor *s;
	struct listening listening;
	uv_poll_t poll;
	uv_timer_t tick;
	unsigned open_handles;
	uint64_t orders;
	bool accepting, ticking;
	struct visitor *visitors[METRICS_CLIENTS];
};

/* ---- life ---- */

static void door_unref(struct door *door)
{
	if (--door->open_handles == 0)
		free(door);
}

static void on_visitor_closed(uv_handle_t *handle)
{
	struct visitor *visitor = handle->data;

	door_unref(visitor->door);
	free(visitor);
}

static void visitor_close(struct visitor *visitor)
{
	for (unsigned i = 0; i < METRICS_CLIENTS; i++)
		if (visitor->door->visitors[i] == visitor)
			visitor->door->visitors[i] = NULL;
	uv_close((uv_handle_t *)&visitor->poll, on_visitor_closed);
	peersock_close(&visitor->fd);
}

/* ---- answers ---- */

static void answer(struct visitor *visitor, const char *status, const char *extra, const char *type,
                   const char *body)
{
	int length = snprintf(visitor->out, sizeof visitor->out,
	                      "HTTP/1.1 %s\r\n%sContent-Type: %s\r\nConnection: close\r\n\r\n%s",
	                      status, extra, type, body);

	visitor->page = PAGE_OTHER;
	visitor->out_end = length > 0 ? (size_t)length : 0;
}

static void answer_ready(struct visitor *visitor)
{
	struct sup_view view;
	char body[64];
	bool paused; /* nobody would answer, however many that are ready are enough */

	sup_look(visitor->door->s, &view);
	paused = view.pool.wanted == 0;
	snprintf(body, sizeof body, "%s%u of %u ready\n", paused ? "paused, " : "", view.pool.ready, view.pool.wanted);
	if (view.pool.up && !view.pool.stopping && !paused && view.pool.ready >= view.pool.wanted)
		answer(visitor, "200 OK", "", "text/plain", body);
	else
		answer(visitor, "503 Service Unavailable", "", "text/plain", body);
}

/* Does the path of the request line, up to a blank or a ?, equal `path`? */
static bool is_path(const char *line, const char *path)
{
	size_t size = strlen(path);

	return strncmp(line, path, size) == 0 && strchr(" ?\r\n", line[size]) && line[size];
}

static void answer_line(struct visitor *visitor)
{
	bool head = strncmp(visitor->in, "HEAD /", 6) == 0;
	const char *path = visitor->in + (head ? 5 : 4);
	bool get = strncmp(visitor->in, "GET /", 5) == 0;

	if (!head && !get)
		answer(visitor, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "text/plain",
		       "GET or HEAD\n");
	else if (is_path(path, "/metrics"))
		answer(visitor, "200 OK", "",
		       "application/openmetrics-text; version=1.0.0; charset=utf-8", "");
	else if (is_path(path, "/healthz"))
		answer(visitor, "200 OK", "", "text/plain", "ok\n");
	else if (is_path(path, "/readyz"))
		answer_ready(visitor);
	else
		answer(visitor, "404 Not Found", "", "text/plain", "/metrics /healthz /readyz\n");
	if (head) /* the same without the body */
		visitor->out_end = (size_t)(strstr(visitor->out, "\r\n\r\n") + 4 - visitor->out);
	else if (get && is_path(path, "/metrics"))
		visitor->page = PAGE_METRICS;
}

static void next_part(struct visitor *visitor)
{
	visitor->out_start = visitor->out_end = 0;
	if (visitor->page == PAGE_METRICS)
		visitor->out_end = metrics_text(visitor->door->metrics, &visitor->place,
		                                visitor->out, sizeof visitor->out);
}

/*
 * With bytes unread, close(2) would send a reset that can overtake the answer
 * (RFC 9112, section 9.6): so only our half is shut, and the rest read away.
 */
static void linger(struct visitor *visitor)
{
	shutdown(visitor->fd, SHUT_WR);
	visitor->lingers = true;
	visitor->deadline_ms = sup_now_ms(visitor->door->s) + LINGER_MS;
}

/* One part per turn. Returns false when the visitor is gone. */
static bool visitor_write(struct visitor *visitor)
{
	ssize_t n = send(visitor->fd, visitor->out + visitor->out_start,
	                 visitor->out_end - visitor->out_start, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	if (n > 0) {
		visitor->out_start += (size_t)n;
		visitor->deadline_ms = sup_now_ms(visitor->door->s) + METRICS_IDLE_MS;
	}
	if (visitor->out_start == visitor->out_end)
		next_part(visitor);
	if (visitor->out_end == 0)
		linger(visitor);
	return true;
}

static bool visitor_read(struct visitor *visitor)
{
	char away[4096];
	bool keeps = visitor->page == PAGE_NONE;
	ssize_t n = keeps ? peersock_read(visitor->fd, visitor->in + visitor->in_used,
	                                  sizeof visitor->in - 1 - visitor->in_used)
	                  : peersock_read(visitor->fd, away, sizeof away);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (!keeps) {
		visitor->thrown += (size_t)n;
		return visitor->thrown < LINGER_BYTES;
	}
	visitor->in_used += (size_t)n;
	visitor->in[visitor->in_used] = '\0';
	if (memchr(visitor->in, '\n', visitor->in_used))
		answer_line(visitor);
	else if (visitor->in_used == sizeof visitor->in - 1)
		answer(visitor, "414 URI Too Long", "", "text/plain", "");
	return true;
}

static void on_visitor(uv_poll_t *handle, int status, int events)
{
	struct visitor *visitor = handle->data;
	bool ok = status == 0;

	if (ok && (events & UV_READABLE))
		ok = visitor_read(visitor);
	if (ok && (events & UV_WRITABLE))
		ok = visitor_write(visitor);
	if (!ok) {
		visitor_close(visitor);
		return;
	}
	uv_poll_start(handle,
	              visitor->page == PAGE_NONE || visitor->lingers ? UV_READABLE : UV_WRITABLE,
	              on_visitor);
}

/* ---- coming and going ---- */

static void on_tick(uv_timer_t *handle);

/* Only while somebody is here, or accepting has to be resumed. */
static void tick_on(struct door *door)
{
	if (!door->ticking)
		uv_timer_start(&door->tick, on_tick, LINGER_MS, LINGER_MS);
	door->ticking = true;
}

static struct visitor **place(struct door *door)
{
	struct visitor **oldest = &door->visitors[0];

	for (unsigned i = 0; i < METRICS_CLIENTS; i++) {
		if (!door->visitors[i])
			return &door->visitors[i];
		if (door->visitors[i]->order < (*oldest)->order)
			oldest = &door->visitors[i];
	}
	visitor_close(*oldest);
	return oldest;
}

/* Takes fd over. */
static void visitor_create(struct door *door, int fd)
{
	struct visitor **at = place(door);
	struct visitor *visitor = calloc(1, sizeof *visitor);

	if (!visitor || uv_poll_init(sup_loop(door->s), &visitor->poll, fd) < 0) {
		free(visitor);
		peersock_close(&fd);
		return;
	}
	visitor->door = door;
	visitor->poll.data = visitor;
	visitor->fd = fd;
	visitor->order = door->orders++;
	visitor->deadline_ms = sup_now_ms(door->s) + METRICS_IDLE_MS;
	door->open_handles++;
	*at = visitor;
	tick_on(door);
	uv_poll_start(&visitor->poll, UV_READABLE, on_visitor);
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct door *door = handle->data;
	int fd = accept4(door->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		visitor_create(door, fd);
		return;
	}
	if (status == 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	uv_poll_stop(&door->poll); /* no fd is left: again at the next tick */
	door->accepting = false;
	tick_on(door);
}

static void accept_on(struct door *door)
{
	if (!door->accepting)
		uv_poll_start(&door->poll, UV_READABLE, on_accept);
	door->accepting = true;
}

static void on_tick(uv_timer_t *handle)
{
	struct door *door = handle->data;

	unsigned count = 0;

	for (unsigned i = 0; i < METRICS_CLIENTS; i++) {
		count += door->visitors[i] != NULL;
		if (door->visitors[i] && sup_now_ms(door->s) >= door->visitors[i]->deadline_ms)
			visitor_close(door->visitors[i]);
	}
	accept_on(door);
	if (count > 0)
		return;
	door->ticking = false;
	uv_timer_stop(&door->tick);
}

/* ---- the door ---- */

static bool is_private(const struct address *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->kind == ADDRESS_UNIX)
		return true;
	if (address->kind != ADDRESS_TCP || address->any)
		return false;
	if (address->sa.ss_family == AF_INET)
		return (ntohl(v4->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int door_listen(struct door *door, const struct address *address, int inherited_fd,
                       char problem[METRICS_PROBLEM_MAX])
{
	struct listen_spec spec = {
		.address = address,
		.backlog = 16,
		.nonblock = true,
		.hurried = door->metrics->door, /* made again, which is tried again */
		.mode = 0660,
		.owner = LISTEN_KEEP_UID,
		.group = LISTEN_KEEP_GID,
	};
	char text[ADDRESS_TEXT_MAX];
	const char *failed = "";
	int r;

	address_format(address, text);
	if (!is_private(address)) {
		snprintf(problem, METRICS_PROBLEM_MAX,
		         "%s: only a loopback or unix address is served", text);
		return -EPERM;
	}
	r = inherited_fd < 0 ? listen_open(&spec, &door->listening, &failed)
	                     : listen_check_inherited(inherited_fd, &door->listening, &failed);
	/* One whose file is gone, and could not be made again before an upgrade, is still to be made. */
	if (r == 0 && inherited_fd >= 0 && !listen_claim(&door->listening) && address->kind == ADDRESS_UNIX)
		listen_path_made(&door->listening, door->listening.path);
	if (r < 0)
		snprintf(problem, METRICS_PROBLEM_MAX, "%s: %s: %s", text, failed,
		         strerror(-r));
	return r;
}

int door_open(struct metrics *metrics, const struct address *address, int inherited_fd,
              char problem[METRICS_PROBLEM_MAX])
{
	struct door *door = calloc(1, sizeof *door);
	int r;

	snprintf(problem, METRICS_PROBLEM_MAX, "out of memory");
	if (!door)
		return -ENOMEM;
	door->metrics = metrics;
	door->s = metrics->s;
	door->listening.fd = -1;
	r = door_listen(door, address, inherited_fd, problem);
	if (r == 0) {
		r = uv_poll_init(sup_loop(door->s), &door->poll, door->listening.fd);
		if (r < 0)
			snprintf(problem, METRICS_PROBLEM_MAX, "%s", uv_strerror(r));
	}
	if (r < 0) {
		listen_close(&door->listening);
		free(door);
		return r;
	}
	uv_timer_init(sup_loop(door->s), &door->tick);
	door->poll.data = door->tick.data = door;
	door->open_handles = 2;
	peersock_forbid_fds(door->listening.fd);
	accept_on(door);
	metrics->door = door;
	return 0;
}

static void on_door_closed(uv_handle_t *handle)
{
	door_unref(handle->data);
}

void door_close(struct door *door)
{
	if (!door)
		return;
	for (unsigned i = 0; i < METRICS_CLIENTS; i++)
		if (door->visitors[i])
			visitor_close(door->visitors[i]);
	uv_close((uv_handle_t *)&door->poll, on_door_closed);
	uv_close((uv_handle_t *)&door->tick, on_door_closed);
	listen_close(&door->listening);
}

enum door_file door_look(struct door *door, bool lost)
{
	struct listening *listening = &door->listening;
	struct stat there;

	if (!listening->path[0])
		return DOOR_THERE;
	if (lstat(listening->path, &there) < 0)
		return errno == ENOENT ? DOOR_GONE : DOOR_THERE;
	return listen_path_own(listening, listening->path, &there, lost) ? DOOR_THERE : DOOR_TAKEN;
}

int door_fd(const struct door *door)
{
	return door->listening.fd;
}
