/*
 * field - what the values of header fields mean (RFC 9110).
 *
 * Values come without the blanks around them and need no NUL at the end.
 * No I/O, no state, no allocation.
 */
#ifndef APP_FIELD_H
#define APP_FIELD_H

#include <stdbool.h>
#include <stddef.h>

enum http_media {
	HTTP_MEDIA_NONE,  /* no Content-Type */
	HTTP_MEDIA_JSON,  /* application/json in UTF-8, no content coding */
	HTTP_MEDIA_OTHER,
};

/* Options of Connection, bits. */
enum {
	FIELD_CLOSE = 1,
	FIELD_KEEP_ALIVE = 2,
};

/* True for the bytes of a token, as names and methods are, RFC 9110 5.6.2. */
bool field_is_token_char(char c);

/* Length of the text without blanks (space and tab) at its end. */
size_t field_trimmed(const char *text, size_t size);

/* True when the value is the word, in any case. */
bool field_is_word(const char *text, size_t size, const char *word);

/* Host: a name or an address, then a port after a colon, RFC 9110 7.2. It may be empty. */
bool field_is_host(const char *text, size_t size);

/* Connection: the FIELD_ bits of the options in the list. */
unsigned field_connection(const char *value, size_t size);

/* Content-Type: type/subtype, then parameters after semicolons. Never HTTP_MEDIA_NONE. */
enum http_media field_media(const char *value, size_t size);

#endif
