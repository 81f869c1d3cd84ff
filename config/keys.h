/*
 * keys - the table of keys.def: look up, set, and suggest what a user may have meant.
 */
#ifndef CLUSTERD_CONFIG_KEYS_H
#define CLUSTERD_CONFIG_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"
#include "config/types.h"

enum key_when { KEY_LIVE, KEY_ROLL, KEY_BOOT };

struct key {
	const char *section, *name, *fallback, *help;
	const struct type *type;
	size_t offset; /* in struct policy; of listen_keys in struct listener */
	size_t size;
	int64_t min, max; /* inclusive; 0, 0 where the type has no range */
	enum key_when when;
};

enum {
	KEYS_MAX = 0
#define KEY(...) +1
#include "config/keys.def"
#undef KEY
	,
	LISTEN_KEYS_MAX = 0
#define LISTEN_KEY(...) +1
#include "config/keys.def"
#undef LISTEN_KEY
	,
	EXIT_KEYS_MAX = 0
#define EXIT_KEY(...) +1
#include "config/keys.def"
#undef EXIT_KEY
};

extern const struct key keys[KEYS_MAX];
extern const struct key listen_keys[LISTEN_KEYS_MAX];
extern const struct key exit_keys[EXIT_KEYS_MAX];

/* The key named "SECTION.NAME" ("restart.burst", "listen.backlog", "exit.delay"), or NULL. */
const struct key *key_find(const char *full_name);

/* The key `name` of [section], or NULL. */
const struct key *key_in_section(const char *section, const char *name);

/*
 * Sets the key named "SECTION.NAME" of a policy; it has to be one that is not in a
 * [listen] or [exit] section. Returns 0, or -1 with `problem` set and *policy as it was.
 */
int key_set(struct policy *policy, const char *full_name, const char *text,
	    char problem[PROBLEM_TEXT_MAX]);

/* The value of `key` in `base`: a struct policy, or a struct listener for one of listen_keys. */
const void *key_field(const struct key *key, const void *base);

/* Writes the value of a key of `keys` as the file has it; cuts to `size` bytes. Returns `text`. */
const char *key_text(const struct key *key, const struct policy *policy, char *text, size_t size);

/* Sets every key to its fallback and all other bytes to zero: no listener, no rule, no variable. */
void policy_defaults(struct policy *policy);

/* The same for one listener, which keeps no name. */
void listener_defaults(struct listener *listener);

/*
 * The best of several candidates for a word that is not known: at most two letters added, left
 * out, changed or swapped with the next. Call suggest() for each; `best` stays NULL if none is near.
 */
struct suggestion {
	const char *word;
	const char *best;
	unsigned distance; /* of best */
};
void suggest(struct suggestion *suggestion, const char *candidate);

/* " (did you mean NAME?)" or "", for a key that [section] has not, or for an unknown section. */
void key_hint(const char *section, const char *name, char hint[PROBLEM_TEXT_MAX]);
void section_hint(const char *section, char hint[PROBLEM_TEXT_MAX]);

#endif
