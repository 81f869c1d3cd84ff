#include "tests/unit/core_play.h"
#include "tests/unit/suite.h"

/* No jitter at 3 ms; notify, so that only `ready` makes ready. */
#define QUIET "restart.delay=3ms ready.when=notify "
#define TWO_READY                                                                         \
	"start 2 > spawn 0#1, spawn 1#2; spawned 1 > ; spawned 2 > ; ready 1 > +0; "      \
	"ready 2 > +1, up; "

/* clang-format off */
static const struct story stories[] = {
	{ "the first start", QUIET, 0, TWO_READY },
	{ "auto: alive for `after` is ready, and READY=1 is", "", 0,
	  "start 2; spawned 1; spawned 2; ready 2 > +1; at 1000 > ; at 1001 > +0, up" },
	{ "alive: READY=1 means nothing", "ready.when=alive", 0,
	  "start 1; spawned 1; ready 1 > ; at 1001 > +0, up" },
	{ "alive after 0: ready when spawned", "ready.when=alive ready.after=0", 0,
	  "start 1; spawned 1 > +0, up" },
	{ "ready twice, after stopping, after death: no state change (E10)", QUIET, 0,
	  TWO_READY "ready 1 > ; stopping 1 > -0, move 0; ready 1 > ; end 1 0; ready 1 > ; spawned 1 > ; end 1 0 > " },
	{ "up: one is ready and the other has failed at least once", QUIET, 0,
	  "start 2; spawned 1; spawned 2; ready 1 > +0; end 2 1 > died #2 respawn 3, up" },
	{ "not ready in time: stopped, a failed start (E1)", QUIET "ready.timeout=1s", 0,
	  "start 2; spawned 1; spawned 2; ready 1; at 1000 > ; at 1001 > term #2; "
	  "end 2 -15 > died #2 respawn 3, up" },
	{ "EXTEND moves the start deadline, never to earlier (E2)", QUIET "ready.timeout=1s", 0,
	  "start 1; spawned 1; extend 1 5000 > ; extend 1 10 > ; at 5000 > ; at 5001 > term #1" },
	{ "a crash: respawn after the backoff, doubled", QUIET, 0,
	  TWO_READY "end 1 1 > -0, move 0, died #1 respawn 3; at 3 > ; at 4 > spawn 0#3; spawned 3; "
	  "end 3 1 > died #3 respawn 6; at 9 > ; at 10 > spawn 0#4" },
	{ "a stable life: respawn at once", QUIET "restart.stable=10s", 0,
	  TWO_READY "at 10001 > ; end 1 1 > -0, move 0, died #1 respawn, spawn 0#3" },
	{ "the last ready worker: nobody to move its queue to", QUIET, 0,
	  "start 1; spawned 1; ready 1; end 1 1 > -0, died #1 respawn 3" },
	{ "burst = 1, hold: held until the window has room", QUIET "restart.burst=1 restart.window=20s restart.delay_max=1s", 0,
	  TWO_READY "end 1 1; at 4 > spawn 0#3; spawned 3; end 3 1 > died #3 respawn 20000, giveup 0 respawn; "
	  "at 20003 > ; at 20004 > spawn 0#4; spawned 4; end 4 1 > died #4 respawn 20000, giveup 0 respawn; "
	  "reset 0 > spawn 0#5" },
	{ "burst, retire, and a reset brings it back (C10)", QUIET "restart.burst=1 restart.give_up=retire", 0,
	  TWO_READY "end 1 1; at 4 > spawn 0#3; spawned 3; end 3 1 > died #3 retire, giveup 0 retire; "
	  "at 999 > ; reset 0 > spawn 0#4; spawned 4; end 4 1 > died #4 respawn 3" },
	{ "burst, exit: everything stops, status 69", QUIET "restart.burst=1 restart.give_up=exit", 0,
	  TWO_READY "end 1 1; at 4 > spawn 0#3; spawned 3; end 3 1 > died #3 exit, giveup 0 exit, -1, term #2; "
	  "end 2 0 > died #2 none, exit 69" },
	{ "cluster_burst counts all slots", QUIET "restart.cluster_burst=1 restart.give_up=retire", 0,
	  TWO_READY "end 1 1; at 4 > spawn 0#3; end 2 1 > -1, died #2 retire, giveup 1 retire" },
	{ "cluster_burst is judged again when the respawn is due", QUIET "restart.cluster_burst=1 restart.give_up=retire", 0,
	  TWO_READY "end 1 1 > -0, move 0, died #1 respawn 3; end 2 1 > -1, died #2 respawn 3; "
	  "at 4 > spawn 0#3, giveup 1 retire" },
	{ "operator starts do not count (C5)", QUIET "restart.burst=1 restart.give_up=retire", 0,
	  TWO_READY "kill 0 > -0, move 0, kill! #1; end 1 -9 > died #1 respawn, spawn 0#3; spawned 3; "
	  "kill 0 > kill! #3; end 3 -9 > died #3 respawn, spawn 0#4; spawned 4; end 4 1 > died #4 respawn 3" },
	{ "a retired slot, and when all are: the end, 0 if all ended well", QUIET "restart.when=on-failure", 0,
	  TWO_READY "end 1 0 > -0, move 0, died #1 retire; end 2 0 > -1, died #2 retire, giveup -1 exit, exit 0" },
	{ "... 69 if one did not", QUIET "restart.when=never", 0,
	  TWO_READY "end 1 7 > -0, move 0, died #1 retire; end 2 0 > -1, died #2 retire, giveup -1 exit, exit 69" },
	{ "an exit rule ends the cluster", QUIET "exit.78=exit", 0,
	  TWO_READY "end 1 78 > -0, move 0, died #1 exit, giveup 0 exit, -1, term #2; end 2 0 > died #2 none, exit 69" },
	{ "the program can not be found", QUIET, 0,
	  "start 2; unspawned 1 2 permanent > error 0 exit; unspawned 2 2 permanent > error 1 none, exit 127" },
	{ "the program can not be executed", QUIET, 0,
	  "start 1; unspawned 1 13 permanent > error 0 exit, exit 126" },
	{ "after the first success a program that is gone is waited for", QUIET, 0,
	  "start 2; spawned 1; unspawned 2 2 permanent > error 1 respawn 100; at 101 > spawn 1#3" },
	{ "no memory at the first start: backoff", QUIET, 0,
	  "start 1; unspawned 1 11 > error 0 respawn 100; at 101 > spawn 0#2; unspawned 2 11 > error 0 respawn 100" },
	{ "no worker was ever ready: three ends of every slot", QUIET "restart.delay_max=3ms", 0,
	  "start 2; spawned 1; spawned 2; end 1 1; end 2 1; at 100; spawned 3; spawned 4; end 3 1; end 4 1; at 200; "
	  "spawned 5; spawned 6; end 5 1 > died #5 respawn 3; end 6 1 > died #6 exit, giveup -1 exit, exit 69" },
	{ "... but of one whose end a rule expects", QUIET "exit.0=respawn:10", 0,
	  "start 1; spawned 1; end 1 0 > died #1 respawn 10; at 11 > spawn 0#2; spawned 2; end 2 0; at 21; spawned 3; end 3 0 > died #3 respawn 10; "
	  "at 31; spawned 4; end 4 1 > died #4 respawn 3; at 34; spawned 5; end 5 1; at 50; spawned 6; end 6 1 > died #6 exit, giveup -1 exit, exit 69" },
	{ "... and a reset forgets those there were", QUIET "restart.delay_max=3ms", 0,
	  "start 1; spawned 1; end 1 1; at 100; spawned 2; end 2 1; reset 0 > spawn 0#3; spawned 3; end 3 1 > died #3 respawn 3; at 200; "
	  "spawned 4; end 4 1 > died #4 respawn 3; at 300; spawned 5; end 5 1 > died #5 exit, giveup -1 exit, exit 69" },
	{ "... of one that was given up too", QUIET "restart.delay_max=3ms exit.9=retire", 0,
	  "start 2; spawned 1; end 1 9 > died #1 retire; reset 0 > spawn 0#3; spawned 2; end 2 1; at 100; spawned 4; end 4 1; at 200; "
	  "spawned 5; end 5 1 > died #5 respawn 3" },
	{ "... but not once one has been ready", QUIET, 0,
	  "start 1; spawned 1; ready 1; end 1 1; at 100; spawned 2; end 2 1; at 200; spawned 3; end 3 1; at 300; "
	  "spawned 4; end 4 1; at 400 > spawn 0#5" },
	{ "stop: one signal, the timeout, SIGKILL to the group", QUIET, 0,
	  TWO_READY "stop > -0, term #1, -1, term #2; end 1 0 > died #1 none; at 30000 > ; at 30001 > escalate #2, kill! #2; "
	  "end 2 -9 > died #2 none, exit 0" },
	{ "kill during a roll: the new one too, and that was a try", QUIET "ready.when=notify roll.tries=2", 0,
	  TWO_READY "restart 0 > spawn 0#3; spawned 3; kill 0 > kill! #3, try 0 1, -0, move 0, kill! #1; end 1 -9 > died #1 respawn, spawn 0#4" },
	{ "kill while the cluster stops", QUIET, 0,
	  TWO_READY "stop > -0, term #1, -1, term #2; kill 1 > kill! #2; end 2 -9 > died #2 none; end 1 0 > died #1 none, exit 0" },
	{ "stop.kill = process", QUIET "stop.kill=process stop.timeout=1s", 0,
	  "start 1; spawned 1; ready 1; stop; at 1001 > escalate #1, kill #1" },
	{ "stop.timeout = 0: SIGKILL at once", QUIET "stop.timeout=0", 0,
	  "start 1; spawned 1; ready 1; stop > -0, kill! #1" },
	{ "drain_delay: who serves goes on for a while", QUIET "stop.drain_delay=5s", 0,
	  "start 2; spawned 1; spawned 2; ready 1; stop > -0, term #2; at 5000 > ; at 5001 > term #1" },
	{ "... and EXTEND does not put off the signal, only what follows it", QUIET "stop.drain_delay=5s stop.timeout=1s", 0,
	  "start 1; spawned 1; ready 1; stop > -0; extend 1 60000; at 5000 > ; at 5001 > term #1; extend 1 60000; "
	  "at 65000 > ; at 65001 > escalate #1, kill! #1" },
	{ "EXTEND of who said that it stops", QUIET "stop.timeout=1s", 0,
	  "start 1; spawned 1; ready 1; stopping 1 > -0; extend 1 60000; at 60000 > ; at 60001 > abrt #1" },
	{ "stop twice, or quit: killed (B5)", QUIET, 0, TWO_READY "stop; stop > kill! #1, kill! #2; stop > ; end 1 -9; end 2 -9 > died #2 none, exit 0" },
	{ "quit at once", QUIET, 0, TWO_READY "quit > -0, kill! #1, -1, kill! #2" },
	{ "stop in backoff: nothing is spawned after it (B6, B7)", QUIET, 0,
	  TWO_READY "end 1 1; stop > -1, term #2; at 100 > ; roll 2 > ; scale 4 > ; reset all > ; end 2 0 > died #2 none, exit 0" },
	{ "stop before a spawn was answered: it waits for the answer", QUIET, 0,
	  "start 2; stop > ; spawned 1 > term #1; unspawned 2 11 > error 1 none; end 1 0 > died #1 none, exit 0" },
	{ "quit before a spawn was answered", QUIET, 0, "start 1; quit > ; spawned 1 > kill! #1; end 1 -9 > died #1 none, exit 0" },
	{ "stop with nothing live", QUIET, 0, "start 0 > ; stop > exit 0" },
	{ "unkillable: reported, and left behind by a stop (B9)", QUIET "stop.timeout=0", 0,
	  "start 1; spawned 1; ready 1; stop; at 10001 > unkillable #1; at 20001 > unkillable #1; "
	  "at 30001 > unkillable #1, exit 71; end 1 0 > " },
	{ "SIGCHLD of nobody (B10)", QUIET, 0, TWO_READY "end 99 0 > ; end 0 0 > ; sick 99 > ; kill 9 > " },
	{ "watchdog: from readiness, renewed by each ping (E8)", QUIET "health.watchdog=5s", 0,
	  "start 1; spawned 1; at 3000 > ; ready 1; at 7999; ping 1 > ; at 8000 > ; at 12998 > ; at 12999 > -0, abrt #1; "
	  "end 1 0 > died #1 respawn, spawn 0#2" },
	{ "the supervisor was asleep: nobody is late (E9)", QUIET "health.watchdog=5s", 0,
	  "start 1; spawned 1; ready 1; at 4999; skip 30000 > ; at 35000 > ; at 35001 > -0, abrt #1" },
	{ "said that it stops, and is asked to", QUIET, 0,
	  "start 1; spawned 1; ready 1; stopping 1 > -0; stop > term #1; end 1 0 > died #1 none, exit 0" },
	{ "the end waits for old processes", QUIET "restart.when=never", 0,
	  "start 1; spawned 1; ready 1; restart 0; spawned 2; ready 2; at 101; end 2 0 > -0, died #2 retire; "
	  "end 1 0 > died #1 none, giveup -1 exit, exit 0" },
	{ "said that it stops, and did not: hung", QUIET "stop.timeout=2s", 0,
	  "start 1; spawned 1; ready 1; stopping 1 > -0; at 2001 > abrt #1; at 4001 > escalate #1, kill! #1; "
	  "end 1 -9 > died #1 respawn 3" },
	{ "scale up and down, youngest first; a slot is gone after its last process (H1, H6)", QUIET, 0,
	  TWO_READY "scale 3 > spawn 2#3; spawned 3; ready 3 > +2; scale 1 > -2, move 2, term #3, -1, move 1, term #2; "
	  "end 3 0 > died #3 none, gone 2; end 2 0 > died #2 none, gone 1" },
	{ "scale up while the old one still stops: a new one at once (H4)", QUIET, 0,
	  TWO_READY "scale 1 > -1, move 1, term #2; scale 2 > spawn 1#3; end 2 0 > died #2 none; spawned 3; ready 3 > +1" },
	{ "scale to 0 is a pause (H2)", QUIET, 0,
	  "start 1; spawned 1; ready 1; scale 0 > -0, term #1; end 1 0 > died #1 none, gone 0; scale 9 > "
	  "spawn 0#2, spawn 1#3, spawn 2#4, spawn 3#5" },
	{ "a slot in backoff that is scaled away is forgotten", QUIET, 0,
	  TWO_READY "end 2 1; scale 1 > gone 1; at 99999 > ; scale 2 > spawn 1#3" },
	{ "drain: stops without respawn, and is filled again", QUIET, 0,
	  TWO_READY "drain 0 > -0, move 0, term #1; end 1 1 > died #1 none, drained 0; at 99999 > ; scale 2 > spawn 0#3" },
	{ "drain all, then reset", QUIET, 0,
	  TWO_READY "drain all > -0, move 0, term #1, -1, term #2; end 1 0; end 2 0 > died #2 none, drained 1; reset all > spawn 0#3, spawn 1#4" },
	{ "kill: SIGKILL now, a respawn follows", QUIET, 0,
	  TWO_READY "kill 1 > -1, move 1, kill! #2; kill 1 > ; end 2 -9 > died #2 respawn, spawn 1#3" },
	{ "all instances in use: a spawn waits until one was reaped", QUIET, 2,
	  TWO_READY "scale 3 > ; end 1 1 > -0, move 0, died #1 respawn 3, spawn 2#3; at 4 > ; end 2 1 > -1, died #2 respawn 3, spawn 0#4" },
	{ "who waits for an instance can be scaled away", QUIET, 2,
	  TWO_READY "scale 3 > ; scale 2 > gone 2; end 1 1 > -0, move 0, died #1 respawn 3" },
	{ "time never runs backwards", QUIET, 0, TWO_READY "at 100; at 50 > ; end 1 1; at 60 > ; at 102 > ; at 103 > spawn 0#3" },
};
/* clang-format on */

START_TEST(goes)
{
	play_story(&stories[_i]);
}
END_TEST

/* A deadline that runs is that of the policy in force: [keys.def] LIVE. */
/* clang-format off */
static const struct {
	const char *what, *before, *script, *after, *then;
} reloads[] = {
	{ "held: the window is shorter", QUIET "restart.burst=1 restart.window=1h restart.delay_max=1s",
	  TWO_READY "end 1 1; at 4; spawned 3; end 3 1 > died #3 respawn 3600000, giveup 0 respawn",
	  QUIET "restart.burst=1 restart.window=20s restart.delay_max=1s", "at 20003 > ; at 20004 > spawn 0#4" },
	{ "held: there is no burst any more", QUIET "restart.burst=1 restart.window=1h restart.delay_max=1s",
	  TWO_READY "end 1 1; at 4; spawned 3; end 3 1", QUIET "restart.delay_max=1s", "at 1003 > ; at 1004 > spawn 0#4" },
	{ "held: a longer window holds it no longer than it was", QUIET "restart.burst=1 restart.window=20s restart.delay_max=1s",
	  TWO_READY "end 1 1; at 4; spawned 3; end 3 1", QUIET "restart.burst=1 restart.window=1h restart.delay_max=1s",
	  "at 20004 > ; at 3600003 > ; at 3600004 > spawn 0#4" },
	{ "backoff: a shorter delay_max", QUIET "restart.delay=1h restart.delay_max=1h",
	  TWO_READY "end 1 1", QUIET "restart.delay_max=5s", "at 5000 > ; at 5001 > spawn 0#3" },
	{ "backoff: the delay of an exit rule stays, however long", QUIET "exit.75=respawn:3600000",
	  TWO_READY "end 1 75 > -0, move 0, died #1 respawn 3600000", QUIET "restart.delay_max=5s exit.75=respawn:3600000 stop.timeout=9s",
	  "at 3600000 > ; at 3600001 > spawn 0#3" },
	{ "the next try of a roll: a shorter delay_max", QUIET "restart.delay=1h restart.delay_max=1h",
	  TWO_READY "roll 2; spawned 3; end 3 1", QUIET "restart.delay_max=5s", "at 5000 > ; at 5001 > spawn 0#4g2" },
	{ "ready.after", "ready.when=alive ready.after=1h ready.timeout=0", "start 1; spawned 1; at 500",
	  "ready.when=alive ready.after=1s ready.timeout=0", "at 1000 > ; at 1001 > +0, up" },
	{ "ready.timeout", QUIET "ready.timeout=1h", "start 1; spawned 1; at 500", QUIET "ready.timeout=1s", "at 1000 > ; at 1001 > term #1" },
	{ "ready.timeout: one at last", QUIET "ready.timeout=0", "start 1; spawned 1; at 500", QUIET "ready.timeout=1s", "at 1001 > term #1" },
	{ "ready.timeout: none any more", QUIET "ready.timeout=1s", "start 1; spawned 1", QUIET "ready.timeout=0", "at 99999 > " },
	{ "ready.timeout: what a worker was granted stays", QUIET "ready.timeout=20s", "start 1; spawned 1; extend 1 60000",
	  QUIET "ready.timeout=10s", "at 50000 > ; at 50001 > term #1" },
	{ "stop.timeout", QUIET "stop.timeout=1h", TWO_READY "drain 0; at 5000", QUIET "stop.timeout=10s",
	  "at 10000 > ; at 10001 > escalate #1, kill! #1" },
	{ "stop.timeout: it is over", QUIET "stop.timeout=1h", TWO_READY "scale 0; at 50000", QUIET "stop.timeout=10s",
	  "at 50000 > escalate #1, kill! #1, escalate #2, kill! #2" },
	{ "stop.timeout: longer", QUIET "stop.timeout=10s", TWO_READY "drain 0; at 5000", QUIET "stop.timeout=1h",
	  "at 3600000 > ; at 3600001 > escalate #1, kill! #1" },
	{ "stop.timeout: who said that it ends", QUIET "stop.timeout=1h", TWO_READY "stopping 1; at 5000", QUIET "stop.timeout=10s",
	  "at 10000 > ; at 10001 > abrt #1" },
	{ "stop.timeout: not who is being killed", QUIET "stop.timeout=10s", TWO_READY "kill 0; at 5000", QUIET "stop.timeout=1h",
	  "at 10000 > ; at 10001 > unkillable #1" },
	{ "stop.drain_delay", QUIET "stop.drain_delay=1h", TWO_READY "drain 0; at 500", QUIET "stop.drain_delay=5s",
	  "at 5000 > ; at 5001 > term #1" },
	{ "roll.pause", QUIET "roll.pause=1h", TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1", QUIET "roll.pause=1s",
	  "at 1100 > ; at 1101 > spawn 1#4g2" },
	{ "roll.pause: none any more", QUIET "roll.pause=1h", TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1", QUIET,
	  "at 101 > spawn 1#4g2" },
	{ "another key moves nothing", QUIET "stop.timeout=10s ready.timeout=10s roll.pause=10s",
	  TWO_READY "end 1 1; scale 3; spawned 3; drain 1; at 500", QUIET "stop.timeout=10s ready.timeout=10s roll.pause=10s stop.signal=SIGINT",
	  "at 10000; at 10001 > escalate #2, kill! #2, term #3" },
};
/* clang-format on */

START_TEST(a_reload_moves_what_runs)
{
	struct policy *after = policy_with(reloads[_i].after);
	struct play p;

	play_begin(&p, reloads[_i].before, 4, 16);
	play(&p, reloads[_i].script);
	p.did[0] = '\0';
	pool_step(p.pool, p.now_ms, &(struct event){ .what = EV_POLICY, .policy = after }, play_sink, &p);
	ck_assert_str_eq(p.did, "");
	ck_assert(pool_valid(p.pool));
	play(&p, reloads[_i].then);
	play_end(&p);
	free(after);
}
END_TEST

/* Every pair of (state, event) is in the table on purpose. */
START_TEST(table)
{
	for (int state = 0; state < SLOT_STATES; state++) {
		for (int event = 0; event < SLOT_EVENTS; event++) {
			struct slot_step step =
				slot_step((enum slot_state)state, (enum slot_event)event);
			bool spawns = step.todo == TODO_SPAWN || step.todo == TODO_RESPAWN;
			bool arms = step.todo == TODO_ARM;

			ck_assert(!spawns || step.state == SLOT_LIVE);
			ck_assert(!arms || step.state == SLOT_BACKOFF || step.state == SLOT_HELD);
			if (step.todo == TODO_IMPOSSIBLE)
				ck_assert_int_eq(step.state, state);
			if (event == SLOT_VACATE)
				ck_assert_int_eq(step.state, SLOT_EMPTY);
			if (event == SLOT_DRAIN && state != SLOT_EMPTY)
				ck_assert_int_eq(step.state, SLOT_DRAINED);
			if (event == SLOT_RESET && state != SLOT_EMPTY)
				ck_assert_int_eq(step.state, SLOT_LIVE);
			if (event == SLOT_DUE)
				ck_assert_int_eq(spawns, state == SLOT_BACKOFF || state == SLOT_HELD);
			if (event == SLOT_FILL)
				ck_assert_int_eq(spawns, state == SLOT_EMPTY || state == SLOT_DRAINED);
		}
	}
}
END_TEST

/* A roll under way: the policy in force is not the one an old worker was started from. */
START_TEST(told)
{
	struct play p;
	struct policy *other = malloc(sizeof(*other));
	struct event spawned = { .what = EV_SPAWNED, .cookie = 1, .policy = other };

	ck_assert_ptr_nonnull(other);
	play_begin(&p, QUIET, 4, 16);
	*other = *p.policy;
	other->ready_when.when = READY_ALIVE;
	other->ready_after = 0;
	other->health_watchdog = 5;
	p.policy->ready_when.when = READY_NOTIFY;
	p.policy->ready_after = 0;
	play(&p, "start 1 > spawn 0#1");
	p.did[0] = '\0';
	pool_step(p.pool, p.now_ms, &spawned, play_sink, &p);
	ck_assert_str_eq(p.did, "+0, up");
	play(&p, "at 5 > ; at 6 > -0, abrt #1");
	play_end(&p);
	free(other);
}
END_TEST

/* A4, O2: the cost of an event does not grow; a slot costs about a KiB. */
START_TEST(small)
{
	ck_assert_uint_le((pool_size(10000, 10000) - pool_size(0, 0)) / 10000, 1024);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, goes, 0, sizeof(stories) / sizeof(stories[0]));
	tcase_add_loop_test(tests, a_reload_moves_what_runs, 0, sizeof(reloads) / sizeof(reloads[0]));
	tcase_add_test(tests, table);
	tcase_add_test(tests, told);
	tcase_add_test(tests, small);
}

int main(void)
{
	return run_suite("core/pool", add_tests);
}
