/*
 * harm - preloaded into clusterd by a test (ld.so(8), LD_PRELOAD) to take away what it relies on.
 *
 *   HARM_MALLOC=N   its N-th allocation fails, and no other; how many it made is written to the
 *                   file HARM_COUNT when it ends. Those of libuv do not count: where its table of
 *                   descriptors can not grow, libuv itself calls abort(3).
 *   HARM_CLOCK=FILE the wall clock is off by as many seconds as the file says; the monotonic one is not
 *
 * Workers inherit the variables, but only a process named clusterd is harmed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
