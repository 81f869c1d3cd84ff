/*
 * assign - the one way a value gets into a policy, be it from the file or from --set.
 */
#ifndef CLUSTERD_CONFIG_ASSIGN_H
#define CLUSTERD_CONFIG_ASSIGN_H

#include "config/load.h"

struct assignment {
	const char *section;  /* "restart", "listen", "exit", "env" */
	const char *instance; /* NAME of [listen NAME], RULE of [exit RULE]; else NULL */
	const char *key, *value;
	struct origin origin;
};

/*
 * Adds the listener or the rules of a section, or finds that a plain section exists; what is already
 * there stays. Returns 0, or -1 with `problem` set.
 */
int assign_section(struct policy *policy, struct config_origins *origins,
		   const struct assignment *assignment, char problem[PROBLEM_TEXT_MAX]);

/*
 * Sets the value. Returns 0, or -1 with `problem` set: a whole sentence. The policy may then hold
 * part of it, so both arguments are drafts.
 */
int assign_value(struct policy *policy, struct config_origins *origins,
		 const struct assignment *assignment, char problem[PROBLEM_TEXT_MAX]);

/* A name for a listener: letters, digits and . _ - @, at most 40 bytes, not beginning with . or -. */
bool listener_name_valid(const char *name);

#endif
