/*
 * reply - writes answers into a buffer; the parts that never change are ready.
 *
 * Every answer carries Date (RFC 9110 6.6.1), X-Pid, a JSON body and its length.
 * No allocation but the buffer's own.
 */
#ifndef APP_REPLY_H
#define APP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "cmd/app/buffer.h"

/* What all answers of this process share. */
struct reply_common {
	time_t second;   /* which the Date in `text` shows */
	size_t size;
	char text[128];  /* Date, X-Pid and Content-Type */
};

enum reply_connection {
	REPLY_KEEP,      /* HTTP/1.1, where keeping is the default */
	REPLY_KEEP_1_0,  /* HTTP/1.0, where it must be said */
	REPLY_CLOSE,
};

struct reply {
	unsigned status;
	enum reply_connection connection;
	bool head_only;     /* the answer to HEAD: the length of a body that is not sent */
	const char *allow;  /* the value of Allow, or NULL */
	const char *body;
	size_t body_size;
};

void reply_common_init(struct reply_common *common, long pid);

/* Appends the answer, with the Date of now. */
void reply_write(struct reply_common *common, const struct reply *reply, struct buffer *out);

/* The interim answer that lets a client send its body. */
void reply_write_continue(struct buffer *out);

/* The reason phrase, "Not Found"; that of 500 for a status not in our table. */
const char *reply_phrase(unsigned status);

#endif
