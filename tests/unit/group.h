/* What the tests of reuseport share: a group on loopback, clients, and who accepts them. */
#ifndef CLUSTERD_TESTS_UNIT_GROUP_H
#define CLUSTERD_TESTS_UNIT_GROUP_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/os/reuseport.h"

enum { CAPACITY = 8, WAIT_MS = 5000, PROBE_BASE = 21700 };

__attribute__((unused)) static const char *failed;

static inline struct reuseport_params params(int family, int type, bool steer)
{
	struct reuseport_params p = {
		.type = type,
		.backlog = 1024,
		.capacity = CAPACITY,
		.steer = steer,
	};

	p.address.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		((struct sockaddr_in *)&p.address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		p.length = sizeof(struct sockaddr_in);
	} else {
		((struct sockaddr_in6 *)&p.address)->sin6_addr = in6addr_loopback;
		p.length = sizeof(struct sockaddr_in6);
	}
	return p;
}

/* False, with the reason on stdout, where the rights or the kernel do not allow steering. */
static inline bool can_steer(void)
{
	static const char *const why[] = { "", "no CAP_BPF", "kernel before 5.14" };
	enum reuseport_support support = reuseport_probe_kernel();

	if (support != REUSEPORT_OK)
		printf("skipped: %s\n", why[support]);
	return support == REUSEPORT_OK;
}

static inline void nonblock(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static inline void add(struct reuseport *g, uint32_t slot)
{
	ck_assert_msg(reuseport_add(g, slot, &failed) == 0, "%s: %s", failed, strerror(errno));
	nonblock(reuseport_fd(g, slot));
}

static inline struct reuseport *open_group(const struct reuseport_params *p, uint32_t slots)
{
	struct reuseport *g = NULL;
	uint32_t all[CAPACITY];
	int error = reuseport_create(p, &g, &failed);

	ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
	for (uint32_t i = 0; i < slots; i++) {
		add(g, i);
		all[i] = i;
	}
	if (p->steer)
		ck_assert_int_eq(reuseport_steer(g, all, slots, &failed), 0);
	return g;
}

static inline void steer(struct reuseport *g, uint32_t n, const uint32_t *slots)
{
	ck_assert_int_eq(reuseport_steer(g, slots, n, &failed), 0);
}
#define STEER(g, ...)                                                                              \
	steer(g, sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t),                           \
	      (uint32_t[]){ __VA_ARGS__ })

/* A client from source port `port` (0: any), or -1 with errno. Closes with a reset. */
static inline int dial(const struct reuseport *g, const char *from, uint16_t port)
{
	const struct sockaddr_storage *to = reuseport_address(g);
	struct linger reset = { .l_onoff = 1 };
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	if (port != 0) {
		struct sockaddr_storage ss = { .ss_family = to->ss_family };
		void *address = to->ss_family == AF_INET
				    ? (void *)&((struct sockaddr_in *)&ss)->sin_addr
				    : (void *)&((struct sockaddr_in6 *)&ss)->sin6_addr;

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
		((struct sockaddr_in *)&ss)->sin_port = htons(port);
		ck_assert_int_eq(inet_pton(to->ss_family, from, address), 1);
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&ss, sizeof(ss)), 0);
	}
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Accepts one connection, wherever it is, and says at which slot; -1 when there is none. */
static inline int accepted_by(const struct reuseport *g)
{
	for (uint32_t slot = 0; slot < CAPACITY; slot++) {
		int fd = reuseport_fd(g, slot);
		int got = fd < 0 ? -1 : accept(fd, NULL, NULL);

		if (got >= 0) {
			close(got);
			return (int)slot;
		}
	}
	return -1;
}

/* connect(2) returned, so the handshake is done: on loopback the connection is queued already. */
static inline int served_by(const struct reuseport *g)
{
	int client = dial(g, NULL, 0);
	int slot;

	ck_assert_int_ge(client, 0);
	slot = accepted_by(g);
	close(client);
	return slot;
}

static inline void serve(const struct reuseport *g, unsigned n, unsigned ret_served[CAPACITY])
{
	memset(ret_served, 0, CAPACITY * sizeof(*ret_served));
	for (unsigned i = 0; i < n; i++) {
		int slot = served_by(g);

		ck_assert_int_ge(slot, 0);
		ret_served[slot]++;
	}
}

#define COUNT(rows) (int)(sizeof(rows) / sizeof((rows)[0]))

#endif
