#include "supervisor/hear.h"

#include "supervisor/os/pollset.h"
#include "supervisor/os/scope.h"

/*
 * As many as libuv itself takes in one turn, so that after a pause everything that waits is read
 * before a deadline is judged (on_after_poll in supervisor.c).
 */
enum { ROUNDS = 48 };

static void tell(struct hearing *h, int count)
{
	h->count = count;
	for (h->next = 0; h->next < h->count;) {
		struct ear *ear = h->events[h->next++].data.ptr;

		if (ear)
			ear->heard(ear->owner);
	}
	h->count = h->next = 0;
	h->told(h->context);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hearing *h = poll->data;
	int n = HEAR_BATCH;

	(void)status;
	(void)events;
	for (int round = 0; n == HEAR_BATCH && round < ROUNDS && h->set >= 0; round++) {
		n = pollset_look(h->set, h->events, HEAR_BATCH);
		if (n > 0)
			tell(h, n);
	}
}

int hear_start(struct hearing *h, uv_loop_t *loop, void (*told)(void *), void *context)
{
	int rc;

	h->told = told;
	h->context = context;
	h->set = pollset_open();
	if (h->set < 0) {
		rc = h->set;
		h->set = -1;
		return rc;
	}
	rc = uv_poll_init(loop, &h->poll, h->set);
	if (rc < 0) {
		fd_close(&h->set);
		return rc;
	}
	h->poll.data = h;
	return uv_poll_start(&h->poll, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
}

void hear_stop(struct hearing *h)
{
	if (h->set < 0)
		return;
	uv_close((uv_handle_t *)&h->poll, on_closed);
	fd_close(&h->set);
}

int ear_open(struct hearing *h, struct ear *ear, int fd, void (*heard)(void *), void *owner)
{
	int rc;

	*ear = (struct ear){ .heard = heard, .owner = owner, .fd = fd };
	rc = pollset_add(h->set, fd, ear);
	ear->open = rc == 0;
	return rc;
}

void ear_close(struct hearing *h, struct ear *ear)
{
	if (!ear->open)
		return;
	ear->open = false;
	pollset_drop(h->set, ear->fd);
	for (int i = h->next; i < h->count; i++)
		if (h->events[i].data.ptr == ear)
			h->events[i].data.ptr = NULL;
}
