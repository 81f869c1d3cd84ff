/*
 * address - where to listen, as a user writes it.
 *
 *   PORT  *:PORT  HOST:PORT  [V6]:PORT     TCP; `*` is dual-stack where IPv6 exists
 *   unix:/path  unix:@abstract             AF_UNIX stream
 *   udp:HOST:PORT  udp:PORT                UDP
 *   inherit:NAME  inherit:3                a socket clusterd was started with (LISTEN_FDS)
 *
 * Hosts are numeric, or `localhost` (127.0.0.1) and `*`: names are never looked up.
 */
#ifndef CLUSTERD_CONFIG_ADDRESS_H
#define CLUSTERD_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_MAX = 160, ADDRESS_NAME_MAX = 64 };

enum address_kind {
	ADDRESS_NONE, /* not given */
	ADDRESS_OFF,  /* the word off, where a key allows it */
	ADDRESS_TCP,
	ADDRESS_UDP,
	ADDRESS_UNIX,
	ADDRESS_INHERIT,
};

struct address {
	enum address_kind kind;
	bool any;                       /* `*`: IPv6 dual-stack, or IPv4 where there is no IPv6 */
	uint16_t port;                  /* TCP and UDP; 0 asks the kernel for one */
	uint16_t size;                  /* of sa, exact for the abstract namespace too */
	struct sockaddr_storage sa;     /* ADDRESS_TCP, _UDP, _UNIX; for `any` the IPv6 form */
	char inherit[ADDRESS_NAME_MAX]; /* ADDRESS_INHERIT: the name, or a number */
};

/*
 * Reads `text` into *ret, which is set only on success. Returns 0, or -1 with
 * *problem a constant sentence without a full stop that says what is wrong.
 */
int address_parse(const char *text, struct address *ret, const char **problem);

/* Writes the one form that parses back to the same address (*:80 for 80); returns its length. */
int address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]);

/*
 * Same place to listen: what may not be given twice. `*` is the same as 0.0.0.0 and [::]; port 0
 * is never the same.
 */
bool address_equal(const struct address *a, const struct address *b);

/*
 * All addresses of `part`'s family (for *, of both) at its port: while one is bound, SO_REUSEPORT or
 * not, a second socket of ours can not have the other.
 */
bool address_covers(const struct address *whole, const struct address *part);

/*
 * What one listener asked for then and now: as address_equal, but port 0 is port 0, whatever the
 * kernel chose for it.
 */
bool address_same(const struct address *a, const struct address *b);

#endif
