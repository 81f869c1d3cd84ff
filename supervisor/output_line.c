#include "supervisor/output_line.h"

#include <stdio.h>
#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/json.h"
#include "supervisor/output.h"

/* A line whose bytes may grow sixfold (json.h) is cut earlier, so that a piece always finds room. */
enum { GROWING_LINE_MAX = OUTPUT_LINE_MAX / 4, LINE_ROOM_MAX = 6 * GROWING_LINE_MAX + 512 };

_Static_assert(LINE_ROOM_MAX < LOG_BUFFER_MAX - LOG_RESERVE, "a line must fit into an empty buffer");

static const char mark[] = " [line goes on]";

static const char *stream_word(const struct output_batch *batch)
{
	return batch->error ? "err" : "out";
}

static void fetch_room(struct output_batch *batch)
{
	batch->room = log_room(batch->log);
	batch->at = log_space(batch->log);
	batch->used = 0;
}

static void make_prefix(struct output_batch *batch)
{
	const struct log *log = batch->log;
	char stamp[STAMP_TEXT_MAX];
	int size = 0;

	if (log->format == LOG_FORMAT_TEXT)
		size = snprintf(batch->prefix, sizeof batch->prefix, "%s[%u] ", log->name, batch->slot);
	else if (log->format == LOG_FORMAT_LOGFMT)
		size = snprintf(batch->prefix, sizeof batch->prefix,
		                "%s%s%slevel=info event=output name=%s slot=%u stream=%s line=\"",
		                log->journal ? "" : "time=",
		                log->journal ? "" : stamp_text(log_wall_ms(), stamp),
		                log->journal ? "" : " ", log->name, batch->slot, stream_word(batch));
	batch->prefix_size = (size_t)size;
}

void output_batch_begin(struct output_batch *batch, struct log *log, uint32_t slot, bool error,
                        const char *text, size_t size)
{
	*batch = (struct output_batch){ .log = log, .slot = slot, .error = error };
	batch->plain = log_plain(text, size);
	batch->line_max = batch->plain && log->format == LOG_FORMAT_TEXT ? OUTPUT_LINE_MAX
	                                                                 : GROWING_LINE_MAX;
	for (const struct log_tap *tap = log->taps; tap; tap = tap->next)
		batch->tapped |= tap->output != NULL;
	make_prefix(batch);
	fetch_room(batch);
}

/* ---- one line in each form ---- */

static size_t put_json(struct output_batch *batch, char *at, size_t room, const char *text,
                       size_t size, bool cut)
{
	char stamp[STAMP_TEXT_MAX];
	struct json json;

	json_begin(&json, at, room);
	if (!batch->log->journal)
		json_word(&json, "time", stamp_text(log_wall_ms(), stamp));
	json_word(&json, "level", "info");
	json_word(&json, "event", "output");
	json_word(&json, "name", batch->log->name);
	json_number(&json, "slot", batch->slot);
	json_word(&json, "stream", stream_word(batch));
	json_text(&json, "line", text, size);
	if (cut)
		json_flag(&json, "cut", true);
	return json_end(&json);
}

static size_t put_prefixed(struct output_batch *batch, char *at, size_t room, const char *text,
                           size_t size, bool cut)
{
	bool logfmt = batch->log->format == LOG_FORMAT_LOGFMT;
	bool as_it_is = batch->plain && !logfmt;
	const char *end = logfmt ? (cut ? "\" cut=true\n" : "\"\n") : "\n";
	size_t body = as_it_is ? size : LOG_ESCAPED_MAX(size);
	size_t used = batch->prefix_size;

	if (used + body + sizeof mark + 16 > room)
		return 0;
	memcpy(at, batch->prefix, used);
	if (as_it_is)
		memcpy(at + used, text, size);
	used += as_it_is ? size : log_escape(at + used, text, size, logfmt);
	if (cut && !logfmt) {
		memcpy(at + used, mark, sizeof mark - 1);
		used += sizeof mark - 1;
	}
	memcpy(at + used, end, strlen(end));
	return used + strlen(end);
}

static size_t put(struct output_batch *batch, const char *text, size_t size, bool cut)
{
	char *at = batch->at + batch->used;
	size_t room = batch->room - batch->used;

	return batch->log->format == LOG_FORMAT_JSON ? put_json(batch, at, room, text, size, cut)
	                                             : put_prefixed(batch, at, room, text, size, cut);
}

static void tell_taps(const struct output_batch *batch, const char *text, size_t size)
{
	static char shown[LOG_ESCAPED_MAX(OUTPUT_LINE_MAX)];
	struct log_tap *tap = batch->log->taps, *next;

	if (!batch->plain)
		size = log_escape(shown, text, size, false);
	for (; tap; tap = next) {
		next = tap->next;
		if (tap->output)
			tap->output(tap->context, batch->slot, batch->error, batch->plain ? text : shown, size);
	}
}

bool output_batch_add(struct output_batch *batch, const char *text, size_t size, bool cut)
{
	size_t used = put(batch, text, size, cut);

	if (used == 0) {
		output_batch_end(batch);
		log_push(batch->log);
		fetch_room(batch);
		used = put(batch, text, size, cut);
	}
	batch->used += used;
	if (used > 0 && batch->tapped)
		tell_taps(batch, text, size);
	return used > 0;
}

void output_batch_end(struct output_batch *batch)
{
	if (batch->used > 0)
		log_commit(batch->log, batch->used);
	batch->used = 0;
	batch->room = 0;
}
