#include "cmd/app/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { DIGITS_MIN = 15, DIGITS_MAX = 17 }; /* what 19.99 keeps, what 0.1 + 0.2 needs */

/*
 * The parser, digits_of() and the writer recurse, so the depth is checked before any
 * of them runs. Brackets inside strings do not count; whether they match is the parser's
 * business.
 */
static bool too_deep(const char *text, size_t size)
{
	bool string = false;
	int depth = 0;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (string && c == '\\')
			i++;
		else if (c == '"')
			string = !string;
		else if (!string && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
			return true;
		else if (!string && (c == ']' || c == '}'))
			depth--;
	}
	return false;
}

static const char *reason(enum json_error_code code)
{
	static const struct {
		enum json_error_code code;
		const char *text;
	} reasons[] = {
		{ json_error_duplicate_key, "a key is given twice" },
		{ json_error_numeric_overflow, "a number is too large" },
		{ json_error_invalid_utf8, "invalid UTF-8" },
		{ json_error_null_byte_in_key, "a key holds a NUL" },
		{ json_error_premature_end_of_input, "it ends too early" },
		{ json_error_end_of_input_expected, "text after its end" },
	};

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
		if (reasons[i].code == code)
			return reasons[i].text;
	}
	return "syntax error";
}

/* The fewest digits that read back as this very number: every double has one of at most 17. */
static int digits_of_number(double number)
{
	char text[32];
	int digits;

	for (digits = DIGITS_MIN; digits < DIGITS_MAX; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	return digits;
}

/* The same for all numbers in it: jansson writes a whole document in one precision. */
static int digits_of(json_t *value)
{
	int digits = json_is_real(value) ? digits_of_number(json_real_value(value)) : DIGITS_MIN;
	const char *key;
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item) {
		int needed = digits < DIGITS_MAX ? digits_of(item) : digits;

		digits = needed > digits ? needed : digits;
	}
	json_object_foreach(value, key, item) {
		int needed = digits < DIGITS_MAX ? digits_of(item) : digits;

		digits = needed > digits ? needed : digits;
	}
	return digits;
}

static int append(const char *text, size_t size, void *out)
{
	buffer_append(out, text, size);
	return 0;
}

unsigned json_echo(const char *text, size_t size, struct buffer *out,
		   char complaint[JSON_COMPLAINT_MAX])
{
	json_error_t error = { 0 };
	json_t *document;
	int failed;

	if (too_deep(text, size)) {
		snprintf(complaint, JSON_COMPLAINT_MAX, "JSON nested deeper than %d",
			 JSON_DEPTH_MAX);
		return 400;
	}
	if (memchr(text, '\0', size)) { /* jansson loses one that follows a number */
		snprintf(complaint, JSON_COMPLAINT_MAX, "malformed JSON: a NUL byte");
		return 400;
	}
	document = json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
			      &error);
	if (!document && json_error_code(&error) == json_error_out_of_memory) {
		snprintf(complaint, JSON_COMPLAINT_MAX, "out of memory");
		return 503;
	}
	if (!document) {
		snprintf(complaint, JSON_COMPLAINT_MAX, "malformed JSON, line %d column %d: %s",
			 error.line, error.column, reason(json_error_code(&error)));
		return 400;
	}
	failed = json_dump_callback(document, append, out,
				    JSON_COMPACT | JSON_ENCODE_ANY |
					(size_t)JSON_REAL_PRECISION(digits_of(document)));
	json_decref(document);
	if (failed || out->failed) {
		snprintf(complaint, JSON_COMPLAINT_MAX, "out of memory");
		return 503;
	}
	return 0;
}
