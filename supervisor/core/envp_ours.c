/*
 * envp_ours - the variables that clusterd adds, in each protocol that was asked for.
 */
#include <stdio.h>
#include <string.h>

#include "supervisor/core/envp_internal.h"

static void begin_variable(struct build *b, const char *name)
{
	build_begin(b);
	build_word(b, name);
	build_add(b, "=", 1);
}

static void add_variable(struct build *b, const char *name, const char *value)
{
	begin_variable(b, name);
	build_word(b, value);
	build_end(b);
}

static void add_count(struct build *b, const char *name, int64_t number)
{
	begin_variable(b, name);
	build_number(b, number);
	build_end(b);
}

/* A pid that only the child knows; it writes it over the 0. */
static void add_pid(struct build *b, const char *name, size_t which)
{
	static const char room[ENVP_PID_SIZE] = "0";

	begin_variable(b, name);
	b->pid_text[which] = build_here(b);
	build_add(b, room, sizeof room);
}

static void add_systemd(struct build *b)
{
	const struct envp_input *in = b->in;

	if (in->socket_count == 0)
		return;
	add_pid(b, "LISTEN_PID", 0);
	add_count(b, "LISTEN_FDS", (int64_t)in->socket_count);
	begin_variable(b, "LISTEN_FDNAMES");
	for (size_t i = 0; i < in->socket_count; i++) {
		build_word(b, i ? ":" : "");
		build_word(b, in->sockets[i].name[0] ? in->sockets[i].name : "unknown");
	}
	build_end(b);
}

/* A port alone stands for every IPv4 address; start_server(1), SERVER_STARTER_PORT. */
static void add_server_starter(struct build *b)
{
	char text[BOUND_TEXT_MAX];

	begin_variable(b, "SERVER_STARTER_PORT");
	for (size_t i = 0; i < b->in->socket_count; i++) {
		const char *key = text;

		envp_bound_text(b->in->sockets[i].address, text);
		if (strncmp(text, "0.0.0.0:", 8) == 0)
			key = text + 8;
		build_word(b, i ? ";" : "");
		build_word(b, key);
		build_add(b, "=", 1);
		build_number(b, b->in->sockets[i].fd);
	}
	build_end(b);
	add_count(b, "SERVER_STARTER_GENERATION", b->in->generation);
}

static void add_fds(struct build *b, const char *name, const char *between, const char *after)
{
	begin_variable(b, name);
	for (size_t i = 0; i < b->in->socket_count; i++) {
		build_word(b, i ? between : "");
		build_number(b, b->in->sockets[i].fd);
		build_word(b, after);
	}
	build_end(b);
}

static void add_einhorn(struct build *b)
{
	char name[48];

	add_count(b, "EINHORN_FD_COUNT", (int64_t)b->in->socket_count);
	for (size_t i = 0; i < b->in->socket_count; i++) {
		snprintf(name, sizeof name, "EINHORN_FD_%zu", i);
		add_count(b, name, b->in->sockets[i].fd);
	}
	add_fds(b, "EINHORN_FDS", " ", "");
	add_count(b, "EINHORN_MASTER_PID", b->in->master_pid);
	add_count(b, "EINHORN_CHILD_INDEX", b->in->slot);
	if (b->in->einhorn_socket)
		add_variable(b, "EINHORN_SOCK_PATH", b->in->einhorn_socket);
}

static void add_nginx(struct build *b)
{
	add_fds(b, "NGINX", "", ";");
}

static void add_unicorn(struct build *b)
{
	add_fds(b, "UNICORN_FD", ",", "");
}

static void add_puma(struct build *b)
{
	char name[48], text[BOUND_TEXT_MAX];

	for (size_t i = 0; i < b->in->socket_count; i++) {
		const struct address *address = b->in->sockets[i].address;

		snprintf(name, sizeof name, "PUMA_INHERIT_%zu", i);
		envp_bound_text(address, text);
		begin_variable(b, name);
		build_number(b, b->in->sockets[i].fd);
		build_word(b, envp_is_unix(address) ? ":unix://" : ":tcp://");
		build_word(b, text);
		build_end(b);
	}
}

static void add_php_fpm(struct build *b)
{
	char text[BOUND_TEXT_MAX];

	begin_variable(b, "FPM_SOCKETS");
	for (size_t i = 0; i < b->in->socket_count; i++) {
		envp_bound_text(b->in->sockets[i].address, text);
		build_word(b, i ? "," : "");
		build_word(b, text);
		build_add(b, "=", 1);
		build_number(b, b->in->sockets[i].fd);
	}
	build_end(b);
}

static const struct protocol {
	enum style style;
	void (*add)(struct build *b);
} protocols[] = {
	{ STYLE_SYSTEMD, add_systemd }, { STYLE_SERVER_STARTER, add_server_starter },
	{ STYLE_EINHORN, add_einhorn }, { STYLE_NGINX, add_nginx },
	{ STYLE_UNICORN, add_unicorn }, { STYLE_PUMA, add_puma },
	{ STYLE_PHP_FPM, add_php_fpm },
};

void envp_add_ours(struct build *b)
{
	const struct envp_input *in = b->in;
	const struct address *tcp = envp_first_tcp(in);

	for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
		if ((in->styles & (uint32_t)protocols[i].style) && in->socket_count > 0)
			protocols[i].add(b);
	if (tcp)
		add_count(b, "PORT", tcp->port);
	add_variable(b, "CLUSTERD_NAME", in->name);
	add_count(b, "CLUSTERD_SLOT", in->slot);
	add_count(b, "CLUSTERD_WORKERS", in->workers);
	add_count(b, "CLUSTERD_GENERATION", in->generation);
	if (in->notify_socket)
		add_variable(b, "NOTIFY_SOCKET", in->notify_socket);
	if (in->watchdog_ms > 0) {
		add_count(b, "WATCHDOG_USEC", (int64_t)(in->watchdog_ms * 1000));
		add_pid(b, "WATCHDOG_PID", 1);
	}
	if (in->ready_fd >= 0)
		add_count(b, "READY_FD", in->ready_fd);
}
