/* Where to listen, as a user writes it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "config/policy.h"
#include "tests/unit/suite.h"

#define LONG20 "aaaaaaaaaaaaaaaaaaaa"
#define LONG100 LONG20 LONG20 LONG20 LONG20 LONG20

static const struct row {
	const char *text, *back; /* NULL: refused */
	enum address_kind kind;
} rows[] = {
	{ "80", "*:80", ADDRESS_TCP },
	{ "0", "*:0", ADDRESS_TCP },
	{ "65535", "*:65535", ADDRESS_TCP },
	{ "*:80", "*:80", ADDRESS_TCP },
	{ "127.0.0.1:8080", "127.0.0.1:8080", ADDRESS_TCP },
	{ "localhost:8080", "127.0.0.1:8080", ADDRESS_TCP },
	{ "0.0.0.0:1", "0.0.0.0:1", ADDRESS_TCP },
	{ "[::1]:80", "[::1]:80", ADDRESS_TCP },
	{ "[::]:80", "[::]:80", ADDRESS_TCP },
	{ "[2001:DB8:0::1]:80", "[2001:db8::1]:80", ADDRESS_TCP },
	{ "[fe80::1%2]:80", "[fe80::1%2]:80", ADDRESS_TCP },
	{ "udp:53", "udp:*:53", ADDRESS_UDP },
	{ "udp:127.0.0.1:53", "udp:127.0.0.1:53", ADDRESS_UDP },
	{ "udp:[::1]:53", "udp:[::1]:53", ADDRESS_UDP },
	{ "unix:/run/web.sock", "unix:/run/web.sock", ADDRESS_UNIX },
	{ "unix:@web", "unix:@web", ADDRESS_UNIX },
	{ "unix:/" LONG100 "aaaaaa", "unix:/" LONG100 "aaaaaa", ADDRESS_UNIX },
	{ "inherit:web", "inherit:web", ADDRESS_INHERIT },
	{ "inherit:3", "inherit:3", ADDRESS_INHERIT },
	{ "", NULL, 0 },
	{ "65536", NULL, 0 },
	{ "4294967376", NULL, 0 }, /* 2^32 + 80 */
	{ "-1", NULL, 0 },
	{ "123456", NULL, 0 },
	{ ":80", NULL, 0 },
	{ "80:", NULL, 0 },
	{ "::1:80", NULL, 0 },
	{ "[::1]", NULL, 0 },
	{ "[::1]80", NULL, 0 },
	{ "[::1:80", NULL, 0 },
	{ "[]:80", NULL, 0 },
	{ "[fe80::1%eth0]:80", NULL, 0 },
	{ "example.com:80", NULL, 0 },
	{ "1.2.3:80", NULL, 0 },
	{ "256.0.0.1:80", NULL, 0 },
	{ "http://localhost:80", NULL, 0 },
	{ "/run/web.sock", NULL, 0 },
	{ "unix:web.sock", NULL, 0 },
	{ "unix:", NULL, 0 },
	{ "unix:/", NULL, 0 },
	{ "unix:@", NULL, 0 },
	{ "unix:/run/", NULL, 0 },
	{ "unix:/" LONG100 "aaaaaaa", NULL, 0 },
	{ "unix:/run/a b", NULL, 0 },
	{ "unix:/run/a;b", NULL, 0 },
	{ "inherit:", NULL, 0 },
	{ "inherit:a:b", NULL, 0 },
	{ "inherit:" LONG20 LONG20 LONG20 "aaaa", NULL, 0 },
	{ "udp:", NULL, 0 },
	{ "udp:unix:/x", NULL, 0 },
	{ "[fe80::1]:80", NULL, 0 },
	{ "udp:[::ffff:127.0.0.1]:80", NULL, 0 },
	{ "tcp:80", NULL, 0 },
	{ "80 ", NULL, 0 },
	{ LONG100 ":80", NULL, 0 },
};

START_TEST(address_is_read_and_written)
{
	const struct row *row = &rows[_i];
	struct address address, again, untouched;
	char text[ADDRESS_TEXT_MAX];
	const char *problem = NULL;

	memset(&address, 0x5a, sizeof(address));
	memcpy(&untouched, &address, sizeof(address));
	if (!row->back) {
		ck_assert_msg(address_parse(row->text, &address, &problem) == -1, "%s", row->text);
		ck_assert_ptr_nonnull(problem);
		ck_assert_mem_eq(&address, &untouched, sizeof(address));
		return;
	}
	ck_assert_msg(address_parse(row->text, &address, &problem) == 0, "%s: %s", row->text, problem);
	ck_assert_int_eq(address.kind, row->kind);
	ck_assert_int_eq(address_format(&address, text), (int)strlen(row->back));
	ck_assert_str_eq(text, row->back);
	memset(&again, 0xa5, sizeof(again));
	ck_assert_int_eq(address_parse(text, &again, &problem), 0);
	ck_assert_mem_eq(&again, &address, sizeof(again));
}
END_TEST

START_TEST(socket_address_is_exact)
{
	struct address a;
	const char *problem;
	struct sockaddr_un *sun = (struct sockaddr_un *)&a.sa;

	ck_assert_int_eq(address_parse("unix:@ab", &a, &problem), 0);
	ck_assert_int_eq(a.size, (int)offsetof(struct sockaddr_un, sun_path) + 3);
	ck_assert_mem_eq(sun->sun_path, "\0ab", 3);
	ck_assert_int_eq(address_parse("unix:/ab", &a, &problem), 0);
	ck_assert_int_eq(a.size, (int)offsetof(struct sockaddr_un, sun_path) + 4);
	ck_assert_int_eq(address_parse("80", &a, &problem), 0);
	ck_assert(a.any);
	ck_assert_int_eq(a.sa.ss_family, AF_INET6);
	ck_assert_int_eq(ntohs(((struct sockaddr_in6 *)&a.sa)->sin6_port), 80);
	ck_assert_int_eq(address_parse("[::]:80", &a, &problem), 0);
	ck_assert(!a.any);
	ck_assert_int_eq(address_parse("127.0.0.1:80", &a, &problem), 0);
	ck_assert_int_eq(a.size, sizeof(struct sockaddr_in));
	ck_assert_int_eq(ntohs(((struct sockaddr_in *)&a.sa)->sin_port), 80);
}
END_TEST

static const struct {
	const char *a, *b;
	bool equal, same;
} pairs[] = {
	{ "80", "*:80", true, true },
	{ "80", "0.0.0.0:80", true, true },
	{ "[::]:80", "80", true, true },
	{ "0.0.0.0:80", "[::]:80", false, false },
	{ "80", "81", false, false },
	{ "80", "127.0.0.1:80", false, false },
	{ "0", "0", false, true },
	{ "127.0.0.1:0", "127.0.0.1:0", false, true },
	{ "udp:*:0", "udp:*:0", false, true },
	{ "0", "127.0.0.1:0", false, false },
	{ "80", "udp:80", false, false },
	{ "localhost:80", "127.0.0.1:80", true, true },
	{ "[::1]:80", "[0::1]:80", true, true },
	{ "[fe80::1%1]:80", "[fe80::1%2]:80", false, false },
	{ "unix:/a", "unix:/a", true, true },
	{ "unix:/a", "unix:/b", false, false },
	{ "unix:/a", "unix:@a", false, false },
	{ "inherit:a", "inherit:a", true, true },
	{ "inherit:a", "inherit:b", false, false },
};

START_TEST(same_place_is_found)
{
	struct address a, b;
	const char *problem;

	ck_assert_int_eq(address_parse(pairs[_i].a, &a, &problem), 0);
	ck_assert_int_eq(address_parse(pairs[_i].b, &b, &problem), 0);
	ck_assert_int_eq(address_equal(&a, &b), pairs[_i].equal);
	ck_assert_int_eq(address_equal(&b, &a), pairs[_i].equal);
	ck_assert_int_eq(address_same(&a, &b), pairs[_i].same);
	ck_assert_int_eq(address_same(&b, &a), pairs[_i].same);
}
END_TEST

START_TEST(a_listener_is_its_address_or_its_name_too)
{
	struct listener one = { .name = "web" }, other = { .name = "www" };
	const char *problem;

	ck_assert_int_eq(address_parse(pairs[_i].a, &one.address, &problem), 0);
	ck_assert_int_eq(address_parse(pairs[_i].b, &other.address, &problem), 0);
	ck_assert_int_eq(listener_same(&one, &other), pairs[_i].equal);
	strcpy(other.name, "web");
	ck_assert_int_eq(listener_same(&one, &other), pairs[_i].same);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, address_is_read_and_written, 0, COUNT(rows));
	tcase_add_test(tests, socket_address_is_exact);
	tcase_add_loop_test(tests, same_place_is_found, 0, COUNT(pairs));
	tcase_add_loop_test(tests, a_listener_is_its_address_or_its_name_too, 0, COUNT(pairs));
}

int main(void)
{
	return run_suite("config/address", add_tests);
}
