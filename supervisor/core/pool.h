/*
 * pool - the whole life of the cluster: events in, actions out.
 *
 * Pure: no clock, no system call, no allocation, no global, no pid. The caller
 * brings the time with every event and carries out each action in the order
 * given. The same events at the same times give the same actions.
 *
 * An instance is one process, from the decision to spawn it until it is reaped.
 * It is named by its cookie, which is never 0 and never used twice: an event with
 * a cookie the pool no longer knows is dropped, so late exits, late timers and
 * recycled pids can do no harm.
 *
 * A slot (0 … wanted-1) has at most one CURRENT instance, at most one NEXT (its
 * replacement, not yet ready) and any number of OLD ones that drain or stop.
 *
 *   instance   STARTING -> READY -> DRAINING -> STOPPING -> KILLED -> (reaped)
 *              every state may be followed by the end of the process; a stop may
 *              begin in STARTING and READY; stopping never goes back.
 *   slot       EMPTY (not wanted, or not yet spawned), LIVE, BACKOFF (one timer
 *              runs), HELD (a timer runs, after a burst), RETIRED (by a named
 *              rule), DRAINED (emptied on request)
 *
 * Limits     slots_max and instances_max are fixed at pool_init; when all
 *            instances are in use a spawn waits until one was reaped.
 * Units      milliseconds of one monotonic clock; NEVER_MS is "no deadline".
 * Ownership  the pool owns nothing; it lives in memory of the caller and is moved
 *            to a bigger place by pool_resize.
 */
#ifndef CLUSTERD_CORE_POOL_H
#define CLUSTERD_CORE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"

#define NEVER_MS UINT64_MAX
#define ALL_SLOTS UINT32_MAX
#define NO_INDEX UINT32_MAX

enum {
	BOOT_FAILURES = 3,       /* ends before readiness of every slot that end a first start */
	UNKILLABLE_MS = 10000,   /* how often a process that survives SIGKILL is reported */
	UNKILLABLE_TRIES = 3,    /* reports after which a stopping cluster leaves it behind */
};

/* Exit status of clusterd: clusterd(8), EXIT STATUS; as in sysexits(3). The core gives four of them. */
enum {
	STATUS_GAVE_UP = 69,
	STATUS_BUG = 70,
	STATUS_SYSTEM = 71,
	STATUS_LEFT_BEHIND = STATUS_SYSTEM, /* processes that survive SIGKILL */
	STATUS_SOCKET = 73,
	STATUS_NOT_PERMITTED = 77,
	STATUS_POLICY = 78,
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
};

/* ---- what happens ---- */

enum event_what {
	EV_START,        /* count: wanted workers; once, first */
	EV_SPAWNED,      /* cookie; told: with ready.when = auto only EV_READY counts; policy: what it
	                    was started from, NULL for that in force */
	EV_SPAWN_FAILED, /* cookie, error (errno), permanent: it can not be executed or was not found */
	EV_READY,        /* cookie, how (enum ready_how) */
	EV_STOPPING,     /* cookie: the worker says that it is about to end */
	EV_EXTEND,       /* cookie, delay_ms: start and stop deadlines, but not that of draining, move to
	                    at least now + delay */
	EV_PING,         /* cookie: WATCHDOG=1 */
	EV_UNHEALTHY,    /* cookie, cause (END_WATCHDOG, END_HEALTH, END_HUNG) */
	EV_RECYCLE,      /* cookie, cause (END_RSS): replace it, new first */
	EV_ENDED,        /* cookie, end: reaped */
	EV_TICK,         /* the time of pool_deadline has come */
	EV_SKIPPED,      /* delay_ms: so much too late it woke up; asleep_ms: it had heard nothing for so long */
	EV_SCALE,        /* count; with keep drained slots stay so, else they are filled */
	EV_ROLL,         /* slot or ALL_SLOTS, generation: new one, or the present one (restart) */
	EV_POLICY,       /* policy: LIVE keys of a reload */
	EV_DRAIN,        /* slot or ALL_SLOTS */
	EV_KILL,         /* slot: SIGKILL at once, respawn follows at once */
	EV_RESET,        /* slot or ALL_SLOTS: forget streak and bursts, respawn what is held or retired */
	EV_STOP,         /* drain and stop everything; again, or with fast: kill */
	EVENT_WHATS,
};

enum ready_how { HOW_NOTIFY, HOW_ALIVE, HOW_FD, HOW_COMMAND, HOW_HTTP, HOW_LISTEN };

struct ended {
	int code;    /* exit status 0..255; meaningless if signal != 0 */
	int signal;  /* terminating signal, or 0 */
	bool core;   /* a core was dumped */
	bool oom;    /* known to have been killed for lack of memory */
};

struct event {
	enum event_what what;
	uint32_t slot;
	uint32_t cookie;
	uint32_t generation;
	uint32_t count;
	uint64_t delay_ms, asleep_ms;
	int error;
	int cause; /* enum end_cause */
	enum ready_how how;
	bool permanent;
	bool told;
	bool fast;
	bool keep;
	struct ended end;
	const struct policy *policy;
};

/* ---- what to do about it ---- */

enum action_what {
	ACT_SPAWN,      /* slot, cookie, generation: answer with EV_SPAWNED or EV_SPAWN_FAILED */
	ACT_SIGNAL,     /* cookie, slot, signal, group: to the process, or to its whole group; cont: SIGCONT after it */
	ACT_STEER,      /* slot, on: new connections may (not) go to this slot */
	ACT_MOVE,       /* slot: hand its queue of connections to the siblings now */
	ACT_SLOT_GONE,  /* slot: scaled away, its last process was reaped */
	ACT_UP,         /* once: the first start is over and workers serve */
	ACT_GENERATION, /* generation: from now on the one that counts (after a roll or a rollback) */
	ACT_EXIT,       /* status, reason: everything has ended; no event follows */
	ACT_REPORT,     /* report: one line for the log, the history and whoever waits */
};

/* Why a process ended, or is made to. */
enum end_cause {
	END_SELF,     /* by itself */
	END_TIMEOUT,  /* not ready in time */
	END_WATCHDOG, /* did not say WATCHDOG=1 in time */
	END_HEALTH,   /* failed its health checks */
	END_HUNG,     /* does not take connections off its queue */
	END_RSS,      /* recycled: memory; from here on it is we who ask (decide_asked) */
	END_LIFETIME, /* recycled: age */
	END_ROLL,     /* replaced by a roll or a restart */
	END_SCALE,    /* its slot is no longer wanted */
	END_DRAIN,    /* drained on request */
	END_KILL,     /* killed on request */
	END_STOP,     /* the cluster stops */
	END_CAUSES,
};

/* What follows the end of a worker. */
enum next_action {
	NEXT_RESPAWN, /* after delay_ms */
	NEXT_RETIRE,  /* the slot stays empty */
	NEXT_EXIT,    /* the cluster ends */
	NEXT_NONE,    /* nothing: it was asked to end and has been, or will be, replaced */
	NEXT_ACTIONS,
};

/* The rule that decided it. */
enum why {
	WHY_ASKED,     /* we stopped it on purpose */
	WHY_STABLE,    /* it had lived at least [restart] stable: respawn at once */
	WHY_BACKOFF,   /* it had not: doubled delay */
	WHY_POLICY,    /* [restart] when does not cover this end */
	WHY_RULE,      /* an [exit RULE] */
	WHY_BURST,     /* [restart] burst is used up */
	WHY_CLUSTER_BURST, /* [restart] cluster_burst is used up */
	WHY_BOOT,      /* no worker was ever ready, and every slot has failed BOOT_FAILURES times */
	WHY_SPAWN,     /* it could not be spawned */
	WHY_FINISHED,  /* every slot is retired */
	WHY_REQUEST,   /* an operator asked */
	WHY_SPARE,     /* its slot has another worker */
	WHY_ROLL,      /* it was new in a roll and lived shortly: a failed try, whatever else would follow */
	WHYS,
};

enum report_what {
	REPORT_READY,       /* cookie, how, ms since spawn */
	REPORT_EXIT,        /* cookie, end, cause, asked, next, why, streak, delay_ms, ms */
	REPORT_STOP,        /* cookie, signal, cause: a stop was asked for (0 = draining first) */
	REPORT_ESCALATE,    /* cookie, signal: the stop timeout has passed, or count: max_old */
	REPORT_UNKILLABLE,  /* cookie, ms since SIGKILL */
	REPORT_SPAWN_ERROR, /* slot, error, delay_ms, next, why */
	REPORT_ROLL_BEGIN,  /* roll, generation, slot or ALL_SLOTS, count */
	REPORT_ROLL_SLOT, /* roll, slot, cookie (new), other (old cookie or 0), ok, count = tries so
			     far */
	REPORT_ROLL_BACK, /* roll, slot, generation it goes back to, count = tries that failed; ok, or
			     not: those of the way back, which tries on */
	REPORT_ROLL_END,  /* roll, verdict, ms, generation */
	REPORT_SCALE,     /* ALL_SLOTS, count, other (before) */
	REPORT_GIVE_UP,   /* slot or ALL_SLOTS, next, why, delay_ms, ok = a planned end */
	REPORT_RECYCLE,   /* cookie, cause */
	REPORT_RECYCLE_HELD, /* cookie, cause, delay_ms: over its limit again, not replaced before */
	REPORT_DRAINED,      /* slot */
};

enum verdict { VERDICT_DONE, VERDICT_ROLLED_BACK, VERDICT_FAILED, VERDICT_SUPERSEDED, VERDICT_STOPPED };

struct report {
	enum report_what what;
	uint32_t slot;
	uint32_t cookie;
	uint32_t other;
	uint32_t generation;
	uint32_t roll;
	uint32_t count;
	uint32_t streak; /* short lives in a row, this one included */
	int error;
	int signal;
	struct ended end;
	enum end_cause cause;
	enum next_action next;
	enum why why;
	enum ready_how how;
	enum verdict verdict;
	bool asked;
	bool ok;
	uint64_t ms;
	uint64_t delay_ms;
};

struct action {
	enum action_what what;
	uint32_t slot;
	uint32_t cookie;
	uint32_t generation;
	int signal;
	int status; /* ACT_EXIT: 0 or STATUS_… */
	bool group;
	bool cont;
	bool on;
	enum why why; /* ACT_EXIT */
	struct report report;
};

/*
 * Called for every action, in order, while a pool_* function runs. It must not
 * call back into the pool: it stores the action, or carries it out and puts the
 * events that follow in a queue of its own.
 */
typedef void action_sink(void *context, const struct action *action);

struct pool;

/* Bytes that a pool of this size needs; a multiple of 64. */
size_t pool_size(uint32_t slots_max, uint32_t instances_max);

/*
 * Makes a pool in `memory` (pool_size bytes, aligned as malloc aligns).
 * `policy` must outlive the pool or be replaced by EV_POLICY; `dice` seeds jitter.
 */
struct pool *pool_init(void *memory, uint32_t slots_max, uint32_t instances_max,
                       const struct policy *policy, uint32_t generation, uint64_t dice);

/* Copies the pool to bigger memory, of slots and of instances; the old memory may be freed after it. */
struct pool *pool_resize(const struct pool *old, void *memory, uint32_t slots_max,
                         uint32_t instances_max);

/* The one entry. Time never runs backwards: an earlier now_ms counts as the last one. */
void pool_step(struct pool *pool, uint64_t now_ms, const struct event *event, action_sink *sink,
               void *context);

/* When the next EV_TICK is due; NEVER_MS if nothing waits for time to pass. */
uint64_t pool_deadline(const struct pool *pool);

/* ---- what can be seen of it ---- */

enum slot_state { SLOT_EMPTY, SLOT_LIVE, SLOT_BACKOFF, SLOT_HELD, SLOT_RETIRED, SLOT_DRAINED, SLOT_STATES };
enum instance_state { INSTANCE_STARTING, INSTANCE_READY, INSTANCE_DRAINING, INSTANCE_STOPPING, INSTANCE_KILLED, INSTANCE_STATES };

struct pool_view {
	uint32_t wanted, slots_max, instances_max;
	uint32_t live;      /* instances not yet reaped */
	uint32_t ready;     /* slots with a ready instance */
	uint32_t generation; /* the one that counts */
	uint32_t roll;      /* number of the roll under way, or 0 */
	uint32_t roll_generation; /* its generation */
	uint32_t roll_done; /* slots it is through with, of those that serve */
	uint64_t roll_pause_ms; /* when its pause ends, or NEVER_MS */
	bool roll_back;     /* it is on its way back */
	bool stopping;
	bool up;
};

struct slot_view {
	enum slot_state state;
	uint32_t cookie;      /* of the current instance, or 0 */
	uint32_t next_cookie; /* of the replacement, or 0 */
	uint32_t old;         /* instances that drain or stop */
	uint32_t generation;  /* what it runs, or would run next */
	uint32_t streak;      /* short lives in a row */
	uint64_t due_ms;      /* when it is respawned (BACKOFF, HELD), else NEVER_MS */
	uint32_t restart;     /* number of the restart that waits or is under way, or 0 */
	bool stuck;           /* its roll has failed, and its way back has used up [roll] tries */
	bool awaited;         /* its roll has replaced it, and waits until it serves again */
};

struct instance_view {
	enum instance_state state;
	uint32_t slot, generation;
	uint64_t spawned_ms, ready_ms, killed_ms; /* 0 = not yet */
	uint64_t due_ms;               /* its next deadline, or NEVER_MS */
	enum end_cause cause;          /* why it is being stopped */
};

void pool_view(const struct pool *pool, struct pool_view *ret);

/* False, and *ret as it was: there is no such slot (it is below slots_max, wanted or not), or instance. */
bool pool_slot(const struct pool *pool, uint32_t slot, struct slot_view *ret);
bool pool_instance(const struct pool *pool, uint32_t cookie, struct instance_view *ret);

/* Generations of which a worker drains, or would if another roll began now: beside the one that counts. */
uint32_t pool_draining(const struct pool *pool);

/* Something runs it, or may yet be started from it: its program is still needed. */
bool pool_generation_used(const struct pool *pool, uint32_t generation);

/*
 * Serialises (a versioned, length-prefixed form, any byte order told apart) and
 * reads back. pool_save returns the bytes needed; it writes only if they fit.
 * pool_load checks every field and every invariant; it returns NULL and leaves
 * nothing half-done when the state is not one that pool_save can have written.
 */
size_t pool_save(const struct pool *pool, void *out, size_t size);
struct pool *pool_load(const void *in, size_t size, void *memory, uint32_t slots_max,
                       uint32_t instances_max, const struct policy *policy);
/* What pool_load will need. Returns false for a state it would refuse by its head. */
bool pool_load_size(const void *in, size_t size, uint32_t *ret_slots, uint32_t *ret_instances);

#endif
