#include "cmd/app/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_KEPT = 4 * CONN_OUT_HIGH, LUCK_MAX = 16, LUCK_TRY = 16 };

struct conn_reader {
	struct http_reader http;
	struct conn_reader *next;
};

struct conn {
	struct hub *hub;
	struct deadline deadline;
	struct conn_reader *reader; /* while a request is under way */
	struct buffer unsent;       /* answers the socket did not take */
	struct buffer waiting_in;   /* read, but behind an answer that is not out yet */
	struct conn *next_fresh;    /* see on_prepare() */
	struct visit visit;
	size_t sent;        /* how much of `unsent` is out */
	size_t lingered;    /* bytes thrown away */
	int fd;             /* -1: closed, the struct goes in conn_settle() or after the visit */
	uint32_t events;    /* what is waited for */
	bool visiting;      /* waits for Redis */
	bool visit_kept;    /* the request that waits wants the connection kept */
	bool visit_minor_0; /* and is HTTP/1.0 */
	bool visit_head;    /* and wants no body */
	bool closing;       /* after the last answer is out */
	bool lingering;     /* it is out; what still comes in is thrown away */
	bool must_linger;   /* something unread would reset the answer away: RFC 9112 9.6 */
	bool served;        /* at least one request was answered */
	bool restarted;     /* a request ended since the limit was set */
};

#define conn_of(pointer, member)                                                                   \
	((struct conn *)(void *)((char *)(pointer)-offsetof(struct conn, member)))

static struct conn_reader *reader_take(struct hub *hub)
{
	struct conn_reader *reader = hub->spare;

	if (reader) {
		hub->spare = reader->next;
		hub->spares--;
		return reader;
	}
	reader = malloc(sizeof *reader);
	if (reader)
		http_reader_init(&reader->http, &hub->budget);
	return reader;
}

static void reader_release(struct conn *conn)
{
	struct hub *hub = conn->hub;
	struct conn_reader *reader = conn->reader;

	conn->reader = NULL;
	if (!reader)
		return;
	if (hub->spares == CONN_READERS_KEPT) {
		http_reader_finish(&reader->http);
		free(reader);
		return;
	}
	http_reader_reset(&reader->http);
	reader->next = hub->spare;
	hub->spare = reader;
	hub->spares++;
}

/* The struct lives on until conn_settle(), or until its visit is over. */
static void conn_close(struct conn *conn)
{
	struct hub *hub = conn->hub;

	if (conn->fd < 0)
		return;
	deadline_clear(&conn->deadline);
	reader_release(conn);
	buffer_finish(&conn->unsent);
	buffer_finish(&conn->waiting_in);
	watch_for(&hub->watch, conn->fd, &conn->events, 0, conn);
	close(conn->fd);
	conn->fd = -1;
	if (--hub->connections == 0 && hub->emptied)
		hub->emptied(hub);
}

/* Sends what hub->out holds; what the socket does not take waits in `unsent`. */
static void conn_flush(struct conn *conn)
{
	struct hub *hub = conn->hub;
	size_t done = 0;

	if (hub->out.failed) {
		buffer_clear(&hub->out, OUT_KEPT);
		conn_close(conn);
		return;
	}
	if (conn->unsent.size == 0) {
		while (done < hub->out.size) {
			ssize_t n = send(conn->fd, hub->out.data + done, hub->out.size - done,
					 MSG_NOSIGNAL);

			if (n >= 0) {
				done += (size_t)n;
			} else if (errno == EAGAIN) {
				break;
			} else if (errno != EINTR) {
				buffer_clear(&hub->out, OUT_KEPT);
				conn_close(conn);
				return;
			}
		}
	}
	buffer_append(&conn->unsent, hub->out.data + done, hub->out.size - done);
	buffer_clear(&hub->out, OUT_KEPT);
	if (conn->unsent.failed)
		conn_close(conn); /* the budget is out: this one reads too slowly */
}

/* The socket takes more: returns true when all is out. */
static bool conn_send_rest(struct conn *conn)
{
	while (conn->sent < conn->unsent.size) {
		ssize_t n = send(conn->fd, conn->unsent.data + conn->sent,
				 conn->unsent.size - conn->sent, MSG_NOSIGNAL);

		if (n >= 0) {
			conn->sent += (size_t)n;
		} else if (errno == EAGAIN) {
			return false;
		} else if (errno != EINTR) {
			conn_close(conn);
			return false;
		}
	}
	conn->sent = 0;
	buffer_finish(&conn->unsent);
	return true;
}

static enum reply_connection connection_of(const struct conn *conn, bool keep, bool minor_0)
{
	if (!keep || conn->hub->draining)
		return REPLY_CLOSE;
	return minor_0 ? REPLY_KEEP_1_0 : REPLY_KEEP;
}

static void conn_fail(struct conn *conn, const struct http_problem *problem)
{
	bool head_only = conn->reader && conn->reader->http.method == HTTP_HEAD;

	route_error(&conn->hub->site, problem, head_only, REPLY_CLOSE, &conn->hub->out);
	conn->closing = conn->must_linger = true;
	reader_release(conn);
}

static void on_visited(struct visit *visit, long long count, const char *message);

static void conn_visit(struct conn *conn)
{
	struct http_reader *http = &conn->reader->http;
	struct http_problem problem = { .status = 503 };
	enum reply_connection connection = connection_of(conn, http->keep_alive, http->minor_0);

	conn->visit.done = on_visited;
	conn->visit_kept = http->keep_alive;
	conn->visit_minor_0 = http->minor_0;
	conn->visit_head = http->method == HTTP_HEAD;
	problem.message = visits_ask(&conn->hub->visits, &conn->visit);
	if (!problem.message) {
		conn->visiting = true;
		return;
	}
	route_error(&conn->hub->site, &problem, conn->visit_head, connection, &conn->hub->out);
	conn->closing = connection == REPLY_CLOSE;
}

/* The request is complete. */
static void conn_answer(struct conn *conn)
{
	struct hub *hub = conn->hub;
	struct http_reader *http = &conn->reader->http;
	enum reply_connection connection = connection_of(conn, http->keep_alive, http->minor_0);

	if (route_answer(&hub->site, http, connection, &hub->out) == ROUTE_VISITS)
		conn_visit(conn);
	else
		conn->closing = connection == REPLY_CLOSE;
	conn->served = conn->restarted = true;
	reader_release(conn);
}

/* The head is complete and a body follows: is it worth reading? */
static void conn_head(struct conn *conn)
{
	struct http_reader *http = &conn->reader->http;
	struct http_problem problem = route_check(http);

	if (problem.status == 0 && http->expects_continue)
		reply_write_continue(&conn->hub->out);
	else if (problem.status != 0 && http->expects_continue)
		conn_fail(conn, &problem); /* instead of 100: the body may never come */
	else if (problem.status != 0 || http->method != HTTP_POST)
		http->discard_body = true;
}

static bool conn_can_go_on(const struct conn *conn)
{
	return conn->fd >= 0 && !conn->closing && !conn->visiting && conn->unsent.size == 0;
}

/* Reads up to the next event and acts on it. Returns how many bytes that took. */
static size_t conn_step(struct conn *conn, const char *data, size_t size)
{
	struct hub *hub = conn->hub;
	size_t used;

	if (!conn->reader)
		conn->reader = reader_take(hub);
	if (!conn->reader) {
		conn_close(conn);
		return 0;
	}
	switch (http_read(&conn->reader->http, data, size, &used)) {
	case HTTP_EVENT_MORE:
		if (http_reader_is_fresh(&conn->reader->http))
			reader_release(conn);
		break;
	case HTTP_EVENT_HEAD: conn_head(conn); break;
	case HTTP_EVENT_END: conn_answer(conn); break;
	case HTTP_EVENT_REFUSED: conn_fail(conn, &conn->reader->http.problem); break;
	}
	if (hub->out.size > CONN_OUT_HIGH)
		conn_flush(conn);
	return used;
}

/* Serves all the requests in these bytes; keeps those that must wait. */
static void conn_feed(struct conn *conn, const char *data, size_t size)
{
	while (size > 0 && conn_can_go_on(conn)) {
		size_t used = conn_step(conn, data, size);

		data += used;
		size -= used;
	}
	if (conn->fd < 0 || size == 0)
		return;
	if (conn->closing) {
		conn->must_linger = true;
		return;
	}
	buffer_append(&conn->waiting_in, data, size);
	if (conn->waiting_in.failed)
		conn_close(conn);
}

/* What was read before goes on where it had to wait. */
static void conn_resume(struct conn *conn)
{
	struct buffer in = conn->waiting_in;

	if (in.size == 0 || !conn_can_go_on(conn))
		return;
	conn->waiting_in = (struct buffer){ .budget = in.budget };
	conn_feed(conn, in.data, in.size);
	buffer_finish(&in);
}

/* One read. Returns false when there was nothing to read. */
static bool conn_read(struct conn *conn)
{
	struct hub *hub = conn->hub;
	ssize_t n = recv(conn->fd, hub->in, sizeof hub->in, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		conn_close(conn);
	} else if (conn->lingering) {
		conn->lingered += (size_t)n;
		if (conn->lingered > CONN_LINGER_MAX)
			conn_close(conn);
	} else {
		conn->must_linger |= (size_t)n == sizeof hub->in; /* there may be more */
		conn_feed(conn, hub->in, (size_t)n);
	}
	return true;
}

static enum limit conn_limit(const struct conn *conn)
{
	if (conn->lingering)
		return LIMIT_LINGER;
	if (conn->unsent.size > 0)
		return LIMIT_ANSWER;
	if (conn->visiting)
		return LIMIT_NONE; /* VISITS_TIMEOUT_MS ends it */
	if (conn->reader)
		return LIMIT_REQUEST;
	if (conn->hub->draining)
		return LIMIT_DRAIN;
	return conn->served ? LIMIT_IDLE : LIMIT_REQUEST;
}

static void conn_watch(struct conn *conn)
{
	enum limit limit = conn_limit(conn);
	uint32_t events = EPOLLIN;

	if (conn->unsent.size > 0)
		events = EPOLLOUT;
	else if (conn->visiting)
		events = 0;
	conn->must_linger |= events != EPOLLIN; /* what comes now is not read */
	if (watch_for(&conn->hub->watch, conn->fd, &conn->events, events, conn) < 0) {
		conn_close(conn);
		return;
	}
	if (!conn->deadline.next || conn->restarted || conn->deadline.limit != limit)
		deadline_set(&conn->hub->deadlines, &conn->deadline, limit);
	conn->restarted = false;
}

/* The last step of whatever happened to a connection. */
static void conn_settle(struct conn *conn)
{
	if (conn->fd >= 0 && conn->hub->out.size > 0)
		conn_flush(conn);
	if (conn->fd >= 0 && conn->closing && conn->unsent.size == 0 && !conn->lingering) {
		if (conn->must_linger && shutdown(conn->fd, SHUT_WR) == 0)
			conn->lingering = true;
		else
			conn_close(conn);
	}
	if (conn->fd >= 0)
		conn_watch(conn);
	if (conn->fd < 0) {
		buffer_clear(&conn->hub->out, OUT_KEPT);
		if (!conn->visiting)
			free(conn);
	}
}

static void on_ready(void *owner)
{
	struct conn *conn = owner;

	if (conn->unsent.size == 0)
		conn_read(conn);
	else if (conn_send_rest(conn))
		conn_resume(conn);
	conn_settle(conn);
}

static void on_visited(struct visit *visit, long long count, const char *message)
{
	struct conn *conn = conn_of(visit, visit);
	struct hub *hub = conn->hub;
	struct http_problem problem = { .status = 503, .message = message };
	enum reply_connection connection =
	    connection_of(conn, conn->visit_kept, conn->visit_minor_0);

	conn->visiting = false;
	if (conn->fd < 0) { /* ended while it waited: nobody reads the count */
		free(conn);
		return;
	}
	if (message)
		route_error(&hub->site, &problem, conn->visit_head, connection, &hub->out);
	else
		route_visits(&hub->site, count, conn->visit_head, connection, &hub->out);
	conn->closing = connection == REPLY_CLOSE;
	conn->must_linger |= conn->closing && conn->waiting_in.size > 0;
	conn_flush(conn);
	conn_resume(conn);
	conn_settle(conn);
}

/* A request that is in the socket already came in time: timers are judged before sockets are read. */
static void on_deadline(struct deadline *deadline)
{
	static const struct http_problem slow = { 408, "the request took too long", NULL };
	struct conn *conn = conn_of(deadline, deadline);

	if (deadline->limit == LIMIT_REQUEST && conn->reader)
		conn_fail(conn, &slow);
	else if ((deadline->limit != LIMIT_IDLE && deadline->limit != LIMIT_DRAIN) || !conn_read(conn))
		conn_close(conn);
	conn_settle(conn);
}

/*
 * The loop is about to sleep. Connections that were empty when they came get a
 * second look: by now most have their request, and those that are answered and
 * closed at once need not be put into epoll, which costs more than the read.
 */
static void on_prepare(uv_prepare_t *prepare)
{
	struct hub *hub = prepare->data;

	while (hub->fresh) {
		struct conn *conn = hub->fresh;

		hub->fresh = conn->next_fresh;
		if (conn_read(conn))
			hub->luck += hub->luck < LUCK_MAX;
		else
			hub->luck -= hub->luck > 0;
		conn_settle(conn);
	}
	uv_prepare_stop(prepare);
}

int hub_init(struct hub *hub, uv_loop_t *loop, const uint64_t limits[LIMITS])
{
	hub->loop = loop;
	hub->budget.left = CONN_BUDGET;
	hub->out = (struct buffer){ 0 };
	hub->spare = NULL;
	hub->spares = hub->connections = 0;
	hub->draining = false;
	hub->fresh = NULL;
	hub->luck = LUCK_MAX;
	uv_prepare_init(loop, &hub->prepare);
	hub->prepare.data = hub;
	deadlines_init(&hub->deadlines, loop, limits, on_deadline);
	return watch_open(&hub->watch, loop, on_ready);
}

void hub_finish(struct hub *hub)
{
	while (hub->spare) {
		struct conn_reader *reader = reader_take(hub);

		http_reader_finish(&reader->http);
		free(reader);
	}
	buffer_finish(&hub->out);
	site_finish(&hub->site);
}

void hub_drain(struct hub *hub)
{
	static const enum limit at_rest[] = { LIMIT_IDLE, LIMIT_REQUEST };

	hub->draining = true;
	for (size_t i = 0; i < sizeof at_rest / sizeof *at_rest; i++) {
		struct deadline *head = &hub->deadlines.lists[at_rest[i]];
		struct deadline *next;

		for (struct deadline *d = head->next; d != head; d = next) {
			next = d->next;
			if (!conn_of(d, deadline)->reader)
				deadline_set(&hub->deadlines, d, LIMIT_DRAIN);
		}
	}
}

struct conn *conn_create(struct hub *hub, int fd)
{
	struct conn *conn = calloc(1, sizeof *conn);

	if (!conn) {
		close(fd);
		return NULL;
	}
	conn->hub = hub;
	conn->fd = fd;
	conn->unsent.budget = conn->waiting_in.budget = &hub->budget;
	hub->connections++;
	return conn;
}

void conn_start(struct conn *conn)
{
	struct hub *hub = conn->hub;

	/* Where clients are slower than we are, looking early costs two calls and finds nothing. */
	if (hub->luck == 0 && ++hub->unlooked % LUCK_TRY != 0) {
		conn_settle(conn);
		return;
	}
	if (conn_read(conn)) {
		hub->luck += hub->luck < LUCK_MAX;
		conn_settle(conn);
		return;
	}
	if (!hub->fresh)
		uv_prepare_start(&hub->prepare, on_prepare);
	conn->next_fresh = hub->fresh;
	hub->fresh = conn;
}
