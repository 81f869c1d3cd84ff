/*
 * A pool driven by a script that reads like a story, compared with what the pool does.
 *
 *   "EVENT > ACTION, ACTION; EVENT > ACTION"
 *
 * Events   start N, spawned C, unspawned C ERRNO [permanent], ready C, end C CODE (or -SIGNAL),
 *          at MS (the clock, and a tick), scale N, roll G, restart S, drain S, kill S, reset S,
 *          stop, quit, stopping C, extend C MS, ping C, sick C, big C, skip MS; S may be `all`
 * Actions  spawn SLOT#COOKIE[gGENERATION], term #C, abrt #C, kill #C (kill! = the group),
 *          +SLOT and -SLOT (steering), move S, gone S, up, generation G, exit STATUS, and the
 *          reports: died #C NEXT [DELAY] (unasked: by itself, but it is replaced anyway), error S
 * NEXT [DELAY], giveup S NEXT, escalate #C, unkillable #C, recycle #C, big #C DELAY (not yet
 * recycled again), drained S, try S N (a replacement failed), rolled VERDICT
 */
#ifndef CLUSTERD_TESTS_UNIT_CORE_PLAY_H
#define CLUSTERD_TESTS_UNIT_CORE_PLAY_H

#include <stdarg.h>
#include <stdio.h>

#include "supervisor/core/pool_impl.h"
#include "tests/unit/core_policy.h"

struct play {
	struct policy *policy;
	struct pool *pool;
	uint64_t now_ms;
	char did[4096];
};

static const char *const play_next[] = { "respawn", "retire", "exit", "none" };
static const char *const play_verdicts[] = { "done", "back", "failed", "superseded", "stopped" };

static inline void play_say(struct play *play, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline void play_say(struct play *play, const char *format, ...)
{
	size_t at = strlen(play->did);
	va_list values;

	if (at > 0)
		at += (size_t)snprintf(play->did + at, sizeof(play->did) - at, ", ");
	va_start(values, format);
	vsnprintf(play->did + at, sizeof(play->did) - at, format, values);
	va_end(values);
}

static inline void play_report(struct play *play, const struct report *r)
{
	char delay[32] = "";

	if (r->delay_ms)
		snprintf(delay, sizeof(delay), " %llu", (unsigned long long)r->delay_ms);
	switch (r->what) {
	case REPORT_EXIT:
		play_say(play, "died #%u %s%s", r->cookie,
			 r->why == WHY_SPARE ? "unasked" : play_next[r->next],
			 delay);
		break;
	case REPORT_SPAWN_ERROR:
		play_say(play, "error %u %s%s", r->slot, play_next[r->next], delay);
		break;
	case REPORT_GIVE_UP: play_say(play, "giveup %d %s", (int)r->slot, play_next[r->next]); break;
	case REPORT_ESCALATE: play_say(play, "escalate #%u", r->cookie); break;
	case REPORT_UNKILLABLE: play_say(play, "unkillable #%u", r->cookie); break;
	case REPORT_RECYCLE: play_say(play, "recycle #%u", r->cookie); break;
	case REPORT_RECYCLE_HELD:
		play_say(play, "big #%u %llu", r->cookie, (unsigned long long)r->delay_ms);
		break;
	case REPORT_DRAINED: play_say(play, "drained %u", r->slot); break;
	case REPORT_ROLL_END: play_say(play, "rolled %s", play_verdicts[r->verdict]); break;
	case REPORT_ROLL_SLOT:
		if (!r->ok)
			play_say(play, "try %u %u", r->slot, r->count);
		break;
	case REPORT_ROLL_BACK: play_say(play, r->ok ? "back %u" : "no way back %u", r->slot); break;
	case REPORT_READY:
	case REPORT_STOP:
	case REPORT_ROLL_BEGIN:
	case REPORT_SCALE: break;
	}
}

static inline void play_signal(struct play *play, const struct action *a)
{
	const char *name = a->signal == SIGKILL ? "kill" : a->signal == SIGABRT ? "abrt" : "term";

	ck_assert_int_eq(a->cont, a->signal != SIGKILL);
	play_say(play, "%s%s #%u", name, a->group ? "!" : "", a->cookie);
}

static inline void play_sink(void *context, const struct action *a)
{
	struct play *play = context;

	switch (a->what) {
	case ACT_SPAWN:
		if (a->generation == 1)
			play_say(play, "spawn %u#%u", a->slot, a->cookie);
		else
			play_say(play, "spawn %u#%ug%u", a->slot, a->cookie, a->generation);
		break;
	case ACT_SIGNAL: play_signal(play, a); break;
	case ACT_STEER: play_say(play, "%c%u", a->on ? '+' : '-', a->slot); break;
	case ACT_MOVE: play_say(play, "move %u", a->slot); break;
	case ACT_SLOT_GONE: play_say(play, "gone %u", a->slot); break;
	case ACT_UP: play_say(play, "up"); break;
	case ACT_GENERATION: play_say(play, "generation %u", a->generation); break;
	case ACT_EXIT: play_say(play, "exit %d", a->status); break;
	case ACT_REPORT: play_report(play, &a->report); break;
	}
}

static inline void play_begin(struct play *play, const char *policy, uint32_t slots,
			      uint32_t instances)
{
	*play = (struct play){ .policy = policy_with(policy), .now_ms = 1 };
	play->pool = pool_init(malloc(pool_size(slots, instances)), slots, instances, play->policy,
			       1, 1);
}

static inline void play_end(struct play *play)
{
	free(play->pool);
	free(play->policy);
}

static const struct play_word {
	const char *word;
	enum event_what what;
	char first;  /* c cookie, s slot, n count, g generation, d delay, - nothing */
	char second; /* e end, d delay, r errno */
	struct event event;
} play_words[] = {
	/* clang-format off */
	{ "start",     EV_START,        'n', 0,   { .slot = 0 } },
	{ "spawned",   EV_SPAWNED,      'c', 0,   { .slot = 0 } },
	{ "unspawned", EV_SPAWN_FAILED, 'c', 'r', { .slot = 0 } },
	{ "ready",     EV_READY,        'c', 0,   { .slot = 0 } },
	{ "end",       EV_ENDED,        'c', 'e', { .slot = 0 } },
	{ "at",        EV_TICK,         't', 0,   { .slot = 0 } },
	{ "scale",     EV_SCALE,        'n', 0,   { .slot = 0 } },
	{ "roll",      EV_ROLL,         'g', 0,   { .slot = ALL_SLOTS } },
	{ "restart",   EV_ROLL,         's', 0,   { .slot = 0 } },
	{ "drain",     EV_DRAIN,        's', 0,   { .slot = 0 } },
	{ "kill",      EV_KILL,         's', 0,   { .slot = 0 } },
	{ "reset",     EV_RESET,        's', 0,   { .slot = 0 } },
	{ "stop",      EV_STOP,         '-', 0,   { .slot = 0 } },
	{ "quit",      EV_STOP,         '-', 0,   { .fast = true } },
	{ "stopping",  EV_STOPPING,     'c', 0,   { .slot = 0 } },
	{ "extend",    EV_EXTEND,       'c', 'd', { .slot = 0 } },
	{ "ping",      EV_PING,         'c', 0,   { .slot = 0 } },
	{ "sick",      EV_UNHEALTHY,    'c', 0,   { .cause = END_HUNG } },
	{ "big",       EV_RECYCLE,      'c', 0,   { .cause = END_RSS } },
	{ "skip",      EV_SKIPPED,      'd', 0,   { .slot = 0 } },
	/* clang-format on */
};

static inline void play_first(struct play *play, struct event *event, char kind, long value,
			      bool all)
{
	uint32_t number = all ? ALL_SLOTS : (uint32_t)value;

	switch (kind) {
	case 'c': event->cookie = number; break;
	case 's': event->slot = number; break;
	case 'n': event->count = number; break;
	case 'g': event->generation = number; break;
	case 'd': event->delay_ms = number; break;
	case 't': play->now_ms = number; break;
	default: break;
	}
}

static inline void play_step(struct play *play, const char *text)
{
	char word[32] = "", first[32] = "", third[32] = "";
	long second = 0;
	struct event event;
	size_t n = 0;

	sscanf(text, "%31s %31s %ld %31s", word, first, &second, third);
	while (n < sizeof(play_words) / sizeof(play_words[0]) &&
	       strcmp(play_words[n].word, word) != 0)
		n++;
	ck_assert_msg(n < sizeof(play_words) / sizeof(play_words[0]), "no event %s", word);
	event = play_words[n].event;
	event.what = play_words[n].what;
	play_first(play, &event, play_words[n].first, strtol(first, NULL, 10),
		   strcmp(first, "all") == 0);
	if (play_words[n].second == 'd')
		event.delay_ms = (uint64_t)second;
	if (play_words[n].second == 'r')
		event.error = (int)second;
	if (play_words[n].second == 'e')
		event.end = (struct ended){ .code = second < 0 ? 0 : (int)second,
					    .signal = second < 0 ? (int)-second : 0 };
	event.permanent = strcmp(third, "permanent") == 0;
	play->did[0] = '\0';
	pool_step(play->pool, play->now_ms, &event, play_sink, play);
	ck_assert_msg(pool_valid(play->pool), "after %s the pool is not valid", text);
}

/* Plays the script; a step without `>` may do anything, one with it exactly that. */
static inline void play(struct play *play, const char *script)
{
	char copy[4096], *rest = copy;

	ck_assert_uint_lt(strlen(script), sizeof(copy));
	strcpy(copy, script);
	for (char *step = strtok_r(copy, ";", &rest); step; step = strtok_r(NULL, ";", &rest)) {
		char *expected = strchr(step, '>');

		if (expected)
			*expected++ = '\0';
		if (strspn(step, " ") == strlen(step))
			continue;
		play_step(play, step);
		while (expected && *expected == ' ')
			expected++;
		if (expected)
			ck_assert_msg(strcmp(play->did, expected) == 0,
				      "%s\n  expected: %s\n  did:      %s", step, expected,
				      play->did);
	}
}

struct story {
	const char *what;
	const char *policy;
	uint32_t instances;
	const char *script;
};

static inline void play_story(const struct story *story)
{
	struct play p;

	play_begin(&p, story->policy, 4, story->instances ? story->instances : 16);
	play(&p, story->script);
	play_end(&p);
}

#endif
