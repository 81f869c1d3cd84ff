#include "supervisor/core/slot.h"

/* clang-format off */
static const struct slot_step steps[SLOT_STATES][SLOT_EVENTS] = {
	[SLOT_EMPTY] = {
		[SLOT_FILL]   = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_WAIT]   = { SLOT_BACKOFF, TODO_NOTHING },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_EMPTY,   TODO_CANCEL },
	},
	[SLOT_LIVE] = {
		[SLOT_FILL]   = { SLOT_LIVE,    TODO_NOTHING },
		[SLOT_LATER]  = { SLOT_BACKOFF, TODO_ARM },
		[SLOT_AGAIN]  = { SLOT_LIVE,    TODO_RESPAWN },
		[SLOT_RENEW]  = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_HOLD]   = { SLOT_HELD,    TODO_ARM },
		[SLOT_RETIRE] = { SLOT_RETIRED, TODO_CANCEL },
		[SLOT_WAIT]   = { SLOT_BACKOFF, TODO_NOTHING },
		[SLOT_ADOPT]  = { SLOT_LIVE,    TODO_CANCEL },
		[SLOT_DRAIN]  = { SLOT_DRAINED, TODO_CANCEL },
		[SLOT_RESET]  = { SLOT_LIVE,    TODO_NOTHING },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_LIVE,    TODO_CANCEL },
	},
	[SLOT_BACKOFF] = {
		[SLOT_FILL]   = { SLOT_BACKOFF, TODO_NOTHING },
		[SLOT_HOLD]   = { SLOT_HELD,    TODO_ARM },
		[SLOT_RETIRE] = { SLOT_RETIRED, TODO_CANCEL },
		[SLOT_DUE]    = { SLOT_LIVE,    TODO_RESPAWN },
		[SLOT_ADOPT]  = { SLOT_LIVE,    TODO_CANCEL },
		[SLOT_DRAIN]  = { SLOT_DRAINED, TODO_CANCEL },
		[SLOT_RESET]  = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_EMPTY,   TODO_CANCEL },
	},
	[SLOT_HELD] = {
		[SLOT_FILL]   = { SLOT_HELD,    TODO_NOTHING },
		[SLOT_HOLD]   = { SLOT_HELD,    TODO_ARM },
		[SLOT_RETIRE] = { SLOT_RETIRED, TODO_CANCEL },
		[SLOT_DUE]    = { SLOT_LIVE,    TODO_RESPAWN },
		[SLOT_ADOPT]  = { SLOT_LIVE,    TODO_CANCEL },
		[SLOT_DRAIN]  = { SLOT_DRAINED, TODO_CANCEL },
		[SLOT_RESET]  = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_EMPTY,   TODO_CANCEL },
	},
	[SLOT_RETIRED] = {
		[SLOT_FILL]   = { SLOT_RETIRED, TODO_NOTHING },
		[SLOT_ADOPT]  = { SLOT_LIVE,    TODO_CANCEL },
		[SLOT_DRAIN]  = { SLOT_DRAINED, TODO_CANCEL },
		[SLOT_RESET]  = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_RETIRED, TODO_CANCEL },
	},
	[SLOT_DRAINED] = {
		[SLOT_FILL]   = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_ADOPT]  = { SLOT_LIVE,    TODO_CANCEL },
		[SLOT_DRAIN]  = { SLOT_DRAINED, TODO_CANCEL },
		[SLOT_RESET]  = { SLOT_LIVE,    TODO_SPAWN },
		[SLOT_VACATE] = { SLOT_EMPTY,   TODO_CANCEL },
		[SLOT_END]    = { SLOT_DRAINED, TODO_CANCEL },
	},
};
/* clang-format on */

struct slot_step slot_step(enum slot_state state, enum slot_event event)
{
	struct slot_step step = steps[state][event];

	if (step.todo == TODO_IMPOSSIBLE)
		step.state = state;
	return step;
}
