/*
 * reload - a changed policy file takes effect, or nothing does.
 *
 * GLUE. The file is read and checked whole, then what can fail outside of it is
 * tried (new sockets, the program, users); only then is anything of what runs
 * touched. LIVE keys apply at once, ROLL keys by replacing the workers, BOOT keys
 * are named and keep their old value.
 *
 * A roll that fails takes its policy back with it: the launch of each generation
 * holds the policy it was made from.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "supervisor/os/clock.h"
#include "supervisor/probe.h"
#include "supervisor/reload_plan.h"

/* ---- trying ---- */

/* -1 if nothing was changed by it; whoever is restored needs the roll. */
static int restore_paths(struct reload *r)
{
	const char *failed = "";
	int restored = 0, rc, status = 0;

	for (uint32_t i = 0; i < r->s->sock_count; i++) {
		struct sock *sock = &r->s->socks[i];

		if (!reload_restores(r, sock))
			continue;
		rc = sock_path_restore(r->s, sock, &failed);
		if (rc == 0)
			restored++;
		else
			status = -1;
		if (rc < 0)
			reload_object(r, "[listen %s]: its file was removed and can not be made again: %s: %s%s",
			       sock->config.name, failed, strerror(-rc),
			       restored ? "" : "; nothing was changed");
	}
	return restored ? 0 : status;
}

static void close_new_sockets(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && s->socks[i].fresh)
			sock_close(s, &s->socks[i]);
}

/* A socket of ours can be what is in the way, as that of * is to one address of its port. */
static void object_to_socket(struct reload *r, const struct listener *listener)
{
	const struct address *address = &listener->address;

	reload_object(r, "[listen %s]: could not be opened; nothing was changed", listener->name);
	for (uint32_t i = 0; address->port > 0 && i < r->s->sock_count; i++) {
		const struct sock *sock = &r->s->socks[i];

		if (sock->in_use && sock->bound.kind == address->kind && sock->bound.port == address->port)
			reload_object(r, "[listen %s] has that port until the workers have been replaced: "
			              "that takes a restart of clusterd, or another port", sock->config.name);
	}
}

/* Opens what is new. On failure what it opened is closed again. */
static int open_new_sockets(struct reload *r, uint32_t workers)
{
	struct supervisor *s = r->s;
	char problem[LINE_MAX_TOLD];
	int status = 0;

	for (uint32_t i = 0; i < s->sock_count; i++)
		s->socks[i].fresh = false;
	s->socket_tell = r->tell;
	s->socket_context = r->context;
	for (uint32_t i = 0; status == 0 && i < r->fresh->listener_count; i++) {
		const struct listener *listener = &r->fresh->listeners[i];

		if (!sock_of(s, listener))
			status = sockets_add(s, listener, workers);
		if (status != 0)
			object_to_socket(r, listener);
	}
	s->socket_tell = NULL;
	if (status == 0 && !probe_possible(s, r->fresh, problem, sizeof problem)) {
		reload_object(r, "%s; nothing was changed", problem);
		status = -1;
	}
	if (status == 0)
		status = restore_paths(r);
	if (status != 0)
		close_new_sockets(s);
	return status;
}

static void watch_new_sockets(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		if (!s->socks[i].in_use || !s->socks[i].fresh)
			continue;
		sockets_watch_all(s, &s->socks[i]);
		sup_opened(s, &s->socks[i]);
	}
	s->steer.dirty = true;
}

static bool sock_needed(const struct supervisor *s, const struct sock *sock)
{
	if (reload_names(&s->policy, sock))
		return true;
	for (const struct launch *l = s->launches; l; l = l->next)
		if (reload_names(&l->policy, sock))
			return true;
	return false;
}

/* A generation has gone: sockets that only its workers were started with are closed. */
void reload_close_unused(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!sock->in_use || sock_needed(s, sock))
			continue;
		sock_close(s, sock);
		sup_closed(s, sock);
	}
}

/* ---- taking effect ---- */

/* A count that was set by hand stays until the file says another. */
static bool count_by_hand(const struct supervisor *s, const struct policy *policy)
{
	return s->scaled && policy->cluster_workers == s->policy.cluster_workers;
}

static uint32_t wanted_by(const struct supervisor *s, const struct policy *policy)
{
	return count_by_hand(s, policy) ? slots_now(s) : workers_wanted(policy);
}

/* What it was set to, and what the file said then. Of rolls one upon the other the way back leads to before the first. */
static void note_count(struct supervisor *s, bool by_hand)
{
	if (s->scaled && !by_hand && !s->by_hand.known)
		s->by_hand = (struct by_hand){ 1, s->policy.cluster_workers, slots_now(s) };
}

/* On the way back: what was set by hand since stays, and what was before comes back. */
static uint32_t wanted_again(const struct supervisor *s, const struct policy *policy, bool *ret_by_hand)
{
	bool before = s->by_hand.known && s->by_hand.file == policy->cluster_workers;

	*ret_by_hand = s->scaled || before;
	if (s->scaled)
		return slots_now(s);
	return before ? s->by_hand.workers : workers_wanted(policy);
}

static void rename_sockets(struct supervisor *s)
{
	for (uint32_t l = 0; l < s->policy.listener_count; l++)
		for (uint32_t i = 0; i < s->sock_count; i++)
			if (s->socks[i].in_use && listener_same(&s->socks[i].config, &s->policy.listeners[l]))
				memcpy(s->socks[i].config.name, s->policy.listeners[l].name,
				       sizeof s->socks[i].config.name);
}

/*
 * The core compares the policy it holds with the one it gets. What it holds is s->policy
 * itself, so it is given a copy to hold before that changes.
 */
static void apply_live(struct supervisor *s, const struct policy *fresh)
{
	static struct policy former; /* too big for the stack */

	former = s->policy;
	sup_feed(s, &(struct event){ .what = EV_POLICY, .policy = &former });
	s->policy = *fresh;
	s->policy_ms = clock_ms();
	s->policy_back = false;
	s->policy_wall_ms = (uint64_t)log_wall_ms();
	if (memcmp(&former, fresh, sizeof former) != 0)
		s->policy_changed_wall_ms = s->policy_wall_ms;
	log_configure(&s->log, s->policy.log_format, s->policy.log_level, s->policy.log_file);
	sup_feed(s, &(struct event){ .what = EV_POLICY, .policy = &s->policy });
	if (sup_pool_grow(s, s->slots_max) < 0)
		sup_note(s, LOG_LEVEL_ERROR, "no memory for supervisor.max_old = %u",
			 s->policy.supervisor_max_old);
	rename_sockets(s);
	keep_policy(s);
	monitor_policy(s);
	watch_policy(s);
	probe_policy(s);
	workers_policy(s);
}

/* Of a listener that is its backlog. */
static void apply_to_listeners(struct policy *policy, const struct policy *fresh)
{
	for (uint32_t i = 0; i < policy->listener_count; i++)
		for (uint32_t l = 0; l < fresh->listener_count; l++)
			if (listener_same(&policy->listeners[i], &fresh->listeners[l]))
				policy->listeners[i].backlog = fresh->listeners[l].backlog;
}

/* What applies at once applies to every generation, else a roll under way would take it back. */
static void apply_to_launches(struct supervisor *s, const struct policy *fresh)
{
	for (struct launch *l = s->launches; l; l = l->next) {
		for (size_t i = 0; i < KEYS_MAX; i++)
			if (keys[i].when == KEY_LIVE)
				memcpy((char *)&l->policy + keys[i].offset,
				       (const char *)fresh + keys[i].offset, keys[i].size);
		apply_to_listeners(&l->policy, fresh);
		memcpy(l->policy.rules, fresh->rules, sizeof l->policy.rules);
		l->policy.rule_count = fresh->rule_count;
	}
}

/* The number of workers that the policy says, unless another was set by hand since. */
static int apply_count(struct supervisor *s, uint32_t workers, bool by_hand, bool back, const char **failed)
{
	struct pool_view view;
	int rc = 0;

	pool_view(s->pool, &view);
	if (workers != view.wanted)
		rc = back ? sup_scale_back(s, workers, failed) : sup_scale(s, workers, "reload", failed);
	s->scaled = by_hand;
	return rc;
}

/* [supervisor] over_max_old = refuse: the generation that counts would drain too. */
static bool too_many_drain(const struct supervisor *s, const struct policy *policy, char *problem, size_t size)
{
	uint32_t drain = pool_draining(s->pool);

	if (policy->supervisor_over_max_old != OVER_MAX_OLD_REFUSE || drain < policy->supervisor_max_old)
		return false;
	snprintf(problem, size,
	         "the workers of %u old generation%s still drain, and [supervisor] max_old allows no more: try again "
	         "when they have ended, or set over_max_old = cut",
	         drain, drain == 1 ? "" : "s");
	return true;
}

static int make_launch(struct supervisor *s, const struct policy *policy, struct launch **ret, char *problem,
                       size_t size)
{
	return too_many_drain(s, policy, problem, size)
	               ? -EBUSY
	               : launch_create(s, policy, s->generation + 1, ret, problem, size);
}

static void begin_roll(struct supervisor *s, struct launch *launch, uint32_t *ret_roll)
{
	struct pool_view view;

	launch->next = s->launches;
	s->launches = launch;
	s->generation = launch->generation;
	s->settle_policy = NULL; /* of a roll that ended by what came before this one */
	sup_feed(s, &(struct event){
			    .what = EV_ROLL, .slot = ALL_SLOTS, .generation = launch->generation });
	pool_view(s->pool, &view);
	*ret_roll = view.roll;
}

static int take_effect(struct reload *r, bool roll, uint32_t *ret_roll)
{
	struct supervisor *s = r->s;
	uint32_t workers = wanted_by(s, r->fresh);
	bool by_hand = count_by_hand(s, r->fresh);
	struct launch *launch = NULL;
	const char *failed = "";
	char problem[LINE_MAX_TOLD];

	if (reload_try(r, workers) < 0)
		return -1;
	if (roll && make_launch(s, r->fresh, &launch, problem, sizeof problem) < 0) {
		reload_object(r, "%s; nothing was changed", problem);
		return -1;
	}
	if (open_new_sockets(r, workers) != 0) {
		launch_free(launch);
		return -1;
	}
	/* A number that is lowered can end a roll: nothing that it would bring back or close is meant. */
	s->reloading = true;
	watch_new_sockets(s);
	if (launch)
		note_count(s, by_hand);
	else
		apply_to_launches(s, r->fresh);
	apply_live(s, r->fresh);
	if (apply_count(s, workers, by_hand, false, &failed) < 0)
		reload_object(r, "cluster.workers: %s", failed);
	if (launch)
		begin_roll(s, launch, ret_roll);
	s->reloading = false;
	sup_settle(s);
	return 0;
}

/*
 * What take_effect() would refuse, as far as that can be seen before a socket is opened. A check looks at the
 * program in any case; that old workers drain is no problem of a policy that needs no roll.
 */
static int rehearse(struct reload *r, bool check)
{
	struct launch *launch = NULL;
	char problem[LINE_MAX_TOLD];
	int rc = 0;

	if (r->roll > 0)
		rc = make_launch(r->s, r->fresh, &launch, problem, sizeof problem);
	else if (check)
		rc = launch_create(r->s, r->fresh, r->s->generation + 1, &launch, problem, sizeof problem);
	if (rc < 0)
		reload_object(r, "%s", problem);
	launch_free(launch);
	if (reload_try(r, wanted_by(r->s, r->fresh)) < 0)
		rc = -1;
	return rc < 0 ? -1 : 0;
}

/* What workers = auto means can change without the file; true if so. */
static bool compare_count(const struct reload *r)
{
	uint32_t now = slots_now(r->s), fresh = wanted_by(r->s, r->fresh);

	if (now == fresh || r->fresh->cluster_workers != 0 || r->s->policy.cluster_workers != 0)
		return false;
	reload_say(r, "cluster.workers: auto was %u and is %u now: applies at once", now, fresh);
	return true;
}

/* The roll has ended: the policy of the generation that counts is in force. */
void reload_settled(struct supervisor *s, uint32_t generation)
{
	const struct launch *launch = launch_find(s, generation);

	if (!launch)
		return;
	s->settle_policy = launch;
}

static bool all_drained(const struct supervisor *s)
{
	struct slot_view view;
	uint32_t count = slots_now(s);

	for (uint32_t slot = 0; slot < count; slot++)
		if (!pool_slot(s->pool, slot, &view) || view.state != SLOT_DRAINED)
			return false;
	return count > 0;
}

/* Out of the core's step, because it hands the core another policy. */
void reload_settle(struct supervisor *s)
{
	const struct launch *launch = s->settle_policy;
	const char *failed;
	uint32_t workers;
	bool by_hand;

	if (!launch)
		return;
	s->settle_policy = NULL;
	if (memcmp(&launch->policy, &s->policy, sizeof s->policy) != 0) {
		sup_note(s, LOG_LEVEL_WARN, "the policy of generation %u is in force again",
		         launch->generation);
		workers = wanted_again(s, &launch->policy, &by_hand);
		/* Somebody has emptied all that there is: nothing is started by itself. */
		if (all_drained(s)) {
			workers = slots_now(s);
			by_hand = true;
		}
		apply_live(s, &launch->policy);
		s->policy_back = true;
		if (apply_count(s, workers, by_hand, true, &failed) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "cluster.workers: %s", failed);
		/* The generation that failed may have gone while its policy was still in force. */
		reload_close_unused(s);
	}
	s->by_hand.known = 0;
}

static void complain_through(void *context, const char *line)
{
	reload_object(context, "%s", line);
}

static int read_policy(struct reload *r)
{
	const struct supervisor_options *o = r->s->options;

	if (!o->read) {
		*r->fresh = *o->policy;
		return 0;
	}
	return o->read(o->read_context, r->fresh, complain_through, r);
}

int sup_reload(struct supervisor *s, bool dry_run, bool roll, sup_tell *tell, void *context,
               uint32_t *ret_roll)
{
	struct reload r = { .s = s, .tell = tell, .context = context, .dry_run = dry_run };
	int rc = -1;

	*ret_roll = 0;
	r.fresh = malloc(sizeof *r.fresh);
	if (!r.fresh) {
		reload_object(&r, "no memory; nothing was changed");
		return -1;
	}
	if (!dry_run)
		systemd_reloading(s);
	if (s->stopping) {
		reload_object(&r, "the cluster is stopping; nothing was changed");
	} else if (read_policy(&r) == 0) {
		reload_compare(&r);
		if (!compare_count(&r) && r.live + r.roll + r.boot == 0)
			reload_say(&r, "the policy has not changed");
		if (!r.impossible)
			rc = dry_run ? rehearse(&r, roll) : take_effect(&r, roll || r.roll > 0, ret_roll);
	}
	if (!dry_run) {
		sup_reloaded(s, rc == 0, r.live, r.roll, r.boot);
		systemd_reloaded(s, rc == 0);
	}
	free(r.fresh);
	return rc;
}

int sup_roll(struct supervisor *s, uint32_t *ret_roll, const char **failed)
{
	static char problem[LINE_MAX_TOLD];
	struct launch *launch;

	*failed = "the cluster is stopping";
	if (s->stopping)
		return -ECANCELED;
	*failed = problem;
	if (make_launch(s, &s->policy, &launch, problem, sizeof problem) < 0)
		return -EINVAL;
	sock_paths_restore(s);
	begin_roll(s, launch, ret_roll);
	return 0;
}
