/*
 * signals - what people and the kernel tell clusterd by a signal.
 *
 * GLUE. Signals are read like a file, so everything here runs in the loop.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/internal.h"
#include "supervisor/os/sigfd.h"

enum { SIGNALS_TURN = 16 }; /* read at once, lest a storm of them hold up the rest */

static void on_stop(struct supervisor *s, int signo)
{
	(void)signo;
	sup_request(s, &(struct event){ .what = EV_STOP });
}

static void on_quit(struct supervisor *s, int signo)
{
	(void)signo;
	sup_request(s, &(struct event){ .what = EV_STOP, .fast = true });
}

static void on_reload(struct supervisor *s, int signo)
{
	uint32_t roll;

	(void)signo;
	sup_reload(s, false, true, NULL, NULL, &roll);
}

static void on_reopen(struct supervisor *s, int signo)
{
	(void)signo;
	sup_reopen(s);
}

static void on_upgrade(struct supervisor *s, int signo)
{
	const char *failed = "";

	(void)signo;
	sup_upgrade(s, &failed);
}

static void on_scale(struct supervisor *s, int signo)
{
	struct pool_view view;
	const char *failed = "";
	bool more = signo == SIGTTIN;
	uint32_t count;

	pool_view(s->pool, &view);
	if (s->stopping || (!more && view.wanted == 0))
		return;
	count = more ? view.wanted + 1 : view.wanted - 1;
	if (sup_scale(s, count, more ? "SIGTTIN" : "SIGTTOU", &failed) < 0)
		sup_note(s, LOG_LEVEL_ERROR, "scale to %u: %s", count, failed);
}

static void on_drain(struct supervisor *s, int signo)
{
	(void)signo;
	sup_request(s, &(struct event){ .what = EV_DRAIN, .slot = ALL_SLOTS });
}

/* Orphans end in bursts; the kernel's search for them walks all children, so it is done seldom. */
static void on_child(struct supervisor *s, int signo)
{
	(void)signo;
	strangers_soon(s);
}

static const struct heard {
	int signo;
	void (*heed)(struct supervisor *s, int signo);
} heard[] = {
	{ SIGTERM, on_stop },   { SIGINT, on_stop },     { SIGQUIT, on_quit },
	{ SIGHUP, on_reload },  { SIGUSR1, on_reopen },  { SIGUSR2, on_upgrade },
	{ SIGTTIN, on_scale },  { SIGTTOU, on_scale },   { SIGWINCH, on_drain },
	{ SIGCHLD, on_child },
};

static void on_signals(uv_poll_t *poll, int status, int events)
{
	struct supervisor *s = poll->data;
	struct sigfd_signal signal;

	(void)status;
	(void)events;
	for (int turn = 0; turn < SIGNALS_TURN && !s->closing; turn++) {
		if (sigfd_next(s->signal_fd, &signal) <= 0)
			return;
		if (signal.number == SIGWINCH && !signal.sent)
			continue; /* the window of our terminal has another size */
		if (signal.number != SIGCHLD)
			sup_signalled(s, &signal);
		for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
			if (heard[i].signo == signal.number)
				heard[i].heed(s, signal.number);
	}
}

/* Can processes end that are our children and not our workers? After an upgrade only the state knows. */
static bool strangers_possible(const struct supervisor *s)
{
	int subreaper = 0;
	siginfo_t info;

	prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
	if (getpid() == 1 || subreaper)
		return true;
	return s->options->state_fd < 0 ? waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0
	                                : !s->no_strangers;
}

int signals_start(struct supervisor *s)
{
	int numbers[sizeof heard / sizeof *heard];
	size_t count = 0;
	const char *failed;
	int rc;

	/* A peer that went away shows as EPIPE. Workers get the default back. */
	signal(SIGPIPE, SIG_IGN);
	/* If it were ignored, the kernel would reap the workers itself: wait(2). */
	signal(SIGCHLD, SIG_DFL);
	s->no_strangers = !strangers_possible(s);
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
		if (heard[i].signo != SIGCHLD || !s->no_strangers)
			numbers[count++] = heard[i].signo;
	rc = sigfd_open(numbers, count, &s->signal_fd, &failed);
	if (rc < 0)
		return rc;
	rc = uv_poll_init(&s->loop, &s->signal_poll, s->signal_fd);
	if (rc < 0) {
		close(s->signal_fd);
		return rc;
	}
	s->signals_open = true;
	s->signal_poll.data = s;
	return uv_poll_start(&s->signal_poll, UV_READABLE, on_signals);
}

void signals_stop(struct supervisor *s)
{
	if (!s->signals_open)
		return;
	s->signals_open = false;
	uv_close((uv_handle_t *)&s->signal_poll, NULL);
	close(s->signal_fd);
}
