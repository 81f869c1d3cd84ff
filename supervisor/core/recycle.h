/*
 * recycle - a worker that is too big or too old is replaced, the new one first.
 *
 * At most [recycle] at_most at a time; the others wait their turn. While a roll is to
 * replace the worker anyway, nothing is queued. The stop of the old one has the cause
 * (END_RSS, END_LIFETIME). If it ends before its turn has come, nothing is left to do.
 *
 * For its memory a slot is recycled at most once in [restart] stable: a program that
 * is above the limit from its start on would be replaced for ever. It is told once.
 */
#ifndef CLUSTERD_CORE_RECYCLE_H
#define CLUSTERD_CORE_RECYCLE_H

#include "supervisor/core/pool_impl.h"

/* Only for a current, ready instance. */
void recycle_want(struct pool *pool, uint32_t index, enum end_cause cause);
/* What was said and done about its memory is over: another limit, or an operator's reset. */
void recycle_forget(struct pool *pool, uint32_t s);
void recycle_report(struct pool *pool, uint32_t s);
/* Nothing is to replace the worker of the slot any more: its age counts, also if its time came meanwhile. */
void recycle_by_age(struct pool *pool, uint32_t s);

#endif
