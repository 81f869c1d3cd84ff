#include <string.h>
#include <unistd.h>

#include "cmd/clusterctl/ctl.h"
#include "supervisor/core/brief.h"

enum { SLOTS_SHOWN = 32, TEXT_SIZE = 768, AGAIN_MS = 30000, AGAIN_PAUSE_US = 20000 };

/*
 * Progress of many slots: on a terminal one line per slot that is written over, for
 * the first SLOTS_SHOWN slots that had something to tell and that it has rows for;
 * elsewhere a line per event.
 */
struct progress {
	struct ctl *ctl;
	long long slots[SLOTS_SHOWN];
	char swaps[SLOTS_SHOWN][48]; /* "4242 -> 5001": stays in the line of its slot */
	unsigned count; /* lines on the screen, all at its lower end */
	long long roll;
	bool heard; /* clusterd has begun */
	bool scales;      /* the number of workers that was asked for is known: */
	long long workers;
};

/* Cut to the terminal: a line that wraps could not be written over. */
static void put_fitting(const struct ctl *ctl, const char *text)
{
	char line[TEXT_SIZE];
	int room = ctl->columns > 0 ? ctl->columns - 14 : 66; /* an unknown width is 80 */

	snprintf(line, sizeof line, "%.*s", room > 0 ? room : 0, text);
	put_clean(stdout, line);
}

/* What has scrolled away can not be written over. */
static bool has_room(const struct progress *progress)
{
	return progress->count < SLOTS_SHOWN &&
	       (progress->ctl->height == 0 || progress->count + 1 < (unsigned)progress->ctl->height);
}

/* The line of a slot, counted from the first; a new one if there is none. SLOTS_SHOWN: no room. */
static unsigned line_of(struct progress *progress, long long slot)
{
	unsigned at = 0;

	while (at < progress->count && progress->slots[at] != slot)
		at++;
	if (at < progress->count)
		return at;
	if (!has_room(progress))
		return SLOTS_SHOWN;
	progress->slots[progress->count++] = slot;
	putchar('\n');
	return at;
}

static void put_line(struct progress *progress, long long slot, const char *text, bool is_swap)
{
	char whole[TEXT_SIZE];
	unsigned at;

	if (!progress->ctl->terminal) {
		printf("  slot %lld  ", slot);
		put_clean(stdout, text);
		putchar('\n');
		return;
	}
	at = line_of(progress, slot);
	if (at == SLOTS_SHOWN)
		return;
	if (is_swap)
		snprintf(progress->swaps[at], sizeof progress->swaps[at], "%s", text);
	snprintf(whole, sizeof whole, "%s%s%s", is_swap ? "" : progress->swaps[at],
	         !is_swap && progress->swaps[at][0] ? "; " : "", text);
	/* Up to the line, over it, and back down. */
	printf("\033[%uA\r\033[K  slot %lld  ", progress->count - at, slot);
	put_fitting(progress->ctl, whole);
	printf("\033[%uB\r", progress->count - at);
}

/* The lines above it stay as they are, and what comes has lines of its own below. */
static void begin_block(struct progress *progress)
{
	progress->count = 0;
	memset(progress->swaps, 0, sizeof progress->swaps);
}

static void say_exit(const json_t *line, char *text, size_t size)
{
	long long pid = number_of(line, "pid");
	const char *last = text_of(line, "last_line");

	if (flag_of(line, "asked"))
		snprintf(text, size, "%lld ended (%s)", pid, text_of(line, "end"));
	else
		snprintf(text, size, "%lld died: %s%s%s", pid, text_of(line, "end"),
		         last[0] ? "; last words: " : "", last);
}

static void say_roll_back(const json_t *line, char *text, size_t size)
{
	long long generation = number_of(line, "generation");

	if (flag_of(line, "ok"))
		snprintf(text, size, "failed; what was replaced goes back to generation %lld", generation);
	else
		snprintf(text, size, "failed on the way back too (generation %lld)", generation);
}

static void say_roll_slot(const json_t *line, char *text, size_t size)
{
	long long old = number_of(line, "old_pid"), pid = number_of(line, "pid");

	if (!flag_of(line, "ok"))
		snprintf(text, size, "try %lld failed", (long long)number_of(line, "tries"));
	else if (old)
		snprintf(text, size, "%lld -> %lld", old, pid);
	else
		snprintf(text, size, "-> %lld", pid);
}

static void say_stop(const json_t *line, char *text, size_t size)
{
	const char *signal = text_of(line, "signal");

	snprintf(text, size, "%lld %s%s (%s)", (long long)number_of(line, "pid"), signal[0] ? "gets " : "drains",
	         signal, text_of(line, "cause"));
}

static void say_kill(const json_t *line, char *text, size_t size)
{
	long long pid = number_of(line, "pid"), max_old = number_of(line, "max_old");

	if (max_old)
		snprintf(text, size, "%lld is cut: more than [supervisor] max_old %lld would drain: SIGKILL", pid, max_old);
	else
		snprintf(text, size, "%lld did not end in time: SIGKILL", pid);
}

/* What one event means for its slot; "" when it is of no interest. */
static void describe(const json_t *line, char *text, size_t size)
{
	const char *what = text_of(line, "what"), *problem = text_of(line, "problem");
	long long pid = number_of(line, "pid");
	char ms[BRIEF_TEXT_MAX];

	text[0] = '\0';
	if (strcmp(what, "worker.ready") == 0)
		snprintf(text, size, "%lld ready after %s", pid, duration_of(line, "ms", ms));
	else if (strcmp(what, "worker.exit") == 0)
		say_exit(line, text, size);
	else if (strcmp(what, "worker.stop") == 0)
		say_stop(line, text, size);
	else if (strcmp(what, "worker.kill") == 0)
		say_kill(line, text, size);
	else if (strcmp(what, "worker.unkillable") == 0)
		snprintf(text, size, "%lld survives SIGKILL for %s now", pid, duration_of(line, "ms", ms));
	else if (strcmp(what, "spawn.error") == 0)
		snprintf(text, size, "could not be started: %s", text_of(line, problem[0] ? "problem" : "error"));
	else if (strcmp(what, "roll.slot") == 0)
		say_roll_slot(line, text, size);
	else if (strcmp(what, "roll.back") == 0)
		say_roll_back(line, text, size);
	else if (strcmp(what, "slot.give_up") == 0)
		snprintf(text, size, "given up (%s)", text_of(line, "why"));
	else if (strcmp(what, "slot.drained") == 0)
		snprintf(text, size, "drained");
}

/* A line that is not about a slot; false if it is. */
static bool put_other(struct progress *progress, const json_t *line)
{
	bool note = strcmp(text_of(line, "kind"), "note") == 0;
	long long slots = number_of(line, "slots");

	if (!note && strcmp(text_of(line, "what"), "roll.begin") != 0)
		return false;
	begin_block(progress);
	if (note) {
		put_clean(stdout, text_of(line, "text"));
		putchar('\n');
	} else {
		printf("roll %lld: %lld slot%s to generation %lld\n", (long long)number_of(line, "roll"), slots,
		       slots == 1 ? "" : "s", (long long)number_of(line, "generation"));
	}
	return true;
}

/* Others who wait hear of rolls too, which are not theirs. */
static bool asks_for_roll(const struct ctl *ctl)
{
	return strcmp(ctl->verb, "roll") == 0 || strcmp(ctl->verb, "restart") == 0 || strcmp(ctl->verb, "reload") == 0;
}

static void on_line(void *context, json_t *line)
{
	struct progress *progress = context;
	const char *what = text_of(line, "what");
	char text[TEXT_SIZE];

	progress->heard = true;
	if (strcmp(what, "roll.begin") == 0 && asks_for_roll(progress->ctl))
		progress->roll = number_of(line, "roll");
	if (strcmp(what, "scale") == 0 && !progress->scales) {
		progress->scales = true;
		progress->workers = number_of(line, "to");
	}
	if (progress->ctl->json)
		return;
	if (put_other(progress, line))
		return;
	describe(line, text, sizeof text);
	if (text[0] && json_object_get(line, "slot"))
		put_line(progress, number_of(line, "slot"), text,
		         strcmp(what, "roll.slot") == 0 && flag_of(line, "ok"));
	fflush(stdout);
}

/* ---- verdicts ---- */

static void put_roll(const json_t *last)
{
	const char *verdict = text_of(last, "verdict");
	char ms[BRIEF_TEXT_MAX];

	printf("roll %lld: %s after %s; ", (long long)number_of(last, "roll"),
	       strcmp(verdict, "rolled-back") == 0 ? "rolled back" : verdict,
	       duration_of(last, "ms", ms));
	if (strcmp(verdict, "rolled-back") == 0 && number_of(last, "ready") >= number_of(last, "wanted"))
		fputs("the old program serves on; ", stdout);
	printf("%lld of %lld ready\n", (long long)number_of(last, "ready"),
	       (long long)number_of(last, "wanted"));
	if (strcmp(verdict, "superseded") == 0)
		puts("another roll takes its place; to wait for that: clusterctl wait ready");
	if (text_of(last, "last_line")[0]) {
		printf("last words of slot %lld: ", (long long)number_of(last, "slot"));
		put_clean(stdout, text_of(last, "last_line"));
		putchar('\n');
	}
}

static void put_verdict(const struct ctl *ctl, json_t *last)
{
	if (text_of(last, "verdict")[0])
		put_roll(last);
	else if (json_object_get(last, "count"))
		printf("%s: sent to %lld worker%s\n", ctl->verb, (long long)number_of(last, "count"),
		       number_of(last, "count") == 1 ? "" : "s");
	else if (json_object_get(last, "status"))
		printf("%s: stopped, exit status %lld\n", ctl->shown, (long long)number_of(last, "status"));
	else if (json_object_get(last, "ready")) {
		printf("%s: done; %lld of %lld ready\n", ctl->verb, (long long)number_of(last, "ready"),
		       (long long)number_of(last, "wanted"));
		put_paused(last, stdout);
	} else
		printf("%s: %s\n", ctl->verb, ctl->dry_run ? "this was the plan; nothing was changed"
		                               : ctl->no_wait ? "begun" : "done");
}

static int detached(const struct ctl *ctl, bool heard, bool interrupted)
{
	const char *how = interrupted ? "detached" : "timed out";

	if (interrupted && strcmp(ctl->verb, "wait") != 0)
		putc('\n', stderr); /* behind the ^C */
	if (strcmp(ctl->verb, "wait") == 0)
		ctl_say("%s: %s: not %s yet; see: clusterctl status", ctl->shown, how, ctl->words[0]);
	else if (!heard)
		ctl_say("%s: %s without a word from clusterd, which may do it yet; see: clusterctl status", ctl->shown, how);
	else
		ctl_say("%s: %s; the %s goes on in clusterd; see: clusterctl status", ctl->shown, how,
		        ctl->verb);
	if (ctl->json)
		printf("{\"v\":1,\"ok\":false,\"code\":%d,\"error\":\"%s\",\"done\":true}\n", CTL_TIMEOUT, how);
	ctl_ended = true;
	return CTL_TIMEOUT;
}

/* clusterd replaces itself: the same pid answers again in a moment. */
static int connect_again(struct ctl *ctl)
{
	int fd, status;

	for (int i = 0; i < AGAIN_MS * 1000 / AGAIN_PAUSE_US && !ctl_interrupted; i++) {
		fd = ctl_connect(ctl, true, &status);
		if (fd >= 0)
			return fd;
		usleep(AGAIN_PAUSE_US);
	}
	return -1;
}

struct upgraded {
	const struct ctl *ctl;
	bool refused;
};

/* All that could be told before the new program was executed is that it would be. */
static void put_upgraded(void *context, json_t *line)
{
	struct upgraded *upgraded = context;
	const char *problem = text_of(line, "upgrade_problem");

	upgraded->refused = problem[0] != '\0';
	if (upgraded->refused)
		ctl_say("%s: %s; the clusterd that runs goes on", upgraded->ctl->shown, problem);
	if (upgraded->ctl->json) {
		put_json(line);
	} else if (!upgraded->refused)
		printf("upgraded: clusterd %s, pid %lld; the workers run on\n", text_of(line, "version"),
		       (long long)number_of(line, "pid"));
}

/* Asks clusterd when it is back, and again when that was yet another upgrade. As ctl_ask(). */
static int ask_again(struct ctl *ctl, struct question *question, ctl_line *line, void *context, json_t **ret_last)
{
	int r;

	do {
		question->fd = connect_again(ctl);
		if (question->fd < 0) {
			r = CTL_FAILED;
			break;
		}
		r = ctl_ask(question, line, context, ret_last);
		close(question->fd);
	} while (r == LINK_RECONNECT || r == LINK_AGAIN);
	if (r == CTL_FAILED)
		ctl_say("%s: clusterd did not come back; see its log, and: clusterctl status", ctl->shown);
	return r;
}

/*
 * What does no harm if it is asked for twice is; else what was under way is waited for. Ready can be said of
 * the old workers too, when a roll has failed.
 */
static const char *asked_again(const struct progress *progress, const char *request, char *text, size_t size)
{
	static const char *const harmless[] = { "wait", "drain" };

	for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
		if (strcmp(progress->ctl->verb, harmless[i]) == 0)
			return request;
	if (strcmp(progress->ctl->verb, "scale") == 0 && progress->scales) {
		snprintf(text, size, "wait scale %lld", progress->workers);
		return text;
	}
	if (strcmp(progress->ctl->verb, "reset") == 0 && progress->ctl->count > 0) {
		snprintf(text, size, "wait reset %s", progress->ctl->words[0]);
		return text;
	}
	if (progress->roll == 0)
		return strcmp(progress->ctl->verb, "reset") == 0 ? "wait reset" : "wait ready";
	snprintf(text, size, "wait roll %lld", progress->roll);
	return text;
}

/* After an upgrade: that was it, or the work that was under way has to be waited for anew. */
static int after_upgrade(struct ctl *ctl, struct progress *progress, const char *request)
{
	bool was_it = strcmp(ctl->verb, "upgrade") == 0;
	struct upgraded upgraded = { .ctl = ctl };
	char text[64];
	struct question question = {
		.request = was_it ? "version" : asked_again(progress, request, text, sizeof text),
		.limit_ms = ctl->timeout_ms,
		.raw = ctl->json && !was_it, /* that it could be asked is no verdict */
		.shown = ctl->shown,
	};
	json_t *last = NULL;
	int r = was_it ? ask_again(ctl, &question, put_upgraded, &upgraded, &last)
	               : ask_again(ctl, &question, on_line, progress, &last);

	if (r != 0)
		return r == CTL_FAILED ? CTL_FAILED : detached(ctl, true, r == -1);
	r = upgraded.refused ? CTL_FAILED : ctl_verdict(ctl, last);
	if (!was_it && !ctl->json && (r == CTL_DONE || text_of(last, "verdict")[0]))
		put_verdict(ctl, last);
	json_decref(last);
	return r;
}

static bool waits_for_the_end(const struct ctl *ctl)
{
	return strcmp(ctl->verb, "wait") == 0 && strcmp(ctl->words[0], "stopped") == 0;
}

/* One that ended before it was asked for has stopped all the same. */
static int not_connected(const struct ctl *ctl, int status)
{
	if (status == CTL_NOT_RUNNING && waits_for_the_end(ctl))
		return CTL_DONE;
	return status == CTL_CAN_NOT_TELL ? CTL_FAILED : status;
}

/* One that was killed says no word, and has stopped too. */
static int connection_lost(struct ctl *ctl)
{
	int status, fd;

	/* What it listened at may outlive our connection by a moment. */
	for (int i = 0; waits_for_the_end(ctl) && i < 50 && !ctl_interrupted; i++) {
		fd = ctl_connect(ctl, true, &status);
		if (fd < 0 && status == CTL_NOT_RUNNING)
			return CTL_DONE;
		if (fd >= 0)
			close(fd);
		usleep(AGAIN_PAUSE_US);
	}
	ctl_say("%s: clusterd ended or the connection was lost", ctl->shown);
	return CTL_FAILED;
}

int run_work(struct ctl *ctl)
{
	struct progress progress = { .ctl = ctl };
	char request[4096];
	struct question question = {
		.request = request,
		.limit_ms = ctl->timeout_ms,
		.raw = ctl->json,
		.shown = ctl->shown,
	};
	json_t *last = NULL;
	int status, r;

	question.fd = ctl_connect(ctl, false, &status);
	if (question.fd < 0)
		return not_connected(ctl, status);
	ctl_request(ctl, request, sizeof request);
	r = ctl_ask(&question, on_line, &progress, &last);
	close(question.fd);
	if (r == LINK_AGAIN)
		return run_work(ctl);
	if (r == LINK_RECONNECT)
		return after_upgrade(ctl, &progress, request);
	if (r == CTL_TIMEOUT || r == -1)
		return detached(ctl, progress.heard, r == -1);
	if (r != 0)
		return connection_lost(ctl);
	r = ctl_verdict(ctl, last);
	if (!ctl->json && (r == CTL_DONE || text_of(last, "verdict")[0]))
		put_verdict(ctl, last);
	json_decref(last);
	return r;
}
