/*
 * output_left - the outputs of workers that have ended, whose pipes somebody still holds.
 */
#include <poll.h>
#include <stddef.h>

#include "config/files.h"
#include "supervisor/output_internal.h"

/* NULL: a user of another kind, or an output whose worker lives. */
static struct output *left_of(struct log_user *user)
{
	struct output *o = (struct output *)((char *)user - offsetof(struct output, user));

	return user->stop == output_on_log_close && o->closing ? o : NULL;
}

void outputs_left(const struct log *log, output_visit *visit, void *context)
{
	for (struct log_user *user = log->users; user; user = user->next) {
		const struct output *o = left_of(user);

		if (o)
			visit(context, o, o->slot);
	}
}

/* Somebody can still write to it; what is in a pipe that nobody holds comes to its end by itself. */
static bool is_held(const struct output *o)
{
	for (int i = 0; i < 2; i++) {
		struct pollfd pipe = { .fd = o->streams[i].fd };

		if (pipe.fd >= 0 && poll(&pipe, 1, 0) >= 0 && !(pipe.revents & (POLLHUP | POLLERR)))
			return true;
	}
	return false;
}

/* A worker that leaves a process behind each time would use up the descriptors. The users are the newest first. */
void outputs_bound(struct log *log)
{
	struct output *oldest = NULL;
	unsigned count = 0;

	for (struct log_user *user = log->users; user; user = user->next) {
		struct output *o = left_of(user);

		if (!o)
			continue;
		oldest = o;
		count++;
	}
	if (count <= FILES_LEFT_MAX || !is_held(oldest))
		return;
	LOG_AT(log, LOG_NOTE, LOG_LEVEL_WARN, F_NUM("slot", oldest->slot),
	       F_TEXT("text", "a process that an ended worker left behind still holds its output, as others do; it is let go, "
	                      "and what it writes now raises SIGPIPE"));
	output_drain(oldest);
	for (int i = 0; i < 2; i++)
		stream_close(&oldest->streams[i]);
}
