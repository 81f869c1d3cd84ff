#include "supervisor/output_tail.h"

#include <stdlib.h>
#include <string.h>

#include "supervisor/core/escape.h"

enum { LAST_LINE_SHOWN = 512 };

void tail_keep(struct tail *t, const char *text, size_t size)
{
	size_t at, first;

	if (t->size == 0 || size == 0)
		return;
	if (!t->text)
		t->text = malloc(t->size);
	if (!t->text)
		return;
	if (size > t->size) {
		t->end += size - t->size;
		text += size - t->size;
		size = t->size;
	}
	at = (size_t)(t->end % t->size);
	first = t->size - at < size ? t->size - at : size;
	memcpy(t->text + at, text, first);
	memcpy(t->text, text + first, size - first);
	t->end += size;
}

bool tail_pieces(const struct tail *t, const char *ret[2], size_t ret_size[2])
{
	size_t size = !t->text ? 0 : t->end < t->size ? (size_t)t->end : t->size;
	size_t at = size > 0 ? (size_t)((t->end - size) % t->size) : 0;

	ret_size[0] = t->size - at < size ? t->size - at : size;
	ret_size[1] = size - ret_size[0];
	ret[0] = t->text ? t->text + at : "";
	ret[1] = t->text ? t->text : "";
	return size > 0 && t->end > size;
}

void tail_restore(struct tail *t, const char *const pieces[2], const size_t sizes[2], bool cut)
{
	for (int i = 0; i < 2; i++)
		tail_keep(t, pieces[i], sizes[i]);
	if (cut && t->end == t->size)
		t->end += t->size;
}

/* The ring as one piece, from the beginning of a line on if one begins in it. */
static size_t unroll(const struct tail *t, char *text)
{
	const char *pieces[2], *line;
	size_t sizes[2], size;
	bool cut = tail_pieces(t, pieces, sizes);

	size = sizes[0] + sizes[1];
	if (size == 0)
		return 0;
	memcpy(text, pieces[0], sizes[0]);
	memcpy(text + sizes[0], pieces[1], sizes[1]);
	line = cut ? memchr(text, '\n', size - 1) : NULL;
	if (!line)
		return size;
	size -= (size_t)(line + 1 - text);
	memmove(text, line + 1, size);
	return size;
}

/* Escaped, newlines kept. */
static size_t escape_lines(char *out, const char *in, size_t size)
{
	size_t used = 0;

	while (size > 0) {
		const char *end = memchr(in, '\n', size);
		size_t length = end ? (size_t)(end - in) : size;

		used += log_escape(out + used, in, length, false);
		if (end)
			out[used++] = '\n';
		length += end ? 1 : 0;
		in += length;
		size -= length;
	}
	return used;
}

size_t tail_text(const struct tail *t, char *ret, size_t size)
{
	char *raw = malloc(t->size + 1), *text = malloc(LOG_ESCAPED_MAX(t->size) + 1);
	size_t used = 0;

	if (raw && text) {
		used = escape_lines(text, raw, unroll(t, raw));
		used = utf8_cut(text, used < size ? used : size);
		memcpy(ret, text, used);
	}
	free(raw);
	free(text);
	return used;
}

const char *tail_last_line(const struct tail *t)
{
	static char shown[LOG_ESCAPED_MAX(LAST_LINE_SHOWN) + 1];
	char *raw = malloc(t->size + 1);
	size_t size = raw ? unroll(t, raw) : 0, from;

	while (size > 0 && (raw[size - 1] == '\n' || raw[size - 1] == '\r'))
		size--;
	for (from = size; from > 0 && raw[from - 1] != '\n';)
		from--;
	if (size - from > LAST_LINE_SHOWN)
		size = from + utf8_cut(raw + from, LAST_LINE_SHOWN);
	shown[log_escape(shown, raw ? raw + from : "", size - from, false)] = '\0';
	free(raw);
	return shown;
}
