/* The sockets of a group whose owner was killed: workers hold them, the maps and fds of the owner are gone. */
#include <poll.h>

#include "tests/unit/group.h"
#include "tests/unit/suite.h"

enum { HELD = 3, FIRST_SEAT = 4 };

/* What the workers of the dead hold; `p` is what the next one asks for. */
static void leave_behind(struct reuseport_params *p, bool steered, int held[HELD])
{
	struct reuseport_params before = *p;
	struct reuseport *dead;

	before.steer = steered;
	dead = open_group(&before, HELD);
	for (uint32_t slot = 0; slot < HELD; slot++)
		held[slot] = dup(reuseport_fd(dead, slot));
	p->address = *reuseport_address(dead);
	reuseport_destroy(dead);
}

static struct reuseport *take_all(const struct reuseport_params *p, const int held[HELD])
{
	struct reuseport *g = NULL;

	ck_assert_int_eq(reuseport_create(p, &g, &failed), 0);
	for (uint32_t i = 0; i < HELD; i++) {
		int error = reuseport_take(g, FIRST_SEAT + i, held[i], &failed);

		ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
		ck_assert_int_eq(reuseport_fd(g, FIRST_SEAT + i), held[i]);
	}
	ck_assert_mem_eq(reuseport_address(g), &p->address, p->length);
	return g;
}

static const struct {
	int family;
	bool before, now;
} owners[] = {
	{ AF_INET, true, true },
	{ AF_INET6, true, true },
	{ AF_INET, false, false },
	{ AF_INET, true, false },
	{ AF_INET, false, true },
};

/* Connections that waited are there still; later ones go as the new owner says. */
START_TEST(queues_are_kept)
{
	enum { WAITING = 9 };
	struct reuseport_params p = params(owners[_i].family, SOCK_STREAM, owners[_i].now);
	unsigned served[CAPACITY], all = 0;
	int held[HELD], waiting[WAITING];
	struct reuseport *g;

	if ((owners[_i].before || owners[_i].now) && !can_steer())
		return;
	leave_behind(&p, owners[_i].before, held);
	for (int i = 0; i < WAITING; i++) {
		waiting[i] = socket(p.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(waiting[i], (struct sockaddr *)&p.address, p.length), 0);
	}
	g = take_all(&p, held);
	for (int i = 0; i < WAITING; i++) {
		ck_assert_int_ge(accepted_by(g), FIRST_SEAT);
		close(waiting[i]);
	}
	ck_assert_int_eq(accepted_by(g), -1);
	if (p.steer)
		STEER(g, FIRST_SEAT, FIRST_SEAT + 2);
	add(g, 0); /* of a new worker */
	serve(g, 300, served);
	if (p.steer) {
		ck_assert_uint_eq(served[FIRST_SEAT], 150);
		ck_assert_uint_eq(served[FIRST_SEAT + 2], 150);
		STEER(g, 0);
		ck_assert_int_eq(served_by(g), 0);
	} else {
		for (uint32_t slot = 0; slot < CAPACITY; slot++)
			all += served[slot];
		ck_assert_uint_eq(all, 300);
		ck_assert_uint_gt(served[0], 0);
		ck_assert_uint_gt(served[FIRST_SEAT], 0);
	}
	reuseport_destroy(g);
}
END_TEST

/* The queue of one that leaves moves to the new ones. */
START_TEST(what_is_left_moves_on)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	int held[HELD], client;
	struct reuseport *g;

	if (!can_steer())
		return;
	leave_behind(&p, true, held);
	g = take_all(&p, held);
	add(g, 0);
	STEER(g, FIRST_SEAT);
	client = dial(g, NULL, 0);
	ck_assert_int_ge(client, 0);
	STEER(g, 0);
	ck_assert_int_eq(reuseport_move_queue(g, FIRST_SEAT, &failed), 0);
	ck_assert_int_eq(reuseport_remove(g, FIRST_SEAT, &failed), 0);
	ck_assert_int_eq(accepted_by(g), 0);
	close(client);
	reuseport_destroy(g);
}
END_TEST

START_TEST(datagrams)
{
	struct reuseport_params p = params(AF_INET, SOCK_DGRAM, _i == 1);
	int held[HELD], fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), got = -1;
	struct reuseport *g;
	char byte;

	if (p.steer && !can_steer())
		return;
	leave_behind(&p, p.steer, held);
	g = take_all(&p, held);
	if (p.steer)
		STEER(g, FIRST_SEAT + 1);
	ck_assert_int_eq(sendto(fd, "x", 1, 0, (struct sockaddr *)&p.address, p.length), 1);
	for (int i = 0; i < HELD && got < 0; i++)
		got = recv(held[i], &byte, 1, MSG_DONTWAIT) == 1 ? i : -1;
	if (p.steer)
		ck_assert_int_eq(got, 1);
	else
		ck_assert_int_ge(got, 0);
	close(fd);
	reuseport_destroy(g);
}
END_TEST

START_TEST(what_can_not_be_taken)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, false);
	struct reuseport *g = NULL;
	int held[HELD];

	leave_behind(&p, false, held);
	ck_assert_int_eq(reuseport_create(&p, &g, &failed), 0);
	ck_assert_int_eq(reuseport_take(g, CAPACITY, held[0], &failed), -EINVAL);
	ck_assert_int_eq(reuseport_take(g, 0, -1, &failed), -EBADF);
	ck_assert_int_eq(reuseport_take(g, 0, held[0], &failed), 0);
	ck_assert_int_eq(reuseport_take(g, 0, held[1], &failed), -EEXIST);
	ck_assert_int_eq(fcntl(held[1], F_GETFD) < 0, 0); /* it is the caller's still */
	close(held[1]);
	close(held[2]);
	reuseport_destroy(g);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, queues_are_kept, 0, COUNT(owners));
	tcase_add_test(tests, what_is_left_moves_on);
	tcase_add_loop_test(tests, datagrams, 0, 2);
	tcase_add_test(tests, what_can_not_be_taken);
}

int main(void)
{
	return run_suite("os/reuseport_take", add_tests);
}
