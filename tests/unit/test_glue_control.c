/* What the control socket answers, at once and later. */
#include "tests/unit/control_rig.c"

/* ---- what is answered ---- */

START_TEST(status_answer)
{
	s->end_count = 1;
	s->slots[1].slot.state = SLOT_BACKOFF;
	s->slots[1].slot.due_ms = sup_now_ms(s) + 60000;
	ask("status\n");
	HAS("{\"v\":1,\"kind\":\"cluster\",\"name\":\"web\",");
	HAS("\"kind\":\"listener\",\"name\":\"http\",\"address\":\"127.0.0.1:8080\"");
	HAS("\"kind\":\"slot\",\"slot\":0,\"state\":\"ready\",\"pid\":5000");
	HAS("\"kind\":\"slot\",\"slot\":1,\"state\":\"backoff\"");
	HAS("\"due_in_ms\":5");
	HAS("\"end\":\"SIGSEGV, core dumped\"");
	HAS("{\"v\":1,\"ok\":true,\"done\":true}\n");
	HAS_NOT("\"slot\":3,");
}
END_TEST

/* Every line is one object that begins the same, whatever the slots say. */
START_TEST(hostile_words_are_escaped)
{
	s->slots[0].status = "\033[31m\n{\"v\":1,\"ok\":true,\"done\":true}\n\377";
	ask("status\n");
	HAS("\\u001b[31m\\u000a{\\\"v\\\":1");
	HAS("\\ufffd");
	for (const char *at = answer; *at; at = strchr(at, '\n') + 1)
		ck_assert_int_eq(strncmp(at, "{\"v\":1,", 7), 0);
}
END_TEST

static const struct {
	const char *line, *has;
} rows[] = {
	{ "version\n", "\"version\":\"" },
	{ "config\n", "\"text\":\"[restart]\"" },
	{ "config\n", "\"text\":\"delay = 100ms\"" },
	{ "check\n", "\"ok\":true" },
	{ "ends\n", "\"ok\":true" },
	{ "why 0\n", "no worker of this slot has ended yet" },
	{ "why 9\n", "\"code\":64,\"error\":\"there is no slot 9; the last one is 2\",\"ok\":false" },
	{ "wait ready\n", "\"ready\":3,\"wanted\":3,\"ok\":true" },
	{ "wait forever\n", "\"code\":64" },
	{ "scale 3\n", "\"ok\":true" },
	{ "scale 0 --no-wait\n", "\"ok\":true" },
	{ "scale -3 --no-wait\n", "\"ok\":true" },
	{ "scale -4\n", "\"code\":64" },
	{ "scale 16385\n", "must then be 0 (paused) to 16384; it is 3 now" },
	{ "roll --no-wait\n", "\"ok\":true" },
	{ "reload\n", "\"ok\":true" },
	{ "drain 9\n", "\"code\":64" },
	{ "drain 0 --no-wait\n", "\"ok\":true" },
	{ "kill 9\n", "\"code\":64" },
	{ "signal HUP\n", "\"count\":3,\"ok\":true" },
	{ "signal SIGHUP 1\n", "\"count\":1,\"ok\":true" },
	{ "signal NOPE\n", "there is no such signal" },
	{ "reset\n", "\"ok\":true" },
	{ "reset 1\n", "\"ok\":true" },
	{ "reopen\n", "\"ok\":true" },
	{ "upgrade --no-wait\n", "\"ok\":true" },
	{ "events\n", "\"ok\":true" },
	{ "logs\n", "not captured" },
	{ "metrics\n", "# EOF\\u000a" },
	{ "stop --no-wait\n", "\"ok\":true" },
	{ "nonsense\n", "\"code\":64,\"error\":\"no such request\"" },
	{ "\n", "an empty request" },
	{ "status now\n", "too many arguments" },
};

START_TEST(each_request)
{
	ask(rows[_i].line);
	HAS(rows[_i].has);
}
END_TEST

START_TEST(requests_reach_the_core)
{
	ask("restart 1 --no-wait\n");
	ck_assert_int_eq((int)s->last.what, EV_ROLL);
	ck_assert_uint_eq(s->last.slot, 1);
	ck_assert_uint_eq(s->last.generation, 7);
	ask("drain all --no-wait\n");
	ck_assert_int_eq((int)s->last.what, EV_DRAIN);
	ck_assert_uint_eq(s->last.slot, ALL_SLOTS);
	ask("kill 2 --no-wait\n");
	ck_assert_int_eq((int)s->last.what, EV_KILL);
	ask("stop --now --no-wait\n");
	ck_assert_int_eq((int)s->last.what, EV_STOP);
	ck_assert(s->last.fast);
	ask("reset\n");
	ck_assert_int_eq((int)s->last.what, EV_RESET);
	ck_assert_uint_eq(s->requests, 5);
	ask("scale +2 --no-wait\n");
	ck_assert_uint_eq(s->view.pool.wanted, 5);
}
END_TEST

START_TEST(who_asked_is_logged)
{
	char expected[160];

	ask("status\n");
	ask("why 1\n");
	ask("reload --dry-run\n");
	ck_assert_str_eq(s->asked, "");
	ask("signal HUP 1\n");
	snprintf(expected, sizeof expected, "signal HUP 1 by %ld 1", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
	ask("stop --now --no-wait\n");
	snprintf(expected, sizeof expected, "stop --now by %ld 1", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
}
END_TEST

/* Else the line that tells who asked reads as if it had been done. */
START_TEST(what_was_refused_is_logged)
{
	char expected[160];

	ask("kill 9\n");
	snprintf(expected, sizeof expected, "kill 9 by %ld 1: refused: there is no slot 9; the last one is 2", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
	s->refuse = "a sentence";
	ask("roll\n");
	snprintf(expected, sizeof expected, "roll by %ld 1: refused: a sentence", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
	ask("why 9\n");
	ask("nonsense\n");
	ck_assert_str_eq(s->asked, expected);
	s->refuse = NULL;
	ask("roll --no-wait\n");
	snprintf(expected, sizeof expected, "roll by %ld 1", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
}
END_TEST

START_TEST(what_failed_later_is_logged)
{
	char expected[160];
	int fd = dial();

	s->view.pool.slots_max = 5;
	say(fd, "scale 5\n");
	for (int i = 0; i < 1000 && s->scales == 0; i++)
		turns(1);
	s->view.pool.wanted = 4;
	control_report(s->control, &(struct report){ .what = REPORT_READY, .slot = 4, .cookie = 1 });
	listen_for(fd, 1);
	snprintf(expected, sizeof expected, "scale 5 by %ld 1: failed: another request changed the number of workers", (long)getuid());
	ck_assert_str_eq(s->asked, expected);
	close(fd);
}
END_TEST

START_TEST(refusals_reach_the_client)
{
	s->refuse = "a sentence";
	ask("scale 4\n");
	HAS("\"code\":1,\"error\":\"a sentence\",\"ok\":false");
	ask("roll\n");
	HAS("a sentence");
	ask("upgrade\n");
	HAS("a sentence");
	s->note = "web.conf:3: what";
	ask("reload\n");
	HAS("\"kind\":\"note\",\"text\":\"web.conf:3: what\"");
	HAS("\"error\":\"nothing was changed\",\"ok\":false");
	ask("check\n");
	HAS("\"ok\":false");
}
END_TEST

START_TEST(ends_and_why)
{
	s->end_count = 3;
	ask("ends\n");
	HAS("\"kind\":\"end\",\"slot\":0,");
	HAS("\"slot\":2,");
	ask("ends 1 --last 2\n");
	HAS("\"pid\":4242");
	HAS("\"pid\":4241");
	HAS_NOT("\"pid\":4240");
	HAS_NOT("\"slot\":0,");
	ask("why 1\n");
	HAS("worker 1 (pid 4242) died: SIGSEGV, core dumped after 400ms; short life number 5 in a row "
	    "(under [restart] stable 10s), and [restart] delay 100ms doubles up to 30s, so the respawn "
	    "was due after 1.6s");
}
END_TEST

/* ---- answers that wait ---- */

/* A client that waits for roll 1 of three slots. */
static int begin_roll(void)
{
	const struct report report = { .what = REPORT_ROLL_BEGIN, .slot = ALL_SLOTS, .roll = 1, .count = 3 };
	int fd = dial();

	say(fd, "roll\n");
	for (int i = 0; i < 1000 && s->rolls == 0; i++)
		turns(1);
	control_report(s->control, &report);
	return fd;
}

START_TEST(roll_is_followed_to_its_end)
{
	struct report report;
	int fd = begin_roll();

	report = (struct report){ .what = REPORT_READY, .slot = 0, .cookie = 9, .ms = 210 };
	control_report(s->control, &report);
	report = (struct report){ .what = REPORT_ROLL_END, .slot = ALL_SLOTS, .roll = 7 };
	control_report(s->control, &report); /* of another roll */
	report = (struct report){ .what = REPORT_ROLL_SLOT, .slot = 2, .roll = 1, .cookie = 9,
				  .ok = false, .count = 2 };
	s->slots[2].last_line = "Error: Cannot find module";
	control_report(s->control, &report);
	report = (struct report){ .what = REPORT_ROLL_END, .slot = ALL_SLOTS, .roll = 1, .ms = 400,
				  .verdict = VERDICT_ROLLED_BACK };
	control_report(s->control, &report);
	listen_for(fd, 1);
	HAS("\"what\":\"roll.begin\"");
	HAS("\"what\":\"worker.ready\",\"slot\":0,\"pid\":10009,\"ms\":210");
	HAS("\"code\":1,\"roll\":1,\"verdict\":\"rolled-back\",\"ms\":400,\"ready\":3,\"wanted\":3,"
	    "\"slot\":2,\"last_line\":\"Error: Cannot find module\",\"ok\":false,\"done\":true");
	close(fd);
}
END_TEST

START_TEST(a_roll_on_its_way_back)
{
	struct report report;
	int fd = begin_roll();

	report = (struct report){ .what = REPORT_ROLL_SLOT, .slot = 2, .roll = 1, .count = 2 };
	control_report(s->control, &report);
	report = (struct report){ .what = REPORT_ROLL_BACK, .slot = 2, .roll = 1, .generation = 4,
				  .count = 2, .ok = true };
	control_report(s->control, &report);
	report = (struct report){ .what = REPORT_ROLL_SLOT, .slot = 1, .roll = 1, .count = 1 };
	control_report(s->control, &report);
	report = (struct report){ .what = REPORT_ROLL_END, .slot = ALL_SLOTS, .roll = 1,
				  .verdict = VERDICT_ROLLED_BACK };
	control_report(s->control, &report);
	listen_for(fd, 1);
	HAS("\"what\":\"roll.back\",\"slot\":2,\"ms\":0,\"roll\":1,\"generation\":4,\"ok\":true,\"tries\":2");
	/* What failed is the new program, in slot 2. */
	HAS("\"verdict\":\"rolled-back\",\"ms\":0,\"ready\":3,\"wanted\":3,\"slot\":2,");
	close(fd);
}
END_TEST

START_TEST(scale_waits_for_readiness)
{
	int fd = dial();
	char byte;

	s->view.pool.slots_max = 5;
	s->view.pool.ready = 3;
	say(fd, "scale 5\n");
	for (int i = 0; i < 1000 && s->scales == 0; i++)
		turns(1);
	turns(10);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), -1); /* not yet */
	s->view.pool.ready = 5;
	control_report(s->control, &(struct report){ .what = REPORT_READY, .slot = 4, .cookie = 1 });
	listen_for(fd, 1);
	HAS("\"ready\":5,\"wanted\":5,\"ok\":true");
	close(fd);
}
END_TEST

/* A thousand workers stop in one turn: the verdict must not be lost for what happens on the way. */
START_TEST(steps_that_come_too_fast_cost_no_verdict)
{
	int fd = dial();

	s->view.pool.slots_max = 5;
	s->view.pool.ready = 3;
	say(fd, "scale 5\n");
	for (int i = 0; i < 1000 && s->scales == 0; i++)
		turns(1);
	for (int i = 0; i < 10000; i++)
		control_report(s->control, &(struct report){ .what = REPORT_STOP, .slot = 9, .cookie = 1 });
	s->view.pool.ready = 5;
	control_report(s->control, &(struct report){ .what = REPORT_READY, .slot = 4, .cookie = 1 });
	listen_for(fd, 1);
	HAS("\"what\":\"worker.stop\",\"slot\":9");
	HAS(" steps are not shown: they came faster than they were read\"}\n");
	HAS("\"ready\":5,\"wanted\":5,\"ok\":true");
	close(fd);
}
END_TEST

START_TEST(stop_is_told_its_end)
{
	int stopper = dial(), roller = dial();

	say(stopper, "stop\n");
	say(roller, "roll\n");
	for (int i = 0; i < 1000 && (s->requests == 0 || s->rolls == 0); i++)
		turns(1);
	control_stop(s->control, 69);
	s->control = NULL;
	listen_for(stopper, 1);
	HAS("\"code\":0,\"status\":69,\"ok\":true,\"done\":true");
	listen_for(roller, 1);
	HAS("\"error\":\"the cluster has stopped\",\"ok\":false");
	close(stopper);
	close(roller);
}
END_TEST

START_TEST(upgrade_tells_to_connect_again)
{
	int fd = dial();

	say(fd, "upgrade\n");
	for (int i = 0; i < 1000 && s->upgrades == 0; i++)
		turns(1);
	control_reconnect(s->control);
	turns(3);
	listen_for(fd, 1);
	HAS("\"kind\":\"reconnect\"");
	HAS_NOT("done");
	close(fd);
	fd = dial();
	say(fd, "upgrade\n");
	for (int i = 0; i < 1000 && s->upgrades < 2; i++)
		turns(1);
	control_upgrade_failed(s->control, "no good");
	listen_for(fd, 1);
	HAS("\"error\":\"no good\",\"ok\":false");
	close(fd);
}
END_TEST

START_TEST(events_are_kept_and_followed)
{
	static const char first[] = "{\"v\":1,\"event\":\"first\"}\n";
	static const char second[] = "{\"v\":1,\"event\":\"second\"}\n";
	int fd;

	control_log_line(s->control, first, sizeof first - 1);
	ask("events\n");
	HAS("{\"v\":1,\"kind\":\"event\",\"event\":\"first\"}\n");
	fd = dial();
	say(fd, "events -f\n");
	ck_assert_int_gt(take(fd, answer, 100), 0);
	control_log_line(s->control, second, sizeof second - 1);
	answer[take(fd, answer, 200)] = '\0';
	HAS("second");
	close(fd);
	turns(5);
}
END_TEST

/* More than the ring holds: the newest are there, in order, and whole. */
START_TEST(ring_overflow)
{
	char line[128];
	const char *last;
	int previous = -1, value;

	for (int i = 0; i < 5000; i++)
		control_log_line(s->control, line,
		                 (size_t)snprintf(line, sizeof line, "{\"v\":1,\"n\":%d}\n", i));
	ask("events\n");
	last = answer;
	while ((last = strstr(last, "\"n\":")) != NULL) {
		value = atoi(last + 4);
		ck_assert(previous < 0 || value == previous + 1);
		previous = value;
		last++;
	}
	ck_assert_int_eq(previous, 4999);
}
END_TEST

START_TEST(logs_of_one_slot)
{
	s->policy.log_output = OUTPUT_CAPTURE;
	control_output_line(s->control, 0, false, "zero", 4);
	control_output_line(s->control, 1, true, "one\033", 4);
	ask("logs 1\n");
	HAS("\"slot\":1,\"stream\":\"stderr\",\"text\":\"one\\u001b\"");
	HAS_NOT("zero");
	ask("logs\n");
	HAS("zero");
}
END_TEST

/* The sender is who connected, also when it has gone without waiting for an answer. */
START_TEST(ack_of_einhorn)
{
	static const char ack[] = "{\"command\":\"worker:ack\",\"pid\":1}\n";
	int fd;

	ask(ack);
	HAS("\"ok\":true,\"done\":true}");
	fd = dial();
	say(fd, ack);
	close(fd);
	for (int i = 0; i < 1000 && s->acks < 2; i++)
		turns(1);
	ck_assert_uint_eq(s->acks, 2);
	s->refuse = "no";
	ask(ack);
	HAS("\"ok\":false");
	ck_assert_uint_eq(s->requests, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, status_answer);
	tcase_add_test(tests, ack_of_einhorn);
	tcase_add_test(tests, hostile_words_are_escaped);
	tcase_add_loop_test(tests, each_request, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tests, requests_reach_the_core);
	tcase_add_test(tests, who_asked_is_logged);
	tcase_add_test(tests, what_was_refused_is_logged);
	tcase_add_test(tests, what_failed_later_is_logged);
	tcase_add_test(tests, refusals_reach_the_client);
	tcase_add_test(tests, ends_and_why);
	tcase_add_test(tests, roll_is_followed_to_its_end);
	tcase_add_test(tests, a_roll_on_its_way_back);
	tcase_add_test(tests, scale_waits_for_readiness);
	tcase_add_test(tests, steps_that_come_too_fast_cost_no_verdict);
	tcase_add_test(tests, stop_is_told_its_end);
	tcase_add_test(tests, upgrade_tells_to_connect_again);
	tcase_add_test(tests, events_are_kept_and_followed);
	tcase_add_test(tests, ring_overflow);
	tcase_add_test(tests, logs_of_one_slot);
}

int main(void)
{
	return run_suite("glue/control", add_tests);
}
