/*
 * bare_exec - what execve(2) costs a program that is linked as clusterd is, and has nothing to carry.
 *
 *   bare_exec TURNS    executes itself that often; a line each: the microseconds until its main()
 *
 * The limit of an upgrade's takeover: the kernel's part and that of the dynamic linker.
 */
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	long turns = argc > 1 ? atol(argv[1]) : 0, now = now_us();
	char left[24], begun[24];
	char *again[] = { argv[0], left, begun, NULL };

	if (argc > 2)
		printf("%ld\n", now - atol(argv[2]));
	fflush(stdout);
	if (turns == 0)
		return 0;
	/* Both libraries are needed, so that the linker keeps them. */
	if (turns < 0 && ini_parse(uv_version_string(), NULL, NULL) < 0)
		return 2;
	snprintf(left, sizeof left, "%ld", turns - 1);
	snprintf(begun, sizeof begun, "%ld", now_us());
	execv("/proc/self/exe", again);
	return 1;
}
