/*
 * peersock: whoever sends descriptors along holds nobody up; catalogue rows E6 and M4.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/os/clock.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/peersock.h"
#include "tests/unit/lingering.h"
#include "tests/unit/suite.h"

enum { AT_ONCE_MS = 5000 }; /* far less than LINGER_SECONDS */

static int pair[2]; /* ours, the peer's */

static void setup(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

START_TEST(what_comes_along_is_closed)
{
	int ends[2];
	char text[8];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(lingering_pass(pair[1], ends[1]), 1);
	ck_assert_int_eq(peersock_read(pair[0], text, sizeof text), 1);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0] }, 1, AT_ONCE_MS), 1); /* POLLHUP */
	ck_assert_int_eq(peersock_read(pair[0], text, sizeof text), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(pair[1]);
	ck_assert_int_eq(peersock_read(pair[0], text, sizeof text), 0);
}
END_TEST

/* 0: it is read; 1: it is there when the connection is closed. */
START_TEST(a_lingering_one_holds_nobody_up)
{
	uint64_t since;
	char text[8];

	ck_assert_int_eq(lingering_pass(pair[1], lingering_fd()), 1);
	since = clock_ms();
	if (_i == 0)
		ck_assert_int_eq(peersock_read(pair[0], text, sizeof text), 1);
	peersock_close(&pair[0]);
	ck_assert_uint_lt(clock_ms() - since, AT_ONCE_MS);
	ck_assert_int_eq(pair[0], -1);
	ck_assert_int_eq(read(pair[1], text, sizeof text) <= 0, 1); /* and it is closed for the peer */
}
END_TEST

/* Those that find no thread are not closed in place: nobody could take the linger of theirs away. */
START_TEST(more_than_there_are_threads)
{
	enum { SOCKETS = 2 * CLOSER_LOTS + 1 };
	int ours[SOCKETS];
	uint64_t since;

	for (int i = 0; i < SOCKETS; i++) {
		int ends[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(lingering_pass(ends[1], lingering_fd()), 1);
		close(ends[1]);
		ours[i] = ends[0];
	}
	since = clock_ms();
	for (int i = 0; i < SOCKETS; i++)
		peersock_close(&ours[i]);
	ck_assert_uint_lt(clock_ms() - since, AT_ONCE_MS);
	ck_assert(!closer_has_room(-1));
}
END_TEST

/* What came by one socket does not keep what comes by others from being read. */
START_TEST(one_socket_has_its_share)
{
	for (int i = 0; i < CLOSER_OWN; i++) {
		int ends[2];

		ck_assert(closer_has_room(7));
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
		ck_assert_int_eq(lingering_pass(ends[1], lingering_fd()), 1);
		close(ends[1]);
		closer_close(7, ends, 1);
	}
	ck_assert(!closer_has_room(7));
	ck_assert(closer_has_room(8));
	ck_assert(closer_has_room(-1));
}
END_TEST

START_TEST(a_kernel_that_can_forbid_it_does)
{
	int on = 1, ends[2];
	socklen_t size = sizeof on;

	peersock_forbid_fds(pair[0]);
	if (getsockopt(pair[0], SOL_SOCKET, 83, &on, &size) < 0)
		return; /* SO_PASSRIGHTS is not known */
	ck_assert_int_eq(on, 0);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(lingering_pass(pair[1], ends[1]), -1);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, what_comes_along_is_closed);
	tcase_add_loop_test(tests, a_lingering_one_holds_nobody_up, 0, 2);
	tcase_add_test(tests, more_than_there_are_threads);
	tcase_add_test(tests, one_socket_has_its_share);
	tcase_add_test(tests, a_kernel_that_can_forbid_it_does);
}

int main(void)
{
	return run_suite("os/peersock", add_tests);
}
