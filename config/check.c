/* What the keys have to say to each other. Needs no system: it judges the values alone. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "config/load.h"
#include "config/refused.h"
#include "config/rules.h"

struct checker {
	const struct config *config;
	const struct policy *policy;
	config_complaint *complain;
	void *context;
	int complaints;
};

__attribute__((format(printf, 3, 4))) static void complain_at(struct checker *c,
							       const struct origin *origin,
							       const char *format, ...)
{
	char text[COMPLAINT_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	c->complaints++;
	c->complain(c->context, origin->source ? origin->source : "policy", origin->line, text);
}

/* Where SECTION.KEY was set. */
static const struct origin *origin_of(const struct checker *c, const char *full_name)
{
	const struct key *key = key_find(full_name);

	return &c->config->origins.keys[key - keys];
}

/* With both values: the one that was never set surprises. The line is that of one that was. */
static void complain_longer(struct checker *c, const char *longer, const char *limit,
			    const char *follows)
{
	const struct key *a = key_find(longer), *b = key_find(limit);
	bool a_set = origin_of(c, longer)->source, b_set = origin_of(c, limit)->source;
	char a_text[64], b_text[64];

	complain_at(c, origin_of(c, a_set ? longer : limit), "[%s] %s %s%s is longer than %s %s%s%s",
		    a->section, a->name, key_text(a, c->policy, a_text, sizeof(a_text)),
		    a_set ? "" : " (default)", b->name, key_text(b, c->policy, b_text, sizeof(b_text)),
		    b_set ? "" : " (default)", follows);
}

/*
 * A budget trips when more than burst respawns fall into one window. The shortest that burst + 1
 * respawns can take: each wait is three quarters (the jitter) of the delay, doubled each time up to
 * delay_max, unless the worker lived for `stable`, which takes that long.
 */
static void check_burst(struct checker *c)
{
	const struct policy *p = c->policy;
	uint64_t total = 0, delay = p->restart_delay;

	if (p->restart_burst == 0 || p->rule_count > 0)
		return;
	for (uint32_t i = 0; i < p->restart_burst; i++) {
		uint64_t wait = (delay < p->restart_delay_max ? delay : p->restart_delay_max) * 3 / 4;

		total += wait < p->restart_stable ? wait : p->restart_stable;
		delay = delay < p->restart_delay_max ? delay * 2 : delay;
	}
	if (total >= p->restart_window)
		complain_at(c, origin_of(c, "restart.burst"),
			    "[restart] burst can never trip: with this delay, %u respawns never fit "
			    "into window; lower burst or delay, or widen window", p->restart_burst + 1);
}

static void check_restart(struct checker *c)
{
	const struct policy *p = c->policy;

	if (p->restart_delay > p->restart_delay_max)
		complain_longer(c, "restart.delay", "restart.delay_max", "");
	check_burst(c);
}

static void check_rules(struct checker *c)
{
	const struct policy *p = c->policy;

	for (uint32_t i = 0; i < p->rule_count; i++) {
		const struct exit_rule *rule = &p->rules[i];
		char text[RULE_TEXT_MAX];

		if (!rule->has_delay || rule->action == EXIT_RESPAWN || rule->action == EXIT_BACKOFF)
			continue;
		rule_format(rule, text);
		complain_at(c, &c->config->origins.rules[i].section,
			    "[exit %s] has a delay, but its action respawns nothing", text);
	}
}

static bool is_stream(const struct address *address)
{
	return address->kind == ADDRESS_TCP || address->kind == ADDRESS_UNIX ||
	       address->kind == ADDRESS_INHERIT;
}

/* A connection to one very worker can be had: see [listen] balance. */
static bool is_steered(const struct listener *listener)
{
	return listener->address.kind == ADDRESS_TCP &&
	       (listener->balance == BALANCE_ROUND_ROBIN ||
		listener->balance == BALANCE_ROUND_ROBIN_OR_HASH);
}

/* Who is asked over HTTP: the worker itself, so that one socket for all will not do. */
static void check_asked(struct checker *c, const char *key, const char *what)
{
	const struct policy *p = c->policy;
	bool has_stream = false, has_steered = false;

	for (uint32_t i = 0; i < p->listener_count; i++) {
		has_stream |= is_stream(&p->listeners[i].address);
		has_steered |= is_steered(&p->listeners[i]);
	}
	if (!has_stream)
		complain_at(c, origin_of(c, key), "%s has no listener to ask", what);
	else if (!has_steered)
		complain_at(c, origin_of(c, key), "%s asks each worker itself: that needs a TCP listener "
						  "with balance = round-robin", what);
}

static void check_ready(struct checker *c)
{
	const struct policy *p = c->policy;
	char when[64];

	if (p->ready_when.when == READY_COMMAND && p->ready_command.count == 0)
		complain_at(c, origin_of(c, "ready.when"),
			    "[ready] when = command needs [ready] command");
	if (p->ready_when.when != READY_COMMAND && p->ready_command.count > 0)
		complain_at(c, origin_of(c, "ready.command"),
			    "[ready] command is run with when = command only, and when is %s",
			    key_text(key_find("ready.when"), p, when, sizeof(when)));
	if (p->ready_when.when == READY_ALIVE && p->ready_timeout && p->ready_after > p->ready_timeout)
		complain_longer(c, "ready.after", "ready.timeout", ": no worker would ever be ready");
	if (p->ready_when.when == READY_HTTP)
		check_asked(c, "ready.when", "[ready] when = http");
}

/* Of a socket that is no worker's own, nobody is the one who does not accept. */
static void check_accept(struct checker *c)
{
	const struct policy *p = c->policy;

	for (uint32_t i = 0; i < p->listener_count; i++)
		if (p->listeners[i].balance == BALANCE_ROUND_ROBIN ||
		    p->listeners[i].balance == BALANCE_ROUND_ROBIN_OR_HASH)
			return;
	if (p->health_accept > 0)
		complain_at(c, origin_of(c, "health.accept"),
			    "[health] accept needs a listener with balance = round-robin");
}

static void check_health(struct checker *c)
{
	const struct policy *p = c->policy;

	check_accept(c);
	if (!p->health_http[0])
		return;
	if (p->health_http[0] != '/')
		complain_at(c, origin_of(c, "health.http"), "[health] http does not begin with /");
	check_asked(c, "health.http", "[health] http");
	if (p->health_timeout > p->health_interval)
		complain_longer(c, "health.timeout", "health.interval", "");
}

static void check_worker(struct checker *c)
{
	const struct policy *p = c->policy;

	if (p->stop_signal == SIGSTOP || p->stop_signal == SIGCONT)
		complain_at(c, origin_of(c, "stop.signal"), "[stop] signal can end no worker");
	if (p->health_signal == SIGSTOP || p->health_signal == SIGCONT)
		complain_at(c, origin_of(c, "health.signal"), "[health] signal can end no worker");
}

static bool is_loopback(const struct address *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->sa.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static bool is_control_socket(const struct policy *p, const struct address *address)
{
	return address->kind == ADDRESS_UNIX && p->control_socket[0] &&
	       strcmp(((const struct sockaddr_un *)&address->sa)->sun_path, p->control_socket) == 0;
}

/* Whoever says that there is to be no socket gets none, or is told why not. */
static void check_listen(struct checker *c)
{
	const struct policy *p = c->policy;

	if (!p->cluster_listen && p->listener_count > 0)
		complain_at(c, origin_of(c, "cluster.listen"),
			    "[cluster] listen = no (-l none), but there is [listen %s]", p->listeners[0].name);
}

/* Whoever comes second would find the first one in use. */
static void check_control_socket(struct checker *c)
{
	const struct policy *p = c->policy;

	if (is_control_socket(p, &p->metrics_listen))
		complain_at(c, origin_of(c, "control.socket"), "[control] socket is that of [metrics] listen");
	for (uint32_t i = 0; i < p->listener_count; i++)
		if (is_control_socket(p, &p->listeners[i].address))
			complain_at(c, origin_of(c, "control.socket"),
				    "[control] socket is the address of listener %s", p->listeners[i].name);
}

static void check_metrics_pair(struct checker *c, const struct listener *listener)
{
	const struct address *metrics = &c->policy->metrics_listen;
	char whole[ADDRESS_TEXT_MAX];

	if (address_equal(metrics, &listener->address)) {
		complain_at(c, origin_of(c, "metrics.listen"),
			    "[metrics] listen is the address of listener %s", listener->name);
	} else if (address_covers(&listener->address, metrics)) {
		address_format(&listener->address, whole);
		complain_at(c, origin_of(c, "metrics.listen"), "[metrics] listen is part of %s of [listen %s]",
			    whole, listener->name);
	}
}

static void check_own_sockets(struct checker *c)
{
	const struct policy *p = c->policy;
	const struct address *metrics = &p->metrics_listen;

	if (!p->log_file[0])
		complain_at(c, origin_of(c, "log.file"), "[log] file is empty; - is standard error");
	if (strlen(p->control_socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		complain_at(c, origin_of(c, "control.socket"),
			    "[control] socket is longer than the 107 bytes a unix socket can have");
	if (metrics->kind == ADDRESS_UDP || metrics->kind == ADDRESS_INHERIT ||
	    (metrics->kind == ADDRESS_TCP && !is_loopback(metrics)))
		complain_at(c, origin_of(c, "metrics.listen"),
			    "[metrics] listen takes a loopback address such as 127.0.0.1:9100, or unix:/PATH");
	for (uint32_t i = 0; i < p->listener_count; i++)
		check_metrics_pair(c, &p->listeners[i]);
}

/* A socket without a file has no owner and no mode. An empty value, and the default, are the same as none. */
static void check_owner(struct checker *c, const struct listener *listener,
			const struct origin *origin)
{
	const struct sockaddr *sa = (const struct sockaddr *)&listener->address.sa;
	bool has_file = listener->address.kind == ADDRESS_UNIX && sa->sa_data[0] != '\0';
	struct listener plain;

	listener_defaults(&plain);
	if (!has_file && (listener->owner[0] || listener->group[0] ||
			  memcmp(&listener->mode, &plain.mode, sizeof(plain.mode)) != 0))
		complain_at(c, origin, "[listen %s] mode, owner and group are for unix:/PATH only",
			    listener->name);
}

static void check_balance(struct checker *c, const struct listener *listener,
			  const struct origin *origin)
{
	enum address_kind kind = listener->address.kind;

	if (listener->balance == BALANCE_SHARED)
		return;
	if (kind != ADDRESS_TCP && kind != ADDRESS_UDP)
		complain_at(c, origin, "[listen %s] balance other than shared needs a TCP or UDP address",
			    listener->name);
}

/* An abstract name can not be bound elsewhere and linked to. */
static bool adoptable(const struct address *address)
{
	if (address->kind == ADDRESS_UNIX)
		return ((const struct sockaddr_un *)&address->sa)->sun_path[0] == '/';
	return address->kind == ADDRESS_TCP && address->port > 0;
}

static void check_adopt(struct checker *c, const struct listener *listener,
			const struct origin *origin)
{
	if (!listener->adopt)
		return;
	if (!adoptable(&listener->address))
		complain_at(c, origin, "[listen %s] adopt needs a TCP address with a port, or a unix path",
			    listener->name);
	if (listener->stdin)
		complain_at(c, origin, "[listen %s] adopt and stdin: a program binds its socket or gets "
				       "it as fd 0, not both", listener->name);
}

/* The second bind(2) would find the address in use, by whom it could not say. */
static void check_part(struct checker *c, const struct listener *whole, const struct listener *part,
		       const struct origin *origin)
{
	char whole_text[ADDRESS_TEXT_MAX], part_text[ADDRESS_TEXT_MAX];

	if (!address_covers(&whole->address, &part->address))
		return;
	address_format(&whole->address, whole_text);
	address_format(&part->address, part_text);
	complain_at(c, origin, "[listen %s] %s is part of %s of [listen %s]", part->name, part_text,
		    whole_text, whole->name);
}

/* What two listeners can not share. */
static void check_pair(struct checker *c, const struct listener *listener,
		       const struct listener *other, const struct origin *origin)
{
	if (address_equal(&listener->address, &other->address)) {
		complain_at(c, origin, "[listen %s] has the address of [listen %s]", listener->name,
			    other->name);
	} else {
		check_part(c, listener, other, origin);
		check_part(c, other, listener, origin);
	}
	if (listener->stdin && other->stdin)
		complain_at(c, origin, "[listen %s] and [listen %s] are both stdin", listener->name,
			    other->name);
}

static void check_listener(struct checker *c, uint32_t i)
{
	const struct listener *listener = &c->policy->listeners[i];
	const struct origin *origin = &c->config->origins.listeners[i].section;

	if (listener->address.kind == ADDRESS_NONE) {
		complain_at(c, origin, "[listen %s] has no address", listener->name);
		return;
	}
	check_balance(c, listener, origin);
	check_adopt(c, listener, origin);
	check_owner(c, listener, origin);
	for (uint32_t j = 0; j < i; j++)
		check_pair(c, listener, &c->policy->listeners[j], origin);
}

int config_check(const struct config *config, config_complaint *complain, void *context)
{
	struct checker c = { config, &config->policy, complain, context, 0 };

	if (!config_refused(config, "restart"))
		check_restart(&c);
	check_rules(&c);
	if (!config_refused(config, "listen") && !config_refused(config, "ready"))
		check_ready(&c);
	if (!config_refused(config, "listen") && !config_refused(config, "health"))
		check_health(&c);
	check_worker(&c);
	check_listen(&c);
	check_own_sockets(&c);
	check_control_socket(&c);
	for (uint32_t i = 0; i < config->policy.listener_count; i++)
		if (!config->refused_listeners[i])
			check_listener(&c, i);
	return c.complaints;
}
