#include "supervisor/core/scale.h"

#include "supervisor/core/recycle.h"
#include "supervisor/core/replace.h"
#include "supervisor/core/roll.h"

static void add_slot(struct pool *pool)
{
	uint32_t s = pool->wanted++;
	struct slot *slot = &pool->slots[s];

	slot->settled = false;
	slot->ended_well = false;
	slot->boot_failures = 0;
	slot->history.streak = 0;
	pool->unsettled++;
	slot_do(pool, s, SLOT_FILL, 0);
	roll_include(pool, s);
}

static void forget_boot(struct pool *pool, uint32_t s)
{
	if (pool->slots[s].boot_failures >= BOOT_FAILURES)
		pool->boot_failed--;
	pool->slots[s].boot_failures = 0;
}

static void remove_slot(struct pool *pool)
{
	uint32_t s = pool->wanted - 1;
	struct slot *slot = &pool->slots[s];

	roll_forget(pool, s, END_SCALE);
	slot_do(pool, s, SLOT_VACATE, 0);
	slot_empty(pool, s, END_SCALE);
	slot_settle(pool, s);
	forget_boot(pool, s);
	pool->wanted--;
	slot->tell_gone = true;
	slot_all_gone(pool, s);
}

void scale_start(struct pool *pool, uint32_t count)
{
	if (count > pool->slots_max)
		count = pool->slots_max;
	while (pool->wanted < count)
		add_slot(pool);
}

static void fill(struct pool *pool, uint32_t s, enum slot_event event)
{
	slot_do(pool, s, event, 0);
	roll_include(pool, s);
}

void on_scale(struct pool *pool, const struct event *event)
{
	uint32_t before = pool->wanted;
	uint32_t count = event->count < pool->slots_max ? event->count : pool->slots_max;

	if (pool->stopping)
		return;
	pool_report(pool, &(struct report){ .what = REPORT_SCALE,
					    .slot = ALL_SLOTS,
					    .count = count,
					    .other = before });
	while (pool->wanted > count)
		remove_slot(pool);
	for (uint32_t s = 0; s < pool->wanted && !event->keep; s++)
		if (pool->slots[s].state == SLOT_DRAINED)
			fill(pool, s, SLOT_FILL);
	while (pool->wanted < count)
		add_slot(pool);
}

/* ---- by hand ---- */

static void drain(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->state == SLOT_DRAINED)
		return;
	roll_forget(pool, s, END_DRAIN);
	slot_do(pool, s, SLOT_DRAIN, 0);
	slot_empty(pool, s, END_DRAIN);
	slot_settle(pool, s);
	slot->tell_drained = true;
	slot_all_gone(pool, s);
}

void on_drain(struct pool *pool, const struct event *event)
{
	if (pool->stopping)
		return;
	if (event->slot < pool->wanted) {
		drain(pool, event->slot);
		return;
	}
	if (event->slot != ALL_SLOTS)
		return;
	roll_stop(pool, END_DRAIN);
	for (uint32_t s = 0; s < pool->wanted; s++)
		drain(pool, s);
}

static void reset(struct pool *pool, uint32_t s)
{
	forget_boot(pool, s);
	pool->slots[s].history.streak = 0;
	pool->slots[s].history.used = 0;
	recycle_forget(pool, s);
	if (pool->slots[s].state == SLOT_DRAINED)
		fill(pool, s, SLOT_RESET);
	else
		slot_do(pool, s, SLOT_RESET, 0);
	roll_await(pool, s);
}

/* All slots at once also forget what they did together. */
void on_reset(struct pool *pool, const struct event *event)
{
	if (pool->stopping)
		return;
	if (event->slot < pool->wanted)
		reset(pool, event->slot);
	if (event->slot != ALL_SLOTS)
		return;
	pool->cluster.used = 0;
	for (uint32_t s = 0; s < pool->wanted; s++)
		reset(pool, s);
}
