#include "supervisor/core/pool_impl.h"

#include "supervisor/core/replace.h"
#include "supervisor/core/roll.h"

/* ---- lists of slots ---- */

static struct link *link_at(struct pool *pool, enum link_of link, uint32_t s)
{
	return &pool->slots[s].links[link];
}

void list_append(struct pool *pool, enum link_of link, struct list *list, uint32_t s)
{
	*link_at(pool, link, s) = (struct link){ .prev = list->last, .next = NO_INDEX };
	if (list->last != NO_INDEX)
		link_at(pool, link, list->last)->next = s;
	else
		list->first = s;
	list->last = s;
}

void list_prepend(struct pool *pool, enum link_of link, struct list *list, uint32_t s)
{
	*link_at(pool, link, s) = (struct link){ .prev = NO_INDEX, .next = list->first };
	if (list->first != NO_INDEX)
		link_at(pool, link, list->first)->prev = s;
	else
		list->last = s;
	list->first = s;
}

void list_remove(struct pool *pool, enum link_of link, struct list *list, uint32_t s)
{
	struct link *at = link_at(pool, link, s);

	if (at->prev != NO_INDEX)
		link_at(pool, link, at->prev)->next = at->next;
	else
		list->first = at->next;
	if (at->next != NO_INDEX)
		link_at(pool, link, at->next)->prev = at->prev;
	else
		list->last = at->prev;
	*at = (struct link){ .prev = NO_INDEX, .next = NO_INDEX };
}

/* ---- one slot ---- */

void slot_init(struct slot *slot)
{
	*slot = (struct slot){ .current = NO_INDEX, .next = NO_INDEX, .old = NO_INDEX };
	for (int due = 0; due < SLOT_DUES; due++)
		slot->due_ms[due] = NEVER_MS;
	for (int link = 0; link < LINKS; link++)
		slot->links[link] = (struct link){ .prev = NO_INDEX, .next = NO_INDEX };
}

void slot_arm(struct pool *pool, uint32_t s)
{
	const uint64_t *due_ms = pool->slots[s].due_ms;
	uint64_t first = due_ms[SLOT_DUE_RESPAWN];

	if (due_ms[SLOT_DUE_RETRY] < first)
		first = due_ms[SLOT_DUE_RETRY];
	heap_set(&pool->heap, s, s, first);
}

void slot_set_due(struct pool *pool, uint32_t s, enum slot_due due, uint64_t at_ms)
{
	pool->slots[s].due_ms[due] = at_ms;
	slot_arm(pool, s);
}

static void set_state(struct pool *pool, uint32_t s, enum slot_state state)
{
	struct slot *slot = &pool->slots[s];

	if (slot->state == SLOT_RETIRED)
		pool->retired--;
	slot->state = (uint8_t)state;
	if (state == SLOT_RETIRED)
		pool->retired++;
}

static void stop_waiting(struct pool *pool, uint32_t s)
{
	if (!pool->slots[s].waits)
		return;
	pool->slots[s].waits = false;
	list_remove(pool, LINK_WAIT, &pool->waiting, s);
}

/* Fresh slots, and those an operator wants again, run what counts now. */
static uint32_t generation_for(const struct pool *pool, const struct slot *slot,
			       enum slot_event event)
{
	bool fresh = event == SLOT_FILL || slot->state == SLOT_DRAINED;

	return fresh ? pool->generation : slot->generation;
}

static void spawn(struct pool *pool, uint32_t s, bool counted)
{
	struct slot *slot = &pool->slots[s];

	if (pool->free == NO_INDEX) {
		slot->waits = true;
		slot->counted = counted;
		list_append(pool, LINK_WAIT, &pool->waiting, s);
		set_state(pool, s, slot_step(slot->state, SLOT_WAIT).state);
		return;
	}
	if (counted)
		history_add(&slot->history, &pool->cluster, pool->now_ms);
	instance_spawn(pool, s, ROLE_CURRENT, slot->generation);
}

void slot_do(struct pool *pool, uint32_t s, enum slot_event event, uint64_t delay_ms)
{
	struct slot *slot = &pool->slots[s];
	struct slot_step step = slot_step(slot->state, event);

	if (step.todo == TODO_IMPOSSIBLE || step.todo == TODO_NOTHING)
		return;
	slot_set_due(pool, s, SLOT_DUE_RESPAWN, NEVER_MS);
	stop_waiting(pool, s);
	if (step.todo == TODO_SPAWN)
		slot->generation = generation_for(pool, slot, event);
	set_state(pool, s, step.state);
	if (step.todo == TODO_ARM)
		slot_set_due(pool, s, SLOT_DUE_RESPAWN, pool_after(pool, delay_ms));
	else if (step.todo == TODO_SPAWN || step.todo == TODO_RESPAWN)
		spawn(pool, s, step.todo == TODO_RESPAWN);
}

void slot_spawn_waiting(struct pool *pool)
{
	while (pool->waiting.first != NO_INDEX && pool->free != NO_INDEX && !pool->stopping) {
		uint32_t s = pool->waiting.first;
		struct decision d = { .next = NEXT_RESPAWN };

		stop_waiting(pool, s);
		if (pool->slots[s].counted)
			d = decide_due(pool->policy, &pool->slots[s].history, &pool->cluster,
				       pool->now_ms);
		if (d.next != NEXT_RESPAWN || d.held)
			end_due(pool, s);
		else
			slot_do(pool, s, pool->slots[s].counted ? SLOT_DUE : SLOT_RESET, 0);
	}
}

/*
 * A slot is steered to while its current worker or the replacement is ready. When the
 * last one goes, what waits in its queue moves to the siblings, if there are any; while
 * the cluster stops each worker finishes its own queue.
 */
void slot_steer(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];
	bool on = instance_serves(pool, slot->current) || instance_serves(pool, slot->next);

	if (on == slot->steered)
		return;
	slot->steered = on;
	if (on)
		pool->ready++;
	else
		pool->ready--;
	pool_emit(pool, &(struct action){ .what = ACT_STEER, .slot = s, .on = on });
	roll_steered(pool, s);
	if (!on && pool->ready > 0 && !pool->stopping)
		pool_emit(pool, &(struct action){ .what = ACT_MOVE, .slot = s });
}

bool slot_fills_itself(const struct slot *slot)
{
	return slot->state == SLOT_LIVE || slot->state == SLOT_BACKOFF || slot->state == SLOT_HELD;
}

void slot_settle(struct pool *pool, uint32_t s)
{
	if (pool->slots[s].settled || s >= pool->wanted)
		return;
	pool->slots[s].settled = true;
	pool->unsettled--;
}

void slot_boot_failed(struct pool *pool, uint32_t s, uint8_t failures)
{
	struct slot *slot = &pool->slots[s];

	if (s >= pool->wanted || slot->boot_failures >= BOOT_FAILURES)
		return;
	if (failures >= BOOT_FAILURES - slot->boot_failures) {
		slot->boot_failures = BOOT_FAILURES;
		pool->boot_failed++;
	} else {
		slot->boot_failures = (uint8_t)(slot->boot_failures + failures);
	}
}

void slot_empty(struct pool *pool, uint32_t s, enum end_cause cause)
{
	uint32_t both[] = { pool->slots[s].next, pool->slots[s].current };

	for (size_t n = 0; n < sizeof(both) / sizeof(both[0]); n++) {
		if (both[n] == NO_INDEX)
			continue;
		instance_retire(pool, both[n]);
		stop_begin(pool, both[n], cause);
	}
	slot_steer(pool, s);
}

/* The last instance of a slot was reaped. */
void slot_all_gone(struct pool *pool, uint32_t s)
{
	struct slot *slot = &pool->slots[s];

	if (slot->current != NO_INDEX || slot->next != NO_INDEX || slot->old != NO_INDEX)
		return;
	if (slot->tell_drained && slot->state == SLOT_DRAINED)
		pool_report(pool, &(struct report){ .what = REPORT_DRAINED, .slot = s });
	if (slot->tell_gone && s >= pool->wanted)
		pool_emit(pool, &(struct action){ .what = ACT_SLOT_GONE, .slot = s });
	slot->tell_drained = false;
	slot->tell_gone = false;
}
