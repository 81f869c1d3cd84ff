#include "supervisor/reload_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/keys.h"

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

void reload_say(const struct reload *r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	tell_line(r, LOG_LEVEL_INFO, format, list);
	va_end(list);
}

void reload_object(const struct reload *r, const char *format, ...)
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
	reload_say(r, "%s.%s: %.128s -> %.128s: %s", key->section, key->name, before, after,
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
		reload_say(r, "[exit] rules: apply at once");
		r->live++;
	}
	if (memcmp(r->fresh->env, r->s->policy.env, sizeof r->fresh->env) != 0) {
		reload_say(r, "[env]: replaces the workers");
		r->roll++;
	}
}

static const struct listener *listener_of(const struct policy *policy, const struct listener *like)
{
	for (uint32_t i = 0; i < policy->listener_count; i++)
		if (listener_same(&policy->listeners[i], like))
			return &policy->listeners[i];
	return NULL;
}

/* An open socket stays as it is; only its backlog and what it is called may change. */
static void compare_open(struct reload *r, struct listener *fresh, const struct listener *was)
{
	static char before[VALUE_TEXT_MAX], after[VALUE_TEXT_MAX];
	const struct listener asked = *fresh;

	*fresh = *was;
	memcpy(fresh->name, asked.name, sizeof fresh->name);
	fresh->backlog = asked.backlog;
	if (strcmp(was->name, asked.name) != 0) {
		reload_say(r, "[listen %s]: is that of [listen %s]: %s", asked.name, was->name, when_text[KEY_ROLL]);
		r->roll++;
	}
	for (size_t i = 0; i < LISTEN_KEYS_MAX; i++) {
		const struct key *key = &listen_keys[i];
		bool live = key->offset == offsetof(struct listener, backlog);

		key->type->format(key, key_field(key, was), before);
		key->type->format(key, key_field(key, &asked), after);
		if (strcmp(before, after) == 0)
			continue;
		reload_say(r, "[listen %s]: %s: %.128s -> %.128s: %s", fresh->name, key->name, before, after,
		    when_text[live ? KEY_LIVE : KEY_BOOT]);
		r->live += live;
		r->boot += !live;
	}
}

/* The socket is that of * and both of these are in it: it can not become two. */
static bool is_taken(struct reload *r, uint32_t index, const struct listener *was)
{
	const struct listener *fresh = r->fresh->listeners;

	for (uint32_t i = 0; i < index; i++) {
		if (!listener_same(&fresh[i], was))
			continue;
		reload_object(r, "[listen %s]: its address is in the socket that [listen %s] goes on with; to have two takes "
		              "a restart of clusterd; nothing was changed", fresh[index].name, fresh[i].name);
		r->impossible = true;
		return true;
	}
	return false;
}

static void say_of(const struct reload *r, const struct listener *listener, const char *what)
{
	char address[ADDRESS_TEXT_MAX];

	address_format(&listener->address, address);
	reload_say(r, "[listen %s]: %s: %s", listener->name, address, what);
}

/* Workers that still leave may have it from a former policy: then it is that socket, as it is. */
static void compare_new(struct reload *r, struct listener *fresh, const struct sock *sock)
{
	if (sock) {
		reload_say(r, "[listen %s]: is open still, for workers that leave; the new ones get it", fresh->name);
		compare_open(r, fresh, &sock->config);
	} else {
		say_of(r, fresh, "opened, then the workers are replaced");
	}
	r->roll++;
}

static void compare_listeners(struct reload *r)
{
	const struct policy *old = &r->s->policy;

	for (uint32_t i = 0; i < r->fresh->listener_count; i++) {
		struct listener *fresh = &r->fresh->listeners[i];
		const struct listener *was = listener_of(old, fresh);

		const struct sock *sock = was ? NULL : sock_of(r->s, fresh);

		if (!was && !(sock && is_taken(r, i, &sock->config)))
			compare_new(r, fresh, sock);
		else if (was && !is_taken(r, i, was) && memcmp(was, fresh, sizeof *was) != 0)
			compare_open(r, fresh, was);
	}
	for (uint32_t i = 0; i < old->listener_count; i++) {
		if (listener_of(r->fresh, &old->listeners[i]))
			continue;
		say_of(r, &old->listeners[i], "closed when the workers have been replaced");
		r->roll++;
	}
}

/* The number of a worker's fd comes from it. */
static void compare_order(struct reload *r)
{
	const struct policy *old = &r->s->policy;

	if (r->roll > 0 || r->fresh->listener_count != old->listener_count)
		return;
	for (uint32_t i = 0; i < old->listener_count; i++)
		if (!listener_same(&r->fresh->listeners[i], &old->listeners[i])) {
			reload_say(r, "[listen]: in another order: %s", when_text[KEY_ROLL]);
			r->roll++;
			return;
		}
}

/* It failed with on_failure = stop, or all was drained: what is in force is not what most workers run. */
static void compare_generation(struct reload *r)
{
	const struct launch *launch;
	struct pool_view view;

	pool_view(r->s->pool, &view);
	launch = launch_find(r->s, view.generation);
	if (r->roll > 0 || view.roll || !launch ||
	    memcmp(&launch->policy, &r->s->policy, sizeof launch->policy) == 0)
		return;
	reload_say(r, "the last roll was not finished: %s", when_text[KEY_ROLL]);
	r->roll++;
}

bool reload_names(const struct policy *policy, const struct sock *sock)
{
	return listener_of(policy, &sock->config) != NULL;
}

bool reload_all_name(const struct supervisor *s, const struct sock *sock)
{
	for (const struct launch *l = s->launches; l; l = l->next)
		if (!reload_names(&l->policy, sock))
			return false;
	return true;
}

bool reload_restores(const struct reload *r, const struct sock *sock)
{
	return sock_path_lost(sock) && reload_names(r->fresh, sock);
}

static void look_at_paths(struct reload *r)
{
	for (uint32_t i = 0; i < r->s->sock_count; i++)
		if (reload_restores(r, &r->s->socks[i])) {
			reload_say(r, "[listen %s]: its file was removed: made again, then the workers are replaced",
			    r->s->socks[i].config.name);
			r->roll++;
		}
}

void reload_compare(struct reload *r)
{
	compare_keys(r);
	compare_listeners(r);
	compare_order(r);
	compare_generation(r);
	look_at_paths(r);
}
