/*
 * supervisor - the loop between the kernel and the core.
 *
 * GLUE. sup_feed() is the only way to the core. Before start-up has ended an error
 * ends clusterd with a status that says what to look for; after it nothing does
 * but a request or a rule of the policy, which reach us as ACT_EXIT.
 */
#include "supervisor/supervisor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/internal.h"
#include "supervisor/metrics.h"
#include "supervisor/orphans.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/scope.h"
#include "supervisor/state.h"

enum { INBOX_MIN = 64 };

/* ---- events ---- */

static bool inbox_grow(struct supervisor *s)
{
	uint32_t size = s->inbox_size ? 2 * s->inbox_size : INBOX_MIN;
	struct event *inbox = calloc(size, sizeof *inbox);

	if (!inbox)
		return false;
	for (uint32_t i = 0; i < s->inbox_count; i++)
		inbox[i] = s->inbox[(s->inbox_head + i) % s->inbox_size];
	free(s->inbox);
	s->inbox = inbox;
	s->inbox_size = size;
	s->inbox_head = 0;
	return true;
}

/*
 * Actions are carried out inside pool_step(), and some of them cause events: those
 * wait here until the step has ended. There is room for two per process from the
 * start; growing beyond that is for storms only.
 */
void sup_feed(struct supervisor *s, const struct event *event)
{
	if (s->inbox_count == s->inbox_size && !inbox_grow(s)) {
		sup_note(s, LOG_LEVEL_ERROR, "no memory for an event: it is dropped");
		return;
	}
	s->inbox[(s->inbox_head + s->inbox_count++) % s->inbox_size] = *event;
	if (s->draining_inbox)
		return;
	s->draining_inbox = true;
	while (s->inbox_count > 0 && !s->exited) {
		struct event next = s->inbox[s->inbox_head];

		s->inbox_head = (s->inbox_head + 1) % s->inbox_size;
		s->inbox_count--;
		pool_step(s->pool, clock_ms(), &next, sup_act, s);
		sup_tell_end(s);
	}
	s->draining_inbox = false;
	sup_settle(s);
}

static int inbox_reserve(struct supervisor *s, uint32_t count)
{
	while (s->inbox_size < count)
		if (!inbox_grow(s))
			return -ENOMEM;
	return 0;
}

int sup_pool_grow(struct supervisor *s, uint32_t slots)
{
	uint64_t dice = uv_hrtime() ^ ((uint64_t)getpid() << 32);
	uint32_t instances;
	struct pool *pool;
	void *memory;

	if (slots < s->slots_max)
		slots = s->slots_max;
	instances = slots * (2 + s->policy.supervisor_max_old) + WORKERS_EXTRA;
	/* A reload may have lowered max_old since; those that drain are to be kept all the same. */
	if (instances < s->instances_max)
		instances = s->instances_max;
	if (s->pool && slots == s->slots_max && instances == s->instances_max)
		return 0;
	memory = malloc(pool_size(slots, instances));
	if (!memory || inbox_reserve(s, 2 * slots + INBOX_MIN) < 0 || memory_grow(s, slots) < 0) {
		free(memory);
		return -ENOMEM;
	}
	pool = s->pool ? pool_resize(s->pool, memory, slots, instances)
	               : pool_init(memory, slots, instances, &s->policy, s->generation, dice);
	free(s->pool);
	s->pool = pool;
	s->slots_max = slots;
	s->instances_max = instances;
	return 0;
}

/* ---- time ---- */

/*
 * A deadline is judged only after one look at what the kernel has for us: after a
 * pause of clusterd itself the pings and exits that came meanwhile are read first.
 */
static void on_after_poll(uv_check_t *check)
{
	struct supervisor *s = check->data;
	uint64_t now = clock_ms(), due = s->deadline_ms;

	uv_check_stop(check);
	uv_idle_stop(&s->no_wait);
	s->deadline_ms = NEVER_MS;
	if (due != NEVER_MS && now > due + LATE_MS)
		sup_feed(s, &(struct event){ .what = EV_SKIPPED, .delay_ms = now - due, .asleep_ms = now - s->late_since_ms });
	notices_read_all(s);
	starved_spare(s);
	sup_feed(s, &(struct event){ .what = EV_TICK });
	workers_bury(s);
}

static void on_no_wait(uv_idle_t *idle)
{
	(void)idle;
}

static void on_asleep(uv_prepare_t *prepare)
{
	struct supervisor *s = prepare->data;

	s->asleep_ms = clock_ms();
}

static void on_deadline(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	s->late_since_ms = s->asleep_ms; /* the next look at the kernel is a sleep of its own */
	uv_check_start(&s->after_poll, on_after_poll);
	uv_idle_start(&s->no_wait, on_no_wait);
}

static void rearm(struct supervisor *s)
{
	uint64_t due = s->exited ? NEVER_MS : pool_deadline(s->pool);
	uint64_t now;

	if (due == s->deadline_ms)
		return;
	s->deadline_ms = due;
	if (due == NEVER_MS) {
		uv_timer_stop(&s->deadline);
		return;
	}
	uv_update_time(&s->loop);
	now = clock_ms();
	uv_timer_start(&s->deadline, on_deadline, due > now ? due - now : 0, 0);
}

/* After every batch of events: arm the clock, let go of what no slot can need any more. */
void sup_settle(struct supervisor *s)
{
	if (s->exited) {
		if (!orphans_hold(s))
			sup_shutdown(s);
		return;
	}
	steer_apply(s);
	vacancy_settle(s);
	rearm(s);
	if (s->reloading)
		return;
	reload_settle(s);
	if (launch_prune(s))
		reload_close_unused(s);
	systemd_status(s);
}

/* ---- the loop ---- */

static void on_strangers(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	if (worker_reap_strangers(s) >= STRANGERS_TURN)
		strangers_soon(s);
}

void strangers_soon(struct supervisor *s)
{
	if (!uv_is_active((uv_handle_t *)&s->strangers))
		uv_timer_start(&s->strangers, on_strangers, STRANGERS_MS, 0);
}

static void after_batch(void *context)
{
	workers_bury(context);
}

static int loop_open(struct supervisor *s)
{
	int rc = uv_loop_init(&s->loop);

	if (rc < 0)
		return rc;
	s->loop.data = s;
	uv_timer_init(&s->loop, &s->deadline);
	uv_timer_init(&s->loop, &s->strangers);
	uv_timer_init(&s->loop, &s->notices);
	uv_timer_init(&s->loop, &s->relisten);
	keep_start(s);
	uv_timer_init(&s->loop, &s->systemd_timer);
	uv_check_init(&s->loop, &s->after_poll);
	uv_idle_init(&s->loop, &s->no_wait);
	uv_prepare_init(&s->loop, &s->asleep);
	s->asleep.data = s;
	s->asleep_ms = clock_ms();
	uv_prepare_start(&s->asleep, on_asleep);
	uv_unref((uv_handle_t *)&s->asleep);
	s->deadline.data = s->strangers.data = s->notices.data = s;
	s->relisten.data = s->systemd_timer.data = s;
	s->after_poll.data = s->no_wait.data = s;
	s->deadline_ms = NEVER_MS;
	return hear_start(&s->hearing, &s->loop, after_batch, s);
}

void sup_stopping(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	systemd_stopping(s);
}

/* Everything has ended: let the loop run empty. Called once. */
void sup_shutdown(struct supervisor *s)
{
	if (s->closing)
		return;
	s->closing = true;
	signals_stop(s);
	monitor_stop(s);
	watch_stop(s);
	upgrade_stop(s);
	control_stop(s->control, s->status);
	metrics_stop(s->metrics);
	log_tap_remove(&s->log, &s->tap);
	s->control = NULL;
	s->metrics = NULL;
	workers_abandon(s);
	orphans_finish(s);
	record_close(s);
	adoptions_stop(s);
	if (s->begun)
		holders_left(s);
	sockets_close(s);
	uv_close((uv_handle_t *)&s->deadline, NULL);
	uv_close((uv_handle_t *)&s->strangers, NULL);
	uv_close((uv_handle_t *)&s->notices, NULL);
	uv_close((uv_handle_t *)&s->relisten, NULL);
	uv_close((uv_handle_t *)&s->awake, NULL);
	uv_close((uv_handle_t *)&s->systemd_timer, NULL);
	uv_close((uv_handle_t *)&s->after_poll, NULL);
	uv_close((uv_handle_t *)&s->no_wait, NULL);
	uv_close((uv_handle_t *)&s->asleep, NULL);
	sup_ended(s);
}

static void free_all(struct supervisor *s)
{
	workers_bury(s);
	launches_free(s);
	memory_free(s);
	free(s->pool);
	free(s->inbox);
	free(s->orphans);
	fd_close(&s->oom_fd);
	fd_close(&s->null_fd);
	notifysock_close(&s->spare_fd);
	sdnotify_finish(&s->sd);
	if (s->pidfile.fd >= 0)
		pidfile_close(&s->pidfile, s->policy.supervisor_pid_file);
	log_close(&s->log);
}

static int start_signals(struct supervisor *s)
{
	int rc = signals_start(s);

	if (rc < 0)
		log_early("clusterd: signals: %s", uv_strerror(rc));
	return rc < 0 ? STATUS_SYSTEM : 0;
}

static int run(struct supervisor *s)
{
	int rc = loop_open(s);

	if (rc < 0) {
		log_early("clusterd: event loop: %s", uv_strerror(rc));
		return STATUS_SYSTEM;
	}
	rc = start_load(s);
	/* From here on no signal can end us by accident; what comes early is heard when the loop runs. */
	if (rc == 0)
		rc = start_signals(s);
	if (rc == 0)
		rc = s->options->state_fd < 0 ? start_all(s) : start_upgraded(s);
	if (rc != 0) {
		s->status = rc;
		sup_shutdown(s);
	}
	uv_run(&s->loop, UV_RUN_DEFAULT);
	free_all(s);
	uv_loop_close(&s->loop);
	return s->status;
}

static struct supervisor *supervisor_new(void)
{
	struct supervisor *s = calloc(1, sizeof *s);

	if (!s) {
		log_early("clusterd: no memory");
		return NULL;
	}
	s->generation = 1;
	s->hangup_fd = s->oom_fd = s->pidfile.fd = s->record.file.file.fd = s->sd.fd = -1;
	s->carried_control = s->carried_metrics = s->hearing.set = s->arrivals_fd = -1;
	s->null_fd = SPAWN_NULL;
	s->spare_fd = -1;
	return s;
}

int supervisor_run(const struct supervisor_options *options)
{
	struct supervisor *s = supervisor_new();
	int status;

	if (!s)
		return STATUS_SYSTEM;
	s->options = options;
	snprintf(s->self, sizeof s->self, "%s", options->self);
	if (options->policy) {
		s->policy = *options->policy;
		memcpy(s->name, s->policy.cluster_name, sizeof s->name);
	}
	s->started_ms = s->policy_ms = clock_ms();
	s->started_wall_ms = s->policy_wall_ms = s->policy_changed_wall_ms = (uint64_t)log_wall_ms();
	status = run(s);
	free(s);
	return status;
}

int supervisor_check_state(int state_fd)
{
	struct supervisor *s = supervisor_new();
	const char *problem;
	int rc;

	if (!s)
		return STATUS_SYSTEM;
	rc = upgrade_load(s, state_fd, &problem);
	if (rc < 0)
		log_early("clusterd " CLUSTERD_VERSION ": %s", problem);
	else
		upgrade_agree(state_fd);
	state_forget(s);
	free(s);
	return rc < 0 ? STATUS_SYSTEM : 0;
}
