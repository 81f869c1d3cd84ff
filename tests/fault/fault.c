#include "tests/fault/fault.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* WARM_UPS: what libc allocates once is there then. */
enum { CALLS_MAX = 1000, WARM_UPS = 2 };

/*
 * mallinfo2(3) counts the freed blocks that glibc keeps for a thread as used, and which sizes those have
 * depends on how much there is to read in /proc. It is to keep none, which only a start can tell it.
 */
static const char tunables[] = "GLIBC_TUNABLES", no_cache[] = "glibc.malloc.tcache_count=0";

bool fault_hit(const char *call);

/* What a call fails with in life; the code may treat each in its own way. */
static const struct {
	const char *call;
	int error;
} errors[] = {
	{ "clone", EAGAIN },  { "waitid", EINTR },     { "recvmsg", EINTR },
	{ "sendmsg", EINTR }, { "socket", EMFILE },    { "open", EMFILE },
	{ "mmap", ENOMEM },   { "bind", EACCES },      { "flock", EWOULDBLOCK },
	{ "execve", ENOENT }, { "setresuid", EAGAIN }, { "connect", ECONNREFUSED },
};

/* Written in a child too, which shares this memory until it executes. */
static struct {
	int fail_at; /* 0: never */
	int calls;
	int error; /* what was injected in this run; 0: nothing */
	const char *call;
} state;

static int error_of(const char *call)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		if (strcmp(errors[i].call, call) == 0)
			return errors[i].error;
	}
	return EIO;
}

bool fault_hit(const char *call)
{
	if (++state.calls != state.fail_at)
		return false;
	state.call = call;
	state.error = error_of(call);
	errno = state.error;
	return true;
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static bool has_child(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static int complain(const struct fault_case *c, const char *what, int a, int b)
{
	printf("%s: call %d (%s) failed: %s (%d, %d)\n", c->name, state.fail_at,
	       state.call ? state.call : "none", what, a, b);
	return 1;
}

/* Was the fault reported, and as what it was? */
static int check_answer(const struct fault_case *c, int error, const char *failed)
{
	if (!state.error && error)
		return complain(c, failed ? failed : "?", error, 0);
	if (error && error != -state.error)
		return complain(c, "another error was reported", error, state.error);
	if (error && !failed)
		return complain(c, "no step was named", error, 0);
	return 0;
}

/* One run, and what it must have left as it was. */
static int check_run(const struct fault_case *c, int *survived)
{
	int fds = count_fds();
	size_t heap = mallinfo2().uordblks;
	const char *failed = NULL;
	int error = c->run(&failed);

	*survived += state.error && !error;
	if (check_answer(c, error, failed))
		return 1;
	if (count_fds() != fds)
		return complain(c, "fds before and after", fds, count_fds());
	if (has_child())
		return complain(c, "a child is left", 0, 0);
	if (mallinfo2().uordblks != heap)
		return complain(c, "heap before and after", (int)heap, (int)mallinfo2().uordblks);
	return 0;
}

int fault_sweep(const struct fault_case *c)
{
	int survived = 0;

	state.fail_at = 0;
	for (int i = 0; i < WARM_UPS; i++)
		if (c->run(&(const char *){ NULL }))
			return complain(c, "it does not even run without faults", 0, 0);
	do {
		if (++state.fail_at > CALLS_MAX)
			return complain(c, "there is no end", 0, 0);
		state.calls = state.error = 0;
		state.call = NULL;
		if (check_run(c, &survived))
			return 1;
	} while (state.error);
	printf("%s: %d faults, %d survived\n", c->name, state.fail_at - 1, survived);
	if (state.fail_at == 1)
		return complain(c, "it makes no call", 0, 0);
	return survived > c->may_survive
		   ? complain(c, "too many survived", survived, c->may_survive)
		   : 0;
}

void fault_begin(char **argv)
{
	if (getenv(tunables))
		return;
	setenv(tunables, no_cache, 1);
	execv("/proc/self/exe", argv);
}

int fault_main(const struct fault_case *cases, size_t count, int argc, char **argv)
{
	int failures = 0, done = 0;

	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && strcmp(argv[1], cases[i].name) != 0)
			continue;
		failures += fault_sweep(&cases[i]);
		done++;
	}
	if (!done)
		fprintf(stderr, "no case %s\n", argc > 1 ? argv[1] : "");
	return failures || !done;
}
