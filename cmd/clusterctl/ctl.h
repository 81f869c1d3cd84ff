/*
 * ctl - what the files of clusterctl share.
 *
 *   main.c     options, verbs, help
 *   usage.c    what can be refused without a cluster
 *   link.c     find the socket, ask, read the answer line by line
 *   peer.c     who is at the other end, and why it may not answer
 *   table.c    tables that fit a width                          (pure)
 *   words.c    durations, ages, states, sentences, clean text   (pure)
 *   look.c     status, is-ready, version
 *   text.c     config, check, ends, why, events, logs, metrics
 *   work.c     verbs that wait: progress and verdict
 *   list.c     all clusters of this user
 *   top.c      the live view
 */
#ifndef CLUSTERD_CTL_H
#define CLUSTERD_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Exit statuses (clusterctl(1)). */
enum {
	CTL_DONE = 0,
	CTL_FAILED = 1, /* or degraded */
	CTL_NOT_RUNNING = 3,
	CTL_CAN_NOT_TELL = 4, /* verbs that only look */
	CTL_USAGE = 64,
	CTL_TIMEOUT = 75,
};

enum {
	CTL_WORDS_MAX = 4,
	CTL_LOOK_MS = 10000,   /* patience of verbs that only look */
	CTL_SILENCE_MS = 2000, /* then it is told that clusterd does not answer */
};

struct ctl {
	const char *name, *socket, *color, *width, *last;
	bool json, no_wait, dry_run, diff, follow, now, help, version;
	uint64_t timeout_ms; /* 0 = none given */
	const char *verb;
	unsigned count;
	const char *words[CTL_WORDS_MAX];
	bool collect;        /* lines are wanted even with --json */
	bool paint;          /* colours on standard output */
	bool terminal;       /* standard output is one */
	int columns;         /* of it, or as told; 0 = no limit */
	int rows;            /* of it, for `top`; 0 = no limit */
	int height;          /* of it; 0 = not known */
	char shown[64];      /* name for messages, once a socket was found */
};

/* ---- options.c ---- */

/*
 * Reads the command line into *ret. Returns 0, or CTL_USAGE after one line on
 * standard error.
 */
int ctl_options(int argc, char **argv, struct ctl *ret);

/* "250ms" "10s" "5m" "1h", or seconds. */
bool ctl_duration(const char *text, uint64_t *ret_ms);

/* ---- usage.c ---- */

/*
 * Judges the arguments and options of a verb; `arguments` is what verbs.def tells of them. Returns 0,
 * or CTL_USAGE after one line on standard error.
 */
int ctl_check(const struct ctl *ctl, const char *arguments);

/* ---- link.c ---- */

/* Called for each line of an answer but the last. */
typedef void ctl_line(void *context, json_t *line);

/* Set by SIGINT and SIGTERM: whoever waits ends. */
extern volatile int ctl_interrupted;

/* The last line of --json has been printed. */
extern bool ctl_ended;

/*
 * Connects to the cluster that the options name, or to the only one there is. Returns an
 * fd, or -1 with *ret_status set and one line on standard error (none if `quiet`).
 */
int ctl_connect(struct ctl *ctl, bool quiet, int *ret_status);

/* Returns an fd, or -1 with errno; EAGAIN: for CTL_SILENCE_MS nobody took the connection. */
int ctl_connect_path(const char *path);

/* Whether the terminal is one that can be drawn on, and in colours: main.c. */
bool ctl_draws(void);

/* Calls back for every control socket of this user, live or not. */
void ctl_each(void (*each)(void *context, const char *path, const char *name), void *context);
bool ctl_folder(unsigned index, char *folder, size_t size);

/* A line: that there is no cluster, and where that was looked for. */
void ctl_say_none(FILE *out, const char *before);

struct question {
	int fd;
	const char *request;
	uint64_t limit_ms; /* 0: none */
	bool raw;          /* every line is printed as it came */
	bool is_look;      /* an answer is due at once, so that silence alone is worth a line */
	const char *shown; /* name for that line; NULL: no such line */
};

/*
 * Sends a request and reads the whole answer; `line` may be NULL. Silence of CTL_SILENCE_MS is told
 * once on standard error. *ret_last is the last line (to be given back by json_decref), set only
 * when the return value is 0. Returns
 *   0             the last line was read
 *   CTL_TIMEOUT   limit_ms have passed
 *   CTL_FAILED    the connection ended, or what came is no answer
 *   -1            interrupted
 *   LINK_RECONNECT  clusterd upgrades itself: connect again, what was asked is under way
 *   LINK_AGAIN      the same, but the request was not read: ask it again
 */
enum { LINK_RECONNECT = -2, LINK_AGAIN = -4 };
int ctl_ask(const struct question *question, ctl_line *line, void *context, json_t **ret_last);

/* The request that the command line stands for: verb, words and options. */
void ctl_request(const struct ctl *ctl, char *text, size_t size);

/*
 * The whole way of a verb that only looks: connects, asks, reports errors. With --json the lines
 * are printed as they came and `line` is called only if ctl->collect. Returns the exit status.
 */
int ctl_look(struct ctl *ctl, const char *request, ctl_line *line, void *context);

/* Exit status that the last line of an answer stands for; an error is said on standard error. */
int ctl_verdict(const struct ctl *ctl, json_t *last);

/* ---- peer.c ---- */

/* The process that listens at the other end of a unix socket; 0 if that can not be known. */
pid_t peer_pid(int fd);

/*
 * Says on standard error that it does not answer, and what can be done. `is_look`: an answer is
 * due; otherwise only a process that is stopped is told. Returns whether anything was said.
 */
bool peer_tell_silence(int fd, const char *shown, bool is_look);

/* ---- words.c ---- */

enum hue { HUE_NONE, HUE_GOOD, HUE_WARN, HUE_BAD, HUE_DIM, HUE_TITLE };

enum hue state_hue(const char *state);
/* Prints text that is not ours: control characters and what is no UTF-8 become '?'. */
void put_clean(FILE *out, const char *text);
/* A line of --json that is not clusterd's own. */
void put_json(const json_t *line);
/* One line on standard error, without its newline, cut to 2 KiB: such bytes are escaped, as in the log. */
void ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The last such line, as it was printed; "" if there was none. */
const char *ctl_said(void);
void put_hue(FILE *out, bool paint, enum hue hue, const char *text);

/* Fields of a line; "" or 0 when they are not there. */
const char *text_of(const json_t *line, const char *key);
int64_t number_of(const json_t *line, const char *key);
bool flag_of(const json_t *line, const char *key);

/* "1.6s" of a field in ms. `text` has BRIEF_TEXT_MAX bytes; returned. */
const char *duration_of(const json_t *line, const char *key, char *text);

/* ---- look.c ---- */

/* A status answer taken apart. */
struct status {
	json_t *cluster, *listeners, *slots; /* an object or NULL, and two arrays */
};
void status_init(struct status *status);
void status_line(void *context, json_t *line); /* a ctl_line */
void status_free(struct status *status);
int status_code(const struct status *status);
/* What to do when no worker is wanted; nothing is said when some are. */
void put_paused(const json_t *line, FILE *out);
/* The screen of `status` and `top`. */
void status_print(const struct status *status, const struct ctl *ctl, FILE *out);

/* ---- one function a verb ---- */

#define VERB(id, word, arguments, min, max, run, help) int run_##run(struct ctl *ctl);
#include "cmd/clusterctl/verbs.def"
#undef VERB

#endif
