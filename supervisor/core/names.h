/*
 * names - the words that stand for the core's enumerations in the log, in JSON
 * and in metrics. Scripts rely on them: they are only ever added to.
 * A number that is out of range has the name "unknown".
 */
#ifndef CLUSTERD_CORE_NAMES_H
#define CLUSTERD_CORE_NAMES_H

#include "supervisor/core/pool.h"

const char *name_slot_state(enum slot_state state);
const char *name_instance_state(enum instance_state state);
const char *name_end_cause(enum end_cause cause);
const char *name_next_action(enum next_action next);
const char *name_why(enum why why);
const char *name_verdict(enum verdict verdict);
const char *name_ready_how(enum ready_how how);

#endif
