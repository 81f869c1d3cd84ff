/*
 * escape - make any bytes fit for a terminal, and other small texts of the log.
 *
 * Pure. UTF-8 as RFC 3629, section 4 has it: no surrogates, no overlong forms.
 */
#ifndef CLUSTERD_CORE_ESCAPE_H
#define CLUSTERD_CORE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NUMBER_TEXT_MAX = 24 };

/* Length (1 to 4) of the valid sequence that `text` begins with, or 0. */
size_t utf8_sequence(const char *text, size_t size);

/* `size`, or up to three less, if a sequence that begins before `size` is not complete by then. */
size_t utf8_cut(const char *text, size_t size);

/* Writes the digits, without NUL; returns how many. */
size_t number_text(int64_t value, char text[NUMBER_TEXT_MAX]);

/* Writes "12ms", and returns where its NUL is. `value` is at most INT64_MAX. */
char *amount_text(char *at, uint64_t value, const char *unit);

/*
 * Copies at most `size` bytes of input that a terminal can show: control
 * characters except tab, and bytes that are not UTF-8, become \r, \x1b, … With
 * `quoted` also tab, " and \ are escaped. Returns the length; out needs
 * LOG_ESCAPED_MAX(in_size).
 */
#define LOG_ESCAPED_MAX(size) ((size) * 4)
size_t log_escape(char *out, const char *in, size_t in_size, bool quoted);

/* True if log_escape(…, false) would copy the bytes as they are; '\n' counts as plain here. */
bool log_plain(const char *in, size_t size);

#endif
