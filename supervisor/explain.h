/*
 * explain - the last decision about a slot, as one sentence with the rule and
 * the figures that led to it. Pure, though it lives here: it reads end_record.
 */
#ifndef CLUSTERD_SUPERVISOR_EXPLAIN_H
#define CLUSTERD_SUPERVISOR_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/inspect.h"

enum { EXPLAIN_TEXT_MAX = 768 };

/* How it ended: "exit 1", "SIGSEGV, core dumped", "SIGKILL, out of memory", "not ready in time". */
void explain_end(const struct end_record *end, char *text, size_t size);

/* Why a worker of that cause counts as hung; NULL if it does not. */
const char *explain_hung(int cause, bool said_stopping);

/* "worker 2 (pid 4242) died: SIGSEGV after 400ms; it was …, so …". `is_due`: what follows is to come.
 * Without the policy that decided the rule is named, and no figure of it. */
void explain_decision(const struct policy *policy, uint32_t slot, const struct end_record *end,
                      bool is_due, char *text, size_t size);

/* Of one that could not be started: "[restart] burst … are used up, so the respawn comes after 5s". */
void explain_unspawned(const struct policy *policy, const struct end_record *decision, char *text, size_t size);

#endif
