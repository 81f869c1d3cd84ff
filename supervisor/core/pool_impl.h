/*
 * pool_impl - the inside of struct pool, for the files of core only.
 *
 * Indices, not pointers, connect the parts, so a pool can be copied and saved. Three
 * lists run through the slots: those that wait for a free instance, those whose worker
 * is to be replaced (a queue per kind), and through the instances the OLD ones of a slot.
 * All counters below are kept up to date, so that no event costs O(workers).
 */
#ifndef CLUSTERD_CORE_POOL_IMPL_H
#define CLUSTERD_CORE_POOL_IMPL_H

#include "supervisor/core/decide.h"
#include "supervisor/core/heap.h"
#include "supervisor/core/pool.h"
#include "supervisor/core/slot.h"

/* ---- instances ---- */

enum role { ROLE_CURRENT, ROLE_NEXT, ROLE_OLD, ROLES };

/* What a stop that came before EV_SPAWNED will do then: there is no process to signal yet. */
enum pending { PENDING_NOTHING, PENDING_STOP, PENDING_KILL, PENDINGS };

/* Deadlines of an instance, in the order in which they win when several are due. */
enum due {
	DUE_ALIVE,    /* it has lived long enough to count as ready */
	DUE_START,    /* it had to be ready by now */
	DUE_PROVEN,   /* a replacement has stayed ready for a moment */
	DUE_WATCHDOG, /* it had to ping by now */
	DUE_LIFETIME, /* it is too old */
	DUE_STOP,     /* end of draining, of the grace after the signal, next look after SIGKILL */
	DUES,
};

struct instance {
	uint32_t cookie; /* 0: free */
	uint32_t slot;
	uint32_t generation;
	uint32_t prev, next; /* OLD ones of the slot; next also links the free ones */
	uint32_t watchdog_ms; /* as it was told at its spawn; 0 = none */
	uint8_t state;        /* enum instance_state */
	uint8_t role;
	uint8_t cause; /* enum end_cause */
	uint8_t when;  /* enum ready_when at its spawn */
	uint8_t pending;
	uint8_t unkillable; /* reports so far */
	bool spawned;
	bool abandoned;
	uint64_t spawned_ms, ready_ms, killed_ms;
	uint64_t due_ms[DUES];
};

/* ---- slots ---- */

enum slot_due { SLOT_DUE_RESPAWN, SLOT_DUE_RETRY, SLOT_DUES };

enum link_of { LINK_WAIT, LINK_REPLACE, LINKS };

struct link {
	uint32_t prev, next;
};

struct list {
	uint32_t first, last;
};

/* Why the worker of a slot is replaced, the new one first. */
enum replace { REPLACE_NO, REPLACE_ROLL, REPLACE_RESTART, REPLACE_RECYCLE, REPLACES };

struct slot {
	uint32_t current, next, old; /* instances; old is the first of a list */
	uint32_t olds;
	uint32_t generation;    /* of the last current one */
	uint32_t replace_roll;  /* REPLACE_RESTART: its number */
	uint32_t replace_tries; /* replacements that failed */
	uint64_t replace_since_ms;
	uint64_t recycle_ms;   /* last replaced for its memory; 0 = never */
	uint8_t state;         /* enum slot_state */
	uint8_t replace;       /* enum replace */
	uint8_t replace_cause; /* REPLACE_RECYCLE: enum end_cause */
	uint8_t boot_failures;
	bool replacing; /* has left the queue: has a NEXT, or waits for its retry */
	bool waits;     /* for a free instance */
	bool counted;   /* the spawn it waits for counts in the bursts */
	bool settled;   /* has been ready, has failed, or is not meant to run */
	bool steered;
	bool ended_well;   /* the last worker, by itself with 0 or because we asked */
	bool recycle_told; /* REPORT_RECYCLE_HELD; it is said once */
	bool tell_gone;    /* ACT_SLOT_GONE after the last instance */
	bool tell_drained; /* REPORT_DRAINED after the last instance */
	uint64_t due_ms[SLOT_DUES];
	struct link links[LINKS];
	struct history history;
};

/* ---- the roll under way ---- */

struct roll {
	uint32_t number; /* 0: none */
	uint32_t generation;
	uint32_t cookie; /* instances from this one on are new */
	uint32_t done;
	bool back;
	bool proven; /* the canary lives */
	uint64_t begin_ms;
	uint64_t pause_ms; /* no slot is begun before; NEVER_MS = no pause */
};

struct pool {
	const struct policy *policy;
	struct slot *slots;
	struct instance *instances;
	uint32_t *hash; /* cookie -> instance + 1; open addressing, a power of two */
	struct heap heap;
	action_sink *sink; /* during a step */
	void *context;
	uint32_t slots_max, instances_max, hash_size;
	uint32_t free;     /* first free instance */
	uint64_t now_ms;
	uint64_t dice;
	uint32_t last_cookie;
	uint32_t generation;
	uint32_t rolls; /* numbers given so far */
	uint32_t wanted;
	uint32_t live;
	uint32_t ready;     /* slots that are steered to */
	uint32_t retired;   /* wanted slots in SLOT_RETIRED */
	uint32_t unsettled; /* wanted slots that have neither been ready nor failed */
	uint32_t boot_failed; /* wanted slots with BOOT_FAILURES */
	uint32_t abandoned;   /* live instances that survive SIGKILL */
	bool started, up, ever_spawned, ever_ready;
	bool stopping, stop_asked, exited;
	int status;
	enum why why;
	struct list waiting;
	struct list queues[REPLACES];
	uint32_t replacing[REPLACES]; /* slots that have left the queue */
	struct roll roll;
	struct cluster_history cluster;
};

/* ---- pool_instance.c ---- */

/* Index of the instance, or NO_INDEX. */
uint32_t instance_find(const struct pool *pool, uint32_t cookie);
void instance_hash_add(struct pool *pool, uint32_t index);
/* Takes a free instance and asks for its spawn. Returns its index, or NO_INDEX if none is free. */
uint32_t instance_spawn(struct pool *pool, uint32_t slot, enum role role, uint32_t generation);
/* What it was told at its start: when it counts as ready, and its watchdog. */
void instance_told(struct pool *pool, uint32_t index, const struct policy *policy);
/* Reaped or never born: takes it out of its slot and frees it. */
void instance_free(struct pool *pool, uint32_t index);
/* CURRENT or NEXT becomes OLD. */
void instance_retire(struct pool *pool, uint32_t index);
void instance_set_state(struct pool *pool, uint32_t index, enum instance_state state);
void instance_set_due(struct pool *pool, uint32_t index, enum due due, uint64_t at_ms);
void instance_clear_dues(struct pool *pool, uint32_t index);
uint64_t instance_due(const struct instance *instance);
/* Puts its earliest deadline in the heap. */
void instance_arm(struct pool *pool, uint32_t index);
bool instance_leaving(const struct instance *instance);
/* It is there (not NO_INDEX) and ready. */
bool instance_serves(const struct pool *pool, uint32_t index);

/* ---- pool_slot.c ---- */

void slot_init(struct slot *slot);
/* One step of the table, carried out; delay_ms is for TODO_ARM. */
void slot_do(struct pool *pool, uint32_t s, enum slot_event event, uint64_t delay_ms);
void slot_set_due(struct pool *pool, uint32_t s, enum slot_due due, uint64_t at_ms);
void slot_arm(struct pool *pool, uint32_t s);
/* Tells where new connections may go, after an instance changed. */
void slot_steer(struct pool *pool, uint32_t s);
void slot_settle(struct pool *pool, uint32_t s);
/* A start that failed; also counts a slot out that will never be ready. */
void slot_boot_failed(struct pool *pool, uint32_t s, uint8_t failures);
/* CURRENT and NEXT leave for `cause`; nothing follows. */
void slot_empty(struct pool *pool, uint32_t s, enum end_cause cause);
void slot_all_gone(struct pool *pool, uint32_t s);
/* It has a worker, or will have one without being asked. */
bool slot_fills_itself(const struct slot *slot);
/* Spawns for slots that waited for a free instance. */
void slot_spawn_waiting(struct pool *pool);

void list_append(struct pool *pool, enum link_of link, struct list *list, uint32_t s);
void list_prepend(struct pool *pool, enum link_of link, struct list *list, uint32_t s);
void list_remove(struct pool *pool, enum link_of link, struct list *list, uint32_t s);

/* ---- pool_stop.c ---- */

/* The stop sequence of one instance; nothing if it is already under way. */
void stop_begin(struct pool *pool, uint32_t index, enum end_cause cause);
void stop_kill(struct pool *pool, uint32_t index);
void stop_due(struct pool *pool, uint32_t index);
/* The whole cluster, because the pool gave up. */
void stop_all(struct pool *pool, int status, enum why why);
void stop_exit(struct pool *pool);

/* ---- pool_ready.c ---- */

void ready_now(struct pool *pool, uint32_t index, enum ready_how how);
/* It has failed while it ran (or started): stopped for `cause`. */
void ready_lost(struct pool *pool, uint32_t index, enum end_cause cause);
void instance_due_now(struct pool *pool, uint32_t index);
void instance_lifetime(struct pool *pool, uint32_t index);

/* ---- pool_end.c ---- */

void end_due(struct pool *pool, uint32_t s);
/* Every slot is retired, or none was ever ready: the cluster ends. */
void end_check(struct pool *pool);

/* ---- helpers ---- */

uint32_t pool_dice(struct pool *pool);
void pool_emit(struct pool *pool, const struct action *action);
void pool_report(struct pool *pool, const struct report *report);
/* Sum that stays below NEVER_MS. */
uint64_t pool_after(const struct pool *pool, uint64_t delay_ms);

static inline uint32_t heap_id_of_instance(const struct pool *pool, uint32_t index)
{
	return pool->slots_max + index;
}

static inline uint32_t heap_id_of_roll(const struct pool *pool)
{
	return pool->slots_max + pool->instances_max;
}

/* Equal deadlines: slots by number, then instances by age, then the roll. */
enum { RANK_SHIFT = 32 };
static const uint64_t rank_of_instances = (uint64_t)1 << RANK_SHIFT;
static const uint64_t rank_of_roll = (uint64_t)2 << RANK_SHIFT;

/* ---- events (pool.c dispatches) ---- */

void on_spawned(struct pool *pool, const struct event *event);
void on_spawn_failed(struct pool *pool, const struct event *event);
void on_ready(struct pool *pool, const struct event *event);
void on_stopping(struct pool *pool, const struct event *event);
void on_extend(struct pool *pool, const struct event *event);
void on_ping(struct pool *pool, const struct event *event);
void on_unhealthy(struct pool *pool, const struct event *event);
void on_recycle(struct pool *pool, const struct event *event);
void on_ended(struct pool *pool, const struct event *event);
void on_scale(struct pool *pool, const struct event *event);
void on_roll(struct pool *pool, const struct event *event);
void on_drain(struct pool *pool, const struct event *event);
void on_kill(struct pool *pool, const struct event *event);
void on_reset(struct pool *pool, const struct event *event);
void on_stop(struct pool *pool, const struct event *event);
void on_policy(struct pool *pool, const struct event *event);
void on_skipped(struct pool *pool, const struct event *event);

/* ---- layout of the memory, for init, resize and load ---- */

struct pool *pool_lay_out(void *memory, uint32_t slots_max, uint32_t instances_max);
/* Everything that can be checked of a whole pool, O(slots + instances). */
bool pool_valid(const struct pool *pool);

#endif
