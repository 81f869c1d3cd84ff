/*
 * json - writes one flat JSON object a line, into memory of the caller.
 *
 *	struct json j;
 *	json_begin(&j, text, sizeof text);
 *	json_word(&j, "kind", "slot");
 *	json_number(&j, "slot", 3);
 *	size = json_end(&j);
 *
 * Every line begins with "v":1 and ends with a newline; keys are constants and
 * are not escaped. Values are valid UTF-8 without control characters, whatever
 * bytes come in (RFC 8259, section 7; RFC 3629): a byte that is not UTF-8
 * becomes U+FFFD, and DEL and the C1 controls are escaped too, so that a line
 * can be shown on a terminal. Nothing is written beyond `size`.
 */
#ifndef CLUSTERD_CORE_JSON_H
#define CLUSTERD_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_VERSION = 1 };

struct json {
	char *text;
	size_t size, used;
	bool full; /* something did not fit */
};

void json_begin(struct json *json, char *text, size_t size);
void json_word(struct json *json, const char *key, const char *value);
void json_text(struct json *json, const char *key, const char *value, size_t size);
void json_number(struct json *json, const char *key, int64_t value);
void json_flag(struct json *json, const char *key, bool value);

/* Returns the length of the line, or 0 when it did not fit. */
size_t json_end(struct json *json);

/* Bytes that a text of `size` bytes takes at most, quotes included. */
#define JSON_TEXT_MAX(size) ((size)*6 + 2)

#endif
