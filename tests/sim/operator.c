#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "tests/sim/invariants.h"
#include "tests/sim/world.h"

/* ---- policies: the first is for the calm, the others are random ---- */

static void set(struct policy *policy, const char *key, const char *value)
{
	char problem[PROBLEM_TEXT_MAX];

	if (key_set(policy, key, value, problem) < 0)
		abort();
}

static const struct {
	const char *key;
	const char *values[4];
} choices[] = {
	{ "restart.when", { "always", "always", "on-failure", "on-abnormal" } },
	{ "restart.burst", { "none", "1", "3", "8" } },
	{ "restart.cluster_burst", { "none", "none", "5", "20" } },
	{ "restart.window", { "1s", "10s", "60s", "60s" } },
	{ "restart.give_up", { "hold", "hold", "hold", "retire" } },
	{ "restart.delay", { "0", "10ms", "100ms", "1s" } },
	{ "restart.delay_max", { "1s", "5s", "30s", "30s" } },
	{ "ready.when", { "auto", "notify", "alive", "auto" } },
	{ "ready.after", { "0", "1s", "2s", "1s" } },
	{ "ready.timeout", { "2s", "5s", "60s", "60s" } },
	{ "stop.timeout", { "0", "1s", "2s", "5s" } },
	{ "stop.drain_delay", { "0", "0", "500ms", "3s" } },
	{ "roll.pause", { "0", "0", "50ms", "1s" } },
	{ "roll.on_failure", { "rollback", "rollback", "rollback", "stop" } },
	{ "recycle.max_lifetime", { "0", "0", "30s", "100s" } },
	{ "health.watchdog", { "0", "0", "5s", "30s" } },
	{ "restart.stable", { "0", "1s", "10s", "100s" } },
	{ "recycle.jitter", { "0%", "10%", "10%", "50%" } },
	{ "roll.tries", { "1", "2", "2", "5" } },
	{ "supervisor.max_old", { "1", "2", "3", "16" } },
};

/* Of whoever ends with 1; never to end the cluster, or there would be no storm. */
static void add_rule(struct world *world, struct policy *policy)
{
	static const enum exit_action actions[] = { EXIT_RESPAWN, EXIT_BACKOFF, EXIT_RETIRE };
	struct exit_rule *rule = &policy->rules[policy->rule_count++];

	*rule = (struct exit_rule){ .kind = EXIT_CODES, .low = 1, .high = 1 };
	rule->action = actions[world_random(world, 3)];
	rule->has_delay = world_chance(world, 50);
	rule->delay_ms = world_random(world, 100000);
}

void world_policies(struct world *world)
{
	static const char *const surges[] = { "1", "2", "3" };
	const char *surge = surges[world_random(world, 3)];

	for (int n = 0; n < POLICIES; n++) {
		struct policy *policy = &world->policies[n];

		policy_defaults(policy);
		set(policy, "roll.surge", surge);
		if (n > 0 && world_chance(world, 50))
			add_rule(world, policy);
		for (size_t c = 0; n > 0 && c < sizeof(choices) / sizeof(choices[0]); c++)
			set(policy, choices[c].key, choices[c].values[world_random(world, 4)]);
	}
	world->policy = &world->policies[1];
}

/* ---- deeds ---- */

static uint32_t some_slot(struct world *world)
{
	return world_random(world, world->slots_max + 1);
}

/* A living process, mostly; also one that is gone, or never was. */
static uint32_t some_cookie(struct world *world)
{
	struct slot_view view;

	if (world_chance(world, 10) || !pool_slot(world->pool, some_slot(world), &view))
		return world_random(world, 100000);
	return world_chance(world, 80) ? view.cookie : view.next_cookie;
}

static void deed_scale(struct world *world)
{
	uint32_t count = world_random(world, world->slots_max + 2);

	world_step(world, &(struct event){ .what = EV_SCALE, .count = count });
}

static void deed_roll(struct world *world)
{
	if (world_chance(world, 70))
		world->generation++;
	world_step(world, &(struct event){ .what = EV_ROLL,
					   .slot = ALL_SLOTS,
					   .generation = world->generation });
}

static void deed_restart(struct world *world)
{
	world_step(world, &(struct event){ .what = EV_ROLL, .slot = some_slot(world) });
}

static void deed_drain(struct world *world)
{
	uint32_t slot = world_chance(world, 10) ? ALL_SLOTS : some_slot(world);

	world_step(world, &(struct event){ .what = EV_DRAIN, .slot = slot });
}

static void deed_kill(struct world *world)
{
	world_step(world, &(struct event){ .what = EV_KILL, .slot = some_slot(world) });
}

static void deed_reset(struct world *world)
{
	uint32_t slot = world_chance(world, 30) ? ALL_SLOTS : some_slot(world);

	world_step(world, &(struct event){ .what = EV_RESET, .slot = slot });
}

static void deed_policy(struct world *world)
{
	world->policy = &world->policies[1 + world_random(world, POLICIES - 1)];
	world_step(world, &(struct event){ .what = EV_POLICY, .policy = world->policy });
}

static void deed_skip(struct world *world)
{
	uint64_t delay = world_random(world, 20000);

	world_step(world, &(struct event){ .what = EV_SKIPPED, .delay_ms = delay });
}

static void deed_noise(struct world *world)
{
	static const enum event_what whats[] = { EV_READY, EV_STOPPING, EV_EXTEND, EV_PING,
						 EV_RECYCLE, EV_UNHEALTHY };
	struct event event = { .cookie = some_cookie(world), .cause = END_RSS };

	event.what = whats[world_random(world, 6)];
	if (event.what == EV_UNHEALTHY)
		event.cause = END_WATCHDOG + (int)world_random(world, 3);
	event.delay_ms = world_random(world, 3000);
	world->extended_ms = 3000;
	world_step(world, &event);
}

static void deed_massacre(struct world *world)
{
	for (uint32_t n = 0; n < PROCESSES_MAX; n++)
		if (world->processes[n].cookie && world->processes[n].spawned)
			world_die(world, &world->processes[n], 0, 0, SIGKILL);
}

static void deed_crash(struct world *world)
{
	struct process *process = world_process(world, some_cookie(world));

	if (process && process->spawned)
		world_die(world, process, 0, 1, 0);
}

/* From here on a twin that was loaded from the saved state does everything too. */
static void deed_save(struct world *world)
{
	size_t size = pool_save(world->pool, NULL, 0);
	void *bytes = malloc(size), *memory;
	uint32_t slots, instances;

	free(world->twin);
	HOLDS(world, bytes && pool_save(world->pool, bytes, size) == size);
	HOLDS(world, pool_load_size(bytes, size, &slots, &instances));
	memory = malloc(pool_size(slots, instances));
	world->twin = pool_load(bytes, size, memory, slots, instances, world->policy);
	HOLDS(world, world->twin == memory);
	free(bytes);
}

static void deed_forget_twin(struct world *world)
{
	free(world->twin);
	world->twin = NULL;
}

static void deed_resize(struct world *world)
{
	struct pool *old = world->pool;

	if (world->slots_max + 2 >= WORLD_WORKERS_MAX || world->instances_max > PROCESSES_MAX / 2)
		return;
	deed_forget_twin(world);
	memset(&world->seen[world->slots_max], 0, 2 * sizeof(world->seen[0]));
	world->slots_max += 2;
	world->instances_max += 3;
	world->pool = pool_resize(old, malloc(pool_size(world->slots_max, world->instances_max)),
				  world->slots_max, world->instances_max);
	free(old);
}

void world_operate(struct world *world)
{
	static const struct {
		uint32_t weight;
		void (*deed)(struct world *world);
	} deeds[] = {
		{ 10, deed_scale },  { 12, deed_roll },  { 8, deed_restart }, { 4, deed_drain },
		{ 6, deed_kill },    { 4, deed_reset },  { 4, deed_policy },  { 3, deed_skip },
		{ 30, deed_noise },  { 1, deed_massacre }, { 8, deed_crash }, { 1, deed_save },
		{ 4, deed_forget_twin }, { 1, deed_resize },
	};
	uint32_t at = world_random(world, 96);

	for (size_t n = 0; n < sizeof(deeds) / sizeof(deeds[0]); n++) {
		if (at < deeds[n].weight) {
			deeds[n].deed(world);
			return;
		}
		at -= deeds[n].weight;
	}
}
