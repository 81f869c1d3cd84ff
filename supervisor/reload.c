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
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "supervisor/internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/probe.h"

enum { LINE_MAX_TOLD = 512 };

struct reload {
	struct supervisor *s;
	struct policy *fresh;
	sup_tell *tell;
	void *context;
	bool dry_run;
	uint32_t live, roll, boot; /* keys changed, by what they need */
};

/* One line of the plan, or of what is wrong: to the caller, or to the log for a signal. What keeps a
 * reload from being done stands in the log in any case. */
__attribute__((format(printf, 3, 0))) static void
tell_line(const struct reload *r, enum log_level level, const char *format, va_list list)
{
	char line[LINE_MAX_TOLD];

	vsnprintf(line, sizeof line, format, list);
	if (r->tell)
		r->tell(r->context, line);
	if (!r->tell || (level == LOG_LEVEL_ERROR && !r->dry_run))
		sup_note(r->s, level, "reload: %s", line);
}

static void say(const struct reload *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void object(const struct reload *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct reload *r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	tell_line(r, LOG_LEVEL_INFO, format, list);
	va_end(list);
}

static void object(const struct reload *r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	tell_line(r, LOG_LEVEL_ERROR, format, list);
	va_end(list);
}

/* ---- what has changed ---- */

static const char *const when_text[] = {
	[KEY_LIVE] = "applies at once",
	[KEY_ROLL] = "replaces the workers",
	[KEY_BOOT] = "needs a restart of clusterd; the old value stays",
};

static void count_key(struct reload *r, const struct key *key)
{
	static char before[VALUE_TEXT_MAX], after[VALUE_TEXT_MAX]; /* too big for the stack */

	key->type->format(key, key_field(key, &r->s->policy), before);
	key->type->format(key, key_field(key, r->fresh), after);
	say(r, "%s.%s: %.128s -> %.128s: %s", key->section, key->name, before, after,
	    when_text[key->when]);
	if (key->when == KEY_LIVE)
		r->live++;
	else if (key->when == KEY_ROLL)
		r->roll++;
	else
		r->boot++;
}

/* Names the changed keys, and gives those that can not change now their old value back. */
static void compare_keys(struct reload *r)
{
	for (size_t i = 0; i < KEYS_MAX; i++) {
		char *fresh = (char *)r->fresh + keys[i].offset;
		const char *old = (const char *)&r->s->policy + keys[i].offset;

		if (memcmp(fresh, old, keys[i].size) == 0)
			continue;
		count_key(r, &keys[i]);
		if (keys[i].when == KEY_BOOT)
			memcpy(fresh, old, keys[i].size);
	}
	if (memcmp(r->fresh->rules, r->s->policy.rules, sizeof r->fresh->rules) != 0) {
		say(r, "[exit] rules: apply at once");
		r->live++;
	}
	if (memcmp(r->fresh->env, r->s->policy.env, sizeof r->fresh->env) != 0) {
		say(r, "[env]: replaces the workers");
		r->roll++;
	}
}

static const struct listener *listener_of(const struct policy *policy, const char *name)
{
	for (uint32_t i = 0; i < policy->listener_count; i++)
		if (strcmp(policy->listeners[i].name, name) == 0)
			return &policy->listeners[i];
	return NULL;
}

/* An open socket stays as it is; only its backlog may change. */
static void compare_open(struct reload *r, struct listener *fresh, const struct listener *was)
{
	static char before[VALUE_TEXT_MAX], after[VALUE_TEXT_MAX];
	const struct listener asked = *fresh;

	*fresh = *was;
	fresh->backlog = asked.backlog;
	for (size_t i = 0; i < LISTEN_KEYS_MAX; i++) {
		const struct key *key = &listen_keys[i];
		bool live = key->offset == offsetof(struct listener, backlog);

		key->type->format(key, key_field(key, was), before);
		key->type->format(key, key_field(key, &asked), after);
		if (strcmp(before, after) == 0)
			continue;
		say(r, "[listen %s]: %s: %.128s -> %.128s: %s", fresh->name, key->name, before, after,
		    when_text[live ? KEY_LIVE : KEY_BOOT]);
		r->live += live;
		r->boot += !live;
	}
}

static void compare_listeners(struct reload *r)
{
	const struct policy *old = &r->s->policy;

	for (uint32_t i = 0; i < r->fresh->listener_count; i++) {
		struct listener *fresh = &r->fresh->listeners[i];
		const struct listener *was = listener_of(old, fresh->name);

		if (was && memcmp(was, fresh, sizeof *was) == 0)
			continue;
		if (was && address_same(&was->address, &fresh->address)) {
			compare_open(r, fresh, was);
			continue;
		}
		say(r, "[listen %s]: opened, then the workers are replaced", fresh->name);
		r->roll++;
	}
	for (uint32_t i = 0; i < old->listener_count; i++) {
		const struct listener *now = listener_of(r->fresh, old->listeners[i].name);

		if (now && address_same(&now->address, &old->listeners[i].address))
			continue;
		say(r, "[listen %s]: closed when the workers have been replaced",
		    old->listeners[i].name);
		r->roll++;
	}
}

/* ---- trying ---- */

struct sock *sock_of(struct supervisor *s, const struct listener *listener)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && !s->socks[i].variant && strcmp(s->socks[i].config.name, listener->name) == 0 &&
		    address_same(&s->socks[i].config.address, &listener->address))
			return &s->socks[i];
	return NULL;
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
			object(r, "[listen %s]: could not be opened; nothing was changed", listener->name);
	}
	s->socket_tell = NULL;
	if (status == 0 && !probe_possible(s, r->fresh, problem, sizeof problem)) {
		object(r, "%s; nothing was changed", problem);
		status = -1;
	}
	for (uint32_t i = 0; status != 0 && i < s->sock_count; i++)
		if (s->socks[i].in_use && s->socks[i].fresh)
			sock_close(s, &s->socks[i]);
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

static bool listener_named(const struct policy *policy, const struct sock *sock)
{
	const struct listener *listener = listener_of(policy, sock->config.name);

	return listener && address_same(&listener->address, &sock->config.address);
}

static bool sock_needed(const struct supervisor *s, const struct sock *sock)
{
	if (listener_named(&s->policy, sock))
		return true;
	for (const struct launch *l = s->launches; l; l = l->next)
		if (listener_named(&l->policy, sock))
			return true;
	return false;
}

/* A generation has gone: sockets that only its workers were started with are closed. */
void reload_close_unused(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++)
		if (s->socks[i].in_use && !sock_needed(s, &s->socks[i]))
			sock_close(s, &s->socks[i]);
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
	s->policy_wall_ms = (uint64_t)log_wall_ms();
	if (memcmp(&former, fresh, sizeof former) != 0)
		s->policy_changed_wall_ms = s->policy_wall_ms;
	log_configure(&s->log, s->policy.log_format, s->policy.log_level, s->policy.log_file);
	sup_feed(s, &(struct event){ .what = EV_POLICY, .policy = &s->policy });
	if (sup_pool_grow(s, s->slots_max) < 0)
		sup_note(s, LOG_LEVEL_ERROR, "no memory for supervisor.max_old = %u",
			 s->policy.supervisor_max_old);
	keep_policy(s);
	monitor_policy(s);
	watch_policy(s);
	probe_policy(s);
	workers_policy(s);
}

/* What applies at once applies to every generation, else a roll under way would take it back. */
static void apply_to_launches(struct supervisor *s, const struct policy *fresh)
{
	for (struct launch *l = s->launches; l; l = l->next) {
		for (size_t i = 0; i < KEYS_MAX; i++)
			if (keys[i].when == KEY_LIVE)
				memcpy((char *)&l->policy + keys[i].offset,
				       (const char *)fresh + keys[i].offset, keys[i].size);
		memcpy(l->policy.rules, fresh->rules, sizeof l->policy.rules);
		l->policy.rule_count = fresh->rule_count;
	}
}

/* The number of workers that the policy says, unless another was set by hand since. */
static int apply_count(struct supervisor *s, uint32_t workers, bool by_hand, const char **failed)
{
	struct pool_view view;
	int rc = 0;

	pool_view(s->pool, &view);
	if (workers != view.wanted)
		rc = sup_scale(s, workers, failed);
	s->scaled = by_hand;
	return rc;
}

static void begin_roll(struct supervisor *s, struct launch *launch, uint32_t *ret_roll)
{
	struct pool_view view;

	launch->next = s->launches;
	s->launches = launch;
	s->generation = launch->generation;
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

	if (roll && launch_create(s, r->fresh, s->generation + 1, &launch, problem, sizeof problem) < 0) {
		object(r, "%s; nothing was changed", problem);
		return -1;
	}
	if (open_new_sockets(r, workers) != 0) {
		free(launch);
		return -1;
	}
	watch_new_sockets(s);
	if (!launch)
		apply_to_launches(s, r->fresh);
	apply_live(s, r->fresh);
	if (apply_count(s, workers, by_hand, &failed) < 0)
		object(r, "cluster.workers: %s", failed);
	if (launch)
		begin_roll(s, launch, ret_roll);
	return 0;
}

/* What take_effect() would refuse, as far as that can be seen before a socket is opened. */
static int rehearse(struct reload *r, bool roll)
{
	struct launch *launch = NULL;
	char problem[LINE_MAX_TOLD];

	if (roll && launch_create(r->s, r->fresh, r->s->generation + 1, &launch, problem, sizeof problem) < 0) {
		object(r, "%s", problem);
		return -1;
	}
	free(launch);
	return 0;
}

/* What workers = auto means can change without the file; true if so. */
static bool compare_count(const struct reload *r)
{
	uint32_t now = slots_now(r->s), fresh = wanted_by(r->s, r->fresh);

	if (now == fresh || r->fresh->cluster_workers != r->s->policy.cluster_workers)
		return false;
	say(r, "cluster.workers: auto was %u and is %u now: applies at once", now, fresh);
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
		by_hand = count_by_hand(s, &launch->policy);
		workers = wanted_by(s, &launch->policy);
		apply_live(s, &launch->policy);
		if (apply_count(s, workers, by_hand, &failed) < 0)
			sup_note(s, LOG_LEVEL_ERROR, "cluster.workers: %s", failed);
		/* The generation that failed may have gone while its policy was still in force. */
		reload_close_unused(s);
	}
}

static void complain_through(void *context, const char *line)
{
	object(context, "%s", line);
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
		object(&r, "no memory; nothing was changed");
		return -1;
	}
	if (!dry_run)
		systemd_reloading(s);
	if (s->stopping) {
		object(&r, "the cluster is stopping; nothing was changed");
	} else if (read_policy(&r) == 0) {
		compare_keys(&r);
		compare_listeners(&r);
		if (!compare_count(&r) && r.live + r.roll + r.boot == 0)
			say(&r, "the policy has not changed");
		rc = dry_run ? rehearse(&r, roll || r.roll > 0)
		             : take_effect(&r, roll || r.roll > 0, ret_roll);
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
	if (launch_create(s, &s->policy, s->generation + 1, &launch, problem, sizeof problem) < 0)
		return -EINVAL;
	begin_roll(s, launch, ret_roll);
	return 0;
}
