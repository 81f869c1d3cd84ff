/*
 * output_internal - the inside of struct output, for output.c and output_left.c.
 */
#ifndef CLUSTERD_SUPERVISOR_OUTPUT_INTERNAL_H
#define CLUSTERD_SUPERVISOR_OUTPUT_INTERNAL_H

#include <uv.h>

#include "supervisor/output.h"
#include "supervisor/output_tail.h"

/* One pipe. */
struct stream {
	uv_poll_t poll;
	struct output *output;
	int fd;           /* -1: closed */
	bool error;       /* it is stderr */
	bool paused;      /* not polled: there is no room */
	char *held;       /* what was read and not yet logged: the beginning of a line, or what found no room */
	size_t held_size;
	size_t orphan;    /* bytes read since output_close() */
};

struct output {
	struct log *log;
	uint32_t slot;
	enum overflow overflow;
	struct stream streams[2];
	struct log_waiter waiter;
	struct log_user user;
	struct tail tail;
	uint64_t lost, told;
	unsigned handles;
	bool closing;
};

/* What was read and not logged is lost; nothing if it is closed. */
void stream_close(struct stream *stream);

/* By it an output is known among the users of a log. */
void output_on_log_close(struct log_user *user);

/* An output was let go: the oldest one is closed if there are too many whose pipes somebody holds. */
void outputs_bound(struct log *log);

#endif
