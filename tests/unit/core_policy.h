/* A policy for a test: the defaults, and KEY=VALUE words that change them. */
#ifndef CLUSTERD_TESTS_UNIT_CORE_POLICY_H
#define CLUSTERD_TESTS_UNIT_CORE_POLICY_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "config/rules.h"

/* "exit.78=retire" and "exit.75=respawn:5s" add a rule. */
static inline void policy_add_rule(struct policy *policy, const char *word, const char *value)
{
	static const char *const actions[] = { "respawn", "backoff", "retire", "exit" };
	struct exit_rule *rule = &policy->rules[policy->rule_count++];
	const char *delay = strchr(value, ':'), *problem;

	ck_assert_int_eq(rule_parse(&word, rule, &problem), 1);
	for (int n = 0; n < 4; n++)
		if (strncmp(value, actions[n], strlen(actions[n])) == 0)
			rule->action = (enum exit_action)n;
	if (!delay)
		return;
	rule->has_delay = true;
	rule->delay_ms = (uint64_t)atoi(delay + 1);
}

/* The caller frees it. */
static inline struct policy *policy_with(const char *words)
{
	struct policy *policy = malloc(sizeof(*policy));
	char copy[512], problem[PROBLEM_TEXT_MAX], *rest = copy;

	ck_assert_ptr_nonnull(policy);
	ck_assert_uint_lt(strlen(words), sizeof(copy));
	strcpy(copy, words);
	policy_defaults(policy);
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		char *value = strchr(word, '=');

		ck_assert_msg(value != NULL, "%s: no =", word);
		*value++ = '\0';
		if (strncmp(word, "exit.", 5) == 0)
			policy_add_rule(policy, word + 5, value);
		else
			ck_assert_msg(key_set(policy, word, value, problem) == 0, "%s=%s: %s", word,
				      value, problem);
	}
	return policy;
}

#endif
