/*
 * hear - descriptors of the workers, all behind one handle of the loop.
 *
 * GLUE. An ear belongs to whoever embeds it, and may be closed, and its memory freed, at any
 * moment, from within a call of `heard` too, its own or another's: what is closed is not called
 * any more. Closing does not close the descriptor.
 */
#ifndef CLUSTERD_SUPERVISOR_HEAR_H
#define CLUSTERD_SUPERVISOR_HEAR_H

#include <stdbool.h>
#include <sys/epoll.h>
#include <uv.h>

enum { HEAR_BATCH = 256 };

/* All zero before it is opened. */
struct ear {
	void (*heard)(void *owner);
	void *owner;
	int fd;
	bool open;
};

struct hearing {
	int set; /* -1: not started */
	uv_poll_t poll;
	struct epoll_event events[HEAR_BATCH];
	int count, next; /* of `events`, while they are told */
	void (*told)(void *context); /* after each batch: nobody is within a call of `heard` then */
	void *context;
};

/* Returns 0 or a negative errno, with nothing left open. */
int hear_start(struct hearing *h, uv_loop_t *loop, void (*told)(void *), void *context);
void hear_stop(struct hearing *h); /* every ear has been closed; may be called again */

/* Calls heard(owner) in every turn of the loop in which fd is readable. Returns 0 or -errno. */
int ear_open(struct hearing *h, struct ear *ear, int fd, void (*heard)(void *), void *owner);
void ear_close(struct hearing *h, struct ear *ear); /* may be closed already */

#endif
