#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/control_internal.h"
#include "supervisor/core/escape.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/peersock.h"
#include "supervisor/os/scope.h"

/* ---- turns ---- */

static void accept_on(struct control *control);
static void on_turn(uv_idle_t *handle);

void control_kick(struct control *control)
{
	if (!control->turning)
		uv_idle_start(&control->turn, on_turn);
	control->turning = true;
}

unsigned control_waiters(const struct control *control)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		count += control->clients[i] && client_waits(control->clients[i]);
	return count;
}

void control_spare(struct control *control)
{
	if (control->spare_fd < 0)
		control->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* One request or one part of an answer, for the client whose turn it is. */
static void serve_one(struct control *control)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		unsigned at = (control->next_turn + i) % CLIENTS_MAX;
		struct client *client = control->clients[at];

		if (client && !client->dead && client_has_work(client)) {
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
	if (control->full)
		accept_on(control);
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
			work = work || client_has_work(client);
	}
	if (work || control->check_waits)
		return;
	control->turning = false;
	uv_idle_stop(&control->turn);
}

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
		if ((!client->busy || client_pending(client)) && now_ms >= client->deadline_ms)
			client_drop(client);
		control->check_waits = control->check_waits || client->wait.what != WAIT_NOTHING;
	}
	if (control->check_waits)
		control_kick(control);
	control_spare(control);
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

/* Who neither waits nor is owed its first answer can be asked to make room, once it has had the
 * time to ask. */
static bool may_go(const struct client *client, uint64_t now_ms)
{
	if (client_waits(client))
		return false;
	if (client->dead || client->served > 0)
		return true;
	return !client_has_work(client) && now_ms >= client->came_ms + GRACE_MS;
}

/* A place that nobody has, or that of the oldest who may go; NULL when there is none just now. */
static struct client **place(struct control *control)
{
	struct client **oldest = NULL;
	uint64_t now_ms = sup_now_ms(control->s);

	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client **at = &control->clients[i];

		if (!*at)
			return at;
		if (may_go(*at, now_ms) && (!oldest || (*at)->order < (*oldest)->order))
			oldest = at;
	}
	return oldest;
}

/* Takes fd over, and the place from whoever has it. */
static void client_create(struct control *control, struct client **at, int fd)
{
	struct client *client = calloc(1, sizeof *client);

	if (!client || uv_poll_init(sup_loop(control->s), &client->poll, fd) < 0) {
		free(client);
		peersock_close(&fd);
		return;
	}
	client->control = control;
	client->poll.data = client;
	client->fd = fd;
	client->order = control->orders++;
	client->came_ms = sup_now_ms(control->s);
	client->deadline_ms = client->came_ms + IDLE_MS;
	control->open_handles++;
	if (*at)
		client_close(*at);
	*at = client;
	tick_on(control);
	if (peer_may(control, fd)) {
		client_read(client); /* the request is mostly there already */
	} else {
		client_fail(client, CODE_FAILED, "not permitted: another user's cluster");
		client->closing = true;
	}
	client_arm(client);
	if (client_has_work(client))
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

/* Until the next tick; when it is for want of a place, until the next turn if that comes first. */
static void accept_off(struct control *control, bool full)
{
	uv_poll_stop(&control->accept_poll);
	control->accepting = false;
	control->full = full;
	control->ticking = true;
	uv_timer_start(&control->tick, on_tick, full ? GRACE_MS / 4 : TICK_MS, TICK_MS);
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct control *control = handle->data;

	(void)events;
	for (unsigned i = 0; status == 0 && i < ACCEPTS_TURN; i++) {
		struct client **at = place(control);
		int fd = at ? accept_one(control) : -1;

		if (!at) {
			accept_off(control, true);
			return;
		}
		if (fd >= 0) {
			client_create(control, at, fd);
			continue;
		}
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		status = -errno;
	}
	if (status == 0)
		return;
	/* No fd is left: try again at the next tick instead of spinning. */
	accept_off(control, false);
}

static void accept_on(struct control *control)
{
	if (!control->accepting)
		uv_poll_start(&control->accept_poll, UV_READABLE, on_accept);
	control->accepting = true;
	control->full = false;
}

/* The number of the descriptor stays, and with it what the poll handle is for. */
void control_swap(struct control *control, struct listening *fresh)
{
	int fd = control->listening.fd;

	uv_poll_stop(&control->accept_poll);
	control->accepting = false;
	dup3(fresh->fd, fd, O_CLOEXEC);
	fd_close(&fresh->fd);
	control->listening = *fresh;
	control->listening.fd = fd;
	accept_on(control);
}

/* ---- life ---- */

void control_unref(struct control *control)
{
	if (--control->open_handles > 0)
		return;
	free(control->events.bytes);
	free(control->output.bytes);
	free(control);
}

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
	peersock_forbid_fds(control->listening.fd);
	control_spare(control);
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

	snprintf(problem, CONTROL_PROBLEM_MAX, "out of memory");
	if (ring_init(&control->events, 65536) < 0 || ring_init(&control->output, 65536) < 0)
		return -ENOMEM;
	r = inherited_fd < 0 ? control_open(control, policy, name, problem)
	                     : control_adopt(control, policy, inherited_fd, problem);
	if (r < 0)
		return r;
	snprintf(problem, CONTROL_PROBLEM_MAX, "can not be polled");
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
	snprintf(problem, CONTROL_PROBLEM_MAX, "out of memory");
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
	uint64_t deadline_ms = clock_ms() + FAREWELL_MS;

	if (!control)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];

		if (!client)
			continue;
		if (client->follows)
			client_follow_to_end(client, deadline_ms);
		if (client->follows || client->wait.what != WAIT_NOTHING) {
			wait_ended(client, status);
			client_write_all(client, deadline_ms);
		} else {
			client_write(client);
		}
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
	if (control && report->what == REPORT_ROLL_END)
		control->last_roll = *report;
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
	enum { TEXT_MAX = 2048 };
	static const char mark[] = " [cut]";
	char line[JSON_TEXT_MAX(TEXT_MAX + sizeof mark) + 128], shown[TEXT_MAX + sizeof mark];
	struct json json;

	if (!control)
		return;
	/* The log has all of a longer one. */
	if (size > TEXT_MAX) {
		size = utf8_cut(text, TEXT_MAX);
		memcpy(shown, text, size);
		memcpy(shown + size, mark, sizeof mark);
		text = shown;
		size += sizeof mark - 1;
	}
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
		if (client->wait.ended) {
			wait_check(client);
		} else {
			reply_begin(client, &json, "reconnect");
			/* What was not begun has not even been read, and is to be asked again. */
			json_flag(&json, "begun", client->wait.what != WAIT_NOTHING);
			reply_end(client, &json);
		}
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
