/*
 * json - from the bytes of a request to the bytes of an answer (RFC 8259).
 *
 * Any JSON value is taken, not only objects and arrays. Refused, as they have
 * no one meaning: a key given twice, a number that does not fit, invalid UTF-8,
 * a NUL inside a key.
 *
 * No I/O and no state.
 */
#ifndef APP_JSON_H
#define APP_JSON_H

#include <stddef.h>

#include "cmd/app/buffer.h"

enum {
	JSON_DEPTH_MAX = 128,    /* nested arrays and objects */
	JSON_COMPLAINT_MAX = 96, /* bytes with the NUL */
};

/*
 * Parses `text` and appends the document, written compactly, to *out.
 *
 * Returns 0, or the HTTP status of the failure (400, or 503 when memory is out)
 * with a sentence in `complaint` that holds nothing of the client's text.
 */
unsigned json_echo(const char *text, size_t size, struct buffer *out,
                   char complaint[JSON_COMPLAINT_MAX]);

#endif
