/* The OpenMetrics text and its HTTP door, with a double of the supervisor behind them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake_supervisor.c"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 8000, ANSWER_MAX = 1 << 22 };

static struct supervisor *s;
static char answer[ANSWER_MAX];
static uint16_t port;

static void begin(uint32_t slots)
{
	char problem[METRICS_PROBLEM_MAX] = "";
	const char *why;
	struct sockaddr_in sa;
	socklen_t size = sizeof sa;

	s = fake_create(slots);
	ck_assert_int_eq(address_parse("127.0.0.1:0", &s->policy.metrics_listen, &why), 0);
	ck_assert_msg(metrics_start(s, &s->policy, -1, &s->metrics, problem) == 0, "%s", problem);
	ck_assert_int_eq(getsockname(metrics_fd(s->metrics), (struct sockaddr *)&sa, &size), 0);
	port = ntohs(sa.sin_port);
}

static void setup(void)
{
	begin(3);
}

static void teardown(void)
{
	fake_destroy(s);
}

static int dial(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static void turns(int count)
{
	while (count-- > 0)
		uv_run(&s->loop, UV_RUN_NOWAIT);
}

/* Reads to the end of the connection, which must not be a reset. */
static const char *finish(int fd)
{
	uint64_t end = sup_now_ms(s) + DEADLINE_MS;
	size_t used = 0;

	for (;;) {
		ssize_t n = recv(fd, answer + used, ANSWER_MAX - 1 - used, MSG_DONTWAIT);

		if (n == 0)
			break;
		ck_assert(n > 0 || errno == EAGAIN);
		used += n > 0 ? (size_t)n : 0;
		ck_assert_msg(sup_now_ms(s) < end, "no answer in time");
		turns(1);
		if (n < 0)
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1);
	}
	answer[used] = '\0';
	close(fd);
	return answer;
}

static const char *get(const char *request)
{
	int fd = dial();

	ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	return finish(fd);
}

#define HAS(text) ck_assert_msg(strstr(answer, text) != NULL, "no %s in: %.900s", text, answer)
#define HAS_NOT(text) ck_assert_msg(strstr(answer, text) == NULL, "%s in: %.900s", text, answer)

static const struct {
	const char *request, *has;
} rows[] = {
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n" },
	{ "GET /metrics?x=1 HTTP/1.1\r\n\r\n", "# EOF\n" },
	{ "GET /metrics HTTP/1.0\n\n", "version=1.0.0; charset=utf-8" },
	{ "GET /healthz HTTP/1.1\r\n\r\n", "\r\n\r\nok\n" },
	{ "GET /readyz HTTP/1.1\r\n\r\n", "3 of 3 ready" },
	{ "HEAD /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK" },
	{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 " },
	{ "GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 " },
	{ "GET /metrics\n", "# EOF\n" },
	{ "POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 " },
	{ "\r\n", "HTTP/1.1 405 " },
};

START_TEST(each_request)
{
	get(rows[_i].request);
	HAS(rows[_i].has);
}
END_TEST

/* The method of three letters that is not GET. */
START_TEST(a_refusal_has_no_metrics)
{
	get("PUT /metrics HTTP/1.1\r\n\r\n");
	HAS("HTTP/1.1 405 ");
	HAS_NOT("# EOF\n");
}
END_TEST

START_TEST(head_has_no_body)
{
	static const char *const paths[] = { "/metrics", "/healthz", "/readyz", "/none" };

	for (size_t i = 0; i < 4; i++) {
		char request[64];

		snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\n\r\n", paths[i]);
		get(request);
		ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	}
}
END_TEST

/* 0 of 0: a proxy that was told "ready" would go on sending requests that nobody answers. */
START_TEST(paused_is_not_ready)
{
	s->view.pool.wanted = s->view.pool.ready = 0;
	get("GET /readyz HTTP/1.1\r\n\r\n");
	HAS("HTTP/1.1 503 ");
	HAS("\r\n\r\npaused, 0 of 0 ready\n");
}
END_TEST

START_TEST(not_ready)
{
	s->view.pool.ready = 2;
	get("GET /readyz HTTP/1.1\r\n\r\n");
	HAS("HTTP/1.1 503 ");
	HAS("2 of 3 ready");
	get("GET /healthz HTTP/1.1\r\n\r\n");
	HAS("HTTP/1.1 200 ");
}
END_TEST

/* OpenMetrics 1.0: families not interleaved, TYPE before samples, UNIT a suffix, one EOF. */
START_TEST(text_is_well_formed)
{
	char family[128] = "", seen[8192] = "";
	char *body, *line;

	get("GET /metrics HTTP/1.1\r\n\r\n");
	body = strstr(answer, "\r\n\r\n") + 4;
	ck_assert_str_eq(body + strlen(body) - 6, "# EOF\n");
	body[strlen(body) - 6] = '\0';
	for (line = strtok(body, "\n"); line; line = strtok(NULL, "\n")) {
		char name[128], unit[32];

		if (sscanf(line, "# TYPE %127s", name) == 1) {
			snprintf(family, sizeof family, "%s", name);
			strcat(name, " ");
			ck_assert_msg(strstr(seen, name) == NULL, "%s twice", name);
			strcat(seen, name);
		} else if (sscanf(line, "# UNIT %127s %31s", name, unit) == 2) {
			ck_assert_str_eq(name, family);
			ck_assert_str_eq(name + strlen(name) - strlen(unit), unit);
		} else if (line[0] != '#') {
			ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s in %s", line,
			              family);
			ck_assert_ptr_nonnull(strrchr(line, ' '));
		}
	}
}
END_TEST

static void report(struct report r)
{
	metrics_report(s->metrics, &r);
}

START_TEST(reports_are_counted)
{
	report((struct report){ .what = REPORT_READY, .slot = 1, .cookie = 4, .ms = 30 });
	report((struct report){ .what = REPORT_READY, .slot = 2, .cookie = 5, .ms = 90000 });
	report((struct report){ .what = REPORT_EXIT, .slot = 1, .cookie = 4, .cause = END_SELF,
				.why = WHY_BACKOFF });
	report((struct report){ .what = REPORT_READY, .slot = 1, .cookie = 6, .ms = 30 });
	report((struct report){ .what = REPORT_STOP, .slot = 2, .cookie = 5 });
	report((struct report){ .what = REPORT_EXIT, .slot = 2, .cookie = 5, .cause = END_ROLL,
				.why = WHY_ASKED, .asked = true });
	report((struct report){ .what = REPORT_SPAWN_ERROR, .slot = 0, .why = WHY_SPAWN });
	report((struct report){ .what = REPORT_ROLL_END, .verdict = VERDICT_ROLLED_BACK });
	metrics_reload(s->metrics, true);
	metrics_reload(s->metrics, false);
	get("GET /metrics HTTP/1.1\r\n\r\n");
	HAS("clusterd_worker_exits_total{cause=\"self\",asked=\"no\"} 1\n");
	HAS("clusterd_worker_exits_total{cause=\"roll\",asked=\"yes\"} 1\n");
	HAS("clusterd_worker_exits_total{cause=\"kill\",asked=\"no\"} 0\n");
	HAS("clusterd_decisions_total{why=\"backoff\"} 1\n");
	HAS("clusterd_decisions_total{why=\"spawn\"} 1\n");
	HAS("clusterd_ready_seconds_bucket{le=\"0.025\"} 0\n");
	HAS("clusterd_ready_seconds_bucket{le=\"0.050\"} 2\n");
	HAS("clusterd_ready_seconds_bucket{le=\"60.000\"} 2\n");
	HAS("clusterd_ready_seconds_bucket{le=\"+Inf\"} 3\n");
	HAS("clusterd_ready_seconds_count 3\nclusterd_ready_seconds_sum 90.060\n");
	HAS("clusterd_respawn_seconds_count 1\n");
	HAS("clusterd_drain_seconds_count 1\n");
	HAS("clusterd_spawn_errors_total 1\n");
	HAS("clusterd_rolls_total{verdict=\"rolled-back\"} 1\n");
	HAS("clusterd_reloads_total{result=\"ok\"} 1\n");
	HAS("clusterd_reloads_total{result=\"refused\"} 1\n");
	HAS("clusterd_worker_resident_memory_bytes{slot=\"2\"} 49152000\n");
	HAS("clusterd_workers{state=\"ready\"} 3\n");
	HAS("clusterd_listen_backlog_limit{listener=\"http\"} 4096\n");
	HAS("clusterd_worker_state{slot=\"0\",clusterd_worker_state=\"ready\"} 1\n");
}
END_TEST

START_TEST(big_text_is_whole)
{
	unsigned count = 0;

	fake_destroy(s);
	begin(FAKE_SLOTS_MAX - 1);
	get("GET /metrics HTTP/1.1\r\n\r\n");
	for (const char *at = answer; (at = strstr(at, "\nclusterd_worker_starts_total{")); at++)
		count++;
	ck_assert_uint_eq(count, FAKE_SLOTS_MAX - 1);
	HAS("# EOF\n");
}
END_TEST

/* M12: who sends without end, or never, is bounded; others are served meanwhile. */
START_TEST(hostile_clients)
{
	static char junk[65536];
	struct rusage before, after;
	int fds[200];
	size_t sent = 0;
	int fd = dial();

	getrusage(RUSAGE_SELF, &before);
	memset(junk, 'x', sizeof junk);
	for (int i = 0; i < 10000 && sent < 10000000; i++) {
		ssize_t n = send(fd, junk, sizeof junk, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		turns(1);
	}
	close(fd);
	for (int i = 0; i < 200; i++) {
		fds[i] = dial();
		send(fds[i], "GET", 3, MSG_NOSIGNAL);
		turns(2);
	}
	get("GET /healthz HTTP/1.1\r\n\r\n");
	HAS("ok\n");
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 8192); /* KiB; 10 MB were sent */
	for (int i = 0; i < 200; i++)
		close(fds[i]);
}
END_TEST

/* Headers larger than what is read: the answer arrives all the same, without a reset. */
START_TEST(big_header)
{
	static char request[20000];
	int fd = dial();

	strcpy(request, "GET /healthz HTTP/1.1\r\nX: ");
	memset(request + strlen(request), 'x', sizeof request - 100);
	strcpy(request + sizeof request - 20, "\r\n\r\n");
	ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	finish(fd);
	HAS("ok\n");
}
END_TEST

START_TEST(long_line_is_refused)
{
	char request[2000];

	memset(request, 'G', sizeof request);
	request[sizeof request - 1] = '\0';
	get(request);
	HAS("HTTP/1.1 414 ");
}
END_TEST

START_TEST(silent_client_is_dropped)
{
	uint64_t start = sup_now_ms(s);

	finish(dial());
	ck_assert_uint_ge(sup_now_ms(s) - start, METRICS_IDLE_MS - 100);
}
END_TEST

START_TEST(only_private_addresses)
{
	static const struct {
		const char *text;
		bool ok;
	} addresses[] = {
		{ "127.0.0.1:0", true }, { "127.9.9.9:0", true }, { "[::1]:0", true },
		{ "*:0", false },        { "0.0.0.0:0", false },  { "[::]:0", false },
		{ "192.0.2.1:0", false },
	};
	char problem[METRICS_PROBLEM_MAX];
	const char *why;

	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		struct metrics *metrics = NULL;
		int r;

		ck_assert_int_eq(address_parse(addresses[i].text, &s->policy.metrics_listen, &why), 0);
		r = metrics_start(s, &s->policy, -1, &metrics, problem);
		if (addresses[i].ok)
			ck_assert(r == 0 || r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT);
		else
			ck_assert_int_eq(r, -EPERM);
		metrics_stop(metrics);
		turns(2);
	}
}
END_TEST

START_TEST(off_still_counts)
{
	struct metrics *metrics;
	struct metrics_place place = { 0 };
	char problem[METRICS_PROBLEM_MAX];

	s->policy.metrics_listen.kind = ADDRESS_OFF;
	ck_assert_int_eq(metrics_start(s, &s->policy, -1, &metrics, problem), 0);
	ck_assert_int_eq(metrics_fd(metrics), -1);
	ck_assert_uint_gt(metrics_text(metrics, &place, answer, METRICS_PART), 0);
	metrics_stop(metrics);
	metrics_report(NULL, &(struct report){ .what = REPORT_READY });
	ck_assert_uint_eq(metrics_text(NULL, &place, answer, METRICS_PART), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, each_request, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tests, a_refusal_has_no_metrics);
	tcase_add_test(tests, head_has_no_body);
	tcase_add_test(tests, paused_is_not_ready);
	tcase_add_test(tests, not_ready);
	tcase_add_test(tests, text_is_well_formed);
	tcase_add_test(tests, reports_are_counted);
	tcase_add_test(tests, big_text_is_whole);
	tcase_add_test(tests, hostile_clients);
	tcase_add_test(tests, big_header);
	tcase_add_test(tests, long_line_is_refused);
	tcase_add_test(tests, silent_client_is_dropped);
	tcase_add_test(tests, only_private_addresses);
	tcase_add_test(tests, off_still_counts);
}

int main(void)
{
	return run_suite("glue/metrics", add_tests);
}
