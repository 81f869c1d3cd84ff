#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "tests/sim/invariants.h"

/* ---- chance ---- */

/* xorshift64* (Vigna, An experimental exploration of Marsaglia's xorshift generators). */
uint32_t world_random(struct world *world, uint32_t below)
{
	uint64_t x = world->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	world->random = x;
	return (uint32_t)((x * 0x2545f4914f6cdd1d) >> 33) % below;
}

bool world_chance(struct world *world, uint32_t percent)
{
	return world_random(world, 100) < percent;
}

/* ---- what is on its way: a plain binary heap ---- */

static bool earlier(const struct coming *a, const struct coming *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(struct coming *a, struct coming *b)
{
	struct coming c = *a;

	*a = *b;
	*b = c;
}

void world_send(struct world *world, uint64_t delay_ms, const struct event *event)
{
	struct coming *all = world->coming;
	uint32_t at = world->coming_count++;

	HOLDS(world, at < COMING_MAX);
	all[at] = (struct coming){ world->now_ms + delay_ms, world->order++, *event };
	for (; at > 0 && earlier(&all[at], &all[(at - 1) / 2]); at = (at - 1) / 2)
		swap(&all[at], &all[(at - 1) / 2]);
}

static struct event take_first(struct world *world)
{
	struct coming *all = world->coming;
	struct event event = all[0].event;
	uint32_t at = 0;

	all[0] = all[--world->coming_count];
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= world->coming_count)
			break;
		if (child + 1 < world->coming_count && earlier(&all[child + 1], &all[child]))
			child++;
		if (!earlier(&all[child], &all[at]))
			break;
		swap(&all[child], &all[at]);
		at = child;
	}
	return event;
}

/* ---- processes ---- */

struct process *world_process(struct world *world, uint32_t cookie)
{
	struct process *process = &world->processes[cookie % PROCESSES_MAX];

	return cookie && process->cookie == cookie ? process : NULL;
}

void world_die(struct world *world, struct process *process, uint64_t delay_ms, int code,
	       int signal)
{
	uint64_t at = world->now_ms + delay_ms;

	if (process->end_ms <= at)
		return;
	process->end_ms = at;
	world_send(world, delay_ms,
		   &(struct event){ .what = EV_ENDED,
				    .cookie = process->cookie,
				    .end = { .code = signal ? 0 : code, .signal = signal } });
}

/* A bad version: every second generation of a storm. */
static bool bad(const struct world *world, uint32_t generation)
{
	return generation > 1 && generation % 3 == 0 && !world->calm;
}

static void on_spawn(struct world *world, const struct action *action)
{
	struct process *process = &world->processes[action->cookie % PROCESSES_MAX];
	struct event answer = { .what = EV_SPAWNED, .cookie = action->cookie };

	HOLDS(world, process->cookie == 0);
	*process = (struct process){
		.cookie = action->cookie,
		.slot = action->slot,
		.generation = action->generation,
		.deaf = !world->calm && world_chance(world, 10),
		.slow = !world->calm && world_chance(world, 2),
		.end_ms = UINT64_MAX,
	};
	world->live++;
	if (!world->calm && world_chance(world, 4)) {
		answer.what = EV_SPAWN_FAILED;
		answer.error = 11;
		answer.permanent = world_chance(world, 20);
	}
	world_send(world, world_random(world, 3), &answer);
}

static void on_signal(struct world *world, const struct action *action)
{
	struct process *process = world_process(world, action->cookie);

	HOLDS(world, process && process->spawned);
	if (action->signal == SIGKILL) {
		HOLDS(world, process->kills++ == 0);
		world_die(world, process, process->slow ? 15000 : world_random(world, 20), 0, SIGKILL);
		return;
	}
	HOLDS(world, process->stops++ == 0 && process->kills == 0 && action->cont);
	if (!process->deaf)
		world_die(world, process, world_random(world, 500), world_random(world, 2) != 0,
			  world_chance(world, 20) ? action->signal : 0);
}

static uint64_t hash_action(uint64_t hash, const struct action *a)
{
	const struct report *r = &a->report;
	const uint64_t parts[] = { (uint64_t)a->what, a->slot, a->cookie, a->generation,
				   (uint64_t)a->signal, (uint64_t)a->status, a->on, (uint64_t)r->what,
				   r->roll, r->count, (uint64_t)r->cause, (uint64_t)r->next,
				   (uint64_t)r->why, (uint64_t)r->verdict, r->ms, r->delay_ms };

	for (size_t n = 0; n < sizeof(parts) / sizeof(parts[0]); n++)
		hash = (hash ^ parts[n]) * 0x100000001b3;
	return hash;
}

static void twin_sink(void *context, const struct action *action)
{
	struct world *world = context;

	world->twin_hash = hash_action(world->twin_hash, action);
}

static void sink(void *context, const struct action *action)
{
	struct world *world = context;

	world->hash = hash_action(world->hash, action);
	invariants_action(world, action);
	if (action->what == ACT_SPAWN)
		on_spawn(world, action);
	else if (action->what == ACT_SIGNAL)
		on_signal(world, action);
	else if (action->what == ACT_EXIT)
		world->exited = true;
}

/* ---- events reach the pool ---- */

static void crash(struct world *world, struct process *process)
{
	world_die(world, process, world_random(world, 2000), (int)world_random(world, 3),
		  world_chance(world, 30) ? SIGSEGV : 0);
}

/* The life a worker will lead, decided at its birth. */
static void live(struct world *world, struct process *process)
{
	uint32_t cookie = process->cookie;
	bool broken = bad(world, process->generation) && world_chance(world, 90);

	process->spawned = true;
	if (broken || (!world->calm && world_chance(world, 15)))
		crash(world, process);
	else if (!world->calm && world_chance(world, 50))
		world_die(world, process, world_random(world, 60000), (int)world_random(world, 3), 0);
	if (!broken && (world->calm || !world_chance(world, 5)))
		world_send(world, world_random(world, 3000),
			   &(struct event){ .what = EV_READY, .cookie = cookie });
	if (!world->calm && world_chance(world, 5))
		world_send(world, world_random(world, 20000),
			   &(struct event){ .what = EV_STOPPING, .cookie = cookie });
}

static bool reaches(struct world *world, const struct event *event)
{
	struct process *process = world_process(world, event->cookie);

	if (event->what == EV_SPAWNED) {
		live(world, process);
	} else if (event->what == EV_SPAWN_FAILED) {
		process->cookie = 0;
		world->live--;
	} else if (event->what == EV_ENDED) {
		/* A later end than the one that came first is no end at all. */
		if (!process || process->end_ms != world->now_ms)
			return false;
		process->cookie = 0;
		world->live--;
	}
	return true;
}

void world_step(struct world *world, const struct event *event)
{
	if (world->exited || !reaches(world, event))
		return;
	world->last[world->events % LAST_EVENTS].now_ms = world->now_ms;
	world->last[world->events % LAST_EVENTS].event = *event;
	world->events++;
	world->event = event;
	world->hash = 0;
	invariants_begin(world);
	pool_step(world->pool, world->now_ms, event, sink, world);
	invariants_event(world);
	if (world->twin) {
		world->twin_hash = 0;
		pool_step(world->twin, world->now_ms, event, twin_sink, world);
		HOLDS(world, world->twin_hash == world->hash);
		HOLDS(world, pool_deadline(world->twin) == pool_deadline(world->pool));
	}
}

/* The next thing that happens: a deadline of the pool, or something that is on its way. */
static bool go_on(struct world *world)
{
	uint64_t deadline = pool_deadline(world->pool);
	uint64_t coming = world->coming_count ? world->coming[0].at_ms : NEVER_MS;
	struct event event = { .what = EV_TICK };

	if (world->exited || (deadline == NEVER_MS && coming == NEVER_MS))
		return false;
	if (coming < deadline || (coming == deadline && world_chance(world, 50))) {
		world->now_ms = coming;
		event = take_first(world);
	} else if (deadline > world->now_ms) {
		world->now_ms = deadline;
	}
	world_step(world, &event);
	return true;
}

/* ---- an episode ---- */

static void begin(struct world *world, uint64_t seed, uint32_t workers)
{
	world->seed = seed;
	world->random = seed * 0x9e3779b97f4a7c15 + 1;
	world->now_ms = world->start_ms + 1 + world_random(world, 1000);
	world->workers = workers ? workers : 1 + world_random(world, 12);
	world->slots_max = world->workers + 4;
	world->instances_max = world_chance(world, 20) ? world->slots_max + 1 : 4 * world->slots_max;
	world->generation = 1;
	world->calm = world->stop_sent = world->exited = world->back = false;
	world->live = world->nexts = world->ready = 0;
	world->extended_ms = 0;
	world->cluster_respawns = 0;
	world->last_cookie = world->roll_cookie = 0;
	world->coming_count = 0;
	memset(world->seen, 0, sizeof(world->seen[0]) * world->slots_max);
	memset(world->processes, 0, sizeof(world->processes));
	world_policies(world);
	world->pool = pool_init(malloc(pool_size(world->slots_max, world->instances_max)),
				world->slots_max, world->instances_max, world->policy, 1, seed);
	world->twin = NULL;
}

static void calm(struct world *world)
{
	uint64_t until = world->now_ms + 600000 + world->workers * 5000;

	world->calm = true;
	world->policy = &world->policies[0];
	world_step(world, &(struct event){ .what = EV_POLICY, .policy = world->policy });
	world_step(world, &(struct event){ .what = EV_RESET, .slot = ALL_SLOTS });
	world_step(world, &(struct event){ .what = EV_ROLL,
					   .slot = ALL_SLOTS,
					   .generation = ++world->generation });
	while (!world->exited && world->now_ms < until && !invariants_whole(world))
		if (!go_on(world))
			break;
	HOLDS(world, world->exited || invariants_whole(world));
}

static void stop(struct world *world)
{
	world->stop_sent = true;
	world->stop_ms = world->now_ms;
	world_step(world, &(struct event){ .what = EV_STOP });
	while (go_on(world))
		;
	HOLDS(world, world->exited);
}

void world_episode(struct world *world, uint64_t seed, uint32_t workers, uint64_t events)
{
	uint64_t until = world->events + events;

	begin(world, seed, workers);
	world_step(world, &(struct event){ .what = EV_START, .count = world->workers });
	while (!world->exited && world->events < until) {
		if (world_chance(world, 4))
			world_operate(world);
		go_on(world);
	}
	if (!world->exited)
		calm(world);
	if (!world->exited)
		stop(world);
	free(world->pool);
	free(world->twin);
	world->pool = world->twin = NULL;
}

struct world *world_create(void)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		return NULL;
	world->policies = calloc(POLICIES, sizeof(struct policy));
	if (world->policies)
		return world;
	free(world);
	return NULL;
}

void world_destroy(struct world *world)
{
	if (!world)
		return;
	free(world->policies);
	free(world);
}
