#include "cmd/app/field.h"

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

/* One parameter of a media type. Only charset matters, and must be UTF-8. */
static bool is_fitting(const char *text, size_t size)
{
	while (size > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		size--;
	}
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
