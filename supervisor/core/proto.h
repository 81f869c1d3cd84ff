/*
 * proto - one line from the control socket becomes a request.
 *
 * A line is words with blanks between them: printable ASCII, no quoting, the
 * name of a request first, then arguments and options in any order. There is
 * nothing to unescape, so a line typed into `nc -U` is as good as clusterctl's.
 *
 * Pure. The line is cut into words in place: they live as long as it does.
 */
#ifndef CLUSTERD_CORE_PROTO_H
#define CLUSTERD_CORE_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	REQUEST_LINE_MAX = 4096, /* bytes, the newline included */
	REQUEST_WORDS_MAX = 4,   /* arguments */
};

enum request_option {
	OPTION_NO_WAIT = 1 << 0, /* --no-wait */
	OPTION_DRY_RUN = 1 << 1, /* --dry-run */
	OPTION_FOLLOW = 1 << 2,  /* -f, --follow */
	OPTION_NOW = 1 << 3,     /* --now: no draining, no grace */
	OPTION_LAST = 1 << 4,    /* --last N */
};

enum request_what {
#define REQUEST(id, ...) REQUEST_##id,
#include "supervisor/core/requests.def"
#undef REQUEST
	REQUESTS_MAX,
};

struct request {
	enum request_what what;
	unsigned options;
	uint32_t last; /* of --last N; UINT32_MAX when not given */
	unsigned count;
	const char *words[REQUEST_WORDS_MAX];
};

/*
 * Reads `line` of `size` bytes, without its newline, over which a NUL may be
 * written. A carriage return at the end is ignored. Returns 0, or -1 with
 * *problem a constant sentence. *ret is set only on success.
 */
int request_parse(char *line, size_t size, struct request *ret, const char **problem);

/* Does it change anything? */
bool request_acts(const struct request *request);

/* Its first word. */
const char *request_word(const struct request *request);

/*
 * Is the line, of `size` bytes, what Einhorn's workers write when they are ready?
 * Their message is a map with a "command" of "worker:ack": in JSON (Go's goji/bind), or in
 * YAML with % and newline escaped as in a URL (Einhorn's own client). Who sent it is
 * for the caller to find out: the pid in it is not read.
 */
bool proto_is_ack(const char *line, size_t size);

/* A decimal number up to `max`: digits only, nothing after them. */
bool proto_number(const char *word, uint32_t max, uint32_t *ret);

/* N, +N or -N seen from `now`: what is wanted then, between 0 and `max`. */
bool proto_count(const char *word, uint32_t now, uint32_t max, uint32_t *ret);

/*
 * Where a cluster's control socket lies when the policy names none: the first of
 * these folders that can be had. Root has /run/clusterd only; a user has
 * $XDG_RUNTIME_DIR/clusterd, /run/user/UID/clusterd and /tmp/clusterd-UID.
 * `runtime` is the value of XDG_RUNTIME_DIR or NULL. Returns false when there is
 * no folder with that index, or when it does not fit `size`.
 */
bool proto_folder(unsigned index, uid_t uid, const char *runtime, char *ret, size_t size);

#endif
