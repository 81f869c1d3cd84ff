/*
 * words - splitting and quoting as a shell does it, without the expansions.
 *
 * Blanks separate words. '...' keeps everything, "..." everything but \ before one of
 * " \ $ `, a \ outside of quotes the next byte, and $'...' knows \n \t \r \e \\ \' \" and \xHH
 * (POSIX.1-2024, Shell Command Language, 2.2). $, ` and * mean nothing else: no shell runs.
 * A word that begins with an unquoted # is refused, as it would be a comment in a shell.
 */
#ifndef CLUSTERD_CONFIG_WORDS_H
#define CLUSTERD_CONFIG_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/policy.h"

/* The very *problem (compare the pointers) of a text that does not fit: the caller knows the limit. */
extern const char word_too_long[];

/* The same of an open quote, which may be one that a comment has cut. */
extern const char word_not_closed[];

/*
 * Splits `text`. Returns 0, or -1 with *problem a constant sentence: an open quote, or more
 * than WORDS_MAX words or WORDS_TEXT_MAX bytes. *ret is set only on success, all of its bytes.
 */
int words_parse(const char *text, struct words *ret, const char **problem);

/* Adds one word as it is. Returns 0, or -1 where it does not fit. `words` began as all zeros. */
int words_append(struct words *words, const char *word);

/* The word after `word`, or the first one for NULL; NULL after the last. */
const char *words_next(const struct words *words, const char *word);

/*
 * A single value: taken as it stands, or one quoted word if it begins with ' " or $'.
 * Writes at most `size` bytes with the NUL. Returns 0, or -1 with *problem set.
 */
int word_unquote(const char *text, char *ret, size_t size, const char **problem);

/*
 * Writes `word` so that words_parse, after inih, reads it back: bare where nothing in it needs a
 * quote, else as adjacent '...' or $'...' of at most 130 bytes each with no ' inside, so that a file
 * can break its line between two. Returns the length; never cuts: `text` has room for 5 bytes
 * per byte of `word` and 8 more.
 */
size_t word_quote(const char *word, char *text);

#endif
