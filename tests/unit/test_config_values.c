/* Each type of value: what may be written, what it means, and how it is written back. */
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "config/keys.h"
#include "config/signals.h"
#include "config/words.h"
#include "tests/unit/suite.h"

static struct policy policy, before;

static const struct row {
	const char *key, *text, *back; /* back: as it is written again; NULL: refused */
} rows[] = {
	{ "cluster.workers", "auto", "auto" },
	{ "cluster.workers", "1", "1" },
	{ "cluster.workers", "16384", "16384" },
	{ "cluster.workers", "16385", NULL },
	{ "cluster.workers", "0", NULL },
	{ "cluster.workers", "-1", NULL },
	{ "cluster.workers", "4x", NULL },
	{ "cluster.workers", "", NULL },
	{ "cluster.workers", "99999999999999999999", NULL },
	{ "cluster.workers", "18446744073709551620", NULL }, /* 2^64 + 4 */
	{ "restart.burst", "none", "none" },
	{ "restart.burst", "64", "64" },
	{ "restart.burst", "65", NULL },
	{ "restart.delay", "0", "0" },
	{ "restart.delay", "250ms", "250ms" },
	{ "restart.delay", "1500ms", "1s500ms" },
	{ "restart.delay", "60s", "1m" },
	{ "restart.delay", "1h", "1h" },
	{ "restart.delay", "59m59s999ms", "59m59s999ms" },
	{ "restart.delay", "1h1ms", NULL },
	{ "restart.delay", "5", NULL },
	{ "restart.delay", "5 s", NULL },
	{ "restart.delay", "s", NULL },
	{ "restart.delay", "", NULL },
	{ "restart.delay", "1s1m", NULL },
	{ "restart.delay", "1s1s", NULL },
	{ "restart.delay", "-1s", NULL },
	{ "restart.delay", "18446744073709551615s", NULL },
	{ "recycle.max_lifetime", "365d", "365d" },
	{ "restart.window", "0", NULL },
	{ "recycle.max_rss", "0", "0" },
	{ "recycle.max_rss", "512K", "512K" },
	{ "recycle.max_rss", "1024K", "1M" },
	{ "recycle.max_rss", "2G", "2G" },
	{ "recycle.max_rss", "1T", "1T" },
	{ "recycle.max_rss", "1000", "1000" },
	{ "recycle.max_rss", "1KB", NULL },
	{ "recycle.max_rss", "8388608T", NULL },
	{ "recycle.max_rss", "16777216T", NULL },
	{ "log.tail", "64K", "64K" },
	{ "log.tail", "65537", NULL },
	{ "recycle.jitter", "10%", "10%" },
	{ "recycle.jitter", "10", "10%" },
	{ "recycle.jitter", "51%", NULL },
	{ "recycle.jitter", "%", NULL },
	{ "cluster.umask", "", "" },
	{ "cluster.umask", "022", "0022" },
	{ "cluster.umask", "0777", "0777" },
	{ "cluster.umask", "1000", NULL },
	{ "cluster.umask", "8", NULL },
	{ "cluster.nice", "", "" },
	{ "cluster.nice", "-20", "-20" },
	{ "cluster.nice", "19", "19" },
	{ "cluster.nice", "20", NULL },
	{ "cluster.nice", "-21", NULL },
	{ "cluster.nice", "-", NULL },
	{ "limit.nofile", "", "" },
	{ "limit.nofile", "65536", "65536" },
	{ "limit.nofile", "1024:65536", "1024:65536" },
	{ "limit.core", "0:infinity", "0:infinity" },
	{ "limit.as", "2G", "2147483648" },
	{ "limit.core", "infinity", "infinity" },
	{ "limit.nofile", "9223372036854775807", "9223372036854775807" },
	{ "limit.nofile", "9223372036854775808", NULL },
	{ "limit.nofile", "2:1", NULL },
	{ "limit.nofile", "1:", NULL },
	{ "limit.nofile", ":1", NULL },
	{ "limit.nofile", "infinityx", NULL },
	{ "stop.signal", "SIGTERM", "SIGTERM" },
	{ "stop.signal", "QUIT", "SIGQUIT" },
	{ "stop.signal", "15", "SIGTERM" },
	{ "stop.signal", "SIGRTMIN+3", "SIGRTMIN+3" },
	{ "stop.signal", "RTMAX", "SIGRTMIN+30" },
	{ "stop.signal", "0", NULL },
	{ "stop.signal", "65", NULL },
	{ "stop.signal", "SIGRTMIN+31", NULL },
	{ "stop.signal", "SIGRTMIN-1", NULL },
	{ "stop.signal", "term", NULL },
	{ "stop.kill", "process", "process" },
	{ "stop.kill", "proces", NULL },
	{ "cluster.no_new_privs", "yes", "yes" },
	{ "cluster.no_new_privs", "off", "no" },
	{ "cluster.no_new_privs", "true", "yes" },
	{ "cluster.no_new_privs", "maybe", NULL },
	{ "cluster.activation", "systemd", "systemd" },
	{ "cluster.activation", "puma systemd", "systemd puma" },
	{ "cluster.activation", "", "" },
	{ "cluster.activation", "systemd apache", NULL },
	{ "cluster.name", "web", "web" },
	{ "cluster.name", "a/b", NULL },
	{ "cluster.name", "..", NULL },
	{ "cluster.name", "-n", NULL },
	{ "cluster.name", "a b", NULL },
	{ "cluster.directory", "/srv/my app", "'/srv/my app'" },
	{ "cluster.directory", "'/srv/a ; b'", "$'/srv/a \\x3b b'" },
	{ "cluster.directory", "\"/srv\"x", "/srvx" },
	{ "cluster.directory", "\"/srv\" x", NULL },
	{ "cluster.directory", "/srv # x", NULL },
	{ "cluster.directory", "$'a\\nb'", NULL },
	{ "cluster.command", "./app -p 80", "./app -p 80" },
	{ "cluster.command", "", "" },
	{ "cluster.command", "sh -c 'exec a; b'", "sh -c $'exec a\\x3b b'" },
	{ "cluster.command", "a \"b \\\" \\$ \\x\" c\\ d", "a $'b \" $ \\x5cx' 'c d'" },
	{ "cluster.command", "'' a''b \"\"", "'' ab ''" },
	{ "cluster.command", "$'\\t\\e\\x41\\''", "$'\\x09\\x1bA\\x27'" },
	{ "cluster.command", "a 'b", NULL },
	{ "cluster.command", "a \"b", NULL },
	{ "cluster.command", "a \\", NULL },
	{ "cluster.command", "a # b", NULL },
	{ "cluster.command", "a#b", "'a#b'" },
	{ "cluster.command", "$'\\x00'", NULL },
	{ "cluster.command", "$'\\q'", NULL },
	{ "cluster.command", "$HOME `x` *", "'$HOME' '`x`' *" },
	{ "ready.when", "http /ready", "http /ready" },
	{ "ready.when", "fd", "fd" },
	{ "ready.when", "http", NULL },
	{ "ready.when", "http ready", NULL },
	{ "ready.when", "soon", NULL },
	{ "metrics.listen", "off", "off" },
	{ "metrics.listen", "127.0.0.1:9100", "127.0.0.1:9100" },
	{ "metrics.listen", "9100x", NULL },
};

START_TEST(value_is_read_and_written)
{
	const struct row *row = &rows[_i];
	char problem[PROBLEM_TEXT_MAX] = "", text[VALUE_TEXT_MAX];

	policy_defaults(&policy);
	memcpy(&before, &policy, sizeof(policy));
	if (!row->back) {
		ck_assert_int_eq(key_set(&policy, row->key, row->text, problem), -1);
		ck_assert_str_ne(problem, "");
		ck_assert_mem_eq(&policy, &before, sizeof(policy));
		return;
	}
	ck_assert_msg(key_set(&policy, row->key, row->text, problem) == 0, "%s = %s: %s", row->key,
		      row->text, problem);
	key_text(key_find(row->key), &policy, text, sizeof(text));
	ck_assert_str_eq(text, row->back);
	memcpy(&before, &policy, sizeof(policy));
	ck_assert_int_eq(key_set(&policy, row->key, text, problem), 0);
	ck_assert_mem_eq(&policy, &before, sizeof(policy));
}
END_TEST

START_TEST(range_is_told_in_the_form_of_the_key)
{
	char problem[PROBLEM_TEXT_MAX];

	policy_defaults(&policy);
	ck_assert_int_eq(key_set(&policy, "health.interval", "1ms", problem), -1);
	ck_assert_str_eq(problem, "out of range; it can be 100ms to 1d");
	ck_assert_int_eq(key_set(&policy, "cluster.workers", "0", problem), -1);
	ck_assert_str_eq(problem, "out of range; it can be 1 to 16384, or auto");
	ck_assert_int_eq(key_set(&policy, "no.key", "0", problem), -1);
	ck_assert_int_eq(key_set(&policy, "listen.backlog", "1", problem), -1);
}
END_TEST

START_TEST(limits_are_those_of_the_table)
{
	ck_assert_int_eq(key_find("cluster.workers")->max, WORKERS_MAX);
	ck_assert_int_eq(key_find("restart.burst")->max, BURST_MAX);
	ck_assert_int_eq(key_find("restart.cluster_burst")->max, CLUSTER_BURST_MAX);
}
END_TEST

START_TEST(every_fallback_parses)
{
	_Alignas(max_align_t) static char field[sizeof(struct words)];
	char problem[PROBLEM_TEXT_MAX];

	for (size_t i = 0; i < KEYS_MAX; i++)
		ck_assert_msg(keys[i].type->parse(&keys[i], keys[i].fallback, field, problem) == 0,
			      "%s.%s: %s", keys[i].section, keys[i].name, problem);
	for (size_t i = 0; i < LISTEN_KEYS_MAX; i++)
		ck_assert_int_eq(listen_keys[i].type->parse(&listen_keys[i], listen_keys[i].fallback,
							    field, problem), 0);
}
END_TEST

/* Whatever was there before. */
START_TEST(defaults_leave_nothing_behind)
{
	static struct policy clean, used;

	policy_defaults(&clean);
	memset(&used, 0xff, sizeof(used));
	policy_defaults(&used);
	ck_assert_mem_eq(&clean, &used, sizeof(used));
}
END_TEST

/* A word stands for the value of its enum, and not for the one beside it. */
static const struct {
	const char *key, *word;
	int value;
} choices[] = {
	{ "restart.when", "always", RESTART_ALWAYS },
	{ "restart.when", "on-failure", RESTART_ON_FAILURE },
	{ "restart.when", "on-abnormal", RESTART_ON_ABNORMAL },
	{ "restart.when", "never", RESTART_NEVER },
	{ "restart.give_up", "hold", GIVE_UP_HOLD },
	{ "restart.give_up", "retire", GIVE_UP_RETIRE },
	{ "restart.give_up", "exit", GIVE_UP_EXIT },
	{ "stop.kill", "group", SCOPE_GROUP },
	{ "stop.kill", "process", SCOPE_PROCESS },
	{ "roll.on_failure", "rollback", ON_FAILURE_ROLLBACK },
	{ "roll.on_failure", "stop", ON_FAILURE_STOP },
	{ "log.format", "text", LOG_FORMAT_TEXT },
	{ "log.format", "logfmt", LOG_FORMAT_LOGFMT },
	{ "log.format", "json", LOG_FORMAT_JSON },
	{ "log.level", "error", LOG_LEVEL_ERROR },
	{ "log.level", "warn", LOG_LEVEL_WARN },
	{ "log.level", "info", LOG_LEVEL_INFO },
	{ "log.level", "debug", LOG_LEVEL_DEBUG },
	{ "log.output", "inherit", OUTPUT_INHERIT },
	{ "log.output", "capture", OUTPUT_CAPTURE },
	{ "log.overflow", "drop", OVERFLOW_DROP },
	{ "log.overflow", "block", OVERFLOW_BLOCK },
	{ "supervisor.over_max_old", "cut", OVER_MAX_OLD_CUT },
	{ "supervisor.over_max_old", "refuse", OVER_MAX_OLD_REFUSE },
	{ "supervisor.on_death", "stop", ON_DEATH_STOP },
	{ "supervisor.on_death", "keep", ON_DEATH_KEEP },
	{ "cluster.cpu", "any", CPU_ANY },
	{ "cluster.cpu", "pin", CPU_PIN },
	{ "listen.nonblock", "keep", NONBLOCK_KEEP },
	{ "listen.nonblock", "yes", NONBLOCK_YES },
	{ "listen.nonblock", "no", NONBLOCK_NO },
	{ "listen.balance", "shared", BALANCE_SHARED },
	{ "listen.balance", "hash", BALANCE_HASH },
	{ "listen.balance", "round-robin", BALANCE_ROUND_ROBIN },
	{ "listen.balance", "round-robin?", BALANCE_ROUND_ROBIN_OR_HASH },
	{ "exit.action", "respawn", EXIT_RESPAWN },
	{ "exit.action", "backoff", EXIT_BACKOFF },
	{ "exit.action", "retire", EXIT_RETIRE },
	{ "exit.action", "exit", EXIT_END },
};

START_TEST(words_stand_for_their_values)
{
	const struct key *key = key_find(choices[_i].key);
	char problem[PROBLEM_TEXT_MAX];
	int value = -1;

	ck_assert_ptr_nonnull(key);
	ck_assert_int_eq(key->type->parse(key, choices[_i].word, &value, problem), 0);
	ck_assert_int_eq(value, choices[_i].value);
}
END_TEST

START_TEST(signals_there_and_back)
{
	char text[SIGNAL_TEXT_MAX];

	for (int number = 1; number <= 64; number++)
		ck_assert_int_eq(signal_number(signal_name(number, text)), number);
	ck_assert_int_eq(signal_number(""), -1);
	ck_assert_int_eq(signal_number("SIG"), -1);
	ck_assert_int_eq(signal_number("SIGRTMIN+"), -1);
	ck_assert_int_eq(signal_number("0"), -1);
	ck_assert_int_eq(signal_number("64"), 64);
	ck_assert_int_eq(signal_number("65"), -1);
	ck_assert_int_eq(signal_number("RTMIN+30"), 64);
	ck_assert_int_eq(signal_number("RTMIN+31"), -1);
	ck_assert_int_eq(signal_number("RTMAX-30"), 34);
	ck_assert_int_eq(signal_number("RTMAX-31"), -1);
	ck_assert_int_eq(signal_number("RTMAX+1"), -1);
}
END_TEST

/* Any bytes as words survive quoting and splitting. */
START_TEST(words_there_and_back)
{
	static struct words words, again;
	static char text[VALUE_TEXT_MAX];
	const char *problem;

	srand((unsigned)_i);
	memset(&words, 0, sizeof(words));
	for (int n = rand() % 20; n > 0; n--) {
		char word[400];
		int length = rand() % (rand() % 8 == 0 ? 399 : 9), span = rand() % 2 ? 255 : 127;

		for (int i = 0; i < length; i++)
			word[i] = (char)(1 + rand() % span);
		word[length] = '\0';
		words_append(&words, word);
	}
	memcpy(&policy.cluster_command, &words, sizeof(words));
	key_text(key_find("cluster.command"), &policy, text, sizeof(text));
	ck_assert_msg(words_parse(text, &again, &problem) == 0, "%s: %s", text, problem);
	ck_assert_mem_eq(&words, &again, sizeof(words));
}
END_TEST

START_TEST(words_have_limits)
{
	static char text[WORDS_TEXT_MAX + 10], word[WORDS_TEXT_MAX];
	static struct words words, untouched;
	const char *problem = NULL;

	memset(text, 'x', WORDS_TEXT_MAX - 1);
	ck_assert_int_eq(words_parse(text, &words, &problem), 0);
	ck_assert_int_eq(words.size, WORDS_TEXT_MAX);
	text[WORDS_TEXT_MAX - 1] = 'x';
	ck_assert_int_eq(words_parse(text, &words, &problem), -1);
	ck_assert_str_eq(problem, "too long");
	for (int i = 0; i < WORDS_MAX; i++)
		memcpy(text + i * 2, "x ", 3);
	ck_assert_int_eq(words_parse(text, &words, &problem), 0);
	ck_assert_int_eq(words.count, WORDS_MAX);
	ck_assert_int_eq(words_append(&words, "x"), -1);
	memcpy(text + WORDS_MAX * 2, "x", 2);
	memcpy(&untouched, &words, sizeof(words));
	ck_assert_int_eq(words_parse(text, &words, &problem), -1);
	ck_assert_mem_eq(&words, &untouched, sizeof(words));
	memset(&words, 0, sizeof(words));
	memset(word, 'y', sizeof(word) - 1);
	ck_assert_int_eq(words_append(&words, word), 0);
	ck_assert_int_eq(words_append(&words, ""), -1);
}
END_TEST

static const struct {
	const char *given, *known, *best;
} near[] = {
	{ "brust", "burst", "burst" },	   { "burs", "burst", "burst" },
	{ "bursts", "burst", "burst" },	   { "bxrxt", "burst", "burst" },
	{ "bxxxt", "burst", NULL },	   { "ab", "xy", NULL },
	{ "delaymax", "delay_max", "delay_max" }, { "", "x", NULL },
};

START_TEST(near_words_are_suggested)
{
	struct suggestion s = { .word = near[_i].given };

	suggest(&s, near[_i].known);
	if (near[_i].best)
		ck_assert_str_eq(s.best, near[_i].best);
	else
		ck_assert_ptr_null(s.best);
}
END_TEST

START_TEST(the_nearest_word_is_suggested)
{
	struct suggestion s = { .word = "brust" };

	suggest(&s, "bursts"); /* two swapped letters are one mistake */
	ck_assert_uint_eq(s.distance, 2);
	suggest(&s, "burst");
	ck_assert_uint_eq(s.distance, 1);
	suggest(&s, "trust");
	ck_assert_str_eq(s.best, "burst"); /* as near: the first one stays */
	suggest(&s, "bursts");
	ck_assert_str_eq(s.best, "burst");
}
END_TEST

static const struct {
	unsigned long long ms;
	const char *text;
} durations[] = {
	{ 0, "0" },	    { 1, "1ms" },	    { 1000, "1s" },
	{ 61000, "1m1s" },  { 90061000, "1d1h1m1s" }, { 3600000, "1h" },
};

START_TEST(durations_are_written)
{
	char text[32];

	ck_assert_int_eq(duration_format(durations[_i].ms, text, sizeof(text)),
			 (int)strlen(durations[_i].text));
	ck_assert_str_eq(text, durations[_i].text);
}
END_TEST

/* Two open files for each worker, and what a policy adds to that. */
static const struct files {
	enum output_mode output;
	enum ready_when ready;
	enum balance balance;
	bool adopt;
	uint32_t surge, listeners;
	uint64_t workers, files;
} files[] = {
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_SHARED, false, 0, 0, 0, 32 },
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_SHARED, false, 0, 0, 1, 32 + 2 },
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_SHARED, false, 1, 3, 10, 32 + 3 + 11 * 2 },
	{ OUTPUT_INHERIT, READY_FD, BALANCE_SHARED, false, 0, 1, 10, 32 + 1 + 10 * 3 },
	{ OUTPUT_CAPTURE, READY_AUTO, BALANCE_SHARED, false, 1, 1, 10, 64 + 1 + 11 * 4 },
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_HASH, false, 1, 2, 10, 32 + 2 + 11 * 4 },
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_ROUND_ROBIN, false, 0, 1, 10, 32 + 1 + 10 * 3 },
	{ OUTPUT_INHERIT, READY_AUTO, BALANCE_SHARED, true, 0, 1, 10, 32 + 1 + 10 * 3 },
	{ OUTPUT_CAPTURE, READY_FD, BALANCE_HASH, true, 100, 16, 16384, 64 + 16 + 16484ULL * 37 },
};

START_TEST(files_are_counted)
{
	const struct files *row = &files[_i];

	memset(&policy, 0, sizeof(policy));
	policy.log_output = row->output;
	policy.ready_when.when = row->ready;
	policy.roll_surge = row->surge;
	policy.listener_count = row->listeners;
	for (uint32_t i = 0; i < row->listeners; i++) {
		policy.listeners[i].balance = row->balance;
		policy.listeners[i].adopt = row->adopt;
	}
	ck_assert_uint_eq(policy_files(&policy, (uint32_t)row->workers), row->files);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, value_is_read_and_written, 0, COUNT(rows));
	tcase_add_test(tests, range_is_told_in_the_form_of_the_key);
	tcase_add_test(tests, limits_are_those_of_the_table);
	tcase_add_test(tests, every_fallback_parses);
	tcase_add_test(tests, defaults_leave_nothing_behind);
	tcase_add_loop_test(tests, words_stand_for_their_values, 0, COUNT(choices));
	tcase_add_test(tests, signals_there_and_back);
	tcase_add_loop_test(tests, words_there_and_back, 0, 300);
	tcase_add_test(tests, words_have_limits);
	tcase_add_loop_test(tests, near_words_are_suggested, 0, COUNT(near));
	tcase_add_test(tests, the_nearest_word_is_suggested);
	tcase_add_loop_test(tests, durations_are_written, 0, COUNT(durations));
	tcase_add_loop_test(tests, files_are_counted, 0, COUNT(files));
}

int main(void)
{
	return run_suite("config/values", add_tests);
}
