#include "supervisor/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/keys.h"
#include "config/rules.h"
#include "config/signals.h"
#include "supervisor/core/brief.h"
#include "supervisor/core/names.h"

struct text {
	char *at;
	size_t room;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text->at, text->room, format, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t)length >= text->room)
		length = text->room > 0 ? (int)text->room - 1 : 0;
	text->at += length;
	text->room -= (size_t)length;
}

/* What made us end it, where that tells more than its exit status. */
static const char *cause_words(int cause)
{
	switch (cause) {
	case END_TIMEOUT: return "not ready in time";
	case END_WATCHDOG: return "watchdog: silent, or WATCHDOG=trigger";
	case END_HEALTH: return "failed its health checks";
	case END_HUNG: return "hung, or STOPPING=1 without an end";
	default: return NULL;
	}
}

const char *explain_hung(int cause, bool said_stopping)
{
	if (cause == END_HUNG)
		return said_stopping ? "it said STOPPING=1 and has not ended" : "it takes no connections";
	if (cause == END_WATCHDOG)
		return "no WATCHDOG=1 in time, or WATCHDOG=trigger";
	return cause == END_HEALTH ? cause_words(cause) : NULL;
}

void explain_end(const struct end_record *end, char *buffer, size_t size)
{
	struct text text = { buffer, size };
	char signal[SIGNAL_TEXT_MAX];
	const char *cause = cause_words(end->cause);

	if (end->signal)
		say(&text, "%s", signal_name(end->signal, signal));
	else
		say(&text, "exit %d", end->code);
	if (end->core)
		say(&text, ", core dumped");
	if (end->oom)
		say(&text, ", out of memory");
	if (cause)
		say(&text, " (%s)", cause);
}

static const char *asked_words(int cause)
{
	switch (cause) {
	case END_ROLL: return "it was replaced by a roll or a restart";
	case END_SCALE: return "the cluster was scaled down";
	case END_DRAIN: return "the slot was drained";
	case END_KILL: return "an operator killed it";
	case END_STOP: return "the cluster stops";
	default: return "clusterd ended it";
	}
}

/* Without its limit if that is not known any more. */
static void say_recycle(struct text *text, const struct policy *p, const struct end_record *end)
{
	char limit[BRIEF_TEXT_MAX] = "", most[BRIEF_TEXT_MAX];

	if (end->cause == END_LIFETIME) {
		if (p)
			brief_duration(p->recycle_max_lifetime, limit);
		say(text, "[recycle] max_lifetime%s%s, less its jitter, was reached", p ? " " : "", limit);
		return;
	}
	if (p)
		brief_size(p->recycle_max_rss / 1024, limit);
	say(text, "[recycle] max_rss%s%s was passed (%s at the most)", p ? " " : "", limit,
	    brief_size(end->max_rss_kb, most));
}

static void say_asked(struct text *text, const struct policy *p, const struct end_record *end)
{
	if (end->cause == END_RSS || end->cause == END_LIFETIME)
		say_recycle(text, p, end);
	else
		say(text, "%s", asked_words(end->cause));
}

static const char *word_of(const struct type *type, int value)
{
	return type->words ? type->words[value] : "?";
}

static void say_rule(struct text *text, const struct policy *p, const struct end_record *end)
{
	const struct exit_rule *rule;
	char word[RULE_TEXT_MAX];

	if (end->rule == 0 || end->rule > p->rule_count) {
		say(text, "a rule that the policy no longer has decided");
		return;
	}
	rule = &p->rules[end->rule - 1];
	rule_format(rule, word);
	say(text, "[exit %s] says %s", word, word_of(&type_exit_action, (int)rule->action));
}

static void say_delay(struct text *text, const struct policy *p)
{
	char delay[BRIEF_TEXT_MAX], max[BRIEF_TEXT_MAX];

	say(text, "[restart] delay %s doubles up to %s",
	    brief_duration(p->restart_delay, delay), brief_duration(p->restart_delay_max, max));
}

static void say_backoff(struct text *text, const struct policy *p, const struct end_record *end)
{
	char stable[BRIEF_TEXT_MAX];

	say(text, "short life number %u in a row (under [restart] stable %s), and ", end->streak,
	    brief_duration(p->restart_stable, stable));
	say_delay(text, p);
}

/* Servers love to do that, and then serve on where nobody looks after them. */
static void say_background(struct text *text, const struct end_record *end)
{
	if (end->why == WHY_BACKOFF && end->streak > 1 && end->signal == 0 && end->code == 0 && end->cause == END_SELF)
		say(text, ". A program that puts itself into the background must be told to stay in the foreground");
}

static void say_burst(struct text *text, const struct policy *p, bool whole)
{
	char window[BRIEF_TEXT_MAX];

	say(text, "[restart] %s %u respawns in %s are used up, and give_up says %s",
	    whole ? "cluster_burst" : "burst",
	    whole ? p->restart_cluster_burst : p->restart_burst,
	    brief_duration(p->restart_window, window),
	    word_of(&type_give_up, (int)p->restart_give_up));
}

/* What the policy said then is not known any more. */
static bool say_former(struct text *text, const struct end_record *end)
{
	static const char *const rules[WHYS] = {
		[WHY_STABLE] = "it had lived at least [restart] stable",
		[WHY_BACKOFF] = "[restart] delay grows with each short life",
		[WHY_POLICY] = "[restart] when did not cover such an end",
		[WHY_RULE] = "an [exit RULE] decided",
		[WHY_BURST] = "[restart] burst was used up",
		[WHY_CLUSTER_BURST] = "[restart] cluster_burst was used up",
		[WHY_ROLL] = "a roll counted it as a failed try",
	};

	if (end->why >= WHYS || !rules[end->why])
		return false;
	if (end->why == WHY_BACKOFF)
		say(text, "short life number %u in a row, and ", end->streak);
	say(text, "%s, by the policy of that time", rules[end->why]);
	return true;
}

static void say_reason(struct text *text, const struct policy *p, const struct end_record *end)
{
	char stable[BRIEF_TEXT_MAX];

	switch ((enum why)end->why) {
	case WHY_ASKED: say_asked(text, p, end); break;
	case WHY_STABLE:
		say(text, "it had lived at least [restart] stable %s",
		    brief_duration(p->restart_stable, stable));
		break;
	case WHY_BACKOFF: say_backoff(text, p, end); break;
	case WHY_POLICY:
		say(text, "[restart] when = %s does not cover such an end",
		    word_of(&type_restart, (int)p->restart_when));
		break;
	case WHY_RULE: say_rule(text, p, end); break;
	case WHY_BURST: say_burst(text, p, false); break;
	case WHY_CLUSTER_BURST: say_burst(text, p, true); break;
	case WHY_BOOT:
		say(text, "no worker was ever ready and every slot has failed %d times", BOOT_FAILURES);
		break;
	case WHY_SPAWN: say(text, "the program could not be executed"); break;
	case WHY_FINISHED: say(text, "every slot is retired"); break;
	case WHY_REQUEST: say(text, "an operator asked for it"); break;
	/* A replacement that has failed, or one whose replacement was ready. */
	case WHY_SPARE: say(text, "another worker has its slot"); break;
	case WHY_ROLL:
		say(text, "it was new in a roll and lived less than [restart] stable %s, which is a failed try and "
		          "neither retires the slot nor ends the cluster",
		    brief_duration(p->restart_stable, stable));
		break;
	case WHYS:
	default: say(text, "unknown reason"); break;
	}
}

static void say_next(struct text *text, const struct end_record *end, bool is_due)
{
	char delay[BRIEF_TEXT_MAX];

	switch ((enum next_action)end->next) {
	case NEXT_RESPAWN:
		if (end->delay_ms == 0)
			say(text, "so it was respawned at once");
		else
			say(text, "so the respawn %s after %s", is_due ? "comes" : "was due",
			    brief_duration(end->delay_ms, delay));
		break;
	case NEXT_RETIRE: say(text, "so the slot stays empty"); break;
	case NEXT_EXIT: say(text, "so the cluster ends"); break;
	case NEXT_NONE: say(text, "so nothing had to follow"); break;
	case NEXT_ACTIONS:
	default: break;
	}
}

void explain_decision(const struct policy *policy, uint32_t slot, const struct end_record *end,
                      bool is_due, char *buffer, size_t size)
{
	struct text text = { buffer, size };
	char how[128], lived[BRIEF_TEXT_MAX];

	explain_end(end, how, sizeof how);
	say(&text, "worker %u (pid %d) %s: %s after %s; ", slot, end->pid,
	    end->asked ? "ended as asked" : "died", how, brief_duration(end->lived_ms, lived));
	if (policy || !say_former(&text, end))
		say_reason(&text, policy, end);
	say(&text, ", ");
	say_next(&text, end, is_due);
	say_background(&text, end);
}

void explain_unspawned(const struct policy *policy, const struct end_record *decision, char *buffer, size_t size)
{
	struct text text = { buffer, size };

	if (decision->why == WHY_SPAWN)
		say_delay(&text, policy);
	else
		say_reason(&text, policy, decision);
	say(&text, ", ");
	say_next(&text, decision, true);
}
