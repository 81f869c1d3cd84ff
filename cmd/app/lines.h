/*
 * lines - looks at the lines of a head, or of trailers, before they are parsed.
 *
 * Counts them against their limits, finds where they end, and refuses what llhttp
 * tolerates: LF without CR, folded lines, names of no length. However the bytes
 * are cut, the result is the same.
 *
 * No I/O, no allocation.
 */
#ifndef APP_LINES_H
#define APP_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/app/problem.h"

enum {
	LINES_LINE_MAX = 8192,  /* bytes of one line with its CRLF: 414 or 431 */
	LINES_MAX = 101,        /* request line and 100 fields: 431 */
	LINES_SIZE_MAX = 16384, /* bytes of all of them: 431 */
	LINES_TAIL = 10,        /* bytes of "HTTP/1.1\r\n" */
};

/* All zero: before a request. */
struct lines {
	uint32_t bytes;        /* of all lines so far */
	uint16_t line_bytes;   /* of the line under way */
	uint16_t count;        /* lines that ended; empty ones before a request are skipped */
	uint16_t first_bytes;  /* of the request line, with its CRLF */
	bool ended_in_cr;      /* the last byte scanned was CR */
	char tail[LINES_TAIL]; /* how the request line ends */
};

/* Ready for the fields of trailers, which have the limits of a head of their own. */
void lines_begin_trailers(struct lines *lines);

/*
 * Returns how many of the bytes to parse. *ret_problem is what is wrong with the
 * byte after them, with status 0 if nothing; *ret_end is true when the empty line
 * that ends all is the last of them.
 */
size_t lines_scan(struct lines *lines, const char *data, size_t size,
                  struct http_problem *ret_problem, bool *ret_end);

#endif
