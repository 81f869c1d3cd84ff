"""Row G: all workers are replaced, new first, and nobody outside notices; or nothing changes at all.

    ROLLS=50 python3 tests/system/test_roll.py RowG.test_G1_rolls_back_to_back_under_load    so many of each kind (20)
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import clients
import harness

READY = "[ready]\nwhen = notify\ntimeout = %s\n[stop]\ntimeout = %s\n[roll]\ntries = %d\n[restart]\ndelay = 10ms\n"
NONE_IS_CUT = "[supervisor]\nmax_old = 16\n"  # by the next roll while it drains, if it gets no CPU
ROLLS = int(os.environ.get("ROLLS", "20"))
STABLE = 0.1  # seconds that a replacement must have served before the old worker goes


def bounds(events, count):
    """(fewest that were ready, most that lived), of those not told to stop: replayed from the log since `count` were."""
    serving, living, lowest, most = count, count, count, count
    for event in events:
        told = event["event"] == "worker.stop" and event.get("why") != "timeout"
        serving += (event["event"] == "worker.ready") - told
        living += (event["event"] == "worker.start") - told
        lowest, most = min(lowest, serving), max(most, living)
    return lowest, most


class RowG(harness.TestCase):
    def start(self, *words, workers=2, ready="10s", stop="5s", tries=2, extra="", **options):
        c = self.cluster(*(words or (harness.PROBE, "ready", "serve")), policy=READY % (ready, stop, tries) + extra,
                         flags=("-n", workers, *options.pop("flags", ())), **options)
        c.announce("note")  # a HUP says that the policy has not changed
        c.ready(workers)
        return c

    def folder(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="release-"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def script(self, path, text):
        new = path.with_suffix(".new")
        new.write_text("#!/bin/sh\n" + text)
        new.chmod(0o755)
        os.rename(new, path)

    def test_G1_rolls_back_to_back_under_load(self):
        for balance in ("shared", "round-robin?"):
            with self.subTest(balance=balance):
                c = self.start(harness.APP, workers=2, flags=("-b", balance), extra=NONE_IS_CUT)
                c.announce("balance", "note")
                loads = [harness.Load(c.port, 4), harness.Load(c.port, 4, keep_alive=True)]
                for _ in range(ROLLS):
                    c.ctl("roll")
                for load in loads:
                    sent, lost = load.stop(least=300)
                    self.assertEqual(lost, [], f"of {sent}")
                self.assertEqual(len(c.all("worker.start")), 2 * (1 + ROLLS))
                self.assertEqual({e.asked for e in c.all("worker.exit")}, {True})
                self.assertEqual({e.code for e in c.all("worker.exit")}, {0})
                c.baseline = None

    def test_G2_a_bad_new_program_leaves_the_old_one(self):
        folder = self.folder()
        program = folder / "program"
        good = f"exec {harness.PROBE} ready serve\n"
        bad = {"exits": "exit 1\n", "hangs": "exec sleep 1000\n", "dies of a signal": "kill -SEGV $$\n",
               "dies when it is ready": f"exec {harness.PROBE} ready signal=11\n",
               "cannot be executed": None}
        self.script(program, good)
        c = self.start(program, workers=3, ready="1500ms", stop="1s")
        c.announce("worker.exit", "roll.slot", "roll.end", "spawn.error", "note", "worker.escalate")
        before = sorted(c.workers())
        for what, text in bad.items():
            with self.subTest(what=what):
                if text is None:
                    program.write_text("#!/nonexistent\n")
                else:
                    self.script(program, text)
                mark = c.mark()
                c.ctl("roll", status=1)
                self.assertEqual(c.wait_event("roll.end", since=mark).verdict, "rolled-back")
                self.assertLessEqual(len(c.all("worker.start", since=mark)), 2)  # canary and one more try
                harness.eventually(lambda: sorted(c.workers()) == before, "the same workers")
                self.assertEqual(c.all("worker.stop", since=mark, why="roll", pid=before[0]), [])
        with self.subTest(what="missing"):
            program.unlink()
            c.ctl("roll", status=1)
            self.assertEqual(sorted(c.workers()), before)
        # The old program, not what stands on the disk now, is what a rolled back slot would run: the same path.
        self.script(program, good)
        c.ctl("roll")
        harness.eventually(lambda: not set(before) & set(c.workers()), "the old ones have ended")

    def test_G2_the_verdict_has_the_last_words(self):
        folder = self.folder()
        program = folder / "program"
        self.script(program, f"exec {harness.PROBE} ready serve\n")
        c = self.start(program, extra="[log]\noutput = capture\n", tries=1)
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        self.script(program, "echo no database here >&2\nexit 1\n")
        self.assertIn("no database here", c.ctl("roll", status=1))
        self.assertEqual(c.wait_event("worker.exit").last, "no database here")

    def test_G2_who_serves_on_is_not_claimed(self):
        """A slot was empty before, and is after."""
        program = self.folder() / "program"
        self.script(program, f"exec {harness.PROBE} ready serve\n")
        c = self.start(program, tries=1, extra="[exit 3]\naction = retire\n")
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        with contextlib.suppress(OSError):
            clients.ask(c.port, request=b"GET /exit=3 HTTP/1.1\r\n\r\n")
        c.wait_event("worker.exit", code=3)
        self.script(program, "exit 1\n")
        self.assertRegex(c.ctl("roll", status=1), r"\nroll 1: rolled back after [0-9a-z]+; 1 of 2 ready\n")

    def test_G2_last_words_of_one_that_is_not_ready_in_time(self):
        """It has not ended yet when the verdict falls."""
        folder = self.folder()
        program = folder / "program"
        self.script(program, f"exec {harness.PROBE} ready serve\n")
        c = self.start(program, ready="1500ms", extra="[log]\noutput = capture\n", tries=1)
        c.announce("worker.exit", "roll.slot", "roll.end", "note", "worker.escalate")
        self.script(program, "trap '' TERM\necho waits for the database >&2\nwhile :; do sleep 0.05; done\n")
        self.assertRegex(c.ctl("roll", status=1), r"\nlast words of slot 0: waits for the database\n$")
        c.wait_event("worker.exit", deadline=harness.DEADLINE)

    def test_G2_the_way_back_fails_too(self):
        """The file is broken in mid-roll. Caller and log are told that it goes back, and that it can not."""
        folder = self.folder()
        program = folder / "program"
        good = f"exec {harness.PROBE} ready serve\n"
        self.script(program, good)
        c = self.start(program, extra="delay_max = 50ms\n[log]\noutput = capture\n")
        c.announce("worker.exit", "roll.slot", "roll.back", "roll.end", "note")
        once = folder / "once"
        self.script(program, f'[ -e {once} ] && {{ echo no database "in slot" $CLUSTERD_SLOT >&2; exit 1; }}\n'
                             f": > {once}\n" + good)
        text = c.ctl("roll", status=1)
        self.assertIn("\n  slot 1  failed; what was replaced goes back to generation 1\n", text)
        self.assertIn("\n  slot 0  failed on the way back too (generation 1)\n", text)
        self.assertEqual(text.splitlines()[-1].strip(), "slot 0  failed on the way back too (generation 1)")
        back = c.wait_event("roll.back")
        self.assertEqual((back.roll, back.slot, back.generation, back.tries, back.ok, back.level),
                         (1, 1, 1, 2, True, "warn"))
        stuck = c.wait_event("roll.back", ok=False)
        self.assertEqual((stuck.slot, stuck.level), (0, "error"))
        self.assertEqual(c.all("roll.end"), [])
        for words in ("reload",), ("restart", "1"):  # who comes later is not kept waiting either
            done = subprocess.run([harness.CLUSTERCTL, "-s", str(c.socket), *words], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=harness.DEADLINE)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("the old program does not get ready either; clusterd tries on", done.stdout)
        self.script(program, good)
        self.assertEqual(c.wait_event("roll.end").verdict, "rolled-back")
        self.assertEqual(len(c.all("roll.back")), 2)

    def test_G3_G4_capacity_stays_between_floor_and_ceiling(self):
        for workers, surge in ((4, 1), (12, 1), (12, 4)):
            with self.subTest(workers=workers, surge=surge):
                c = self.start(harness.PROBE, "after=20", "ready", "serve", workers=workers,
                               flags=("--set", f"roll.surge={surge}"))
                mark = c.mark()
                c.ctl("roll")
                c.wait_event("roll.end", since=mark)
                self.assertEqual(bounds(c.events[mark:], workers), (workers, workers + surge))
                self.assertEqual(len(c.all("worker.start", since=mark)), workers)

    def test_G5_old_workers_die_meanwhile(self):
        c = self.start(harness.PROBE, "after=50", "ready", "serve", workers=6)
        c.announce("worker.exit", "note", "roll.slot", "roll.end")
        before = c.workers()
        c.kill(signal.SIGHUP)
        for pid in before[::2]:
            time.sleep(0.05)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.assertEqual(c.wait_event("roll.end", deadline=20 * harness.SLOW).verdict, "done")
        harness.eventually(lambda: len(c.workers()) == 6, "six workers")
        harness.eventually(lambda: not set(before) & set(c.workers()), "the old ones have ended")
        self.assertEqual({harness.environ(pid)[b"CLUSTERD_SLOT"] for pid in c.workers()},
                         {str(slot).encode() for slot in range(6)})
        self.assertEqual({harness.environ(pid)[b"CLUSTERD_GENERATION"] for pid in c.workers()}, {b"2"})

    def test_G6_a_roll_upon_a_roll(self):
        c = self.start("/bin/sh", "-c", 'while [ -e hold$CLUSTERD_SLOT ]; do sleep 0.02; done; exec "$0" after=100 ready serve',
                       harness.PROBE, workers=4)
        c.announce("roll.end", "note", "worker.escalate")
        hold = c.folder / "hold1"
        hold.touch()
        c.kill(signal.SIGHUP)
        c.wait_event("roll.slot", slot=0)
        c.kill(signal.SIGHUP)
        c.wait_event("roll.end", verdict="superseded")
        hold.unlink()
        c.wait_event("roll.end", verdict="done")
        harness.eventually(lambda: len(c.workers()) == 4, "four workers")
        self.assertEqual({harness.environ(pid)[b"CLUSTERD_GENERATION"] for pid in c.workers()}, {b"3"})
        self.assertLessEqual(len(c.all("worker.start")), 4 + 4 + 3)

    def test_G7_a_slow_drain_is_cut(self):
        for limit, cut in (("500ms", True), ("5s", False)):
            with self.subTest(limit=limit):
                c = self.start(harness.PROBE, "ready", "drain=1500", "serve", workers=1, stop=limit)
                c.announce("worker.escalate", "worker.exit")
                begin = time.monotonic()
                c.kill(signal.SIGHUP)
                end = c.wait_event("worker.exit")
                self.assertAlmostEqual(end["at"] - begin, STABLE + (0.5 if cut else 1.5),
                                       delta=0.3 * harness.SLOW + self.slack())
                self.assertEqual(end.signal, "SIGKILL" if cut else None)
                self.assertEqual(len(c.all("worker.escalate")), 1 if cut else 0)
                for event in c.all("worker.escalate"):  # as clusterd(8) shows it
                    self.assertAlmostEqual(event.after_ms, 500, delta=200 * harness.SLOW + 1000 * self.slack())
                    self.assertIsNone(event.reason)
                self.assertTrue(end.asked)

    def test_G7_drain_delay_comes_first(self):
        c = self.start(workers=1, extra="", flags=("--set", "stop.drain_delay=600ms"))
        c.kill(signal.SIGHUP)
        switched = c.wait_event("roll.slot")
        stop = c.wait_event("worker.exit")
        self.assertAlmostEqual(stop["at"] - switched["at"], 0.6, delta=0.25 * harness.SLOW + self.slack())

    def test_G8_each_old_worker_is_told_once(self):
        c = self.start("/usr/bin/python3", "-S", "-E", "-c", TELLER, workers=3, stop="700ms",
                       extra="[log]\noutput = capture\n")
        c.announce("worker.escalate", "worker.exit", "roll.end")
        old = c.workers()
        c.ctl("roll")
        c.wait_events(3, "worker.exit")
        told = [line for line in c.other if "told" in line]
        self.assertEqual(sorted(int(line.rsplit(" ", 1)[1]) for line in told), sorted(old))

    def test_G9_ready_and_dead(self):
        """One that says READY=1 and dies within the time it has to prove itself replaces nobody."""
        folder = self.folder()
        program = folder / "program"
        self.script(program, f"exec {harness.PROBE} ready serve\n")
        c = self.start(program, workers=1, tries=3)
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        old = c.workers()[0]
        self.script(program, f"exec {harness.PROBE} ready exit=0\n")
        mark = c.mark()
        c.ctl("roll", status=1)
        self.assertEqual(c.all("worker.stop", since=mark), [])
        self.assertEqual(c.workers(), [old])
        self.assertEqual(len(c.all("worker.ready", since=mark)), 3)

    def test_G9_dead_once_it_has_taken_over(self):
        """The roll waits for its slot, and after as many as `tries` of them all goes back."""
        c = self.start(tries=2)
        quick = c.policy_file.read_text()
        c.policy_file.write_text(quick.replace("[roll]\n", "[roll]\npause = 1h\n"))
        c.ctl("reload")
        c.announce("worker.exit", "roll.slot", "roll.back", "roll.end", "note")
        other = c.pid_of(1)
        client = c.asked("roll")
        c.wait_event("roll.slot", slot=0, ok=True)
        for tries in (1, 2):
            mark = c.mark()
            os.kill(c.pid_of(0), signal.SIGKILL)
            c.wait_event("roll.slot", slot=0, ok=False, tries=tries)
            c.wait_event("worker.ready", since=mark, slot=0, generation=3 - tries)
        said = client.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(client.returncode, 1, said)
        self.assertIn("\n  slot 0  try 1 failed\n", said)
        self.assertIn("\n  slot 0  try 2 failed\n  slot 0  failed; what was replaced goes back to generation 1\n", said)
        self.assertEqual(c.wait_event("roll.end").verdict, "rolled-back")
        self.assertEqual(c.pid_of(1), other)

    def test_G9_the_last_one_is_watched_too(self):
        """With one worker it is the only one: [roll] pause is what tells a roll that is done from one that is ready."""
        c = self.start(workers=1, tries=1)
        quick = c.policy_file.read_text()
        c.policy_file.write_text(quick.replace("[roll]\n", "[roll]\npause = 1h\n"))
        c.ctl("reload")
        c.announce("worker.exit", "roll.slot", "roll.back", "roll.end", "note")
        client = c.asked("roll")
        c.wait_event("roll.slot", slot=0, ok=True)
        self.assertRegex(c.ctl("status"), r"\nroll 1 to generation 2: 1 of 1 slots done, pauses \S+ more\n")
        os.kill(c.pid_of(0), signal.SIGKILL)
        said = client.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(client.returncode, 1, said)
        self.assertEqual(c.wait_event("roll.end").verdict, "rolled-back")

    def test_G10_everything_is_read_again(self):
        folder = self.folder()
        for version in ("1", "2"):
            (folder / version).mkdir()
            (folder / version / "mark").touch()
        link = folder / "current"
        link.symlink_to("1")
        policy = READY % ("10s", "5s", 2) + f"[cluster]\ndirectory = {link}\nworkers = 2\n[env]\nWHAT = %s\n"
        c = self.cluster(harness.PROBE, "ready", "serve", policy=policy % "one")
        c.ready(2)
        old = c.workers()[0]
        (folder / "next").symlink_to("2")
        os.rename(folder / "next", link)
        c.policy_file.write_text(policy % "two")
        self.assertEqual(os.readlink(f"/proc/{old}/cwd"), str(folder / "1"))
        c.ctl("reload")
        for pid in c.workers():
            if pid in [e.pid for e in c.all("worker.start", generation=2)]:
                self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), str(folder / "2"))
                self.assertEqual(harness.environ(pid)[b"WHAT"], b"two")
        harness.eventually(lambda: len(c.workers()) == 2 and old not in c.workers(), "only new ones")

    def test_restart_of_one_slot(self):
        c = self.start(workers=3)
        before = {slot: c.pid_of(slot) for slot in range(3)}
        c.ctl("restart", "1")
        self.assertEqual(c.pid_of(0), before[0])
        self.assertEqual(c.pid_of(2), before[2])
        self.assertNotEqual(c.pid_of(1), before[1])
        c.ctl("restart", "7", status=None)
        self.assertEqual(len(c.all("worker.start")), 4)

    def test_restart_during_a_roll_that_pauses(self):
        """It comes after the roll, runs what that has brought, and says why it waits."""
        c = self.start(workers=2)
        quick = c.policy_file.read_text()
        c.policy_file.write_text(quick.replace("[roll]\n", "[roll]\npause = 1h\n"))
        c.ctl("reload")
        c.ctl("roll", "--no-wait")
        c.wait_event("roll.slot", slot=0)
        restart = c.asked("restart", "0")
        self.assertEqual(restart.stdout.readline(), "roll 2: 1 slot to generation 2\n")
        self.assertEqual(restart.stdout.readline(), "roll 1 is under way: the slot is restarted when that has ended\n")
        c.policy_file.write_text(quick)
        c.ctl("reload")
        self.assertIn("\nroll 2: done after", restart.communicate(timeout=harness.DEADLINE)[0])

    def test_stop_wins_over_a_roll(self):
        c = self.start(harness.PROBE, "after=300", "ready", "serve", workers=4)
        c.announce("roll.end", "worker.exit", "worker.escalate")
        c.kill(signal.SIGHUP)
        c.wait_event("roll.begin")
        begin = time.monotonic()
        self.assertEqual(c.stop(), 0)
        self.assertLess(time.monotonic() - begin, 3 * harness.SLOW + self.slack())
        self.assertEqual(c.all("roll.end")[0].verdict, "stopped")

    def test_the_client_goes_the_roll_goes_on(self):
        """M6: the one who asked is killed at any stage."""
        c = self.start(harness.PROBE, "after=50", "ready", "serve", workers=2)
        c.announce("roll.end")
        for delay in (0, 0.02, 0.05, 0.1, 0.2):
            mark = c.mark()
            client = harness.subprocess.Popen([harness.CLUSTERCTL, "-s", f"{c.folder}/control.sock", "roll"],
                                              stdout=harness.subprocess.DEVNULL, stderr=harness.subprocess.DEVNULL)
            c.wait_event("roll.begin", since=mark)
            time.sleep(delay)
            client.kill()
            client.wait()
            self.assertEqual(c.wait_event("roll.end", since=mark).verdict, "done")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")

    def test_max_old_cuts_the_oldest(self):
        c = self.start(harness.PROBE, "ready", "drain=60000", "serve", workers=1, stop="60s",
                       extra="[supervisor]\nmax_old = 2\n")
        c.announce("worker.escalate", "worker.exit", "note", "roll.end")
        first = c.workers()[0]
        for _ in range(3):
            mark = c.mark()
            c.kill(signal.SIGHUP)
            c.wait_event("roll.end", since=mark, verdict="done")
            self.assertLessEqual(len(c.workers()), 1 + 2 + 1)
        self.assertEqual(c.wait_event("worker.exit", pid=first).signal, "SIGKILL")
        self.assertEqual(c.wait_event("worker.escalate", pid=first).reason,
                         "more than 2 generations would drain ([supervisor] max_old)")
        self.assertRegex(c.ctl("roll"), r"\n  slot 0  \d+ is cut: more than \[supervisor\] max_old 2 would drain: SIGKILL\n")
        c.kill(signal.SIGQUIT)
        self.assertEqual(c.wait(), 0)

    def test_over_max_old_refuses(self):
        c = self.start(harness.PROBE, "ready", "drain=60000", "serve", workers=1, stop="60s",
                       extra="[supervisor]\nmax_old = 1\nover_max_old = refuse\n")
        c.announce("worker.exit", "note", "roll.end", "reload")
        first = c.workers()[0]
        c.ctl("roll")
        serving = c.pid_of(0)
        why = ("the workers of 1 old generation still drain, and [supervisor] max_old allows no more: try again when "
               "they have ended, or set over_max_old = cut")
        self.assertIn(why, c.ctl("--json", "roll", status=1))
        c.ctl("check")
        c.ctl("reload")  # which changes nothing, and needs no roll
        good = c.policy_file.read_text()
        c.policy_file.write_text(good + "[env]\nNEW = 1\n")
        for asked in (("reload", "--dry-run"), ("reload",)):
            self.assertIn(why, c.ctl(*asked, status=1))
        self.assertEqual((sorted(c.workers()), c.pid_of(0)), (sorted([first, serving]), serving))
        c.kill(signal.SIGKILL, first)
        c.wait_event("worker.exit", pid=first)
        c.ctl("reload")
        self.assertNotEqual(c.pid_of(0), serving)
        c.policy_file.write_text(good.replace("refuse", "cut") + "[env]\nNEW = 2\n")
        c.announce("worker.escalate")
        c.ctl("reload")
        self.assertEqual(c.wait_event("worker.exit", pid=serving).signal, "SIGKILL")
        c.kill(signal.SIGQUIT)
        self.assertEqual(c.wait(), 0)

    def test_max_old_that_is_raised_finds_room(self):
        c = self.start(harness.PROBE, "ready", "drain=60000", "serve", workers=4, stop="60s",
                       extra="[supervisor]\nmax_old = 1\n")
        c.announce("worker.exit", "roll.end")
        c.policy_file.write_text(c.policy_file.read_text().replace("max_old = 1", "max_old = 16"))
        c.ctl("reload")
        for _ in range(5):
            mark = c.mark()
            c.kill(signal.SIGHUP)
            c.wait_event("roll.end", since=mark, verdict="done")
        self.assertEqual(len(c.workers()), 4 * (1 + 5))
        self.assertEqual(c.all("worker.escalate"), [])
        c.kill(signal.SIGQUIT)
        self.assertEqual(c.wait(), 0)

    def test_recycle_by_memory_new_first(self):
        c = self.start(workers=2, extra="[recycle]\nmax_rss = 40M\n")
        c.announce("recycle")
        fat = c.pid_of(0)
        connection = harness.Connection(c.port)
        self.addCleanup(connection.close)
        connection.get("/eat-memory=60")
        recycled = c.wait_event("recycle")
        mark = c.events.index(recycled)
        ready = c.wait_event("worker.ready", since=mark)
        stop = c.wait_event("worker.stop", since=mark)
        self.assertEqual(ready.slot, stop.slot)
        self.assertLess(ready["at"], stop["at"])
        self.assertEqual(stop.why, "rss")
        self.assertIn(recycled.pid, (fat, c.all("worker.start", slot=1)[0].pid))
        c.wait_event("worker.exit", pid=recycled.pid, asked=True)
        self.assertRegex(c.ctl("why", str(recycled.slot)),
                         r"; \[recycle\] max_rss 40M was passed \([67]\dM at the most\), so nothing had to follow\n")

    def test_a_limit_below_what_the_program_needs(self):
        """Replaced once in restart.stable, the figures in each line, and one warning."""
        c = self.cluster(harness.PROBE, "eat-memory=50", "ready", flags=("-n", "1"), policy=
                         "[restart]\nstable = 3s\n[recycle]\nmax_rss = 30M\n")
        c.announce("note", "worker.escalate")
        recycled = c.wait_events(3, "recycle", deadline=20 * harness.SLOW)
        for event in recycled:
            self.assertRegex(event.detail, r"^\d\dM, over \[recycle\] max_rss 30M$")
        for first, second in zip(recycled, recycled[1:]):
            self.assertGreater(second.when - first.when, 2.9)
        warnings = c.all("note", level="warn")
        self.assertEqual([e.slot for e in warnings], [0])
        self.assertRegex(warnings[0].text, r"^\d\dM, over \[recycle\] max_rss 30M, as was the one before it: ")

    def test_recycle_by_age_at_most_one_at_a_time(self):
        c = self.start(harness.PROBE, "after=50", "ready", "serve", workers=4,
                       extra="[recycle]\nmax_lifetime = 1s\njitter = 50%\n")
        c.announce("recycle", "worker.escalate")
        c.wait_events(8, "worker.exit", deadline=20 * harness.SLOW)
        self.assertEqual({e.asked for e in c.all("worker.exit")}, {True})
        last = c.events.index(c.all("worker.ready")[3])  # of those that were started first
        self.assertEqual(bounds(c.events[last + 1:], 4), (4, 5))
        c.baseline = None

    def test_drain_keeps_the_sockets(self):
        c = self.start(workers=2)
        c.announce("drained", "note")
        c.kill(signal.SIGWINCH)
        harness.eventually(lambda: not c.workers(), "no worker")
        waiting = harness.Connection(c.port)  # the queue is there, and waits
        self.addCleanup(waiting.close)
        waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        c.ctl("roll")  # and back
        self.assertEqual(waiting.response()[0], 200)
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")
        self.assertIn('"ready":2,"wanted":2', c.ctl("--json", "status"))

    def test_H3_a_storm_of_TTIN_and_TTOU(self):
        c = self.start(workers=4)
        c.announce("worker.escalate", "note")
        wanted = 4
        for turn in range(60):  # one by one each counts
            mark = c.mark()
            up = turn % 7 < 4
            c.kill(signal.SIGTTIN if up else signal.SIGTTOU)
            wanted += 1 if up else -1
            self.assertEqual(c.wait_event("scale", since=mark).to, wanted)
        harness.eventually(lambda: len(c.workers()) == wanted, f"{wanted} workers")
        told = [e.pid for e in c.all("worker.stop")]
        self.assertEqual(len(told), len(set(told)))
        c.baseline = None


TELLER = """
import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'told %d\\n' % os.getpid()))
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = os.environ['NOTIFY_SOCKET']
s.sendto(b'READY=1', '\\0' + path[1:] if path[0] == '@' else path)
while True:
    time.sleep(1)
"""

harness.main()
