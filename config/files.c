#include "config/files.h"

/* What clusterd itself holds, with or without workers: the loop, the log, the control socket. */
enum { OWN_FILES = 32 };

/* Per worker: its pidfd, its notify socket, its output, what tells that it is ready, and of each
 * listener the socket of a group and the notifications of an adopted program. */
uint64_t policy_files(const struct policy *policy, uint32_t workers)
{
	uint64_t each = policy->log_output == OUTPUT_CAPTURE ? 4 : 2;
	uint64_t left = policy->log_output == OUTPUT_CAPTURE ? 2 * FILES_LEFT_MAX : 0;

	each += policy->ready_when.when == READY_FD;
	for (uint32_t i = 0; i < policy->listener_count; i++) {
		each += policy->listeners[i].balance != BALANCE_SHARED;
		each += policy->listeners[i].adopt;
	}
	return OWN_FILES + left + policy->listener_count + ((uint64_t)workers + policy->roll_surge) * each;
}
