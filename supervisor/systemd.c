/*
 * systemd - clusterd's own word to the service manager (Type=notify).
 *
 * GLUE. Without NOTIFY_SOCKET all of it does nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/clock.h"

enum { STATUS_MAX = 128 };

/* Bits. Part of the state of an upgrade: they are not used again. */
enum trouble { TROUBLE_RELOAD = 1, TROUBLE_ROLL = 2, TROUBLES = 4 };

static const char *const trouble_text[TROUBLES] = {
	[0] = "",
	[TROUBLE_RELOAD] = "; the last reload was refused, see the log",
	[TROUBLE_ROLL] = "; the last roll failed, see the log",
	[TROUBLE_RELOAD | TROUBLE_ROLL] = "; the last reload was refused and the last roll failed, see the log",
};

static void on_watchdog(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	sdnotify_watchdog(&s->sd);
}

void systemd_start(struct supervisor *s)
{
	const char *failed;

	if (sdnotify_init(&s->sd, getenv("NOTIFY_SOCKET"), &failed) < 0)
		s->sd.fd = -1;
	s->systemd_ms = s->sd.fd < 0 ? 0
	                             : sdnotify_watchdog_ms(getenv("WATCHDOG_USEC"),
	                                                    getenv("WATCHDOG_PID"));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (s->systemd_ms > 0)
		uv_timer_start(&s->systemd_timer, on_watchdog, 0, s->systemd_ms);
}

/* After an upgrade the address comes with the state, the timer does not. */
void systemd_resume(struct supervisor *s)
{
	if (s->systemd_ms > 0)
		uv_timer_start(&s->systemd_timer, on_watchdog, 0, s->systemd_ms);
}

static void describe(struct supervisor *s, char text[STATUS_MAX])
{
	struct pool_view view;

	pool_view(s->pool, &view);
	snprintf(text, STATUS_MAX, "%u of %u workers ready%s", view.ready, view.wanted,
	         s->trouble < TROUBLES ? trouble_text[s->trouble] : "");
}

/* Also the end of a reload. Before the first start is over there is nothing to say. */
void systemd_ready(struct supervisor *s)
{
	char text[STATUS_MAX];

	if (s->sd.fd < 0 || !s->up || s->stopping)
		return;
	describe(s, text);
	sdnotify_ready(&s->sd, text);
}

void systemd_reloaded(struct supervisor *s, bool ok)
{
	s->trouble = ok ? 0 : s->trouble | TROUBLE_RELOAD;
	systemd_ready(s);
}

/* Whoever asked by a signal or by systemctl hears of it in no other way. */
void systemd_rolled(struct supervisor *s, enum verdict verdict)
{
	if (verdict == VERDICT_DONE)
		s->trouble &= TROUBLE_RELOAD;
	else if (verdict == VERDICT_ROLLED_BACK || verdict == VERDICT_FAILED)
		s->trouble |= TROUBLE_ROLL;
	systemd_ready(s);
}

void systemd_reloading(struct supervisor *s)
{
	if (s->up && !s->stopping)
		sdnotify_reloading(&s->sd, clock_us());
}

void systemd_stopping(struct supervisor *s)
{
	sdnotify_stopping(&s->sd, "stopping");
}

/* Told when the number of ready workers has changed, not with every event. */
void systemd_status(struct supervisor *s)
{
	struct pool_view view;
	char text[STATUS_MAX];

	if (s->sd.fd < 0 || !s->up || s->stopping)
		return;
	pool_view(s->pool, &view);
	if (view.ready == s->told_ready && view.wanted == s->told_wanted)
		return;
	s->told_ready = view.ready;
	s->told_wanted = view.wanted;
	describe(s, text);
	sdnotify_status(&s->sd, text);
}
