/*
 * redis_url - takes REDIS_URL apart. Pure.
 *
 * The form of the provisional URI registration "redis", and unix:/path.
 * User and password may hold %XX.
 */
#ifndef APP_REDIS_URL_H
#define APP_REDIS_URL_H

enum { REDIS_URL_PART_MAX = 256 };

struct redis_url {
	char host[REDIS_URL_PART_MAX];     /* without the brackets of IPv6; a path if port is 0 */
	char user[REDIS_URL_PART_MAX];     /* "": the default user */
	char password[REDIS_URL_PART_MAX]; /* "": none */
	unsigned port;                     /* 0: `host` is the path of a unix socket */
	unsigned database;
};

/* Returns 0 or -EINVAL; *ret_url is set only on success. */
int redis_url_parse(const char *text, struct redis_url *ret_url);

#endif
