/* Which addresses can stand for each other. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/os/adopt.h"
#include "tests/unit/suite.h"

static const struct {
	const char *listener, *asked;
	bool v6only; /* of the listener */
	bool covers, same;
} pairs[] = {
	{ "127.0.0.1", "127.0.0.1", false, true, true },
	{ "127.0.0.1", "127.0.0.2", false, false, false },
	{ "0.0.0.0", "127.0.0.1", false, true, false },
	{ "127.0.0.1", "0.0.0.0", false, true, false },
	{ "::", "0.0.0.0", false, true, false },
	{ "::", "0.0.0.0", true, false, false },
	{ "::", "::", false, true, true },
	{ "::", "::", true, true, false },
	{ "0.0.0.0", "::", false, true, false },
	{ "0.0.0.0", "::1", false, false, false },
	{ "::", "::1", true, true, false },
	{ "::1", "::1", false, true, true },
	{ "::1", "127.0.0.1", false, false, false },
	{ "127.0.0.1", "::ffff:127.0.0.1", false, true, false },
	{ "0.0.0.0", "::ffff:127.0.0.1", false, true, false },
};

static struct sockaddr_storage address(const char *text, uint16_t number)
{
	struct sockaddr_storage ss = { .ss_family = strchr(text, ':') ? AF_INET6 : AF_INET };
	struct sockaddr_in *in = (void *)&ss;
	struct sockaddr_in6 *in6 = (void *)&ss;
	void *to = ss.ss_family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr;

	in->sin_port = htons(number);
	ck_assert_int_eq(inet_pton(ss.ss_family, text, to), 1);
	return ss;
}

START_TEST(addresses)
{
	struct sockaddr_storage a = address(pairs[_i].listener, 80);
	struct sockaddr_storage b = address(pairs[_i].asked, 80);
	struct sockaddr_storage c = address(pairs[_i].asked, 81);
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/x" };
	struct sockaddr_storage u = { 0 };

	memcpy(&u, &un, sizeof(un));
	ck_assert_int_eq(adopt_covers(&a, pairs[_i].v6only, &b), pairs[_i].covers);
	ck_assert_int_eq(adopt_same_address(&a, pairs[_i].v6only, &b, false), pairs[_i].same);
	ck_assert(!adopt_covers(&a, pairs[_i].v6only, &c));
	ck_assert(!adopt_same_address(&a, pairs[_i].v6only, &c, pairs[_i].v6only));
	ck_assert(!adopt_covers(&a, false, &u) && !adopt_covers(&u, false, &a));
	ck_assert(adopt_covers(&u, false, &u) && adopt_same_address(&u, false, &u, false));
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, addresses, 0, sizeof pairs / sizeof *pairs);
}

int main(void)
{
	return run_suite("os/adopt_address", add_tests);
}
