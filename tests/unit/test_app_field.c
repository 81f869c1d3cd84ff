/* The meaning of field values: hosts. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/app/field.h"
#include "tests/unit/suite.h"

static const struct {
	const char *host;
	bool good;
} hosts[] = {
	/* RFC 3986 3.2.2: a name, which may be empty, or an address */
	{ "", true },
	{ "h", true },
	{ "example.org", true },
	{ "a_b-c~d", true },
	{ "!$&'()*+,;=", true },
	{ "127.0.0.1", true },
	{ "h%41", true },
	{ "[::1]", true },
	{ "[2001:db8::7]", true },
	{ "[::ffff:127.0.0.1]", true },
	{ "h%", false },
	{ "h%4", false },
	{ "h%4g", false },
	{ "a b", false },
	{ "a\tb", false },
	{ "a/b", false },
	{ "http://a", false },
	{ "u@h", false },
	{ "h?x", false },
	{ "h#", false },
	{ "h\\", false },
	{ "\"h\"", false },
	{ "<h>", false },
	{ "h\x80", false },
	{ "h\xc3\xa9", false },
	{ "[]", false },
	{ "[::1", false },
	{ "::1]", false },
	{ "[::1]x", false },
	{ "[::1]]", false },
	{ "[127.0.0.1]", false },
	{ "[zz]", false },
	{ "[:::1]", false },
	{ "[1:2:3:4:5:6:7:8:9]", false },
	{ "[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]", false },
	/* a port, whose digits may be missing */
	{ "h:", true },
	{ "h:0", true },
	{ "h:65535", true },
	{ ":80", true },
	{ "[::1]:80", true },
	{ "[::1]:", true },
	{ "h:65536", false },
	{ "h:000000080", true },
	{ "h:99999999999999999999", false },
	{ "h:x", false },
	{ "h:8x", false },
	{ "h: 80", false },
	{ "h:-1", false },
	{ "h:80:80", false },
	{ "::1", false },
};

/* In exactly so many bytes, so that ASan sees a read beyond them. */
static bool is_host(const char *text)
{
	size_t size = strlen(text);
	char *copy = malloc(size + !size);
	bool result;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, size);
	result = field_is_host(copy, size);
	free(copy);
	return result;
}

START_TEST(host_is_a_host)
{
	ck_assert_msg(is_host(hosts[_i].host) == hosts[_i].good, "\"%s\" should be %s",
		      hosts[_i].host, hosts[_i].good ? "good" : "bad");
}
END_TEST

START_TEST(nul_is_in_no_host)
{
	ck_assert(!field_is_host("h\0", 2));
	ck_assert(!field_is_host("h:8\0", 4));
	ck_assert(!field_is_host("[::1\0]", 6));
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, host_is_a_host, 0, sizeof hosts / sizeof *hosts);
	tcase_add_test(tests, nul_is_in_no_host);
}

int main(void)
{
	return run_suite("app/field", add_tests);
}
