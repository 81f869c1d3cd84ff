/* The command line, and the policy that it and a file make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/clusterd/options.h"
#include "config/words.h"
#include "tests/unit/suite.h"

enum { ARGUMENTS_MAX = 32 };

static struct config config;
static struct options options;
static char told[8192], line[1024], problem[OPTIONS_PROBLEM_MAX];
static char *arguments[ARGUMENTS_MAX];

static void hear(void *context, const char *source, unsigned number, const char *text)
{
	size_t length = strlen(told);

	(void)context;
	format_complaint(told + length, sizeof(told) - length, source, number, text);
	strcat(told, "\n");
}

/* Splits "clusterd ..." at blanks. */
static int parse(const char *text)
{
	char *rest = NULL;
	int count = 0;

	snprintf(line, sizeof(line), "clusterd %s", text);
	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		arguments[count++] = word;
	arguments[count] = NULL;
	problem[0] = '\0';
	return options_parse(&options, arguments, problem);
}

static int load(const char *text)
{
	told[0] = '\0';
	ck_assert_msg(parse(text) == 0, "%s", problem);
	return options_load(&options, &config, hear, NULL);
}

static void teardown(void)
{
	options_finish(&options);
}

static const struct {
	const char *line, *problem;
} usage[] = {
	{ "-x", "unknown option -x; see clusterd -h" },
	{ "-nx -x", "unknown option -x; see clusterd -h" },
	{ "--wrokers 3", "unknown option --wrokers (did you mean --workers?)" },
	{ "--zzz", "unknown option --zzz; see clusterd -h" },
	{ "-n", "-n needs N|auto" },
	{ "--workers", "--workers needs N|auto" },
	{ "--adopt=1", "--adopt takes no argument" },
	{ "--work 3", "unknown option --work; see clusterd -h" },
};

START_TEST(wrong_usage_is_named)
{
	ck_assert_int_eq(parse(usage[_i].line), -1);
	ck_assert_str_eq(problem, usage[_i].problem);
}
END_TEST

START_TEST(program_ends_the_options)
{
	ck_assert_int_eq(parse("-n4 -at app -x --bogus"), 0);
	ck_assert_str_eq(options.program[0], "app");
	ck_assert_str_eq(options.program[1], "-x");
	ck_assert(options.check);
	ck_assert_uint_eq(options.given_count, 2);
	options_finish(&options);
	ck_assert_int_eq(parse("--workers=4 -- -odd --help"), 0);
	ck_assert_str_eq(options.program[0], "-odd");
	ck_assert(!options.help);
	options_finish(&options);
	ck_assert_int_eq(parse("-h"), 0);
	ck_assert(options.help && !options.help_all);
	options_finish(&options);
	ck_assert_int_eq(parse("--help"), 0);
	ck_assert(options.help && options.help_all);
	options_finish(&options);
	ck_assert_int_eq(parse(""), 0);
	ck_assert_ptr_null(*options.program);
}
END_TEST

static const struct row {
	const char *port, *line, *complaint, *key, *value; /* PORT; part of a complaint, or key = value */
} rows[] = {
	{ NULL, "app", NULL, "cluster.name", "app" },
	{ NULL, "/bin/my;app", NULL, "cluster.name", "my_app" },
	{ NULL, "--name web app", NULL, "cluster.name", "web" },
	{ NULL, "-n 3 app", NULL, "cluster.workers", "3" },
	{ NULL, "-n 3 -n 4 app", NULL, "cluster.workers", "4" },
	{ NULL, "--set cluster.workers=5 -n 3 app", NULL, "cluster.workers", "5" },
	{ NULL, "--log-format json app", NULL, "log.format", "json" },
	{ NULL, "app", NULL, "fd3", "*:1337" },
	{ "", "app", NULL, "fd3", "*:1337" },
	{ "8000", "app", NULL, "fd3", "*:8000" },
	{ "8000", "-l 9000 app", NULL, "fd3", "*:9000" },
	{ "8000", "-l none app", NULL, "fd3", NULL },
	{ NULL, "-l a=1 -l 2 app", NULL, "fd4", "*:2" },
	{ NULL, "-l a=1 -l a=2 app", "-l: there is a listener a already", NULL, NULL },
	{ NULL, "-l a=1 --listen a=2 app", "-l: there is a listener a already", NULL, NULL },
	{ NULL, "-l none -l 80 app", "-l: [cluster] listen = no (-l none), but there is [listen fd3]", NULL, NULL },
	{ NULL, "-l 80 -l none app", "-l: [cluster] listen = no (-l none), but there is [listen fd3]", NULL, NULL },
	{ NULL, "-l a=80 --set cluster.listen=no app", "--set: [cluster] listen = no (-l none), but there is [listen a]", NULL, NULL },
	{ NULL, "-l none -l none app", NULL, "cluster.listen", "no" },
	{ NULL, "-l unix:/a=b app", NULL, "fd3", "unix:/a=b" },
	{ "x", "app", "PORT: the environment variable", NULL, NULL },
	{ "65536", "app", "the port is not a number", NULL, NULL },
	{ NULL, "", "no program", NULL, NULL },
	{ NULL, "-n abc app", "-n: workers = abc: not a whole number or auto", NULL, NULL },
	{ NULL, "-l a= app", "-l: the address is missing", NULL, NULL },
	{ NULL, "-l 80 -l 80 app", "has the address of", NULL, NULL },
	{ NULL, "--set x app", "SECTION.KEY=VALUE is needed", NULL, NULL },
	{ NULL, "-c / app", "is a folder and no regular file", NULL, NULL },
	{ NULL, "-c /nonexistent app", "/nonexistent: No such file or directory", NULL, NULL },
	{ NULL, "-c /dev/null app", "is no regular file", NULL, NULL },
};

static const struct listener *listener(const char *name)
{
	for (uint32_t i = 0; i < config.policy.listener_count; i++)
		if (strcmp(config.policy.listeners[i].name, name) == 0)
			return &config.policy.listeners[i];
	return NULL;
}

START_TEST(line_makes_a_policy)
{
	const struct row *row = &rows[_i];
	char text[VALUE_TEXT_MAX] = "";
	int complaints;

	if (row->port)
		setenv("PORT", row->port, 1);
	else
		unsetenv("PORT");
	complaints = load(row->line);
	if (row->complaint) {
		ck_assert_int_eq(complaints, 1);
		ck_assert_msg(strstr(told, row->complaint) != NULL, "%s", told);
		return;
	}
	ck_assert_msg(complaints == 0, "%s", told);
	if (strchr(row->key, '.')) {
		key_text(key_find(row->key), &config.policy, text, sizeof(text));
		ck_assert_str_eq(text, row->value);
	} else if (row->value) {
		ck_assert_ptr_nonnull(listener(row->key));
		address_format(&listener(row->key)->address, text);
		ck_assert_str_eq(text, row->value);
	} else {
		ck_assert_ptr_null(listener(row->key));
	}
}
END_TEST

START_TEST(flags_of_listeners_reach_all)
{
	unsetenv("PORT");
	ck_assert_int_eq(load("-b hash -l a=1 -l b=2 --set listen.b.balance=shared app"), 0);
	ck_assert_int_eq(listener("a")->balance, BALANCE_HASH);
	ck_assert_int_eq(listener("b")->balance, BALANCE_SHARED);
	options_finish(&options);
	ck_assert_int_eq(load("-a app"), 0);
	ck_assert(listener("fd3")->adopt);
}
END_TEST

/* A file with this text; the caller unlinks it. */
static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

START_TEST(layers_have_an_order)
{
	char path[] = "/tmp/clusterd-options-XXXXXX", text[256];

	write_file(path, "[cluster]\nworkers = 2\ncommand = a b\n[listen web]\naddress = 80\nbacklog = 9\n");
	snprintf(text, sizeof(text), "-c %s", path);
	ck_assert_int_eq(load(text), 0);
	ck_assert_int_eq(config.policy.cluster_workers, 2);
	ck_assert_str_eq(config.policy.cluster_name, "a");
	options_finish(&options);
	snprintf(text, sizeof(text), "-c %s -n 3 -l web=81 -l 82 -- c", path);
	ck_assert_int_eq(load(text), 0);
	ck_assert_int_eq(config.policy.cluster_workers, 3);
	ck_assert_int_eq(config.policy.listener_count, 2);
	ck_assert_int_eq(listener("web")->address.port, 81);
	ck_assert_int_eq(listener("web")->backlog, 9);
	ck_assert_int_eq(listener("fd4")->address.port, 82);
	ck_assert_str_eq(words_next(&config.policy.cluster_command, NULL), "c");
	ck_assert_int_eq(config.policy.cluster_command.count, 1);
	options_finish(&options);
	snprintf(text, sizeof(text), "-c %s -l none", path);
	ck_assert_int_eq(load(text), 1);
	ck_assert_ptr_nonnull(strstr(told, "-l: [cluster] listen = no (-l none), but there is [listen web]"));
	unlink(path);
}
END_TEST

/* An option wins over the file, in which the two contradict each other. */
START_TEST(listen_no_of_the_file_is_for_its_own_listeners)
{
	char path[] = "/tmp/clusterd-options-XXXXXX", text[256];

	write_file(path, "[cluster]\nlisten = no\ncommand = a\n");
	snprintf(text, sizeof(text), "-c %s -l 80 -l 81", path);
	ck_assert_msg(load(text) == 0, "%s", told);
	ck_assert(config.policy.cluster_listen);
	ck_assert_int_eq(config.policy.listener_count, 2);
	options_finish(&options);
	snprintf(text, sizeof(text), "-c %s -l 80 -l none", path);
	ck_assert_int_eq(load(text), 1);
	unlink(path);
	strcpy(path + strlen(path) - 6, "XXXXXX");
	write_file(path, "[cluster]\nlisten = no\ncommand = a\n[listen web]\naddress = 80\n");
	options_finish(&options);
	snprintf(text, sizeof(text), "-c %s", path);
	ck_assert_int_eq(load(text), 1);
	ck_assert_ptr_nonnull(strstr(told, ":2: [cluster] listen = no (-l none), but there is [listen web]"));
	unlink(path);
}
END_TEST

/* F6: what can not be a policy file is refused at once. */
START_TEST(odd_files_are_refused)
{
	char path[] = "/tmp/clusterd-options-XXXXXX", *text;
	size_t size;

	write_file(path, "[stop]\n");
	ck_assert_int_eq(read_policy_file(path, &text, &size, problem), 0);
	ck_assert_uint_eq(size, 7);
	free(text);
	ck_assert_int_eq(truncate(path, POLICY_FILE_MAX + 1), 0);
	ck_assert_int_eq(read_policy_file(path, &text, &size, problem), -1);
	ck_assert_str_eq(problem, "is larger than the 1 MiB a policy can have");
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(read_policy_file(path, &text, &size, problem), -1);
	ck_assert_str_eq(problem, "is no regular file");
	unlink(path);
}
END_TEST

static const struct {
	const char *line, *complaint;
} systems[] = {
	{ "sh", NULL },
	{ "/bin/sh", NULL },
	{ "nonexistent-program", "No such file in PATH" },
	{ "/nonexistent", "/nonexistent: No such file or directory" },
	{ "/etc/passwd", "/etc/passwd: it is not executable (mode 0644)" },
	{ "/", "/: it is a directory" },
	{ "--set env.PATH=/nonexistent sh", NULL }, /* that is for the worker */
	{ "--set cluster.directory=/bin ./sh", NULL },
	{ "--set cluster.directory=/etc ./sh", "command line: /etc/./sh: No such file or directory" },
	{ "--set cluster.directory=/etc ./passwd", "command line: /etc/./passwd: it is not executable (mode 0644)" },
	{ "--set cluster.directory=/etc --set ready.when=command --set ready.command=./no sh", "--set: /etc/./no: No such file" },
	{ "--set cluster.directory=/nonexistent sh", "/nonexistent: No such file" },
	{ "--set cluster.user=no-such-user sh", "no such user" },
	{ "--set cluster.group=no-such-group sh", "no such group" },
	{ "--set cluster.user=0 sh", "0: no such user; a name is needed" },
	{ "--set cluster.group=0 sh", NULL },
	{ "--set cluster.group=4294967294 sh", NULL },
	{ "--set cluster.group=4294967295 sh", "no such group" }, /* setresgid(2): leave it as it is */
	{ "--set control.group=4294967296 sh", "no such group" },
	{ "--set ready.when=command --set ready.command=/nonexistent sh", "/nonexistent: No such file" },
	{ "--set log.file=/etc sh", "[log] file: /etc: Is a directory" },
	{ "--set supervisor.pid_file=/etc sh", "[supervisor] pid_file: /etc: Is a directory" },
	{ "--set log.file=/dev/null sh", NULL },
};

START_TEST(system_is_looked_at)
{
	int complaints;

	ck_assert_int_eq(load(systems[_i].line), 0);
	complaints = verify_system(&config, hear, NULL);
	ck_assert_msg(complaints == (systems[_i].complaint != NULL), "%s", told);
	if (systems[_i].complaint)
		ck_assert_msg(strstr(told, systems[_i].complaint) != NULL, "%s", told);
}
END_TEST

/* A flag that stands for a key names one that exists, and every option has a help. */
START_TEST(table_is_sound)
{
	for (size_t i = 0; i < OPTIONS_MAX; i++) {
		const struct option_row *row = &option_rows[i];

		if (*row->key)
			ck_assert_msg(key_find(row->key) != NULL, "%s", row->key);
		else
			ck_assert_msg(*row->help != '\0', "%s", row->name);
	}
}
END_TEST

static void print_help(bool all, char *text, size_t size)
{
	FILE *out = fmemopen(text, size, "w");

	ck_assert_ptr_nonnull(out);
	(all ? help_long : help_short)(out);
	ck_assert_int_lt(ftell(out), (long)size - 1);
	fclose(out);
}

START_TEST(help_names_everything)
{
	static char text[32768];
	const char *eol;

	print_help(false, text, sizeof(text));
	for (size_t i = 0; i < OPTIONS_MAX; i++)
		ck_assert_msg(strstr(text, option_rows[i].name) != NULL, "%s", option_rows[i].name);
	print_help(true, text, sizeof(text));
	for (size_t i = 0; i < KEYS_MAX; i++)
		ck_assert_msg(strstr(text, keys[i].name) != NULL, "%s", keys[i].name);
	for (const char *p = text; (eol = strchr(p, '\n')); p = eol + 1)
		ck_assert_int_le(eol - p, 100);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, NULL, teardown);
	tcase_add_loop_test(tests, wrong_usage_is_named, 0, COUNT(usage));
	tcase_add_test(tests, program_ends_the_options);
	tcase_add_loop_test(tests, line_makes_a_policy, 0, COUNT(rows));
	tcase_add_test(tests, flags_of_listeners_reach_all);
	tcase_add_test(tests, layers_have_an_order);
	tcase_add_test(tests, listen_no_of_the_file_is_for_its_own_listeners);
	tcase_add_test(tests, odd_files_are_refused);
	tcase_add_loop_test(tests, system_is_looked_at, 0, COUNT(systems));
	tcase_add_test(tests, table_is_sound);
	tcase_add_test(tests, help_names_everything);
}

int main(void)
{
	return run_suite("cli/options", add_tests);
}
