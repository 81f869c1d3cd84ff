/*
 * The request reader: what is accepted, what is refused with which status, and
 * that it makes no difference how the bytes are cut.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/app/http.h"
#include "tests/unit/suite.h"

enum { TRANSCRIPT_MAX = 1024 };

/* ck_assert() writes a mark to a file each time, too slow for loops over all cuts. */
#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("%s", #condition);                                            \
	} while (0)

#define HOST "Host: h\r\n"
#define GET "GET /get HTTP/1.1\r\n" HOST
#define POST "POST /post HTTP/1.1\r\n" HOST
#define JSON "Content-Type: application/json\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

struct row {
	const char *text;
	const char *events; /* see describe(): one word group for each request */
	size_t size;        /* 0: strlen(text) */
};

/* A request: METHOD path(length of body) and flags; "..." is an unfinished one. */
static const struct row rows[] = {
	/* plain requests */
	{ GET "\r\n", "GET /get(0) keep;", 0 },
	{ "\r\n\r\n" GET "\r\n", "GET /get(0) keep;", 0 },
	{ "GET /get?a=/b HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET http://h:1/get?x HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET http://h HTTP/1.1\r\n" HOST "\r\n", "GET (0) keep;", 0 },
	{ "GET HTTP://h/get HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET http://[::1]:80/get HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET http://h?x=/get HTTP/1.1\r\n" HOST "\r\n", "GET (0) keep;", 0 },
	{ "GET http:///get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET http://u@h/get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET http://h:x/get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET https://h/get HTTP/1.1\r\n" HOST "\r\n", "refused 421", 0 },
	{ "GET /http://h/get HTTP/1.1\r\n" HOST "\r\n", "GET /http://h/get(0) keep;", 0 },
	{ "GET /%67e%74?%67 HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET /get%2f%3F%00%c3 HTTP/1.1\r\n" HOST "\r\n", "GET /get%2f%3F%00%c3(0) keep;", 0 },
	{ "GET /%2567et HTTP/1.1\r\n" HOST "\r\n", "GET /%2567et(0) keep;", 0 },
	{ "GET /get%zz HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get%6 HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get% HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get?100%?%zz HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;", 0 },
	{ "GET /get#x HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get?#x HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET * HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "OPTIONS *x HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS *(0) keep;", 0 },
	{ "HEAD /get HTTP/1.1\r\n" HOST "\r\n", "HEAD /get(0) keep;", 0 },
	{ GET "Connection: close\r\n\r\n", "GET /get(0);", 0 },
	{ GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "GET /get(0) keep;",
	  0 },
	{ "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n" GET "\r\n", "refused 501", 0 },
	{ "CONNECT /get HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", "refused 501", 0 },
	{ "GET /get HTTP/1.0\r\n\r\n", "GET /get(0) 1.0;", 0 },
	{ "GET /get HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /get(0) keep 1.0;", 0 },
	{ GET "Connection: x, Close\t, y\r\n\r\n", "GET /get(0);", 0 },
	{ GET "Connection: close\t\r\n\r\n", "GET /get(0);", 0 },
	{ GET "Connection: closed, xclose, close x\r\n\r\n", "GET /get(0) keep;", 0 },
	{ GET "Connection: keep-alive\r\nConnection: ,close\r\n\r\n", "GET /get(0);", 0 },
	{ GET "Connection: close\r\nConnection: keep-alive\r\n\r\n", "GET /get(0);", 0 },
	{ "GET /get HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET /get(0) 1.0;", 0 },
	{ "GET /get HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
	  "GET /get(0) 1.0;", 0 },
	{ "GET /get HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", "GET /get(0) 1.0;", 0 },
	{ GET "Proxy-Connection: close\r\n\r\n", "GET /get(0) keep;", 0 },
	{ GET "\r\n" GET "\r\n", "GET /get(0) keep;GET /get(0) keep;", 0 },
	{ GET "\r\nGET", "GET /get(0) keep;...", 0 },
	{ GET, "...", 0 },

	/* bodies */
	{ POST "Content-Length: 2\r\n\r\n{}", "head;POST /post(2) keep;", 0 },
	{ POST "Content-Length: 0\r\n\r\n", "POST /post(0) keep;", 0 },
	{ POST "Content-Length: 3\r\n\r\n{}", "head;...", 0 },
	{ POST JSON "Content-Length: 2\r\n\r\n{}" GET "\r\n",
	  "head;POST /post(2) keep json;GET /get(0) keep;", 0 },
	{ POST CHUNKED "\r\n2\r\n{}\r\n0\r\n\r\n", "head;POST /post(2) keep;", 0 },
	{ POST CHUNKED "\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: 1\r\n\r\n" GET "\r\n",
	  "head;POST /post(2) keep;GET /get(0) keep;", 0 },
	{ POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "head;POST /post(0) keep;", 0 },
	{ POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
	  "head;POST /post(1) keep expect;", 0 },
	{ "POST /post HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
	  "head;POST /post(1) 1.0;", 0 },

	/* media types */
	{ POST "Content-Type: Application/JSON; charset=UTF-8\r\n\r\n", "POST /post(0) keep json;",
	  0 },
	{ POST "Content-Type: application/json;charset=\"utf-8\" ; q=1\r\n\r\n",
	  "POST /post(0) keep json;", 0 },
	{ POST "Content-Type: application/json; charset=latin1\r\n\r\n",
	  "POST /post(0) keep other;", 0 },
	{ POST "Content-Type: application/jsonx\r\n\r\n", "POST /post(0) keep other;", 0 },
	{ POST "Content-Type: text/plain\r\n\r\n", "POST /post(0) keep other;", 0 },
	{ POST JSON JSON "\r\n", "POST /post(0) keep other;", 0 },
	{ POST JSON "Content-Encoding: gzip\r\n\r\n", "POST /post(0) keep other;", 0 },
	{ POST "Content-Encoding: identity\r\n" JSON "\r\n", "POST /post(0) keep json;", 0 },

	/* framing that two servers might read in two ways */
	{ POST CHUNKED "Content-Length: 1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 1\r\n" CHUNKED "\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 1, 1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: +1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: -1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 0x1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length: 1 1\r\n\r\n1", "refused 400", 0 },
	{ POST "Content-Length:\r\n\r\n", "refused 400", 0 },
	{ POST "Content-Length: 99999999999999999999\r\n\r\n", "refused 400", 0 },
	{ POST "Content-Length : 1\r\n\r\n1", "refused 400", 0 },
	{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "refused 501", 0 },
	{ POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "refused 400", 0 },
	{ POST "Transfer-Encoding: gzip\r\n\r\n", "refused 501", 0 },
	{ POST "Transfer-Encoding: xchunked\r\n\r\n", "refused 501", 0 },
	{ POST CHUNKED CHUNKED "\r\n0\r\n\r\n", "refused 400", 0 },
	{ POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "refused 400", 0 },
	{ "POST /post HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n", "refused 400", 0 },
	{ POST CHUNKED "\r\nx\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n-1\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0x1\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n 1\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n1 \r\n1\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n2\r\n{}x\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n2\n{}\r\n0\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n2\r\n{}\n0\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n2;x\n{}\r\n0\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\nFFFFFFFFFFFFFFFFF\r\n", "head;refused 400", 0 },

	/* trailers are read as strictly as the head, and change nothing */
	{ POST CHUNKED "\r\n0\r\na: b\r\nHost: x\r\nExpect: x\r\nConnection: close\r\n\r\n",
	  "head;POST /post(0) keep;", 0 },
	{ POST CHUNKED "\r\n0\r\nContent-Length: 5\r\n\r\n" GET "\r\n",
	  "head;POST /post(0) keep;GET /get(0) keep;", 0 },
	{ POST CHUNKED "\r\n00;x\r\na:\r\n\r\n", "head;POST /post(0) keep;", 0 },
	{ POST CHUNKED "\r\n0\r\n\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\n\r" GET, "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na: b\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na: b\r\n\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na: b\rc: d\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na: b\r\n c\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\n\ta: b\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\n: b\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na : b\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n0\r\na: \x01\r\n\r\n", "head;refused 400", 0 },
	{ POST CHUNKED "\r\n1\r\n1\r\n0\r\na: b\r\n\r\n" POST CHUNKED
	       "\r\n1\r\n2\r\n0\r\na: b\r\n\r\n",
	  "head;POST /post(1) keep;head;POST /post(1) keep;", 0 },

	/* malformed heads */
	{ "GET /get HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h\r\n\tfolded\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\n Host: h\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\nHost: h\n\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h\r\n\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h\r\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost h\r\n\r\n", "refused 400", 0 },
	{ GET ": h\r\n\r\n", "refused 400", 0 },
	{ GET ":\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: a\0b\r\n\r\n", "refused 400", 33 },
	{ "GET /g\0t HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400", 30 },
	{ "GET /get HTTP/1.1\r\nHo\0t: h\r\n\r\n", "refused 400", 30 },
	{ "\0", "refused 400", 1 },
	{ "GET  /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get  HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ " GET /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1 \r\n" HOST "\r\n", "refused 505", 0 },
	{ "GET\t/get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "\rGET /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "\r\r\n" GET "\r\n", "refused 400", 0 },
	{ GET "\r\n\r" GET "\r\n", "GET /get(0) keep;refused 400", 0 },
	{ "GET /get RTSP/1.0\r\n\r\n", "refused 400", 0 },
	{ "OPTIONS * RTSP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "SOURCE /get ICE/1.0\r\n\r\n", "refused 400", 0 },
	{ "GET /get http/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.10\r\n" HOST "\r\n", "refused 505", 0 },
	{ "GET /get HTTP/01.1\r\n" HOST "\r\n", "refused 505", 0 },
	{ "GET /get\r\n\r\n", "refused 505", 0 },
	{ "GET HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	/* a method may be any token */
	{ "NONSENSE /get HTTP/1.1\r\n" HOST "\r\n", "refused 501", 0 },
	{ "get /get HTTP/1.1\r\n" HOST "\r\n", "refused 501", 0 },
	{ "GETX /get HTTP/1.1\r\n" HOST "\r\n", "refused 501", 0 },
	{ "GET! /get HTTP/1.1\r\n" HOST "\r\n", "refused 501", 0 },
	{ "PLAY /get HTTP/1.1\r\n" HOST "\r\n", "refused 501", 0 },
	{ "GET@ /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GE(T) /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GE\x80 /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GE\x7f /get HTTP/1.1\r\n" HOST "\r\n", "refused 400", 0 },
	{ "GET\r\n" HOST "\r\n", "refused 400", 0 },
	{ "{}", "refused 400", 0 },
	{ "TRACE /get HTTP/1.1\r\n" HOST "\r\n", "TRACE /get(0) keep;", 0 },
	{ "\x16\x03\x01\x02", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\n\r\n", "refused 400", 0 },
	{ GET HOST "\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost:\r\n\r\n", "GET /get(0) keep;", 0 },
	{ "GET /get HTTP/1.1\r\nHost: h:80 \r\n\r\n", "GET /get(0) keep;", 0 },
	{ "GET /get HTTP/1.1\r\nHost: a b\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.1\r\nHost: u@h\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.0\r\nHost: a/b\r\n\r\n", "refused 400", 0 },
	{ "GET /get HTTP/1.2\r\n" HOST "\r\n", "refused 505", 0 },
	{ "GET /get HTTP/2.0\r\n" HOST "\r\n", "refused 505", 0 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "refused 400", 0 },
	{ POST "Expect: 200-ok\r\n\r\n", "refused 417", 0 },

	/* the client gave up on the limit before it sent anything */
	{ POST "Content-Length: 102401\r\n\r\n", "refused 413", 0 },
	{ POST CHUNKED "\r\n19001\r\n", "head;refused 413", 0 },
};

static void add(char *transcript, const char *word)
{
	size_t used = strlen(transcript);

	snprintf(transcript + used, TRANSCRIPT_MAX - used, "%s", word);
}

static void describe(const struct http_reader *r, char *transcript)
{
	static const char *const media[] = { "", " json", " other" };
	char text[HTTP_TARGET_KEPT + 80];
	size_t size;
	const char *path = http_path(r, &size);

	snprintf(text, sizeof text, "%s %.*s(%zu)%s%s%s%s;",
		 llhttp_method_name((llhttp_method_t)r->method), (int)size, path, r->body.size,
		 r->keep_alive ? " keep" : "", r->minor_0 ? " 1.0" : "", media[r->media],
		 r->expects_continue ? " expect" : "");
	add(transcript, text);
}

/* Reads bytes on from a state; false after a refusal. */
static bool feed(struct http_reader *r, const char *data, size_t size, char *transcript,
		 bool *fresh)
{
	while (size > 0) {
		/* A copy of exactly these bytes, so that ASan sees any read beyond them. */
		char *copy = malloc(size);
		size_t used;
		enum http_event event;
		char text[40];

		REQUIRE(copy);
		memcpy(copy, data, size);
		event = http_read(r, copy, size, &used);
		free(copy);
		REQUIRE(used <= size);
		data += used;
		size -= used;
		*fresh = false;
		switch (event) {
		case HTTP_EVENT_MORE: REQUIRE(size == 0); break;
		case HTTP_EVENT_HEAD: add(transcript, "head;"); break;
		case HTTP_EVENT_END:
			describe(r, transcript);
			http_reader_reset(r);
			*fresh = true;
			break;
		case HTTP_EVENT_REFUSED:
			snprintf(text, sizeof text, "refused %u", r->problem.status);
			add(transcript, text);
			REQUIRE(r->problem.message);
			return false;
		}
	}
	return true;
}

/* Feeds the text in pieces: [0, a), [a, b), then `step` bytes at a time. */
static void run(const char *text, size_t size, size_t a, size_t b, size_t step, char *transcript)
{
	struct budget budget = { 1 << 20 };
	struct http_reader reader;
	bool fresh = true;
	bool alive;

	*transcript = '\0';
	http_reader_init(&reader, &budget);
	alive = feed(&reader, text, a, transcript, &fresh) &&
		feed(&reader, text + a, b - a, transcript, &fresh);
	for (size_t at = b; alive && at < size; at += step)
		alive = feed(&reader, text + at, size - at < step ? size - at : step, transcript,
			     &fresh);
	if (alive && !fresh)
		add(transcript, "...");
	http_reader_finish(&reader);
	REQUIRE(budget.left == 1 << 20);
}

START_TEST(row_is_read_the_same_however_it_is_cut)
{
	const struct row *row = &rows[_i];
	size_t size = row->size ? row->size : strlen(row->text);
	char transcript[TRANSCRIPT_MAX];

	run(row->text, size, 0, 0, size, transcript);
	ck_assert_msg(strcmp(transcript, row->events) == 0, "row %d: %s\ngot  %s\nwant %s", _i,
		      row->text, transcript, row->events);
	run(row->text, size, 0, 0, 1, transcript);
	ck_assert_msg(strcmp(transcript, row->events) == 0, "row %d byte by byte: %s", _i,
		      transcript);
	for (size_t a = 0; a <= size; a++) {
		for (size_t b = a; b <= size; b++) {
			run(row->text, size, a, b, size, transcript);
			if (strcmp(transcript, row->events) != 0)
				ck_abort_msg("row %d cut at %zu, %zu: %s", _i, a, b, transcript);
		}
	}
}
END_TEST

/* Fills text with `before`, `count` times `unit`, `after`; returns its size. */
static size_t repeat(char **ret_text, const char *before, const char *unit, size_t count,
		     const char *after)
{
	size_t size = strlen(before) + count * strlen(unit) + strlen(after);
	char *at = malloc(size + 1);

	ck_assert_ptr_nonnull(at);
	*ret_text = at;
	at = stpcpy(at, before);
	while (count-- > 0)
		at = stpcpy(at, unit);
	stpcpy(at, after);
	return size;
}

static const struct {
	const char *before, *unit;
	size_t count;
	const char *after;
	const char *events;
} floods[] = {
	/* the request line: 8192 bytes with its CRLF */
	{ "GET /", "a", 8192 - 16, " HTTP/1.1\r\n" HOST "\r\n", "GET (0) keep;" },
	{ "GET /", "a", 8192 - 15, " HTTP/1.1\r\n" HOST "\r\n", "refused 414" },
	{ "GET /", "a", 1 << 20, "", "refused 414" },
	/* only the path is compared; neither a query nor a host hide it */
	{ "GET /get?", "a", 8000, " HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;" },
	{ "GET http://", "h", 255, ":65535/get?/ HTTP/1.1\r\n" HOST "\r\n", "GET /get(0) keep;" },
	{ "GET /get?", "?", 8000, "# HTTP/1.1\r\n" HOST "\r\n", "refused 400" },
	{ "GET /", "%61", 200, "?b HTTP/1.1\r\n" HOST "\r\n", "GET (0) keep;" },
	/* one field: likewise */
	{ GET "X: ", "a", 8192 - 5, "\r\n\r\n", "GET /get(0) keep;" },
	{ GET "X: ", "a", 8192 - 4, "\r\n\r\n", "refused 431" },
	{ GET, "a", 1 << 20, "", "refused 431" },
	/* 100 fields, Host among them */
	{ GET, "a:b\r\n", 99, "\r\n", "GET /get(0) keep;" },
	{ GET, "a:b\r\n", 100, "\r\n", "refused 431" },
	/* the whole head: 16384 bytes, of which GET and HOST are 28 */
	{ GET,
	  "a: 3456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
	  "8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
	  "678901234567890123456789012\r\n",
	  81, "\r\n", "refused 431" },
	{ GET,
	  "a: 3456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
	  "8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
	  "67890123456789012345678901\r\n",
	  79, "\r\n", "GET /get(0) keep;" },
	{ "", "\r\n", 10000, "", "refused 431" },
	/* 100 KiB of content, however it is framed */
	{ POST "Content-Length: 102400\r\n\r\n", "a", 102400, "", "head;POST /post(102400) keep;" },
	{ POST CHUNKED "\r\n", "1\r\na\r\n", 102400, "0\r\n\r\n", "head;POST /post(102400) keep;" },
	{ POST CHUNKED "\r\n", "1\r\na\r\n", 102401, "0\r\n\r\n", "head;refused 413" },
	/* a Host longer than any name can be */
	{ "GET /get HTTP/1.1\r\nHost: ", "h", 255, ":65535\r\n\r\n", "GET /get(0) keep;" },
	{ "GET /get HTTP/1.1\r\nHost: ", "h", 1000, "\r\n\r\n", "refused 400" },
	/* options of Connection that are not kept may have been close */
	{ GET "Connection: ", "x,", 1000, "close\r\n\r\n", "GET /get(0);" },
	/* a value cut short is not mistaken for one we know */
	{ POST "Expect: 100-continue", " ", 1000, "x\r\n\r\n", "refused 417" },
	{ POST "Content-Type: application/json;", " ", 1000, "charset=latin1\r\n\r\n",
	  "POST /post(0) keep other;" },
	{ POST JSON "Content-Encoding: identity", " ", 1000, "x\r\n\r\n",
	  "POST /post(0) keep other;" },
	/* chunk extensions and trailers have a limit too */
	{ POST CHUNKED "\r\n1;", "x", 1 << 20, "\r\na\r\n0\r\n\r\n", "head;refused 413" },
	{ POST CHUNKED "\r\n0\r\n", "a:b\r\n", 100, "\r\n", "head;POST /post(0) keep;" },
	{ POST CHUNKED "\r\n0\r\n", "a:b\r\n", 101, "\r\n", "head;refused 431" },
	{ POST CHUNKED "\r\n0\r\na: ", "b", 8192 - 5, "\r\n\r\n", "head;POST /post(0) keep;" },
	{ POST CHUNKED "\r\n0\r\na: ", "b", 8192 - 4, "\r\n\r\n", "head;refused 431" },
	{ POST CHUNKED "\r\n0\r\n", "a", 1 << 20, "", "head;refused 431" },
};

START_TEST(flood_is_stopped_at_its_limit)
{
	char transcript[TRANSCRIPT_MAX];
	char *text;
	size_t size =
	    repeat(&text, floods[_i].before, floods[_i].unit, floods[_i].count, floods[_i].after);
	static const size_t steps[] = { SIZE_MAX / 2, 16384, 4096, 1000, 7, 1 };

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		run(text, size, 0, 0, steps[i], transcript);
		ck_assert_msg(strcmp(transcript, floods[_i].events) == 0, "flood %d by %zu: %s", _i,
			      steps[i], transcript);
	}
	free(text);
}
END_TEST

START_TEST(bodies_share_one_budget)
{
	struct budget budget = { 64 * 1024 };
	struct http_reader readers[2];
	char *text;
	size_t size = repeat(&text, POST "Content-Length: 60000\r\n\r\n", "a", 50000, "");
	size_t head = size - 50000;
	size_t used;

	for (int i = 0; i < 2; i++) {
		http_reader_init(&readers[i], &budget);
		ck_assert_int_eq(http_read(&readers[i], text, size, &used), HTTP_EVENT_HEAD);
		ck_assert_uint_eq(used, head);
	}
	ck_assert_int_eq(http_read(&readers[0], text + head, size - head, &used), HTTP_EVENT_MORE);
	ck_assert_int_eq(http_read(&readers[1], text + head, size - head, &used),
			 HTTP_EVENT_REFUSED);
	ck_assert_uint_eq(readers[1].problem.status, 503);
	http_reader_finish(&readers[0]);
	http_reader_finish(&readers[1]);
	ck_assert_uint_eq(budget.left, 64 * 1024);
	free(text);
}
END_TEST

START_TEST(unwanted_body_is_not_kept)
{
	struct budget budget = { 0 };
	struct http_reader reader;
	const char text[] = "PUT /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
	size_t used, rest;

	http_reader_init(&reader, &budget);
	ck_assert_int_eq(http_read(&reader, text, sizeof text - 1, &used), HTTP_EVENT_HEAD);
	reader.discard_body = true;
	ck_assert_int_eq(http_read(&reader, text + used, sizeof text - 1 - used, &rest),
			 HTTP_EVENT_END);
	ck_assert_uint_eq(reader.body.size, 0);
	http_reader_finish(&reader);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, row_is_read_the_same_however_it_is_cut, 0,
			    sizeof rows / sizeof *rows);
	tcase_add_loop_test(tests, flood_is_stopped_at_its_limit, 0,
			    sizeof floods / sizeof *floods);
	tcase_add_test(tests, bodies_share_one_budget);
	tcase_add_test(tests, unwanted_body_is_not_kept);
}

int main(void)
{
	return run_suite("app/http", add_tests);
}
