#include "config/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const char no_host[] = "the host is neither a numeric address nor * nor localhost; names are not "
			      "looked up";

static int fail(const char **problem, const char *why)
{
	*problem = why;
	return -1;
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static int parse_port(const char *text, uint16_t *ret, const char **problem)
{
	unsigned port = 0;

	if (!is_number(text) || strlen(text) > 5)
		return fail(problem, "the port is not a number from 0 to 65535");
	for (; *text; text++)
		port = port * 10 + (unsigned)(*text - '0');
	if (port > UINT16_MAX)
		return fail(problem, "the port is not a number from 0 to 65535");
	*ret = (uint16_t)port;
	return 0;
}

static void set_v6(struct address *address, struct in6_addr host, uint32_t scope)
{
	struct sockaddr_in6 *sa = (struct sockaddr_in6 *)&address->sa;

	sa->sin6_family = AF_INET6;
	sa->sin6_port = htons(address->port);
	sa->sin6_addr = host;
	sa->sin6_scope_id = scope;
	address->size = sizeof(*sa);
}

static int set_v4(struct address *address, const char *host, const char **problem)
{
	struct sockaddr_in *sa = (struct sockaddr_in *)&address->sa;

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &sa->sin_addr) != 1)
		return fail(problem, no_host);
	sa->sin_family = AF_INET;
	sa->sin_port = htons(address->port);
	address->size = sizeof(*sa);
	return 0;
}

/* "[V6]" or "[V6%SCOPE]" with the brackets, the scope as a number. */
static int parse_v6(char *host, struct address *address, const char **problem)
{
	size_t length = strlen(host);
	struct in6_addr v6;
	uint32_t scope = 0;
	char *percent;

	if (length < 2 || host[length - 1] != ']')
		return fail(problem, "an IPv6 address and a port look like [::1]:80");
	host[length - 1] = '\0';
	percent = strchr(host, '%');
	if (percent) {
		*percent++ = '\0';
		if (!is_number(percent) || strlen(percent) > 9)
			return fail(problem, "the scope of an IPv6 address is given as a number");
		for (; *percent; percent++)
			scope = scope * 10 + (uint32_t)(*percent - '0');
	}
	if (inet_pton(AF_INET6, host + 1, &v6) != 1)
		return fail(problem, "not an IPv6 address between the brackets");
	/* bind(2) would say no more than "Invalid argument". */
	if (IN6_IS_ADDR_LINKLOCAL(&v6) && scope == 0)
		return fail(problem, "an address of one link needs its interface, by number, as in [fe80::1%2]:80");
	if (IN6_IS_ADDR_V4MAPPED(&v6))
		return fail(problem, "an IPv4 address is written without [::ffff:]");
	set_v6(address, v6, scope);
	return 0;
}

/* What is wrong with a text that can only be a port; NULL if it is a number. */
static const char *no_colon(const char *text)
{
	if (is_number(text))
		return NULL;
	if (strchr(text, '/'))
		return "a path needs unix: in front";
	if (strcmp(text, "*") == 0 || strcmp(text, "localhost") == 0 ||
	    strspn(text, "0123456789.") == strlen(text))
		return "the port is missing, as in 127.0.0.1:80";
	return "neither a port nor HOST:PORT nor unix:/PATH";
}

/* What is wrong with a text that is no address at all; NULL if it may be one. */
static const char *misunderstanding(const char *text, const char *colon)
{
	if (*text == '[' && (!colon || colon[-1] != ']'))
		return "an IPv6 address and a port look like [::1]:80";
	if (!colon)
		return no_colon(text);
	if (strstr(text, "://"))
		return "an address and not a URL is needed";
	if (*text != '[' && strchr(text, ':') != colon)
		return "an IPv6 address needs brackets, as in [::1]:80";
	if (colon == text)
		return "the host is missing; * stands for all addresses";
	return NULL;
}

static int parse_inet(const char *text, struct address *address, const char **problem)
{
	char host[INET6_ADDRSTRLEN + 16] = "*";
	const char *colon = strrchr(text, ':'), *why = misunderstanding(text, colon);

	if (why)
		return fail(problem, why);
	if (parse_port(colon ? colon + 1 : text, &address->port, problem) < 0)
		return -1;
	if (colon) {
		if ((size_t)(colon - text) >= sizeof(host))
			return fail(problem, no_host);
		memcpy(host, text, (size_t)(colon - text));
		host[colon - text] = '\0';
	}
	if (*host == '[')
		return parse_v6(host, address, problem);
	if (strcmp(host, "*") != 0)
		return set_v4(address, host, problem);
	address->any = true;
	set_v6(address, (struct in6_addr){ 0 }, 0);
	return 0;
}

/* An abstract name begins with a NUL in the kernel's form and does not end in one: unix(7). */
static int parse_unix(const char *path, struct address *address, const char **problem)
{
	struct sockaddr_un *sa = (struct sockaddr_un *)&address->sa;
	size_t length = strlen(path);

	if (*path != '/' && *path != '@')
		return fail(problem, "a unix socket is unix:/PATH or unix:@NAME");
	if (length < 2 || path[length - 1] == '/')
		return fail(problem, "the name of the unix socket is missing");
	if (length > sizeof(sa->sun_path) - 1)
		return fail(problem, "longer than the 107 bytes a unix socket can have");
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, length);
	if (*path == '@')
		sa->sun_path[0] = '\0';
	address->size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path == '/'));
	return 0;
}

static int parse_inherit(const char *name, struct address *address, const char **problem)
{
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof(address->inherit) || strchr(name, ':'))
		return fail(problem, "an inherited socket is inherit:NAME or inherit:NUMBER");
	memcpy(address->inherit, name, length);
	return 0;
}

/* What no address needs, and what could not be written back into a policy file. */
static bool has_odd_byte(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f || strchr(";\"'\\", *text))
			return true;
	return false;
}

int address_parse(const char *text, struct address *ret, const char **problem)
{
	static const struct {
		const char *prefix;
		enum address_kind kind;
		int (*parse)(const char *, struct address *, const char **);
	} forms[] = {
		{ "unix:", ADDRESS_UNIX, parse_unix },
		{ "udp:", ADDRESS_UDP, parse_inet },
		{ "inherit:", ADDRESS_INHERIT, parse_inherit },
		{ "", ADDRESS_TCP, parse_inet },
	};
	struct address address;
	size_t i = 0;

	memset(&address, 0, sizeof(address));
	if (*text == '\0')
		return fail(problem, "the address is missing");
	if (has_odd_byte(text))
		return fail(problem, "an address holds no blank, quote, backslash, ; or control character");
	while (strncmp(text, forms[i].prefix, strlen(forms[i].prefix)) != 0)
		i++;
	address.kind = forms[i].kind;
	if (forms[i].parse(text + strlen(forms[i].prefix), &address, problem) < 0)
		return -1;
	memcpy(ret, &address, sizeof(address));
	return 0;
}

static int format_inet(const struct address *address, char *text)
{
	const char *prefix = address->kind == ADDRESS_UDP ? "udp:" : "";
	char host[INET6_ADDRSTRLEN], scope[16] = "";

	if (address->any)
		return snprintf(text, ADDRESS_TEXT_MAX, "%s*:%u", prefix, address->port);
	if (address->sa.ss_family == AF_INET) {
		const struct sockaddr_in *sa = (const struct sockaddr_in *)&address->sa;

		inet_ntop(AF_INET, &sa->sin_addr, host, sizeof(host));
		return snprintf(text, ADDRESS_TEXT_MAX, "%s%s:%u", prefix, host, address->port);
	}
	const struct sockaddr_in6 *sa = (const struct sockaddr_in6 *)&address->sa;

	inet_ntop(AF_INET6, &sa->sin6_addr, host, sizeof(host));
	if (sa->sin6_scope_id != 0)
		snprintf(scope, sizeof(scope), "%%%u", sa->sin6_scope_id);
	return snprintf(text, ADDRESS_TEXT_MAX, "%s[%s%s]:%u", prefix, host, scope, address->port);
}

static int format_unix(const struct address *address, char *text)
{
	const struct sockaddr_un *sa = (const struct sockaddr_un *)&address->sa;
	size_t length = address->size - offsetof(struct sockaddr_un, sun_path);

	if (sa->sun_path[0] == '\0')
		return snprintf(text, ADDRESS_TEXT_MAX, "unix:@%.*s", (int)length - 1, sa->sun_path + 1);
	return snprintf(text, ADDRESS_TEXT_MAX, "unix:%.*s", (int)length - 1, sa->sun_path);
}

int address_format(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
	switch (address->kind) {
	case ADDRESS_OFF: return snprintf(text, ADDRESS_TEXT_MAX, "off");
	case ADDRESS_TCP:
	case ADDRESS_UDP: return format_inet(address, text);
	case ADDRESS_UNIX: return format_unix(address, text);
	case ADDRESS_INHERIT:
		return snprintf(text, ADDRESS_TEXT_MAX, "inherit:%s", address->inherit);
	case ADDRESS_NONE: break;
	}
	*text = '\0';
	return 0;
}

static bool is_unspecified(const struct address *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->sa.ss_family == AF_INET)
		return v4->sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

/* Of two addresses of one kind that are no file: the port, then the host. */
static bool same_inet(const struct address *a, const struct address *b)
{
	if (a->port != b->port)
		return false;
	if ((a->any && is_unspecified(b)) || (b->any && is_unspecified(a)))
		return true;
	return a->size == b->size && memcmp(&a->sa, &b->sa, a->size) == 0;
}

bool address_same(const struct address *a, const struct address *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case ADDRESS_TCP:
	case ADDRESS_UDP: return same_inet(a, b);
	case ADDRESS_UNIX: return a->size == b->size && memcmp(&a->sa, &b->sa, a->size) == 0;
	case ADDRESS_INHERIT: return strcmp(a->inherit, b->inherit) == 0;
	case ADDRESS_NONE:
	case ADDRESS_OFF: break;
	}
	return false;
}

bool address_covers(const struct address *whole, const struct address *part)
{
	bool is_inet = whole->kind == ADDRESS_TCP || whole->kind == ADDRESS_UDP;

	if (!is_inet || whole->kind != part->kind || whole->port == 0 || whole->port != part->port)
		return false;
	return is_unspecified(whole) && (whole->any || whole->sa.ss_family == part->sa.ss_family);
}

bool address_equal(const struct address *a, const struct address *b)
{
	bool port_is_chosen = (a->kind == ADDRESS_TCP || a->kind == ADDRESS_UDP) && a->port == 0;

	return !port_is_chosen && address_same(a, b);
}
