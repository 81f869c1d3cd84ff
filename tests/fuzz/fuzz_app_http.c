/*
 * The request reader under any bytes: the first byte chooses where the rest is
 * cut, and the events must be those of the uncut text.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Feeds the bytes `step` at a time. */
static struct trace run(const char *data, size_t size, size_t step)
{
	struct trace trace = { UINT64_C(14695981039346656037), 0 };
	struct budget budget = { 1 << 20 };
	enum http_event event = HTTP_EVENT_MORE;
	struct http_reader reader;

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
		if (event == HTTP_EVENT_END)
			http_reader_reset(&reader);
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
