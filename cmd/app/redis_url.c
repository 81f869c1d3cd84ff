#include "cmd/app/redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PORT = 6379, PORT_MAX = 65535, DATABASE_MAX = 1 << 20 };

static bool copy(char part[REDIS_URL_PART_MAX], const char *text, size_t size)
{
	if (size >= REDIS_URL_PART_MAX)
		return false;
	memcpy(part, text, size);
	part[size] = '\0';
	return true;
}

static bool copy_decoded(char part[REDIS_URL_PART_MAX], const char *text, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (used + 1 >= REDIS_URL_PART_MAX)
			return false;
		if (c == '%') {
			char hex[3] = { 0 };

			if (size - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
			    !isxdigit((unsigned char)text[i + 2]))
				return false;
			memcpy(hex, text + i + 1, 2);
			c = (char)strtol(hex, NULL, 16);
			i += 2;
			if (c == '\0')
				return false;
		}
		part[used++] = c;
	}
	part[used] = '\0';
	return true;
}

/* The whole of [text, end) as a number; an empty text leaves the default. */
static bool number(const char *text, const char *end, unsigned max, unsigned *number)
{
	unsigned value = 0;

	if (text == end)
		return true;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return false;
	}
	*number = value;
	return true;
}

static bool parse_credentials(struct redis_url *url, const char *text, const char *end)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));

	if (!colon)
		return false;
	return copy_decoded(url->user, text, (size_t)(colon - text)) &&
	       copy_decoded(url->password, colon + 1, (size_t)(end - colon) - 1);
}

static bool parse_host(struct redis_url *url, const char *text, const char *end)
{
	const char *stop;

	if (*text == '[') {
		text++;
		stop = memchr(text, ']', (size_t)(end - text));
		if (!stop || !copy(url->host, text, (size_t)(stop - text)))
			return false;
		stop++;
	} else {
		stop = memchr(text, ':', (size_t)(end - text));
		stop = stop ? stop : end;
		if (!copy(url->host, text, (size_t)(stop - text)))
			return false;
	}
	if (stop < end && *stop++ != ':')
		return false;
	return url->host[0] && number(stop, end, PORT_MAX, &url->port) && url->port != 0;
}

int redis_url_parse(const char *text, struct redis_url *ret_url)
{
	static const char scheme[] = "redis://";
	struct redis_url url = { .port = DEFAULT_PORT };
	const char *end, *at;

	if (strncmp(text, "unix:/", 6) == 0) {
		url.port = 0;
		if (!copy(url.host, text + 5, strlen(text + 5)))
			return -EINVAL;
		*ret_url = url;
		return 0;
	}
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return -EINVAL;
	text += sizeof scheme - 1;
	end = text + strcspn(text, "/");
	at = memchr(text, '@', (size_t)(end - text));
	if (at && !parse_credentials(&url, text, at))
		return -EINVAL;
	if (!parse_host(&url, at ? at + 1 : text, end))
		return -EINVAL;
	if (*end == '/' && !number(end + 1, end + strlen(end), DATABASE_MAX, &url.database))
		return -EINVAL;
	*ret_url = url;
	return 0;
}
