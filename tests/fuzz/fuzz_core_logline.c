/* Oracle: whatever the values, each form is one line without a control character; json's quotes are
 * balanced; escaping does not depend on where plain text is cut. The first byte picks the event. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/logline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void must_be_a_line(const char *text, size_t size)
{
	must(size > 1 && size <= LOGLINE_MAX && text[size - 1] == '\n');
	for (size_t at = 0; at < size - 1;) {
		size_t length = utf8_sequence(text + at, size - 1 - at);
		unsigned char c = (unsigned char)text[at];

		must(length > 0 && (c >= ' ' || c == '\t') && c != 0x7f);
		must(c != 0xc2 || (unsigned char)text[at + 1] >= 0xa0);
		at += length;
	}
}

static void must_be_json(const char *text, size_t size)
{
	bool inside = false;

	for (size_t i = 0; i < size; i++) {
		if (inside && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			inside = !inside;
	}
	must(!inside && text[0] == '{' && text[size - 2] == '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char out[LOGLINE_MAX], escaped[LOG_ESCAPED_MAX(4096)];
	const char *text = (const char *)data + 1;
	struct log_field fields[2];
	struct logline line = { .level = LOG_LEVEL_INFO, .name = "web", .fields = fields, .field_count = 2 };
	size_t half;

	if (size < 1 || size > 4096)
		return 0;
	size--;
	half = size / 2;
	line.id = (enum log_id)(data[0] % LOG_IDS);
	line.stamp = data[0] & 0x80;
	fields[0] = (struct log_field)F_BYTES("reason", text, half);
	fields[1] = (struct log_field)F_BYTES("text", text + half, size - half);
	for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
		size_t length = logline_write(&line, (enum log_format)format, out, sizeof out);

		must_be_a_line(out, length);
		if (format == LOG_FORMAT_JSON)
			must_be_json(out, length);
	}
	must(log_escape(escaped, text, size, true) <= sizeof escaped);
	if (log_plain(text, size) && !memchr(text, '\n', size)) {
		must(log_escape(escaped, text, size, false) == size);
		must(memcmp(escaped, text, size) == 0);
	}
	return 0;
}
