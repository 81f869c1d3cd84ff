/*
 * escape - make any bytes fit for a terminal, and other small texts of the log.
 *
 * Pure. UTF-8 as RFC 3629, section 4 has it: no surrogates, no overlong forms.
 */
#ifndef CLUSTERD_CORE_ESCAPE_H
#define CLUSTERD_CORE_ESCAPE_H

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

#endif
