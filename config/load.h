/*
 * load - from text to a policy, and back: the policy file, --set, the dump.
 *
 * A policy grows in layers, each on top of the last: config_init (the defaults), config_parse (the
 * file), config_set (flags and --set); then config_check looks at it as a whole.
 *
 * The file is INI as inih reads it, with fewer surprises:
 *   ; starts a comment, at the start of a line or behind a blank; # only at the start
 *   an indented line goes on with the value above it, with a blank between the two, or with
 *   nothing between them if the upper line ends in a backslash
 *   a key, a section or a listener that comes twice, an unknown one, a line longer than
 *   LINE_TEXT_MAX, a NUL byte: each is a complaint
 *   CR LF ends a line as LF does, and a UTF-8 byte order mark is skipped
 */
#ifndef CLUSTERD_CONFIG_LOAD_H
#define CLUSTERD_CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/keys.h"
#include "config/policy.h"

enum {
	LINE_TEXT_MAX = 197,          /* bytes of a line: what inih 55 takes without cutting */
	SECTION_TEXT_MAX = 49,        /* bytes between [ and ], and of a key, for the same reason */
	SECTIONS_MAX = 128,           /* sections of a file */
	COMPLAINT_TEXT_MAX = 512,
};

/* Where a value comes from. */
struct origin {
	const char *source; /* "web.conf", "--set", "-n"; NULL is the default. Not owned. */
	unsigned line;      /* of the file, from 1; 0 if source is no file */
};

struct config_origins {
	struct origin keys[KEYS_MAX];
	struct {
		struct origin section, keys[LISTEN_KEYS_MAX];
	} listeners[LISTENERS_MAX];
	struct {
		struct origin section, keys[EXIT_KEYS_MAX];
	} rules[RULES_MAX];
	struct origin env[ENV_MAX];
};

/* About 110 KiB: static or on the heap. */
struct config {
	struct policy policy;
	struct config_origins origins;
	/* Room for the functions below, so that a failed one leaves the two above as they were. */
	struct policy draft;
	struct config_origins draft_origins;
	char value[VALUE_TEXT_MAX];
	/* See refused.h. */
	bool refused[KEYS_MAX], refused_listeners[LISTENERS_MAX];
};

/* Called once per problem. `line` is 0 where `source` is no file; `text` has no control characters. */
typedef void config_complaint(void *context, const char *source, unsigned line, const char *text);

/* Called with each line of a dump, without its newline. */
typedef void config_sink(void *context, const char *line);

/* The defaults, with no listener, rule or variable. */
void config_init(struct config *config);

/*
 * Reads INI text on top of what `config` holds.
 *
 *   text, size  the whole file; need not end in NUL or in a newline
 *   file        its name, for complaints and origins; has to outlive `config`
 *   complain    called for every problem of the file, not only the first
 *
 * Returns the number of complaints. When it is not 0, policy and origins are untouched: a
 * half-read policy never leaves this function.
 */
int config_parse(struct config *config, const char *text, size_t size, const char *file,
		 config_complaint *complain, void *context);

/*
 * After a config_parse that complained, for further checks: makes what could be read the policy. What
 * that is may be looked at, never run.
 */
void config_take_draft(struct config *config);

/*
 * Sets one value, over what is there. Names:
 *   SECTION.KEY        restart.burst
 *   listen.NAME.KEY    listen.web.backlog; a new NAME adds a listener
 *   listen.KEY         listen.balance: of every listener there is
 *   exit.RULE.KEY      exit.64-78,SIGSEGV.action; adds the rules that are new
 *   env.NAME           env.LANG
 * `source` ("--set") is for complaints and origins. Returns 0, or 1 after a complaint.
 */
int config_set(struct config *config, const char *name, const char *value, const char *source,
	       config_complaint *complain, void *context);

/* The same, from NAME=VALUE. */
int config_assign(struct config *config, const char *assignment, const char *source,
		  config_complaint *complain, void *context);

/*
 * What one key alone can not tell: values that contradict each other, listeners without an
 * address or with the same one, limits that can never be reached. Returns the number of complaints.
 * Where a value was refused before, what depends on it is not judged.
 */
int config_check(const struct config *config, config_complaint *complain, void *context);

/*
 * Writes the whole policy as INI that config_parse reads back to an equal policy (memcmp), each
 * value with its origin as a comment.
 */
void config_dump(struct config *config, config_sink *sink, void *context);

/* The same without comments and empty lines, for config_parse alone: half as much to write and to read. */
void config_text(struct config *config, config_sink *sink, void *context);

#endif
