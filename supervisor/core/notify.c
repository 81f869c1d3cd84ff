#include "supervisor/core/notify.h"

#include <string.h>

#include "supervisor/core/escape.h"

struct value {
	const char *text;
	size_t size;
};

static bool is(struct value v, const char *word)
{
	return v.size == strlen(word) && memcmp(v.text, word, v.size) == 0;
}

static void on_ready(struct notify_message *m, struct value v)
{
	m->ready |= is(v, "1");
}

static void on_stopping(struct notify_message *m, struct value v)
{
	m->stopping |= is(v, "1");
}

static void on_barrier(struct notify_message *m, struct value v)
{
	m->barrier |= is(v, "1");
}

static void on_watchdog(struct notify_message *m, struct value v)
{
	m->watchdog |= is(v, "1");
	m->watchdog_trigger |= is(v, "trigger");
}

/* Digits only, as in sd_notify(3); a number that does not fit is not one. */
static void on_extend(struct notify_message *m, struct value v)
{
	uint64_t usec = 0;

	if (v.size == 0)
		return;
	for (size_t i = 0; i < v.size; i++) {
		unsigned digit = (unsigned)(unsigned char)v.text[i] - '0';

		if (digit > 9 || usec > (UINT64_MAX - digit) / 10)
			return;
		usec = usec * 10 + digit;
	}
	m->has_extend = true;
	m->extend_usec = usec;
}

/* What can not be shown becomes a question mark. */
static void on_status(struct notify_message *m, struct value v)
{
	size_t used = 0;

	for (size_t at = 0; at < v.size;) {
		size_t size = utf8_sequence(v.text + at, v.size - at);
		unsigned char c = (unsigned char)v.text[at];
		bool control = c < ' ' || c == 0x7f ||
		               (size == 2 && c == 0xc2 && (unsigned char)v.text[at + 1] < 0xa0);

		if (used + (size && !control ? size : 1) >= NOTIFY_STATUS_MAX)
			break;
		if (size && !control) {
			memcpy(m->status + used, v.text + at, size);
			used += size;
		} else {
			m->status[used++] = '?';
		}
		at += size ? size : 1;
	}
	m->status[used] = '\0';
	m->has_status = true;
}

static const struct key {
	const char *name;
	void (*heed)(struct notify_message *m, struct value v);
} keys[] = {
	{ "READY", on_ready },
	{ "STOPPING", on_stopping },
	{ "STATUS", on_status },
	{ "WATCHDOG", on_watchdog },
	{ "EXTEND_TIMEOUT_USEC", on_extend },
	{ "BARRIER", on_barrier },
};

static void parse_line(struct notify_message *m, const char *line, size_t size)
{
	const char *equals = memchr(line, '=', size);
	struct value name, value;

	if (!equals)
		return;
	name = (struct value){ line, (size_t)(equals - line) };
	value = (struct value){ equals + 1, size - name.size - 1 };
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (is(name, keys[i].name))
			keys[i].heed(m, value);
}

void notify_parse(const char *text, size_t size, struct notify_message *ret)
{
	memset(ret, 0, sizeof *ret);
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		parse_line(ret, text, length);
		length += end ? 1 : 0;
		text += length;
		size -= length;
	}
}

uint32_t notify_spend(struct notify_budget *budget, uint64_t now_ms)
{
	if (now_ms >= budget->from_ms + NOTIFY_WINDOW_MS)
		*budget = (struct notify_budget){ .from_ms = now_ms };
	if (++budget->used <= NOTIFY_BURST)
		return 0;
	return (uint32_t)(budget->from_ms + NOTIFY_WINDOW_MS - now_ms);
}
