#include "cmd/app/visits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/async.h>

static const char default_url[] = "redis://127.0.0.1:6379";
static const char away[] = "Redis is away";

/* What connects one hiredis context to the loop; freed when its handle has closed. */
struct link {
	uv_poll_t poll;
	int events;
	redisAsyncContext *redis; /* NULL: hiredis has let go */
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct link *link = poll->data;

	/* libuv reports POLLERR, such as a refused connect, as a status; hiredis finds out. */
	if (link->redis && (status < 0 || (events & UV_WRITABLE)))
		redisAsyncHandleWrite(link->redis);
	if (link->redis && (status < 0 || (events & UV_READABLE)))
		redisAsyncHandleRead(link->redis);
}

static void set_events(struct link *link, int events)
{
	link->events = events;
	if (events)
		uv_poll_start(&link->poll, events, on_poll);
	else
		uv_poll_stop(&link->poll);
}

static void add_read(void *context)
{
	struct link *link = context;

	set_events(link, link->events | UV_READABLE);
}

static void del_read(void *context)
{
	struct link *link = context;

	set_events(link, link->events & ~UV_READABLE);
}

static void add_write(void *context)
{
	struct link *link = context;

	set_events(link, link->events | UV_WRITABLE);
}

static void del_write(void *context)
{
	struct link *link = context;

	set_events(link, link->events & ~UV_WRITABLE);
}

static void on_link_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void cleanup(void *context)
{
	struct link *link = context;

	link->redis = NULL;
	uv_close((uv_handle_t *)&link->poll, on_link_closed);
}

static int attach(uv_loop_t *loop, redisAsyncContext *redis)
{
	struct link *link = calloc(1, sizeof *link);

	if (!link)
		return -ENOMEM;
	if (uv_poll_init(loop, &link->poll, redis->c.fd) != 0) {
		free(link);
		return -ENOMEM;
	}
	link->poll.data = link;
	link->redis = redis;
	redis->ev.data = link;
	redis->ev.addRead = add_read;
	redis->ev.delRead = del_read;
	redis->ev.addWrite = add_write;
	redis->ev.delWrite = del_write;
	redis->ev.cleanup = cleanup;
	return 0;
}

/* Takes the oldest visit off the list. */
static struct visit *take_first(struct visits *v)
{
	struct visit *visit = v->first;

	v->first = visit->next;
	if (!v->first) {
		v->end = &v->first;
		uv_timer_stop(&v->timer);
	}
	return visit;
}

/* The connection is gone or of no use: everybody who waits is told why. */
static void lose(struct visits *v, const char *problem)
{
	redisAsyncContext *redis = v->redis;
	struct visit *visit = v->first;

	v->redis = NULL;
	v->connected = false;
	v->retry_ms = uv_now(v->loop) + VISITS_PAUSE_MS;
	v->first = v->unsent = NULL;
	v->end = &v->first;
	uv_timer_stop(&v->timer);
	if (redis)
		redisAsyncFree(redis); /* its callbacks see that it is no longer ours */
	while (visit) {
		struct visit *next = visit->next;

		visit->done(visit, 0, problem);
		visit = next;
	}
}

static void on_timeout(uv_timer_t *timer)
{
	lose(timer->data, "Redis did not answer in time");
}

static void on_count(redisAsyncContext *redis, void *data, void *context)
{
	struct visits *v = redis->data;
	const redisReply *reply = data;
	struct visit *visit;

	(void)context;
	if (redis != v->redis || !reply)
		return; /* lose() has told, or will tell, everybody */
	visit = take_first(v);
	if (v->first)
		uv_timer_again(&v->timer); /* Redis is alive: the next one has its time too */
	if (reply->type == REDIS_REPLY_INTEGER)
		visit->done(visit, reply->integer, NULL);
	else
		visit->done(visit, 0, "Redis refused to count");
}

/* Sends what waits, once the connection is usable. */
static void send_waiting(struct visits *v)
{
	if (!v->connected || v->setup_left > 0)
		return;
	for (; v->unsent; v->unsent = v->unsent->next) {
		if (redisAsyncCommand(v->redis, on_count, NULL, "INCR visits") != REDIS_OK)
			return; /* closing; its disconnect callback follows */
	}
}

static void on_setup(redisAsyncContext *redis, void *data, void *context)
{
	struct visits *v = redis->data;
	const redisReply *reply = data;

	(void)context;
	if (redis != v->redis || !reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		lose(v, "Redis refused the password or database of REDIS_URL");
		return;
	}
	v->setup_left--;
	send_waiting(v);
}

static void on_connect(const redisAsyncContext *redis, int status)
{
	struct visits *v = redis->data;

	if (redis != v->redis)
		return;
	if (status != REDIS_OK) {
		v->redis = NULL; /* hiredis frees it */
		lose(v, away);
		return;
	}
	v->connected = true;
	send_waiting(v);
}

static void on_disconnect(const redisAsyncContext *redis, int status)
{
	struct visits *v = redis->data;

	(void)status;
	if (redis != v->redis)
		return;
	v->redis = NULL; /* hiredis frees it */
	lose(v, away);
}

static void send_setup(struct visits *v)
{
	const struct redis_url *url = &v->url;

	v->setup_left = (url->password[0] ? 1u : 0u) + (url->database ? 1u : 0u);
	if (url->password[0] && url->user[0])
		redisAsyncCommand(v->redis, on_setup, NULL, "AUTH %s %s", url->user, url->password);
	else if (url->password[0])
		redisAsyncCommand(v->redis, on_setup, NULL, "AUTH %s", url->password);
	if (url->database)
		redisAsyncCommand(v->redis, on_setup, NULL, "SELECT %u", url->database);
}

/* Begins to connect; `host` is numeric, or a path if the port is 0. */
static int connect_to(struct visits *v, const char *host)
{
	redisAsyncContext *redis =
	    v->url.port ? redisAsyncConnect(host, (int)v->url.port) : redisAsyncConnectUnix(host);

	if (!redis)
		return -ENOMEM;
	redis->data = v;
	if (redis->err || attach(v->loop, redis) != 0) {
		redisAsyncFree(redis);
		return -ECONNREFUSED;
	}
	v->redis = redis;
	v->connected = false;
	redisAsyncSetDisconnectCallback(redis, on_disconnect);
	redisAsyncSetConnectCallback(redis, on_connect);
	send_setup(v);
	return 0;
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *list)
{
	struct visits *v = resolver->data;
	char host[64];

	v->resolving = false;
	if (v->first) {
		if (status == 0)
			status = uv_ip_name(list->ai_addr, host, sizeof host);
		if (status != 0)
			lose(v, "the host of REDIS_URL has no address");
		else if (connect_to(v, host) != 0)
			lose(v, away);
	}
	uv_freeaddrinfo(list);
}

/* The resolver takes threads, and libuv ends a process that can not have them. */
static bool needs_no_resolver(const struct redis_url *url)
{
	unsigned char address[16];

	return url->port == 0 || uv_inet_pton(AF_INET, url->host, address) == 0 ||
	       uv_inet_pton(AF_INET6, url->host, address) == 0;
}

static const char *begin(struct visits *v)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int error;

	if (uv_now(v->loop) < v->retry_ms)
		return away;
	if (needs_no_resolver(&v->url)) {
		error = connect_to(v, v->url.host);
	} else {
		v->resolver.data = v;
		error =
		    uv_getaddrinfo(v->loop, &v->resolver, on_resolved, v->url.host, NULL, &hints);
		v->resolving = error == 0;
	}
	if (error == 0)
		return NULL;
	v->retry_ms = uv_now(v->loop) + VISITS_PAUSE_MS;
	return away;
}

int visits_init(struct visits *v, uv_loop_t *loop, const char *url)
{
	*v = (struct visits){ .loop = loop };
	v->end = &v->first;
	uv_timer_init(loop, &v->timer);
	v->timer.data = v;
	return redis_url_parse(url && *url ? url : default_url, &v->url);
}

const char *visits_ask(struct visits *v, struct visit *visit)
{
	const char *problem = v->redis || v->resolving ? NULL : begin(v);

	if (problem)
		return problem;
	if (!v->first)
		uv_timer_start(&v->timer, on_timeout, VISITS_TIMEOUT_MS, VISITS_TIMEOUT_MS);
	visit->next = NULL;
	*v->end = visit;
	v->end = &visit->next;
	if (!v->unsent)
		v->unsent = visit;
	if (v->redis)
		send_waiting(v);
	return NULL;
}
