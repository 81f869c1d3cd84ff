/*
 * types - the types of values a key can have: text in, value out, and back.
 *
 * Each type of keys.def is one struct type, named type_TYPE. What format writes
 * parses back to the same value, byte for byte; unused bytes of a field are zero.
 */
#ifndef CLUSTERD_CONFIG_TYPES_H
#define CLUSTERD_CONFIG_TYPES_H

#include <stdbool.h>
#include <stddef.h>

enum {
	PROBLEM_TEXT_MAX = 256,  /* one sentence, its NUL included */
	VALUE_TEXT_MAX = 20480,  /* the longest value as text: WORDS_TEXT_MAX bytes, all escaped */
};

struct key;

struct type {
	/*
	 * Sets *field of the key's C type. Returns 0, or -1 with `problem` set to what is
	 * wrong, to be read after "KEY = TEXT: "; *field is then as it was.
	 */
	int (*parse)(const struct key *key, const char *text, void *field,
		     char problem[PROBLEM_TEXT_MAX]);

	/* Writes the value as text. Never cuts: the text fits VALUE_TEXT_MAX. */
	void (*format)(const struct key *key, const void *field, char text[VALUE_TEXT_MAX]);

	const char *const *words; /* of an enumeration, in the order of its numbers; or NULL */
	const char *form;         /* what a user may write, for the help: "N|auto" */
	bool many;                /* a value may go on in the next, indented line */
};

extern const struct type type_name, type_path, type_words, type_styles;
extern const struct type type_count, type_number, type_limit, type_percent, type_duration;
extern const struct type type_bytes, type_octal, type_integer, type_rlimit, type_signo, type_flag;
extern const struct type type_ready, type_address, type_address_or_off;
extern const struct type type_restart, type_give_up, type_scope, type_on_failure, type_log_format,
	type_log_level, type_output, type_overflow, type_on_death, type_over_max_old, type_cpu, type_nonblock,
	type_balance, type_exit_action;

/* 90061000 is "1d1h1m1s": the form every duration of the policy is printed in. Returns its length. */
int duration_format(unsigned long long ms, char *text, size_t size);

#endif
