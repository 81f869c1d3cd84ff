/*
 * roll - every worker is replaced, and what comes of it.
 *
 * EV_ROLL of all slots: the first slot alone (the canary); when its new worker has
 * taken over, `surge` slots at a time, with `pause` after each. Workers that are already new
 * are left alone. A slot that is in backoff, held, retired or drained gets its new
 * worker when its turn comes. The number of ready slots never drops because of a roll.
 *
 * A slot whose new worker fails `tries` times fails the roll:
 *   on_failure = rollback  what was switched goes back to the generation that counted
 *                          before, by the same machinery, as often as it takes; then
 *                          VERDICT_ROLLED_BACK. REPORT_ROLL_BACK tells that this
 *                          begins, and where `tries` of it fail in a slot, once
 *   on_failure = stop      VERDICT_FAILED; each slot keeps what it runs
 * A roll to the present generation (a restart) has nothing to go back to: it stops.
 *
 * A slot that is through and no longer serves is awaited: it has a place among the `surge`
 * again until it serves, and the roll does not come to its end before. Each end by itself
 * before [restart] stable is a failed try of that slot, also where a rule, [restart] when or
 * give_up would retire the slot or end the cluster: it is respawned instead (WHY_ROLL). One
 * that uses up a burst is the last try. Only an [exit RULE] that says exit ends the cluster
 * all the same. A stable life forgets the tries. What was queued for the slot behind the
 * roll is given up; a restart of it starts a NEXT at once. On the way back the slots have
 * only to be switched; until one is, what is new in it is respawned likewise.
 *
 * A second roll of all supersedes the first; the generation that counts changes only
 * when a roll is done. EV_ROLL of one slot restarts it with the generation that counts,
 * has a number of its own and waits while a roll of all is under way. Where that roll has
 * yet to reach the slot, or a newer restart of it comes, it is superseded; so it is by a
 * new roll of all. Draining, scaling away and the stop of the cluster end it with
 * VERDICT_STOPPED. So it is with a roll of all when all slots are drained at once, or
 * none is left that it would replace and none that it has replaced serves: the generation
 * that counts is the former. Else, with one that does, it is done.
 */
#ifndef CLUSTERD_CORE_ROLL_H
#define CLUSTERD_CORE_ROLL_H

#include "supervisor/core/pool_impl.h"

/* Ends the roll and all restarts without going back; the new workers leave for `cause`. */
void roll_abort(struct pool *pool, enum verdict verdict, enum end_cause cause);

/* All slots are about to be emptied for `cause`. */
void roll_stop(struct pool *pool, enum end_cause cause);

/* The slot is emptied for `cause`: its part in a roll or a restart ends. */
void roll_forget(struct pool *pool, uint32_t s, enum end_cause cause);

/* The slot was filled: a roll under way reaches it last. */
void roll_include(struct pool *pool, uint32_t s);

bool roll_may_start(const struct pool *pool, uint32_t busy);
/* The roll has yet to replace what the slot holds, or to fill it. */
bool roll_needs(const struct pool *pool, uint32_t s);
/* On the way back an empty slot that does not try again by itself has nothing to be replaced: it just forgets. */
void roll_unswitch(struct pool *pool, uint32_t s);
void roll_switched(struct pool *pool);
/* The slot has failed `tries` times, not on the way back. */
void roll_failed(struct pool *pool, uint32_t s);
/* The slot begins or ceases to serve. */
void roll_steered(struct pool *pool, uint32_t s);
/* One that is through and does not serve tries to. */
void roll_await(struct pool *pool, uint32_t s);
/* The roll has nothing to replace in it, and is through with it. */
void roll_left(struct pool *pool, uint32_t s);
/* It is one of those that are done: through, and serves. */
bool roll_counts(const struct pool *pool, uint32_t s);
/* The current worker of the slot, known by `cookie`, has ended and what follows is under way. */
void roll_current_ended(struct pool *pool, uint32_t s, uint32_t cookie, const struct decision *d);
/* The roll has replaced the worker of the slot, or found it new, goes forward, and waits until it serves again. */
bool roll_awaits(const struct slot *slot);
/* What ends in the slot is what the roll has brought to it: neither the slot nor the cluster ends with that. */
bool roll_keeps(const struct pool *pool, uint32_t s);
/* A burst that is used up leaves no room for another try now: the roll has failed. */
void roll_held(struct pool *pool, uint32_t s);
/* Nothing will follow in the slot. */
void roll_retired(struct pool *pool, uint32_t s);
void roll_report_back(struct pool *pool, uint32_t s, bool begins);
void roll_restart_end(struct pool *pool, uint32_t s, enum verdict verdict);
void roll_set_pause(struct pool *pool, uint64_t at_ms);

/* Something may yet fill a retired slot. */
bool roll_busy(const struct pool *pool);

/* All slots are through: gives the verdict. Returns whether it did. */
bool roll_finish(struct pool *pool);

#endif
