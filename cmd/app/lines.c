#include "cmd/app/lines.h"

#include <string.h>

static const struct http_problem folded = { 400, "folded header line", NULL };
static const struct http_problem nameless = { 400, "header line without a name", NULL };
static const struct http_problem bare_lf = { 400, "line ends in LF without CR", NULL };
static const struct http_problem long_target = { 414, "request line too long", NULL };
static const struct http_problem long_field = { 431, "header line too long", NULL };
static const struct http_problem long_head = { 431, "header too large", NULL };
static const struct http_problem many_fields = { 431, "too many header lines", NULL };

/*
 * Counts a run of bytes of one line. Returns how many of them are within the
 * limits; fewer than `size` means that *problem says which one was passed.
 */
static size_t count_line(struct lines *l, size_t size, struct http_problem *problem)
{
	size_t line = LINES_LINE_MAX - (size_t)l->line_bytes;
	size_t head = LINES_SIZE_MAX - (size_t)l->bytes;

	if (size > line && line <= head) {
		*problem = l->count == 0 ? long_target : long_field;
		size = line;
	} else if (size > head) {
		*problem = long_head;
		size = head;
	}
	l->line_bytes = (uint16_t)(l->line_bytes + size);
	l->bytes += (uint32_t)size;
	return size;
}

/* A line ended. Returns true when it was the empty one that ends the head. */
static bool end_line(struct lines *l)
{
	bool empty = l->line_bytes == 2;

	if (l->count == 0)
		l->first_bytes = l->line_bytes;
	l->line_bytes = 0;
	if (!empty)
		l->count++;
	return empty && l->count > 0; /* RFC 9112 2.2: empty lines before a request are skipped */
}

/* What is wrong with a line that ends here, or NULL. */
static const struct http_problem *line_problem(const struct lines *l, bool cr)
{
	if (!cr)
		return &bare_lf;
	return l->count == LINES_MAX && l->line_bytes > 2 ? &many_fields : NULL;
}

/* What is wrong with a field line that begins so, or NULL. */
static const struct http_problem *first_problem(const struct lines *l, char first)
{
	if (l->line_bytes > 0 || l->count == 0)
		return NULL;
	if (first == ' ' || first == '\t')
		return &folded; /* RFC 9112 5.2: obs-fold */
	return first == ':' ? &nameless : NULL;
}

/* The last bytes of the request line, whatever pieces it comes in. */
static void keep_tail(struct lines *l, const char *text, size_t size)
{
	size_t kept = size < LINES_TAIL ? LINES_TAIL - size : 0;

	if (kept > 0)
		memmove(l->tail, l->tail + size, kept);
	else
		text += size - LINES_TAIL;
	memcpy(l->tail + kept, text, LINES_TAIL - kept);
}

/*
 * Looks at one line, or the part of it that is here. Returns how many of its
 * bytes to parse; *problem is what is wrong with the byte after them.
 */
static size_t scan_line(struct lines *l, const char *line, size_t size,
			struct http_problem *problem, bool *end)
{
	const char *lf = memchr(line, '\n', size);
	size_t text = lf ? (size_t)(lf - line) : size;
	bool cr = text > 0 ? line[text - 1] == '\r' : l->ended_in_cr;
	size_t counted;

	if (first_problem(l, *line)) {
		*problem = *first_problem(l, *line);
		return 0;
	}
	l->ended_in_cr = !lf && cr;
	counted = count_line(l, lf ? text + 1 : text, problem);
	if (l->count == 0)
		keep_tail(l, line, counted);
	if (!lf || problem->status != 0)
		return counted;
	if (line_problem(l, cr)) {
		*problem = *line_problem(l, cr);
		return text;
	}
	*end = end_line(l);
	return counted;
}

void lines_begin_trailers(struct lines *l)
{
	*l = (struct lines){ .count = 1 }; /* fields follow, as after a request line */
}

size_t lines_scan(struct lines *l, const char *data, size_t size, struct http_problem *ret_problem,
		  bool *ret_end)
{
	size_t at = 0;

	*ret_problem = (struct http_problem){ 0 };
	*ret_end = false;
	while (at < size && !*ret_end && ret_problem->status == 0)
		at += scan_line(l, data + at, size - at, ret_problem, ret_end);
	return at;
}
