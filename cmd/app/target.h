/*
 * target - the path in the target of a request (RFC 9112 3.2).
 *
 * "/path?query", or "http://host/path?query" as a proxy is asked, or "*". What a
 * query holds is nobody's business here, so it need not be kept.
 *
 * No I/O, no state, no allocation.
 */
#ifndef APP_TARGET_H
#define APP_TARGET_H

#include <stddef.h>
#include <stdint.h>

struct target_path {
	uint16_t at; /* where it begins in the target */
	uint16_t size; /* 0: none, as in "http://host" */
};

/*
 * Finds the path and undoes in place the percent-encoding of letters, digits and
 * "-._~", which means nothing (RFC 3986 6.2.2.2). Returns 0; or, with nothing
 * set, the HTTP status that answers such a target: 400 when it is malformed, 421
 * when its scheme is not http. Whether "*" fits the method is not looked at.
 */
unsigned target_find_path(char *target, size_t size, struct target_path *ret_path);

#endif
