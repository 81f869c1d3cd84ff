#include "cmd/app/field.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

bool field_is_word(const char *text, size_t size, const char *word)
{
	return size == strlen(word) && strncasecmp(text, word, size) == 0;
}

size_t field_trimmed(const char *text, size_t size)
{
	while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'))
		size--;
	return size;
}

static const char *skip_blanks(const char *text, size_t *size)
{
	while (*size > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		--*size;
	}
	return text;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_alnum_or(char c, const char *others)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr(others, c));
}

/* unreserved and sub-delims of RFC 3986, of which names are made */
static bool is_name_char(char c)
{
	return c == '.' || is_alnum_or(c, "-_~!$&'()*+,;=");
}

bool field_is_token_char(char c)
{
	return is_alnum_or(c, "!#$%&'*+-.^_`|~");
}

/* Length of the name at the start of the text. */
static size_t name_length(const char *text, size_t size)
{
	size_t at = 0;

	while (at < size) {
		if (is_name_char(text[at]))
			at++;
		else if (text[at] == '%' && size - at > 2 && is_hex(text[at + 1]) &&
			 is_hex(text[at + 2]))
			at += 3;
		else
			break;
	}
	return at;
}

/* Length of the address in brackets at the start of the text, 0 if there is none. */
static size_t address_length(const char *text, size_t size)
{
	const char *end = memchr(text, ']', size);
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	size_t length;

	if (!end)
		return 0;
	length = (size_t)(end - text) - 1;
	if (length >= sizeof address || memchr(text + 1, '\0', length))
		return 0;
	memcpy(address, text + 1, length);
	address[length] = '\0';
	return inet_pton(AF_INET6, address, &ignored) == 1 ? length + 2 : 0;
}

static bool is_port(const char *text, size_t size)
{
	unsigned port = 0;

	for (size_t i = 0; i < size; i++) {
		if (!is_digit(text[i]))
			return false;
		port = port * 10 + (unsigned)(text[i] - '0');
		if (port > UINT16_MAX)
			return false;
	}
	return true;
}

bool field_is_host(const char *text, size_t size)
{
	bool bracket = size > 0 && *text == '[';
	size_t host = bracket ? address_length(text, size) : name_length(text, size);

	if (bracket && host == 0)
		return false;
	return host == size || (text[host] == ':' && is_port(text + host + 1, size - host - 1));
}

static unsigned connection_option(const char *text, size_t size)
{
	text = skip_blanks(text, &size);
	size = field_trimmed(text, size);
	if (field_is_word(text, size, "close"))
		return FIELD_CLOSE;
	return field_is_word(text, size, "keep-alive") ? FIELD_KEEP_ALIVE : 0;
}

unsigned field_connection(const char *value, size_t size)
{
	const char *end = value + size;
	unsigned options = 0;

	for (const char *comma; (comma = memchr(value, ',', (size_t)(end - value)));
	     value = comma + 1)
		options |= connection_option(value, (size_t)(comma - value));
	return options | connection_option(value, (size_t)(end - value));
}

/* One parameter of a media type. Only charset matters, and must be UTF-8. */
static bool is_fitting(const char *text, size_t size)
{
	text = skip_blanks(text, &size);
	size = field_trimmed(text, size);
	if (size < 8 || strncasecmp(text, "charset=", 8) != 0)
		return true;
	return field_is_word(text + 8, size - 8, "utf-8") ||
	       field_is_word(text + 8, size - 8, "\"utf-8\"");
}

enum http_media field_media(const char *value, size_t size)
{
	const char *end = value + size;
	const char *semicolon = memchr(value, ';', size);
	size_t type = semicolon ? (size_t)(semicolon - value) : size;

	if (!field_is_word(value, field_trimmed(value, type), "application/json"))
		return HTTP_MEDIA_OTHER;
	while (semicolon) {
		const char *at = semicolon + 1;

		semicolon = memchr(at, ';', (size_t)(end - at));
		if (!is_fitting(at, (size_t)((semicolon ? semicolon : end) - at)))
			return HTTP_MEDIA_OTHER;
	}
	return HTTP_MEDIA_JSON;
}
