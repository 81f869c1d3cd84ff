/*
 * fault - fail every system call of a piece of code, one after the other.
 *
 * fault_sweep() runs the code again and again; in run n the n-th call through
 * supervisor/os/sys.h fails, and it ends with the first run that makes fewer than n
 * calls. After each run nothing may be left over: the same fds are open, no child
 * exists, the heap is as large as before. A run that failed must have said so with
 * the errno that was injected and the name of a step.
 */
#ifndef CLUSTERD_TESTS_FAULT_FAULT_H
#define CLUSTERD_TESTS_FAULT_FAULT_H

#include <stddef.h>

struct fault_case {
	const char *name;

	/* Does the thing and undoes it. 0, or -errno and *failed. */
	int (*run)(const char **failed);

	/* How many of the injected faults the code may survive by itself (a retry, an optional
	 * step); more is a fault that was swallowed. */
	int may_survive;
};

/* Prints one line; returns 0, or 1 after saying what was wrong. */
int fault_sweep(const struct fault_case *fault_case);

/* First of all in main(): it starts the program once more if libc is to be told something. */
void fault_begin(char **argv);

/* main() of a program of cases: sweeps the one that its argument names, without one all of them.
 * Returns what main() returns; a name that no case has is a failure. */
int fault_main(const struct fault_case *cases, size_t count, int argc, char **argv);

#endif
