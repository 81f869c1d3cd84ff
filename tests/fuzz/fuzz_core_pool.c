/* Oracle: whatever happens in whatever order, the pool is valid after each event and spawns nothing
 * after a stop. */
#include <signal.h>
#include <stdlib.h>

#include "config/keys.h"
#include "supervisor/core/pool_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 4, INSTANCES = 9, BYTES_OF_EVENT = 4 };

static _Alignas(64) unsigned char memory[64 * 1024];
static struct policy policies[2];

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void sink(void *context, const struct action *action)
{
	const struct pool *pool = *(struct pool *const *)context;

	if (action->what == ACT_SPAWN)
		must(!pool->stopping && action->slot < pool->wanted);
	if (action->what == ACT_SIGNAL)
		must(pool->instances[instance_find(pool, action->cookie)].spawned);
	if (action->what == ACT_EXIT)
		must(pool->stopping && pool->live == pool->abandoned);
}

static const struct policy *some_policy(uint8_t bits)
{
	struct policy *policy = &policies[bits & 1];

	policy_defaults(policy);
	policy->restart_give_up = (enum give_up)(bits >> 1 & 1);
	policy->restart_burst = bits >> 2 & 3;
	policy->ready_when.when = bits & 16 ? READY_NOTIFY : READY_AUTO;
	policy->stop_timeout = bits & 32 ? 0 : 1000;
	policy->stop_drain_delay = bits & 64 ? 500 : 0;
	policy->roll_surge = bits & 128 ? 2 : 1;
	return policy;
}

/* Four bytes: what, time that passes, who, how. */
static struct event read_event(const struct pool *pool, const uint8_t *at)
{
	struct event event = { .what = (enum event_what)(at[0] % EVENT_WHATS) };

	event.slot = at[2] & 0x80 ? ALL_SLOTS : at[2] % (SLOTS + 1);
	event.cookie = pool->last_cookie - at[2] % 16;
	event.count = at[3] % (SLOTS + 2);
	event.generation = at[3];
	event.delay_ms = (uint64_t)at[3] << (at[2] % 56);
	event.error = at[3];
	event.permanent = at[3] & 1;
	event.fast = at[3] > 250;
	event.cause = at[3] % END_CAUSES;
	event.end.code = at[3] % 4;
	event.end.signal = at[3] & 4 ? SIGSEGV : 0;
	if (event.what == EV_POLICY)
		event.policy = some_policy(at[3]);
	return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pool *pool = NULL;
	struct event start = { .what = EV_START, .count = SLOTS };
	uint64_t now_ms = 1;

	must(pool_size(SLOTS, INSTANCES) <= sizeof(memory));
	pool = pool_init(memory, SLOTS, INSTANCES, some_policy(size ? data[0] : 0), 1, 1);
	pool_step(pool, now_ms, &start, sink, &pool);
	for (; size >= BYTES_OF_EVENT; data += BYTES_OF_EVENT, size -= BYTES_OF_EVENT) {
		struct event event = read_event(pool, data);

		now_ms += (uint64_t)data[1] << (data[1] % 8);
		pool_step(pool, now_ms, &event, sink, &pool);
		must(pool_valid(pool));
	}
	return 0;
}
