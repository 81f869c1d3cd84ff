#include "cmd/app/watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { TURN = 64 };

/* An owner may free itself in ready(): a socket has one entry at most in what was returned. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	const struct watch *watch = poll->data;
	struct epoll_event ready[TURN];
	int count = epoll_wait(watch->set, ready, TURN, 0);

	(void)status;
	(void)events;
	for (int i = 0; i < count; i++)
		watch->ready(ready[i].data.ptr);
}

int watch_open(struct watch *watch, uv_loop_t *loop, void (*ready)(void *owner))
{
	int error;

	watch->ready = ready;
	watch->set = epoll_create1(EPOLL_CLOEXEC);
	if (watch->set < 0)
		return -errno;
	error = uv_poll_init(loop, &watch->poll, watch->set);
	watch->poll.data = watch;
	if (!error)
		error = uv_poll_start(&watch->poll, UV_READABLE, on_readable);
	if (error) {
		close(watch->set);
		watch->set = -1;
	}
	return error;
}

int watch_for(const struct watch *watch, int fd, uint32_t *events, uint32_t wanted, void *owner)
{
	struct epoll_event event = { .events = wanted, .data.ptr = owner };
	int what = EPOLL_CTL_MOD;

	if (*events == wanted)
		return 0;
	if (wanted == 0)
		what = EPOLL_CTL_DEL;
	else if (*events == 0)
		what = EPOLL_CTL_ADD;
	if (epoll_ctl(watch->set, what, fd, &event) < 0)
		return -errno;
	*events = wanted;
	return 0;
}
