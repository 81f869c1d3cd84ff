/*
 * harm - preloaded into clusterd by a test (ld.so(8), LD_PRELOAD) to take away what it relies on.
 *
 *   HARM_MALLOC=N   its N-th allocation fails, and no other; how many it made is written to the
 *                   file HARM_COUNT when it ends. Those of libuv do not count: where its table of
 *                   descriptors can not grow, libuv itself calls abort(3).
 *   HARM_CLOCK=FILE the wall clock is off by as many seconds as the file says; the monotonic one is not
 *   HARM_CALLS=FILE each call is written there that changes something outside of the process
 *   HARM_CLOSE=FILE once it is there, the descriptor whose number it holds is closed behind the back of
 *                   the event loop, before the loop waits the next time; then the file is taken away
 *   HARM_TOLD=MS    whatever it has said (log, answers), it gets no CPU for so long before it goes on
 *
 * Workers inherit the variables, but only a process named clusterd is harmed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static long fails_at, allocations;

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("HARM_MALLOC");

	if (text && strcmp(program_invocation_short_name, "clusterd") == 0)
		fails_at = atol(text);
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("HARM_COUNT");
	FILE *file = fails_at > 0 && path ? fopen(path, "we") : NULL;

	if (!file)
		return;
	fprintf(file, "%ld\n", allocations);
	fclose(file);
}

static bool refused(void *caller)
{
	Dl_info info;

	if (fails_at == 0 || (dladdr(caller, &info) && strstr(info.dli_fname, "libuv")))
		return false;
	if (++allocations != fails_at)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return refused(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

static time_t offset(void)
{
	const char *path = getenv("HARM_CLOCK");
	char text[32] = "";
	int fd = path && strcmp(program_invocation_short_name, "clusterd") == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	return size > 0 ? (time_t)atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	int answer;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	answer = real(clock, ret);
	if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret->tv_sec += offset();
	return answer;
}

static bool is_harmed(void)
{
	return strcmp(program_invocation_short_name, "clusterd") == 0;
}

/* ---- what it does to the world ---- */

static void tell(const char *call)
{
	const char *path = is_harmed() ? getenv("HARM_CALLS") : NULL;
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	dprintf(fd, "%s\n", call);
	close(fd);
}

#define TOLD(result, name, parameters, arguments)                                                  \
	result name parameters                                                                     \
	{                                                                                          \
		static result(*real) parameters;                                                   \
                                                                                                   \
		if (!real)                                                                         \
			*(void **)&real = dlsym(RTLD_NEXT, #name);                                 \
		tell(#name);                                                                       \
		return real arguments;                                                             \
	}

TOLD(int, bind, (int fd, const struct sockaddr *sa, socklen_t size), (fd, sa, size))
TOLD(int, listen, (int fd, int backlog), (fd, backlog))
TOLD(int, unlink, (const char *path), (path))
TOLD(int, rename, (const char *from, const char *to), (from, to))
TOLD(int, symlink, (const char *target, const char *path), (target, path))
TOLD(int, chmod, (const char *path, mode_t mode), (path, mode))
TOLD(int, ftruncate, (int fd, off_t size), (fd, size))
TOLD(int, kill, (pid_t pid, int signo), (pid, signo))
TOLD(pid_t, fork, (void), ())

int clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
	static int (*real)(int (*)(void *), void *, int, void *, ...);
	va_list more;
	int *pidfd;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clone");
	va_start(more, argument);
	pidfd = va_arg(more, int *);
	va_end(more);
	tell("clone");
	return real(run, stack, flags, argument, pidfd);
}

/* ---- a descriptor goes ---- */

static void close_one(void)
{
	const char *path = is_harmed() ? getenv("HARM_CLOSE") : NULL;
	char text[32] = "";
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return;
	close(atoi(text));
	syscall(SYS_unlink, path);
}

int epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms)
{
	static int (*real)(int, struct epoll_event *, int, int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	close_one();
	return real(set, events, max, timeout_ms);
}

int epoll_pwait(int set, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
	static int (*real)(int, struct epoll_event *, int, int, const sigset_t *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_pwait");
	close_one();
	return real(set, events, max, timeout_ms, mask);
}

/* ---- who was told something is quicker than whoever said it ---- */

enum { WAKE_UP = 8 }; /* bytes of what libuv tells itself, eventfd(2) */

static ssize_t pause_after(ssize_t said)
{
	const char *ms = said > WAKE_UP && is_harmed() ? getenv("HARM_TOLD") : NULL;
	const struct timespec pause = { .tv_nsec = ms ? atol(ms) * 1000000 : 0 };
	int error = errno;

	if (pause.tv_nsec > 0)
		nanosleep(&pause, NULL);
	errno = error;
	return said;
}

#define PAUSED(name, parameters, arguments)                                                        \
	ssize_t name parameters                                                                    \
	{                                                                                          \
		static ssize_t(*real) parameters;                                                  \
                                                                                                   \
		if (!real)                                                                         \
			*(void **)&real = dlsym(RTLD_NEXT, #name);                                 \
		return pause_after(real arguments);                                                \
	}

PAUSED(write, (int fd, const void *text, size_t size), (fd, text, size))
PAUSED(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
PAUSED(sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
