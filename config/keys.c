#include "config/keys.h"

#include <stdio.h>
#include <string.h>

#define ROW(section, name, kind, fallback, base, member, min, max, when, help)                     \
	{ #section, #name, fallback, help, &type_##kind, offsetof(struct base, member),            \
	  sizeof(((struct base *)0)->member), min, max, KEY_##when },

const struct key keys[KEYS_MAX] = {
#define KEY(section, name, kind, fallback, min, max, when, help)                                   \
	ROW(section, name, kind, fallback, policy, section##_##name, min, max, when, help)
#include "config/keys.def"
#undef KEY
};

const struct key listen_keys[LISTEN_KEYS_MAX] = {
#define LISTEN_KEY(section, name, kind, fallback, min, max, when, help)                            \
	ROW(section, name, kind, fallback, listener, name, min, max, when, help)
#include "config/keys.def"
#undef LISTEN_KEY
};

#define MEMBER_action action
#define MEMBER_delay delay_ms
const struct key exit_keys[EXIT_KEYS_MAX] = {
#define EXIT_KEY(section, name, kind, fallback, min, max, when, help)                              \
	ROW(section, name, kind, fallback, exit_rule, MEMBER_##name, min, max, when, help)
#include "config/keys.def"
#undef EXIT_KEY
};

static const struct table {
	const struct key *rows;
	size_t count;
} tables[] = {
	{ keys, KEYS_MAX },
	{ listen_keys, LISTEN_KEYS_MAX },
	{ exit_keys, EXIT_KEYS_MAX },
};

#define FOR_EACH_KEY(key)                                                                          \
	for (size_t t_ = 0; t_ < sizeof(tables) / sizeof(tables[0]); t_++)                         \
		for (const struct key *key = tables[t_].rows;                                      \
		     key < tables[t_].rows + tables[t_].count; key++)

const struct key *key_in_section(const char *section, const char *name)
{
	FOR_EACH_KEY (key)
		if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

const struct key *key_find(const char *full_name)
{
	const char *dot = strchr(full_name, '.');
	size_t length = dot ? (size_t)(dot - full_name) : 0;

	if (!dot)
		return NULL;
	FOR_EACH_KEY (key)
		if (strlen(key->section) == length && memcmp(key->section, full_name, length) == 0 &&
		    strcmp(key->name, dot + 1) == 0)
			return key;
	return NULL;
}

const void *key_field(const struct key *key, const void *base)
{
	return (const char *)base + key->offset;
}

const char *key_text(const struct key *key, const struct policy *policy, char *text, size_t size)
{
	char whole[VALUE_TEXT_MAX];

	key->type->format(key, key_field(key, policy), whole);
	snprintf(text, size, "%s", whole);
	return text;
}

int key_set(struct policy *policy, const char *full_name, const char *text,
	    char problem[PROBLEM_TEXT_MAX])
{
	const struct key *key = key_find(full_name);

	if (!key || key < keys || key >= keys + KEYS_MAX) {
		snprintf(problem, PROBLEM_TEXT_MAX, "no such key");
		return -1;
	}
	return key->type->parse(key, text, (char *)policy + key->offset, problem);
}

static void set_fallbacks(const struct key *rows, size_t count, void *base)
{
	char problem[PROBLEM_TEXT_MAX];

	/* A fallback that does not parse is a mistake in keys.def; test_config_keys finds it. */
	for (const struct key *key = rows; key < rows + count; key++)
		(void)key->type->parse(key, key->fallback, (char *)base + key->offset, problem);
}

void policy_defaults(struct policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	set_fallbacks(keys, KEYS_MAX, policy);
}

void listener_defaults(struct listener *listener)
{
	memset(listener, 0, sizeof(*listener));
	set_fallbacks(listen_keys, LISTEN_KEYS_MAX, listener);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

/*
 * Optimal string alignment distance (Damerau 1964, without edits of edits): row by row, of which
 * three are kept. Longer words than the rows count as far.
 */
static unsigned distance_between(const char *a, const char *b)
{
	enum { LONGEST = 48 };
	unsigned rows[3][LONGEST + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > LONGEST || m > LONGEST)
		return LONGEST;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *first = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1,
				      above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    first[j - 2] + 1 < row[j])
				row[j] = first[j - 2] + 1;
		}
	}
	return rows[n % 3][m];
}

void suggest(struct suggestion *suggestion, const char *candidate)
{
	unsigned distance = distance_between(suggestion->word, candidate);

	if (distance > 2 || distance >= strlen(suggestion->word) ||
	    (suggestion->best && distance >= suggestion->distance))
		return;
	suggestion->best = candidate;
	suggestion->distance = distance;
}

void key_hint(const char *section, const char *name, char hint[PROBLEM_TEXT_MAX])
{
	struct suggestion near = { .word = name };
	const struct key *elsewhere = NULL;

	FOR_EACH_KEY (key) {
		if (strcmp(key->section, section) == 0)
			suggest(&near, key->name);
		else if (strcmp(key->name, name) == 0)
			elsewhere = key;
	}
	*hint = '\0';
	if (near.best)
		snprintf(hint, PROBLEM_TEXT_MAX, " (did you mean %s?)", near.best);
	else if (elsewhere)
		snprintf(hint, PROBLEM_TEXT_MAX, " (did you mean [%s] %s?)", elsewhere->section, name);
}

void section_hint(const char *section, char hint[PROBLEM_TEXT_MAX])
{
	struct suggestion near = { .word = section };

	FOR_EACH_KEY (key)
		suggest(&near, key->section);
	suggest(&near, "env");
	*hint = '\0';
	if (near.best)
		snprintf(hint, PROBLEM_TEXT_MAX, " (did you mean [%s]?)", near.best);
}
