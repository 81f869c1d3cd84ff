/*
 * scale - more or fewer slots, and emptying and filling them by hand.
 *
 * Growing spawns the generation that counts, beside old instances that still leave; a
 * roll under way reaches the new slots last. Shrinking empties the highest slots first;
 * ACT_SLOT_GONE follows each slot's last instance. Scaling also fills the drained slots
 * below the new count, if it is not said to keep them. 0 is a pause, more than slots_max counts as slots_max.
 */
#ifndef CLUSTERD_CORE_SCALE_H
#define CLUSTERD_CORE_SCALE_H

#include "supervisor/core/pool_impl.h"

/* The first slots of a pool. */
void scale_start(struct pool *pool, uint32_t count);

#endif
