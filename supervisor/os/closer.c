#include "supervisor/os/closer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "supervisor/os/sys.h"

enum { STACK_SIZE = 256 * 1024 }; /* of address space; what a sanitizer needs */

struct lot {
	size_t count;
	int fds[];
};

static atomic_uint under_way;

/* Asks the pipe, and not the file: fstat(2) may wait for a file system as well. */
static bool is_pipe(int fd)
{
	return fcntl(fd, F_GETPIPE_SZ) >= 0;
}

static void *run(void *context)
{
	struct lot *lot = context;

	for (size_t i = 0; i < lot->count; i++)
		close(lot->fds[i]);
	free(lot);
	atomic_fetch_sub(&under_way, 1);
	return NULL;
}

static bool start(struct lot *lot)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	started = pthread_create(&thread, &attr, run, lot) == 0;
	pthread_attr_destroy(&attr);
	return started;
}

static bool hand_over(const int *fds, size_t count)
{
	struct lot *lot;

	if (atomic_load(&under_way) >= CLOSERS_MAX)
		return false;
	lot = malloc(sizeof *lot + count * sizeof *fds);
	if (!lot)
		return false;
	lot->count = count;
	memcpy(lot->fds, fds, count * sizeof *fds);
	atomic_fetch_add(&under_way, 1);
	if (start(lot))
		return true;
	atomic_fetch_sub(&under_way, 1);
	free(lot);
	return false;
}

static void close_in_place(int fd)
{
	const struct linger none = { .l_onoff = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	close(fd);
}

void closer_close(const int *fds, size_t count)
{
	size_t first = 0;

	while (first < count && is_pipe(fds[first]))
		close(fds[first++]);
	if (first == count || hand_over(fds + first, count - first))
		return;
	while (first < count)
		close_in_place(fds[first++]);
}
