/*
 * envp: a worker's arguments and environment, byte for byte (catalogue rows J3 to J5).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/core/envp.h"
#include "tests/unit/suite.h"

enum { OUTER_MAX = 32 };

static char *nothing[] = { NULL };
static char **outer;
static char *inherited[OUTER_MAX];
static struct address tcp4, tcp6, loopback, path, udp;
static struct envp_socket sockets[4];
static struct words command;
static struct envp_input in;
static _Alignas(16) char memory[65536];
static struct envp built;

static struct address inet(enum address_kind kind, const char *host, uint16_t port)
{
	struct address a = { .kind = kind, .port = port };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&a.sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sa;

	if (strchr(host, ':')) {
		in6->sin6_family = AF_INET6;
		ck_assert_int_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1);
		a.size = sizeof *in6;
	} else {
		in4->sin_family = AF_INET;
		ck_assert_int_eq(inet_pton(AF_INET, host, &in4->sin_addr), 1);
		a.size = sizeof *in4;
	}
	return a;
}

static struct address unix_path(const char *name)
{
	struct address a = { .kind = ADDRESS_UNIX };
	struct sockaddr_un *un = (struct sockaddr_un *)&a.sa;

	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, name, strlen(name));
	a.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
	return a;
}

static void set_command(const char *const *words, size_t count)
{
	command = (struct words){ 0 };
	for (size_t i = 0; i < count; i++) {
		memcpy(command.text + command.size, words[i], strlen(words[i]) + 1);
		command.size = (uint16_t)(command.size + strlen(words[i]) + 1);
		command.count++;
	}
}

static void setup(void)
{
	tcp4 = inet(ADDRESS_TCP, "0.0.0.0", 1337);
	tcp6 = inet(ADDRESS_TCP, "::", 1338);
	loopback = inet(ADDRESS_TCP, "127.0.0.1", 80);
	udp = inet(ADDRESS_UDP, "127.0.0.1", 53);
	path = unix_path("/run/web.sock");
	sockets[0] = (struct envp_socket){ "http", 3, &tcp4 };
	sockets[1] = (struct envp_socket){ "admin", 4, &path };
	sockets[2] = (struct envp_socket){ "six", 5, &tcp6 };
	sockets[3] = (struct envp_socket){ "", 6, &loopback };
	set_command((const char *const[]){ "app" }, 1);
	outer = nothing;
	in = (struct envp_input){ .inherited = inherited, .env = "", .command = &command, .name = "web",
		                  .slot = 2, .workers = 4, .generation = 7, .sockets = sockets,
		                  .socket_count = 4, .styles = STYLE_SYSTEMD, .ready_fd = -1,
		                  .master_pid = 99 };
}

static size_t count(char **list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

static void build(void)
{
	size_t needed;

	in.inherited_count = in.inherited ? envp_inherit(outer, in.env, in.env_count, inherited) : 0;
	needed = envp_build(&in, NULL, 0, NULL);

	ck_assert_uint_le(needed, sizeof memory);
	ck_assert_uint_eq(envp_build(&in, memory, needed - 1, NULL), needed);
	memset(memory, 0xa5, sizeof memory);
	ck_assert_uint_eq(envp_build(&in, memory, needed, &built), needed);
	ck_assert_uint_eq((unsigned char)memory[needed], 0xa5);
	/* The first string stands behind the room for the pointers. */
	ck_assert((char *)(built.envp + count(built.envp)) < built.argv[0]);
}

/* The value of the only variable of that name, or "" if there is none. */
static const char *value(const char *name)
{
	const char *found = "";
	int count = 0;

	for (char **v = built.envp; *v; v++)
		if (strncmp(*v, name, strlen(name)) == 0 && (*v)[strlen(name)] == '=') {
			found = *v + strlen(name) + 1;
			count++;
		}
	ck_assert_msg(count < 2, "%s is there %d times", name, count);
	return found;
}

static const struct {
	const char *word, *want;
} words[] = {
	{ "plain", "plain" },          { "%{slot}", "2" },
	{ "%{workers}", "4" },         { "%{name}", "web" },
	{ "%{fd}", "3" },              { "%{fd:admin}", "4" },
	{ "%{fd:none}", "%{fd:none}" }, { "%{fd:}", "6" },
	{ "--fd=%{fd},%{fd:six}x", "--fd=3,5x" },
	{ "%{address}", "0.0.0.0:1337" }, { "%{port}", "1337" },
	{ "100%", "100%" },            { "%%{slot}", "%2" },
	{ "%{", "%{" },                { "%{slot", "%{slot" },
	{ "%{Slot}", "%{Slot}" },      { "%s %d %{}", "%s %d %{}" },
	{ "", "" },                    { "%{slot}%{slot}", "22" },
	{ "%{x%{slot}", "%{x2" },
};

START_TEST(arguments)
{
	set_command((const char *const[]){ "app", words[_i].word, "end" }, 3);
	build();
	ck_assert_uint_eq(count(built.argv), 3);
	ck_assert_str_eq(built.argv[0], "app");
	ck_assert_str_eq(built.argv[1], words[_i].want);
	ck_assert_str_eq(built.argv[2], "end");
}
END_TEST

START_TEST(without_sockets)
{
	in.socket_count = 0;
	in.styles = ~0u;
	set_command((const char *const[]){ "%{fd}", "%{port}", "%{address}" }, 3);
	build();
	ck_assert_str_eq(built.argv[0], "%{fd}");
	ck_assert_str_eq(built.argv[1], "%{port}");
	ck_assert_str_eq(built.argv[2], "%{address}");
	ck_assert_uint_eq(count(built.envp), 4); /* CLUSTERD_* */
	ck_assert_ptr_null(built.pid_text[0]);
}
END_TEST

static const struct {
	const char *name, *want;
} variables[] = {
	{ "LISTEN_FDS", "4" },
	{ "LISTEN_PID", "0" },
	{ "LISTEN_FDNAMES", "http:admin:six:unknown" },
	{ "PORT", "1337" },
	{ "CLUSTERD_NAME", "web" },
	{ "CLUSTERD_SLOT", "2" },
	{ "CLUSTERD_WORKERS", "4" },
	{ "CLUSTERD_GENERATION", "7" },
	{ "NOTIFY_SOCKET", "@0002a" },
	{ "WATCHDOG_USEC", "5000000" },
	{ "WATCHDOG_PID", "0" },
	{ "READY_FD", "7" },
	{ "SERVER_STARTER_PORT", "1337=3;/run/web.sock=4;[::]:1338=5;127.0.0.1:80=6" },
	{ "SERVER_STARTER_GENERATION", "7" },
	{ "EINHORN_FD_COUNT", "4" },
	{ "EINHORN_FD_0", "3" },
	{ "EINHORN_FD_3", "6" },
	{ "EINHORN_FDS", "3 4 5 6" },
	{ "EINHORN_MASTER_PID", "99" },
	{ "EINHORN_CHILD_INDEX", "2" },
	{ "EINHORN_SOCK_PATH", "/run/e" },
	{ "NGINX", "3;4;5;6;" },
	{ "UNICORN_FD", "3,4,5,6" },
	{ "PUMA_INHERIT_0", "3:tcp://0.0.0.0:1337" },
	{ "PUMA_INHERIT_1", "4:unix:///run/web.sock" },
	{ "PUMA_INHERIT_2", "5:tcp://[::]:1338" },
	{ "FPM_SOCKETS", "0.0.0.0:1337=3,/run/web.sock=4,[::]:1338=5,127.0.0.1:80=6" },
};

START_TEST(every_protocol)
{
	in.styles = ~0u;
	in.notify_socket = "@0002a";
	in.watchdog_ms = 5000;
	in.ready_fd = 7;
	in.einhorn_socket = "/run/e";
	build();
	ck_assert_str_eq(value(variables[_i].name), variables[_i].want);
}
END_TEST

START_TEST(only_what_was_asked_for)
{
	build();
	ck_assert_str_eq(value("LISTEN_FDS"), "4");
	ck_assert_uint_eq(count(built.envp), 3 + 1 + 4);
}
END_TEST

START_TEST(the_child_writes_its_pid)
{
	in.watchdog_ms = 1;
	build();
	ck_assert_ptr_nonnull(built.pid_text[0]);
	ck_assert_ptr_nonnull(built.pid_text[1]);
	strcpy(built.pid_text[0], "4194304000");
	strcpy(built.pid_text[1], "2147483647");
	ck_assert_str_eq(value("LISTEN_PID"), "4194304000");
	ck_assert_str_eq(value("WATCHDOG_PID"), "2147483647");
	ck_assert_str_eq(value("LISTEN_FDS"), "4");
	ck_assert_str_eq(value("CLUSTERD_SLOT"), "2");
}
END_TEST

START_TEST(what_was_meant_for_clusterd_is_not_passed_on)
{
	static char *theirs[] = { "NOTIFY_SOCKET=/run/systemd/notify", "WATCHDOG_USEC=1", "WATCHDOG_PID=1",
		                 "LISTEN_PID=1", "LISTEN_FDS=9", "LISTEN_PIDFDID=1", "READY_FD=3",
		                 "EINHORN_FD_0=9", "NGINX=9;", "CLUSTERD_SLOT=9", "PUMA_INHERIT_9=x",
		                 "FPM_SOCKETS=x", "UNICORN_FD=9", "SERVER_STARTER_PORT=9",
		                 "PORT=9", "UPSTART_FDS=9", "GUNICORN_FD=9", "GUNICORN_PID=1",
		                 "NGINX_HOME=/x", "PORTS=1", "HOME=/root", NULL };

	outer = theirs;
	build();
	ck_assert_str_eq(value("NGINX_HOME"), "/x");
	ck_assert_str_eq(value("PORTS"), "1");
	ck_assert_str_eq(value("HOME"), "/root");
	ck_assert_str_eq(value("PORT"), "1337");
	ck_assert_uint_eq(count(built.envp), 3 + 3 + 1 + 4);
}
END_TEST

START_TEST(port_stays_when_no_socket_has_one)
{
	static char *theirs[] = { "PORT=9", NULL };

	outer = theirs;
	sockets[0] = (struct envp_socket){ "dns", 3, &udp };
	in.socket_count = 2;
	build();
	ck_assert_str_eq(value("PORT"), "9");
}
END_TEST

START_TEST(env_wins_over_what_is_inherited)
{
	static char *theirs[] = { "A=old", "AB=1", "odd", NULL };

	outer = theirs;
	in.env = "A=first\0A=new=%{slot}\0UTF=\xc3\xa4\nline\0LISTEN_FDS=99\0E=";
	in.env_count = 5;
	build();
	ck_assert_str_eq(value("A"), "new=%{slot}");
	ck_assert_str_eq(value("AB"), "1");
	ck_assert_str_eq(value("UTF"), "\xc3\xa4\nline");
	ck_assert_str_eq(value("LISTEN_FDS"), "4");
	ck_assert_uint_eq(count(built.envp), 3 + 1 + 4 + 5);
}
END_TEST

/* Of two equal names the first counts for getenv(3). */
START_TEST(port_comes_last)
{
	static char *theirs[] = { "PORT=1", "A=1", "NOTIFY_SOCKET=x", "PORT=2", "PORTS=3", NULL };

	ck_assert_uint_eq(envp_inherit(theirs, "A=2", 1, inherited), 2);
	ck_assert_ptr_eq(inherited[0], theirs[4]);
	ck_assert_ptr_eq(inherited[1], theirs[0]);
	ck_assert_uint_eq(envp_inherit(theirs, "PORT=2\0PORTS=3", 2, inherited), 1);
	ck_assert_ptr_eq(inherited[0], theirs[1]);
	ck_assert_uint_eq(envp_inherit(nothing, "", 0, inherited), 0);
}
END_TEST

/* What every worker gets alike is not copied at each start. */
START_TEST(what_is_not_ours_is_pointed_to)
{
	static char *theirs[] = { "HOME=/root", NULL };

	outer = theirs;
	in.env = "A=1";
	in.env_count = 1;
	build();
	ck_assert_ptr_eq(built.envp[0], theirs[0]);
	ck_assert_ptr_eq(built.envp[1], in.env);
}
END_TEST

/* Every list of pointers has its room, whatever size the memory is; so the tests under ASan see. */
START_TEST(too_small_a_room)
{
	size_t needed;

	in.styles = ~0u;
	in.notify_socket = "@0002a";
	in.watchdog_ms = 5000;
	in.ready_fd = 7;
	in.einhorn_socket = "/run/e";
	needed = envp_build(&in, NULL, 0, NULL);
	for (size_t size = 0; size <= needed; size++) {
		char *tight = malloc(size ? size : 1);

		ck_assert_uint_eq(envp_build(&in, tight, size, &built), needed);
		free(tight);
	}
}
END_TEST

/* Only what says something about sockets or the supervisor is ours. */
START_TEST(names_that_look_like_ours)
{
	static char *theirs[] = { "LISTEN_HOST=::", "LISTEN_PORT=80", NULL };

	outer = theirs;
	in.env = "LISTEN_ADDRESS=*\0NGINX=/usr/sbin/nginx\0UNICORN_FD=x\0GUNICORN_FD=y\0CLUSTERD_NAME=z";
	in.env_count = 5;
	build();
	ck_assert_str_eq(value("LISTEN_HOST"), "::");
	ck_assert_str_eq(value("LISTEN_PORT"), "80");
	ck_assert_str_eq(value("LISTEN_ADDRESS"), "*");
	ck_assert_str_eq(value("NGINX"), "/usr/sbin/nginx");
	ck_assert_str_eq(value("UNICORN_FD"), "x");
	ck_assert_str_eq(value("GUNICORN_FD"), "y");
	in.styles = ~0u;
	build();
	ck_assert_str_eq(value("NGINX"), "3;4;5;6;");
	ck_assert_str_eq(value("UNICORN_FD"), "3,4,5,6");
	ck_assert_str_eq(value("GUNICORN_FD"), "y");
	in.socket_count = 0;
	build();
	ck_assert_str_eq(value("NGINX"), "/usr/sbin/nginx");
	ck_assert_str_eq(value("CLUSTERD_NAME"), "web");
	ck_assert_uint_eq(count(built.envp), 2 + 4 + 4);
}
END_TEST

START_TEST(a_large_environment)
{
	static char big[40000] = "BIG=";
	static char *theirs[] = { big, NULL };

	memset(big + 4, 'x', sizeof big - 5);
	outer = theirs;
	build();
	ck_assert_uint_eq(strlen(value("BIG")), sizeof big - 5);
	in.inherited = NULL;
	build();
	ck_assert_str_eq(value("BIG"), "");
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_loop_test(tests, arguments, 0, (int)(sizeof words / sizeof *words));
	tcase_add_test(tests, without_sockets);
	tcase_add_loop_test(tests, every_protocol, 0, (int)(sizeof variables / sizeof *variables));
	tcase_add_test(tests, only_what_was_asked_for);
	tcase_add_test(tests, the_child_writes_its_pid);
	tcase_add_test(tests, what_was_meant_for_clusterd_is_not_passed_on);
	tcase_add_test(tests, port_stays_when_no_socket_has_one);
	tcase_add_test(tests, env_wins_over_what_is_inherited);
	tcase_add_test(tests, port_comes_last);
	tcase_add_test(tests, what_is_not_ours_is_pointed_to);
	tcase_add_test(tests, too_small_a_room);
	tcase_add_test(tests, names_that_look_like_ours);
	tcase_add_test(tests, a_large_environment);
}

int main(void)
{
	return run_suite("core/envp", add_tests);
}
