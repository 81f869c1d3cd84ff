/* What keys say to each other, and which exit rule holds. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "config/load.h"
#include "config/refused.h"
#include "config/rules.h"
#include "tests/unit/suite.h"

static struct config config;
static char told[4096];

static void hear(void *context, const char *source, unsigned line, const char *text)
{
	size_t length = strlen(told);

	(void)context;
	(void)source;
	(void)line;
	snprintf(told + length, sizeof(told) - length, "%s\n", text);
}

/* Sets "a.b=1 c.d=2 ..." over the defaults. */
static void config_with(const char *settings)
{
	char copy[1024], *rest = NULL;

	told[0] = '\0';
	config_init(&config);
	snprintf(copy, sizeof(copy), "%s", settings);
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		ck_assert_msg(config_assign(&config, word, "--set", hear, NULL) == 0, "%s", told);
}

static const struct row {
	const char *settings, *complaint; /* part of the only one; NULL: none */
} rows[] = {
	{ "", NULL },
	{ "restart.burst=4", NULL },
	{ "restart.burst=10", NULL },
	{ "restart.burst=5 restart.window=20s restart.delay=5s", "burst can never trip" },
	{ "restart.burst=1 restart.window=1s restart.delay=5s", "burst can never trip" },
	{ "restart.burst=1 restart.window=3750ms restart.delay=5s", "burst can never trip" },
	{ "restart.burst=1 restart.window=3751ms restart.delay=5s", NULL },
	{ "restart.burst=5 restart.window=20s restart.delay=5s restart.stable=1s", NULL },
	{ "restart.burst=5 restart.window=20s restart.delay=0", NULL },
	{ "restart.burst=5 restart.window=20s restart.delay=5s exit.1.action=respawn", NULL },
	{ "restart.delay=30s", NULL },
	{ "control.socket=/run/x listen.a.address=unix:/run/x", "socket is the address of listener a" },
	{ "control.socket=/run/x metrics.listen=unix:/run/x", "socket is that of [metrics] listen" },
	{ "control.socket=/run/x listen.a.address=unix:/run/y listen.b.address=unix:@/run/x", NULL },
	{ "control.socket=off listen.a.address=unix:/off", NULL },
	{ "listen.a.address=unix:@x", NULL },
	{ "restart.delay=31s", "[restart] delay 31s is longer than delay_max 30s (default)" },
	{ "restart.delay=31s restart.delay_max=30s", "[restart] delay 31s is longer than delay_max 30s\n" },
	{ "exit.3.action=retire exit.3.delay=1s", "[exit 3] has a delay" },
	{ "exit.3.action=exit exit.3.delay=1s", "[exit 3] has a delay" },
	{ "exit.3.action=backoff exit.3.delay=1s", NULL },
	{ "ready.when=alive ready.after=60s", NULL },
	{ "ready.when=alive ready.after=61s", "[ready] after 1m1s is longer than timeout 1m (default): no worker would ever be ready" },
	{ "ready.when=alive ready.after=61s ready.timeout=0", NULL },
	{ "ready.when=notify ready.after=61s", NULL },
	{ "ready.after=61s", NULL },
	{ "ready.when=command", "needs [ready] command" },
	{ "ready.when=command ready.command=./ok", NULL },
	{ "ready.command=./ok", "[ready] command is run with when = command only, and when is auto" },
	{ "ready.when=alive ready.command=./ok", "and when is alive" },
	{ "health.http=/up", "has no listener to ask" },
	{ "health.http=/up listen.a.address=udp:80", "has no listener to ask" },
	{ "health.http=/up listen.a.address=80", "asks each worker itself" },
	{ "health.http=/up listen.a.address=80 listen.a.balance=hash", "asks each worker itself" },
	{ "health.http=/up listen.a.address=udp:80 listen.a.balance=round-robin listen.b.address=unix:/x",
	  "asks each worker itself" },
	{ "health.http=/up listen.a.address=80 listen.a.balance=round-robin?", NULL },
	{ "health.http=/up listen.a.address=80 listen.b.address=81 listen.b.balance=round-robin", NULL },
	{ "health.http=up listen.a.address=80 listen.a.balance=round-robin", "does not begin with /" },
	{ "health.http=/up listen.a.address=80 listen.a.balance=round-robin", NULL },
	{ "health.http=/up listen.a.address=80 listen.a.balance=round-robin health.interval=2s", "[health] timeout 3s (default) is longer than interval 2s" },
	{ "health.http=/up listen.a.address=80 listen.a.balance=round-robin health.interval=3s", NULL },
	{ "health.interval=2s", NULL },
	{ "health.accept=1s", "[health] accept needs a listener with balance = round-robin" },
	{ "health.accept=1s listen.a.address=80", "[health] accept needs" },
	{ "health.accept=1s listen.a.address=80 listen.a.balance=hash", "[health] accept needs" },
	{ "health.accept=1s listen.a.address=80 listen.a.balance=round-robin?", NULL },
	{ "health.accept=1s listen.a.address=80 listen.b.address=81 listen.b.balance=round-robin", NULL },
	{ "stop.signal=STOP", "[stop] signal" },
	{ "stop.signal=CONT", "[stop] signal" },
	{ "stop.signal=WINCH", NULL },
	{ "health.signal=STOP", "[health] signal" },
	{ "metrics.listen=127.0.0.1:9100", NULL },
	{ "metrics.listen=127.9.9.9:9100", NULL },
	{ "metrics.listen=[::1]:9100", NULL },
	{ "metrics.listen=unix:/run/m", NULL },
	{ "metrics.listen=9100", "loopback" },
	{ "metrics.listen=10.0.0.1:9100", "loopback" },
	{ "metrics.listen=[::]:9100", "loopback" },
	{ "metrics.listen=udp:127.0.0.1:9100", "loopback" },
	{ "metrics.listen=inherit:m", "loopback" },
	{ "metrics.listen=127.0.0.1:80 listen.a.address=127.0.0.1:80", "address of listener a" },
	{ "listen.a.backlog=5", "[listen a] has no address" },
	{ "cluster.listen=no", NULL },
	{ "cluster.listen=no listen.a.address=80", "listen = no (-l none), but there is [listen a]" },
	{ "listen.a.address=80 listen.b.address=81", NULL },
	{ "listen.a.address=80 listen.b.address=*:80", "[listen b] has the address of [listen a]" },
	{ "listen.a.address=80 listen.b.address=udp:80", NULL },
	{ "listen.a.address=0 listen.b.address=0", NULL },
	{ "listen.a.address=*:80 listen.b.address=127.0.0.1:80",
	  "[listen b] 127.0.0.1:80 is part of *:80 of [listen a]" },
	{ "listen.a.address=127.0.0.1:80 listen.b.address=*:80",
	  "[listen a] 127.0.0.1:80 is part of *:80 of [listen b]" },
	{ "listen.a.address=*:80 listen.b.address=127.0.0.1:80 listen.balance=hash", "is part of *:80" },
	{ "listen.a.address=*:80 listen.b.address=[::1]:80", "[::1]:80 is part of *:80" },
	{ "listen.a.address=[::]:80 listen.b.address=[::1]:80", "[::1]:80 is part of [::]:80" },
	{ "listen.a.address=0.0.0.0:80 listen.b.address=127.0.0.1:80", "127.0.0.1:80 is part of 0.0.0.0:80" },
	{ "listen.a.address=udp:80 listen.b.address=udp:127.0.0.1:80", "udp:127.0.0.1:80 is part of udp:*:80" },
	{ "listen.a.address=[::]:80 listen.b.address=127.0.0.1:80", NULL },
	{ "listen.a.address=[::]:80 listen.b.address=0.0.0.0:80", NULL },
	{ "listen.a.address=0.0.0.0:80 listen.b.address=[::1]:80", NULL },
	{ "listen.a.address=127.0.0.1:80 listen.b.address=127.0.0.2:80", NULL },
	{ "listen.a.address=*:80 listen.b.address=127.0.0.1:81", NULL },
	{ "listen.a.address=*:80 listen.b.address=udp:127.0.0.1:80", NULL },
	{ "listen.a.address=*:0 listen.b.address=127.0.0.1:0", NULL },
	{ "metrics.listen=127.0.0.1:80 listen.a.address=*:80", "[metrics] listen is part of *:80 of [listen a]" },
	{ "listen.a.address=80 listen.a.balance=hash", NULL },
	{ "listen.a.address=unix:/x listen.a.balance=hash", "needs a TCP or UDP address" },
	{ "listen.a.address=inherit:x listen.a.balance=round-robin", "needs a TCP or UDP address" },
	{ "listen.a.address=udp:80 listen.a.balance=hash", NULL },
	{ "listen.a.address=udp:80 listen.a.balance=round-robin", NULL },
	{ "listen.a.address=80 listen.a.adopt=yes", NULL },
	{ "listen.a.address=udp:80 listen.a.adopt=yes", "adopt needs a TCP address" },
	{ "listen.a.address=unix:/x listen.a.adopt=yes", NULL },
	{ "listen.a.address=unix:@x listen.a.adopt=yes", "or a unix path" },
	{ "listen.a.address=0 listen.a.adopt=yes", "adopt needs a TCP address with a port" },
	{ "listen.a.address=80 listen.a.adopt=yes listen.a.stdin=yes", "not both" },
	{ "listen.a.address=80 listen.a.stdin=yes listen.b.address=81 listen.b.stdin=yes", "both stdin" },
	{ "listen.a.address=unix:/x listen.a.owner=www", NULL },
	{ "listen.a.address=80 listen.a.owner=www", "unix:/PATH only" },
	{ "listen.a.address=80 listen.a.mode=0600", "mode, owner and group are for unix:/PATH only" },
	{ "listen.a.address=unix:@x listen.a.mode=0600", "unix:/PATH only" },
	{ "listen.a.address=80 listen.a.mode=0666", NULL },
	{ "listen.a.address=unix:/x listen.a.mode=0600", NULL },
	{ "listen.a.address=unix:@x listen.a.group=www", "unix:/PATH only" },
};

START_TEST(policy_is_checked_as_a_whole)
{
	const struct row *row = &rows[_i];
	int count;

	config_with(row->settings);
	count = config_check(&config, hear, NULL);
	ck_assert_msg(count == (row->complaint != NULL), "%d complaints: %s", count, told);
	if (row->complaint)
		ck_assert_msg(strstr(told, row->complaint) != NULL, "%s", told);
}
END_TEST

/* C3: a limit that can never trip is refused. */
START_TEST(burst_names_the_three_keys)
{
	config_with("restart.burst=5 restart.window=20s restart.delay=5s");
	ck_assert_int_eq(config_check(&config, hear, NULL), 1);
	ck_assert_ptr_nonnull(strstr(told, "burst"));
	ck_assert_ptr_nonnull(strstr(told, "window"));
	ck_assert_ptr_nonnull(strstr(told, "delay"));
}
END_TEST

START_TEST(long_control_path_is_refused)
{
	char path[140] = "control.socket=/";

	memset(path + 16, 'x', 107);
	config_with(path);
	ck_assert_int_eq(config_check(&config, hear, NULL), 1);
	path[16 + 106] = '\0';
	config_with(path);
	ck_assert_int_eq(config_check(&config, hear, NULL), 0);
}
END_TEST

/* What could be read of a file is judged; what would only echo a refusal is not. */
static const struct {
	const char *file;
	int refused, more;
	const char *complaint; /* of the check */
} drafts[] = {
	{ "[restart]\ndelay = 1m\ndelay_max = 1s\n", 0, 1, "longer than delay_max 1s" },
	{ "[restart]\ndelay = 1m\ndelay_max = x\n", 1, 0, NULL },
	{ "[restart]\ndelay = 1m\ndelay_mx = 5m\n", 1, 0, NULL },
	{ "[restart]\ndelay = 1m\ndelay_max = 1s\n[stop]\ntimeout = x\n", 1, 1, "longer than delay_max 1s" },
	{ "[listen a]\naddress = x\n[listen b]\n", 1, 1, "[listen b] has no address" },
	{ "[listen a]\nadress = 80\n", 1, 0, NULL },
	{ "[listen a/b]\naddress = 80\n[ready]\nwhen = http /\n", 1, 0, NULL },
	{ "[cluster]\nworkers = x\n[ready]\nwhen = http /\n", 1, 1, "has no listener to ask" },
	{ "[cluster]\nworkers = x\n[health]\nhttp = /\n", 1, 1, "has no listener to ask" },
	{ "[listen a]\naddress = x\n[health]\nhttp = /\n", 1, 0, NULL },
	{ "[health]\nhttp = x\ninterval = never\n", 1, 0, NULL },
	{ "[ready]\nwhen = command\ncommand = 'x\n", 1, 0, NULL },
	{ "[stop]\nsignal = STOP\n[nowhere]\n", 1, 1, "[stop] signal" },
};

START_TEST(a_refused_value_has_no_echo)
{
	const char *file = drafts[_i].file;

	told[0] = '\0';
	config_init(&config);
	ck_assert_int_eq(config_parse(&config, file, strlen(file), "f", hear, NULL), drafts[_i].refused);
	config_take_draft(&config);
	told[0] = '\0';
	ck_assert_msg(config_check(&config, hear, NULL) == drafts[_i].more, "%s", told);
	if (drafts[_i].complaint)
		ck_assert_msg(strstr(told, drafts[_i].complaint) != NULL, "%s", told);
}
END_TEST

START_TEST(a_key_that_was_refused_is_known)
{
	config_init(&config);
	ck_assert(!config_refused(&config, "cluster"));
	ck_assert_int_eq(config_set(&config, "cluster.workers", "x", "-n", hear, NULL), 1);
	ck_assert(config_refused(&config, "cluster"));
	ck_assert(config_refused(&config, "cluster.workers"));
	ck_assert(!config_refused(&config, "cluster.command"));
	ck_assert(!config_refused(&config, "listen"));
	ck_assert_int_eq(config_set(&config, "listen.a.address", "x", "-l", hear, NULL), 1);
	ck_assert(config_refused(&config, "listen"));
	ck_assert(!config_refused(&config, "restart"));
}
END_TEST

static const struct {
	const char *rules; /* each retires */
	struct rule_end end;
	const char *found; /* NULL: none */
} ends[] = {
	{ "", { .code = 1 }, NULL },
	{ "1", { .code = 1 }, "1" },
	{ "1", { .code = 2 }, NULL },
	{ "0", { .signal = SIGSEGV }, NULL },
	{ "64-78", { .code = 64 }, "64-78" },
	{ "64-78", { .code = 78 }, "64-78" },
	{ "64-78", { .code = 63 }, NULL },
	{ "64-78", { .code = 79 }, NULL },
	{ "1-100,50-60,55", { .code = 55 }, "55" },
	{ "1-100,50-60,55", { .code = 54 }, "50-60" },
	{ "50-60,1-100,55", { .code = 49 }, "1-100" },
	{ "1-10,2-11", { .code = 5 }, "1-10" },
	{ "2-11,1-10", { .code = 5 }, "2-11" },
	{ "11", { .signal = SIGSEGV }, NULL },
	{ "SIGSEGV", { .signal = SIGSEGV }, "SIGSEGV" },
	{ "SEGV", { .code = 11 }, NULL },
	{ "SIGKILL,oom", { .signal = SIGKILL, .oom = true }, "oom" },
	{ "SIGKILL,oom", { .signal = SIGKILL }, "SIGKILL" },
	{ "SIGABRT,watchdog", { .signal = SIGABRT, .watchdog = true }, "watchdog" },
	{ "SIGTERM,timeout", { .signal = SIGTERM, .timeout = true }, "timeout" },
	{ "oom,timeout,watchdog", { .signal = SIGKILL, .oom = true, .timeout = true, .watchdog = true }, "watchdog" },
	{ "oom,timeout", { .signal = SIGKILL, .oom = true, .timeout = true }, "timeout" },
	{ "timeout", { .code = 1 }, NULL },
	{ "watchdog,timeout,oom", { .code = 1 }, NULL },
	{ "SIGRTMIN+3", { .signal = 37 }, "SIGRTMIN+3" },
};

START_TEST(most_specific_rule_holds)
{
	char settings[128] = "", text[RULE_TEXT_MAX];
	const struct exit_rule *rule;

	if (*ends[_i].rules)
		snprintf(settings, sizeof(settings), "exit.%s.action=retire", ends[_i].rules);
	config_with(settings);
	rule = exit_rule_find(&config.policy, &ends[_i].end);
	if (!ends[_i].found) {
		ck_assert_ptr_null(rule);
		return;
	}
	ck_assert_ptr_nonnull(rule);
	rule_format(rule, text);
	ck_assert_str_eq(text, ends[_i].found);
}
END_TEST

/* What was refused is not judged any more, nor what hangs on it; all else is. */
START_TEST(what_was_refused_is_remembered)
{
	config_with("listen.a.address=80 listen.b.address=81");
	ck_assert(!config_refused(&config, "listen"));
	ck_assert_int_eq(config_assign(&config, "restart.delay=x", "--set", hear, NULL), 1);
	ck_assert(config_refused(&config, "restart.delay"));
	ck_assert(config_refused(&config, "restart"));
	ck_assert(!config_refused(&config, "restart.burst"));
	ck_assert(!config_refused(&config, "stop"));
	ck_assert(!config_refused(&config, "listen"));
	ck_assert_int_eq(config_assign(&config, "listen.b.backlog=x", "--set", hear, NULL), 1);
	ck_assert(config_refused(&config, "listen"));
	ck_assert(!config.refused_listeners[0]);
	ck_assert(config.refused_listeners[1]);
	ck_assert_int_eq(config_assign(&config, "listen.backlog=x", "--set", hear, NULL), 1);
	ck_assert(config.refused_listeners[0]);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, policy_is_checked_as_a_whole, 0, COUNT(rows));
	tcase_add_test(tests, burst_names_the_three_keys);
	tcase_add_test(tests, long_control_path_is_refused);
	tcase_add_loop_test(tests, a_refused_value_has_no_echo, 0, COUNT(drafts));
	tcase_add_test(tests, a_key_that_was_refused_is_known);
	tcase_add_test(tests, what_was_refused_is_remembered);
	tcase_add_loop_test(tests, most_specific_rule_holds, 0, COUNT(ends));
}

int main(void)
{
	return run_suite("config/check", add_tests);
}
