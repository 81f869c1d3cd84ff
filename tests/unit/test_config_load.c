/* The policy file: what is told of a bad one, and that a good one comes back from its dump. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/words.h"
#include "tests/unit/suite.h"

static struct config config, other;
static struct policy before;
static struct config_origins origins_before;

/* All complaints of a file, or all lines of a dump. */
struct text {
	size_t length;
	char text[1 << 18];
};
static struct text told, dumped;

static void hear(void *context, const char *source, unsigned line, const char *text)
{
	struct text *t = context;

	t->length += (size_t)snprintf(t->text + t->length, sizeof(t->text) - t->length, "%s:%u: %s\n",
				      source, line, text);
	ck_assert_uint_lt(t->length, sizeof(t->text));
}

static void keep(void *context, const char *line)
{
	struct text *t = context;

	ck_assert_uint_le(strlen(line), LINE_TEXT_MAX);
	ck_assert_ptr_null(strchr(line, '\n'));
	t->length += (size_t)snprintf(t->text + t->length, sizeof(t->text) - t->length, "%s\n", line);
	ck_assert_uint_lt(t->length, sizeof(t->text));
}

static int parse(struct config *into, const char *text, size_t size)
{
	told.length = 0;
	told.text[0] = '\0';
	return config_parse(into, text, size, "f", hear, &told);
}

#define LONG50 "12345678901234567890123456789012345678901234567890"

static const struct row {
	const char *text, *complaints;
} rows[] = {
	{ "", "" },
	{ "; a comment\n# another\n\n   ; and one more\n", "" },
	{ "\xef\xbb\xbf[cluster]\r\nworkers = 4\r\n", "" },
	{ "[cluster]\nworkers = 4", "" },
	{ "[cluster]\nworkers: 4", "" },
	{ " [cluster] ; text\n workers=4 ; text", "" },
	{ "[ cluster ]\nworkers=4", "" },
	{ "[cluster]\nworkers = two\n[stop]\ntimeout = 5\n",
	  "f:2: workers = two: not a whole number or auto\n"
	  "f:4: timeout = 5: not a duration such as 250ms, 10s, 5m or 1h\n" },
	{ "[cluster]\nworkers = 4 # four\n",
	  "f:2: workers = 4 # four: not a whole number or auto (a comment starts with ;)\n" },
	{ "[cluster]\nworker = 4\nbackoff = 1\nburst = 3\n",
	  "f:2: [cluster] has no key worker (did you mean workers?)\n"
	  "f:3: [cluster] has no key backoff\n"
	  "f:4: [cluster] has no key burst (did you mean [restart] burst?)\n" },
	{ "[restrat]\nx = 1\n", "f:1: there is no section [restrat] (did you mean [restart]?)\n" },
	{ "[enviroment]\n", "f:1: there is no section [enviroment]\n" },
	{ "[stop]\n[roll]\n[stop]\nsignal = nonsense\n", "f:3: [stop] is already on line 1\n" },
	{ "[stop]\nsignal = TERM\nsignal = INT\n", "f:3: signal is already set on line 2\n" },
	{ "[stop now]\n", "f:1: [stop] takes no name\n" },
	{ "[stop\nsignal = TERM\n", "f:1: the ] is missing\n" },
	{ "[stop] signal = TERM\n", "f:1: text after the ]\n" },
	{ "[stop ; x]\n", "f:1: the ] is missing\n" },
	{ "[]\n", "f:1: the name of a section has 1 to 49 bytes\n" },
	{ "[" LONG50 "]\n", "f:1: the name of a section has 1 to 49 bytes\n" },
	{ "workers = 4\n", "f:1: workers stands before any [section]\n" },
	{ "[cluster]\nnonsense\n= 5\n",
	  "f:2: neither a [section] nor key = value\nf:3: the name of a key has 1 to 49 bytes\n" },
	{ "[cluster]\n" LONG50 " = 1\n", "f:2: the name of a key has 1 to 49 bytes\n" },
	{ "[cluster]\ncommand = " LONG50 LONG50 LONG50 LONG50 "\n",
	  "f:2: line of 210 bytes; the limit is 197 (a value may go on in the next, indented line)\n" },
	{ "; " LONG50 LONG50 LONG50 LONG50 LONG50 "\n", "" },
	{ "[stop]\nsignal = TERM\n  timeout = 5s\n",
	  "f:3: indented, so it would go on with signal of line 2\n" },
	{ "[restart]\n  delay = 1s\n  stable = 5s\n",
	  "f:3: indented, so it would go on with delay of line 2\n" },
	{ "[cluster]\n  command = ./app\n  workers = 5\n",
	  "f:3: indented, so it would go on with command of line 2\n" },
	{ "[cluster]\n  command = ./app\n  [stop]\n",
	  "f:3: indented, so it would go on with command of line 2\n" },
	{ "[cluster]\ncommand = ./app\n\t-p=80 ; the port\n\n\t; nothing\n  last\n", "" },
	{ "[env]\nA = 1\n B = 2\n", "f:3: indented, so it would go on with A of line 2\n" },
	{ "[env]\nA = 1\\\n B = 2\n", "" },
	{ "[env]\nA = x\n  y\n", "" },
	{ "[env]\n1A = 1\nA-B = 2\nA = \"open\n",
	  "f:2: 1A: the name of a variable has letters, digits and _\n"
	  "f:3: A-B: the name of a variable has letters, digits and _\n"
	  "f:4: A: a quote is not closed\n" },
	{ "[env]\nLISTEN_FDS = 1\nCLUSTERD_SLOT = 2\nNOTIFY_SOCKET = 1\nREADY_FD = 1\nLISTEN_HOST = x\n",
	  "f:2: LISTEN_FDS is set by clusterd itself\n"
	  "f:3: CLUSTERD_SLOT is set by clusterd itself\n"
	  "f:4: NOTIFY_SOCKET is set by clusterd itself\n"
	  "f:5: READY_FD is set by clusterd itself\n" },
	{ "[env]\nA = 1\nA = 2\n", "f:3: A is already set on line 2\n" },
	{ "[env]\nA = 1 # one\n",
	  "f:2: A: a comment starts with ; and not with #; a # as part of it needs quotes\n" },
	{ "[cluster]\ncommand = sh -c 'a ; b'\n",
	  "f:2: command = sh -c 'a: a quote is not closed (a blank and ; begin a comment, in quotes too: "
	  "write \\x3b in $'...')\n" },
	{ "[cluster]\ncommand = sh -c\n\t'a ; b'\n",
	  "f:2: command = sh -c 'a: a quote is not closed (a blank and ; begin a comment, in quotes too: "
	  "write \\x3b in $'...')\n" },
	{ "[env]\nA = 1 ; one\nB = 'x\n", "f:3: B: a quote is not closed\n" },
	{ "[listen]\naddress = 80\n", "f:1: [listen] needs a name, as in [listen web]\n" },
	{ "[listen a:b]\n", "f:1: a listener's name has 1 to 40 letters, digits and . _ - @, as in "
			    "[listen web]\n" },
	{ "[listen a]\nadress = 80\n", "f:2: [listen] has no key adress (did you mean address?)\n" },
	{ "[listen a]\naddress = foo:80\n",
	  "f:2: address = foo:80: the host is neither a numeric address nor * nor localhost; names are "
	  "not looked up\n" },
	{ "[listen a]\naddress = 80\naddress = 81\n[listen a]\n",
	  "f:3: address is already set on line 2\nf:4: [listen a] is already on line 1\n" },
	{ "[exit]\naction = retire\n", "f:1: [exit] needs a rule, as in [exit 64-78 SIGSEGV]\n" },
	{ "[exit 256]\n", "f:1: exit rule 256: an exit status is 0 to 255, or a range such as 64-78\n" },
	{ "[exit 9-3]\n", "f:1: exit rule 9-3: the range of exit statuses is empty\n" },
	{ "[exit oops]\n", "f:1: exit rule oops: neither an exit status, nor a signal, nor oom, timeout "
			   "or watchdog\n" },
	{ "[exit 1 2]\naction = retire\n[exit 3, 2]\n", "f:3: exit rule 2 is already on line 1\n" },
	{ "[exit 1]\naction = panic\ndelay = x\n",
	  "f:2: action = panic: not one of respawn, backoff, retire, exit\n"
	  "f:3: delay = x: not a duration such as 250ms, 10s, 5m or 1h\n" },
	{ "[cluster]\nworkers = \x1b[31m\n", "f:2: workers = ?[31m: not a whole number or auto\n" },
};

/* Every problem, each with its line, and nothing taken from a file that has one. */
START_TEST(complaints)
{
	const struct row *row = &rows[_i];
	int lines = 0;

	config_init(&config);
	memcpy(&before, &config.policy, sizeof(before));
	memcpy(&origins_before, &config.origins, sizeof(origins_before));
	for (const char *p = row->complaints; *p; p++)
		lines += *p == '\n';
	ck_assert_int_eq(parse(&config, row->text, strlen(row->text)), lines);
	ck_assert_str_eq(told.text, row->complaints);
	if (lines > 0) {
		ck_assert_mem_eq(&config.policy, &before, sizeof(before));
		ck_assert_mem_eq(&config.origins, &origins_before, sizeof(origins_before));
	}
}
END_TEST

START_TEST(nul_byte_is_refused)
{
	static const char text[] = "[cluster]\nworkers = 4\0 5\n";

	config_init(&config);
	ck_assert_int_eq(parse(&config, text, sizeof(text) - 1), 1);
	ck_assert_str_eq(told.text, "f:2: the line holds a NUL byte\n");
}
END_TEST

static const char *word(int n)
{
	const char *at = NULL;

	do
		at = words_next(&config.policy.cluster_command, at);
	while (n-- > 0);
	return at;
}

START_TEST(lines_go_on)
{
	static const char text[] = "[cluster]\ncommand = ./app -a ; one\n\t-b 'c d' ; two\n\n\t-e\\\nf\n";
	static const char even[] = "[cluster]\ncommand = ./app a\\\\\n b\n";
	static const char joined[] = "[cluster]\ncommand = ./app lo\\\n  ng \\\n workers=3\n";

	config_init(&config);
	ck_assert_int_eq(parse(&config, text, strlen(text)), 2); /* f is not indented */
	ck_assert_int_eq(parse(&config, joined, strlen(joined)), 0);
	ck_assert_int_eq(config.policy.cluster_command.count, 3);
	ck_assert_str_eq(word(1), "long");
	ck_assert_str_eq(word(2), "workers=3");
	ck_assert_int_eq(config.policy.cluster_workers, 0);
	config_init(&config);
	/* Two backslashes are one of the word, and join nothing. */
	ck_assert_int_eq(parse(&config, even, strlen(even)), 0);
	ck_assert_int_eq(config.policy.cluster_command.count, 3);
	ck_assert_str_eq(word(1), "a\\");
	ck_assert_str_eq(word(2), "b");
}
END_TEST

START_TEST(lines_up_to_the_limit_arrive_whole)
{
	char text[LINE_TEXT_MAX + 32] = "[env]\nA=";
	size_t head = strlen(text), length = LINE_TEXT_MAX - 2;

	memset(text + head, 'x', length);
	config_init(&config);
	ck_assert_int_eq(parse(&config, text, head + length), 0);
	ck_assert_uint_eq(config.policy.env_size, LINE_TEXT_MAX + 1);
	text[head + length] = 'x';
	config_init(&config);
	ck_assert_int_eq(parse(&config, text, head + length + 1), 1);
}
END_TEST

static void set(const char *name, const char *value)
{
	told.length = 0;
	ck_assert_msg(config_set(&config, name, value, "--set", hear, &told) == 0, "%s=%s: %s", name,
		      value, told.text);
}

static void refuse(const char *name, const char *value)
{
	memcpy(&before, &config.policy, sizeof(before));
	told.length = 0;
	ck_assert_int_eq(config_set(&config, name, value, "--set", hear, &told), 1);
	ck_assert_uint_gt(told.length, 0);
	ck_assert_mem_eq(&before, &config.policy, sizeof(before));
}

START_TEST(values_are_set_by_name)
{
	config_init(&config);
	set("restart.burst", "4");
	ck_assert_int_eq(config.policy.restart_burst, 4);
	ck_assert_str_eq(config.origins.keys[key_find("restart.burst") - keys].source, "--set");
	set("listen.web.address", "80");
	set("listen.my.web.address", "81");
	set("listen.backlog", "7");
	ck_assert_int_eq(config.policy.listener_count, 2);
	ck_assert_str_eq(config.policy.listeners[1].name, "my.web");
	ck_assert_int_eq(config.policy.listeners[0].backlog, 7);
	ck_assert_int_eq(config.policy.listeners[1].backlog, 7);
	set("exit.64-78,SIGSEGV.action", "retire");
	ck_assert_int_eq(config.policy.rule_count, 2);
	set("exit.70.delay", "5s");
	ck_assert_int_eq(config.policy.rule_count, 3);
	ck_assert(config.policy.rules[2].has_delay);
	set("env.A", "1");
	set("env.B", "2");
	set("env.A", "3");
	ck_assert_mem_eq(config.policy.env, "B=2\0A=3", 8);
	ck_assert_int_eq(config.policy.env_count, 2);
	ck_assert_int_eq(config_assign(&config, "env.C=x=y", "--set", hear, &told), 0);
	ck_assert_mem_eq(config.policy.env + 8, "C=x=y", 6);
	ck_assert_int_eq(config_assign(&config, "env.C", "--set", hear, &told), 1);
	refuse("restart.brust", "4");
	refuse("restart.burst", "x");
	refuse("restart", "4");
	refuse("restart.x.burst", "4");
	refuse("listen.-a.address", "80");
	refuse("listen.new.address", "x:1");
	refuse("exit.999.action", "retire");
	refuse("exit.action", "retire");
	refuse("env.", "x");
	refuse("env.a.b", "x");
	refuse("", "x");
	refuse(".", "x");
}
END_TEST

START_TEST(limits_hold)
{
	char name[64];

	config_init(&config);
	for (int i = 0; i < LISTENERS_MAX; i++) {
		snprintf(name, sizeof(name), "listen.l%d.address", i);
		set(name, "0");
	}
	refuse("listen.more.address", "0");
	for (int i = 0; i < RULES_MAX; i++) {
		snprintf(name, sizeof(name), "exit.%d.action", i);
		set(name, "retire");
	}
	refuse("exit.200.action", "retire");
	for (int i = 0; i < ENV_MAX; i++) {
		snprintf(name, sizeof(name), "env.V%d", i);
		set(name, "");
	}
	refuse("env.MORE", "");
}
END_TEST

START_TEST(names_have_a_limit)
{
	config_init(&config);
	set("listen.a234567890123456789012345678901234567890.address", "80");
	refuse("listen.a2345678901234567890123456789012345678901.address", "81");
}
END_TEST

/* To the last byte: "VNN=" and the value, each with its NUL. */
START_TEST(the_environment_has_a_limit)
{
	enum { EACH = 1024 };
	char name[16], value[EACH];
	int i;

	config_init(&config);
	memset(value, 'x', sizeof(value));
	value[EACH - 5] = '\0';
	for (i = 0; i < ENV_TEXT_MAX / EACH; i++) {
		snprintf(name, sizeof(name), "env.V%02d", i);
		set(name, value);
	}
	ck_assert_uint_eq(config.policy.env_size, ENV_TEXT_MAX);
	refuse("env.A", "");
	set("env.V00", "x");
	set("env.A", "");
}
END_TEST

/* A file names a value once; what comes after the file may say it again. */
START_TEST(a_later_layer_wins)
{
	static const char text[] = "[restart]\ndelay = 1s\n[env]\nA = 1\n";
	static const char again[] = "[restart]\ndelay = 3s\n[env]\nA = 3\n";

	config_init(&config);
	ck_assert_int_eq(parse(&config, text, strlen(text)), 0);
	set("restart.delay", "2s");
	set("env.A", "2");
	ck_assert_uint_eq(config.policy.restart_delay, 2000);
	ck_assert_int_eq(config_parse(&config, text, strlen(text), "first", hear, &told), 0);
	ck_assert_int_eq(config_parse(&config, again, strlen(again), "second", hear, &told), 0);
	ck_assert_uint_eq(config.policy.restart_delay, 3000);
	ck_assert_str_eq(config.policy.env, "A=3");
}
END_TEST

static const char *random_name(char *name)
{
	snprintf(name, 48, "n%c%x", "._-@"[rand() % 4], (unsigned)rand() % 0xffff);
	return name;
}

static void random_text(char *text, int most, bool control)
{
	int length = rand() % 6 == 0 ? rand() % most : rand() % 12;

	for (int i = 0; i < length; i++)
		text[i] = (char)(control ? 1 + rand() % 255 : ' ' + rand() % 95);
	text[length] = '\0';
}

/* Values of the type's own form, so that many of them are taken. */
static void set_random(const struct key *key, const char *name)
{
	static const char *const texts[] = {
		"0", "1", "5", "2s", "150ms", "7m", "64K", "3M", "auto", "none", "10%", "yes", "no",
		"0640", "-5", "SIGUSR1", "RTMIN+4", "127.0.0.1:99", "unix:/run/x", "[::1]:5", "udp:9", "off",
		"systemd puma", "infinity", "5:infinity", "http /x", "fd", "command", "8000", "name",
	};
	char text[1500];
	size_t words = 0;

	while (key->type->words && key->type->words[words])
		words++;
	if (words > 0 && rand() % 2)
		snprintf(text, sizeof(text), "%s", key->type->words[(size_t)rand() % words]);
	else if (rand() % 3 == 0)
		random_text(text, 300, rand() % 2);
	else
		snprintf(text, sizeof(text), "%s", texts[(size_t)rand() % (sizeof(texts) / sizeof(*texts))]);
	told.length = 0;
	(void)config_set(&config, name, text, rand() % 2 ? "--set" : "-x \x1b\n", hear, &told);
}

static void random_policy(void)
{
	char name[128], part[48], text[800];

	config_init(&config);
	for (int i = 0; i < 60; i++) {
		const struct key *key = &keys[rand() % KEYS_MAX];

		snprintf(name, sizeof(name), "%s.%s", key->section, key->name);
		set_random(key, name);
	}
	for (int i = rand() % 10; i > 0; i--) {
		const struct key *key = &listen_keys[rand() % LISTEN_KEYS_MAX];

		snprintf(name, sizeof(name), "listen.%s.%s", random_name(part), key->name);
		set_random(key, name);
	}
	for (int i = rand() % 10; i > 0; i--) {
		snprintf(name, sizeof(name), "exit.%d.%s", rand() % 256, exit_keys[rand() % 2].name);
		set_random(&exit_keys[rand() % 2], name);
	}
	for (int i = rand() % 10; i > 0; i--) {
		snprintf(name, sizeof(name), "env.E%d", rand() % 50);
		random_text(text, 700, true);
		told.length = 0;
		(void)config_set(&config, name, text, "--set", hear, &told);
	}
	for (int i = rand() % 9; i > 0; i--) {
		random_text(text, 700, true);
		(void)words_append(&config.policy.cluster_command, text);
	}
}

static void dump(struct config *of)
{
	dumped.length = 0;
	config_dump(of, keep, &dumped);
}

static void read_back(void)
{
	config_init(&other);
	ck_assert_msg(parse(&other, dumped.text, dumped.length) == 0, "%s\n%s", told.text, dumped.text);
	ck_assert_mem_eq(&other.policy, &config.policy, sizeof(struct policy));
}

START_TEST(dump_reads_back)
{
	srand((unsigned)_i);
	random_policy();
	dump(&config);
	read_back();
	dumped.length = 0;
	config_text(&config, keep, &dumped);
	read_back();
}
END_TEST

/* F1, F2: whatever is broken in the file, the policy is a whole one. */
START_TEST(broken_files_change_nothing)
{
	static struct text broken;

	srand((unsigned)_i);
	random_policy();
	dump(&config);
	memcpy(&broken, &dumped, sizeof(broken));
	for (int i = 0; i < 30; i++) {
		size_t at = (size_t)rand() % broken.length;

		if (rand() % 8 == 0)
			broken.length = at + 1;
		else if (rand() % 2)
			broken.text[at] = (char)(broken.text[at] ^ 1 << rand() % 8);
		else
			broken.text[at] = "\n\0[]=;#'\" \t\\x"[rand() % 13];
		config_init(&other);
		memcpy(&before, &other.policy, sizeof(before));
		memcpy(&origins_before, &other.origins, sizeof(origins_before));
		if (parse(&other, broken.text, broken.length) > 0) {
			ck_assert_uint_gt(told.length, 0);
			ck_assert_mem_eq(&before, &other.policy, sizeof(before));
			ck_assert_mem_eq(&origins_before, &other.origins, sizeof(origins_before));
		} else {
			ck_assert_uint_eq(told.length, 0);
			memcpy(&before, &other.policy, sizeof(before));
			dump(&other);
			config_init(&other);
			ck_assert_int_eq(parse(&other, dumped.text, dumped.length), 0);
			ck_assert_mem_eq(&before, &other.policy, sizeof(before));
		}
	}
}
END_TEST

START_TEST(error_on_the_last_line_undoes_the_first)
{
	char text[40000] = "[env]\n";
	size_t length = strlen(text);

	for (int i = 0; i < 200; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "V%d = %d\n", i, i);
	config_init(&config);
	ck_assert_int_eq(parse(&config, text, length), 0);
	ck_assert_int_eq(config.policy.env_count, 200);
	length += (size_t)snprintf(text + length, sizeof(text) - length, "broken\n");
	config_init(&config);
	ck_assert_int_eq(parse(&config, text, length), 1);
	ck_assert_str_eq(told.text, "f:202: neither a [section] nor key = value\n");
	ck_assert_int_eq(config.policy.env_count, 0);
}
END_TEST

START_TEST(dump_names_origins)
{
	static const char text[] = "[restart]\nburst = 4\n";

	config_init(&config);
	ck_assert_int_eq(parse(&config, text, strlen(text)), 0);
	set("stop.timeout", "5s");
	dump(&config);
	ck_assert_ptr_nonnull(strstr(dumped.text, "\nburst = 4                               ; from f:2\n"));
	ck_assert_ptr_nonnull(strstr(dumped.text, "\ntimeout = 5s                            ; --set\n"));
	ck_assert_ptr_nonnull(strstr(dumped.text, "\nwindow = 60s                            ; default\n"));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, complaints, 0, COUNT(rows));
	tcase_add_test(tests, nul_byte_is_refused);
	tcase_add_test(tests, lines_go_on);
	tcase_add_test(tests, lines_up_to_the_limit_arrive_whole);
	tcase_add_test(tests, values_are_set_by_name);
	tcase_add_test(tests, limits_hold);
	tcase_add_test(tests, names_have_a_limit);
	tcase_add_test(tests, the_environment_has_a_limit);
	tcase_add_test(tests, a_later_layer_wins);
	tcase_add_loop_test(tests, dump_reads_back, 0, 300);
	tcase_add_loop_test(tests, broken_files_change_nothing, 0, 100);
	tcase_add_test(tests, error_on_the_last_line_undoes_the_first);
	tcase_add_test(tests, dump_names_origins);
}

int main(void)
{
	return run_suite("config/load", add_tests);
}
