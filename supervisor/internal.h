/*
 * internal - what the files of this folder share, and nobody else includes.
 *
 * One thread, one loop. Events of the kernel and of people become `struct event`
 * (sup_feed); the core answers with actions, carried out in actions.c; everything
 * that is decided is told in reports.c. Nothing else decides.
 *
 * Lifetimes  struct supervisor lives in supervisor_run(), until the loop has closed
 *            every handle. A struct worker lives from
 *            ACT_SPAWN until it was reaped and told, and nothing of it is under way.
 *            A struct launch lives while any slot may still be started from it.
 */
#ifndef CLUSTERD_SUPERVISOR_INTERNAL_H
#define CLUSTERD_SUPERVISOR_INTERNAL_H

#include <limits.h>
#include <sys/resource.h>
#include <uv.h>

#include "config/policy.h"
#include "supervisor/core/notify.h"
#include "supervisor/core/pool.h"
#include "supervisor/core/taking.h"
#include "supervisor/hear.h"
#include "supervisor/inspect.h"
#include "supervisor/log.h"
#include "supervisor/os/inherit.h"
#include "supervisor/os/listen.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/pidfile.h"
#include "supervisor/os/reap.h"
#include "supervisor/os/rowfile.h"
#include "supervisor/os/sdnotify.h"
#include "supervisor/os/spawn.h"
#include "supervisor/output.h"
#include "supervisor/server.h"
#include "supervisor/steer.h"
#include "supervisor/supervisor.h"

struct control;
struct metrics;
struct trial;
struct probe;
struct reuseport_image;
struct reuseport;
struct adoption;
struct kept_end;
struct left_output;
struct sigfd_signal;
struct orphans;

enum {
	FIRST_FD = 3,            /* of a worker's sockets */
	WORKERS_EXTRA = 8,       /* instances beyond two per slot */
	WORKER_HASH = 4096,      /* buckets, cookies are consecutive */
	STATUS_TEXT_MAX = NOTIFY_STATUS_MAX,
	LAST_LINE_MAX = 200,     /* of the last words kept per slot */
	DECISION_MAX = 200,
	PROBLEM_MAX = 320,       /* of why its last start failed, */
	PROBLEM_PATH_MAX = 150,  /* and of the end of a path in it */
	LATE_MS = 1000,          /* a timer later than this: clusterd was asleep */
	STRANGERS_MS = 50,       /* orphans are reaped at most this often */
	STRANGERS_TURN = 256,
	RELISTEN_MS = 1000,
	KILLED_MS = 200,         /* for a process of ours to end that was just killed */
	HOLDER_TEXT_MAX = 144,
	UPGRADE_PROBLEM_MAX = 256,
	NOTIFY_TURN = 32,        /* messages of one worker a turn */
	PROBE_BASE = 61000,      /* above the default net.ipv4.ip_local_port_range */
	PROBE_SEATS_MAX = 65536 - PROBE_BASE,
	PROBE_WORKERS_MAX = 1024, /* they have 4096 seats, and the next number has too many (steer_seats) */
	LOGIN_NAMES = 3,         /* variables that tell who somebody is */
	ENDS_CHUNK = 25,         /* records of a death history that are allocated together */
	ENDS_CHUNKS = ENDS_MAX / ENDS_CHUNK,
	SOCKS_MAX = 2 * LISTENERS_MAX, /* those of two policies, while a roll is under way */
};

/* What the workers of one generation are started from. */
struct launch {
	struct launch *next;
	uint32_t generation;
	struct policy policy;
	char path[PATH_MAX];            /* of the program, looked up once a generation */
	struct spawn_identity identity;
	struct spawn_limit limits[8];
	size_t limit_count;
	char *login[LOGIN_NAMES]; /* HOME=... and so on of [cluster] user; owned, NULL without one */
	char **inherited; /* of clusterd's environment, by its workers; owned */
	size_t inherited_count;
};

/* Does it take connections off its queue? See watch.c. */
struct accepting {
	struct taking taking;
	uint64_t idle_handed;       /* when it was last empty */
	uint64_t since_ms;          /* first left out */
	uint64_t back_ms, trial_ms; /* when it gets another chance; the last wait, 0 = it is well */
	bool out;
};

/* Of [health] http, between two clusterds. */
struct probe_image {
	uint64_t failures; /* in a row */
	uint64_t due_ms;   /* when it is asked next; 0: it is not */
};

/* One process. */
struct worker {
	struct worker *hash_next;
	struct supervisor *s;
	const struct launch *launch;
	struct output *output;     /* NULL when not captured */
	struct probe *probe;       /* NULL while nothing is asked of it */
	struct output_image *image; /* of its output, between two clusterds */
	struct probe_image probed;
	uint32_t cookie, slot, generation;
	uint32_t seat;          /* steer.c; the slot where no connections are steered */
	uint32_t standing;      /* steer_standing() before an upgrade, or 0 */
	struct accepting accepting;
	uint64_t rss_kb;               /* when it was last found above [recycle] max_rss */
	uint64_t word_ms, word_cpu_ms; /* when it last said WATCHDOG=1, and its CPU time by then */
	uint64_t handed_before; /* connections the seat had been given before this worker */
	uint32_t record_row;   /* 0 = none */
	pid_t pid;
	int pidfd;
	int notify_fd;
	int ready_fd;          /* read end of READY_FD, or -1 */
	uint64_t spawned_ms;
	uint64_t leaving_ms;   /* when it was asked to, or said that it does, the last time; 0 = not */
	uint32_t last_cpu_ms;
	uint64_t last_look_ms;
	struct reaped reaped;
	struct notify_budget notices;
	bool resting;          /* it said too much: nobody listens to `notify` for a moment */
	bool rested;           /* and that was told */
	bool extended;         /* it asked for more time, and that was told */
	uint32_t strangers;    /* messages of others since its last WATCHDOG=1 */
	uint32_t crowd;        /* those of them in the window of `notices` */
	struct server server;  /* who gets its signals, if not the process itself */
	bool served;           /* it was ready, or was seen to bind an address */
	bool given;            /* it has a socket of ours in place of its own (adopt) */
	struct address other;  /* the last address with a port that it bound and that is none of ours (adopt) */
	bool gone;             /* reaped and told; then hash_next links those to be freed */
	struct ear end, notify, ready; /* on pidfd, notify_fd, ready_fd */
	char status[STATUS_TEXT_MAX];
};

/* What outlives the processes of a slot. */
struct slot_memory {
	struct kept_end *ends[ENDS_CHUNKS]; /* one ring, in parts made when they are needed */
	uint32_t ends_size, ends_count; /* room for; count ever */
	uint64_t starts, unasked;
	uint64_t handed; /* connections steered to its former workers */
	char *last_line; /* of its captured stderr, if the last one that died wrote any; else NULL */
	char *problem;   /* why its last start failed; NULL if it did not */
	char *decision;  /* what follows that, as the end of a sentence; NULL: nothing */
};

/* A listening socket, or a group of them with one for each slot. */
struct sock {
	struct listener config;
	struct listening listening; /* the one socket; in per-slot modes the group's address */
	struct reuseport *group;    /* per-slot modes, else NULL */
	enum balance mode;          /* in force */
	uint16_t probe_base;        /* of a steered group with few enough seats, else 0 */
	struct address form;        /* what it was opened as: config.address, or what a program bound */
	struct address home;        /* where the listener first was, with the port the kernel chose */
	struct address bound;       /* where it listens now */
	uv_fs_event_t *link_watch;  /* of an adopting unix listener's folder, or NULL */
	int link_error;             /* of the last try to make its link */
	bool variant;               /* a further form of an adopting listener */
	bool adopted;               /* a program has it as its own */
	bool inherited;
	bool taken_back;            /* from orphans; a unix path is still theirs */
	bool in_use;
	struct reuseport_image *image; /* of the group, between two clusterds; fds by slot */
	int *image_fds;
	bool fresh; /* opened by a reload that may yet be refused */
	bool served; /* steered: its list was not empty when it was written last */
	bool down; /* it, or one of the group, could not be made to listen again yet */
	bool lost; /* its unix path is, and that was told */
	bool kept; /* keep is filled in */
	struct listen_keep keep;
	uint64_t kept_told_ms;
	uint64_t repaired;
	uint64_t repair_told_ms; /* when the minute began in which so many repairs were told */
	uint32_t repairs_told;
};

struct supervisor {
	uv_loop_t loop;
	const struct supervisor_options *options;
	char self[PATH_MAX]; /* what an upgrade executes: a script around clusterd stays in its place */
	struct policy policy; /* in force */
	char name[NAME_TEXT_MAX];
	uint64_t started_ms, policy_ms;
	uint64_t started_wall_ms, policy_wall_ms; /* the same by the wall clock, for others to compare */
	uint64_t policy_changed_wall_ms; /* the last time it was applied and was another one */

	struct pool *pool;
	uint32_t slots_max, instances_max;
	struct event *inbox; /* ring */
	uint32_t inbox_size, inbox_head, inbox_count;
	bool draining_inbox;
	uint32_t generation; /* last one handed out */
	struct launch *launches;

	struct worker *workers[WORKER_HASH];
	struct worker *departed; /* gone, to be freed where none of them is in use */
	struct report end;       /* of one of them, told when the spawn that follows has been tried */
	bool end_untold;
	bool ended_well;         /* the last worker that ended did so by itself, with 0 */
	bool ended_badly;        /* the same with another status */
	struct hearing hearing;
	struct slot_memory *memory; /* slots_max of them */

	struct steer steer;
	struct sock socks[SOCKS_MAX];
	uint32_t sock_count;
	struct inherited inherited[INHERIT_MAX];
	int inherited_count;
	int hangup_fd;
	uv_poll_t hangup_poll;

	uv_timer_t deadline;
	uint64_t deadline_ms;      /* what it is armed for, or NEVER_MS */
	uv_check_t after_poll;     /* judges deadlines after pending news was read */
	uv_idle_t no_wait;
	uv_timer_t strangers;
	uv_timer_t notices; /* runs while a worker rests */
	uv_timer_t relisten; /* runs while a listener is down */
	uv_prepare_t asleep;
	uint64_t asleep_ms;     /* when the loop last began to wait */
	uint64_t late_since_ms; /* the same, of the wait that the deadline ended */
	uv_check_t awake;    /* keep.c */
	uv_timer_t systemd_timer;
	int signal_fd;
	uv_poll_t signal_poll;
	bool signals_open;
	bool no_strangers;   /* every child is a worker or one of ours: SIGCHLD is not listened to */

	uv_timer_t monitor, watch;
	bool monitor_open, watch_open;
	uint64_t watch_ms, reattach_ms;
	uint64_t starved_ms; /* when a starved worker was last told of */
	uint32_t watch_idle; /* looks in a row that found nothing to do */
	int arrivals_fd;     /* a set: of the sockets of all seats while nobody looks, else empty */
	struct ear arrival;  /* open while nobody looks, until one of them is readable */

	struct sdnotify sd;
	uint64_t systemd_ms;  /* how often WATCHDOG=1 is due, or 0 */
	uint32_t told_ready, told_wanted;
	struct pidfile pidfile;
	struct log log;
	struct log_tap tap; /* to the control socket */
	struct control *control;
	struct metrics *metrics;

	struct record {
		struct rowfile file;
		uint32_t *free;      /* rows to be used again; room for all */
		uint32_t free_count, size;
		uint32_t rows;       /* in use or free; row 0 is the head */
		uint32_t starting;   /* row of the worker that is being started, or 0 */
		bool failed;         /* it was said that it can not be kept */
		uint64_t tried_ms;   /* the last time then */
	} record;
	struct orphans *orphans; /* NULL: none */

	struct adoption *adoptions;
	bool adopt_blind;     /* it was said that binds can not be read */
	bool adopt_deaf;      /* it was said that one will not hear of connections */
	bool adopt_second;    /* it was said that only one worker can have what it binds */
	bool adopt_missed;    /* it was said that binds may not be seen */
	bool adopt_keeps_setuid; /* the filter needs no no_new_privs here */
	struct trial *trial;  /* of an upgrade, or NULL */
	char upgrade_problem[UPGRADE_PROBLEM_MAX]; /* why the last one was refused, or "" */
	uint64_t upgrade_us;  /* when the present upgrade took the step over */
	int carried_control, carried_metrics; /* fds of before the upgrade, or -1 */
	struct left_output *carried_outputs; /* of before the upgrade, their workers had ended */
	struct log_image carried_log; /* what the log could not write before the upgrade */
	struct { const char *bytes; size_t size; } carried_counts; /* metrics_counts() before the upgrade; owned */
	int null_fd;          /* /dev/null for the workers, or SPAWN_NULL: each opens its own */
	uint64_t signals;     /* whose action is not the default; none is changed after the start */
	struct rlimit nofile; /* as we were started, for the workers */
	uint64_t oom_kills;   /* of our cgroup, as far as told; UINT64_MAX: not counted here */
	int oom_fd;           /* their counter, or -1 */
	uint64_t oom_seen, oom_seen_ms; /* what it said last, and since when */
	const char *spawn_step; /* of the last spawn that failed */
	sup_tell *socket_tell;  /* who asked for the reload that opens sockets, or NULL */
	void *socket_context;
	const struct launch *settle_policy; /* whose policy is to be in force, or NULL */
	uint32_t told_workers; /* CLUSTERD_WORKERS of the next one to start */
	uint64_t refused, refused_ms; /* notify messages of strangers; when that was last said */
	int spare_fd;         /* NOTIFY_SOCKET of the next worker, or -1 */
	char spare_name[NOTIFYSOCK_NAME_MAX];
	char *scratch;        /* arguments and environment of the worker being started */
	size_t scratch_size;
	bool begun;           /* start has been logged */
	bool up;              /* the first start is over */
	bool scaled;          /* the number of workers was set by hand */
	bool policy_back;     /* the policy in force is the former one, since what came after it has failed */
	const char *scaled_by; /* whom, the last time */
	bool reloading;       /* a policy takes effect: that of a roll which ends by it does not come back */
	struct by_hand { uint32_t known, file, workers; } by_hand; /* before another file's: note_count() */
	uint8_t trouble;      /* systemd.c: what the service manager is to know beside the counts, or 0 */
	bool stopping;        /* nothing new is begun any more */
	bool stop_asked;      /* and that by somebody */
	bool stop_kills;      /* at once, or because it was asked for again */
	bool closing, exited; /* the loop ends; ACT_EXIT was seen */
	enum why exit_why;
	int status;           /* exit status, once exited */
};

/* supervisor.c */
void sup_feed(struct supervisor *s, const struct event *event);
void sup_settle(struct supervisor *s);
void sup_stopping(struct supervisor *s); /* the end begins: tells systemd; may be called again */
void sup_shutdown(struct supervisor *s);
int sup_pool_grow(struct supervisor *s, uint32_t slots);
void strangers_soon(struct supervisor *s);

/* start.c: an exit status, 0 when all is well */
int start_all(struct supervisor *s);
int start_load(struct supervisor *s); /* the state; before signals_start() */
int start_upgraded(struct supervisor *s);
uint32_t workers_wanted(const struct policy *policy);

/* actions.c */
action_sink sup_act;
void sup_tell_end(struct supervisor *s); /* that which waits to be told, if any */

/* reports.c: one line each */
void sup_report(struct supervisor *s, const struct report *report);
void sup_opened(struct supervisor *s, const struct sock *sock); /* by a reload */
void sup_closed(struct supervisor *s, const struct sock *sock); /* after one */
void sup_begun(struct supervisor *s, uint32_t workers);
void sup_ended(struct supervisor *s);
void sup_started(struct supervisor *s, const struct worker *worker);
void sup_up(struct supervisor *s);
void sup_upgraded(struct supervisor *s);
void sup_note_stop(struct supervisor *s, bool fast);
void sup_signalled(struct supervisor *s, const struct sigfd_signal *signal);
void sup_reloaded(struct supervisor *s, bool ok, uint32_t live, uint32_t roll, uint32_t boot);
void sup_listen_repaired(struct supervisor *s, struct sock *sock, uint32_t seat); /* keep.c */
void sup_balance_fallback(struct supervisor *s, const struct sock *sock, const char *step, int error);
/* An orphan that became ours has ended. */
void sup_stranger(void *context, const struct reaped *end);
void sup_note(struct supervisor *s, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Each worker, in no order. The body adds and takes out none, and does not `break`: that leaves a bucket only. */
#define FOR_EACH_WORKER(s, w)                                                                      \
	for (uint32_t bucket_ = 0; bucket_ < WORKER_HASH; bucket_++)                               \
		for (struct worker *w = (s)->workers[bucket_]; w; w = w->hash_next)

/* worker.c */
struct worker *worker_new(struct supervisor *s, uint32_t slot, uint32_t cookie);
int worker_watch(struct worker *worker, const char **failed);
void worker_feed(struct worker *worker, struct event event); /* to the core, as of this worker */
struct worker *worker_find(struct supervisor *s, uint32_t cookie);
const struct worker *worker_departed(const struct supervisor *s, uint32_t cookie); /* not freed yet, or NULL */
int worker_start(struct supervisor *s, uint32_t slot, uint32_t cookie, uint32_t generation,
                 const char **failed);
void worker_told(struct worker *worker); /* its exit has been reported: let go of it */
void workers_abandon(struct supervisor *s);
void workers_bury(struct supervisor *s); /* frees the departed; not within anything a worker has begun */
void workers_policy(struct supervisor *s); /* [log] overflow may have changed */
int worker_reap_strangers(struct supervisor *s);

/* notice.c: `worker` is the owner of an ear */
void notice_read(void *worker);
void notices_read_all(struct supervisor *s); /* of those that rest, before a deadline is judged */
void notice_prepare(struct supervisor *s); /* what the next spawn need not do while somebody waits */

/* launch.c: 0, or -ENOENT, -EACCES, … of the program, -EINVAL of the policy, -EPERM, with a
 * sentence */
int launch_create(struct supervisor *s, const struct policy *policy, uint32_t generation,
                  struct launch **ret, char *problem, size_t size);
/* Writes where the file of a program is for clusterd, whose directory is not that of the workers. */
void launch_file(const struct policy *policy, const char *path, char *ret, size_t size);
struct launch *launch_find(const struct supervisor *s, uint32_t generation);
/* What follows from the policy: limits, what is inherited. 0 or -ENOMEM. */
int launch_derive(const struct supervisor *s, struct launch *launch);
void launch_free(struct launch *launch); /* NULL is ignored */
/* rehearse.c: 0, or -EPERM and a sentence if the priority or a limit is not for us to give. */
int launch_rehearse(const struct launch *launch, char *problem, size_t size);
bool launch_prune(struct supervisor *s);
void launches_free(struct supervisor *s);
/* errand.c */
int launch_spawn(struct worker *worker, const struct launch *launch, struct spawned *ret,
                 const char **failed);

/* sockets.c: sockets_add and sockets_open answer with an exit status */
int sockets_add(struct supervisor *s, const struct listener *config, uint32_t workers);
int sockets_open(struct supervisor *s, uint32_t workers);
int sockets_watch(struct supervisor *s);
int sockets_watch_all(struct supervisor *s, struct sock *sock);
uint32_t slots_now(const struct supervisor *s);
struct sock *sock_place(struct supervisor *s);
int sock_open(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed);
int sockets_watch_slot(struct supervisor *s, struct sock *sock, uint32_t slot);
int sock_open_shared(struct supervisor *s, struct sock *sock, struct listening *ret, const char **failed);
bool sock_is_abstract(const struct sock *sock);
/* Of a unix listener's file: names or numbers. 0, or -ENOENT and what is unknown. */
int sock_owner(const struct listener *config, uid_t *ret_owner, gid_t *ret_group, const char **failed);

int sock_path_renew(struct supervisor *s, struct sock *sock, const char **failed);
bool sock_path_lost(const struct sock *sock);
int sock_path_restore(struct supervisor *s, struct sock *sock, const char **failed);
void sock_paths_restore(struct supervisor *s);
void sockets_close(struct supervisor *s);
void sock_close(struct supervisor *s, struct sock *sock);
/* The fd that the worker of a slot, in a seat, gets. */
int socket_fd(const struct sock *sock, uint32_t slot, uint32_t seat);

/* holders.c: ", by app (pid 12)", or how to find out; after the last worker has ended */
void holder_text(const struct address *address, char *text, size_t size);
void holders_left(struct supervisor *s);
/* Says that a listener could not be made to listen again; it is tried each `retry_s` seconds. */
void holders_down(struct supervisor *s, const struct sock *sock, const char *step, int error, int retry_s);

/* keep.c: now; after the policy in force has changed; each time the loop has slept */
void keep_all(struct supervisor *s);
void keep_policy(struct supervisor *s);
void keep_start(struct supervisor *s);

/* reload.c */
struct sock *sock_of(struct supervisor *s, const struct listener *listener);
void reload_settled(struct supervisor *s, uint32_t generation);
void reload_settle(struct supervisor *s);
void reload_close_unused(struct supervisor *s);

/* inspect.c */
const char *balance_word(enum balance mode);

/* monitor.c */
int monitor_start(struct supervisor *s);
void monitor_stop(struct supervisor *s);
void monitor_policy(struct supervisor *s);

/* command.c: runs [ready] command about a worker; 0 or -errno with the step */
int launch_command(const struct worker *worker, struct spawned *ret, const char **failed);

/* watch.c */
void watch_policy(struct supervisor *s);
int watch_start(struct supervisor *s);
void watch_stop(struct supervisor *s);
void watch_wake(struct supervisor *s); /* who is on the list, or which sockets there are, has changed */

/* A question that is put into a worker's queue: before it connects, once its connection stands; and when there is
 * no answer, whether the worker takes connections from that queue, and has not come to it yet. */
struct turn {
	struct taking taking;
	uint64_t place;
	bool queued;
};
void turn_begin(struct turn *turn, const struct worker *worker, const struct sock *sock);
void turn_queued(struct turn *turn, const struct worker *worker, const struct sock *sock);
bool turn_waits(const struct turn *turn, const struct worker *worker, const struct sock *sock);

/* starved.c: after a word of the worker; before its watchdog is judged */
void starved_mark(struct worker *worker);
void starved_spare(struct supervisor *s);

/* upgrade.c */
int upgrade_load(struct supervisor *s, int fd, const char **problem);
void upgrade_agree(int fd); /* of the trial run, to its parent: this state is understood */
void upgrade_stop(struct supervisor *s);
pid_t upgrade_trial(const struct supervisor *s); /* its pid, or -1 */

/* systemd.c */
void systemd_start(struct supervisor *s);
void systemd_resume(struct supervisor *s);
void systemd_ready(struct supervisor *s);
void systemd_reloaded(struct supervisor *s, bool ok);
void systemd_rolled(struct supervisor *s, enum verdict verdict);
void systemd_reloading(struct supervisor *s);
void systemd_stopping(struct supervisor *s);
void systemd_status(struct supervisor *s);

/* signals.c */
int signals_start(struct supervisor *s);
void signals_stop(struct supervisor *s);

/* memory.c */
int memory_grow(struct supervisor *s, uint32_t slots);
void memory_add_end(struct supervisor *s, uint32_t slot, const struct end_record *end);
void memory_last_line(struct supervisor *s, uint32_t slot, const char *line);
void memory_problem(struct supervisor *s, uint32_t slot, const char *problem); /* "": none */
void memory_decision(struct supervisor *s, uint32_t slot, const char *decision);
void memory_free(struct supervisor *s);

#endif
