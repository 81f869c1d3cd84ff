/*
 * spawnguard - a child that somebody stops before it executes its program goes on.
 *
 * From the moment that the child of spawn() has its new user, any process of that user may send it
 * SIGSTOP, and the parent sleeps until the child has executed: one signal at the right moment, and
 * nothing is supervised any more. So a thread, made at the first begin, sends SIGCONT to a child
 * that has not come that far after SPAWNGUARD_MS, and again each SPAWNGUARD_MS. It sleeps for good
 * while there is nothing to guard.
 *
 * One thread calls both; without resources for the other there is no guard.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SPAWNGUARD_H
#define CLUSTERD_SUPERVISOR_OS_SPAWNGUARD_H

enum { SPAWNGUARD_MS = 20 };

/* *pidfd is -1 until the kernel has written it, and stays where and what it is until the end. */
void spawnguard_begin(const int *pidfd);
void spawnguard_end(void);

#endif
