#include "supervisor/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/signals.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/probe.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"

enum { READY_AGAIN_MS = 250, ANSWER_MAX = 64, STARVED_SHARE = 10 };

enum aim { AIM_READY, AIM_HEALTH };

struct probe {
	struct worker *worker; /* NULL: stopped, closing */
	struct supervisor *s;
	enum aim aim;
	uint32_t failures;
	uint64_t asked_ms;     /* when the question under way was asked, 0 = none is */
	uint64_t cpu_ms;       /* of the worker by then */
	int fd;                /* of the connection, or pidfd of the command; -1 */
	pid_t pid;             /* of the command, or 0 */
	bool connected;
	struct turn turn;
	bool told;             /* that the command can not be run, or that the question waits its turn */
	size_t answer_size;
	char answer[ANSWER_MAX];
	char last[ANSWER_MAX]; /* that said no */
	unsigned handles;
	bool poll_open;
	uv_poll_t poll;
	uv_timer_t timer;
};

static void ask(struct probe *p);

/* ---- lifetime ---- */

static void on_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	if (handle == (uv_handle_t *)&p->poll) {
		fd_close(&p->fd);
		p->poll_open = false;
	}
	if (--p->handles == 0 && !p->worker)
		free(p);
}

static void end_question(struct probe *p)
{
	struct reaped reaped;

	p->asked_ms = 0;
	if (p->pid > 0) {
		reap_signal_group(p->pid, SIGKILL);
		reap_signal(p->fd, SIGKILL);
		if (reap_wait(p->fd, KILLED_MS, &reaped) == 0)
			strangers_soon(p->s);
		p->pid = 0;
	}
	if (p->poll_open && !uv_is_closing((uv_handle_t *)&p->poll))
		uv_close((uv_handle_t *)&p->poll, on_closed);
}

void probe_stop(struct worker *worker)
{
	struct probe *p = worker->probe;

	if (!p)
		return;
	worker->probe = NULL;
	p->worker = NULL;
	end_question(p);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}

/* ---- the verdict ---- */

static uint64_t cpu_of(const struct worker *worker, char *state)
{
	struct proc_info info;

	if (proc_read("/proc", worker->pid, &info) < 0)
		return 0;
	*state = info.state;
	return info.user_ms + info.sys_ms;
}

/* It waits for a CPU and hardly gets one: a throttled cgroup, an overloaded machine. */
static bool starved(const struct probe *p, uint64_t waited_ms)
{
	char state = '?';
	uint64_t cpu = cpu_of(p->worker, &state);

	return state == 'R' && (cpu - p->cpu_ms) * STARVED_SHARE < waited_ms;
}

static void again(struct probe *p);

/* The answer is what comes first; the timer only bounds the wait. */
static void yes(struct probe *p, enum ready_how how)
{
	struct worker *worker = p->worker;

	end_question(p);
	if (p->aim == AIM_READY) {
		struct event event = { .what = EV_READY, .cookie = worker->cookie, .how = how };

		probe_stop(worker);
		sup_feed(worker->s, &event);
		return;
	}
	if (p->failures > 0)
		LOG_AT(&p->s->log, LOG_HEALTH, LOG_LEVEL_INFO, F_NUM("slot", worker->slot),
		       F_NUM("pid", worker->pid), F_TEXT("result", "well again"));
	p->failures = 0;
	p->told = false;
	again(p);
}

static void no(struct probe *p, const char *detail)
{
	struct worker *worker = p->worker;
	uint64_t waited = clock_ms() - p->asked_ms;
	const struct policy *policy = &p->s->policy;
	bool counts = p->aim == AIM_HEALTH && waited <= policy->health_timeout + LATE_MS &&
	              !starved(p, waited);

	snprintf(p->last, sizeof p->last, "%s", detail);
	end_question(p);
	if (counts) {
		p->failures++;
		LOG(&p->s->log, LOG_HEALTH, F_NUM("slot", worker->slot), F_NUM("pid", worker->pid),
		    F_TEXT("result", "failed"), F_TEXT("detail", detail),
		    F_NUM("failures", p->failures));
	}
	again(p);
	if (counts && p->failures >= policy->health_failures)
		sup_feed(p->s, &(struct event){ .what = EV_UNHEALTHY, .cookie = worker->cookie,
		                                .cause = END_HEALTH });
}

static const struct sock *probed_sock(struct supervisor *s, const struct policy *policy);

/* Too much to do is not hung. */
static void too_late(struct probe *p)
{
	const struct worker *worker = p->worker;
	const struct sock *sock = probed_sock(p->s, &worker->launch->policy);

	if (p->aim != AIM_HEALTH || !sock || !turn_waits(&p->turn, worker, sock)) {
		no(p, "no answer in time");
		return;
	}
	end_question(p);
	if (!p->told)
		LOG(&p->s->log, LOG_HEALTH, F_NUM("slot", worker->slot), F_NUM("pid", worker->pid),
		    F_TEXT("result", "not counted"),
		    F_TEXT("detail", "it takes connections, and has not come to the check yet"));
	p->told = true;
	again(p);
}

static void on_timer(uv_timer_t *timer)
{
	struct probe *p = timer->data;

	if (!p->worker)
		return;
	if (p->asked_ms != 0)
		too_late(p);
	else if (p->poll_open)
		again(p); /* the last question's handle is still closing */
	else
		ask(p);
}

static void again(struct probe *p)
{
	uint64_t wait = p->aim == AIM_READY ? READY_AGAIN_MS : p->s->policy.health_interval;

	uv_timer_start(&p->timer, on_timer, wait, 0);
}

/* ---- http ---- */

static const struct sock *probed_sock(struct supervisor *s, const struct policy *policy)
{
	for (uint32_t i = 0; i < policy->listener_count; i++) {
		const struct sock *sock = sock_of(s, &policy->listeners[i]);

		if (sock && sock->group && sock->probe_base > 0 &&
		    sock->config.address.kind == ADDRESS_TCP)
			return sock;
	}
	return NULL;
}

static void read_answer(struct probe *p)
{
	ssize_t n = read(p->fd, p->answer + p->answer_size, sizeof p->answer - 1 - p->answer_size);
	int status;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		no(p, n == 0 ? "closed without an answer" : strerror(errno));
		return;
	}
	p->answer_size += (size_t)n;
	p->answer[p->answer_size] = '\0';
	if (!strchr(p->answer, '\n') && p->answer_size < sizeof p->answer - 1)
		return;
	p->answer[strcspn(p->answer, "\r\n")] = '\0';
	if (sscanf(p->answer, "HTTP/1.%*1[01] %3d", &status) != 1)
		no(p, "the answer is not HTTP/1");
	else if (status < 200 || status > 399)
		no(p, p->answer);
	else
		yes(p, HOW_HTTP);
}

static void send_request(struct probe *p)
{
	const char *path = p->aim == AIM_HEALTH ? p->worker->launch->policy.health_http
	                                        : p->worker->launch->policy.ready_when.path;
	char request[PATH_TEXT_MAX + 128];
	const struct sock *sock = probed_sock(p->s, &p->worker->launch->policy);
	int error = probe_error(p->fd), size;

	if (error) {
		no(p, strerror(error));
		return;
	}
	size = snprintf(request, sizeof request,
	                "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: clusterd/" CLUSTERD_VERSION
	                "\r\nConnection: close\r\n\r\n", path);
	if (write(p->fd, request, (size_t)size) != size)
		no(p, "the request could not be sent");
	else
		p->connected = true;
	if (sock && p->connected)
		turn_queued(&p->turn, p->worker, sock);
}

static void on_http(uv_poll_t *poll, int status, int events)
{
	struct probe *p = poll->data;

	(void)events;
	if (!p->worker || p->asked_ms == 0)
		return;
	if (status < 0)
		no(p, uv_strerror(status));
	else if (p->connected)
		read_answer(p);
	else
		send_request(p);
	if (p->connected && p->asked_ms != 0)
		uv_poll_start(&p->poll, UV_READABLE, on_http);
}

static int ask_http(struct probe *p, const char **failed)
{
	const struct sock *sock = probed_sock(p->s, &p->worker->launch->policy);
	int rc;

	*failed = "no listener with balance = round-robin";
	if (!sock)
		return -ENOTCONN;
	p->connected = false;
	p->answer_size = 0;
	turn_begin(&p->turn, p->worker, sock);
	rc = probe_connect(&sock->bound.sa, (uint16_t)(sock->probe_base + p->worker->seat), &p->fd,
	                   failed);
	if (rc < 0)
		return rc;
	rc = uv_poll_init(&p->s->loop, &p->poll, p->fd);
	if (rc < 0) {
		fd_close(&p->fd);
		return rc;
	}
	p->handles++;
	p->poll_open = true;
	return uv_poll_start(&p->poll, UV_WRITABLE, on_http);
}

/* ---- command ---- */

static void on_command(uv_poll_t *poll, int status, int events)
{
	struct probe *p = poll->data;
	char text[ANSWER_MAX], name[SIGNAL_TEXT_MAX];
	struct reaped reaped;
	int rc;

	(void)events;
	if (!p->worker || p->asked_ms == 0 || status < 0)
		return;
	rc = reap(p->fd, &reaped);
	if (rc == 0)
		return;
	p->pid = 0;
	if (rc > 0 && reaped.signal == 0 && reaped.code == 0) {
		yes(p, HOW_COMMAND);
		return;
	}
	snprintf(text, sizeof text, "exit %d", reaped.code);
	no(p, rc < 0 ? strerror(-rc) : reaped.signal ? signal_name(reaped.signal, name) : text);
}

static int ask_command(struct probe *p, const char **failed)
{
	struct spawned spawned;
	int rc = launch_command(p->worker, &spawned, failed);

	if (rc < 0)
		return rc;
	p->pid = spawned.pid;
	p->fd = spawned.pidfd;
	rc = uv_poll_init(&p->s->loop, &p->poll, p->fd);
	if (rc < 0) {
		end_question(p);
		fd_close(&p->fd);
		return rc;
	}
	p->handles++;
	p->poll_open = true;
	return uv_poll_start(&p->poll, UV_READABLE, on_command);
}

/* Else the worker would seem to be the one that is not ready. Once for each. */
static void tell_unable(struct probe *p, const char *step, int error)
{
	const struct worker *worker = p->worker;
	const char *command = worker->launch->policy.ready_command.text;

	if (p->told)
		return;
	p->told = true;
	sup_note(p->s, LOG_LEVEL_WARN, "worker %u: ready.command %s can not be run: %s: %s", worker->slot,
	         command, step, strerror(-error));
}

/* ---- beginning ---- */

static void ask(struct probe *p)
{
	bool command = p->aim == AIM_READY &&
	               p->worker->launch->policy.ready_when.when == READY_COMMAND;
	const char *failed = "";
	char state;
	int rc;

	p->asked_ms = clock_ms();
	p->cpu_ms = cpu_of(p->worker, &state);
	uv_timer_start(&p->timer, on_timer, p->s->policy.health_timeout, 0);
	rc = command ? ask_command(p, &failed) : ask_http(p, &failed);
	if (rc < 0 && command)
		tell_unable(p, failed, rc);
	if (rc < 0)
		no(p, failed);
}

static void begin(struct worker *worker, enum aim aim, uint64_t wait_ms)
{
	struct probe *p = calloc(1, sizeof *p);

	if (!p) {
		sup_note(worker->s, LOG_LEVEL_ERROR, "worker %u: no memory to ask whether it is %s",
		         worker->slot, aim == AIM_READY ? "ready" : "well");
		return;
	}
	*p = (struct probe){ .worker = worker, .s = worker->s, .aim = aim, .fd = -1, .handles = 1 };
	uv_timer_init(&worker->s->loop, &p->timer);
	p->timer.data = p->poll.data = p;
	worker->probe = p;
	uv_timer_start(&p->timer, on_timer, wait_ms, 0);
}

void probe_started(struct worker *worker)
{
	enum ready_when when = worker->launch->policy.ready_when.when;

	if (when == READY_HTTP || when == READY_COMMAND)
		begin(worker, AIM_READY, 1);
}

void probe_ready(struct worker *worker)
{
	probe_stop(worker);
	/* In the roll of a reload each is asked as its own policy says: the old program may not know the path. */
	if (worker->launch->policy.health_http[0] && probed_sock(worker->s, &worker->launch->policy))
		begin(worker, AIM_HEALTH, worker->s->policy.health_interval);
}

/* Once for each worker, not for each question: until then a no is what a start looks like. */
void probe_too_late(const struct worker *worker)
{
	const struct policy *policy = &worker->launch->policy;
	const struct probe *p = worker->probe;
	bool http = policy->ready_when.when == READY_HTTP;
	char detail[PATH_TEXT_MAX + ANSWER_MAX + 64];

	if (!p || p->aim != AIM_READY)
		return;
	snprintf(detail, sizeof detail, "[ready] %s %.255s: %s", http ? "when = http" : "command =",
	         http ? policy->ready_when.path : policy->ready_command.text,
	         p->last[0] ? p->last : "no answer");
	LOG(&p->s->log, LOG_HEALTH, F_NUM("slot", worker->slot), F_NUM("pid", worker->pid),
	    F_TEXT("result", "failed"), F_TEXT("detail", detail));
}

void probe_export(const struct worker *worker, struct probe_image *ret)
{
	const struct probe *p = worker->probe;

	*ret = (struct probe_image){ 0 };
	if (!p || p->aim != AIM_HEALTH)
		return;
	ret->failures = p->failures;
	ret->due_ms = clock_ms() + (p->asked_ms ? 0 : uv_timer_get_due_in(&p->timer));
}

void probe_resume(struct worker *worker, const struct probe_image *image)
{
	uint64_t now = clock_ms();
	uint64_t wait = image->due_ms > now ? image->due_ms - now : 0;

	probe_ready(worker);
	if (!worker->probe || image->due_ms == 0)
		return;
	worker->probe->failures = (uint32_t)image->failures;
	if (wait < worker->s->policy.health_interval)
		uv_timer_start(&worker->probe->timer, on_timer, wait, 0);
}

pid_t probe_command(const struct worker *worker)
{
	return worker->probe && worker->probe->pid > 0 ? worker->probe->pid : -1;
}

void probes_interrupt(struct supervisor *s)
{
	FOR_EACH_WORKER (s, w)
		if (probe_command(w) > 0) {
			end_question(w->probe);
			again(w->probe);
		}
}

static void ask_from_now_on(struct supervisor *s, struct worker *worker)
{
	bool asked = worker->probe && worker->probe->aim == AIM_HEALTH;
	struct instance_view view;

	if (asked && !worker->launch->policy.health_http[0])
		probe_stop(worker);
	else if (!worker->probe && pool_instance(s->pool, worker->cookie, &view) &&
	         view.state == INSTANCE_READY)
		probe_ready(worker);
}

void probe_policy(struct supervisor *s)
{
	FOR_EACH_WORKER (s, w)
		ask_from_now_on(s, w);
}

bool probe_possible(struct supervisor *s, const struct policy *policy, char *problem, size_t size)
{
	bool wanted = policy->ready_when.when == READY_HTTP || policy->health_http[0];

	if (!wanted || probed_sock(s, policy))
		return true;
	snprintf(problem, size,
	         "%s asks one very worker, which needs a TCP listener with balance = round-robin and "
	         "at most %d workers at the start",
	         policy->health_http[0] ? "health.http" : "ready.when = http", PROBE_WORKERS_MAX);
	return false;
}
