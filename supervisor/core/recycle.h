/*
 * recycle - a worker that is too big or too old is replaced, the new one first.
 *
 * At most [recycle] at_most at a time; the others wait their turn. While a roll is to
 * replace the worker anyway, nothing is queued. The stop of the old one has the cause
 * (END_RSS, END_LIFETIME). If it ends before its turn has come, nothing is left to do.
 */
#ifndef CLUSTERD_CORE_RECYCLE_H
#define CLUSTERD_CORE_RECYCLE_H

#include "supervisor/core/pool_impl.h"

/* Only for a current, ready instance. */
void recycle_want(struct pool *pool, uint32_t index, enum end_cause cause);
void recycle_report(struct pool *pool, uint32_t s);

#endif
