/*
 * adoption - see adoption.c. One struct for each worker that was started under the
 * filter; it frees itself when the last process under the filter is gone.
 */
#ifndef CLUSTERD_SUPERVISOR_ADOPTION_H
#define CLUSTERD_SUPERVISOR_ADOPTION_H

#include "supervisor/internal.h"

struct adoption {
	struct adoption *next;
	struct supervisor *s;
	uint32_t slot, seat, cookie;
	int notify_fd;
	unsigned handles;     /* of the loop that are open */
	bool given;           /* it has one of our sockets */
	uint32_t told;        /* binds that the log tells of */
	struct address other; /* the last IP address it bound that is none of ours */
	unsigned pauses;      /* in a row: its calls wait until they can be looked at */
	uv_poll_t poll;
	uv_timer_t pause;
};

/* adopt_link.c: the link of an adopting unix listener. */
bool adopts_path(const struct sock *sock);
int adopt_link_form(struct sock *sock, const char **failed);
void adopt_link_begin(struct supervisor *s, struct sock *sock);
void adopt_link_publish(struct supervisor *s, struct sock *sock);
void adopt_link_end(struct sock *sock);

/* Takes the fd over, on error too. */
int adoption_begin(struct supervisor *s, const struct worker *worker, int notify_fd);

/* For one that came with a state. */
int adoption_watch(struct supervisor *s, struct adoption *adoption);

void adoptions_stop(struct supervisor *s);

/* Logs why a worker that did not get ready was given nothing, if that is so. */
void adoption_explain(struct supervisor *s, uint32_t cookie);
/* It ended by itself; says once what to look for if that never came to be. */
void adoption_missed(struct supervisor *s, const struct worker *worker);

#endif
