/*
 * monitor - looks at the workers from outside, now and then, if the policy asks for it.
 *
 * GLUE. With nothing to look for there is no timer, and clusterd sleeps.
 */
#include <string.h>

#include "supervisor/internal.h"
#include "supervisor/os/proc.h"

enum { RSS_INTERVAL_MS = 2000 };

static void look(struct supervisor *s, struct worker *worker)
{
	struct proc_info info;

	if (!worker->end.open || proc_read("/proc", worker->pid, &info) < 0)
		return;
	if (info.rss_bytes <= s->policy.recycle_max_rss)
		return;
	worker->rss_kb = info.rss_bytes / 1024;
	sup_feed(s,
		 &(struct event){ .what = EV_RECYCLE, .cookie = worker->cookie, .cause = END_RSS });
}

static void on_monitor(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	struct slot_view slot;

	for (uint32_t i = 0; i < s->slots_max && !s->stopping; i++) {
		struct worker *worker;

		if (!pool_slot(s->pool, i, &slot) || slot.cookie == 0)
			continue;
		worker = worker_find(s, slot.cookie);
		if (worker)
			look(s, worker);
	}
}

void monitor_policy(struct supervisor *s)
{
	if (s->policy.recycle_max_rss == 0)
		uv_timer_stop(&s->monitor);
	else if (!uv_is_active((uv_handle_t *)&s->monitor))
		uv_timer_start(&s->monitor, on_monitor, RSS_INTERVAL_MS, RSS_INTERVAL_MS);
}

int monitor_start(struct supervisor *s)
{
	int rc = uv_timer_init(&s->loop, &s->monitor);

	if (rc < 0)
		return rc;
	s->monitor.data = s;
	s->monitor_open = true;
	monitor_policy(s);
	return 0;
}

void monitor_stop(struct supervisor *s)
{
	if (s->monitor_open)
		uv_close((uv_handle_t *)&s->monitor, NULL);
	s->monitor_open = false;
}
