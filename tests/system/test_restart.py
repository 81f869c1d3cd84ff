"""Row C: crash loops cost little, stay in their slot, and end as the policy says.

    CRASH_LOOP=60 python3 tests/system/test_restart.py RowC.test_C8_a_crash_loop_is_cheap    for so many seconds (10)
"""

import contextlib
import os
import pathlib
import signal
import socket
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"


CRASH_LOOP = float(os.environ.get("CRASH_LOOP", "10"))


def cpu_seconds(pid):
    """To the nanosecond where the kernel counts so (proc(5), schedstat), else in ticks."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_starts(seconds, delay=0.1, ceiling=30):
    """How many the default policy can have made by then: each wait is at least three quarters of what it doubles to."""
    starts, at = 1, 0
    while at <= seconds:
        at += delay * 3 / 4
        delay = min(2 * delay, ceiling)
        starts += 1
    return starts - 1


class RowC(harness.TestCase):
    def test_C1_burst_is_exact(self):
        for burst in (1, 2, 5):
            with self.subTest(burst=burst):
                c = self.sh("exit 1", flags=("-n", "1"), policy=AT_ONCE +
                            f"[restart]\ndelay = 0\nburst = {burst}\ngive_up = exit\n")
                c.announce("worker.exit", "give_up", "stop")
                c.expected_status = 69
                self.assertEqual(c.wait(), 69)
                self.assertEqual(len(c.all("worker.start")), 1 + burst)
                last = c.all("worker.exit")[-1]
                self.assertEqual((last.action, last.why), ("exit", "burst"))

    def test_C1_retire(self):
        c = self.sh("[ $CLUSTERD_SLOT = 0 ] && exit 1; exec sleep 1000", flags=("-n", "2"),
                    policy=AT_ONCE + "[restart]\ndelay = 0\nburst = 2\ngive_up = retire\n")
        c.announce("worker.exit", "give_up")
        c.wait_event("worker.exit", slot=0, action="retire", why="burst")
        self.assertEqual(len(c.all("worker.start", slot=0)), 3)

    def test_C1_hold(self):
        c = self.sh("exit 1", flags=("-n", "1"), policy=AT_ONCE +
                    "[restart]\ndelay = 0\ndelay_max = 300ms\nburst = 2\nwindow = 500ms\ngive_up = hold\n")
        c.announce("worker.exit", "give_up")
        end = c.wait_event("worker.exit", why="burst")
        self.assertGreaterEqual(end.delay_ms, 225)
        c.wait_events(4, "worker.start")

    def test_C4_the_budget_survives_a_reload_and_an_upgrade(self):
        policy = AT_ONCE + "[restart]\ndelay = 0\nburst = 3\nwindow = 24h\ngive_up = retire\nstable = {}\n"
        c = self.cluster("/bin/sleep", "1000", policy=policy.format("1h"), flags=("-n", "2"))
        c.announce("worker.exit", "give_up", "note")
        c.ready(2)

        def die():
            mark, victim = c.mark(), c.pid_of(0)
            c.kill(signal.SIGKILL, victim)
            end = c.wait_event("worker.exit", since=mark, pid=victim)
            if end.action == "respawn":
                c.wait_event("worker.ready", since=mark, slot=0)
            return end.action, end.why

        self.assertEqual(die()[0], "respawn")
        c.policy_file.write_text(policy.format("2h"), encoding="utf-8")
        c.ctl("reload")
        self.assertEqual(die()[0], "respawn")
        c.ctl("upgrade")
        self.assertEqual(die()[0], "respawn")
        self.assertEqual(die(), ("retire", "burst"))
        c.wait_event("give_up", slot=0)
        c.rebase()

    GIVE_UPS = (
        ("burst = 2\nwindow = 90s\ndelay_max = 1h\n", "exit 1", "error",
         r"slot 0 is held: more than 2 respawns in 1m30s \(\[restart\] burst\); the next try comes in 1h"),
        ("burst = 1\ngive_up = retire\n", "exit 1", "error",
         r"slot 0 is retired: more than 1 respawn in 1m \(\[restart\] burst\); "
         r"it stays empty until `clusterctl reset`"),
        ("cluster_burst = 2\ngive_up = exit\n", "exit 1", "error",
         r"slot 0: more than 2 respawns of all slots in 1m \(\[restart\] cluster_burst\); clusterd ends"),
        ("[exit 1]\naction = exit\n", "exit 1", "error", r"slot 0: so says an \[exit RULE\]; clusterd ends"),
        ("when = never\n", "exit 0", "info", "all workers have finished; clusterd ends"),
        ("when = never\n", "exit 1", "error", "all workers have ended, and not all well; clusterd ends"),
    )

    def test_what_follows_is_said_in_words(self):
        for restart, script, level, text in self.GIVE_UPS:
            with self.subTest(text=text):
                c = self.sh(script, flags=("-n", "1"), policy=AT_ONCE + "[restart]\ndelay = 0\n" + restart)
                c.announce("worker.exit", "give_up", "stop")
                told = c.wait_event("give_up")
                self.assertRegex(told.detail, f"^{text}$")
                self.assertEqual(told.level, level)
                if told.action != "respawn":
                    c.expected_status = 69 if level == "error" else 0
                    self.assertEqual(c.wait(), c.expected_status)

    def test_C6_back_off_doubles_to_its_ceiling(self):
        c = self.sh("exit 1", flags=("-n", "1"), policy=AT_ONCE +
                    "[restart]\ndelay = 40ms\ndelay_max = 300ms\n")
        c.announce("worker.exit")
        ends = c.wait_events(6, "worker.exit")
        for end, full in zip(ends, (40, 80, 160, 300, 300, 300)):
            self.assertGreaterEqual(end.delay_ms, full * 3 // 4)
            self.assertLessEqual(end.delay_ms, full)
        starts = c.wait_events(6, "worker.start")
        for end, start in zip(ends, starts[1:]):
            self.assertAlmostEqual(start["at"] - end["at"], end.delay_ms / 1000,
                                   delta=0.1 * harness.SLOW + self.slack())

    def test_C6_a_stable_life_is_followed_at_once(self):
        c = self.cluster("/bin/sleep", "0.4", flags=("-n", "1"), policy=AT_ONCE +
                         "[restart]\ndelay = 1h\ndelay_max = 1h\nstable = 200ms\n")
        c.announce("worker.exit")
        end = c.wait_event("worker.exit")
        self.assertEqual((end.action, end.why, end.delay_ms or 0), ("respawn", "stable", 0))
        c.wait_events(3, "worker.start")

    def test_C8_a_crash_loop_is_cheap(self):
        """Counted by the program itself, and by what the kernel says that clusterd has used."""
        c = self.sh("echo >>runs; exit 1", flags=("-n", "1"), policy=AT_ONCE)
        c.announce("worker.exit")
        c.wait_event("worker.start")
        time.sleep(CRASH_LOOP)  # the time that is judged
        runs, cpu = (c.folder / "runs").read_text().count("\n"), cpu_seconds(c.pid)
        lasted = time.monotonic() - c.all("worker.start")[0]["at"]
        print(f"{runs} starts in {lasted:.1f} s, which took {1e3 * cpu:.1f} ms of CPU")
        self.assertGreater(runs, 3)
        self.assertLessEqual(runs, most_starts(lasted))
        self.assertLessEqual(most_starts(60), 25)
        self.assertLess(cpu, (0.02 + 0.5 * lasted / 60) * harness.SLOW)

    @unittest.skipUnless(harness.HARM, "nothing is preloaded into a sanitized clusterd")
    def test_C11_a_descriptor_goes_behind_its_back(self):
        """Each of those it has, one a clusterd: whatever it misses then, it neither spins nor ends."""
        clusters = []
        try:
            clusters.append(self.watched())
            open_fds = harness.fds(clusters[0].pid)
            # What libuv makes first is its own affair: without its set it calls abort(3), and the end of its
            # pipe of signals, which is not used here, it reads for ever.
            own = min(fd for fd, what in open_fds.items() if "eventfd" in what)
            victims = [fd for fd in sorted(open_fds) if fd > own]
            self.assertGreater(len(victims), 10)
            for fd in victims:
                clusters.append(self.watched())
                self.close_behind(clusters[-1], fd)
            self.judge({c: f"{fd}: {open_fds[fd]}" for c, fd in zip(clusters[1:], victims)})
        finally:
            for c in clusters:  # all of them, before one is looked at
                c.expected_status = -signal.SIGKILL
                c.process.kill()
                c.wait()
                c.announce(*(e["event"] for e in c.events))
                c.tidy()

    def watched(self):
        c = self.cluster("/bin/sleep", "1000", beside=True, flags=("-n", "2", "-b", "round-robin?"),
                         env={"LD_PRELOAD": harness.HARM, "HARM_CLOSE": "close"},
                         policy=AT_ONCE + "[log]\noutput = capture\n[metrics]\nlisten = 127.0.0.1:0\n")
        c.ready(2)
        return c

    def close_behind(self, c, fd):
        """Closes it, and then there is something to hear from everything that is watched."""
        new = c.folder / "new"
        new.write_text(str(fd))
        os.rename(new, c.folder / "close")
        c.kill(signal.SIGUSR1)  # so the loop turns
        harness.eventually(lambda: not (c.folder / "close").exists(), f"{fd} is closed")
        os.kill(c.workers()[0], signal.SIGKILL)
        for number in (signal.SIGUSR1, signal.SIGTTIN):
            c.kill(number)
        for family, address in ((socket.AF_UNIX, str(c.socket)), (socket.AF_INET, ("127.0.0.1", c.port))):
            client = socket.socket(family)
            self.addCleanup(client.close)
            client.setblocking(False)
            with contextlib.suppress(OSError):  # it may have lost just that one
                client.connect(address)
                client.send(b"status\n")

    def judge(self, lost):
        time.sleep(1)  # the time in which all that settles
        before = {c: cpu_seconds(c.pid) for c in lost}
        time.sleep(2)  # and the one that is judged
        for c, fd in lost.items():
            with self.subTest(lost=fd):
                self.assertIsNone(c.process.poll(), c.tail())
                self.assertLess(cpu_seconds(c.pid) - before[c], 0.1)

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_C9_one_bad_slot_harms_nobody(self):
        c = self.sh(f"[ $CLUSTERD_SLOT = 3 ] && exit 1; exec {harness.APP}", flags=("-n", "4"),
                    policy="[restart]\ndelay = 10ms\ndelay_max = 50ms\n")
        c.announce("worker.exit")
        c.wait_events(3, "worker.ready")
        load = harness.Load(c.port, clients=4)
        c.wait_events(20, "worker.exit", slot=3)
        _, lost = load.stop(least=100)
        self.assertEqual(lost, [])
        self.assertEqual({e.slot for e in c.all("worker.exit")}, {3})

    def test_boot_failure_ends_with_the_reason(self):
        c = self.sh("echo cannot find the database >&2; exit 3", flags=("-n", "2"))
        c.announce("worker.exit", "give_up", "stop")
        c.expected_status = 69
        self.assertEqual(c.wait(), 69)
        self.assertLessEqual(len(c.all("worker.start", slot=0)), 4)
        self.assertEqual([(e.action, e.why) for e in c.all("give_up")], [("exit", "boot")])
        self.assertEqual(c.all("stop")[0].reason, "boot")

    def test_killed_worker_is_replaced(self):
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "4"), policy=AT_ONCE)
        c.announce("worker.exit")
        c.ready(4)
        mark = c.mark()
        victim = c.pid_of(2)
        c.kill(signal.SIGKILL, victim)
        end = c.wait_event("worker.exit", since=mark)
        self.assertEqual((end.slot, end.pid, end.signal, bool(end.asked)), (2, victim, "SIGKILL", False))
        self.assertEqual(c.wait_event("worker.ready", since=mark).slot, 2)


harness.main()
