/*
 * decide - what follows the end of a worker. One place, no other.
 *
 * In this order: an [exit RULE] that names the end; what [restart] when covers; a
 * life of at least `stable` (respawn at once); else delay·2^k. A respawn has to fit
 * the budgets too: never more than `burst` of a slot and `cluster_burst` of all slots
 * in ANY window. The windows slide and are exact, as Erlang/OTP's supervisor counts
 * its intensity (stdlib, supervisor.erl, add_restart), not counted anew from the
 * first event after a window: the times of the last respawns are kept in a ring of
 * the greatest allowed burst, so a reload that changes `burst` keeps the history.
 *
 * Nothing here changes a history but history_add, which is called for each respawn
 * that counts: not for first starts and not for what an operator asked for.
 */
#ifndef CLUSTERD_CORE_DECIDE_H
#define CLUSTERD_CORE_DECIDE_H

#include "supervisor/core/pool.h"

enum { SPAWN_PAUSE_MS = 100 };

/* Respawns of one slot. */
struct history {
	uint32_t streak; /* short lives in a row */
	uint32_t used;   /* entries of the ring, modulo its size once it is full */
	uint64_t at_ms[BURST_MAX];
};

/* Respawns of all slots. */
struct cluster_history {
	uint32_t used;
	uint64_t at_ms[CLUSTER_BURST_MAX];
};

/* How a worker lived and died. */
struct life {
	uint64_t now_ms;
	uint64_t lived_ms;
	bool ready; /* it has ever been */
	enum end_cause cause;
	struct ended end;
};

struct decision {
	enum next_action next;
	enum why why;
	bool held;         /* NEXT_RESPAWN, once a budget that is used up has room */
	bool unstable;     /* a start that failed, or a life shorter than [restart] stable */
	uint32_t streak;   /* from now on */
	uint64_t delay_ms; /* NEXT_RESPAWN: from now */
};

/* Causes by which we stop a worker although nothing is wrong with it. */
bool decide_asked(enum end_cause cause);

/* Causes by which a worker that serves no more, though it runs, is stopped. */
bool decide_hung(enum end_cause cause);

/* delay·2^streak, at most delay_max, minus up to a quarter by `dice`. */
uint64_t decide_backoff(const struct policy *policy, uint32_t streak, uint32_t dice);

struct decision decide_end(const struct policy *policy, const struct history *history,
			   const struct cluster_history *cluster, const struct life *life,
			   uint32_t dice);

/* The worker could not be spawned: as after a short life, and never within SPAWN_PAUSE_MS. */
struct decision decide_spawn_error(const struct policy *policy, const struct history *history,
				   const struct cluster_history *cluster, uint64_t now_ms,
				   uint32_t dice);

/* Of what is new in a roll, whose slot is neither retired nor ends the cluster: as after a short life. */
struct decision decide_failed_try(const struct policy *policy, const struct history *history,
				  const struct cluster_history *cluster, uint64_t now_ms,
				  uint32_t dice);

/* A respawn is due now: do the budgets still allow it, after what other slots did meanwhile? */
struct decision decide_due(const struct policy *policy, const struct history *history,
			   const struct cluster_history *cluster, uint64_t now_ms);

/* Remembers a respawn. */
void history_add(struct history *history, struct cluster_history *cluster, uint64_t now_ms);

#endif
