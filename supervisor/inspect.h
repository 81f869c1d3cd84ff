/*
 * inspect - what the control socket, the metrics and the status line may see of
 * a running supervisor, and ask of it. Implemented by supervisor.c and its
 * neighbours; nothing else of `struct supervisor` is known outside of them.
 *
 * Strings that are returned live until the loop turns again.
 */
#ifndef CLUSTERD_SUPERVISOR_INSPECT_H
#define CLUSTERD_SUPERVISOR_INSPECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/policy.h"
#include "supervisor/core/pool.h"

/* A file or a socket of ours that could not be had is tried again so often. */
enum { FILE_AGAIN_MS = 10000 };

struct metrics;
struct supervisor;
struct uv_loop_s;

/* Death history: the last ENDS_MAX of each slot. */
enum { ENDS_MAX = 100 };

/* How one process ended and what was decided; plain, as an upgrade hands it on. memory.c keeps it packed. */
struct end_record {
	int64_t wall_ms; /* Unix time of its end */
	uint64_t lived_ms;
	uint32_t delay_ms;
	uint32_t generation;
	int32_t pid;
	uint32_t cpu_user_ms, cpu_sys_ms;
	uint32_t max_rss_kb;
	int16_t code;
	int16_t signal;
	uint8_t core, oom, asked;
	uint8_t cause; /* enum end_cause */
	uint8_t next;  /* enum next_action */
	uint8_t why;   /* enum why */
	uint16_t streak; /* short lives in a row, with this one */
	uint16_t rule; /* index of the [exit RULE] that decided + 1, or 0 */
};

struct sup_view {
	const char *name;
	const char *policy_file; /* or "" */
	pid_t pid;
	uint64_t up_ms;           /* since this supervisor (or the first of its upgrades) started */
	uint64_t policy_age_ms;   /* since the policy in force was applied */
	bool policy_back;         /* by the way back of a roll, so that it is not what the file says */
	uint64_t started_wall_ms, policy_wall_ms; /* the same two moments, since 1970 */
	uint64_t policy_changed_wall_ms; /* since then it has been what it is */
	uint32_t listeners;
	uint64_t lines_lost;      /* own log lines dropped */
	const char *log_problem;  /* why they are dropped now, or "" */
	uint64_t output_lost;     /* worker lines dropped */
	const char *upgrade_problem; /* why the last upgrade was refused, or "" */
	struct pool_view pool;
};

struct sup_listener {
	char name[NAME_TEXT_MAX];
	char address[ADDRESS_TEXT_MAX];
	int fd;                   /* number in the worker; -1 with adopt: the program's own */
	const char *balance;      /* the mode in force */
	int64_t queue, limit;     /* connections waiting now, and the most that may; -1 unknown */
	uint64_t repaired;        /* times it was shut down by a worker and listens again */
	bool lost;                /* its unix path is gone: nobody can connect */
};

struct sup_slot {
	struct slot_view slot;
	pid_t pid, next_pid;      /* 0 = none */
	enum instance_state state; /* of the current instance */
	uint64_t state_ms;        /* for how long it has been in it */
	int64_t queue;            /* its own queue in per-slot modes, else -1 */
	uint64_t handed;          /* connections and datagrams steered to it, 0 when not known */
	uint64_t starts;          /* processes ever started in it */
	uint64_t ends;            /* unasked ends ever */
	uint64_t left_out_ms;     /* since when no connections are steered to it, 0 if they are */
	const char *status;       /* its last STATUS=, or "" */
	const char *last_line;    /* last line of stderr of the last process that ended abnormally, or "" */
	const char *problem;      /* why its last start failed, or "" */
	const char *decision;     /* what follows that, or "" */
};

/* What /proc says of the current process of a slot. */
struct sup_usage {
	int64_t rss_kb;
	int64_t cpu_permille;     /* of one CPU, since the last look; -1 unknown */
	uint64_t cpu_ms;
};

void sup_look(struct supervisor *s, struct sup_view *ret);
/* How many workers the policy says, where another number was set by hand; else 0. */
uint32_t sup_workers_policy(struct supervisor *s);
bool sup_listener(struct supervisor *s, uint32_t index, struct sup_listener *ret);
bool sup_slot(struct supervisor *s, uint32_t slot, struct sup_slot *ret);
/* Reads /proc, about 15 us; false where there is no process. */
bool sup_usage(struct supervisor *s, uint32_t slot, struct sup_usage *ret);
/* index 0 is the newest. */
bool sup_end(struct supervisor *s, uint32_t slot, uint32_t index, struct end_record *ret);
const struct policy *sup_policy(struct supervisor *s);
uint64_t sup_now_ms(struct supervisor *s);
/* 0 when the process is gone, or was never there. */
pid_t sup_pid(struct supervisor *s, uint32_t cookie);
/* The step at which the last process failed that could not be started. */
const char *sup_spawn_step(const struct supervisor *s);
struct metrics *sup_metrics(struct supervisor *s);
struct uv_loop_s *sup_loop(struct supervisor *s);

/* Feeds a request to the core (EV_SCALE, EV_ROLL, EV_DRAIN, EV_KILL, EV_RESET, EV_STOP). */
void sup_request(struct supervisor *s, const struct event *event);

/* Grows or shrinks, sockets first, and logs `by` whom, a constant. Returns 0, or -errno with *failed a sentence. */
int sup_scale(struct supervisor *s, uint32_t count, const char *by, const char **failed);
/* The same by itself, not because somebody asked: what is drained stays so. */
int sup_scale_back(struct supervisor *s, uint32_t count, const char **failed);

/* Starts a roll of all slots with a program looked up anew; *ret_roll is its number. */
int sup_roll(struct supervisor *s, uint32_t *ret_roll, const char **failed);

/*
 * Reads and checks the policy anew. tell() gets one line per problem, or per
 * item of the plan; NULL: the log does. With dry_run nothing is changed. *ret_roll is the roll that
 * it started, or 0. Returns 0, or -1 when nothing was changed because of a problem.
 */
typedef void sup_tell(void *context, const char *line);
int sup_reload(struct supervisor *s, bool dry_run, bool roll, sup_tell *tell, void *context,
               uint32_t *ret_roll);

/* Sends a signal to the worker(s) of a slot or ALL_SLOTS; returns how many got it. */
uint32_t sup_signal(struct supervisor *s, uint32_t slot, int signo);
/* The process says that its worker is ready, as Einhorn's do. False: it belongs to none that was
 * told how. */
bool sup_ack(struct supervisor *s, pid_t pid);
/* 0, or -errno: then the log goes on where it was. */
int sup_reopen(struct supervisor *s);
/* Logs who asked for what; and what came of it, and why, unless `result` is NULL. */
void sup_asked(struct supervisor *s, const char *what, uid_t uid, pid_t pid, const char *result, const char *detail);
/* Starts an upgrade of clusterd itself. On success it does not return here: control
 * clients are told to connect again. Returns -1 with *failed a sentence, which was logged, otherwise. */
int sup_upgrade(struct supervisor *s, const char **failed);

#endif
