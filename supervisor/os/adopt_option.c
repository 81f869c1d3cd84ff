#include "supervisor/os/adopt_option.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <string.h>

#include "supervisor/os/sys.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

enum {
	TCP = 1,
	UDP = 2,
	V4 = 4,
	V6 = 8,
	DOUBLED = 16, /* the kernel tells twice the value that was set: socket(7) SO_RCVBUF */
	ANY = TCP | UDP | V4 | V6,
};

#define OPTION(level, name, where)                                                                 \
	{                                                                                          \
		level, name, where, #name                                                          \
	}

static const struct option {
	int level;
	int name;
	unsigned where; /* sockets that have it */
	const char *text;
} table[] = {
	OPTION(SOL_SOCKET, SO_KEEPALIVE, ANY),
	OPTION(SOL_SOCKET, SO_LINGER, ANY),
	OPTION(SOL_SOCKET, SO_RCVBUF, ANY | DOUBLED),
	OPTION(SOL_SOCKET, SO_SNDBUF, ANY | DOUBLED),
	OPTION(SOL_SOCKET, SO_RCVLOWAT, ANY),
	OPTION(SOL_SOCKET, SO_RCVTIMEO, ANY),
	OPTION(SOL_SOCKET, SO_SNDTIMEO, ANY),
	OPTION(SOL_SOCKET, SO_PRIORITY, ANY),
	OPTION(SOL_SOCKET, SO_OOBINLINE, TCP),
	OPTION(SOL_SOCKET, SO_BROADCAST, UDP),
	OPTION(IPPROTO_TCP, TCP_NODELAY, TCP),
	OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT, TCP),
	OPTION(IPPROTO_TCP, TCP_FASTOPEN, TCP),
	OPTION(IPPROTO_TCP, TCP_KEEPIDLE, TCP),
	OPTION(IPPROTO_TCP, TCP_KEEPINTVL, TCP),
	OPTION(IPPROTO_TCP, TCP_KEEPCNT, TCP),
	OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, TCP),
	OPTION(IPPROTO_TCP, TCP_SYNCNT, TCP),
	OPTION(IPPROTO_TCP, TCP_LINGER2, TCP),
	OPTION(IPPROTO_TCP, TCP_MAXSEG, TCP),
	OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, TCP),
	OPTION(IPPROTO_TCP, TCP_CONGESTION, TCP),
	OPTION(IPPROTO_UDP, UDP_GRO, UDP),
	OPTION(IPPROTO_IP, IP_TOS, V4),
	OPTION(IPPROTO_IP, IP_TTL, V4),
	OPTION(IPPROTO_IP, IP_PKTINFO, V4),
	OPTION(IPPROTO_IP, IP_RECVTOS, V4),
	OPTION(IPPROTO_IP, IP_MTU_DISCOVER, V4),
	OPTION(IPPROTO_IPV6, IPV6_TCLASS, V6),
	OPTION(IPPROTO_IPV6, IPV6_RECVPKTINFO, V6),
	OPTION(IPPROTO_IPV6, IPV6_RECVTCLASS, V6),
	OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER, V6),
};

#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

static_assert(TABLE_SIZE <= ADOPT_OPTIONS_MAX, "a request has room for every option");

static bool has(const struct adopt_request *request, const struct option *option)
{
	unsigned kind = 0;

	if (request->domain == AF_INET)
		kind |= V4;
	if (request->domain == AF_INET6)
		kind |= V6;
	if (kind != 0 && request->type == SOCK_STREAM)
		kind |= TCP;
	if (kind != 0 && request->type == SOCK_DGRAM)
		kind |= UDP;
	return (option->where & ANY) == ANY || (option->where & kind) != 0;
}

void adopt_options_read(int fd, struct adopt_request *request)
{
	request->options = 0;
	for (uint8_t i = 0; i < TABLE_SIZE; i++) {
		struct adopt_option *o = &request->option[request->options];
		socklen_t size = sizeof(o->value);

		if (!has(request, &table[i]) ||
		    sys_getsockopt(fd, table[i].level, table[i].name, o->value, &size) < 0)
			continue;
		o->index = i;
		o->size = (uint8_t)size;
		request->options++;
	}
}

static bool same(const struct adopt_option *o, int fd)
{
	unsigned char ours[ADOPT_OPTION_SIZE];
	socklen_t size = sizeof(ours);

	return sys_getsockopt(fd, table[o->index].level, table[o->index].name, ours, &size) == 0 &&
	       size == o->size && memcmp(ours, o->value, size) == 0;
}

static bool put(const struct adopt_option *o, int fd)
{
	const struct option *option = &table[o->index];
	const void *value = o->value;
	int half;

	if ((option->where & DOUBLED) != 0) {
		memcpy(&half, o->value, sizeof(half));
		half /= 2;
		value = &half;
	}
	return sys_setsockopt(fd, option->level, option->name, value, o->size) == 0;
}

const char *adopt_options_copy(const struct adopt_request *request, int fd)
{
	const char *lost = NULL;

	for (unsigned i = 0; i < request->options; i++) {
		const struct adopt_option *o = &request->option[i];

		if (!same(o, fd) && !put(o, fd))
			lost = table[o->index].text;
	}
	return lost;
}
