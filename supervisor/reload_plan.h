/*
 * reload_plan - what a new policy changes, line by line.
 *
 * GLUE. For reload.c only.
 */
#ifndef CLUSTERD_SUPERVISOR_RELOAD_PLAN_H
#define CLUSTERD_SUPERVISOR_RELOAD_PLAN_H

#include "supervisor/internal.h"

enum { LINE_MAX_TOLD = 512 };

struct reload {
	struct supervisor *s;
	struct policy *fresh;
	sup_tell *tell;
	void *context;
	bool dry_run;
	uint32_t live, roll, boot; /* keys changed, by what they need */
	bool impossible;           /* what was said is why nothing is changed */
};

/* A line of the plan, and one of what is wrong: to who asked, or to the log. */
void reload_say(const struct reload *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reload_object(const struct reload *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what is another in *r->fresh, and counts it; BOOT keys and open sockets get their old values back. */
void reload_compare(struct reload *r);

/* reload_try.c: -1 when one of what it takes can not be had, which was said. A plan makes and opens nothing. */
int reload_try(struct reload *r, uint32_t workers);

/* The policy has a listener of that name and address. */
bool reload_names(const struct policy *policy, const struct sock *sock);

/* Those of all generations that have workers, or are to have. */
bool reload_all_name(const struct supervisor *s, const struct sock *sock);

/* The file of that unix listener was removed, and is to be made again. */
bool reload_restores(const struct reload *r, const struct sock *sock);

#endif
