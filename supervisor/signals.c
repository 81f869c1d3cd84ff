/*
 * signals - what people and the kernel tell clusterd by a signal.
 *
 * GLUE. libuv's handlers only write to a pipe; everything here runs in the loop.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/internal.h"

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

static void tell_log(void *context, const char *line)
{
	sup_note(context, LOG_LEVEL_WARN, "reload: %s", line);
}

static void on_reload(struct supervisor *s, int signo)
{
	uint32_t roll;

	(void)signo;
	sup_reload(s, false, true, tell_log, s, &roll);
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
	if (sup_upgrade(s, &failed) < 0)
		sup_note(s, LOG_LEVEL_ERROR, "upgrade: %s; this clusterd goes on", failed);
}

static void on_scale(struct supervisor *s, int signo)
{
	struct pool_view view;
	const char *failed = "";
	uint32_t count;

	pool_view(s->pool, &view);
	if (signo == SIGTTOU && view.wanted == 0)
		return;
	count = signo == SIGTTIN ? view.wanted + 1 : view.wanted - 1;
	if (sup_scale(s, count, &failed) < 0)
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

_Static_assert(sizeof heard / sizeof *heard <= sizeof((struct supervisor *)0)->signals / sizeof(uv_signal_t),
               "struct supervisor has too few signal handles");

static void on_signal(uv_signal_t *handle, int signo)
{
	struct supervisor *s = handle->data;

	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
		if (heard[i].signo == signo)
			heard[i].heed(s, signo);
}

/* Can processes end that are our children and not our workers? */
static bool strangers_possible(void)
{
	int subreaper = 0;
	siginfo_t info;

	prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
	return getpid() == 1 || subreaper ||
	       waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

int signals_start(struct supervisor *s)
{
	/* A peer that went away shows as EPIPE. Workers get the default back. */
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++) {
		uv_signal_t *handle = &s->signals[s->signal_count];
		int rc;

		if (heard[i].signo == SIGCHLD && !strangers_possible())
			continue;
		rc = uv_signal_init(&s->loop, handle);
		if (rc < 0)
			return rc;
		handle->data = s;
		s->signal_count++;
		rc = uv_signal_start(handle, on_signal, heard[i].signo);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void signals_stop(struct supervisor *s)
{
	while (s->signal_count > 0)
		uv_close((uv_handle_t *)&s->signals[--s->signal_count], NULL);
}
