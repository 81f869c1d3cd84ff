#include <stdarg.h>
#include <string.h>

#include "cmd/clusterctl/ctl.h"
#include "supervisor/core/brief.h"
#include "supervisor/core/escape.h"

enum { SAY_MAX = 2048 };

enum hue state_hue(const char *state)
{
	static const struct {
		const char *state;
		enum hue hue;
	} hues[] = {
		{ "ready", HUE_GOOD },    { "starting", HUE_WARN }, { "draining", HUE_WARN },
		{ "stopping", HUE_WARN }, { "killed", HUE_WARN },   { "backoff", HUE_WARN },
		{ "degraded", HUE_WARN }, { "held", HUE_BAD },      { "retired", HUE_BAD },
		{ "drained", HUE_DIM },   { "empty", HUE_DIM },     { "silent", HUE_BAD },
	};

	for (size_t i = 0; i < sizeof hues / sizeof *hues; i++)
		if (strcmp(hues[i].state, state) == 0)
			return hues[i].hue;
	return HUE_NONE;
}

/* C1 controls are two bytes of UTF-8: 0xc2 and one below 0xa0. */
static bool is_control(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	return (at[0] < ' ' && at[0] != '\t') || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
}

void put_clean(FILE *out, const char *text)
{
	size_t left = strlen(text);

	for (size_t length; left > 0; text += length, left -= length) {
		length = utf8_sequence(text, left);
		if (length > 0 && !is_control(text))
			fwrite(text, 1, length, out);
		else
			putc('?', out);
		length = length > 0 ? length : 1;
	}
}

void put_json(const json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
}

static char said[LOG_ESCAPED_MAX(SAY_MAX) + 1];

const char *ctl_said(void)
{
	return said;
}

void ctl_say(const char *format, ...)
{
	char text[SAY_MAX];
	va_list arguments;
	size_t length;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size < 0)
		return;
	size = size < SAY_MAX ? size : SAY_MAX - 1;
	length = log_escape(said, text, (size_t)size, false);
	said[length] = '\0';
	fflush(stdout); /* in a pipe too this comes behind what was printed before */
	fwrite(said, 1, length, stderr);
	putc('\n', stderr);
}

/* An empty text only switches the colour on. */
void put_hue(FILE *out, bool paint, enum hue hue, const char *text)
{
	static const char *const codes[] = {
		[HUE_NONE] = "",          [HUE_GOOD] = "\033[32m", [HUE_WARN] = "\033[33m",
		[HUE_BAD] = "\033[1;31m", [HUE_DIM] = "\033[2m",   [HUE_TITLE] = "\033[1m",
	};

	if (paint)
		fputs(codes[hue], out);
	put_clean(out, text);
	if (paint && text[0] && hue != HUE_NONE)
		fputs("\033[0m", out);
}

const char *text_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

int64_t number_of(const json_t *line, const char *key)
{
	return json_integer_value(json_object_get(line, key));
}

bool flag_of(const json_t *line, const char *key)
{
	return json_is_true(json_object_get(line, key));
}

const char *duration_of(const json_t *line, const char *key, char *text)
{
	int64_t ms = number_of(line, key);

	return brief_duration(ms > 0 ? (uint64_t)ms : 0, text);
}
