/*
 * sim [--seed N] [--events N] [--workers N] [--start MS]
 *
 * Runs episodes from consecutive seeds, each from `start` on by the clock, until `events` have happened. A broken invariant
 * prints its seed and the last events; `sim --seed THAT --events 1` plays the same episode.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/world.h"

enum { EPISODE_EVENTS = 5000 };

struct options {
	uint64_t seed, events, workers, start;
};

static int parse(int argc, char **argv, struct options *options)
{
	struct {
		const char *name;
		uint64_t *value;
	} known[] = { { "--seed", &options->seed },
		      { "--events", &options->events },
		      { "--workers", &options->workers },
		      { "--start", &options->start } };
	const size_t count = sizeof(known) / sizeof(known[0]);

	for (int n = 1; n < argc; n += 2) {
		size_t k = 0;

		while (k < count && strcmp(argv[n], known[k].name) != 0)
			k++;
		if (k == count || n + 1 == argc)
			return -1;
		*known[k].value = strtoull(argv[n + 1], NULL, 10);
	}
	return options->workers + 64 <= WORLD_WORKERS_MAX ? 0 : -1;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct options options = { .seed = 1, .events = 1000000 };
	struct world *world;
	uint64_t episodes = 0;
	double began = seconds();

	if (parse(argc, argv, &options) < 0) {
		fprintf(stderr, "usage: sim [--seed N] [--events N] [--workers N (at most %d)] [--start MS]\n",
			WORLD_WORKERS_MAX - 64);
		return 64;
	}
	world = world_create();
	if (!world)
		return 71;
	world->start_ms = options.start;
	while (world->events < options.events)
		world_episode(world, options.seed + episodes++, (uint32_t)options.workers,
			      EPISODE_EVENTS);
	printf("%llu events, %llu episodes, %.0f events/s\n", (unsigned long long)world->events,
	       (unsigned long long)episodes, (double)world->events / (seconds() - began));
	world_destroy(world);
	return 0;
}
