/*
 * invariants - what must hold, whatever happens.
 *
 * Checked for every action when it is emitted, and after every event for the slots that
 * it touched; the whole pool, by its own check, now and then.
 */
#ifndef CLUSTERD_TESTS_INVARIANTS_H
#define CLUSTERD_TESTS_INVARIANTS_H

#include "tests/sim/world.h"

void invariants_begin(struct world *world);
void invariants_action(struct world *world, const struct action *action);
void invariants_event(struct world *world);

/* All wanted slots are ready and nothing else runs. */
bool invariants_whole(const struct world *world);

/* Prints the seed and the last events, and ends the program with 1. */
_Noreturn void invariants_broken(const struct world *world, const char *what, const char *file,
				 int line);

#define HOLDS(world, condition)                                                          \
	((condition) ? (void)0 : invariants_broken(world, #condition, __FILE__, __LINE__))

#endif
