#include "cmd/app/route.h"

#include <stdio.h>
#include <string.h>

#include "cmd/app/json.h"

enum { SCRATCH_KEPT = 64 * 1024, NO_METHOD = UINT8_MAX };

struct exchange {
	struct site *site;
	const struct http_reader *reader;
	enum reply_connection connection;
	struct buffer *out;
};

typedef enum route_result route_handler(const struct exchange *exchange);

static route_handler handle_get, handle_post, handle_visits;

/* Rows of one path stand together; their methods make up its Allow. */
/* clang-format off */
static const struct route {
	const char *path;
	uint8_t method;
	bool takes_json;
	route_handler *handle;
	const char *allow;
} routes[] = {
	{ "/get",    HTTP_GET,  false, handle_get,    "GET, HEAD" },
	{ "/get",    HTTP_HEAD, false, handle_get,    "GET, HEAD" },
	{ "/post",   HTTP_POST, true,  handle_post,   "POST" },
	{ "/visits", HTTP_GET,  false, handle_visits, "GET, HEAD" },
	{ "/visits", HTTP_HEAD, false, handle_visits, "GET, HEAD" },
	/* not a path: OPTIONS asks what the server as a whole knows, RFC 9110 9.3.7 */
	{ "*",       NO_METHOD, false, NULL,          "GET, HEAD, POST" },
};
/* clang-format on */

static void answer(const struct exchange *x, const char *body, size_t size)
{
	struct reply reply = {
		.status = 200,
		.connection = x->connection,
		.head_only = x->reader->method == HTTP_HEAD,
		.body = body,
		.body_size = size,
	};

	reply_write(&x->site->common, &reply, x->out);
}

static void fail(const struct exchange *x, const struct http_problem *problem)
{
	route_error(x->site, problem, x->reader->method == HTTP_HEAD, x->connection, x->out);
}

static enum route_result handle_get(const struct exchange *x)
{
	answer(x, x->site->hello, x->site->hello_size);
	return ROUTE_ANSWERED;
}

static enum route_result handle_post(const struct exchange *x)
{
	const struct buffer *body = &x->reader->body;
	struct buffer *scratch = &x->site->scratch;
	char complaint[JSON_COMPLAINT_MAX];
	struct http_problem problem = { .message = complaint };

	buffer_clear(scratch, SCRATCH_KEPT);
	problem.status = json_echo(body->size ? body->data : "", body->size, scratch, complaint);
	if (problem.status != 0)
		fail(x, &problem);
	else
		answer(x, scratch->data, scratch->size);
	return ROUTE_ANSWERED;
}

static enum route_result handle_visits(const struct exchange *x)
{
	(void)x;
	return ROUTE_VISITS;
}

/* Returns the row, or NULL with what is wrong. */
static const struct route *find(const struct http_reader *reader, struct http_problem *ret_problem)
{
	size_t size;
	const char *path = http_path(reader, &size);

	*ret_problem = (struct http_problem){ 404, "no such path", NULL };
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		const struct route *route = &routes[i];

		if (strlen(route->path) != size || memcmp(route->path, path, size) != 0)
			continue;
		if (route->method == reader->method)
			return route;
		*ret_problem =
		    (struct http_problem){ 405, "method not allowed here", route->allow };
	}
	return NULL;
}

static const struct route *check(const struct http_reader *reader, struct http_problem *ret_problem)
{
	const struct route *route = find(reader, ret_problem);

	if (!route)
		return NULL;
	*ret_problem = (struct http_problem){ 0 };
	if (route->takes_json && reader->media != HTTP_MEDIA_JSON)
		*ret_problem = (struct http_problem){ 415, "send application/json in UTF-8", NULL };
	return route;
}

struct http_problem route_check(const struct http_reader *reader)
{
	struct http_problem problem;

	check(reader, &problem);
	return problem;
}

enum route_result route_answer(struct site *site, const struct http_reader *reader,
			       enum reply_connection connection, struct buffer *out)
{
	struct exchange exchange = { site, reader, connection, out };
	struct http_problem problem;
	const struct route *route = check(reader, &problem);

	if (problem.status == 0)
		return route->handle(&exchange);
	fail(&exchange, &problem);
	return ROUTE_ANSWERED;
}

void route_visits(struct site *site, long long visits, bool head_only,
		  enum reply_connection connection, struct buffer *out)
{
	char body[40];
	struct reply reply = {
		.status = 200,
		.connection = connection,
		.head_only = head_only,
		.body = body,
		.body_size = (size_t)snprintf(body, sizeof body, "{\"visits\":%lld}", visits),
	};

	reply_write(&site->common, &reply, out);
}

void route_error(struct site *site, const struct http_problem *problem, bool head_only,
		 enum reply_connection connection, struct buffer *out)
{
	char body[256];
	struct reply reply = {
		.status = problem->status,
		.connection = connection,
		.head_only = head_only,
		.allow = problem->allow,
		.body = body,
	};

	/* The texts are ours and need no escapes. */
	reply.body_size = (size_t)snprintf(
	    body, sizeof body, "{\"status\":%u,\"error\":\"%.40s\",\"message\":\"%.150s\"}",
	    problem->status, reply_phrase(problem->status), problem->message);
	reply_write(&site->common, &reply, out);
}

void site_init(struct site *site, long pid, const char *slot)
{
	int size;

	*site = (struct site){ 0 };
	reply_common_init(&site->common, pid);
	if (slot)
		size = snprintf(site->hello, sizeof site->hello,
				"{\"message\":\"hello from app\",\"pid\":%ld,\"slot\":%.10s}", pid,
				slot);
	else
		size = snprintf(site->hello, sizeof site->hello,
				"{\"message\":\"hello from app\",\"pid\":%ld}", pid);
	site->hello_size = (size_t)size;
}

void site_finish(struct site *site)
{
	buffer_finish(&site->scratch);
}
