/*
 * replace - a worker makes room for its replacement, the new one first.
 *
 * Rolls, restarts of one slot and recycling share this. A slot is queued for one of
 * them at a time and gets its NEXT when its turn has come. Once that one is ready - and,
 * unless it counts as ready by having lived, has stayed so for MIN_STABLE_MS, while the
 * old one still serves - it becomes CURRENT and the former starts its stop sequence. A
 * slot without a ready worker does not wait for the proof.
 *
 * A NEXT that ends, is not ready in time, hangs or can not be spawned is a failed try;
 * the next one follows after [restart] delay, doubled each time. Tries are limited
 * ([roll] tries) on the way forward of a roll and for a restart; not for the way back
 * of a roll and for recycling, where the old worker serves on meanwhile; once it does not,
 * nothing is left to recycle.
 */
#ifndef CLUSTERD_CORE_REPLACE_H
#define CLUSTERD_CORE_REPLACE_H

#include "supervisor/core/pool_impl.h"

enum { MIN_STABLE_MS = 100 };

/* Queues the slot, which is not queued yet (replace == REPLACE_NO). */
void replace_queue(struct pool *pool, uint32_t s, enum replace kind);

/* Forgets it: out of the queue, or its NEXT leaves for `cause`. Says nothing. */
void replace_drop(struct pool *pool, uint32_t s, enum end_cause cause);

/* The current worker has ended by itself: nothing is left to recycle. */
void replace_pointless(struct pool *pool, uint32_t s);

/* Starts what may be started now. */
void replace_run(struct pool *pool);

/* SLOT_DUE_RETRY. */
void replace_retry(struct pool *pool, uint32_t s);

void replace_ready(struct pool *pool, uint32_t next, enum ready_how how);
void replace_proven(struct pool *pool, uint32_t s);

/* The current worker serves no more: a NEXT that is ready needs no proof. */
void replace_unserved(struct pool *pool, uint32_t s);

/* The NEXT of the slot, known by `cookie`, is gone or leaving. */
void replace_failed(struct pool *pool, uint32_t s, uint32_t cookie);

/* Tells that it was the try of number replace_tries. */
void replace_report_failed(struct pool *pool, uint32_t s, uint32_t cookie);

#endif
