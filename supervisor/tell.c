/*
 * tell - what the glue itself has to say, in one line each.
 *
 * GLUE. The core's reports become words in reports.c.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/signals.h"
#include "supervisor/core/names.h"
#include "supervisor/internal.h"
#include "supervisor/metrics.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/sigfd.h"

static void tell_listener(struct supervisor *s, const struct sock *sock, int fd)
{
	char address[ADDRESS_TEXT_MAX];

	address_format(&sock->bound, address);
	LOG(&s->log, LOG_LISTEN, F_TEXT("listener", sock->config.name), F_TEXT("address", address),
	    F_NUM_IF(fd >= 0, "fd", fd), F_TEXT("balance", balance_word(sock->mode)),
	    F_FLAG("inherited", sock->inherited),
	    F_TEXT_IF(sock->taken_back, "note", "taken back from the orphans of a killed clusterd"));
}

/* Its number in a worker is another in each generation. */
void sup_opened(struct supervisor *s, const struct sock *sock)
{
	tell_listener(s, sock, -1);
}

void sup_closed(struct supervisor *s, const struct sock *sock)
{
	char address[ADDRESS_TEXT_MAX];

	address_format(&sock->bound, address);
	LOG(&s->log, LOG_LISTEN_CLOSED, F_TEXT("listener", sock->config.name), F_TEXT("address", address));
}

void sup_begun(struct supervisor *s, uint32_t workers)
{
	int fd = FIRST_FD;

	s->told_workers = workers;
	s->begun = true;
	LOG(&s->log, LOG_START, F_TEXT("version", CLUSTERD_VERSION), F_NUM("pid", getpid()),
	    F_NUM("workers", workers), F_NUM("generation", s->generation));
	if (s->options->policy_file)
		LOG(&s->log, LOG_POLICY, F_TEXT("file", s->options->policy_file),
		    F_TEXT("result", "applied"));
	for (uint32_t i = 0; i < s->policy.listener_count; i++) {
		const struct sock *sock = sock_of(s, &s->policy.listeners[i]);

		/* An adopting listener has no number of ours: the program's own fd becomes it. */
		tell_listener(s, sock, sock->config.adopt ? -1 : fd++);
	}
}

void sup_started(struct supervisor *s, const struct worker *worker)
{
	LOG(&s->log, LOG_WORKER_START, F_NUM("slot", worker->slot), F_NUM("pid", worker->pid),
	    F_NUM("generation", worker->generation));
}

void sup_up(struct supervisor *s)
{
	struct pool_view view;

	pool_view(s->pool, &view);
	LOG(&s->log, LOG_UP, F_NUM("workers", view.wanted), F_NUM("ready", view.ready),
	    F_MS("after_ms", clock_ms() - s->started_ms));
}

void sup_upgraded(struct supervisor *s)
{
	uint64_t took_us = clock_us() - s->upgrade_us;

	s->begun = true;
	LOG(&s->log, LOG_UPGRADE, F_TEXT("result", "done"), F_TEXT("version", CLUSTERD_VERSION),
	    F_NUM("pid", getpid()), F_MS("after_ms", took_us / 1000), F_NUM("after_us", took_us));
}

void sup_note_stop(struct supervisor *s, bool fast)
{
	sup_note(s, LOG_LEVEL_INFO,
	         fast ? "stopping at once"
	              : "stopping: workers finish their work; a second signal kills them at once");
}

/* The night after, the log has to tell who did it. */
void sup_signalled(struct supervisor *s, const struct sigfd_signal *signal)
{
	const char *by = signal->sent ? "a process that can not be seen from here" : "the terminal or the kernel";
	char name[SIGNAL_TEXT_MAX];

	LOG(&s->log, LOG_SIGNAL, F_TEXT("signal", signal_name(signal->number, name)),
	    F_NUM_IF(signal->pid > 0, "pid", signal->pid), F_NUM_IF(signal->sent, "uid", signal->uid),
	    F_TEXT_IF(signal->pid <= 0, "by", by));
}

void sup_asked(struct supervisor *s, const char *what, uid_t uid, pid_t pid, const char *result, const char *detail)
{
	LOG(&s->log, LOG_CONTROL, F_TEXT("verb", what), F_NUM("uid", uid),
	    F_NUM_IF(pid > 0, "pid", pid), F_TEXT_IF(result != NULL, "result", result),
	    F_TEXT_IF(result != NULL, "detail", detail));
}

void sup_ended(struct supervisor *s)
{
	if (!s->begun)
		return;
	LOG_AT(&s->log, LOG_STOP, s->status == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
	       F_NUM("pid", getpid()), F_NUM("status", s->status),
	       F_TEXT("reason", name_why(s->exit_why)),
	       F_MS("after_ms", clock_ms() - s->started_ms));
}

void sup_reloaded(struct supervisor *s, bool ok, uint32_t live, uint32_t roll, uint32_t boot)
{
	LOG_AT(&s->log, LOG_RELOAD, ok ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
	       F_TEXT_IF(s->options->policy_file != NULL, "file", s->options->policy_file),
	       F_TEXT("result", ok ? "applied" : "refused, nothing was changed"),
	       F_NUM_IF(ok, "changes", live + roll + boot));
	metrics_reload(s->metrics, ok);
}

void sup_balance_fallback(struct supervisor *s, const struct sock *sock, const char *step, int error)
{
	char reason[160];

	snprintf(reason, sizeof reason, "round-robin? falls back: %s: %s", step, strerror(-error));
	LOG_AT(&s->log, LOG_BALANCE, LOG_LEVEL_WARN, F_TEXT("listener", sock->config.name),
	       F_TEXT("mode", "hash"), F_TEXT("reason", reason));
}

void sup_stranger(void *context, const struct reaped *end)
{
	struct supervisor *s = context;
	char signal[SIGNAL_TEXT_MAX];

	LOG(&s->log, LOG_STRANGER, F_NUM("pid", end->pid),
	    F_NUM_IF(end->signal == 0, "code", end->code),
	    F_TEXT_IF(end->signal != 0, "signal", signal_name(end->signal, signal)));
}
