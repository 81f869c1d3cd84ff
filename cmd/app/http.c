#include "cmd/app/http.h"

#include <string.h>
#include <strings.h>

#include "cmd/app/field.h"

enum { BODY_KEPT = 4096 };

static const struct http_problem bad_target = { 400, "malformed request target", NULL };
static const struct http_problem large_body = { 413, "body larger than 100 KiB", NULL };
static const struct http_problem no_memory = { 503, "out of memory for request bodies", NULL };
static const struct http_problem unknown_method = { 501, "unknown method", NULL };
static const struct http_problem malformed = { 400, "malformed request", NULL };

/* llhttp's complaints that deserve a better word than "malformed request". */
static const struct {
	llhttp_errno_t error;
	struct http_problem problem;
} complaints[] = {
	{ HPE_INVALID_METHOD, { 400, "malformed method", NULL } },
	{ HPE_INVALID_URL, { 400, "malformed request target", NULL } },
	{ HPE_INVALID_VERSION, { 505, "only HTTP/1.0 and HTTP/1.1", NULL } },
	{ HPE_INVALID_HEADER_TOKEN, { 400, "malformed header line", NULL } },
	{ HPE_INVALID_CONTENT_LENGTH, { 400, "malformed Content-Length", NULL } },
	{ HPE_UNEXPECTED_CONTENT_LENGTH, { 400, "contradicting Content-Length", NULL } },
	{ HPE_INVALID_TRANSFER_ENCODING, { 400, "malformed Transfer-Encoding", NULL } },
	{ HPE_INVALID_CHUNK_SIZE, { 400, "malformed chunk size", NULL } },
};

enum field {
	FIELD_OTHER,
	FIELD_HOST,
	FIELD_CONNECTION,
	FIELD_EXPECT,
	FIELD_TYPE,
	FIELD_CODING,
	FIELD_TRANSFER,
};

static const struct {
	const char *name;
	uint8_t size;
	uint8_t field;
} fields[] = {
	{ "host", 4, FIELD_HOST },
	{ "connection", 10, FIELD_CONNECTION },
	{ "expect", 6, FIELD_EXPECT },
	{ "content-type", 12, FIELD_TYPE },
	{ "content-encoding", 16, FIELD_CODING },
	{ "transfer-encoding", 17, FIELD_TRANSFER },
};

static int refuse(struct http_reader *r, const struct http_problem *problem)
{
	r->problem = *problem;
	return -1;
}

/* Keeps the target up to its query. A fragment is never sent (RFC 9112 3.2). */
static int on_target(llhttp_t *parser, const char *at, size_t size)
{
	struct http_reader *r = parser->data;
	const char *query = memchr(at, '?', size);
	size_t room = HTTP_TARGET_KEPT - r->target_size;
	size_t kept = query ? (size_t)(query - at) + 1 : size;

	r->target_bytes = (uint16_t)(r->target_bytes + size);
	r->method = parser->method; /* what an error in the head is answered by, too */
	r->bad_target |= memchr(at, '#', size) != NULL;
	if (r->has_query)
		return 0;
	r->has_query = query != NULL;
	memcpy(r->target + r->target_size, at, kept < room ? kept : room);
	r->target_size = (uint16_t)(r->target_size + (kept < room ? kept : room));
	return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
	struct http_reader *r = parser->data;

	if (r->head_complete)
		return 0; /* a trailer: not used */
	if (size > sizeof r->name - r->name_size) {
		r->name_size = sizeof r->name; /* longer than any name we know */
		return 0;
	}
	memcpy(r->name + r->name_size, at, size);
	r->name_size = (uint8_t)(r->name_size + size);
	return 0;
}

static int on_name_complete(llhttp_t *parser)
{
	struct http_reader *r = parser->data;

	r->field = FIELD_OTHER;
	r->value_size = 0;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (r->name_size == fields[i].size &&
		    strncasecmp(r->name, fields[i].name, fields[i].size) == 0)
			r->field = fields[i].field;
	}
	r->name_size = 0;
	return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
	struct http_reader *r = parser->data;
	size_t room = HTTP_VALUE_KEPT - r->value_size;

	if (r->head_complete || r->field == FIELD_OTHER)
		return 0;
	memcpy(r->value + r->value_size, at, size < room ? size : room);
	r->value_size = (uint16_t)(r->value_size + (size < room ? size : room));
	return 0;
}

static int on_value_complete(llhttp_t *parser)
{
	struct http_reader *r = parser->data;
	/* What was too long to keep may go on in any way, so it is no value we know. */
	size_t kept = r->value_size < HTTP_VALUE_KEPT ? r->value_size : 0;
	size_t size = field_trimmed(r->value, kept);

	if (r->head_complete)
		return 0;
	switch ((enum field)r->field) {
	case FIELD_OTHER: break;
	case FIELD_HOST:
		r->hosts++; /* LINES_MAX keeps it below 256 */
		r->bad_host |= kept < r->value_size || !field_is_host(r->value, size);
		break;
	case FIELD_CONNECTION:
		/* One we could not keep whole may say close further on. */
		r->connection |= (uint8_t)(kept < r->value_size ? FIELD_CLOSE
								: field_connection(r->value, size));
		break;
	case FIELD_EXPECT:
		if (field_is_word(r->value, size, "100-continue"))
			r->expects_continue = true;
		else if (r->problem.status == 0)
			r->problem = (struct http_problem){ 417, "unknown Expect", NULL };
		break;
	case FIELD_TYPE:
		r->media =
		    r->media == HTTP_MEDIA_NONE ? field_media(r->value, size) : HTTP_MEDIA_OTHER;
		break;
	case FIELD_CODING: r->coded |= !field_is_word(r->value, size, "identity"); break;
	case FIELD_TRANSFER:
		r->codings = field_is_word(r->value, size, "chunked") ? (uint8_t)(r->codings + 1)
								      : UINT8_MAX;
		if (r->codings == 0)
			r->codings = UINT8_MAX;
		break;
	}
	r->field = FIELD_OTHER;
	return 0;
}

/* RFC 9112 3.2 */
static int check_host(struct http_reader *r)
{
	static const struct http_problem count = { 400, "needs exactly one Host", NULL };
	static const struct http_problem value = { 400, "malformed Host", NULL };

	if (r->hosts > 1 || (r->hosts == 0 && !r->minor_0))
		return refuse(r, &count);
	return r->bad_host ? refuse(r, &value) : 0;
}

/*
 * RFC 9112 3: method, one space, target, one space, version, and no byte more.
 * llhttp skips further spaces, and CR ahead of it, and speaks RTSP and ICE.
 */
static bool is_request_line(const struct http_reader *r)
{
	size_t size = strlen(llhttp_method_name((llhttp_method_t)r->method)) + r->target_bytes +
		      strlen("  HTTP/1.1\r\n");

	return r->lines.first_bytes == size && memcmp(r->lines.tail, "HTTP/", 5) == 0;
}

/* The rules of RFC 9112 3.2 and 3.3 about the target; finds the path in it. */
static int check_target(struct http_reader *r)
{
	static const struct http_problem connect = { 501, "no tunnels here", NULL };
	static const struct http_problem other = { 421, "only http here", NULL };
	unsigned status = 0;

	if (r->method == HTTP_CONNECT)
		return refuse(r, &connect);
	if (r->target_size < HTTP_TARGET_KEPT)
		status = target_find_path(r->target, r->target_size, &r->path);
	if (status == 421)
		return refuse(r, &other);
	if (status != 0 || r->bad_target || (*r->target == '*' && r->method != HTTP_OPTIONS))
		return refuse(r, &bad_target);
	return 0;
}

/* The rules of RFC 9112 6.1 and 6.3 about Transfer-Encoding. */
static int check_codings(struct http_reader *r)
{
	static const struct http_problem both = { 400, "both Content-Length and Transfer-Encoding",
						  NULL };
	static const struct http_problem old = { 400, "Transfer-Encoding in HTTP/1.0", NULL };
	static const struct http_problem unknown = { 501, "unknown transfer coding", NULL };

	if (r->codings > 0 && (r->parser.flags & F_CONTENT_LENGTH))
		return refuse(r, &both);
	if (r->codings > 0 && r->parser.http_minor == 0)
		return refuse(r, &old);
	if (r->codings > 1)
		return refuse(r, &unknown);
	return 0;
}

/* The rules of RFC 9112 about a head as a whole. */
static int check_head(struct http_reader *r)
{
	static const struct http_problem version = { 505, "only HTTP/1.0 and HTTP/1.1", NULL };
	static const struct http_problem line = { 400, "malformed request line", NULL };
	const llhttp_t *p = &r->parser;

	if (p->http_major != 1 || p->http_minor > 1)
		return refuse(r, &version);
	if (!is_request_line(r))
		return refuse(r, &line);
	if (check_host(r) != 0 || check_target(r) != 0)
		return -1;
	if (check_codings(r) != 0 || r->problem.status != 0)
		return -1;
	if ((p->flags & F_CONTENT_LENGTH) && p->content_length > HTTP_BODY_MAX)
		return refuse(r, &large_body);
	return 0;
}

static int on_head_complete(llhttp_t *parser)
{
	struct http_reader *r = parser->data;

	r->head_complete = true;
	r->minor_0 = parser->http_minor == 0;
	/* Not llhttp's word: it heeds Proxy-Connection, and not a close in HTTP/1.0. */
	r->keep_alive =
	    !(r->connection & FIELD_CLOSE) && (!r->minor_0 || (r->connection & FIELD_KEEP_ALIVE));
	if (r->minor_0)
		r->expects_continue = false; /* RFC 9110 10.1.1: ignored */
	if (r->coded)
		r->media = HTTP_MEDIA_OTHER;
	parser->upgrade = 0; /* we never switch protocols, so it is a plain request */
	return check_head(r);
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
	struct http_reader *r = parser->data;

	if (r->discard_body)
		return 0;
	buffer_append(&r->body, at, size);
	return r->body.failed ? refuse(r, &no_memory) : 0;
}

/* The size of a chunk is known: the place to refuse, however its bytes are cut. */
static int on_chunk(llhttp_t *parser)
{
	struct http_reader *r = parser->data;

	if (parser->content_length > HTTP_BODY_MAX - r->chunk_bytes)
		return refuse(r, &large_body);
	r->chunk_bytes += (uint32_t)parser->content_length;
	if (parser->content_length > 0)
		return 0;
	r->in_trailers = true;
	lines_begin_trailers(&r->lines);
	return HPE_PAUSED; /* the rest goes through lines_scan() */
}

static int on_end(llhttp_t *parser)
{
	struct http_reader *r = parser->data;

	r->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_target,
	.on_header_field = on_name,
	.on_header_field_complete = on_name_complete,
	.on_header_value = on_value,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_head_complete,
	.on_chunk_header = on_chunk,
	.on_body = on_body,
	.on_message_complete = on_end,
};

void http_reader_init(struct http_reader *r, struct budget *budget)
{
	r->body = (struct buffer){ .budget = budget };
	http_reader_reset(r);
}

void http_reader_finish(struct http_reader *r)
{
	buffer_finish(&r->body);
}

void http_reader_reset(struct http_reader *r)
{
	struct buffer body = r->body;

	buffer_clear(&body, BODY_KEPT);
	/* name, value and target are only read as far as their sizes say. */
	memset(r, 0, offsetof(struct http_reader, name));
	r->body = body;
	llhttp_init(&r->parser, HTTP_REQUEST, &settings);
	r->parser.data = r;
}

bool http_reader_is_fresh(const struct http_reader *r)
{
	return r->lines.count == 0 && r->lines.line_bytes == 0;
}

static struct http_problem complaint(const llhttp_t *parser, llhttp_errno_t error)
{
	/* RFC 9110 9.1: 501 for a method that is one, or would be if read on. */
	if (error == HPE_INVALID_METHOD && field_is_token_char(*llhttp_get_error_pos(parser)))
		return unknown_method;
	if (error == HPE_INVALID_CONSTANT && parser->method > HTTP_SOURCE)
		return unknown_method; /* one of RTSP, in HTTP */
	for (size_t i = 0; i < sizeof complaints / sizeof *complaints; i++) {
		if (complaints[i].error == error)
			return complaints[i].problem;
	}
	return malformed;
}

static enum http_event parse(struct http_reader *r, const char *data, size_t size, size_t *ret_used)
{
	llhttp_errno_t error = llhttp_execute(&r->parser, data, size);

	*ret_used = size;
	if (error == HPE_OK)
		return HTTP_EVENT_MORE;
	if (error == HPE_PAUSED) {
		*ret_used = (size_t)(llhttp_get_error_pos(&r->parser) - data);
		if (r->complete)
			return HTTP_EVENT_END;
		llhttp_resume(&r->parser);
		return HTTP_EVENT_MORE;
	}
	if (r->problem.status == 0)
		r->problem = complaint(&r->parser, error);
	return HTTP_EVENT_REFUSED;
}

/* The head, or the trailers. */
static enum http_event read_lines(struct http_reader *r, const char *data, size_t size,
				  size_t *ret_used)
{
	struct http_problem problem;
	bool end;
	size_t scanned = lines_scan(&r->lines, data, size, &problem, &end);
	enum http_event event = parse(r, data, scanned, ret_used);

	if (event == HTTP_EVENT_REFUSED)
		return event;
	if (problem.status == 0 && end != (r->in_trailers ? r->complete : r->head_complete))
		problem = malformed; /* llhttp and we see two different ends */
	if (problem.status == 0 && event == HTTP_EVENT_END && *ret_used != scanned)
		problem = malformed;
	if (problem.status != 0) {
		r->problem = problem;
		return HTTP_EVENT_REFUSED;
	}
	if (event == HTTP_EVENT_MORE && end)
		return HTTP_EVENT_HEAD;
	return event;
}

static enum http_event read_body(struct http_reader *r, const char *data, size_t size,
				 size_t *ret_used)
{
	size_t room = HTTP_WIRE_MAX - (size_t)r->wire_bytes;
	enum http_event event = parse(r, data, size < room ? size : room, ret_used);
	size_t rest;

	r->wire_bytes += (uint32_t)*ret_used;
	if (event != HTTP_EVENT_MORE || *ret_used == size)
		return event;
	if (!r->in_trailers) {
		r->problem = large_body;
		return HTTP_EVENT_REFUSED;
	}
	event = read_lines(r, data + *ret_used, size - *ret_used, &rest);
	*ret_used += rest;
	return event;
}

enum http_event http_read(struct http_reader *r, const char *data, size_t size, size_t *ret_used)
{
	if (r->head_complete && !r->in_trailers)
		return read_body(r, data, size, ret_used);
	return read_lines(r, data, size, ret_used);
}

const char *http_path(const struct http_reader *r, size_t *ret_size)
{
	*ret_size = r->path.size;
	return r->target + r->path.at;
}
