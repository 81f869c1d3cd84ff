/* Oracle: a state is refused, or it is a valid pool that is saved as the same bytes and lives on. The
 * checksum is mended first, or nothing would ever get past it. */
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "supervisor/core/pool_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 4, INSTANCES = 16, SIZE_AT = 16, SUM_AT = 24, SUMMED_FROM = 32, INPUT_MAX = 32768 };

static _Alignas(64) unsigned char memory[64 * 1024];
static struct policy policy;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void sink(void *context, const struct action *action)
{
	(void)context;
	(void)action;
}

static void mend(unsigned char *input, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325, total = size;

	if (size < SUMMED_FROM)
		return;
	memcpy(input + SIZE_AT, &total, sizeof(total));
	for (size_t n = SUMMED_FROM; n < size; n++)
		sum = (sum ^ input[n]) * 0x100000001b3;
	memcpy(input + SUM_AT, &sum, sizeof(sum));
}

static void live_on(struct pool *pool)
{
	static const enum event_what whats[] = { EV_TICK, EV_SCALE, EV_ROLL, EV_RESET, EV_DRAIN,
						 EV_SKIPPED, EV_STOP, EV_STOP };

	for (size_t n = 0; n < sizeof(whats) / sizeof(whats[0]); n++) {
		struct event event = { .what = whats[n], .slot = ALL_SLOTS, .count = SLOTS - 1 };

		event.generation = 7;
		pool_step(pool, pool->now_ms < NEVER_MS / 2 ? pool->now_ms + 60000 : pool->now_ms,
			  &event, sink, NULL);
		must(pool_valid(pool));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char input[INPUT_MAX], again[INPUT_MAX];
	struct pool *pool;
	uint32_t slots = 0, instances = 0;

	if (size > INPUT_MAX)
		return 0;
	if (!policy.ready_timeout)
		policy_defaults(&policy);
	memcpy(input, data, size);
	mend(input, size);
	must(pool_size(SLOTS, INSTANCES) <= sizeof(memory));
	pool = pool_load(input, size, memory, SLOTS, INSTANCES, &policy);
	if (!pool)
		return 0;
	must(pool_valid(pool) && pool_load_size(input, size, &slots, &instances));
	if (slots == SLOTS && instances == INSTANCES) {
		must(pool_save(pool, again, sizeof(again)) == size);
		must(memcmp(input, again, size) == 0);
	}
	live_on(pool);
	return 0;
}
