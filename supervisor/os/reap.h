/*
 * reap - how children end, and signals that reach only whom they are meant for.
 *
 * A worker is known by its pidfd: waitid(P_PIDFD) and pidfd_send_signal() can not
 * hit a recycled pid. Order at a death: reap_peek() sees it, reap_signal_group()
 * kills what is left of its process group while the zombie still holds
 * the number, then reap() frees it.
 *
 * Functions return -errno on error.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_REAP_H
#define CLUSTERD_SUPERVISOR_OS_REAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct reaped {
	pid_t pid;
	int code;   /* 0…255; meaningless if signal != 0 */
	int signal; /* that ended it, or 0 */
	bool core;
	uint64_t user_ms, sys_ms; /* CPU time, reaped descendants included */
	uint64_t max_rss_kb;
};

/* 1 and *ret when the child has ended (it stays a zombie), 0 while it lives. */
int reap_peek(int pidfd, struct reaped *ret);

/* The same, and frees the zombie. -ECHILD: not a child of ours, or freed before. SIGCHLD must not
 * be ignored in this process (it may have been started so), or the kernel frees them unseen. */
int reap(int pidfd, struct reaped *ret);

/* The same, but waits up to so long: for one that SIGKILL is on its way to. 0 when it outlives that. */
int reap_wait(int pidfd, int timeout_ms, struct reaped *ret);

/* A pidfd of any process. The number is its own only while the caller knows that it lives. -ESRCH: there is none. */
int reap_open(pid_t pid);

/* Sends to the one process. -ESRCH when it has ended, zombie included. */
int reap_signal(int pidfd, int signal);

/*
 * Sends to the whole group. Only valid while its leader is not reaped: after that
 * the number may belong to somebody else. A group without members is no error.
 */
int reap_signal_group(pid_t group, int signal);

/*
 * Frees every ended child that is not ours: orphans that were handed to us as PID
 * 1 or subreaper. At most `budget` in one call. Returns how many.
 *
 * The kernel shows one ended child at a time, so one of ours hides those behind
 * it: *ret_blocked is its pid, or 0. Reap it by its pidfd, then call again. If the
 * budget was used up, more may be waiting.
 *
 * `told` hears of each that was freed: its pid and its end; the times are 0.
 */
struct reap_who {
	bool (*is_ours)(void *context, pid_t pid);
	void (*told)(void *context, const struct reaped *end); /* or NULL */
	void *context;
};
int reap_strangers(const struct reap_who *who, int budget, pid_t *ret_blocked);

#endif
