/*
 * verify - what the files of verify_system share.
 *
 *   verify.c          the program, the names, the limits
 *   verify_sockets.c  folders of unix sockets, open files
 *   verify_rights.c   what needs root or a capability
 */
#ifndef CLUSTERD_CMD_VERIFY_H
#define CLUSTERD_CMD_VERIFY_H

#include "config/load.h"

struct verifier {
	const struct config *config;
	config_complaint *complain;
	void *context;
	int complaints;
};

bool verify_is_user(const char *name);  /* or a number */
bool verify_is_group(const char *name); /* or a number, or "" */

/* A complaint about what was set there. */
void verify_complain(struct verifier *v, const struct origin *origin, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Where the key "cluster.user" was set. */
const struct origin *verify_origin(const struct verifier *v, const char *name);

/* Each complains about what it finds. */
void verify_sockets(struct verifier *v);
void verify_open_files(struct verifier *v);
void verify_rights(struct verifier *v);

#endif
