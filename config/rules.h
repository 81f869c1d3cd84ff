/*
 * rules - [exit RULE]: what an end of a worker has to be for a rule to hold.
 *
 *   0  64-78              an exit status, or a range of them (0 to 255)
 *   SIGSEGV               the signal that ended it
 *   oom timeout watchdog  killed for lack of memory; not ready in time; hung
 *
 * A section may list several, with blanks or commas between; each becomes one row.
 */
#ifndef CLUSTERD_CONFIG_RULES_H
#define CLUSTERD_CONFIG_RULES_H

#include <stddef.h>

#include "config/policy.h"

enum { RULE_TEXT_MAX = 24 };

/*
 * Takes the first word of *text, sets kind, low and high of *ret (the rest of it stays) and
 * moves *text behind it. Returns 1, 0 when no word is left, or -1 with *problem set.
 */
int rule_parse(const char **text, struct exit_rule *ret, const char **problem);

/* Writes the word of one row. */
void rule_format(const struct exit_rule *rule, char text[RULE_TEXT_MAX]);

/* The same ends, so that only one of the two may be in a policy. */
bool rule_equal(const struct exit_rule *a, const struct exit_rule *b);

/* How a worker ended: signal is 0 if it exited by itself with `code`. */
struct rule_end {
	int code, signal;
	bool oom, timeout, watchdog;
};

/*
 * The rule that holds, the most specific first: a cause (watchdog, timeout, oom) before a signal or
 * one status before a range, and of two ranges the narrower, then the one written first. NULL if none.
 */
const struct exit_rule *exit_rule_find(const struct policy *policy, const struct rule_end *end);

#endif
