/*
 * state - what clusterd hands to its successor when it executes itself anew.
 *
 * GLUE. A memfd holds one tlv record (core/tlv.h) with everything that the kernel
 * does not keep by itself: numbers of fds, the pool, the policies as INI text,
 * the death histories. The fds themselves survive execve(2). Plain structs are
 * carried as they are, with their size: a version in which one has changed refuses
 * the state, in the trial run, before anything has happened.
 */
#ifndef CLUSTERD_SUPERVISOR_STATE_H
#define CLUSTERD_SUPERVISOR_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor/core/tlv.h"
#include "supervisor/internal.h"

enum { STATE_VERSION = 1 };

enum state_tag {
	STATE_HEAD = 0x4c43, /* "CL" */
	STATE_VERSION_TAG,
	STATE_NAME,
	STATE_STARTED_MS,
	STATE_POLICY_MS,
	STATE_GENERATION,
	STATE_POLICY,
	STATE_NOFILE,
	STATE_SDNOTIFY,
	STATE_SYSTEMD_MS,
	STATE_PIDFILE,
	STATE_CONTROL_FD,
	STATE_METRICS_FD,
	STATE_FLAGS,
	STATE_WORKERS_TOLD,
	STATE_OOM_KILLS,
	STATE_POOL,
	STATE_LAUNCH,
	STATE_LAUNCH_PATH,
	STATE_LAUNCH_IDENTITY,
	STATE_SOCK,
	STATE_SOCK_LISTENER,
	STATE_SOCK_LISTENING,
	STATE_SOCK_BOUND,
	STATE_SOCK_MODE,
	STATE_SOCK_REPAIRED,
	STATE_SOCK_IMAGE,
	STATE_SOCK_FDS,
	STATE_SLOT,
	STATE_SLOT_INDEX,
	STATE_SLOT_ENDS,
	STATE_SLOT_STARTS,
	STATE_SLOT_UNASKED,
	STATE_SLOT_HANDED,
	STATE_SLOT_LAST_LINE,
	STATE_WORKER,
	STATE_WORKER_COOKIE,
	STATE_WORKER_SLOT,
	STATE_WORKER_GENERATION,
	STATE_WORKER_SEAT,
	STATE_WORKER_HANDED,
	STATE_WORKER_PID,
	STATE_WORKER_PIDFD,
	STATE_WORKER_NOTIFY_FD,
	STATE_WORKER_READY_FD,
	STATE_WORKER_OUTPUT,
	STATE_WORKER_HELD_OUT,
	STATE_WORKER_HELD_ERR,
	STATE_WORKER_SPAWNED_MS,
	STATE_WORKER_STATUS,
	STATE_BEGUN_US,
	STATE_ADOPTION,
	STATE_ADOPTION_COOKIE,
	STATE_ADOPTION_SLOT,
	STATE_ADOPTION_SEAT,
	STATE_ADOPTION_FD,
	STATE_ADOPTION_GIVEN,
	STATE_SOCK_FORM,
	STATE_SOCK_HOME,
	STATE_SOCK_FLAGS,
	STATE_STARTED_WALL_MS,
	STATE_POLICY_WALL_MS,
	STATE_RECORD,
	STATE_WORKER_LEAVING_MS,
	STATE_POLICY_CHANGED_MS,
	STATE_LOG,
	STATE_LOG_OUT,
	STATE_LOG_FILL,
	STATE_LOG_LOST,
	STATE_LOG_TOLD,
	STATE_LOG_OUTPUT_LOST,
	STATE_INHERITED,
	STATE_OUTPUT,
	STATE_OUTPUT_SLOT,
	STATE_SLOT_PROBLEM,
	STATE_WORKER_LEFT_OUT,
	STATE_WORKER_TAIL,
	STATE_WORKER_TAIL_WRAPPED,
	STATE_WORKER_TAIL_CUT,
	STATE_WORKER_LOST,
	STATE_WORKER_LOST_TOLD,
	STATE_TROUBLE,
	STATE_COUNTS,
	STATE_WORKER_STANDING,
	STATE_OOM_FD,
	STATE_BY_HAND,
	STATE_WORKER_PROBED,
	STATE_SELF,
	STATE_SLOT_DECISION,
	STATE_WORKER_SERVER,
};

/* Writes the state; *ret is heap memory of the caller. 0 or -ENOMEM. */
int state_save(struct supervisor *s, uint8_t **ret, size_t *ret_size);

/*
 * Reads a state into a zeroed supervisor, without touching a single fd: what a
 * trial run does. Returns 0, or -errno with *problem a sentence.
 */
int state_load(struct supervisor *s, const uint8_t *bytes, size_t size, const char **problem);

/* Frees what state_load() made, whether it succeeded or not. The fds are not ours: closes none. */
void state_forget(struct supervisor *s);

/* Frees the image of a worker's output, of the log, or the counts, once it is taken over or not needed. */
void state_forget_output(struct worker *worker);
void state_forget_log(struct supervisor *s);
void state_forget_counts(struct supervisor *s);

/* ---- state_policy.c, for the files state*.c ---- */

/* The policy in force and its text, once it was put or got; `scratch` is zeroed, to put it. */
struct policy_text {
	const struct policy *policy;
	struct tlv text;
	struct config *scratch;
};

void state_put_policy(struct tlv_writer *w, const struct policy *policy, struct policy_text *known);
bool state_get_policy(const struct tlv *in, struct policy *ret, const struct policy_text *known);

/* ---- state_output.c, for the files state*.c ---- */

/* Of a worker: the pipes and what was read of them. Without any, *ret is NULL. */
void state_put_output(struct tlv_writer *w, const struct output *output);
bool state_get_output(const struct tlv *in, struct output_image **ret);
void state_free_image(struct output_image *image);

/* A copy of a text that whoever gets it frees; none of an empty one. */
bool state_hold_text(const struct tlv *in, uint16_t tag, const char **ret, size_t *ret_size);

/* Of those that outlive their workers. One that can not be had again is given up. */
void state_put_left(struct tlv_writer *w, const struct log *log);
bool state_get_left(struct supervisor *s, const struct tlv *in);
void state_take_left(struct supervisor *s);
void state_forget_left(struct supervisor *s);

/* After state_load(): takes the fds over, watches them, goes on. The loop is open. */
int state_take_over(struct supervisor *s, const char **problem);

/* Every fd of the state: to make it survive execve(2), or not after all. */
void state_each_fd(struct supervisor *s, void (*visit)(int fd, void *context), void *context);

#endif
