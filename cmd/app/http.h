/*
 * http - reads one HTTP/1.x request after the other out of a stream of bytes.
 *
 * llhttp parses; this file adds what a server on the open network needs around
 * it: limits on every part, the framing rules of RFC 9112 section 6.3 and 7, and
 * the refusal of what llhttp tolerates (bare LF, folded lines, odd codings).
 * However the bytes are cut, the events are the same.
 *
 * No I/O and no clock. Memory: the body only, bounded by HTTP_BODY_MAX and the
 * budget.
 */
#ifndef APP_HTTP_H
#define APP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llhttp.h>

#include "cmd/app/buffer.h"
#include "cmd/app/field.h"
#include "cmd/app/lines.h"
#include "cmd/app/problem.h"
#include "cmd/app/target.h"

enum {
	HTTP_BODY_MAX = 100 * 1024,    /* bytes of content: 413 */
	HTTP_WIRE_MAX = 8 * 100 * 1024, /* bytes a body may take with its chunk lines: 413 */
	HTTP_TARGET_KEPT = 512,        /* of a target before its query; no path of ours is longer */
	HTTP_VALUE_KEPT = 300,         /* of a field value that we look at; hosts are shorter */
};

enum http_event {
	HTTP_EVENT_MORE,    /* all bytes used, the request goes on */
	HTTP_EVENT_HEAD,    /* the head is complete and a body follows */
	HTTP_EVENT_END,     /* the request is complete */
	HTTP_EVENT_REFUSED, /* see `problem`; the connection can not go on */
};

/* One request. The fields of the first group are for the caller to read. */
struct http_reader {
	struct http_problem problem;
	struct buffer body;
	uint8_t method;        /* an llhttp_method_t; not HEAD before it is known */
	enum http_media media;
	bool minor_0;          /* HTTP/1.0 */
	bool keep_alive;       /* the client wants the connection kept */
	bool expects_continue; /* it waits for 100 before it sends the body */
	bool discard_body;     /* set by the caller at HTTP_EVENT_HEAD: not needed */

	bool head_complete;
	bool in_trailers;      /* the last chunk is over */
	bool complete;
	bool coded;            /* a content coding other than identity */
	bool bad_host;
	bool bad_target;
	bool has_query;
	uint8_t connection;    /* bits of field_connection() */
	uint8_t hosts;
	uint8_t codings;       /* Transfer-Encoding fields seen */
	uint8_t field;         /* index of the field under way, see http.c */
	uint8_t name_size;
	uint16_t value_size;
	uint16_t target_bytes; /* of the whole target */
	uint16_t target_size;  /* of what is kept of it */
	struct target_path path;
	struct lines lines;
	uint32_t wire_bytes;   /* of the body, chunk lines included */
	uint32_t chunk_bytes;  /* sum of the chunk sizes so far */
	char name[24];
	char value[HTTP_VALUE_KEPT];
	char target[HTTP_TARGET_KEPT];
	llhttp_t parser;
};

/* Makes *reader ready; *budget bounds the bodies of all readers and must outlive them. */
void http_reader_init(struct http_reader *reader, struct budget *budget);
void http_reader_finish(struct http_reader *reader);

/* Ready for the next request; a small body buffer is kept. */
void http_reader_reset(struct http_reader *reader);

/* True when nothing was read since the reset, or only empty lines. */
bool http_reader_is_fresh(const struct http_reader *reader);

/*
 * Reads on. *ret_used is set in every case; bytes after it belong to the next
 * call (HTTP_EVENT_HEAD) or to the next request (HTTP_EVENT_END, after a reset).
 * After HTTP_EVENT_REFUSED nothing more may be read.
 */
enum http_event http_read(struct http_reader *reader, const char *data, size_t size,
                          size_t *ret_used);

/*
 * The path of the target without its query, see target.h; not ended by NUL. Empty
 * before the head is complete, and if the path was too long.
 */
const char *http_path(const struct http_reader *reader, size_t *ret_size);

#endif
