/* Real sockets on loopback; each connection is looked for in the queues of the slots' sockets. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "tests/unit/group.h"
#include "tests/unit/suite.h"

static const struct {
	int family;
	uint32_t slots;
	unsigned connections;
} turns[] = {
	{ AF_INET, 4, 10000 },
	{ AF_INET6, 4, 10000 },
	{ AF_INET, 1, 100 },
	{ AF_INET, 7, 7000 },
};

START_TEST(turn_is_exact)
{
	struct reuseport_params p = params(turns[_i].family, SOCK_STREAM, true);
	unsigned served[CAPACITY];
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, turns[_i].slots);
	serve(g, turns[_i].connections, served);
	for (uint32_t slot = 0; slot < turns[_i].slots; slot++) {
		ck_assert_uint_eq(served[slot], turns[_i].connections / turns[_i].slots);
		ck_assert_uint_eq(reuseport_handed(g, slot), served[slot]);
	}
	reuseport_destroy(g);
}
END_TEST

static uint16_t checksum(const uint16_t *words, size_t count)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += words[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~(sum + (sum >> 16));
}

/* A segment of no connection, to the port of the group. */
static void send_stray(const struct reuseport *g, int raw, uint8_t flags)
{
	struct sockaddr_in to = *(const struct sockaddr_in *)reuseport_address(g);
	struct {
		struct in_addr from, to;
		uint16_t protocol, size;
		struct tcphdr tcp;
	} segment = {
		.from.s_addr = htonl(INADDR_LOOPBACK),
		.to = to.sin_addr,
		.protocol = htons(IPPROTO_TCP),
		.size = htons(sizeof(struct tcphdr)),
		.tcp = { .th_sport = htons(9), .th_dport = to.sin_port, .th_off = 5, .th_flags = flags },
	};

	segment.tcp.th_sum = checksum((const uint16_t *)&segment, sizeof(segment) / 2);
	to.sin_port = 0;
	ck_assert_int_eq(sendto(raw, &segment.tcp, sizeof(segment.tcp), 0, (struct sockaddr *)&to,
				sizeof(to)),
			 sizeof(segment.tcp));
}

/* What is left of a connection whose socket is gone is nobody's turn. */
START_TEST(a_stray_reset_takes_no_turn)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	struct reuseport *g;
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);

	if (!can_steer() || raw < 0)
		return;
	for (int probes = 0; probes < 2; probes++) {
		p.probe_base = probes ? PROBE_BASE : 0;
		g = open_group(&p, 4);
		for (int i = 0; i < 8; i++) {
			send_stray(g, raw, i % 2 ? TH_RST : TH_RST | TH_ACK);
			ck_assert_int_eq(served_by(g), i % 4);
			ck_assert_uint_eq(reuseport_handed(g, (uint32_t)i % 4), (uint64_t)i / 4 + 1);
		}
		reuseport_destroy(g);
	}
	close(raw);
}
END_TEST

/* The turn goes on where it stood, whatever happens to the list. */
START_TEST(turn_survives_changes)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, 4);
	ck_assert_int_eq(served_by(g), 0);
	ck_assert_int_eq(served_by(g), 1);
	STEER(g, 0, 1, 3); /* the one who is next goes */
	ck_assert_int_eq(served_by(g), 3);
	ck_assert_int_eq(served_by(g), 0);
	STEER(g, 0, 1, 2, 3); /* and comes back */
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(served_by(g), (i + 1) % 4);
	STEER(g, 3, 2, 2); /* order and repetition do not matter */
	ck_assert_int_eq(served_by(g), 2);
	ck_assert_int_eq(served_by(g), 3);
	ck_assert_int_eq(served_by(g), 2);
	reuseport_destroy(g);
}
END_TEST

START_TEST(added_slot_waits_for_the_list)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	unsigned served[CAPACITY];
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, 2);
	add(g, 7);
	serve(g, 100, served);
	ck_assert_uint_eq(served[7], 0);
	STEER(g, 0, 1, 7);
	serve(g, 300, served);
	ck_assert_uint_eq(served[0], 100);
	ck_assert_uint_eq(served[1], 100);
	ck_assert_uint_eq(served[7], 100);
	STEER(g, 5); /* has no socket: all are better than none */
	serve(g, 300, served);
	ck_assert_uint_eq(served[7], 100);
	ck_assert_int_eq(reuseport_steer(g, &(uint32_t){ CAPACITY }, 1, &failed), -EINVAL);
	ck_assert_int_eq(reuseport_add(g, 7, &failed), -EEXIST);
	ck_assert_int_eq(reuseport_add(g, CAPACITY, &failed), -EINVAL);
	ck_assert_int_eq(reuseport_remove(g, 6, &failed), -ENOENT);
	reuseport_destroy(g);
}
END_TEST

enum { QUEUED = 100 };

static void dial_many(const struct reuseport *g, int clients[QUEUED])
{
	for (int i = 0; i < QUEUED; i++) {
		clients[i] = dial(g, NULL, 0);
		ck_assert_int_ge(clients[i], 0);
	}
}

/* Accepts all and sends each a byte; every client must get it. */
static void answer_many(const struct reuseport *g, int clients[QUEUED], unsigned ret_by[CAPACITY])
{
	memset(ret_by, 0, CAPACITY * sizeof(*ret_by));
	for (uint32_t slot = 0; slot < CAPACITY; slot++) {
		int listener = reuseport_fd(g, slot);
		int fd;

		while (listener >= 0 && (fd = accept(listener, NULL, NULL)) >= 0) {
			ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
			close(fd);
			ret_by[slot]++;
		}
	}
	for (int i = 0; i < QUEUED; i++) {
		struct pollfd wait = { .fd = clients[i], .events = POLLIN };
		char byte;

		ck_assert_int_eq(poll(&wait, 1, WAIT_MS), 1);
		ck_assert_int_eq(recv(clients[i], &byte, 1, 0), 1);
		close(clients[i]);
	}
}

static int move(struct reuseport *g, uint32_t slot)
{
	return reuseport_move_queue(g, slot, &failed);
}

static int take_away(struct reuseport *g, uint32_t slot)
{
	return reuseport_remove(g, slot, &failed);
}

static const struct {
	int (*act)(struct reuseport *g, uint32_t slot);
	bool copy; /* a worker holds the socket too */
} leavings[] = { { move, true }, { take_away, false }, { take_away, true } };

START_TEST(queue_moves_to_the_siblings)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	int clients[QUEUED];
	unsigned by[CAPACITY];
	struct reuseport *g;
	int copy = -1;

	if (!can_steer())
		return;
	g = open_group(&p, 4);
	if (leavings[_i].copy)
		copy = dup(reuseport_fd(g, 2));
	STEER(g, 2);
	ck_assert_int_eq(move(g, 2), -EAGAIN); /* nobody to move to */
	dial_many(g, clients);
	STEER(g, 0, 1, 2);
	ck_assert_int_eq(leavings[_i].act(g, 2), 0);
	answer_many(g, clients, by);
	ck_assert_uint_eq(by[0], QUEUED / 2);
	ck_assert_uint_eq(by[1], QUEUED / 2);
	ck_assert_uint_eq(by[2] + by[3], 0);
	if (leavings[_i].act == take_away)
		add(g, 2);
	STEER(g, 0, 1, 2, 3);
	serve(g, 400, by);
	for (uint32_t slot = 0; slot < 4; slot++)
		ck_assert_uint_eq(by[slot], 100);
	close(copy);
	reuseport_destroy(g);
}
END_TEST

/* A worker may shut its socket down: nobody is refused, and it can be brought back. */
START_TEST(shut_down_slot_is_passed_over)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	unsigned served[CAPACITY];
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, 4); /* slot 0 has the port that the kernel chose */
	for (uint32_t slot = 0; slot < 4; slot++) {
		ck_assert_int_eq(shutdown(reuseport_fd(g, slot), SHUT_RDWR), 0);
		serve(g, 300, served);
		ck_assert_uint_eq(served[slot], 0);
		ck_assert_int_eq(reuseport_relisten(g, slot, &failed), 0);
		ck_assert_int_eq(reuseport_relisten(g, slot, &failed), 0);
		serve(g, 400, served);
		for (uint32_t i = 0; i < 4; i++)
			ck_assert_uint_eq(served[i], 100);
	}
	reuseport_destroy(g);
}
END_TEST

static const struct {
	int family;
	const char *from;
	bool probes; /* false: an ordinary client */
} sources[] = {
	{ AF_INET, "127.0.0.1", true },
	{ AF_INET, "127.9.9.9", true },
	{ AF_INET6, "::1", true },
};

START_TEST(probe_reaches_its_slot)
{
	struct reuseport_params p = params(sources[_i].family, SOCK_STREAM, true);
	struct reuseport *g;

	if (!can_steer())
		return;
	p.probe_base = PROBE_BASE;
	g = open_group(&p, 4);
	STEER(g, 0, 1); /* a slot off the list is reached as well */
	for (int round = 0; round < 5; round++) {
		for (uint16_t slot = 0; slot < 4; slot++) {
			int client = dial(g, sources[_i].from, (uint16_t)(PROBE_BASE + slot));

			ck_assert_int_ge(client, 0);
			ck_assert_int_eq(accepted_by(g), slot);
			close(client);
		}
	}
	ck_assert_uint_eq(reuseport_handed(g, 3), 0);
	/* no socket there: whoever that is, it is no probe */
	for (int i = 0; i < 2; i++) {
		int client = dial(g, sources[_i].from, PROBE_BASE + 4);

		ck_assert_int_ge(client, 0);
		ck_assert_int_lt(accepted_by(g), 2);
		close(client);
	}
	/* just outside the range: ordinary */
	for (int i = 0; i < 4; i++) {
		int client = dial(g, sources[_i].from, PROBE_BASE + CAPACITY);

		ck_assert_int_ge(client, 0);
		ck_assert_int_eq(accepted_by(g), i % 2);
		close(client);
	}
	reuseport_destroy(g);
}
END_TEST

/* Datagrams of a flow: the slot that has the socket's message, or -1. */
static int flow_slot(const struct reuseport *g, int client)
{
	char byte = 'x';

	ck_assert_int_eq(send(client, &byte, 1, 0), 1);
	for (uint32_t slot = 0; slot < CAPACITY; slot++) {
		int fd = reuseport_fd(g, slot);

		if (fd >= 0 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
			return (int)slot;
	}
	return -1;
}

START_TEST(flow_keeps_its_slot)
{
	enum { FLOWS = 200 };
	struct reuseport_params p = params(_i ? AF_INET6 : AF_INET, SOCK_DGRAM, true);
	int client[FLOWS], home[FLOWS];
	unsigned moved[CAPACITY] = { 0 }, by[CAPACITY] = { 0 };
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, 4);
	for (int i = 0; i < FLOWS; i++) {
		const struct sockaddr_storage *to = reuseport_address(g);

		client[i] = socket(to->ss_family, SOCK_DGRAM, 0);
		ck_assert_int_eq(connect(client[i], (const struct sockaddr *)to, sizeof(*to)), 0);
		home[i] = flow_slot(g, client[i]);
		ck_assert_int_ge(home[i], 0);
		by[home[i]]++;
		for (int again = 0; again < 3; again++)
			ck_assert_int_eq(flow_slot(g, client[i]), home[i]);
	}
	for (int slot = 0; slot < 4; slot++)
		ck_assert_uint_gt(by[slot], FLOWS / 16);
	STEER(g, 0, 1, 3);
	for (int i = 0; i < FLOWS; i++) {
		int now = flow_slot(g, client[i]);

		ck_assert_int_ne(now, 2);
		if (home[i] == 2)
			moved[now]++;
		else
			ck_assert_int_eq(now, home[i]);
	}
	ck_assert_uint_eq(moved[0] + moved[1] + moved[3], by[2]);
	ck_assert_uint_lt(moved[0], by[2]);
	STEER(g, 0, 1, 2, 3);
	for (int i = 0; i < FLOWS; i++)
		ck_assert_int_eq(flow_slot(g, client[i]), home[i]);
	/* one in the place of another has all of his and no other */
	ck_assert_int_eq(reuseport_add(g, 4, &failed), 0);
	STEER(g, 0, 3, 4, 1);
	for (int i = 0; i < FLOWS; i++)
		ck_assert_int_eq(flow_slot(g, client[i]), home[i] == 2 ? 4 : home[i]);
	STEER(g, 0, 1, 2, 3);
	for (int i = 0; i < FLOWS; i++)
		ck_assert_int_eq(flow_slot(g, client[i]), home[i]);
	/* one more takes a share, and what he gives back goes home */
	STEER(g, 0, 1, 2, 3, 4);
	memset(by, 0, sizeof by);
	for (int i = 0; i < FLOWS; i++) {
		int now = flow_slot(g, client[i]);

		ck_assert(now == home[i] || now == 4);
		by[now]++;
	}
	ck_assert_uint_gt(by[4], FLOWS / 20);
	ck_assert_uint_lt(by[4], FLOWS / 2);
	for (int i = 0; i < FLOWS; i++)
		close(client[i]);
	reuseport_destroy(g);
}
END_TEST

static int copy(int fd)
{
	int copied = fcntl(fd, F_DUPFD, 3);

	ck_assert_int_ge(copied, 3);
	return copied;
}

/* As over execve: the group object goes, the fds (copies here) live on. */
START_TEST(group_survives_in_its_fds)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	int sockets[CAPACITY], clients[QUEUED];
	struct reuseport *g, *back = NULL;
	struct reuseport_image image;
	unsigned by[CAPACITY];

	if (!can_steer())
		return;
	p.probe_base = PROBE_BASE;
	g = open_group(&p, 3);
	STEER(g, 0, 2);
	ck_assert_int_eq(served_by(g), 0);
	dial_many(g, clients);
	image = reuseport_export(g);
	for (uint32_t slot = 0; slot < CAPACITY; slot++)
		sockets[slot] = slot < 3 ? copy(reuseport_fd(g, slot)) : -1;
	image.control_fd = copy(image.control_fd);
	image.sockets_fd = copy(image.sockets_fd);
	image.program_fd = copy(image.program_fd);
	reuseport_destroy(g);
	image.params.capacity--;
	ck_assert_int_eq(reuseport_adopt_fds(&image, sockets, 4, &back, &failed), -EPROTO);
	image.params.capacity++;
	ck_assert_int_eq(reuseport_adopt_fds(&image, sockets, CAPACITY, &back, &failed), 0);
	ck_assert_int_eq(fcntl(sockets[1], F_GETFD), FD_CLOEXEC);
	answer_many(back, clients, by);
	ck_assert_uint_eq(by[0], QUEUED / 2);
	ck_assert_uint_eq(by[2], QUEUED / 2);
	ck_assert_uint_eq(reuseport_handed(back, 0), QUEUED / 2 + 1);
	ck_assert_int_eq(served_by(back), 2);
	STEER(back, 0, 1, 2);
	ck_assert_int_eq(served_by(back), 0);
	ck_assert_int_eq(served_by(back), 1);
	add(back, 3);
	ck_assert_int_eq(reuseport_remove(back, 1, &failed), 0);
	reuseport_destroy(back);
}
END_TEST

struct dialler {
	struct reuseport *group;
	int dialled; /* connections that were not refused */
};

enum { DIALS = 3000 };

static void *dial_on(void *context)
{
	struct dialler *d = context;

	for (int i = 0; i < DIALS; i++) {
		int fd = dial(d->group, NULL, 0);

		if (fd >= 0)
			__atomic_fetch_add(&d->dialled, 1, __ATOMIC_RELEASE);
		close(fd);
	}
	return NULL;
}

struct crowd {
	struct reuseport *group;
	bool no_more, closed;
	unsigned answered, lost;
};

/* One connection after the other: each is answered with a byte, or lost. */
static void *ask_on(void *context)
{
	struct crowd *crowd = context;
	char byte;

	while (!__atomic_load_n(&crowd->no_more, __ATOMIC_ACQUIRE)) {
		int fd = dial(crowd->group, NULL, 0);
		bool answered = fd >= 0 && read(fd, &byte, 1) == 1;

		__atomic_fetch_add(answered ? &crowd->answered : &crowd->lost, 1, __ATOMIC_RELAXED);
		close(fd);
	}
	return NULL;
}

static void *answer_on(void *context)
{
	struct crowd *crowd = context;
	struct pollfd slots[3];

	while (!__atomic_load_n(&crowd->closed, __ATOMIC_ACQUIRE)) {
		for (uint32_t slot = 0; slot < 3; slot++)
			slots[slot] = (struct pollfd){ reuseport_fd(crowd->group, slot), POLLIN, 0 };
		poll(slots, 3, 1);
		for (uint32_t slot = 0; slot < 3; slot++) {
			int fd;

			while ((fd = accept(slots[slot].fd, NULL, NULL)) >= 0) {
				ck_assert_int_eq(send(fd, "y", 1, MSG_NOSIGNAL), 1);
				close(fd);
			}
		}
	}
	return NULL;
}

/* A handshake that is half done as its queue moves ends well too: that of a slot which has been on the
 * list until this moment. */
START_TEST(queue_moves_under_load)
{
	enum { MOVES = 1500, ASKING = 2 };
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	pthread_t asking[ASKING], answering;
	struct crowd crowd = { .group = NULL };

	if (!can_steer())
		return;
	crowd.group = open_group(&p, 3);
	STEER(crowd.group, 0, 1, 2);
	pthread_create(&answering, NULL, answer_on, &crowd);
	for (int i = 0; i < ASKING; i++)
		pthread_create(&asking[i], NULL, ask_on, &crowd);
	/* as many of both, whoever gets the CPU */
	for (uint32_t i = 0; i < MOVES || __atomic_load_n(&crowd.answered, __ATOMIC_RELAXED) <= MOVES; i++) {
		ck_assert_int_eq(reuseport_move_queue(crowd.group, i % 3, &failed), 0);
		STEER(crowd.group, 0, 1, 2);
		usleep(200);
	}
	__atomic_store_n(&crowd.no_more, true, __ATOMIC_RELEASE);
	for (int i = 0; i < ASKING; i++)
		pthread_join(asking[i], NULL);
	__atomic_store_n(&crowd.closed, true, __ATOMIC_RELEASE);
	pthread_join(answering, NULL);
	ck_assert_uint_eq(crowd.lost, 0);
	reuseport_destroy(crowd.group);
}
END_TEST

static int accept_all(const struct reuseport *g, unsigned by[CAPACITY])
{
	int n = 0, slot;

	while ((slot = accepted_by(g)) >= 0) {
		by[slot]++;
		n++;
	}
	return n;
}

/* The list changes all the time while connections come: none is refused, none
 * falls to a slot that never was on a list, and each is counted once. */
START_TEST(list_may_change_under_load)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	unsigned by[CAPACITY] = { 0 };
	struct dialler d = { 0 };
	uint64_t handed = 0;
	pthread_t thread;
	int changes = 0;

	if (!can_steer())
		return;
	p.backlog = 4096;
	d.group = open_group(&p, 5);
	STEER(d.group, 0, 1, 2, 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, dial_on, &d), 0);
	while (__atomic_load_n(&d.dialled, __ATOMIC_ACQUIRE) < DIALS && changes < 1000000) {
		STEER(d.group, 0, 1);
		STEER(d.group, 1, 2, 3);
		STEER(d.group, 0, 1, 2, 3);
		changes += 3;
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(d.dialled, DIALS);
	ck_assert_int_eq(accept_all(d.group, by), DIALS);
	ck_assert_uint_eq(by[4], 0);
	for (uint32_t slot = 0; slot < 4; slot++)
		handed += reuseport_handed(d.group, slot);
	ck_assert_uint_eq(handed, DIALS);
	ck_assert_int_gt(changes, 100);
	reuseport_destroy(d.group);
}
END_TEST

START_TEST(hash_serves_all)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, false);
	struct reuseport *g = open_group(&p, 4);
	unsigned served[CAPACITY];

	serve(g, 1000, served);
	for (uint32_t slot = 0; slot < 4; slot++)
		ck_assert_uint_gt(served[slot], 100);
	ck_assert_int_eq(reuseport_steer(g, &(uint32_t){ 0 }, 1, &failed), -EOPNOTSUPP);
	ck_assert_int_eq(reuseport_move_queue(g, 0, &failed), -EOPNOTSUPP);
	ck_assert_uint_eq(reuseport_open(g), 4);
	ck_assert_int_eq(reuseport_remove(g, 3, &failed), 0);
	ck_assert_uint_eq(reuseport_open(g), 3);
	serve(g, 100, served);
	ck_assert_uint_eq(served[3], 0);
	reuseport_destroy(g);
}
END_TEST

/* A network of its own, where the loopback interface has another address too. */
static void enter_network(const char *other)
{
	struct ifreq request = { .ifr_name = "lo" };
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	request.ifr_flags = IFF_UP;
	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, "lo:1", sizeof("lo:1"));
	in->sin_family = AF_INET;
	ck_assert_int_eq(inet_pton(AF_INET, other, &in->sin_addr), 1);
	ck_assert_int_eq(ioctl(fd, SIOCSIFADDR, &request), 0);
	close(fd);
}

/* Whoever is not on this machine can not choose a slot by its source port. */
START_TEST(only_loopback_probes)
{
	static const char other[] = "10.99.99.1";
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	struct reuseport *g;

	if (!can_steer() || getuid() != 0)
		return;
	enter_network(other);
	p.probe_base = PROBE_BASE;
	ck_assert_int_eq(inet_pton(AF_INET, other, &((struct sockaddr_in *)&p.address)->sin_addr),
			 1);
	g = open_group(&p, 4);
	STEER(g, 0, 1);
	for (int i = 0; i < 4; i++) {
		int client = dial(g, other, PROBE_BASE + 3);

		ck_assert_int_ge(client, 0);
		ck_assert_int_eq(accepted_by(g), i % 2);
		close(client);
		client = dial(g, "127.0.0.1", PROBE_BASE + 3); /* to the other address */
		ck_assert_int_ge(client, 0);
		ck_assert_int_eq(accepted_by(g), 3);
		close(client);
	}
	reuseport_destroy(g);
}
END_TEST

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(nothing_leaks)
{
	int before = open_fds();

	for (int i = 0; i < 20; i++) {
		struct reuseport_params p = params(AF_INET, SOCK_STREAM, i % 2);
		struct reuseport *g;

		if (p.steer && !can_steer())
			continue;
		g = open_group(&p, CAPACITY);
		ck_assert_int_eq(reuseport_remove(g, 3, &failed), 0);
		reuseport_destroy(g);
	}
	reuseport_destroy(NULL);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, turn_is_exact, 0, COUNT(turns));
	tcase_add_test(tests, a_stray_reset_takes_no_turn);
	tcase_add_test(tests, turn_survives_changes);
	tcase_add_test(tests, added_slot_waits_for_the_list);
	tcase_add_loop_test(tests, queue_moves_to_the_siblings, 0, COUNT(leavings));
	tcase_add_test(tests, shut_down_slot_is_passed_over);
	tcase_add_loop_test(tests, probe_reaches_its_slot, 0, COUNT(sources));
	tcase_add_test(tests, only_loopback_probes);
	tcase_add_loop_test(tests, flow_keeps_its_slot, 0, 2);
	tcase_add_test(tests, group_survives_in_its_fds);
	tcase_add_test(tests, list_may_change_under_load);
	tcase_add_test(tests, queue_moves_under_load);
	tcase_add_test(tests, hash_serves_all);
	tcase_add_test(tests, nothing_leaks);
}

int main(void)
{
	return run_suite("os/reuseport", add_tests);
}
