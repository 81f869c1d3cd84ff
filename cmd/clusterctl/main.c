#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/clusterctl/ctl.h"
#include "config/keys.h"
#include "supervisor/core/proto.h"
#include "supervisor/os/inherit.h"

static const struct verb {
	const char *word, *arguments, *help;
	unsigned min, max;
	int (*run)(struct ctl *ctl);
} verbs[] = {
#define VERB(id, word, arguments, min, max, run, help)                                             \
	{ word, arguments, help, min, max, run_##run },
#include "cmd/clusterctl/verbs.def"
#undef VERB
};

enum { VERBS = sizeof verbs / sizeof *verbs, HELP_COLUMN = 26, HELP_WIDTH = 79 };

static const char *const option_help[][4] = {
#define OPT(letter, name, argument, field, kind, help) { letter, name, argument, help },
#include "cmd/clusterctl/options.def"
#undef OPT
};

/* As many whole words as fit; of a longer word, a piece. */
static int fitting(const char *text, int room)
{
	int size = (int)strlen(text);

	if (size <= room)
		return size;
	for (size = room; size > 0 && text[size] != ' '; size--)
		;
	return size > 0 ? size : room;
}

/* What it is called, and from HELP_COLUMN on what it does. */
static void put_row(const char *name, const char *help)
{
	int column = printf("  %s", name);

	if (column >= HELP_COLUMN) {
		putchar('\n');
		column = 0;
	}
	while (*help) {
		int size = fitting(help, HELP_WIDTH - HELP_COLUMN);

		printf("%*s%.*s\n", HELP_COLUMN - column, "", size, help);
		help += size + (help[size] == ' ');
		column = 0;
	}
}

static void put_help(void)
{
	char text[64];

	puts("clusterctl [options] VERB [argument ...]\n\n"
	     "  clusterctl status            how the cluster does\n"
	     "  clusterctl roll              replace the workers without losing a request\n");
	for (size_t i = 0; i < VERBS; i++) {
		snprintf(text, sizeof text, "%s %s", verbs[i].word, verbs[i].arguments);
		put_row(text, verbs[i].help);
	}
	puts("\nOptions:");
	for (size_t i = 0; i < sizeof option_help / sizeof *option_help; i++) {
		const char *const *o = option_help[i];

		snprintf(text, sizeof text, "%s%s%s--%s%s%s", o[0][0] ? "-" : "", o[0],
		         o[0][0] ? ", " : "    ", o[1], o[2][0] ? " " : "", o[2]);
		put_row(text, o[3]);
	}
	puts("\nExit status: 0 done; 1 failed, rolled back or degraded; 3 not running;\n"
	     "4 can not tell; 64 usage; 75 timed out while the work goes on.\n"
	     "More: man 1 clusterctl; when it goes wrong: man 7 clusterd-runbook");
}

int run_help(struct ctl *ctl)
{
	(void)ctl;
	put_help();
	return CTL_DONE;
}

bool ctl_draws(void)
{
	const char *term = getenv("TERM");

	return term && *term && strcmp(term, "dumb") != 0;
}

/* --color, NO_COLOR, CLICOLOR_FORCE, terminal: the first that says something counts. */
static bool want_paint(const struct ctl *ctl)
{
	const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");

	if (ctl->color && strcmp(ctl->color, "auto") != 0)
		return strcmp(ctl->color, "always") == 0;
	if (no && *no)
		return false;
	if (force && *force && strcmp(force, "0") != 0)
		return true;
	return ctl->terminal && ctl_draws();
}

static int set_output(struct ctl *ctl)
{
	struct winsize size = { 0 };
	const char *when = ctl->color ? ctl->color : "auto";
	uint32_t width = 0;

	if (strcmp(when, "auto") != 0 && strcmp(when, "always") != 0 && strcmp(when, "never") != 0) {
		ctl_say("clusterctl: --color %s: auto, always or never", when);
		return CTL_USAGE;
	}
	if (ctl->width && !proto_number(ctl->width, 10000, &width)) {
		ctl_say("clusterctl: --width %s: a number of columns up to 10000; 0 is no limit", ctl->width);
		return CTL_USAGE;
	}
	ctl->terminal = isatty(1);
	ctl->paint = want_paint(ctl);
	if (ctl->terminal && ioctl(1, TIOCGWINSZ, &size) == 0) {
		ctl->columns = size.ws_col;
		ctl->height = size.ws_row;
	}
	if (ctl->width)
		ctl->columns = (int)width;
	return 0;
}

static void on_signal(int number)
{
	(void)number;
	ctl_interrupted = 1;
}

static void set_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static const struct verb *verb_find(const char *word)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i].word, word) == 0)
			return &verbs[i];
	return NULL;
}

static int no_verb(const char *word)
{
	struct suggestion near = { .word = word };

	for (size_t i = 0; i < VERBS; i++)
		suggest(&near, verbs[i].word);
	if (near.best)
		ctl_say("clusterctl: there is no verb %s (did you mean %s?)", word, near.best);
	else
		ctl_say("clusterctl: there is no verb %s; see: clusterctl --help", word);
	return CTL_USAGE;
}

static int run(struct ctl *ctl)
{
	const struct verb *verb;
	int r;

	if (!ctl->verb) {
		ctl_say("clusterctl: what shall be done? see: clusterctl --help");
		return CTL_USAGE;
	}
	verb = verb_find(ctl->verb);
	if (!verb)
		return no_verb(ctl->verb);
	if (ctl->count < verb->min || ctl->count > verb->max) {
		ctl_say("usage: clusterctl %s%s%s", verb->word, verb->arguments[0] ? " " : "",
		        verb->arguments);
		return CTL_USAGE;
	}
	r = ctl_check(ctl, verb->arguments);
	return r ? r : verb->run(ctl);
}

/* What is behind "web: " of a line on standard error. */
static const char *behind_name(const struct ctl *ctl, const char *text)
{
	const char *name = ctl->shown[0] ? ctl->shown : "clusterctl";
	size_t length = strlen(name);

	return strncmp(text, name, length) == 0 && strncmp(text + length, ": ", 2) == 0 ? text + length + 2 : text;
}

/* Of clusterd there was none: it was not there, went away, or its answer is not the verdict. */
static void put_last(const struct ctl *ctl, int status)
{
	const char *error = ctl_said()[0] ? behind_name(ctl, ctl_said()) : "timed out";
	json_t *line = status == CTL_DONE
	                   ? json_pack("{s:i, s:b, s:b}", "v", 1, "ok", 1, "done", 1)
	                   : json_pack("{s:i, s:i, s:s, s:b, s:b}", "v", 1, "code", status, "error", error, "ok", 0, "done", 1);

	put_json(line);
	json_decref(line);
}

static bool has_last(const struct ctl *ctl)
{
	return strcmp(ctl->verb, "list") != 0 && strcmp(ctl->verb, "help") != 0;
}

int main(int argc, char **argv)
{
	struct ctl ctl;
	int r;

	inherit_standard();
	r = ctl_options(argc, argv, &ctl);
	if (r == 0)
		r = set_output(&ctl);
	if (r)
		return r;
	if (ctl.help) {
		put_help();
		return CTL_DONE;
	}
	if (ctl.version) {
		printf("clusterctl %s\n", CLUSTERD_VERSION);
		return CTL_DONE;
	}
	set_signals();
	r = run(&ctl);
	if (ctl.json && !ctl_ended && ctl.verb && has_last(&ctl))
		put_last(&ctl, r);
	if (fflush(stdout) == EOF)
		ctl_say("clusterctl: standard output: %s", strerror(errno));
	else if (ferror(stdout))
		ctl_say("clusterctl: standard output: not all of it could be written");
	else
		return r;
	return CTL_FAILED;
}
