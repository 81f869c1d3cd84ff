/*
 * envp_internal - what envp.c and envp_ours.c share: a list of strings that grows, and addresses.
 */
#ifndef CLUSTERD_CORE_ENVP_INTERNAL_H
#define CLUSTERD_CORE_ENVP_INTERNAL_H

#include <stdbool.h>

#include "supervisor/core/envp.h"

enum { BOUND_TEXT_MAX = 160 };

/*
 * The memory begins with room for as many pointers as there can be at most, the strings follow.
 * Where it does not suffice nothing more is written, and the count goes on.
 */
struct build {
	const struct envp_input *in;
	char **pointers; /* next free one, or NULL: there is no room for them */
	char *text;
	size_t room, bytes; /* at text; the latter may be more */
	char *pid_text[2];
};

/* Where the next byte goes; NULL: there is no room for it. */
char *build_here(const struct build *b);

/* A string is begun, added to, and ended with its NUL. */
void build_begin(struct build *b);
void build_add(struct build *b, const char *text, size_t size);
void build_word(struct build *b, const char *word);
void build_number(struct build *b, int64_t number);
void build_end(struct build *b);

/* "0.0.0.0:80", "[::]:80", "/path", "@abstract": what the socket is bound to. */
void envp_bound_text(const struct address *a, char text[BOUND_TEXT_MAX]);
bool envp_is_unix(const struct address *a);

/* Whose port is PORT; NULL: none has one. */
const struct address *envp_first_tcp(const struct envp_input *in);

/* envp_ours.c: the variables that tell of the sockets and of the supervisor. There are at most so many: */
enum {
	OURS_MAX = 22,
	OURS_OF_SOCKET = 2, /* and these for each socket: EINHORN_FD_n, PUMA_INHERIT_n */
};

void envp_add_ours(struct build *b);

#endif
