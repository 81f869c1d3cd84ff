#include "supervisor/core/envp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/reserved.h"

enum {
	BOUND_TEXT_MAX = 160,
	OURS_MAX = 24,      /* variables of ours, NULLs of both lists … */
	OURS_OF_SOCKET = 2, /* … and those that a socket has of its own: EINHORN_FD_n, PUMA_INHERIT_n */
};

/*
 * The memory begins with room for as many pointers as there can be at most, the strings follow.
 * Where it does not suffice nothing more is written, and the count goes on.
 */
struct build {
	const struct envp_input *in;
	char **pointers; /* next free one, or NULL: there is no room for them */
	char *text;
	size_t room, bytes; /* at text; the latter may be more */
	char *pid_text[2];
};

/* ---- strings ---- */

/* Where the next byte goes; NULL: there is no room for it. */
static char *here(const struct build *b)
{
	return b->bytes < b->room ? b->text + b->bytes : NULL;
}

static void add(struct build *b, const char *text, size_t size)
{
	char *at = here(b);

	if (at && size <= b->room - b->bytes)
		memcpy(at, text, size);
	b->bytes += size;
}

static void add_word(struct build *b, const char *word)
{
	add(b, word, strlen(word));
}

static void add_number(struct build *b, int64_t number)
{
	char digits[NUMBER_TEXT_MAX];

	add(b, digits, number_text(number, digits));
}

static void point(struct build *b, char *text)
{
	if (b->pointers)
		*b->pointers++ = text;
}

static void begin(struct build *b)
{
	point(b, here(b));
}

static void end(struct build *b)
{
	add(b, "", 1);
}

/* ---- addresses ---- */

/* "0.0.0.0:80", "[::]:80", "/path", "@abstract": what the socket is bound to. */
static void bound_text(const struct address *a, char text[BOUND_TEXT_MAX])
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	char host[INET6_ADDRSTRLEN] = "";
	size_t size = a->size > offsetof(struct sockaddr_un, sun_path)
	                      ? a->size - offsetof(struct sockaddr_un, sun_path) : 0;

	if (a->sa.ss_family == AF_INET6)
		snprintf(text, BOUND_TEXT_MAX, "[%s]:%u",
		         inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host), a->port);
	else if (a->sa.ss_family == AF_INET)
		snprintf(text, BOUND_TEXT_MAX, "%s:%u",
		         inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host), a->port);
	else if (a->sa.ss_family == AF_UNIX && size > 0 && un->sun_path[0] == '\0')
		snprintf(text, BOUND_TEXT_MAX, "@%.*s", (int)size - 1, un->sun_path + 1);
	else if (a->sa.ss_family == AF_UNIX)
		snprintf(text, BOUND_TEXT_MAX, "%.*s", (int)size, un->sun_path);
	else
		text[0] = '\0';
}

static bool is_unix(const struct address *a)
{
	return a->sa.ss_family == AF_UNIX;
}

static bool is_tcp(const struct address *address)
{
	return address->kind != ADDRESS_UDP && !is_unix(address) && address->port;
}

static const struct address *first_tcp(const struct envp_input *in)
{
	if (in->first && is_tcp(in->first))
		return in->first;
	for (size_t i = 0; i < in->socket_count; i++)
		if (is_tcp(in->sockets[i].address))
			return in->sockets[i].address;
	return NULL;
}

static const struct address *first_address(const struct envp_input *in)
{
	if (in->first)
		return in->first;
	return in->socket_count > 0 ? in->sockets[0].address : NULL;
}

/* ---- arguments ---- */

static bool name_is(const char *name, size_t size, const char *word)
{
	return strlen(word) == size && memcmp(name, word, size) == 0;
}

static const struct envp_socket *socket_named(const struct envp_input *in, const char *name,
                                              size_t size)
{
	for (size_t i = 0; i < in->socket_count; i++)
		if (name_is(name, size, in->sockets[i].name))
			return &in->sockets[i];
	return NULL;
}

static bool put_slot(struct build *b)
{
	add_number(b, b->in->slot);
	return true;
}

static bool put_workers(struct build *b)
{
	add_number(b, b->in->workers);
	return true;
}

static bool put_name(struct build *b)
{
	add_word(b, b->in->name);
	return true;
}

static bool put_fd(struct build *b)
{
	if (b->in->socket_count > 0)
		add_number(b, b->in->sockets[0].fd);
	return b->in->socket_count > 0;
}

static bool put_port(struct build *b)
{
	const struct address *tcp = first_tcp(b->in);

	if (tcp)
		add_number(b, tcp->port);
	return tcp != NULL;
}

static bool put_address(struct build *b)
{
	const struct address *first = first_address(b->in);
	char text[BOUND_TEXT_MAX];

	if (!first)
		return false;
	bound_text(first, text);
	if (is_unix(first))
		add_word(b, "unix:");
	add_word(b, text);
	return true;
}

static const struct placeholder {
	const char *name;
	bool (*put)(struct build *b);
} placeholders[] = {
	{ "slot", put_slot }, { "workers", put_workers }, { "name", put_name },
	{ "fd", put_fd },     { "port", put_port },       { "address", put_address },
};

/* False if nothing of that name can be put in: the text then stays as it is. */
static bool put_placeholder(struct build *b, const char *name, size_t size)
{
	const struct envp_socket *socket;

	for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++)
		if (name_is(name, size, placeholders[i].name))
			return placeholders[i].put(b);
	if (size < 3 || memcmp(name, "fd:", 3) != 0)
		return false;
	socket = socket_named(b->in, name + 3, size - 3);
	if (socket)
		add_number(b, socket->fd);
	return socket != NULL;
}

static void add_argument(struct build *b, const char *word)
{
	begin(b);
	while (*word) {
		const char *close = word[0] == '%' && word[1] == '{' ? strchr(word, '}') : NULL;

		if (close && put_placeholder(b, word + 2, (size_t)(close - word) - 2)) {
			word = close + 1;
			continue;
		}
		add(b, word++, 1);
	}
	end(b);
}

static void add_arguments(struct build *b)
{
	const char *word = b->in->command->text;

	for (uint16_t i = 0; i < b->in->command->count; i++, word += strlen(word) + 1)
		add_argument(b, word);
	point(b, NULL);
}

/* ---- variables of ours ---- */

static void begin_variable(struct build *b, const char *name)
{
	begin(b);
	add_word(b, name);
	add(b, "=", 1);
}

static void add_variable(struct build *b, const char *name, const char *value)
{
	begin_variable(b, name);
	add_word(b, value);
	end(b);
}

static void add_count(struct build *b, const char *name, int64_t number)
{
	begin_variable(b, name);
	add_number(b, number);
	end(b);
}

/* A pid that only the child knows; it writes it over the 0. */
static void add_pid(struct build *b, const char *name, size_t which)
{
	static const char room[ENVP_PID_SIZE] = "0";

	begin_variable(b, name);
	b->pid_text[which] = here(b);
	add(b, room, sizeof room);
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
		add_word(b, i ? ":" : "");
		add_word(b, in->sockets[i].name[0] ? in->sockets[i].name : "unknown");
	}
	end(b);
}

/* A port alone stands for every IPv4 address; start_server(1), SERVER_STARTER_PORT. */
static void add_server_starter(struct build *b)
{
	char text[BOUND_TEXT_MAX];

	begin_variable(b, "SERVER_STARTER_PORT");
	for (size_t i = 0; i < b->in->socket_count; i++) {
		const char *key = text;

		bound_text(b->in->sockets[i].address, text);
		if (strncmp(text, "0.0.0.0:", 8) == 0)
			key = text + 8;
		add_word(b, i ? ";" : "");
		add_word(b, key);
		add(b, "=", 1);
		add_number(b, b->in->sockets[i].fd);
	}
	end(b);
	add_count(b, "SERVER_STARTER_GENERATION", b->in->generation);
}

static void add_fds(struct build *b, const char *name, const char *between, const char *after)
{
	begin_variable(b, name);
	for (size_t i = 0; i < b->in->socket_count; i++) {
		add_word(b, i ? between : "");
		add_number(b, b->in->sockets[i].fd);
		add_word(b, after);
	}
	end(b);
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
		bound_text(address, text);
		begin_variable(b, name);
		add_number(b, b->in->sockets[i].fd);
		add_word(b, is_unix(address) ? ":unix://" : ":tcp://");
		add_word(b, text);
		end(b);
	}
}

static void add_php_fpm(struct build *b)
{
	char text[BOUND_TEXT_MAX];

	begin_variable(b, "FPM_SOCKETS");
	for (size_t i = 0; i < b->in->socket_count; i++) {
		bound_text(b->in->sockets[i].address, text);
		add_word(b, i ? "," : "");
		add_word(b, text);
		add(b, "=", 1);
		add_number(b, b->in->sockets[i].fd);
	}
	end(b);
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

static void add_ours(struct build *b)
{
	const struct envp_input *in = b->in;
	const struct address *tcp = first_tcp(in);

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

/* ---- variables of others ---- */

static size_t name_size(const char *variable)
{
	const char *equals = strchr(variable, '=');

	return equals ? (size_t)(equals - variable) : strlen(variable);
}

static bool is_port(const char *variable)
{
	return name_is(variable, name_size(variable), "PORT");
}

/* PORT is ours when a socket has one. */
static bool is_our_port(const struct envp_input *in, const char *variable)
{
	return is_port(variable) && first_tcp(in);
}

/* Without a socket no style says anything. */
static bool ours(const struct envp_input *in, const char *variable)
{
	return env_spoken(variable, in->socket_count > 0 ? in->styles : 0) || is_our_port(in, variable);
}

/* Is the name given in [env], from its string `from` on? Of two equal names the last one counts. */
static bool in_env(const char *from, uint32_t count, const char *variable)
{
	for (; count > 0; count--, from += strlen(from) + 1)
		if (name_size(from) == name_size(variable) &&
		    memcmp(from, variable, name_size(from)) == 0)
			return true;
	return false;
}

size_t envp_inherit(char *const *outer, const char *env, uint32_t env_count, char **ret)
{
	char *port = NULL;
	size_t count = 0;

	for (char *const *v = outer; *v; v++) {
		if (env_reserved(*v) || in_env(env, env_count, *v))
			continue;
		if (is_port(*v))
			port = port ? port : *v; /* as getenv(3): the first counts */
		else
			ret[count++] = *v;
	}
	if (port)
		ret[count++] = port;
	return count;
}

static void add_theirs(struct build *b)
{
	const struct envp_input *in = b->in;
	const char *env = in->env;
	size_t count = in->inherited_count;

	if (count > 0 && is_our_port(in, in->inherited[count - 1]))
		count--;
	for (size_t i = 0; i < count; i++)
		point(b, in->inherited[i]);
	for (uint32_t left = in->env_count; left > 0; left--) {
		const char *next = env + strlen(env) + 1;

		if (!ours(in, env) && !in_env(next, left - 1, env))
			point(b, (char *)env); /* as execve(2) has it, which changes nothing */
		env = next;
	}
}

/* ---- both ---- */

static size_t most_pointers(const struct envp_input *in)
{
	return in->command->count + in->inherited_count + in->env_count + OURS_MAX +
	       OURS_OF_SOCKET * in->socket_count;
}

size_t envp_build(const struct envp_input *in, void *memory, size_t size, struct envp *ret)
{
	size_t pointers = most_pointers(in) * sizeof(char *), needed;
	struct build b = { .in = in };
	char **envp;

	if (pointers <= size) {
		b.pointers = memory;
		b.text = (char *)memory + pointers;
		b.room = size - pointers;
	}
	add_arguments(&b);
	envp = b.pointers;
	add_theirs(&b);
	add_ours(&b);
	point(&b, NULL);
	needed = pointers + b.bytes;
	if (needed <= size)
		*ret = (struct envp){
			.argv = memory,
			.envp = envp,
			.pid_text = { b.pid_text[0], b.pid_text[1] },
		};
	return needed;
}
