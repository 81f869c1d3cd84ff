#include "supervisor/os/closer.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "supervisor/os/clock.h"
#include "supervisor/os/sys.h"

enum {
	STACK_SIZE = 256 * 1024, /* of address space; what a sanitizer needs */
	LEAVE_MS = 20,           /* for threads that have yet to run, and will not wait */
};

struct lot {
	pthread_t thread;
	bool busy, cancelled;
	int socket; /* that it came by */
	uint64_t begun_ms;
	size_t count;
	_Atomic size_t next; /* written by the thread until it is joined */
	int fds[CLOSER_FDS_MAX];
};

static struct lot lots[CLOSER_LOTS];
static struct {
	int *fds;
	size_t count, size;
} waiting; /* for a lot that is free */

/* Asks the pipe, and not the file: fstat(2) may wait for a file system as well. */
static bool is_pipe(int fd)
{
	return fcntl(fd, F_GETPIPE_SZ) >= 0;
}

/* The number is free before close(2) waits, so it is never closed twice. */
static void *run(void *context)
{
	struct lot *lot = context;

	while (lot->next < lot->count)
		close(lot->fds[lot->next++]);
	return NULL;
}

static bool start(struct lot *lot)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	lot->cancelled = false;
	lot->begun_ms = clock_ms();
	lot->busy = pthread_create(&lot->thread, &attr, run, lot) == 0;
	pthread_attr_destroy(&attr);
	return lot->busy;
}

static void take_linger(const int *fds, size_t count)
{
	const struct linger none = { .l_onoff = 0 };

	for (size_t i = 0; i < count; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

static void close_in_place(const int *fds, size_t count)
{
	take_linger(fds, count);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* What a thread that was cancelled has left is for the next one, and is not waited for one by one. */
static void reap(struct lot *lot)
{
	if (!lot->busy || pthread_tryjoin_np(lot->thread, NULL) != 0)
		return;
	lot->busy = false;
	if (lot->next == lot->count)
		return;
	take_linger(lot->fds + lot->next, lot->count - lot->next);
	if (!start(lot))
		close_in_place(lot->fds + lot->next, lot->count - lot->next);
}

static struct lot *free_lot(void)
{
	for (size_t i = 0; i < CLOSER_LOTS; i++)
		if (!lots[i].busy)
			return &lots[i];
	return NULL;
}

/* Ends the wait of close(2), by the signal that libc has for it. */
static void cancel_old(void)
{
	uint64_t now = clock_ms();

	for (size_t i = 0; i < CLOSER_LOTS; i++) {
		if (!lots[i].busy || lots[i].cancelled || now - lots[i].begun_ms < CLOSER_MS)
			continue;
		lots[i].cancelled = true;
		pthread_cancel(lots[i].thread);
	}
}

static void fill(struct lot *lot, int socket, const int *fds, size_t count)
{
	lot->socket = socket;
	memcpy(lot->fds, fds, count * sizeof *fds);
	lot->count = count;
	lot->next = 0;
	if (!start(lot))
		close_in_place(fds, count);
}

static void fill_with_waiting(struct lot *lot)
{
	size_t count = waiting.count < CLOSER_FDS_MAX ? waiting.count : CLOSER_FDS_MAX;

	waiting.count -= count;
	if (count > 0)
		fill(lot, -1, waiting.fds + waiting.count, count);
}

bool closer_has_room(int socket)
{
	size_t under_way = 0, own = 0;

	for (size_t i = 0; i < CLOSER_LOTS; i++) {
		reap(&lots[i]);
		if (!lots[i].busy)
			fill_with_waiting(&lots[i]);
		under_way += lots[i].busy ? lots[i].count : 0;
		own += socket >= 0 && lots[i].busy && lots[i].socket == socket;
	}
	if (free_lot() && under_way < CLOSER_FDS && own < CLOSER_OWN)
		return true;
	cancel_old();
	return false;
}

static void leave(const int *fds, size_t count)
{
	int domain = AF_UNSPEC;

	take_linger(fds, count);
	for (size_t i = 0; i < count; i++) {
		socklen_t size = sizeof domain;

		if (getsockopt(fds[i], SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX)
			fcntl(fds[i], F_SETFD, 0);
	}
}

static bool idle(void)
{
	closer_has_room(-1);
	for (size_t i = 0; i < CLOSER_LOTS; i++)
		if (lots[i].busy)
			return false;
	return waiting.count == 0;
}

void closer_leave(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < LEAVE_MS && !idle(); i++)
		nanosleep(&pause, NULL);
	for (size_t i = 0; i < CLOSER_LOTS; i++) {
		size_t next = lots[i].next;

		if (lots[i].busy)
			leave(lots[i].fds + next, lots[i].count - next);
	}
	leave(waiting.fds, waiting.count);
}

void closer_close(int socket, const int *fds, size_t count)
{
	struct lot *lot = free_lot();
	size_t first = 0;

	while (first < count && is_pipe(fds[first]))
		close(fds[first++]);
	fds += first;
	count -= first;
	if (count == 0)
		return;
	if (lot && count <= CLOSER_FDS_MAX)
		fill(lot, socket, fds, count);
	else
		close_in_place(fds, count);
}

void closer_take(int fd)
{
	size_t size = waiting.size ? 2 * waiting.size : CLOSER_LOTS;
	int *fds = waiting.fds;

	if (waiting.count == waiting.size) {
		fds = realloc(waiting.fds, size * sizeof *fds);
		if (!fds) {
			close_in_place(&fd, 1);
			return;
		}
		waiting.fds = fds;
		waiting.size = size;
	}
	fds[waiting.count++] = fd;
	closer_has_room(-1);
}
