/*
 * control - the socket on which clusterctl asks and is answered.
 *
 * A unix stream socket. One line of words comes in (core/proto.h), JSON lines go
 * out, each with "v":1 and most with a "kind"; the last line of an answer is
 * {"v":1,"ok":true|false,…,"done":true}. Requests may be sent one after the other
 * on one connection. The same uid, root and members of [control] group may ask.
 *
 * Bounded: CLIENTS_MAX connections of at most 4 KiB in and 256 KiB out. Of those
 * that wait for something long there are at most WAITERS_MAX, so a short request
 * is always served: when all places are taken the oldest that neither waits nor is
 * owed its first answer makes room, and others wait in the backlog. A client that
 * sends no whole line for IDLE_MS, or takes nothing of its answer for that long, is
 * dropped. A turn of the loop serves at most one request, or one 16 KiB part of a
 * long answer.
 *
 * GLUE; logs nothing itself. Everything but control_start takes NULL.
 */
#ifndef CLUSTERD_SUPERVISOR_CONTROL_H
#define CLUSTERD_SUPERVISOR_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"
#include "supervisor/core/pool.h"

enum {
	CLIENTS_MAX = 64,
	WAITERS_MAX = 12,
	IDLE_MS = 5000,
	CONTROL_PROBLEM_MAX = 384,
};

struct supervisor;
struct control;

/*
 * Opens the socket that the policy names. *ret is NULL when it is switched off.
 *
 * inherited_fd  the socket of before an upgrade (control_fd), or -1; taken over on success
 *
 * Returns 0, or -errno with `problem` a sentence: -EADDRINUSE when a live server
 * has the socket (exit status 73).
 */
int control_start(struct supervisor *s, const struct policy *policy, const char *name,
                  int inherited_fd, struct control **ret, char problem[CONTROL_PROBLEM_MAX]);

/*
 * Makes the socket anew where its path is gone, as after a cleaner of /run or /tmp; whoever is
 * connected stays so. One system call when all is well, so that it may be called each time that
 * clusterd wakes up. Returns 1 when it was made, 0 when there is nothing to tell, or -errno with
 * `problem` a sentence: that is told once, and tried again at the next call.
 */
int control_keep(struct control *control, const struct policy *policy,
                 char problem[CONTROL_PROBLEM_MAX]);

/* Tells those who wait how the cluster ended (its exit status), closes everything and unlinks the
 * socket if it is still the one we made. Freed when the loop has closed the handles. */
void control_stop(struct control *control, int status);

/* For every ACT_REPORT, after the supervisor has dealt with it. */
void control_report(struct control *control, const struct report *report);

/* One log record as a line of JSON that begins with {"v":1, and ends with a newline; kept for `events`, sent to whoever follows. */
void control_log_line(struct control *control, const char *json, size_t size);

/* One captured line of a worker; kept for `logs`, sent to whoever follows. */
void control_output_line(struct control *control, uint32_t slot, bool is_error, const char *text,
                         size_t size);

/* Path of the socket, and the fd that an upgrade passes on (-1 for NULL). */
const char *control_path(const struct control *control);
int control_fd(const struct control *control);

/*
 * Where a file lies that goes with the control socket, beside it and named like it: NAME`suffix`, also
 * where the socket is switched off. Makes the folder. 0, or -errno with `problem` a sentence.
 */
int control_beside(const struct policy *policy, const char *name, const char *suffix, char *ret,
                   size_t size, char problem[CONTROL_PROBLEM_MAX]);

/* An upgrade is about to execute the new program: tells all clients to connect again. */
void control_reconnect(struct control *control);

/* An upgrade was begun and will not happen: whoever waits for it is told why. */
void control_upgrade_failed(struct control *control, const char *problem);

#endif
