/*
 * control_internal - what the control*.c files share, and nobody else includes.
 *
 *   control.c        the socket: accept, turns, what the supervisor tells
 *   control_client.c one connection: read, write, close
 *   control_path.c   where the socket lies, and taking that place
 *   control_peer.c   who may ask
 *   control_verbs.c  one function per request
 *   control_look.c   the requests that only look: status, ends, why, config
 *   control_wait.c   answers that come when something has happened
 *   control_again.c  `wait`, which begins with waiting: for a state, or anew after an upgrade
 *   control_ring.c   the last lines of the log and of the workers
 */
#ifndef CLUSTERD_SUPERVISOR_CONTROL_INTERNAL_H
#define CLUSTERD_SUPERVISOR_CONTROL_INTERNAL_H

#include <uv.h>

#include "supervisor/control.h"
#include "supervisor/core/json.h"
#include "supervisor/core/proto.h"
#include "supervisor/inspect.h"
#include "supervisor/os/listen.h"

enum {
	OUT_MAX = 262144,  /* bytes a client may leave unread before it is dropped */
	STEPS_MAX = OUT_MAX / 2, /* unread, before steps of what is waited for are left out */
	CHUNK_SIZE = 16384, /* of a long answer, each turn */
	REPLY_SIZE = 8192, /* room for one line that holds no long text */
	ACCEPTS_TURN = 4,
	TICK_MS = 250,
	CONTROL_PATH_MAX = LISTEN_PATH_MAX,
	FAREWELL_MS = 1000, /* for all who wait for the end, together, to read what they have not yet */
	GRACE_MS = 20, /* what a new client has to ask in before it may be asked to make room */
};

/* Exit statuses that clusterctl passes on (clusterctl(1), EXIT STATUS). */
enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_USAGE = 64, CODE_TIMEOUT = 75 };

/* The last lines of something, for many readers with a place of their own each. */
struct ring {
	char *bytes;
	size_t size;         /* a power of two */
	uint64_t start, end; /* offsets since the beginning of time; start is at a record */
};

int ring_init(struct ring *ring, size_t size);
void ring_add(struct ring *ring, uint32_t slot, const char *text, size_t size);
/* Copies the record at *at to `text` if it fits and moves *at on. Returns its size or 0 at the end,
 * and adds what was overwritten before it could be read to *lost. */
size_t ring_next(const struct ring *ring, uint64_t *at, uint32_t *ret_slot, char *text, size_t size,
                 uint64_t *lost);

struct client;

/* Writes the next lines of a long answer; false when that was the last. */
typedef bool more_lines(struct client *client);

enum wait_what {
	WAIT_NOTHING,
	WAIT_ROLL,   /* roll: the number, or 0 until it begins */
	WAIT_SCALE,  /* count */
	WAIT_READY,
	WAIT_DRAIN,  /* slot or ALL_SLOTS */
	WAIT_RESET,  /* slot or ALL_SLOTS */
	WAIT_KILL,   /* slot */
	WAIT_STOP,
	WAIT_UPGRADE,
};

struct wait {
	enum wait_what what;
	uint32_t slot, roll, count;
	uint32_t given_up;    /* slots that were, when count was asked for */
	uint32_t failed_slot; /* where a roll failed, or ALL_SLOTS; not on its way back */
	uint32_t skipped;     /* steps left out since the last one that was told */
	bool back;
	bool ended;           /* the roll has; its verdict is told in the next turn, */
	struct report end;    /* when the policy and the count it brings are in force */
};

struct client {
	struct control *control;
	uv_poll_t poll;
	int fd;
	int armed;             /* events of poll */
	uint64_t deadline_ms;  /* idle or stalled: dropped then */
	uint64_t came_ms;
	uint64_t order;        /* who came first */
	uint64_t served;       /* requests answered */
	bool end_of_input;
	bool closing;          /* when the output is written */
	bool dead;             /* to be closed at the end of the turn */

	char line[REQUEST_LINE_MAX + 1];
	size_t line_used, line_taken; /* bytes read; those of the request being served */
	bool busy;             /* a request is being served */
	struct request request;
	bool told;             /* the log has told who asks for it */
	bool begun;            /* the answer comes later */
	more_lines *more;
	bool follows;          /* more never ends */
	uint32_t part, index;  /* where more stands */
	uint64_t ring_at;
	struct wait wait;

	char *out;
	size_t out_size, out_start, out_end;
};

struct control {
	struct supervisor *s;
	struct listening listening;
	gid_t group;           /* members may ask; (gid_t)-1 = none */
	uv_poll_t accept_poll;
	uv_idle_t turn;        /* runs while there is work */
	uv_timer_t tick;
	unsigned open_handles;
	bool turning, ticking, accepting;
	bool full;             /* nobody can make room before the next turn */
	bool check_waits;
	bool lost;             /* its path is gone or somebody else's, and that was told */
	uint64_t asked_ms;     /* the last try then */
	int spare_fd;          /* given up to accept when there is no other fd */
	uint64_t orders;
	unsigned next_turn;    /* client to be served next */
	struct client *clients[CLIENTS_MAX];
	struct ring events, output;
	struct report last_roll; /* how the last one ended; its roll is 0: none has */
	char path[CONTROL_PATH_MAX];
};

/* control.c */
void control_kick(struct control *control); /* there is something to do in the next turn */
void control_unref(struct control *control);
void control_spare(struct control *control); /* has the spare fd back if there is one */
unsigned control_waiters(const struct control *control);
void control_swap(struct control *control, struct listening *fresh); /* accepts there from now on */

/* control_client.c */
bool client_pending(const struct client *client);
bool client_waits(const struct client *client);
bool client_has_work(const struct client *client);
void client_kick(struct client *client);
void client_drop(struct client *client);
void client_close(struct client *client);
void client_read(struct client *client);
void client_write(struct client *client);
void client_write_all(struct client *client, uint64_t deadline_ms); /* waits for its reader */
void client_follow_to_end(struct client *client, uint64_t deadline_ms); /* what there is to read */
void client_step(struct client *client); /* one request, or one part of an answer */
void client_arm(struct client *client);
bool client_room(struct client *client, size_t size);
void reply_begin(struct client *client, struct json *json, const char *kind);
void reply_end(struct client *client, struct json *json);
void client_done(struct client *client, struct json *json, bool ok);
void client_fail(struct client *client, int code, const char *error);
void client_ok(struct client *client);

/* control_path.c */
int control_open(struct control *control, const struct policy *policy, const char *name,
                 char problem[CONTROL_PROBLEM_MAX]);
int control_adopt(struct control *control, const struct policy *policy, int fd,
                  char problem[CONTROL_PROBLEM_MAX]);

/* control_peer.c */
bool peer_may(const struct control *control, int fd);
pid_t peer_pid(int fd); /* that connected, or -1 */
uid_t peer_uid(int fd);

/* control_verbs.c */
void request_serve(struct client *client);
void request_failed(const struct client *client, const char *error); /* tells the log */
bool slot_argument(struct client *client, const char *word, uint32_t *ret); /* false: refused and answered */
void put_note(void *context, const char *line); /* context: the client; see sup_tell */

/* control_look.c */
void put_workers_policy(struct client *client, struct json *json); /* where another number is wanted */
void serve_status(struct client *client);
void serve_version(struct client *client);
void serve_config(struct client *client);
void serve_ends(struct client *client);
void serve_why(struct client *client);
void serve_metrics(struct client *client);
void serve_events(struct client *client);
void serve_logs(struct client *client);

/* control_wait.c */
bool wait_begin(struct client *client, enum wait_what what); /* false: refused and answered */
void wait_join(struct client *client, const struct pool_view *pool); /* the roll under way */
void wait_scale(struct client *client, uint32_t count); /* which is wanted already */
void wait_report(struct client *client, const struct report *report);
void wait_check(struct client *client); /* has it come? */
void wait_roll_ended(struct client *client, const struct report *report); /* the verdict */
void wait_ended(struct client *client, int status);
#define WAIT_STUCK "the roll failed, and the old program does not get ready either; clusterd tries on; see: clusterctl status"

/* control_again.c */
bool wait_is_vain(struct client *client); /* refuses what would wait for a roll that can not even go back */
void serve_wait(struct client *client);

#endif
