#include <string.h>

#include "cmd/clusterctl/ctl.h"
#include "supervisor/core/brief.h"

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
void put_clean(FILE *out, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;

		if (c1)
			at++;
		putc(c1 || (*at < ' ' && *at != '\t') || *at == 0x7f ? '?' : *at, out);
	}
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
