#include "cmd/app/deadline.h"

static void on_timer(uv_timer_t *timer);

static void arm(struct deadlines *deadlines, uint64_t at_ms)
{
	uint64_t now_ms = uv_now(deadlines->timer.loop);

	if (at_ms >= deadlines->armed_ms)
		return; /* it fires earlier and looks again then */
	deadlines->armed_ms = at_ms;
	uv_timer_start(&deadlines->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void pass(struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ms)
{
	if (!deadline->again && now_ms - deadline->at_ms > DEADLINE_LATE_MS) {
		deadline_set(deadlines, deadline, deadline->limit);
		deadline->again = true;
		return;
	}
	deadline_clear(deadline);
	deadlines->passed(deadline);
}

static void on_timer(uv_timer_t *timer)
{
	struct deadlines *deadlines = timer->data;
	uint64_t now_ms = uv_now(timer->loop);

	deadlines->armed_ms = UINT64_MAX;
	for (enum limit limit = LIMIT_IDLE; limit < LIMITS; limit++) {
		struct deadline *first;

		while ((first = deadline_first(deadlines, limit)) && first->at_ms <= now_ms)
			pass(deadlines, first, now_ms);
	}
	for (enum limit limit = LIMIT_IDLE; limit < LIMITS; limit++) {
		struct deadline *first = deadline_first(deadlines, limit);

		if (first)
			arm(deadlines, first->at_ms);
	}
}

void deadlines_init(struct deadlines *deadlines, uv_loop_t *loop, const uint64_t span_ms[LIMITS],
		    deadline_passed *passed)
{
	for (int i = 0; i < LIMITS; i++) {
		deadlines->lists[i].next = deadlines->lists[i].previous = &deadlines->lists[i];
		deadlines->span_ms[i] = span_ms[i];
	}
	deadlines->armed_ms = UINT64_MAX;
	deadlines->passed = passed;
	uv_timer_init(loop, &deadlines->timer);
	deadlines->timer.data = deadlines;
}

void deadline_set(struct deadlines *deadlines, struct deadline *deadline, enum limit limit)
{
	struct deadline *head = &deadlines->lists[limit];

	deadline_clear(deadline);
	deadline->limit = limit;
	deadline->again = false;
	deadline->at_ms = uv_now(deadlines->timer.loop) + deadlines->span_ms[limit];
	deadline->next = head;
	deadline->previous = head->previous;
	head->previous->next = deadline;
	head->previous = deadline;
	if (limit != LIMIT_NONE)
		arm(deadlines, deadline->at_ms);
}

void deadline_clear(struct deadline *deadline)
{
	if (!deadline->next)
		return;
	deadline->next->previous = deadline->previous;
	deadline->previous->next = deadline->next;
	deadline->next = deadline->previous = NULL;
}

struct deadline *deadline_first(struct deadlines *deadlines, enum limit limit)
{
	struct deadline *head = &deadlines->lists[limit];

	return head->next == head ? NULL : head->next;
}
