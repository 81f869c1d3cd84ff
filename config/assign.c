#include "config/assign.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/rules.h"
#include "config/words.h"

enum { LISTENER_NAME_MAX = 40 };

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

__attribute__((format(printf, 2, 3))) static int fail(char *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem, PROBLEM_TEXT_MAX, format, arguments);
	va_end(arguments);
	return -1;
}

bool listener_name_valid(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= LISTENER_NAME_MAX && *name != '.' && *name != '-' &&
	       strspn(name, LETTERS DIGITS "._-@") == length;
}

/* The same line of text may set a value once; another layer may set it again. */
static bool is_repeated(const struct origin *old, const struct origin *new)
{
	return old->line > 0 && old->source == new->source;
}

static int claim(struct origin *slot, const struct origin *origin, const char *what, char *problem)
{
	if (is_repeated(slot, origin))
		return fail(problem, "%.60s is already set on line %u", what, slot->line);
	*slot = *origin;
	return 0;
}

/* Parses into the field and says "KEY = VALUE: why" when it can not. */
static int parse_value(const struct key *key, void *base, const struct assignment *a, char *problem)
{
	char why[PROBLEM_TEXT_MAX];
	const char *section = "";

	if (key->type->parse(key, a->value, (char *)base + key->offset, why) == 0)
		return 0;
	/* Where neither a line nor a flag tells the section. */
	if (a->origin.line == 0 && a->origin.source && strcmp(a->origin.source, "--set") == 0)
		section = key->section;
	return fail(problem, "%s%s%s = %.60s%s: %.150s%s", section, *section ? "." : "", key->name, a->value,
		    strlen(a->value) > 60 ? "..." : "", why,
		    strstr(a->value, " #") && !strchr(why, '#') ? " (a comment starts with ;)" : "");
}

/* The index of the listener; a new one is added at the end. */
static int listener_index(struct policy *policy, struct config_origins *origins,
			  const struct assignment *a, char *problem)
{
	uint32_t i = 0;

	if (!listener_name_valid(a->instance))
		return fail(problem, "a listener's name has 1 to %d letters, digits and . _ - @, as in "
				     "[listen web]", LISTENER_NAME_MAX);
	while (i < policy->listener_count && strcmp(policy->listeners[i].name, a->instance) != 0)
		i++;
	if (i == LISTENERS_MAX)
		return fail(problem, "more than %d listeners", LISTENERS_MAX);
	if (i == policy->listener_count) {
		listener_defaults(&policy->listeners[i]);
		memcpy(policy->listeners[i].name, a->instance, strlen(a->instance));
		origins->listeners[i].section = a->origin;
		policy->listener_count++;
	}
	return (int)i;
}

static int set_listener(struct policy *policy, struct config_origins *origins,
			const struct assignment *a, const struct key *key, uint32_t i, char *problem)
{
	if (claim(&origins->listeners[i].keys[key - listen_keys], &a->origin, a->key, problem) < 0)
		return -1;
	return parse_value(key, &policy->listeners[i], a, problem);
}

static int assign_listener(struct policy *policy, struct config_origins *origins,
			   const struct assignment *a, const struct key *key, char *problem)
{
	int index;

	if (a->instance) {
		index = listener_index(policy, origins, a, problem);
		if (index < 0)
			return -1;
		return set_listener(policy, origins, a, key, (uint32_t)index, problem);
	}
	for (uint32_t i = 0; i < policy->listener_count; i++)
		if (set_listener(policy, origins, a, key, i, problem) < 0)
			return -1;
	return 0;
}

static int rule_index(struct policy *policy, struct config_origins *origins,
		      const struct assignment *a, const struct exit_rule *rule, char *problem)
{
	uint32_t i = 0;

	while (i < policy->rule_count && !rule_equal(&policy->rules[i], rule))
		i++;
	if (i == RULES_MAX)
		return fail(problem, "more than %d exit rules", RULES_MAX);
	if (i == policy->rule_count) {
		memset(&policy->rules[i], 0, sizeof(*rule));
		policy->rules[i].kind = rule->kind;
		policy->rules[i].low = rule->low;
		policy->rules[i].high = rule->high;
		policy->rules[i].action = EXIT_BACKOFF;
		origins->rules[i].section = a->origin;
		policy->rule_count++;
	}
	return (int)i;
}

/* Calls `visit` for each rule that the instance lists. */
static int each_rule(struct policy *policy, struct config_origins *origins,
		     const struct assignment *a, const struct key *key, char *problem,
		     int (*visit)(struct policy *, struct config_origins *,
				  const struct assignment *, const struct key *, uint32_t, char *))
{
	const char *rest = a->instance ? a->instance : "", *why = NULL;
	struct exit_rule rule;
	int found, count = 0;

	for (; (found = rule_parse(&rest, &rule, &why)) > 0; count++) {
		int i = rule_index(policy, origins, a, &rule, problem);

		if (i < 0 || visit(policy, origins, a, key, (uint32_t)i, problem) < 0)
			return -1;
	}
	if (found < 0)
		return fail(problem, "exit rule %.60s: %s", a->instance, why);
	if (count == 0)
		return fail(problem, "[exit] needs a rule, as in [exit 64-78 SIGSEGV]");
	return 0;
}

/* A rule may stand in one section of a file. */
static int open_rule(struct policy *policy, struct config_origins *origins,
		     const struct assignment *a, const struct key *key, uint32_t i, char *problem)
{
	struct origin *section = &origins->rules[i].section;
	char text[RULE_TEXT_MAX];

	(void)key;
	if (is_repeated(section, &a->origin) && section->line != a->origin.line) {
		rule_format(&policy->rules[i], text);
		return fail(problem, "exit rule %s is already on line %u", text, section->line);
	}
	*section = a->origin;
	return 0;
}

static int set_rule(struct policy *policy, struct config_origins *origins,
		    const struct assignment *a, const struct key *key, uint32_t i, char *problem)
{
	struct exit_rule *rule = &policy->rules[i];

	if (claim(&origins->rules[i].keys[key - exit_keys], &a->origin, a->key, problem) < 0)
		return -1;
	if (strcmp(key->name, "delay") == 0) {
		rule->has_delay = *a->value != '\0';
		rule->delay_ms = 0;
		if (!rule->has_delay)
			return 0;
	}
	return parse_value(key, rule, a, problem);
}

/* What a worker learns from clusterd itself. */
static bool is_reserved(const char *name)
{
	static const char *const prefixes[] = { "CLUSTERD_", "LISTEN_FD", "LISTEN_PID",
						"NOTIFY_SOCKET", "READY_FD", "WATCHDOG_" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Where the variable is, or NULL; *index is its number. */
static char *env_find(struct policy *policy, const char *name, uint32_t *index)
{
	char *entry = policy->env;
	size_t length = strlen(name);

	for (*index = 0; *index < policy->env_count; (*index)++) {
		if (strncmp(entry, name, length) == 0 && entry[length] == '=')
			return entry;
		entry += strlen(entry) + 1;
	}
	return NULL;
}

static int fail_variable(char *problem, const char *name, const char *why, size_t size)
{
	if (why == word_too_long)
		return fail(problem, "%s: %s; at most %zu bytes", name, why, size - 1);
	return fail(problem, "%s: %s", name, why);
}

static void env_remove(struct policy *policy, struct config_origins *origins, char *entry,
		       uint32_t index)
{
	size_t size = strlen(entry) + 1, after = (size_t)(policy->env + policy->env_size - entry) - size;

	memmove(entry, entry + size, after);
	memset(entry + after, 0, size);
	memmove(&origins->env[index], &origins->env[index + 1],
		(policy->env_count - index - 1) * sizeof(origins->env[0]));
	policy->env_size -= (uint32_t)size;
	policy->env_count--;
}

static int assign_env(struct policy *policy, struct config_origins *origins,
		      const struct assignment *a, char *problem)
{
	char value[WORDS_TEXT_MAX];
	const char *why;
	uint32_t index;
	char *old = env_find(policy, a->key, &index);
	size_t size;

	if (strspn(a->key, LETTERS DIGITS "_") != strlen(a->key) || strspn(a->key, DIGITS) > 0 ||
	    !*a->key || strlen(a->key) > SECTION_TEXT_MAX)
		return fail(problem, "%.60s: the name of a variable has letters, digits and _", a->key);
	if (is_reserved(a->key))
		return fail(problem, "%s is set by clusterd itself", a->key);
	if (old && is_repeated(&origins->env[index], &a->origin))
		return fail(problem, "%s is already set on line %u", a->key, origins->env[index].line);
	if (word_unquote(a->value, value, sizeof(value), &why) < 0)
		return fail_variable(problem, a->key, why, sizeof(value));
	if (old)
		env_remove(policy, origins, old, index);
	size = strlen(a->key) + strlen(value) + 2;
	if (policy->env_count == ENV_MAX || size > sizeof(policy->env) - policy->env_size)
		return fail(problem, "%s: more than %d variables or %d bytes", a->key, ENV_MAX,
			    ENV_TEXT_MAX);
	snprintf(policy->env + policy->env_size, size, "%s=%s", a->key, value);
	origins->env[policy->env_count++] = a->origin;
	policy->env_size += (uint32_t)size;
	return 0;
}

static bool takes_instance(const char *section)
{
	return strcmp(section, "listen") == 0 || strcmp(section, "exit") == 0;
}

static bool section_exists(const char *section)
{
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (strcmp(keys[i].section, section) == 0)
			return true;
	return strcmp(section, "env") == 0 || takes_instance(section);
}

static int refuse_section(const struct assignment *a, char *problem)
{
	char hint[PROBLEM_TEXT_MAX];

	if (section_exists(a->section))
		return fail(problem, "[%s] takes no name", a->section);
	section_hint(a->section, hint);
	return fail(problem, "there is no section [%.60s]%.60s", a->section, hint);
}

int assign_section(struct policy *policy, struct config_origins *origins,
		   const struct assignment *a, char problem[PROBLEM_TEXT_MAX])
{
	if (strcmp(a->section, "exit") == 0)
		return each_rule(policy, origins, a, NULL, problem, open_rule);
	if (strcmp(a->section, "listen") == 0) {
		if (!a->instance)
			return fail(problem, "[listen] needs a name, as in [listen web]");
		return listener_index(policy, origins, a, problem) < 0 ? -1 : 0;
	}
	if (!section_exists(a->section) || a->instance)
		return refuse_section(a, problem);
	return 0;
}

int assign_value(struct policy *policy, struct config_origins *origins,
		 const struct assignment *a, char problem[PROBLEM_TEXT_MAX])
{
	const struct key *key;
	char hint[PROBLEM_TEXT_MAX];

	if (!section_exists(a->section) || (a->instance && !takes_instance(a->section)))
		return refuse_section(a, problem);
	if (strcmp(a->section, "env") == 0)
		return assign_env(policy, origins, a, problem);
	key = key_in_section(a->section, a->key);
	if (!key) {
		key_hint(a->section, a->key, hint);
		return fail(problem, "[%s] has no key %.60s%.80s", a->section, a->key, hint);
	}
	if (strcmp(a->section, "listen") == 0)
		return assign_listener(policy, origins, a, key, problem);
	if (strcmp(a->section, "exit") == 0)
		return each_rule(policy, origins, a, key, problem, set_rule);
	if (claim(&origins->keys[key - keys], &a->origin, a->key, problem) < 0)
		return -1;
	return parse_value(key, policy, a, problem);
}
