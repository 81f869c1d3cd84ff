/*
 * world - a kernel, its processes and an operator, all invented from one seed.
 *
 * It plays the caller of the pool: carries actions out in virtual time, and answers with
 * events. Workers start slowly, crash, never get ready, are deaf to the stop signal, die
 * slowly, can not be spawned; new versions are bad; everybody dies at once; and operators
 * do everything at any moment. The state is saved and loaded, and a twin goes on from
 * there: both have to do the same.
 *
 * An episode is a storm, then a calm in which the cluster has to become whole, then a stop.
 */
#ifndef CLUSTERD_TESTS_WORLD_H
#define CLUSTERD_TESTS_WORLD_H

#include "config/policy.h"
#include "supervisor/core/pool.h"

enum {
	WORLD_WORKERS_MAX = 1024,
	PROCESSES_MAX = 8 * WORLD_WORKERS_MAX,
	COMING_MAX = 8 * PROCESSES_MAX,
	TOUCHED_MAX = WORLD_WORKERS_MAX,
	LAST_EVENTS = 40,
	POLICIES = 4,
};

struct process {
	uint32_t cookie; /* 0: free */
	uint32_t slot, generation;
	bool spawned, dead; /* dead: its end is on the way */
	bool deaf, slow;
	uint8_t stops, kills; /* signals it got */
	uint64_t end_ms;
};

struct coming {
	uint64_t at_ms, order;
	struct event event;
};

/* What the invariants remember of a slot. */
struct seen {
	uint32_t stamp; /* of the event that touched it last */
	uint32_t cookie, next_cookie;
	bool steered, ready, counted;
	bool long_lived; /* one that ended since the last try */
	uint32_t tries;  /* of the roll, that failed */
	uint32_t respawns;
	uint64_t respawn_ms[BURST_MAX];
};

struct world {
	uint64_t seed, random;
	uint64_t start_ms, now_ms, order;
	uint64_t events, target; /* done, and to do, in all episodes */
	uint32_t workers;
	struct pool *pool, *twin;
	uint64_t hash, twin_hash;
	struct policy *policies; /* POLICIES */
	const struct policy *policy;
	uint32_t generation; /* newest one */
	uint32_t slots_max, instances_max;
	bool calm, stop_sent, exited;
	bool back; /* the roll was, before this event */
	uint64_t stop_ms;
	uint64_t extended_ms; /* how far a stop was put off */
	uint32_t live; /* processes not reaped */
	uint32_t nexts; /* slots with a replacement */
	uint32_t ready;
	uint32_t ended_reports;
	uint32_t cluster_respawns;
	uint64_t cluster_respawn_ms[CLUSTER_BURST_MAX];
	bool roll_ended;       /* or a try failed, in this event */
	uint32_t failed_tries; /* of the roll, in this event */
	uint32_t last_cookie, roll_cookie; /* workers from this one on are new in the roll */
	uint32_t ready_before; /* this event */
	const struct event *event;
	uint32_t touched_count;
	uint32_t touched[TOUCHED_MAX];
	struct seen seen[WORLD_WORKERS_MAX];
	struct process processes[PROCESSES_MAX]; /* by cookie, modulo */
	uint32_t coming_count;
	struct coming coming[COMING_MAX];
	struct {
		uint64_t now_ms;
		struct event event;
	} last[LAST_EVENTS];
};

struct world *world_create(void);
void world_destroy(struct world *world);

/* One episode. Does not return if an invariant breaks. */
void world_episode(struct world *world, uint64_t seed, uint32_t workers, uint64_t events);

/* ---- for the other files ---- */

uint32_t world_random(struct world *world, uint32_t below);
bool world_chance(struct world *world, uint32_t percent);
void world_send(struct world *world, uint64_t delay_ms, const struct event *event);
void world_step(struct world *world, const struct event *event);
struct process *world_process(struct world *world, uint32_t cookie);
void world_die(struct world *world, struct process *process, uint64_t delay_ms, int code,
	       int signal);

/* operator.c: one deed of the storm. */
void world_operate(struct world *world);
void world_policies(struct world *world);

#endif
