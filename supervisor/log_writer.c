#include "supervisor/log_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/os/clock.h"

enum { STACK_SIZE = 256 * 1024 }; /* of address space; what a sanitizer needs */

enum step { IDLE, ASKED, ENDED, LEAVE };

struct log_writer {
	uv_thread_t thread;
	uv_mutex_t mutex; /* guards the rest */
	uv_cond_t changed;
	uv_async_t *done; /* NULL: nobody is there to be told */
	enum step step;
	int fd;
	const char *text;
	size_t size;
	struct log_written written;
};

static struct log_written write_all(int fd, const char *text, size_t size)
{
	struct log_written written = { 0 };

	while (written.size < size && written.error == 0) {
		ssize_t n = write(fd, text + written.size, size - written.size);

		if (n > 0)
			written.size += (size_t)n;
		else if (n == 0 || errno != EINTR)
			written.error = n == 0 ? EIO : errno;
	}
	return written;
}

static void run(void *context)
{
	struct log_writer *w = context;

	uv_mutex_lock(&w->mutex);
	while (w->step != LEAVE) {
		struct log_written written;

		if (w->step != ASKED) {
			uv_cond_wait(&w->changed, &w->mutex);
			continue;
		}
		uv_mutex_unlock(&w->mutex);
		written = write_all(w->fd, w->text, w->size);
		uv_mutex_lock(&w->mutex);
		w->written = written;
		w->step = ENDED;
		uv_cond_broadcast(&w->changed);
		if (w->done)
			uv_async_send(w->done);
	}
	uv_mutex_unlock(&w->mutex);
}

static void writer_free(struct log_writer *w)
{
	uv_cond_destroy(&w->changed);
	uv_mutex_destroy(&w->mutex);
	free(w);
}

static int locks_init(struct log_writer *w)
{
	int rc = uv_mutex_init(&w->mutex);

	if (rc < 0)
		return rc;
	rc = uv_cond_init(&w->changed);
	if (rc < 0)
		uv_mutex_destroy(&w->mutex);
	return rc;
}

int log_writer_create(uv_async_t *done, struct log_writer **ret)
{
	const uv_thread_options_t options = { .flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK_SIZE };
	struct log_writer *w = calloc(1, sizeof *w);
	int rc;

	if (!w)
		return -ENOMEM;
	w->done = done;
	rc = locks_init(w);
	if (rc < 0) {
		free(w);
		return rc;
	}
	rc = uv_thread_create_ex(&w->thread, &options, run, w);
	if (rc < 0)
		writer_free(w);
	else
		*ret = w;
	return rc;
}

void log_writer_begin(struct log_writer *w, int fd, const char *text, size_t size)
{
	uv_mutex_lock(&w->mutex);
	w->fd = fd;
	w->text = text;
	w->size = size;
	w->step = ASKED;
	uv_cond_broadcast(&w->changed);
	uv_mutex_unlock(&w->mutex);
}

bool log_writer_wait(struct log_writer *w, uint64_t deadline_ms, struct log_written *ret)
{
	uint64_t now;
	bool ended;

	uv_mutex_lock(&w->mutex);
	while (w->step == ASKED && (now = clock_ms()) < deadline_ms)
		uv_cond_timedwait(&w->changed, &w->mutex, (deadline_ms - now) * 1000000);
	ended = w->step == ENDED;
	if (ended) {
		*ret = w->written;
		w->step = IDLE;
	}
	uv_mutex_unlock(&w->mutex);
	return ended;
}

bool log_writer_destroy(struct log_writer *w)
{
	bool writes;

	if (!w)
		return true;
	uv_mutex_lock(&w->mutex);
	writes = w->step == ASKED;
	w->done = NULL;
	if (!writes)
		w->step = LEAVE;
	uv_cond_broadcast(&w->changed);
	uv_mutex_unlock(&w->mutex);
	if (writes)
		return false;
	uv_thread_join(&w->thread);
	writer_free(w);
	return true;
}
