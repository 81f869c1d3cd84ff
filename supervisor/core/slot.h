/*
 * slot - what becomes of a slot: one table of (state, event).
 *
 * Pairs that can not happen are marked as such, so a bug shows up as a refused step
 * and not as a slot that is forgotten.
 */
#ifndef CLUSTERD_CORE_SLOT_H
#define CLUSTERD_CORE_SLOT_H

#include "supervisor/core/pool.h"

enum slot_event {
	SLOT_FILL,   /* the slot is wanted: first start, growth, the end of a drain */
	SLOT_LATER,  /* its worker ended: respawn after a delay */
	SLOT_AGAIN,  /* its worker ended: respawn at once */
	SLOT_RENEW,  /* its worker ended because an operator killed it */
	SLOT_HOLD,   /* a burst is used up: wait for the window */
	SLOT_RETIRE, /* a rule says that it stays empty */
	SLOT_LOST,   /* its worker ended, and the cluster with it */
	SLOT_DUE,    /* its timer fired */
	SLOT_WAIT,   /* it may be spawned, but all instances are in use */
	SLOT_ADOPT,  /* its replacement takes over */
	SLOT_DRAIN,  /* an operator empties it */
	SLOT_RESET,  /* an operator wants it to live again */
	SLOT_VACATE, /* it is scaled away */
	SLOT_END,    /* the cluster stops */
	SLOT_EVENTS,
};

enum slot_todo {
	TODO_IMPOSSIBLE,
	TODO_NOTHING,
	TODO_SPAWN,   /* a worker now */
	TODO_RESPAWN, /* the same, and it counts in the bursts */
	TODO_ARM,     /* its timer */
	TODO_CANCEL,  /* its timer, if it runs */
};

struct slot_step {
	enum slot_state state;
	enum slot_todo todo;
};

/* For a pair that is impossible the state stays and the to-do says so. */
struct slot_step slot_step(enum slot_state state, enum slot_event event);

#endif
