#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/control_internal.h"
#include "supervisor/os/scope.h"

/* ---- what is to do, and when ---- */

static bool pending(const struct client *client)
{
	return client->out_start < client->out_end;
}

/* A request that may take for ever: it can not be asked to make room. */
static bool waits(const struct client *client)
{
	return client->busy && (client->follows || client->wait.what != WAIT_NOTHING);
}

unsigned control_waiters(const struct control *control)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		count += control->clients[i] && waits(control->clients[i]);
	return count;
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

static bool has_work(const struct client *client)
{
	if (client->dead)
		return true;
	if (pending(client))
		return false;
	if (client->busy)
		return client->more && (!client->follows || ring_waits(client));
	return client->closing || client->end_of_input || has_line(client);
}

static void on_turn(uv_idle_t *handle);

static void control_kick(struct control *control)
{
	if (!control->turning)
		uv_idle_start(&control->turn, on_turn);
	control->turning = true;
}

void client_kick(struct client *client)
{
	control_kick(client->control);
}

/* The client is closed in the next turn, when nobody up the stack uses it. */
static void client_drop(struct client *client)
{
	client->dead = true;
	client_kick(client);
}

/* ---- closing ---- */

static void control_unref(struct control *control)
{
	if (--control->open_handles > 0)
		return;
	free(control->events.bytes);
	free(control->output.bytes);
	free(control);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;
	struct control *control = client->control;

	free(client->out);
	free(client);
	control_unref(control);
}

static void spare_take_back(struct control *control)
{
	if (control->spare_fd < 0)
		control->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void client_close(struct client *client)
{
	struct control *control = client->control;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i] == client)
			control->clients[i] = NULL;
	uv_close((uv_handle_t *)&client->poll, on_client_closed);
	fd_close(&client->fd);
	spare_take_back(control);
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

static void client_write(struct client *client)
{
	while (pending(client) && !client->dead) {
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
	client->busy = client->follows = false;
	client->more = NULL;
	client->part = client->index = 0;
	client->wait.what = WAIT_NOTHING;
	client->deadline_ms = sup_now_ms(client->control->s) + IDLE_MS;
}

void client_fail(struct client *client, int code, const char *error)
{
	struct json json;

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

static void client_read(struct client *client)
{
	ssize_t n = read(client->fd, client->line + client->line_used,
	                 REQUEST_LINE_MAX - client->line_used);

	if (n > 0)
		client->line_used += (size_t)n;
	else if (n == 0)
		client->end_of_input = true;
	else if (errno != EAGAIN && errno != EINTR)
		client_drop(client);
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
	if (request_parse(client->line, client->line_taken - 1, &client->request, &problem) < 0)
		client_fail(client, CODE_USAGE, problem);
	else
		request_serve(client);
}

static void client_step(struct client *client)
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
static void client_arm(struct client *client)
{
	int events = 0;

	if (client->dead)
		return;
	if (pending(client))
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
	if (has_work(client))
		client_kick(client);
}

/* ---- turns ---- */

/* One request or one part of an answer, for the client whose turn it is. */
static void serve_one(struct control *control)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		unsigned at = (control->next_turn + i) % CLIENTS_MAX;
		struct client *client = control->clients[at];

		if (client && !client->dead && has_work(client)) {
			control->next_turn = at + 1;
			client_step(client);
			return;
		}
	}
}

static void on_turn(uv_idle_t *handle)
{
	struct control *control = handle->data;
	bool check = control->check_waits, work = false;

	control->check_waits = false;
	for (unsigned i = 0; check && i < CLIENTS_MAX; i++)
		if (control->clients[i] && control->clients[i]->wait.what != WAIT_NOTHING)
			wait_check(control->clients[i]);
	serve_one(control);
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (!client)
			continue;
		client_write(client);
		client_arm(client);
		if (client->dead)
			client_close(client);
		else
			work = work || has_work(client);
	}
	if (work || control->check_waits)
		return;
	control->turning = false;
	uv_idle_stop(&control->turn);
}

static void accept_on(struct control *control);

/* Drops who had its time. Runs only while there are clients, or accepting has to be resumed. */
static void on_tick(uv_timer_t *handle)
{
	struct control *control = handle->data;
	uint64_t now_ms = sup_now_ms(control->s);
	unsigned count = 0;

	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (!client)
			continue;
		count++;
		if ((!client->busy || pending(client)) && now_ms >= client->deadline_ms)
			client_drop(client);
		control->check_waits = control->check_waits || client->wait.what != WAIT_NOTHING;
	}
	if (control->check_waits)
		control_kick(control);
	spare_take_back(control);
	accept_on(control);
	if (count > 0)
		return;
	control->ticking = false;
	uv_timer_stop(&control->tick);
}

static void tick_on(struct control *control)
{
	if (!control->ticking)
		uv_timer_start(&control->tick, on_tick, TICK_MS, TICK_MS);
	control->ticking = true;
}

/* ---- accepting ---- */

/* Frees a place: one that nobody has, or that of the oldest who does not wait. */
static struct client **place(struct control *control)
{
	struct client **oldest = NULL;

	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client **at = &control->clients[i];

		if (!*at)
			return at;
		if (!waits(*at) && (!oldest || (*at)->order < (*oldest)->order))
			oldest = at;
	}
	if (oldest)
		client_close(*oldest);
	return oldest;
}

/* Takes fd over. */
static void client_create(struct control *control, int fd)
{
	struct client **at = place(control);
	struct client *client = at ? calloc(1, sizeof *client) : NULL;

	if (!client || uv_poll_init(sup_loop(control->s), &client->poll, fd) < 0) {
		free(client);
		close(fd);
		return;
	}
	client->control = control;
	client->poll.data = client;
	client->fd = fd;
	client->order = control->orders++;
	client->deadline_ms = sup_now_ms(control->s) + IDLE_MS;
	control->open_handles++;
	*at = client;
	tick_on(control);
	if (peer_may(control, fd)) {
		client_read(client); /* the request is mostly there already */
	} else {
		client_fail(client, CODE_FAILED, "not permitted: another user's cluster");
		client->closing = true;
	}
	client_arm(client);
	if (has_work(client))
		client_kick(client);
}

static int accept_one(struct control *control)
{
	int fd = accept4(control->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || control->spare_fd < 0)
		return fd;
	fd_close(&control->spare_fd);
	return accept4(control->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct control *control = handle->data;

	(void)events;
	for (unsigned i = 0; status == 0 && i < ACCEPTS_TURN; i++) {
		int fd = accept_one(control);

		if (fd >= 0) {
			client_create(control, fd);
			continue;
		}
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		status = -errno;
	}
	if (status == 0)
		return;
	/* No fd is left: try again at the next tick instead of spinning. */
	uv_poll_stop(&control->accept_poll);
	control->accepting = false;
	tick_on(control);
}

static void accept_on(struct control *control)
{
	if (!control->accepting)
		uv_poll_start(&control->accept_poll, UV_READABLE, on_accept);
	control->accepting = true;
}

/* ---- life ---- */

static int control_listen(struct control *control)
{
	uv_loop_t *loop = sup_loop(control->s);
	int r = uv_poll_init(loop, &control->accept_poll, control->listening.fd);

	if (r < 0)
		return r;
	uv_idle_init(loop, &control->turn);
	uv_timer_init(loop, &control->tick);
	control->open_handles = 3;
	control->accept_poll.data = control->turn.data = control->tick.data = control;
	spare_take_back(control);
	accept_on(control);
	return 0;
}

static void control_free(struct control *control)
{
	listen_close(&control->listening);
	free(control->events.bytes);
	free(control->output.bytes);
	free(control);
}

static int control_begin(struct control *control, const struct policy *policy, const char *name,
                         int inherited_fd, char problem[CONTROL_PROBLEM_MAX])
{
	int r;

	strcpy(problem, "out of memory");
	if (ring_init(&control->events, 65536) < 0 || ring_init(&control->output, 65536) < 0)
		return -ENOMEM;
	r = inherited_fd < 0 ? control_open(control, policy, name, problem)
	                     : control_adopt(control, policy, inherited_fd, problem);
	if (r < 0)
		return r;
	strcpy(problem, "can not be polled");
	return control_listen(control);
}

int control_start(struct supervisor *s, const struct policy *policy, const char *name,
                  int inherited_fd, struct control **ret, char problem[CONTROL_PROBLEM_MAX])
{
	struct control *control;
	int r;

	if (inherited_fd < 0 && strcmp(policy->control_socket, "off") == 0) {
		*ret = NULL;
		return 0;
	}
	control = calloc(1, sizeof *control);
	strcpy(problem, "out of memory");
	if (!control)
		return -ENOMEM;
	control->s = s;
	control->listening.fd = control->spare_fd = -1;
	control->group = (gid_t)-1;
	r = control_begin(control, policy, name, inherited_fd, problem);
	if (r < 0) {
		control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

static void on_control_closed(uv_handle_t *handle)
{
	control_unref(handle->data);
}

void control_stop(struct control *control, int status)
{
	if (!control)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (!client)
			continue;
		if (client->wait.what != WAIT_NOTHING)
			wait_ended(client, status);
		client_write(client);
		client_close(client);
	}
	uv_close((uv_handle_t *)&control->accept_poll, on_control_closed);
	uv_close((uv_handle_t *)&control->turn, on_control_closed);
	uv_close((uv_handle_t *)&control->tick, on_control_closed);
	listen_close(&control->listening);
	fd_close(&control->spare_fd);
}

const char *control_path(const struct control *control)
{
	return control ? control->path : "";
}

int control_fd(const struct control *control)
{
	return control ? control->listening.fd : -1;
}

/* ---- what the supervisor tells ---- */

void control_report(struct control *control, const struct report *report)
{
	for (unsigned i = 0; control && i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (client && client->wait.what != WAIT_NOTHING) {
			wait_report(client, report);
			control->check_waits = true;
			control_kick(control);
		}
	}
}

void control_log_line(struct control *control, const char *json, size_t size)
{
	if (!control)
		return;
	ring_add(&control->events, ALL_SLOTS, json, size);
	if (control->ticking)
		control_kick(control);
}

void control_output_line(struct control *control, uint32_t slot, bool is_error, const char *text,
                         size_t size)
{
	char line[4096];
	struct json json;

	if (!control)
		return;
	if (size > 512)
		size = 512; /* a longer line is cut: the log has all of it */
	json_begin(&json, line, sizeof line);
	json_word(&json, "kind", "output");
	json_number(&json, "slot", slot);
	json_word(&json, "stream", is_error ? "stderr" : "stdout");
	json_text(&json, "text", text, size);
	ring_add(&control->output, slot, line, json_end(&json));
	if (control->ticking)
		control_kick(control);
}

void control_reconnect(struct control *control)
{
	for (unsigned i = 0; control && i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];
		struct json json;

		if (!client)
			continue;
		reply_begin(client, &json, "reconnect");
		reply_end(client, &json);
		client_write(client);
		client_drop(client);
	}
}

void control_upgrade_failed(struct control *control, const char *problem)
{
	for (unsigned i = 0; control && i < CLIENTS_MAX; i++)
		if (control->clients[i] && control->clients[i]->wait.what == WAIT_UPGRADE)
			client_fail(control->clients[i], CODE_FAILED, problem);
}
