#include "supervisor/core/taking.h"

uint64_t taking_value(const struct taking_seen *seen)
{
	return seen->handed - seen->dropped - seen->queue;
}

bool taking_above(uint64_t value, uint64_t other)
{
	return value - other - 1 < INT64_MAX;
}

static bool moved(const struct taking *t, const struct taking_seen *seen, const uint64_t values[])
{
	return seen->queue < t->queue || taking_above(values[TAKING_LESS_DROPPED], t->most[TAKING_LESS_DROPPED]) ||
	       (!seen->full && !t->full && taking_above(values[TAKING_WITH_DROPPED], t->most[TAKING_WITH_DROPPED]));
}

bool taking_look(struct taking *t, const struct taking_seen *seen, uint64_t now_ms)
{
	const uint64_t values[] = { taking_value(seen), seen->handed - seen->queue };
	bool first = t->still_ms == 0, life = !first && moved(t, seen, values);

	if (first || life) {
		t->most[TAKING_LESS_DROPPED] = values[TAKING_LESS_DROPPED];
		t->most[TAKING_WITH_DROPPED] = values[TAKING_WITH_DROPPED];
	}
	if (first || life || seen->queue == 0)
		t->still_ms = t->same_ms = now_ms;
	if (values[TAKING_LESS_DROPPED] != t->value)
		t->same_ms = now_ms;
	if (life)
		t->moved_ms = now_ms;
	t->value = values[TAKING_LESS_DROPPED];
	t->queue = seen->queue;
	t->full = seen->full;
	return now_ms - t->same_ms >= TAKING_SAME_MS || now_ms - t->still_ms >= TAKING_STILL_MS;
}

void taking_forgive(struct taking *t, uint64_t ms)
{
	if (t->still_ms == 0)
		return;
	t->same_ms += ms;
	t->still_ms += ms;
}

void taking_forget(struct taking *t)
{
	t->still_ms = 0;
}
