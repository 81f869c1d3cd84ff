#include "supervisor/core/names.h"

/* Designated, so that a new value without a name shows as "unknown" in the test. */
#define NAMES(function, type, ...)                                                                 \
	const char *function(type value)                                                           \
	{                                                                                          \
		static const char *const names[] = { __VA_ARGS__ };                                \
		unsigned i = (unsigned)value;                                                      \
                                                                                                   \
		return i < sizeof names / sizeof *names && names[i] ? names[i] : "unknown";        \
	}

NAMES(name_slot_state, enum slot_state, [SLOT_EMPTY] = "empty", [SLOT_LIVE] = "live",
      [SLOT_BACKOFF] = "backoff", [SLOT_HELD] = "held", [SLOT_RETIRED] = "retired",
      [SLOT_DRAINED] = "drained")

NAMES(name_instance_state, enum instance_state, [INSTANCE_STARTING] = "starting",
      [INSTANCE_READY] = "ready", [INSTANCE_DRAINING] = "draining",
      [INSTANCE_STOPPING] = "stopping", [INSTANCE_KILLED] = "killed")

NAMES(name_end_cause, enum end_cause, [END_SELF] = "self", [END_TIMEOUT] = "timeout",
      [END_WATCHDOG] = "watchdog", [END_HEALTH] = "health", [END_HUNG] = "hung",
      [END_RSS] = "rss", [END_LIFETIME] = "lifetime", [END_ROLL] = "roll", [END_SCALE] = "scale",
      [END_DRAIN] = "drain", [END_KILL] = "kill", [END_STOP] = "stop")

NAMES(name_next_action, enum next_action, [NEXT_RESPAWN] = "respawn", [NEXT_RETIRE] = "retire",
      [NEXT_EXIT] = "exit", [NEXT_NONE] = "none")

NAMES(name_why, enum why, [WHY_ASKED] = "asked", [WHY_STABLE] = "stable", [WHY_BACKOFF] = "backoff",
      [WHY_POLICY] = "policy", [WHY_RULE] = "rule", [WHY_BURST] = "burst",
      [WHY_CLUSTER_BURST] = "cluster-burst", [WHY_BOOT] = "boot", [WHY_SPAWN] = "spawn",
      [WHY_FINISHED] = "finished", [WHY_REQUEST] = "request", [WHY_SPARE] = "spare",
      [WHY_ROLL] = "roll")

NAMES(name_verdict, enum verdict, [VERDICT_DONE] = "done", [VERDICT_ROLLED_BACK] = "rolled-back",
      [VERDICT_FAILED] = "failed", [VERDICT_SUPERSEDED] = "superseded",
      [VERDICT_STOPPED] = "stopped")

NAMES(name_ready_how, enum ready_how, [HOW_NOTIFY] = "notify", [HOW_ALIVE] = "alive",
      [HOW_FD] = "fd", [HOW_COMMAND] = "command", [HOW_HTTP] = "http", [HOW_LISTEN] = "listen")
