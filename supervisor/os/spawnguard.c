#include "supervisor/os/spawnguard.h"

#include <pthread.h>
#include <time.h>

#include "supervisor/os/sys.h"

enum { STACK_SIZE = 256 * 1024 }; /* of address space; what a sanitizer needs */

static struct {
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t begun;
	const volatile int *pidfd; /* the kernel writes it; NULL: nothing is guarded */
	unsigned int turn;
	bool running;
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER, .begun = PTHREAD_COND_INITIALIZER };

/* Not through the seam: which call of it fails must not hang on a thread. */
static void go_on(int pidfd)
{
	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
}

static void *run(void *context)
{
	const struct timespec pause = { .tv_nsec = SPAWNGUARD_MS * 1000000L };
	unsigned int turn;

	pthread_mutex_lock(&guard.lock);
	for (;;) {
		while (!guard.pidfd)
			pthread_cond_wait(&guard.begun, &guard.lock);
		turn = guard.turn;
		pthread_mutex_unlock(&guard.lock);
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&guard.lock);
		if (guard.pidfd && guard.turn == turn)
			go_on(*guard.pidfd);
	}
	return context;
}

static bool start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attr, run, NULL) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

void spawnguard_begin(const int *pidfd)
{
	pthread_mutex_lock(&guard.lock);
	if (!guard.running)
		guard.running = start();
	guard.pidfd = guard.running ? pidfd : NULL;
	guard.turn++;
	pthread_mutex_unlock(&guard.lock);
	pthread_cond_signal(&guard.begun);
}

void spawnguard_end(void)
{
	pthread_mutex_lock(&guard.lock);
	guard.pidfd = NULL;
	pthread_mutex_unlock(&guard.lock);
}
