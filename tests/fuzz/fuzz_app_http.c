/*
 * The request reader under any bytes: the first byte chooses where the rest is
 * cut, and the events must be those of the uncut text. What was accepted must
 * satisfy a second reading of RFC 9112, written without a look at the first.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/app/http.h"
#include "cmd/app/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct trace {
	uint64_t hash; /* of all events, FNV-1a */
	size_t requests;
};

static void mix(struct trace *trace, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		trace->hash = (trace->hash ^ bytes[i]) * UINT64_C(1099511628211);
}

static void require(int condition)
{
	if (!condition)
		abort();
}

static void note(struct trace *trace, const struct http_reader *r, enum http_event event)
{
	size_t size;
	const char *path = http_path(r, &size);

	mix(trace, &event, sizeof event);
	if (event == HTTP_EVENT_REFUSED) {
		require(r->problem.status >= 400 && r->problem.status < 600);
		mix(trace, &r->problem.status, sizeof r->problem.status);
		return;
	}
	require(size <= HTTP_TARGET_KEPT && r->body.size <= HTTP_BODY_MAX);
	mix(trace, path, size);
	mix(trace, &r->method, sizeof r->method);
	mix(trace, &r->media, sizeof r->media);
	mix(trace, &r->keep_alive, sizeof r->keep_alive);
	mix(trace, r->body.data, r->body.size);
	trace->requests++;
}

/* The line at *at without its CRLF, after which *at stands; no other control bytes but tabs. */
static size_t take_line(const char *data, size_t size, size_t *at)
{
	size_t begin = *at, end = *at;

	while (end < size && data[end] != '\r') {
		require(data[end] == '\t' ||
			((unsigned char)data[end] >= ' ' && data[end] != 0x7f));
		end++;
	}
	require(size - end >= 2 && data[end + 1] == '\n');
	*at = end + 2;
	return end - begin;
}

static bool is_named(const char *line, size_t size, const char *name)
{
	return size > strlen(name) && strncasecmp(line, name, strlen(name)) == 0 &&
	       line[strlen(name)] == ':';
}

struct fields {
	unsigned hosts, lengths, codings;
	unsigned long length;
};

/* Field lines up to the empty one. */
static struct fields take_fields(const char *data, size_t size, size_t *at)
{
	struct fields seen = { 0 };
	const char *line = data + *at;
	size_t length;

	while ((length = take_line(data, size, at)) > 0) {
		size_t name = 0;

		while (name < length && (isalnum((unsigned char)line[name]) ||
					 (line[name] && strchr("!#$%&'*+-.^_`|~", line[name]))))
			name++;
		require(name > 0 && name < length && line[name] == ':');
		seen.hosts += is_named(line, length, "host");
		seen.codings += is_named(line, length, "transfer-encoding");
		if (is_named(line, length, "content-length")) {
			seen.lengths++;
			seen.length = strtoul(line + name + 1, NULL, 10);
		}
		line = data + *at;
	}
	return seen;
}

static struct fields take_head(const char *data, size_t size, size_t *at)
{
	const char *line = data;
	struct fields seen;
	size_t length, target;
	bool minor_0;

	while ((length = take_line(data, size, at)) == 0)
		line = data + *at;
	require(length > 12 && memcmp(line + length - 9, " HTTP/1.", 8) == 0);
	minor_0 = line[length - 1] == '0';
	require(minor_0 || line[length - 1] == '1');
	target = (size_t)((const char *)memchr(line, ' ', length) - line) + 1;
	require(target < length - 9 && !memchr(line + target, ' ', length - 9 - target));
	require(!memchr(line + target, '#', length - target));
	seen = take_fields(data, size, at);
	require(seen.hosts == 1 || (seen.hosts == 0 && minor_0));
	require(seen.lengths + seen.codings <= 1 && (seen.codings == 0 || !minor_0));
	return seen;
}

/* Returns the bytes of content. */
static size_t take_chunks(const char *data, size_t size, size_t *at)
{
	size_t content = 0, chunk;

	do {
		const char *line = data + *at;
		char *end;
		size_t length = take_line(data, size, at);

		require(length > 0 && isxdigit((unsigned char)*line));
		chunk = strtoul(line, &end, 16); /* CRLF ends it */
		require(end == line + length || *end == ';');
		if (chunk == 0)
			break;
		require(size - *at > chunk + 1 && memcmp(data + *at + chunk, "\r\n", 2) == 0);
		*at += chunk + 2;
		content += chunk;
	} while (true);
	take_fields(data, size, at);
	return content;
}

/* These bytes, no more and no less, were taken for one request. */
static void read_again(const struct http_reader *r, const char *data, size_t size)
{
	size_t at = 0;
	struct fields fields = take_head(data, size, &at);
	size_t content = fields.length;

	if (fields.codings > 0)
		content = take_chunks(data, size, &at);
	else
		at += content;
	require(at == size && r->body.size == content);
}

/* Feeds the bytes `step` at a time. */
static struct trace run(const char *data, size_t size, size_t step)
{
	struct trace trace = { UINT64_C(14695981039346656037), 0 };
	struct budget budget = { 1 << 20 };
	enum http_event event = HTTP_EVENT_MORE;
	struct http_reader reader;
	const char *begin = data;

	http_reader_init(&reader, &budget);
	while (size > 0 && event != HTTP_EVENT_REFUSED) {
		size_t piece = size < step ? size : step;
		char *copy = malloc(piece); /* so that a read beyond the piece is seen */
		size_t used;

		require(copy != NULL);
		memcpy(copy, data, piece);
		event = http_read(&reader, copy, piece, &used);
		free(copy);
		require(used <= piece && (event != HTTP_EVENT_MORE || used == piece));
		data += used;
		size -= used;
		if (event != HTTP_EVENT_MORE)
			note(&trace, &reader, event);
		if (event == HTTP_EVENT_END) {
			read_again(&reader, begin, (size_t)(data - begin));
			http_reader_reset(&reader);
			begin = data;
		}
	}
	http_reader_finish(&reader);
	require(budget.left == 1 << 20);
	return trace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace whole, cut;

	if (size < 2)
		return 0;
	whole = run((const char *)data + 1, size - 1, size);
	cut = run((const char *)data + 1, size - 1, (size_t)data[0] + 1);
	require(whole.hash == cut.hash && whole.requests == cut.requests);
	return 0;
}
