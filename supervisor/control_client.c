#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "supervisor/control_internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/peersock.h"
#include "supervisor/os/scope.h"

/* ---- what is to do, and when ---- */

bool client_pending(const struct client *client)
{
	return client->out_start < client->out_end;
}

/* A request that may take for ever: it can not be asked to make room. */
bool client_waits(const struct client *client)
{
	return client->busy && (client->follows || client->wait.what != WAIT_NOTHING);
}

static bool has_line(const struct client *client)
{
	return client->line_used == REQUEST_LINE_MAX ||
	       memchr(client->line, '\n', client->line_used) != NULL;
}

static bool ring_waits(const struct client *client)
{
	const struct control *control = client->control;
	bool logs = client->request.what == REQUEST_logs;

	return client->ring_at < (logs ? control->output.end : control->events.end);
}

void client_follow_to_end(struct client *client, uint64_t deadline_ms)
{
	while (ring_waits(client) && !client->dead && clock_ms() < deadline_ms) {
		client->more(client);
		client_write_all(client, deadline_ms);
	}
}

bool client_has_work(const struct client *client)
{
	if (client->dead)
		return true;
	if (client_pending(client))
		return false;
	if (client->busy)
		return client->more && (!client->follows || ring_waits(client));
	return client->closing || client->end_of_input || has_line(client);
}

void client_kick(struct client *client)
{
	control_kick(client->control);
}

/* The client is closed in the next turn, when nobody up the stack uses it. */
void client_drop(struct client *client)
{
	client->dead = true;
	client_kick(client);
}

/* ---- closing ---- */

static void on_client_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;
	struct control *control = client->control;

	free(client->out);
	free(client);
	control_unref(control);
}

void client_close(struct client *client)
{
	struct control *control = client->control;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i] == client)
			control->clients[i] = NULL;
	uv_close((uv_handle_t *)&client->poll, on_client_closed);
	peersock_close(&client->fd);
	control_spare(control);
}

/* ---- writing ---- */

/* Makes room for `size` more bytes of output. A client that left too much unread is dropped. */
bool client_room(struct client *client, size_t size)
{
	size_t used = client->out_end - client->out_start, want;
	char *more;

	if (client->dead)
		return false;
	if (client->out_size - client->out_end >= size)
		return true;
	if (used > 0)
		memmove(client->out, client->out + client->out_start, used);
	client->out_start = 0;
	client->out_end = used;
	if (client->out_size - used >= size)
		return true;
	for (want = REPLY_SIZE; want < used + size; want *= 2)
		;
	more = used + size > OUT_MAX ? NULL : realloc(client->out, want);
	if (!more) {
		client_drop(client);
		return false;
	}
	client->out = more;
	client->out_size = want;
	return true;
}

void reply_begin(struct client *client, struct json *json, const char *kind)
{
	bool room = client_room(client, REPLY_SIZE);

	json_begin(json, room ? client->out + client->out_end : NULL,
	           room ? client->out_size - client->out_end : 0);
	if (kind)
		json_word(json, "kind", kind);
}

void reply_end(struct client *client, struct json *json)
{
	client->out_end += json_end(json);
	client_kick(client);
}

void client_write(struct client *client)
{
	while (client_pending(client) && !client->dead) {
		ssize_t n = send(client->fd, client->out + client->out_start,
		                 client->out_end - client->out_start, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			client_drop(client);
		if (n > 0) {
			client->out_start += (size_t)n;
			client->deadline_ms = sup_now_ms(client->control->s) + IDLE_MS;
		}
	}
}

/* With hundreds of workers the steps of a stop alone fill the socket, and the verdict comes behind them. */
void client_write_all(struct client *client, uint64_t deadline_ms)
{
	struct pollfd look = { .fd = client->fd, .events = POLLOUT };

	for (client_write(client); client_pending(client) && !client->dead; client_write(client)) {
		uint64_t now = clock_ms();

		if (now >= deadline_ms || poll(&look, 1, (int)(deadline_ms - now)) <= 0)
			return;
	}
}

/* Ends the answer; `json` is an object begun by the caller with more to say, or NULL. */
void client_done(struct client *client, struct json *json, bool ok)
{
	struct json plain;
	size_t rest = client->line_used - client->line_taken;

	if (!json)
		reply_begin(client, json = &plain, NULL);
	json_flag(json, "ok", ok);
	json_flag(json, "done", true);
	reply_end(client, json);

	memmove(client->line, client->line + client->line_taken, rest);
	client->line_used = rest;
	client->line_taken = 0;
	client->served++;
	client->busy = client->follows = client->told = client->begun = false;
	client->more = NULL;
	client->part = client->index = 0;
	client->wait.what = WAIT_NOTHING;
	client->wait.ended = false;
	client->deadline_ms = sup_now_ms(client->control->s) + IDLE_MS;
}

void client_fail(struct client *client, int code, const char *error)
{
	struct json json;

	request_failed(client, error);
	reply_begin(client, &json, NULL);
	json_number(&json, "code", code);
	json_word(&json, "error", error);
	client_done(client, &json, false);
}

void client_ok(struct client *client)
{
	client_done(client, NULL, true);
}

/* ---- reading ---- */

void client_read(struct client *client)
{
	ssize_t n = peersock_read(client->fd, client->line + client->line_used,
	                          REQUEST_LINE_MAX - client->line_used);

	if (n > 0)
		client->line_used += (size_t)n;
	else if (n == 0)
		client->end_of_input = true;
	else if (errno != EAGAIN && errno != EINTR)
		client_drop(client);
}

/* Einhorn's clients neither read the answer nor mind it. */
static void serve_ack(struct client *client)
{
	if (sup_ack(client->control->s, peer_pid(client->fd)))
		client_ok(client);
	else
		client_fail(client, CODE_FAILED, "not sent by a worker with activation = einhorn");
}

/* Takes one line and answers it, or begins to. */
static void client_serve(struct client *client)
{
	const char *newline = memchr(client->line, '\n', client->line_used);
	const char *problem;

	if (!newline) {
		client->closing = true;
		if (client->line_used < REQUEST_LINE_MAX)
			return;
		client->line_taken = client->line_used;
		client_fail(client, CODE_USAGE, "a request is at most 4096 bytes long");
		return;
	}
	client->line_taken = (size_t)(newline - client->line) + 1;
	client->busy = true;
	if (proto_is_ack(client->line, client->line_taken - 1))
		serve_ack(client);
	else if (request_parse(client->line, client->line_taken - 1, &client->request, &problem) < 0)
		client_fail(client, CODE_USAGE, problem);
	else
		request_serve(client);
}

void client_step(struct client *client)
{
	if (client->busy) {
		if (client->more && !client->more(client))
			client->more = NULL;
	} else if (client->closing) {
		client_drop(client);
	} else {
		client_serve(client);
	}
	client_write(client);
}

static void on_client(uv_poll_t *handle, int status, int events);

/* Listens for just what can be used now: a level-triggered poll for more would spin. */
void client_arm(struct client *client)
{
	int events = 0;

	if (client->dead)
		return;
	if (client_pending(client))
		events |= UV_WRITABLE;
	if (!client->busy && !client->end_of_input && !client->closing &&
	    client->line_used < REQUEST_LINE_MAX)
		events |= UV_READABLE;
	if (client->busy && !client->end_of_input)
		events |= UV_DISCONNECT;
	if (events == client->armed)
		return;
	client->armed = events;
	if (events)
		uv_poll_start(&client->poll, events, on_client);
	else
		uv_poll_stop(&client->poll);
}

/* The peer closed, or only shut down its writing half as `echo status | nc -N` does. */
static void client_disconnected(struct client *client)
{
	struct pollfd look = { .fd = client->fd };

	client->end_of_input = true;
	if (poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR)))
		client_drop(client);
}

static void on_client(uv_poll_t *handle, int status, int events)
{
	struct client *client = handle->data;

	if (client->dead)
		return;
	if (status < 0)
		client_drop(client);
	else if (events & UV_READABLE)
		client_read(client);
	else if (events & UV_DISCONNECT)
		client_disconnected(client);
	if (events & UV_WRITABLE)
		client_write(client);
	client_arm(client);
	if (client_has_work(client))
		client_kick(client);
}
