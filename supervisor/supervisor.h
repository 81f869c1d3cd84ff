/*
 * supervisor - runs a cluster until it ends.
 *
 * GLUE: this folder's .c files act and log; what to do is decided in core/.
 */
#ifndef CLUSTERD_SUPERVISOR_H
#define CLUSTERD_SUPERVISOR_H

#include "config/policy.h"

/*
 * Reads the policy anew, for a reload: file, flags and --set in their usual
 * order. Calls complain for every problem and returns how many there were;
 * *policy is set only when that is 0.
 */
typedef void supervisor_complain(void *context, const char *line);
typedef int supervisor_read(void *context, struct policy *policy, supervisor_complain *complain,
                            void *complain_context);

/*
 * Set by a clusterd for its successor, "take:FD" or, for the trial run that comes
 * first, "check:FD": FD is the memfd with the state.
 */
#define UPGRADE_ENV "CLUSTERD_UPGRADE"

struct supervisor_options {
	const struct policy *policy; /* checked; copied. NULL when there is a state */
	int state_fd;                /* of the predecessor, or -1 */
	const char *policy_file;     /* for messages, or NULL */
	supervisor_read *read;       /* how to read it again */
	void *read_context;
	char **argv;                 /* of clusterd itself: an upgrade executes it again */
	const char *self;            /* the path it was started by, absolute */
};

/* Returns the exit status of clusterd (clusterd(8), EXIT STATUS). Every error has been logged. */
int supervisor_run(const struct supervisor_options *options);

/* The trial run: reads the state and touches nothing. An exit status; a refusal is one line on
 * standard error. */
int supervisor_check_state(int state_fd);

#endif
