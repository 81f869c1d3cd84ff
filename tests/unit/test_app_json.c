/*
 * JSON in, JSON out: what is echoed, what is refused and with which words.
 * Also the parts that answers are made of: replies, routes and REDIS_URL.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/app/json.h"
#include "cmd/app/redis_url.h"
#include "cmd/app/route.h"
#include "tests/unit/suite.h"

static const struct {
	const char *text;
	const char *result; /* the document, or the complaint */
	unsigned status;
	size_t size; /* 0: strlen(text) */
} rows[] = {
	{ "{}", "{}", 0, 0 },
	{ " { \"b\" : 1 ,\t\"a\":[ true,false , null ] }\r\n", "{\"b\":1,\"a\":[true,false,null]}",
	  0, 0 },
	{ "1", "1", 0, 0 },
	{ "\"x\"", "\"x\"", 0, 0 },
	{ "null", "null", 0, 0 },
	{ "[9223372036854775807,-9223372036854775808]",
	  "[9223372036854775807,-9223372036854775808]", 0, 0 },
	{ "0.1", "0.1", 0, 0 },
	{ "{\"price\":[19.99,1.1,-2.5]}", "{\"price\":[19.99,1.1,-2.5]}", 0, 0 },
	{ "[0.1234567890123456,9007199254740993.0]", "[0.1234567890123456,9007199254740992.0]", 0,
	  0 },
	{ "[0.30000000000000004]", "[0.30000000000000004]", 0, 0 },
	{ "{\"a\":[1e300,4.9e-324]}", "{\"a\":[1e300,4.94065645841247e-324]}", 0, 0 },
	{ "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80\\n/\"", 0, 0 },
	{ "\"a\\u0000b\"", "\"a\\u0000b\"", 0, 0 },
	{ "\"[[[{{{\\\"[\"", "\"[[[{{{\\\"[\"", 0, 0 },

	{ "", "malformed JSON, line 1 column 0: it ends too early", 400, 0 },
	{ "{", "malformed JSON, line 1 column 1: it ends too early", 400, 0 },
	{ "[1,]", "malformed JSON, line 1 column 4: syntax error", 400, 0 },
	{ "[1\n,}", "malformed JSON, line 2 column 2: syntax error", 400, 0 },
	{ "{} {}", "malformed JSON, line 1 column 4: text after its end", 400, 0 },
	{ "{'a':1}", "malformed JSON, line 1 column 2: syntax error", 400, 0 },
	{ "NaN", "malformed JSON, line 1 column 3: syntax error", 400, 0 },
	{ "01", "malformed JSON, line 1 column 1: syntax error", 400, 0 },
	{ "{\"a\":1,\"a\":2}", "malformed JSON, line 1 column 10: a key is given twice", 400, 0 },
	{ "9223372036854775808", "malformed JSON, line 1 column 19: a number is too large", 400,
	  0 },
	{ "1e999", "malformed JSON, line 1 column 5: a number is too large", 400, 0 },
	{ "\"\xff\"", "malformed JSON, line 1 column 1: invalid UTF-8", 400, 0 },
	{ "\"\xc0\x80\"", "malformed JSON, line 1 column 1: invalid UTF-8", 400, 0 },
	{ "\"\\ud800\"", "malformed JSON, line 1 column 8: syntax error", 400, 0 },
	{ "{\"a\\u0000\":1}", "malformed JSON, line 1 column 10: a key holds a NUL", 400, 0 },
	{ "[1\0]", "malformed JSON: a NUL byte", 400, 4 },
	{ "\"a\0\"", "malformed JSON: a NUL byte", 400, 4 },
	{ "\xef\xbb\xbf{}", "malformed JSON, line 1 column 1: syntax error", 400, 0 },
};

START_TEST(row_is_echoed_or_refused)
{
	struct buffer out = { 0 };
	char complaint[JSON_COMPLAINT_MAX] = "";
	size_t size = rows[_i].size ? rows[_i].size : strlen(rows[_i].text);
	unsigned status = json_echo(rows[_i].text, size, &out, complaint);

	buffer_append(&out, "", 1);
	ck_assert_str_eq(status ? complaint : out.data, rows[_i].result);
	ck_assert_uint_eq(status, rows[_i].status);
	buffer_finish(&out);
}
END_TEST

/* JSON_DEPTH_MAX levels of either bracket are fine, one more is not. */
START_TEST(depth_is_limited)
{
	char text[2 * JSON_DEPTH_MAX + 3];
	char complaint[JSON_COMPLAINT_MAX];
	struct buffer out = { 0 };

	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	ck_assert_uint_eq(json_echo(text, (size_t)2 * JSON_DEPTH_MAX, &out, complaint), 0);
	ck_assert_uint_eq(out.size, 2 * JSON_DEPTH_MAX);
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	ck_assert_uint_eq(json_echo(text, (size_t)2 * JSON_DEPTH_MAX + 2, &out, complaint), 400);
	ck_assert_str_eq(complaint, "JSON nested deeper than 128");
	buffer_finish(&out);
}
END_TEST

/* What was echoed once is echoed again unchanged. */
START_TEST(echo_is_a_fixed_point)
{
	struct buffer once = { 0 }, twice = { 0 };
	char complaint[JSON_COMPLAINT_MAX];
	char text[64];
	double number;

	srand((unsigned)_i + 1);
	number = (rand() - RAND_MAX / 2) * (double)rand() / (1 + rand() % 1000);
	snprintf(text, sizeof text, "[%.17g,\"\\u%04x\",%d]", number, rand() % 0xd800, rand());
	ck_assert_uint_eq(json_echo(text, strlen(text), &once, complaint), 0);
	ck_assert_uint_eq(json_echo(once.data, once.size, &twice, complaint), 0);
	ck_assert_uint_eq(once.size, twice.size);
	ck_assert_mem_eq(once.data, twice.data, once.size);
	buffer_finish(&once);
	buffer_finish(&twice);
}
END_TEST

static const struct {
	const char *request;
	const char *first_line;
	const char *header; /* must be there */
	const char *body;
} answers[] = {
	{ "GET /get HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\nX-Pid: 42\r\n",
	  "{\"message\":\"hello from app\",\"pid\":42,\"slot\":7}" },
	{ "HEAD /get HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n",
	  "\r\nContent-Length: 46\r\n", "" },
	{ "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\n",
	  "\r\nContent-Type: application/json\r\n",
	  "{\"status\":404,\"error\":\"Not Found\",\"message\":\"no such path\"}" },
	{ "GET /getx HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "", NULL },
	{ "GET /ge HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "", NULL },
	{ "POST /get HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n",
	  "\r\nAllow: GET, HEAD\r\n", NULL },
	{ "GET /post HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n",
	  "\r\nAllow: POST\r\n", NULL },
	{ "HEAD /post HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n", "", "" },
	{ "PUT /visits HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n",
	  "\r\nAllow: GET, HEAD\r\n", NULL },
	{ "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n",
	  "\r\nAllow: GET, HEAD, POST\r\n", NULL },
	{ "POST /post HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 415 Unsupported Media Type\r\n", "",
	  NULL },
	{ "POST /post HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\r\n",
	  "HTTP/1.1 400 Bad Request\r\n", "", NULL },
	{ "POST /post HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: "
	  "3\r\n\r\n[1]",
	  "HTTP/1.1 200 OK\r\n", "\r\nContent-Length: 3\r\n", "[1]" },
};

START_TEST(request_gets_its_answer)
{
	struct budget budget = { 4096 };
	struct http_reader reader;
	struct buffer out = { 0 };
	struct site site;
	const char *request = answers[_i].request;
	size_t left = strlen(request), used;
	const char *body;

	site_init(&site, 42, "7");
	http_reader_init(&reader, &budget);
	while (http_read(&reader, request, left, &used) == HTTP_EVENT_HEAD) {
		request += used;
		left -= used;
	}
	ck_assert_int_eq(route_answer(&site, &reader, REPLY_KEEP, &out), ROUTE_ANSWERED);
	buffer_append(&out, "", 1);
	ck_assert_msg(strncmp(out.data, answers[_i].first_line, strlen(answers[_i].first_line)) ==
			  0,
		      "%s", out.data);
	ck_assert_msg(strstr(out.data, answers[_i].header) != NULL, "%s", out.data);
	body = strstr(out.data, "\r\n\r\n");
	ck_assert_ptr_nonnull(body);
	if (answers[_i].body)
		ck_assert_str_eq(body + 4, answers[_i].body);
	buffer_finish(&out);
	http_reader_finish(&reader);
	site_finish(&site);
}
END_TEST

static const struct {
	const char *text;
	const char *host, *user, *password;
	unsigned port, database;
} urls[] = {
	{ "redis://h", "h", "", "", 6379, 0 },
	{ "redis://h/", "h", "", "", 6379, 0 },
	{ "redis://127.0.0.1:7000/3", "127.0.0.1", "", "", 7000, 3 },
	{ "redis://[::1]:7000", "::1", "", "", 7000, 0 },
	{ "redis://[::1]", "::1", "", "", 6379, 0 },
	{ "redis://:s%40crt@h", "h", "", "s@crt", 6379, 0 },
	{ "redis://u:p@h:1", "h", "u", "p", 1, 0 },
	{ "unix:/run/redis.sock", "/run/redis.sock", "", "", 0, 0 },
	{ "", NULL, NULL, NULL, 0, 0 },
	{ "http://h", NULL, NULL, NULL, 0, 0 },
	{ "redis://", NULL, NULL, NULL, 0, 0 },
	{ "redis://:6379", NULL, NULL, NULL, 0, 0 },
	{ "redis://h:0", NULL, NULL, NULL, 0, 0 },
	{ "redis://h:65536", NULL, NULL, NULL, 0, 0 },
	{ "redis://h:1x", NULL, NULL, NULL, 0, 0 },
	{ "redis://h/x", NULL, NULL, NULL, 0, 0 },
	{ "redis://p@h", NULL, NULL, NULL, 0, 0 },
	{ "redis://:%zz@h", NULL, NULL, NULL, 0, 0 },
	{ "redis://:%00@h", NULL, NULL, NULL, 0, 0 },
	{ "redis://[::1", NULL, NULL, NULL, 0, 0 },
	{ "redis://[::1]x", NULL, NULL, NULL, 0, 0 },
};

START_TEST(redis_url_is_taken_apart)
{
	struct redis_url url;
	int error = redis_url_parse(urls[_i].text, &url);

	ck_assert_int_eq(error, urls[_i].host ? 0 : -EINVAL);
	if (error)
		return;
	ck_assert_str_eq(url.host, urls[_i].host);
	ck_assert_str_eq(url.user, urls[_i].user);
	ck_assert_str_eq(url.password, urls[_i].password);
	ck_assert_uint_eq(url.port, urls[_i].port);
	ck_assert_uint_eq(url.database, urls[_i].database);
}
END_TEST

START_TEST(buffer_stays_within_its_budget)
{
	struct budget budget = { 1024 };
	struct buffer a = { .budget = &budget }, b = { .budget = &budget };
	char data[600] = { 0 };

	buffer_append(&a, data, 500);
	ck_assert_uint_eq(budget.left, 512);
	buffer_append(&b, data, 600);
	ck_assert(b.failed);
	buffer_append(&b, data, 1);
	ck_assert_uint_eq(b.size, 0);
	buffer_clear(&b, 0);
	buffer_append(&b, data, 1);
	ck_assert(!b.failed);
	ck_assert_uint_eq(budget.left, 0);
	buffer_finish(&a);
	buffer_finish(&b);
	ck_assert_uint_eq(budget.left, 1024);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, row_is_echoed_or_refused, 0, sizeof rows / sizeof *rows);
	tcase_add_test(tests, depth_is_limited);
	tcase_add_loop_test(tests, echo_is_a_fixed_point, 0, 100);
	tcase_add_loop_test(tests, request_gets_its_answer, 0, sizeof answers / sizeof *answers);
	tcase_add_loop_test(tests, redis_url_is_taken_apart, 0, sizeof urls / sizeof *urls);
	tcase_add_test(tests, buffer_stays_within_its_budget);
}

int main(void)
{
	return run_suite("app/json", add_tests);
}
