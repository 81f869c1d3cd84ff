/*
 * syntax - the forms of a request line, of Host and of Content-Type. Pure. The first two are stricter
 * than what llhttp tolerates, as RFC 9112 asks.
 */
#ifndef APP_SYNTAX_H
#define APP_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request line that comes in parts (RFC 9112 3): method SP target SP HTTP/d.d. All zero at first. */
struct request_line {
	uint8_t part;  /* 0 to 2 */
	uint16_t size; /* of the part so far */
};

/* Looks at more bytes of the line, without its LF. Returns how many of them are right. */
size_t request_line_scan(struct request_line *line, const char *text, size_t size);

/* The line ends here: is it whole, or empty? */
bool request_line_ends(const struct request_line *line);

/* A character of a token, as methods and field names are (RFC 9110 5.6.2). */
bool is_token_char(char c);

/* uri-host [ ":" port ], or empty (RFC 9110 7.2, RFC 3986 3.2.2). */
bool is_host(const char *text, size_t size);

/* True when the first `size` bytes at `text` are the word, in any case. */
bool is_word(const char *text, size_t size, const char *word);

/* Length of the text without blanks at its end. */
size_t trimmed(const char *text, size_t size);

/* A Content-Type, type/subtype and parameters after semicolons: is it JSON in UTF-8? */
bool is_json(const char *value, size_t size);

#endif
