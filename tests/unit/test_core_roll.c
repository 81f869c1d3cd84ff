#include "tests/unit/core_play.h"
#include "tests/unit/suite.h"

#define QUIET "restart.delay=3ms ready.when=notify "
#define TWO_READY "start 2; spawned 1; spawned 2; ready 1; ready 2; "
#define THREE_READY "start 3; spawned 1; spawned 2; spawned 3; ready 1; ready 2; ready 3; "

/* clang-format off */
static const struct story stories[] = {
	{ "new first, proven, then the old one leaves; the canary alone, then the next", QUIET, 0,
	  TWO_READY "roll 2 > spawn 0#3g2; spawned 3 > ; ready 3 > ; at 100 > ; at 101 > term #1, spawn 1#4g2; end 1 0 > died #1 none; "
	  "spawned 4; ready 4; at 201 > term #2, generation 2, rolled done; end 2 0 > died #2 none" },
	{ "the canary alone, then `surge` at a time (G4)", QUIET "roll.surge=2", 0,
	  THREE_READY "roll 2 > spawn 0#4g2; spawned 4; ready 4; at 101 > term #1, spawn 1#5g2, spawn 2#6g2" },
	{ "pause after a slot", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; at 1100 > ; at 1101 > spawn 1#4g2" },
	{ "... and after the last one: until then it is not done", QUIET "roll.pause=1s", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101 > term #1; end 1 0; at 1100 > ; at 1101 > generation 2, rolled done" },
	{ "... and goes back if that one dies", QUIET "roll.pause=1s roll.tries=1", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101 > term #1; end 1 0; at 900; end 2 1 > -0, died #2 respawn 3, "
	  "try 0 1, back 0, spawn 0#3; spawned 3; ready 3 > +0, generation 1, rolled back; at 9999 > " },
	{ "... not before it serves again", QUIET "roll.pause=1s", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101; end 1 0; at 1100; end 2 1; at 1103 > spawn 0#3g2; spawned 3; "
	  "at 5000 > ; ready 3 > +0, generation 2, rolled done" },
	{ "... nor where all have finished: nothing is left to watch", QUIET "restart.when=on-failure roll.pause=1h", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101 > term #1; end 1 0; at 60000; "
	  "end 2 0 > -0, died #2 retire, generation 2, rolled done, giveup -1 exit, exit 0" },
	{ "... unless it is drained", QUIET "roll.pause=1s", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101; end 1 0; drain 0 > generation 1, rolled stopped, -0, term #2" },
	{ "a new version that is ready and dies at once: a failed try, the old one is untouched (G9)", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3 > ; at 50; end 3 -11 > died #3 unasked, try 0 1; at 53 > spawn 0#4g2" },
	{ "tries used up: back to the old program, which served all along (G2)", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; end 3 1 > died #3 unasked, try 0 1; at 4 > spawn 0#4g2; spawned 4; "
	  "end 4 1 > died #4 unasked, try 0 2, generation 1, rolled back; at 99999 > " },
	{ "a later slot fails: what was switched goes back", QUIET "roll.tries=1", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; spawned 4; "
	  "end 4 1 > died #4 unasked, try 1 1, back 1, spawn 0#5; spawned 5; ready 5; at 201 > term #3, generation 1, rolled back" },
	{ "the way back tries as often as it takes", QUIET "roll.tries=1", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; spawned 4; end 4 1; spawned 5; end 5 1 > died #5 unasked, try 0 1, no way back 0; "
	  "at 104 > spawn 0#6; spawned 6; end 6 1 > died #6 unasked, try 0 2" },
	{ "on the way back a restart waits where the slot stays as it is, a drained one too", QUIET "roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101 > term #1, spawn 1#5g2; end 1 0; spawned 5; drain 2; end 3 0; "
	  "end 5 1 > died #5 unasked, try 1 1, back 1, spawn 0#6; restart 0 > rolled superseded; restart 1 > ; restart 2 > ; "
	  "spawned 6; ready 6; at 201 > term #4, generation 1, rolled back, spawn 1#7; end 4 0; spawned 7; ready 7; "
	  "at 301 > rolled done, term #2, spawn 2#8; end 2 0; spawned 8; ready 8 > +2, rolled done" },
	{ "on_failure = stop: each slot keeps what it runs", QUIET "roll.tries=1 roll.on_failure=stop", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; spawned 4; end 4 1 > died #4 unasked, try 1 1, rolled failed; "
	  "end 3 1 > -0, move 0, died #3 respawn 3; at 104 > spawn 0#5g2; scale 3 > spawn 2#6" },
	{ "a restart of all has nothing to go back to", QUIET "roll.tries=1", 0,
	  TWO_READY "roll 1 > spawn 0#3; unspawned 3 2 > error 0 none, try 0 1, rolled failed" },
	{ "not ready in time is a failed try", QUIET "ready.timeout=1s roll.tries=1", 0,
	  TWO_READY "roll 2; spawned 3; at 1001 > term #3, try 0 1, generation 1, rolled back; end 3 -15 > died #3 unasked" },
	{ "the old one dies while the new one starts: normal respawn; the new one ends it (G5)", QUIET "restart.delay=3ms", 0,
	  TWO_READY "roll 2; spawned 3; end 1 1 > -0, move 0, died #1 respawn 3; ready 3 > +0, spawn 1#4g2; at 4 > " },
	{ "the old one dies while the new one is being proven", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; end 1 1 > died #1 unasked, spawn 1#4g2" },
	{ "... or does not serve any more: another roll does not take the only one that serves", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; stopping 1 > term #1, spawn 1#4g2; roll 3 > rolled superseded, spawn 0#5g3; spawned 4 > term #4" },
	{ "... because it is hung", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; sick 1 > abrt #1, spawn 1#4g2; end 1 -6 > died #1 unasked" },
	{ "a switched slot crashes during the roll: the new generation again, and the roll waits for it", QUIET "roll.tries=3", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104 > spawn 0#5g2; "
	  "spawned 4; ready 4; at 204 > term #2; spawned 5; end 5 1 > died #5 respawn 6, try 0 2; at 210 > spawn 0#6g2; spawned 6; "
	  "ready 6 > +0, generation 2, rolled done" },
	{ "... which takes no other one meanwhile", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; at 1000; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; "
	  "at 1003 > spawn 0#4g2; at 1101 > ; spawned 4; at 9000 > ; ready 4 > +0, spawn 1#5g2" },
	{ "... and goes back after `tries` of them, also of those that got ready", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 -11 > -0, move 0, died #3 respawn 3, try 0 1; at 104 > spawn 0#4g2; "
	  "spawned 4; ready 4 > +0; at 900; end 4 -11 > -0, move 0, died #4 respawn 6, try 0 2, back 0, spawn 0#5; spawned 5; ready 5 > +0, generation 1, rolled back" },
	{ "... and with nothing to go back to it fails", QUIET "roll.tries=1 roll.pause=1s", 0,
	  TWO_READY "roll 1; spawned 3; ready 3; at 101 > term #1; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1, rolled failed; at 104 > spawn 0#4" },
	{ "... a stable life forgets what failed", QUIET "restart.stable=1s roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104 > spawn 0#4g2; "
	  "spawned 4; ready 4 > +0; at 1104; end 4 1 > -0, move 0, died #4 respawn, spawn 0#5g2; spawned 5; ready 5 > +0; "
	  "end 5 1 > -0, move 0, died #5 respawn 3, try 0 1" },
	{ "... what could not be started is one too", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104 > spawn 0#4g2; "
	  "unspawned 4 11 > error 0 respawn 100, try 0 2, back 0, spawn 0#5" },
	{ "who is hung keeps it waiting from then on, not from its end", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; at 900; sick 3 > -0, move 0, abrt #3; at 1101 > ; "
	  "end 3 -6 > died #3 respawn 3, try 0 1; at 1104 > spawn 0#4g2; spawned 4; ready 4 > +0, spawn 1#5g2" },
	{ "whom the operator kills is no try, and waited for", QUIET "roll.tries=1 roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; kill 0 > -0, move 0, kill! #3; end 3 -9 > died #3 respawn, spawn 0#4g2; "
	  "at 1101 > ; spawned 4; ready 4 > +0, spawn 1#5g2" },
	{ "... and what failed before it counts on", QUIET "roll.tries=2 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1; at 104; spawned 4; ready 4; kill 0 > -0, move 0, kill! #4; end 4 -9 > died #4 respawn, spawn 0#5g2; "
	  "spawned 5; end 5 1 > died #5 respawn 6, try 0 2, back 0, spawn 0#6" },
	{ "what failed before one took over does not", QUIET "roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; end 3 1 > died #3 unasked, try 0 1; at 4; spawned 4; ready 4; at 104 > term #1; end 1 0; end 4 1 > -0, move 0, died #4 respawn 3, try 0 1" },
	{ "what is retired after a stable life is not waited for", QUIET "restart.when=on-failure restart.stable=0 roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 3 0 > -0, move 0, died #3 retire; at 1101 > spawn 1#4g2" },
	{ "... unless it is wanted again", QUIET "restart.when=on-failure restart.stable=0 roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 3 0 > -0, move 0, died #3 retire; reset 0 > spawn 0#4g2; at 1101 > ; "
	  "spawned 4; ready 4 > +0, spawn 1#5g2" },
	{ "a restart that is queued behind the roll does not hide the slot", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; restart 0 > ; at 900; end 3 1 > -0, rolled superseded, move 0, "
	  "died #3 respawn 3, try 0 1; at 903 > spawn 0#4g2; at 1101 > " },
	{ "... so that there is no verdict `done` while it is dead", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; end 1 0; restart 0 > ; end 3 1; spawned 4; ready 4; "
	  "at 201 > spawn 0#5g2, term #2; spawned 5; ready 5 > +0, generation 2, rolled done" },
	{ "... nor does it make what failed before forgotten", QUIET "roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; end 1 0; end 3 1; at 104; spawned 4; ready 4; restart 0; "
	  "end 4 1 > -0, rolled superseded, move 0, died #4 respawn 6, try 0 2, back 0, spawn 0#5" },
	{ "... nor that it is too big", QUIET "roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; end 1 0; end 3 1; at 104; spawned 4; ready 4; big 4; "
	  "end 4 1 > -0, move 0, died #4 respawn 6, try 0 2, back 0, spawn 0#5" },
	{ "... and after the roll the restart has all its tries", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; end 1 0; end 3 1; at 104; spawned 5; ready 5; restart 0; "
	  "spawned 4; ready 4; at 204 > term #2, generation 2, rolled done, spawn 0#6g2; spawned 6; end 6 1 > died #6 unasked, try 0 1; at 207 > spawn 0#7g2" },
	{ "what a restart has tried is no try of the roll", QUIET, 0,
	  TWO_READY "restart 0; spawned 3; end 3 1 > died #3 unasked, try 0 1; roll 2 > rolled superseded, spawn 0#4g2; spawned 4; end 4 1 > died #4 unasked, try 0 1" },
	{ "nor does recycling", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; big 3 > ; at 900; sick 3 > -0, move 0, abrt #3; at 1101 > " },
	{ "a stable life whose rule says backoff is no failed try", QUIET "exit.75=backoff roll.tries=1 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; at 60000; end 3 75 > -0, move 0, died #3 respawn 3" },
	{ "a short life whose rule says respawn is one", QUIET "exit.75=respawn:10 roll.tries=2 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 75 > -0, move 0, died #3 respawn 10, try 0 1; at 111 > spawn 0#4g2; "
	  "spawned 4; end 4 75 > died #4 respawn 10, try 0 2, back 0, spawn 0#5" },
	{ "a burst that is used up is the last try, and goes back instead of retiring the slot",
	  QUIET "restart.burst=1 restart.window=1m restart.give_up=retire roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104; spawned 4; ready 4; at 200; "
	  "end 4 1 > -0, move 0, died #4 respawn 59904, try 0 2, back 0, spawn 0#5; spawned 5; ready 5 > +0, generation 1, rolled back" },
	{ "... or ending the cluster", QUIET "restart.burst=1 restart.window=1m restart.give_up=exit roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104; spawned 4; ready 4; at 200; "
	  "end 4 1 > -0, move 0, died #4 respawn 59904, try 0 2, back 0, spawn 0#5" },
	{ "... or waiting", QUIET "restart.burst=1 restart.window=1m roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; at 104; spawned 4; ready 4; at 200; "
	  "end 4 1 > -0, move 0, died #4 respawn 59904, giveup 0 respawn, try 0 2, back 0, spawn 0#5" },
	{ "... also where the others used it up meanwhile", QUIET "restart.cluster_burst=1 restart.window=1m restart.give_up=exit roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 2 1 > -1, move 1, died #2 respawn 3; at 102; end 3 1 > -0, died #3 respawn 3, try 0 1; "
	  "at 104 > spawn 1#4; at 105 > back 0, spawn 0#5" },
	{ "... for a shorter time than the next delay", QUIET "restart.cluster_burst=1 restart.window=5ms restart.give_up=exit roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 2 1 > -1, move 1, died #2 respawn 3; at 102; end 3 1 > -0, died #3 respawn 3, try 0 1; "
	  "at 104 > spawn 1#4; at 105 > back 0, spawn 0#5" },
	{ "... or on the way back, where it has yet to be switched", QUIET "restart.burst=1 restart.window=1m restart.give_up=exit roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; spawned 5; ready 5; at 201; end 2 0; spawned 6; end 6 1 > died #6 unasked, try 2 1, back 2, spawn 0#7; "
	  "end 5 1 > -1, move 1, died #5 respawn 3; at 204 > spawn 1#8g2; spawned 8; ready 8; end 8 1 > -1, move 1, died #8 respawn 60000; "
	  "spawned 7; ready 7; at 304 > term #4, spawn 1#9; spawned 9; ready 9 > +1, generation 1, rolled back" },
	{ "... also where the others used it up before it was due",
	  QUIET "restart.cluster_burst=1 restart.window=1m restart.give_up=exit roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; spawned 5; ready 5; at 201; end 2 0; spawned 6; end 6 1; "
	  "end 5 1 > -1, move 1, died #5 respawn 3; end 4 1 > -0, move 0, died #4 respawn 3; at 204 > spawn 0#8g2; at 205 > ; "
	  "spawned 7; ready 7 > +0, spawn 1#9" },
	{ "... or being retired there", QUIET "exit.1=retire roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; spawned 5; ready 5; at 201; end 2 0; spawned 6; end 6 1; "
	  "end 5 1 > -1, move 1, died #5 respawn 3" },
	{ "... or beside the worker that an operator wants for it", QUIET "restart.burst=1 restart.window=1m restart.give_up=exit roll.tries=9 roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; end 1 0; end 3 1; at 104 > spawn 0#4g2; spawned 4; restart 0 > spawn 0#5g2, rolled superseded; "
	  "end 4 1 > died #4 respawn 60000; spawned 5; ready 5 > +0" },
	{ "... also before it is due again",
	  QUIET "restart.cluster_burst=1 restart.window=1m restart.give_up=exit roll.tries=9 roll.pause=1h", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; end 2 1 > -1, move 1, died #2 respawn 3; at 102; end 4 1 > -0, move 0, died #4 respawn 3, try 0 1; "
	  "restart 0 > spawn 0#5g2, rolled superseded; at 104 > spawn 1#6; at 105 > ; spawned 5; ready 5 > +0" },
	{ "what has yet to be replaced goes by its rules", QUIET "exit.1=retire", 0,
	  TWO_READY "roll 1; spawned 3; end 1 1 > -0, move 0, died #1 retire; end 2 1 > -1, died #2 retire; ready 3 > +0, spawn 1#4" },
	{ "... also where it was respawned meanwhile", QUIET "exit.2=retire", 0,
	  TWO_READY "roll 1; spawned 3; end 2 1; at 4 > spawn 1#4; spawned 4; end 4 2 > died #4 retire" },
	{ "... and before it is due", QUIET "restart.cluster_burst=1 restart.window=1m restart.give_up=exit", 0,
	  TWO_READY "roll 2; spawned 3; end 2 1; at 2; end 1 1; at 4 > spawn 1#4; at 5 > giveup 0 exit, term #3, rolled stopped" },
	{ "... and on the way back what was drained, though it was replaced, stays so", QUIET "roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; spawned 5; ready 5; at 201; end 2 0; drain 0; end 4 0; spawned 6; "
	  "end 6 1 > died #6 unasked, try 2 1, back 2, spawn 1#7; spawned 7; ready 7; at 301 > term #5, generation 1, rolled back" },
	{ "... or was retired after a stable life", QUIET "exit.75=retire roll.tries=1", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; end 1 0; at 60000; end 3 75 > -0, move 0, died #3 retire; spawned 4; "
	  "end 4 1 > died #4 unasked, try 1 1, back 1, generation 1, rolled back" },
	{ "on_failure = stop: a restart that waits comes after it", QUIET "roll.tries=1 roll.on_failure=stop", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; end 1 0; restart 0; spawned 4; end 4 1 > died #4 unasked, try 1 1, rolled failed, spawn 0#5" },
	{ "... and on the way back what was not", QUIET "exit.1=retire roll.tries=1", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101; end 1 0; spawned 5; end 5 1 > died #5 unasked, try 1 1, back 1, spawn 0#6; "
	  "end 2 1 > -1, move 1, died #2 retire" },
	{ "an [exit RULE] that ends the cluster does", QUIET "exit.1=exit roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 exit, giveup 0 exit, rolled stopped, -1, term #2" },
	{ "a rule that retires: every new worker dies, and the roll is not done", QUIET "exit.1=retire", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; spawned 4; ready 4; "
	  "at 300 > spawn 0#5g2, term #2; spawned 5; end 5 1 > died #5 respawn 6, try 0 2, back 0, spawn 0#6" },
	{ "what failed before the roll is no try of it", QUIET "restart.delay_max=3ms roll.tries=2", 0,
	  TWO_READY "end 2 1; at 4; spawned 3; ready 3; end 3 1; at 8; spawned 4; ready 4; roll 1 > spawn 0#5; end 4 1; at 12 > spawn 1#6; spawned 6; spawned 5; ready 5; "
	  "at 200 > term #1; end 6 1 > died #6 respawn 3, try 1 1" },
	{ "a restart of the slot that is waited for brings another worker", QUIET "roll.pause=1s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; sick 3 > -0, move 0, abrt #3; restart 0 > spawn 0#4g2, rolled superseded; "
	  "spawned 4; ready 4 > +0; at 1101 > spawn 1#5g2" },
	{ "... but not beyond the surge", QUIET "roll.tries=9", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101 > term #1, spawn 1#5g2; spawned 5; ready 5; at 201 > term #2, spawn 2#6g2; sick 4; sick 5; "
	  "restart 0 > rolled superseded" },
	{ "it has its place among the surge, and while the canary is dead none follows", QUIET "roll.surge=2 roll.tries=9 roll.pause=1s", 0,
	  "start 4; spawned 1; spawned 2; spawned 3; spawned 4; ready 1; ready 2; ready 3; ready 4; roll 2; spawned 5; ready 5; at 101 > term #1; end 5 1; at 104; "
	  "at 1101 > ; spawned 6; ready 6 > +0, spawn 1#7g2, spawn 2#8g2; spawned 7; spawned 8; ready 7; ready 8; at 1201 > term #2, term #3; "
	  "end 7 1; at 2201 > spawn 1#9g2, spawn 3#10g2" },
	{ "drained one after the other, and the one that was replaced is dead: nothing new has proven itself", QUIET "roll.pause=1s roll.tries=9", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; drain 0 > drained 0; "
	  "drain 1 > generation 1, rolled stopped, -1, term #2" },
	{ "stop, and a second roll, while it waits", QUIET "roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1 > -0, move 0, died #3 respawn 3, try 0 1; roll 3 > rolled superseded, spawn 0#4g3; "
	  "spawned 4; ready 4 > +0; end 4 1 > -0, move 0, died #4 respawn 3, try 0 1; stop > rolled stopped, -1, term #2" },
	{ "on_failure = stop, while it waits", QUIET "roll.tries=2 roll.on_failure=stop roll.pause=1h", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > term #1; end 1 0; end 3 1; at 104; spawned 4; ready 4; end 4 1 > -0, move 0, died #4 respawn 6, try 0 2, rolled failed; "
	  "at 110 > spawn 0#5g2" },
	{ "nor what is drained or scaled away", QUIET "roll.pause=1s", 0,
	  THREE_READY "roll 2; spawned 4; ready 4; at 101 > term #1; end 4 1 > -0, move 0, died #4 respawn 3, try 0 1; drain 0 > ; "
	  "at 1101 > spawn 1#5g2" },
	{ "a slot not yet reached crashes: the old generation", QUIET, 0,
	  TWO_READY "roll 2; end 2 1 > -1, move 1, died #2 respawn 3; at 4 > spawn 1#4" },
	{ "a drained slot gets its new worker when its turn comes", QUIET, 0,
	  TWO_READY "drain 1; end 2 0; roll 2; spawned 3; ready 3; at 101 > term #1, spawn 1#4g2; spawned 4; ready 4 > +1, generation 2, rolled done" },
	{ "a second roll supersedes the first; who is old goes (G6)", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; roll 3 > term #3, rolled superseded, spawn 0#4g3; end 3 0 > died #3 none; spawned 4; ready 4; "
	  "at 101 > term #1, spawn 1#5g3" },
	{ "stop wins over a roll", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; stop > term #3, rolled stopped, -0, term #1, -1, term #2; end 3 0 > died #3 none; end 1 0; end 2 0 > died #2 none, exit 0" },
	{ "a slot added during a roll is reached last", QUIET, 0,
	  TWO_READY "roll 2; scale 3 > spawn 2#4; spawned 3; ready 3; at 101 > term #1, spawn 1#5g2; spawned 5; ready 5; at 201 > term #2, spawn 2#6g2" },
	{ "a slot scaled away during its turn", QUIET, 0,
	  THREE_READY "roll 2; spawned 4; scale 0; end 1 0 > died #1 none; end 4 0 > died #4 none, gone 0" },
	{ "restart of one slot", QUIET, 0,
	  TWO_READY "restart 1 > spawn 1#3; spawned 3; ready 3; at 101 > rolled done, term #2" },
	{ "restart of a drained slot fills it", QUIET, 0,
	  TWO_READY "drain 1; end 2 0; restart 1 > spawn 1#3; spawned 3; ready 3 > +1, rolled done" },
	{ "restarts of several queue up within surge", QUIET, 0,
	  TWO_READY "restart 0 > spawn 0#3; restart 1 > ; spawned 3; ready 3; at 101 > rolled done, term #1, spawn 1#4" },
	{ "a restart fails: the old one stays", QUIET "roll.tries=1", 0,
	  TWO_READY "restart 0; spawned 3; end 3 1 > died #3 unasked, try 0 1, rolled failed; at 9999 > " },
	{ "a restart waits for a roll of all, or is covered by it", QUIET, 0,
	  TWO_READY "roll 2; restart 1 > rolled superseded; spawned 3; ready 3; at 101; restart 0 > ; spawned 4; ready 4; "
	  "at 201 > term #2, generation 2, rolled done, spawn 0#5g2" },
	{ "a restart again: the newer one counts", QUIET, 0,
	  TWO_READY "restart 0; restart 0 > rolled superseded, spawn 0#4" },
	{ "recycle: replacement first, at most one at a time", QUIET, 0,
	  TWO_READY "big 1 > recycle #1, spawn 0#3; big 1 > ; big 2 > ; spawned 3; ready 3; at 101 > term #1, recycle #2, spawn 1#4" },
	{ "by memory at most once in restart.stable, and told once", QUIET "restart.stable=10s", 0,
	  "start 1; spawned 1; ready 1; big 1 > recycle #1, spawn 0#2; spawned 2; ready 2; at 101 > term #1; end 1 0; "
	  "big 2 > big #2 9900; big 2 > ; at 10000; big 2 > ; at 10001; big 2 > recycle #2, spawn 0#3; "
	  "spawned 3; ready 3; at 10102 > term #2; big 3 > " },
	{ "a reset forgets it", QUIET "restart.stable=10s", 0,
	  "start 1; spawned 1; ready 1; big 1 > recycle #1, spawn 0#2; spawned 2; ready 2; at 101 > term #1; end 1 0; "
	  "big 2 > big #2 9900; reset 0; big 2 > recycle #2, spawn 0#3; spawned 3; ready 3; at 202 > term #2; end 2 0; "
	  "big 3 > big #3 9899" },
	{ "without restart.stable each is recycled", QUIET "restart.stable=0", 0,
	  "start 1; spawned 1; ready 1; big 1 > recycle #1, spawn 0#2; spawned 2; ready 2; at 101 > term #1; "
	  "big 2 > recycle #2, spawn 0#3" },
	{ "who is too old is recycled, however short ago the last one was too big",
	  QUIET "recycle.max_lifetime=5s recycle.jitter=0%", 0,
	  "start 1; spawned 1; ready 1; big 1 > recycle #1, spawn 0#2; spawned 2; ready 2; at 101 > term #1; end 1 0; "
	  "big 2 > big #2 9900; at 5000 > ; at 5001 > recycle #2, spawn 0#3" },
	{ "who is too big is recycled, however short ago the last one was too old",
	  QUIET "recycle.max_lifetime=5s recycle.jitter=0%", 0,
	  "start 1; spawned 1; ready 1; at 5001 > recycle #1, spawn 0#2; spawned 2; ready 2; at 5101 > term #1; end 1 0; "
	  "big 2 > recycle #2, spawn 0#3" },
	{ "only who is ready is recycled", QUIET, 0, "start 1; spawned 1; big 1 > ; ready 1 > +0, up" },
	{ "drained during a roll: filled with what counts then", QUIET, 0,
	  TWO_READY "roll 2; drain 1; spawned 3; ready 3; at 101 > term #1, generation 2, rolled done; reset 1 > spawn 1#4g2" },
	{ "recycle by age", QUIET "recycle.max_lifetime=10s recycle.jitter=0%", 0,
	  "start 1; spawned 1; ready 1; at 10000 > ; at 10001 > recycle #1, spawn 0#2" },
	{ "too old while a roll was to replace it, and the roll failed: its age counts again",
	  QUIET "recycle.max_lifetime=10s recycle.jitter=0% roll.tries=1", 0,
	  TWO_READY "at 9990; roll 2 > spawn 0#3g2; spawned 3; at 10001 > ; "
	  "end 3 1 > died #3 unasked, try 0 1, generation 1, rolled back; at 10002 > recycle #1, spawn 0#4" },
	{ "... and a restart",
	  QUIET "recycle.max_lifetime=10s recycle.jitter=0% roll.tries=1", 0,
	  "start 1; spawned 1; ready 1; at 9990; restart 0 > spawn 0#2; spawned 2; at 10001 > ; "
	  "end 2 1 > died #2 unasked, try 0 1, rolled failed; at 10002 > recycle #1, spawn 0#3" },
	{ "queued because it is too old, then a roll comes and fails",
	  QUIET "recycle.max_lifetime=10s recycle.jitter=0% roll.tries=1 roll.on_failure=stop", 0,
	  TWO_READY "at 10001 > recycle #1, spawn 0#3; roll 2 > spawn 0#4g2; spawned 4; end 4 1 > died #4 unasked, try 0 1, rolled failed; "
	  "at 10002 > recycle #1, spawn 0#5" },
	{ "a replacement that gets too old while it is proven is recycled too",
	  QUIET "recycle.max_lifetime=50ms recycle.jitter=0%", 0,
	  "start 1; spawned 1; ready 1; at 51 > recycle #1, spawn 0#2; spawned 2; ready 2; at 101 > ; at 151 > term #1; at 152 > recycle #2, spawn 0#3" },
	{ "recycling ends with the worker that it was about", QUIET "restart.when=on-failure", 0,
	  TWO_READY "big 1 > recycle #1, spawn 0#3; spawned 3; end 1 0 > -0, move 0, died #1 retire; "
	  "end 3 1 > died #3 unasked; at 99999 > " },
	{ "... not with the one that came after it", QUIET "restart.stable=0", 0,
	  TWO_READY "big 1 > recycle #1, spawn 0#3; spawned 3; end 1 1 > -0, move 0, died #1 respawn, spawn 0#4; "
	  "end 3 1 > died #3 unasked; at 99999 > " },
	{ "... also where no instance is free for another try",
	  QUIET "restart.burst=1 restart.window=1h restart.delay_max=1s", 3,
	  TWO_READY "end 1 1; at 4 > spawn 0#3; spawned 3; ready 3; big 3 > recycle #3, spawn 0#4; spawned 4; "
	  "end 3 1 > -0, move 0, died #3 respawn 3600000, giveup 0 respawn; scale 3 > spawn 2#5; end 4 1 > died #4 unasked; "
	  "scale 4 > spawn 3#6; at 9999 > " },
	{ "recycle waits for a roll, which replaces it anyway", QUIET, 0,
	  TWO_READY "roll 2; big 2 > ; spawned 3; ready 3; at 101; spawned 4; ready 4; at 201 > term #2, generation 2, rolled done" },
	{ "what dies before it is recycled just respawns", QUIET, 0,
	  TWO_READY "big 1; big 2; end 2 1 > -1, move 1, died #2 respawn 3; spawned 3; ready 3; at 101 > spawn 1#4, term #1" },
	{ "max_old = 1: a second roll cuts who still drains (G7)", QUIET "supervisor.max_old=1", 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101 > term #1, generation 2, rolled done; "
	  "roll 3 > escalate #1, kill! #1, spawn 0#3g3" },
	{ "max_old = 2 lets it be", QUIET, 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101; roll 3 > spawn 0#3g3; spawned 3; ready 3; at 201 > term #2, generation 3, rolled done; "
	  "roll 4 > escalate #1, kill! #1, spawn 0#4g4" },
	{ "who never was ready has nothing to drain: nobody is cut for it", QUIET, 0,
	  "start 1; spawned 1; ready 1; roll 2; spawned 2; ready 2; at 101 > term #1, generation 2, rolled done; "
	  "roll 3 > spawn 0#3g3; spawned 3; roll 4 > term #3, rolled superseded, spawn 0#4g4; spawned 4; ready 4; "
	  "roll 5 > term #4, rolled superseded, escalate #1, kill! #1, spawn 0#5g5" },
	{ "no free instance: the roll waits for one", QUIET, 2,
	  TWO_READY "roll 2 > ; end 1 1 > -0, move 0, died #1 respawn 3, spawn 0#3g2" },
	{ "a roll of nothing", QUIET, 0, "start 0; roll 2 > generation 2, rolled done; scale 1 > spawn 0#1g2" },
	{ "drain all during a roll ends it", QUIET, 0,
	  TWO_READY "roll 2 > spawn 0#3g2; drain all > generation 1, rolled stopped, -0, move 0, term #1, -1, term #2" },
	{ "... so does one after the other, and scaling to 0: what counts is what was seen to serve", QUIET, 0,
	  TWO_READY "roll 2; drain 1 > -1, move 1, term #2; drain 0 > generation 1, rolled stopped, -0, term #1; end 1 0; end 2 0; "
	  "spawned 3; end 3 0; reset 0 > spawn 0#4; scale 2 > spawn 1#5; roll 2 > spawn 0#6g2; "
	  "scale 0 > generation 1, rolled stopped; scale 1 > spawn 0#7" },
	{ "drain all stops it also when a slot was replaced", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; spawned 4; drain all > term #4, generation 1, rolled stopped, -0, move 0, term #3, -1, term #2; "
	  "end 1 0; end 2 0; end 3 0; reset 0 > spawn 0#5" },
	{ "one after the other, with one slot replaced it is done", QUIET, 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; spawned 4; drain 1 > term #4, -1, move 1, term #2, generation 2, rolled done" },
	{ "on the way back the former program is what counts", QUIET "roll.tries=1", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101; spawned 4; end 4 1; drain all > generation 1, rolled stopped, -0, move 0, term #3, -1, term #2" },
	{ "drain_delay: the old one serves on beside the new one", QUIET "stop.drain_delay=5s", 0,
	  TWO_READY "roll 2; spawned 3; ready 3; at 101 > spawn 1#4g2; at 5100 > ; at 5101 > term #1" },
};
/* clang-format on */

START_TEST(goes)
{
	play_story(&stories[_i]);
}
END_TEST

/* Also of a short life, where a tenth is less than the dice has faces. */
START_TEST(lifetimes_are_spread)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (uint64_t dice = 1; dice <= 200; dice++) {
		struct play p;
		uint64_t due;

		play_begin(&p, QUIET "recycle.max_lifetime=10s", 4, 16);
		p.pool->dice = dice;
		play(&p, "start 1; spawned 1; ready 1");
		due = pool_deadline(p.pool);
		least = due < least ? due : least;
		most = due > most ? due : most;
		play_end(&p);
	}
	ck_assert_uint_gt(least, 9001);
	ck_assert_uint_lt(least, 9101);
	ck_assert_uint_gt(most, 9901);
	ck_assert_uint_le(most, 10001);
}
END_TEST

/* O5: the counters begin again, and nobody notices. */
START_TEST(cookies_wrap)
{
	struct play p;

	play_begin(&p, QUIET, 4, 16);
	play(&p, "start 1; spawned 1; ready 1");
	p.pool->last_cookie = UINT32_MAX - 1;
	play(&p, "restart 0 > spawn 0#4294967295; spawned -1; ready -1; at 101 > rolled done, term #1; "
		 "roll 2 > spawn 0#2g2; spawned 2; ready 2; at 201 > term #4294967295, generation 2, rolled done");
	play_end(&p);
}
END_TEST

/* For [supervisor] over_max_old = refuse: what the next roll would find to be too many. */
START_TEST(draining)
{
	static const struct {
		const char *script;
		uint32_t count;
	} steps[] = {
		{ "start 1; spawned 1; ready 1; roll 2; spawned 2", 0 },
		{ "ready 2", 1 }, /* the replacement: another roll now, and it drains */
		{ "at 101 > term #1, generation 2, rolled done", 1 },
		{ "roll 3; spawned 3", 1 },
		{ "ready 3", 2 },
		{ "roll 4 > term #3, rolled superseded, escalate #1, kill! #1, spawn 0#4g4", 1 },
	};
	struct play p;

	play_begin(&p, QUIET, 4, 16);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		play(&p, steps[i].script);
		ck_assert_uint_eq(pool_draining(p.pool), steps[i].count);
	}
	play_end(&p);
}
END_TEST

/* What status tells of a roll: the slots that it is through with and that serve, none of them twice. */
START_TEST(slots_done)
{
#define FIRST "roll 2; spawned 4; ready 4; at 101; end 1 0; "
#define SECOND FIRST "spawned 5; ready 5; at 201; end 2 0; "
	static const struct {
		const char *script;
		uint32_t done;
	} rows[] = {
		{ FIRST, 1 },
		{ SECOND, 2 },
		{ SECOND "end 4 1", 1 },
		{ SECOND "end 4 1; at 204; spawned 7; ready 7", 2 },
		{ SECOND "drain 0", 1 },
		{ SECOND "drain 0; end 4 0; reset 0; spawned 7; ready 7", 1 },
		{ SECOND "drain 0; end 4 0; reset 0; spawned 7; ready 7; spawned 6; ready 6; at 301", 2 },
		{ SECOND "drain 0; end 4 0; reset 0; spawned 7; ready 7; spawned 6; ready 6; at 301; scale 2", 1 },
		/* By a rule; it is wanted again, and serves. */
		{ SECOND "at 60000; end 4 75", 1 },
		{ SECOND "at 60000; end 4 75; reset 0", 1 },
		{ SECOND "at 60000; end 4 75; reset 0; spawned 7; ready 7", 2 },
		/* A restart of all; what came meanwhile is not replaced. */
		{ "roll 1; end 2 1; at 4; spawned 5; ready 5; spawned 4; ready 4; at 104", 2 },
		{ "roll 1; end 2 1; at 4; spawned 5; spawned 4; ready 4; at 104", 1 },
		{ "roll 1; end 2 1; at 4; spawned 5; spawned 4; ready 4; at 104; ready 5", 2 },
		{ "roll 1; end 2 1; at 4; spawned 5; spawned 4; ready 4; at 104; end 5 1", 1 },
		/* On the way back those count that need it no more. */
		{ SECOND "spawned 6; end 6 1; at 204; spawned 7; end 7 1", 0 },
		{ SECOND "spawned 6; end 6 1; at 204; spawned 7; end 7 1; restart 2", 1 },
		{ SECOND "spawned 6; end 6 1; at 204; spawned 7; end 7 1; spawned 8; ready 8; at 304", 1 },
		{ SECOND "spawned 6; end 6 1; at 204; spawned 7; end 7 1; spawned 8; ready 8; at 304; end 8 1", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pool_view view;
		struct play p;

		play_begin(&p, QUIET "exit.75=retire", 4, 16);
		play(&p, THREE_READY);
		play(&p, rows[i].script);
		pool_view(p.pool, &view);
		ck_assert_msg(view.roll != 0, "%s: over", rows[i].script);
		ck_assert_msg(view.roll_done == rows[i].done, "%s: %u", rows[i].script, view.roll_done);
		play_end(&p);
	}
#undef FIRST
#undef SECOND
}
END_TEST

/* Whoever reads why the replacement was stopped learns what was asked, not that there was a roll. */
START_TEST(replacement_leaves_for)
{
	static const struct {
		const char *begin, *end;
		enum end_cause cause;
	} rows[] = {
		{ "roll 2", "drain 1", END_DRAIN },    { "roll 2", "drain all", END_DRAIN },
		{ "roll 2", "scale 1", END_SCALE },    { "roll 2", "stop", END_STOP },
		{ "roll 2", "roll 3", END_ROLL },      { "restart 1", "drain 1", END_DRAIN },
		{ "restart 1", "scale 0", END_SCALE }, { "restart 1", "restart 1", END_ROLL },
		{ "big 2", "drain 1", END_DRAIN },     { "big 2", "roll 2", END_ROLL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool whole = strcmp(rows[i].begin, "roll 2") == 0;
		uint32_t next;
		struct play p;

		play_begin(&p, QUIET, 4, 16);
		play(&p, TWO_READY);
		play(&p, rows[i].begin);
		play(&p, whole ? "spawned 3; ready 3; at 101; spawned 4" : "spawned 3");
		next = instance_find(p.pool, whole ? 4 : 3);
		ck_assert_uint_eq(p.pool->instances[next].role, ROLE_NEXT);
		play(&p, rows[i].end);
		ck_assert_int_eq(p.pool->instances[next].state, INSTANCE_STOPPING);
		ck_assert_msg(p.pool->instances[next].cause == rows[i].cause, "%s, %s: %d", rows[i].begin,
			      rows[i].end, p.pool->instances[next].cause);
		play_end(&p);
	}
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, goes, 0, sizeof(stories) / sizeof(stories[0]));
	tcase_add_test(tests, replacement_leaves_for);
	tcase_add_test(tests, lifetimes_are_spread);
	tcase_add_test(tests, cookies_wrap);
	tcase_add_test(tests, draining);
	tcase_add_test(tests, slots_done);
}

int main(void)
{
	return run_suite("core/roll", add_tests);
}
