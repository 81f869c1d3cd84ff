/*
 * orphans - workers that a killed clusterd has left behind, and the record that names them.
 *
 * GLUE. With [supervisor] on_death = keep the record (core/record.h) lies beside the
 * control socket and has a row for each live worker: written after it was started,
 * emptied when it was reaped. A clusterd that starts finds the rows of its dead
 * predecessor, takes the listeners out of those processes (os/takeback.h), starts its
 * own workers beside them, and asks them to stop once these serve. The rows stay until the
 * processes have ended, so it may be killed in the middle as well. The lock on the
 * record tells whether the predecessor really is dead.
 *
 * Who is in the record is not trusted: a process counts only while pid and start time are
 * the same, and everything goes through its pidfd.
 */
#ifndef CLUSTERD_SUPERVISOR_ORPHANS_H
#define CLUSTERD_SUPERVISOR_ORPHANS_H

#include "supervisor/core/record.h"
#include "supervisor/internal.h"
#include "supervisor/os/takeback.h"

struct orphan {
	struct orphan *next;
	struct supervisor *s;
	uint32_t row;
	struct record_row is;
	int pidfd;
	bool watched;
	bool told;         /* by this clusterd */
	uint32_t seat;     /* in steered groups (steer.c), or 0 */
	uint64_t asked_ms; /* when it was */
	uv_poll_t poll;
};

/* What the timer is armed for. */
enum phase { SERVING, PROVING, DRAINING, ASKED, KILLED, GIVEN_UP };

struct orphans {
	struct orphan *first, **end;
	struct takeback set; /* during the start only */
	int refused;         /* why the sockets could not be got, or 0 */
	const char *refused_step;
	uv_timer_t timer;
	bool timer_open;
	enum phase phase;
	const char *why; /* they drain */
	bool whole; /* at the last look all workers were ready */
};

/* record.c. Problems are told once, and end nothing. */
typedef void record_found(struct supervisor *s, uint32_t row, const struct record_row *is);
bool record_open(struct supervisor *s, record_found *found); /* NULL: what is in it is left alone */
void record_resume(struct supervisor *s, record_found *found);
/* Around the start of a worker: a clusterd that is killed in between leaves a hint. */
void record_starting(struct supervisor *s, uint32_t slot, uint32_t generation);
void record_started(struct supervisor *s, struct worker *worker); /* NULL: it could not be */
void record_set(struct supervisor *s, uint32_t row, const struct record_row *is);
void record_gone(struct supervisor *s, uint32_t row); /* 0: nothing */
void record_close(struct supervisor *s);
/* Begins it anew where its file is gone, with the workers that live now; one system call when it is
 * there. Not while there are orphans, whose rows it had. */
void record_keep(struct supervisor *s);

/* orphan_sockets.c */
/* Before a listener is opened at the start, and after. */
bool orphans_form(struct supervisor *s, struct sock *sock);
void orphans_variants(struct supervisor *s, const struct sock *of, uint32_t workers);
void orphans_collect(struct supervisor *s);
int orphans_lend(struct supervisor *s, const struct listen_spec *spec, struct listening *ret,
                 const char **failed); /* 1 and *ret, 0: there is none, or -errno */
/* Gives the group what orphans have of it; those of a steered one are the only ones listed then. */
int orphans_lend_group(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed);
void orphans_explain(struct supervisor *s, int error);
void orphans_seats(struct supervisor *s, bool on); /* do they get connections? */
void orphans_find_seats(struct supervisor *s);     /* after an upgrade */
void orphans_claim_paths(struct supervisor *s);

/* orphans.c, in the order of a start */
void orphans_find(struct supervisor *s); /* before the first generation gets its number */
void orphans_begin(struct supervisor *s); /* everything is open */
void orphans_up(struct supervisor *s);    /* own workers serve */

void orphans_resume(struct supervisor *s); /* after an upgrade */
void orphans_stop(struct supervisor *s, bool fast); /* clusterd was asked to stop */
bool orphans_hold(struct supervisor *s); /* all else has ended: true while clusterd waits for them */
void orphans_finish(struct supervisor *s);

#endif
