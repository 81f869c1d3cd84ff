#include "supervisor/core/envp_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/reserved.h"

/* ---- strings ---- */

char *build_here(const struct build *b)
{
	return b->bytes < b->room ? b->text + b->bytes : NULL;
}

void build_add(struct build *b, const char *text, size_t size)
{
	char *at = build_here(b);

	if (at && size <= b->room - b->bytes)
		memcpy(at, text, size);
	b->bytes += size;
}

void build_word(struct build *b, const char *word)
{
	build_add(b, word, strlen(word));
}

void build_number(struct build *b, int64_t number)
{
	char digits[NUMBER_TEXT_MAX];

	build_add(b, digits, number_text(number, digits));
}

static void point(struct build *b, char *text)
{
	if (b->pointers)
		*b->pointers++ = text;
}

void build_begin(struct build *b)
{
	point(b, build_here(b));
}

void build_end(struct build *b)
{
	build_add(b, "", 1);
}

/* ---- addresses ---- */

void envp_bound_text(const struct address *a, char text[BOUND_TEXT_MAX])
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

bool envp_is_unix(const struct address *a)
{
	return a->sa.ss_family == AF_UNIX;
}

static bool is_tcp(const struct address *address)
{
	return address->kind != ADDRESS_UDP && !envp_is_unix(address) && address->port;
}

const struct address *envp_first_tcp(const struct envp_input *in)
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
	build_number(b, b->in->slot);
	return true;
}

static bool put_workers(struct build *b)
{
	build_number(b, b->in->workers);
	return true;
}

static bool put_name(struct build *b)
{
	build_word(b, b->in->name);
	return true;
}

static bool put_fd(struct build *b)
{
	if (b->in->socket_count > 0)
		build_number(b, b->in->sockets[0].fd);
	return b->in->socket_count > 0;
}

static bool put_port(struct build *b)
{
	const struct address *tcp = envp_first_tcp(b->in);

	if (tcp)
		build_number(b, tcp->port);
	return tcp != NULL;
}

static bool put_address(struct build *b)
{
	const struct address *first = first_address(b->in);
	char text[BOUND_TEXT_MAX];

	if (!first)
		return false;
	envp_bound_text(first, text);
	if (envp_is_unix(first))
		build_word(b, "unix:");
	build_word(b, text);
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
		build_number(b, socket->fd);
	return socket != NULL;
}

static void add_argument(struct build *b, const char *word)
{
	build_begin(b);
	while (*word) {
		const char *close = word[0] == '%' && word[1] == '{' ? strchr(word, '}') : NULL;

		if (close && put_placeholder(b, word + 2, (size_t)(close - word) - 2)) {
			word = close + 1;
			continue;
		}
		build_add(b, word++, 1);
	}
	build_end(b);
}

static void add_arguments(struct build *b)
{
	const char *word = b->in->command->text;

	for (uint16_t i = 0; i < b->in->command->count; i++, word += strlen(word) + 1)
		add_argument(b, word);
	point(b, NULL);
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
	return is_port(variable) && envp_first_tcp(in);
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
	       OURS_OF_SOCKET * in->socket_count + 2; /* NULLs */
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
	envp_add_ours(&b);
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
