/*
 * adopt_option - socket options that a worker set before bind and that our socket takes over.
 *
 * Part of adopt. Not carried: SO_REUSEADDR and SO_REUSEPORT (ours decide), IPV6_V6ONLY (part of
 * what makes two sockets alike), filters, devices and multicast memberships.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ADOPT_OPTION_H
#define CLUSTERD_SUPERVISOR_OS_ADOPT_OPTION_H

#include "supervisor/os/adopt.h"

/* Reads every option that fits request->domain and type; one that can not be read is left out. */
void adopt_options_read(int fd, struct adopt_request *request);

/*
 * Sets those that differ on fd. Only those: setting a buffer size, even to what it is, would end
 * its automatic tuning. Returns NULL or the name of one that could not be set.
 */
const char *adopt_options_copy(const struct adopt_request *request, int fd);

#endif
