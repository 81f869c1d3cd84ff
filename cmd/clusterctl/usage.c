/*
 * What is wrong with a command line can be told before a cluster is looked for. clusterd judges the
 * same request again, for whatever else writes to its socket.
 */
#include <string.h>

#include "cmd/clusterctl/ctl.h"
#include "config/policy.h"
#include "config/signals.h"
#include "supervisor/core/proto.h"

static bool is_state(const char *word)
{
	return strcmp(word, "ready") == 0 || strcmp(word, "stopped") == 0;
}

/* Whether +N or -N is too much depends on how many there are. */
static bool is_count(const char *word)
{
	uint32_t count;

	return proto_number(word + (*word == '+' || *word == '-'), WORKERS_MAX, &count);
}

static bool is_slot(const char *word)
{
	uint32_t slot;

	return proto_number(word, UINT32_MAX - 1, &slot);
}

static bool is_slot_or_all(const char *word)
{
	return strcmp(word, "all") == 0 || is_slot(word);
}

static bool is_signal(const char *word)
{
	return signal_number(word) > 0;
}

/* What an argument in verbs.def may be. */
static const struct {
	const char *arguments;
	bool (*first)(const char *word), (*second)(const char *word);
	const char *needed;
} rules[] = {
	{ "ready|stopped", is_state, NULL, "ready or stopped is needed" },
	{ "N|+N|-N", is_count, NULL, "N, +N or -N is needed, and N is 0 (paused) to 16384" },
	{ "SLOT", is_slot, NULL, "the number of a slot is needed; see: clusterctl status" },
	{ "SLOT|all", is_slot_or_all, NULL, "the number of a slot or all is needed" },
	{ "[SLOT]", is_slot_or_all, NULL, "the number of a slot is needed; see: clusterctl status" },
	{ "SIGNAL [SLOT]", is_signal, is_slot_or_all,
	  "a signal such as HUP, SIGUSR1 or 10 is needed, and then the number of a slot or nothing" },
};

static int check_words(const struct ctl *ctl, const char *arguments)
{
	const char *wrong = NULL;

	_Static_assert(WORKERS_MAX == 16384, "the text says 16384");
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		if (strcmp(rules[i].arguments, arguments) != 0)
			continue;
		if (ctl->count > 0 && !rules[i].first(ctl->words[0]))
			wrong = ctl->words[0];
		else if (ctl->count > 1 && !rules[i].second(ctl->words[1]))
			wrong = ctl->words[1];
		if (!wrong)
			return 0;
		ctl_say("clusterctl: %s %s: %s", ctl->verb, wrong, rules[i].needed);
		return CTL_USAGE;
	}
	return 0;
}

/* Options of clusterd: does the request know them? Verbs that are no request look like `status`. */
static int check_request(const struct ctl *ctl)
{
	struct ctl copy = *ctl;
	struct request request;
	const char *problem = "";
	char text[REQUEST_LINE_MAX];

	if (strcmp(ctl->verb, "top") == 0 || strcmp(ctl->verb, "list") == 0 ||
	    strcmp(ctl->verb, "is-ready") == 0 || strcmp(ctl->verb, "help") == 0)
		copy.verb = "status";
	ctl_request(&copy, text, sizeof text);
	if (request_parse(text, strlen(text), &request, &problem) == 0)
		return 0;
	ctl_say("clusterctl: %s: %s; see: clusterctl --help", ctl->verb, problem);
	return CTL_USAGE;
}

/* Is the verb one of "events, logs"? */
static bool is_one_of(const char *verb, const char *verbs, size_t size)
{
	size_t length = strlen(verb);

	for (const char *at = verbs; at + length <= verbs + size; at++)
		if ((at == verbs || at[-1] == ' ') && memcmp(at, verb, length) == 0 &&
		    (at + length == verbs + size || at[length] == ','))
			return true;
	return false;
}

/* The verbs that an option is for stand before the colon of its help; without one it is for many. */
static int check_verbs(const struct ctl *ctl)
{
	const struct {
		const char *name, *help;
		bool given;
	} options[] = {
#define OPT(letter, name, argument, field, kind, help) { name, help, ctl->field != 0 },
#include "cmd/clusterctl/options.def"
#undef OPT
	};

	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		const char *colon = strstr(options[i].help, ": ");
		size_t size = colon ? (size_t)(colon - options[i].help) : 0;

		if (!options[i].given || !colon || is_one_of(ctl->verb, options[i].help, size))
			continue;
		ctl_say("clusterctl: %s: --%s is for %.*s", ctl->verb, options[i].name, (int)size,
		        options[i].help);
		return CTL_USAGE;
	}
	return 0;
}

static int check_last(const struct ctl *ctl)
{
	uint32_t last = 1;

	if (ctl->last && (!proto_number(ctl->last, UINT32_MAX - 1, &last) || last == 0)) {
		ctl_say("clusterctl: --last %s: a number from 1 on is needed", ctl->last);
		return CTL_USAGE;
	}
	return 0;
}

int ctl_check(const struct ctl *ctl, const char *arguments)
{
	int r = check_words(ctl, arguments);

	if (r == 0)
		r = check_verbs(ctl);
	if (r == 0)
		r = check_last(ctl);
	return r ? r : check_request(ctl);
}
