"""Row I: signals, suspension and the terminal.

    STORM=100000 python3 tests/system/test_signals.py RowI.test_I5_a_storm_moves_no_timer    so many signals (100000)
    SUSPENDED=10 python3 tests/system/test_signals.py RowI.test_I8_suspended_clusterd        for so many seconds (3)
"""

import fcntl
import os
import pathlib
import pty
import re
import resource
import signal
import struct
import sys
import tempfile
import termios
import time
import unittest

import harness

MANUAL = pathlib.Path(__file__).resolve().parents[2] / "man" / "clusterd.8"
AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"

# A shell with job control, as far as this goes: the program in a process group of its own, with a parent in the session.
JOB = """
import os, sys
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def pending(pid, number):
    """Has the process been sent the signal, and not read it yet?"""
    return int(harness.status_field(pid, "ShdPnd"), 16) >> (number - 1) & 1


def documented():
    """{names of signals: what clusterd(8) says of them}"""
    section = MANUAL.read_text(encoding="utf-8").split(".Sh SIGNALS\n")[1].split(".Sh ")[0]
    items = re.split(r"^\.It Dv ", section.split(".El\n")[0], flags=re.M)[1:]
    return {tuple(item.split("\n")[0].split(" , ")): " ".join(item.split("\n")[1:]) for item in items}


class RowI(harness.TestCase):
    def said(self, word):
        """The signals of which clusterd(8) says something that begins so."""
        return [getattr(signal, name) for names, text in documented().items() if text.startswith(word) for name in names]

    def test_I2_each_signal_is_documented_once(self):
        names = [name for item in documented() for name in item]
        self.assertEqual(sorted(getattr(signal, name) for name in names), list(range(1, 32)))

    def test_I2_those_that_act_on_the_pool(self):
        """The number of workers, the policy, clusterd itself: one event each, in this order; and the three that stop it."""
        acts = (("SIGTTIN", "scale", {"to": 3, "by": "SIGTTIN"}), ("SIGTTOU", "scale", {"to": 2, "by": "SIGTTOU"}),
                ("SIGHUP", "reload", {}), ("SIGUSR2", "upgrade", {"result": "done"}), ("SIGWINCH", "drained", {}))
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.announce("note", "drained")
        for name, event, fields in acts:
            mark = c.mark()
            c.kill(getattr(signal, name))
            c.wait_event(event, since=mark, **fields)
            if name == "SIGHUP":
                c.wait_event("roll.end", since=mark)
        for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
            c = self.sh("trap '' TERM; echo armed; while :; do sleep 0.05; done", policy=AT_ONCE, flags=("-n", "1"))
            c.announce("worker.exit")
            c.ready(1)
            c.wait_line("armed")
            c.kill(getattr(signal, name))
            if name != "SIGQUIT":
                c.wait_event("worker.stop", signal="SIGTERM")
                c.kill(getattr(signal, name))  # "A second one kills at once."
            self.assertEqual(c.wait(), 0)
            self.assertEqual(c.wait_event("worker.exit").signal, "SIGKILL")
        tested = [name for name, *_ in acts] + ["SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1"]
        others = self.said("Suspend") + self.said("Ignored") + self.said("End ")
        self.assertEqual(sorted(getattr(signal, name) for name in tested), sorted(set(range(1, 32)) - set(others)))

    def test_I2_the_log_tells_who_sent_it(self):
        """Before what follows from it; of the child that is only to be reaped nothing is said."""
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.announce("worker.exit")
        sent = ("SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGHUP", "SIGQUIT")
        for name in sent:
            c.kill(getattr(signal, name))
            event = c.wait_event("signal", signal=name)
            self.assertEqual((event.level, event.pid, event.uid, event.by), ("info", os.getpid(), os.getuid(), None))
            if name == "SIGUSR2":
                c.wait_event("upgrade", result="done")
        self.assertEqual(c.wait(), 0)
        self.assertEqual([e.signal for e in c.all("signal")], list(sent))
        names = [e["event"] for e in c.events]
        self.assertLess(names.index("signal"), names.index("scale"))

    def test_I2_USR1_opens_the_log_again(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[log]\nfile = log\n", flags=("-n", "1"))
        log = c.folder / "log"
        harness.eventually(log.exists, "the log")
        os.rename(log, c.folder / "old")
        c.kill(signal.SIGUSR1)
        harness.eventually(log.exists, "a new log")

    def test_I2_those_that_end_it(self):
        """At once and without a word; its workers go with it, or stay where the policy says so."""
        numbers = [*self.said("End "), signal.SIGRTMIN, signal.SIGRTMAX]
        self.assertGreater(len(numbers), 12)
        for number in numbers if harness.SLOW == 1 else [signal.SIGKILL, signal.SIGALRM, signal.SIGIO]:
            for on_death in ("stop", "keep"):
                with self.subTest(signal=number, on_death=on_death):
                    c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + f"[supervisor]\non_death = {on_death}\n",
                                     flags=("-n", "2"), preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
                    c.announce("note")
                    c.ready(2)
                    workers = c.workers()
                    c.expected_status = -number
                    c.kill(number)
                    c.stopped = c.process.wait(harness.DEADLINE)
                    self.assertEqual(c.stopped, -number)
                    if on_death == "keep":
                        harness.eventually(lambda: [(harness.stat_of(pid) or "X")[0] for pid in workers] == ["S", "S"],
                                           "two workers")
                        for pid in workers:
                            os.kill(pid, signal.SIGKILL)
                    harness.eventually(lambda: all((harness.stat_of(pid) or "X")[0] in "ZX" for pid in workers), "no worker")
                    c.tidy()

    def test_I2_suspended_and_let_go_on(self):
        """It alone; in a session without a shell that could bring it back the kernel ignores SIGTSTP."""
        self.assertEqual(sorted(self.said("Suspend")), sorted([signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT]))
        for number in (signal.SIGSTOP, signal.SIGTSTP):
            c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"), nested=True,
                             prefix=(sys.executable, "-c", JOB))
            c.ready(2)
            c.announce("worker.exit")
            c.kill(number)
            harness.eventually(lambda: harness.stat_of(c.pid)[0] == "T", "suspended")
            victim, other = c.pid_of(0), c.pid_of(1)
            os.kill(victim, signal.SIGKILL)
            harness.eventually(lambda: harness.stat_of(victim)[0] == "Z", "nobody has looked yet")
            harness.eventually(lambda: harness.stat_of(other)[0] == "S", "the other one lives")
            mark = c.mark()
            c.kill(signal.SIGCONT)
            c.wait_event("worker.ready", since=mark, slot=0)

    def test_I2_what_is_ignored_harms_nothing(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.wait_event("up")  # that comes after the last of them
        before, mark = sorted(c.workers()), c.mark()
        self.assertGreater(len(self.said("Ignored")), 3)
        for number in (*self.said("Ignored"), signal.SIGCONT):
            for _ in range(20):
                c.kill(number)
        self.assertIn("ready", c.ctl("status"))
        self.assertEqual(c.mark(), mark)
        self.assertEqual(sorted(c.workers()), before)
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGKILL, before[0])
        c.wait_event("worker.ready", since=mark)
        self.assertEqual(len(set(before) & set(c.workers())), 1)

    def test_I3_workers_get_clean_signals(self):
        ignored = (signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGRTMIN, signal.SIGHUP,
                   signal.SIGCHLD, signal.SIGTERM)
        blocked = (signal.SIGTERM, signal.SIGILL, signal.SIGCHLD, signal.SIGRTMAX)

        def spoil():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"), preexec=spoil)
        c.ready(2)
        for pid in c.workers():
            self.assertEqual(int(harness.status_field(pid, "SigIgn"), 16), 0)
            self.assertEqual(int(harness.status_field(pid, "SigBlk"), 16), 0)
        c.announce("worker.exit")
        c.kill(signal.SIGKILL, c.pid_of(0))
        self.assertEqual(c.wait_event("worker.exit").signal, "SIGKILL")
        self.assertEqual(c.stop(), 0)

    def test_I4_no_signal_between_fork_and_exec_is_lost(self):
        """A storm of group-wide TERMs at workers in birth: each ran and got it, or never ran."""
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "4"),
                         policy=AT_ONCE + "[restart]\ndelay = 0\n")
        c.announce("worker.exit")
        c.ready(4)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for pid in c.workers():
                try:
                    c.kill(signal.SIGTERM, pid)
                except ProcessLookupError:
                    pass
        harness.eventually(lambda: len(c.workers()) == 4, "four workers again")
        self.assertEqual(c.stop(), 0)
        self.assertEqual(len(c.all("worker.start")), len(c.all("worker.exit")))

    def test_I5_storm(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.announce("worker.exit", "reload", "note", "roll.end", "roll.slot", "worker.escalate")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD):
                c.kill(number)
        # It converges: as many workers as are wanted, all of one generation, and the next roll is a roll.
        c.ctl("scale", "2", deadline=10 * harness.SLOW + self.slack())
        harness.eventually(lambda: len(c.all("roll.begin")) == len(c.all("roll.end")), "no roll")
        self.assertGreater(len(c.all("roll.begin")), 1)
        c.ctl("roll")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")
        self.assertEqual(len({harness.environ(pid)[b"CLUSTERD_GENERATION"] for pid in c.workers()}), 1)
        c.rebase()
        begin = time.monotonic()
        self.assertEqual(c.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5 * harness.SLOW + self.slack())

    STORM = int(os.environ.get("STORM", "100000"))

    def test_I5_a_storm_moves_no_timer(self):
        """What waits for a respawn waits neither longer nor shorter; by the time stamps of clusterd's own log."""
        c = self.sh("[ $CLUSTERD_SLOT != 0 ] || exit 3; exec sleep 1000", flags=("-n", "3"), policy=AT_ONCE +
                    "[exit 3]\naction = backoff\ndelay = 250ms\n")
        c.announce("worker.exit")
        c.wait_events(2, "worker.ready")
        c.wait_event("worker.exit", slot=0)
        mark, before = c.mark(), self.slack()
        begin, sent = time.monotonic(), 0
        numbers = (signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGURG)

        def enough():
            return len(c.all("worker.start", since=mark, slot=0)) > 5 or time.monotonic() - begin > harness.DEADLINE

        while sent < self.STORM or not enough():
            for number in numbers:
                c.kill(number)
            sent += len(numbers)
        lasted = time.monotonic() - begin
        slack = self.slack() - before
        c.mark()
        lives = [e for e in c.events[mark:] if e["event"] in ("worker.exit", "worker.start") and e.slot == 0]
        waits = [(start.when - end.when, end.delay_ms / 1000) for end, start in zip(lives, lives[1:])
                 if (end["event"], start["event"]) == ("worker.exit", "worker.start")]
        print(f"{sent} signals in {lasted:.1f} s; {len(waits)} waits of 250 ms, the longest "
              f"{1e3 * max(wait for wait, _ in waits):.0f} ms")
        self.assertGreater(len(waits), 3)
        for wait, wanted in waits:
            self.assertGreater(wait, wanted - 0.05 - slack)
            self.assertLess(wait, wanted + 0.05 * harness.SLOW + slack)
        c.baseline = None

    SUSPENDED = float(os.environ.get("SUSPENDED", "3"))

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_I8_suspended_clusterd(self):
        """Two of four workers end meanwhile. Nobody is lost; what happened is dealt with as soon as it goes on."""
        c = self.cluster(harness.APP, flags=("-n", "4"))
        c.announce("worker.exit")
        c.ready(4)
        load = harness.Load(c.port, clients=4, pause=0.002)
        c.kill(signal.SIGSTOP)
        time.sleep(self.SUSPENDED / 2)
        victims = [c.pid_of(slot) for slot in (1, 3)]
        for pid in victims:
            c.kill(signal.SIGTERM, pid)  # they answer what they have, and then end
        harness.eventually(lambda: [harness.stat_of(pid)[0] for pid in victims] == ["Z", "Z"], "two ends")
        time.sleep(self.SUSPENDED / 2)
        mark, before = c.mark(), self.slack()
        begin = time.monotonic()
        c.kill(signal.SIGCONT)
        ends = c.wait_events(2, "worker.exit", since=mark)
        self.assertLess(time.monotonic() - begin, 0.1 * harness.SLOW + self.slack() - before)
        self.assertEqual(sorted(e.pid for e in ends), sorted(victims))
        c.wait_events(2, "worker.ready", since=mark)
        sent, lost = load.stop(least=100)
        self.assertEqual(lost, [], f"of {sent}")
        self.assertEqual(len(c.all("worker.exit")), 2)

    def test_I11_listen_pid_of_pid_1(self):
        """A worker's LISTEN_PID is its own, whatever clusterd was started with."""
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "1"),
                         env={"LISTEN_PID": "1", "LISTEN_FDS": "0"})
        c.ready(1)
        self.assertEqual(harness.environ(c.pid_of(0))[b"LISTEN_PID"], str(c.pid_of(0)).encode())

    @unittest.skipUnless(harness.HARM, "nothing is preloaded into a sanitized clusterd")
    def test_I9_the_wall_clock_jumps(self):
        """Time stamps move with it, and nothing else: no worker ends, no wait is longer or shorter."""
        with tempfile.TemporaryDirectory() as folder:
            offset = f"{folder}/offset"

            def jump(seconds):
                with open(offset + ".new", "w", encoding="ascii") as file:
                    file.write(str(seconds))
                os.replace(offset + ".new", offset)

            jump(0)
            c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[restart]\ndelay = 300ms\ndelay_max = 300ms\n",
                             flags=("-n", "2"), env={"LD_PRELOAD": harness.HARM, "HARM_CLOCK": offset})
            c.announce("worker.exit")
            c.ready(2)
            other = c.pid_of(1)
            for seconds in (86400, -86400, 10 * 365 * 86400, -10 * 365 * 86400, 0):
                with self.subTest(seconds=seconds):
                    jump(seconds)
                    mark, victim = c.mark(), c.pid_of(0)
                    c.kill(signal.SIGKILL, victim)
                    end = c.wait_event("worker.exit", since=mark, pid=victim)
                    self.assertLess(abs(end.when - time.time() - seconds), 3600)
                    start = c.wait_event("worker.start", since=mark, slot=0)
                    waited = start.when - end.when
                    self.assertGreater(waited, 0.15 - self.slack())
                    self.assertLess(waited, end.delay_ms / 1000 + 0.5 * harness.SLOW + self.slack())
                    self.assertEqual(len(c.all("worker.exit", since=mark)), 1)
                    c.wait_event("worker.ready", since=mark, slot=0)
                    self.assertIn("ready", c.ctl("status"))
            self.assertIn(other, c.workers())

    def test_I12_ctrl_c_is_one_graceful_stop(self):
        """The terminal signals clusterd only: its workers have process groups of their own."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)

        def terminal():
            harness._libc.ioctl(slave, 0x540E, 0)  # TIOCSCTTY

        c = self.sh("trap 'echo got INT' INT; trap 'echo got TERM; exit 0' TERM; echo armed; "
                    "while :; do sleep 0.02; done",
                    policy=AT_ONCE, flags=("-n", "2"), pass_fds=(slave,), preexec=terminal)
        os.close(slave)
        c.ready(2)
        c.wait_lines(2, "armed")
        os.write(master, b"\x03")
        self.assertEqual(c.wait(), 0)
        event = c.wait_event("signal", signal="SIGINT")
        self.assertEqual((event.pid, event.uid, event.by), (None, None, "the terminal or the kernel"))
        c.wait_lines(2, "got TERM")
        self.assertNotIn("got INT", c.other)

    def test_I12_another_window_size_drains_nobody(self):
        """The kernel sends WINCH to who is in the foreground of the terminal; only one that a process sends drains."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)

        def terminal():
            harness._libc.ioctl(slave, 0x540E, 0)  # TIOCSCTTY

        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"), pass_fds=(slave,), preexec=terminal)
        os.close(slave)
        c.ready(2)
        for rows in (30, 40):
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
            harness.eventually(lambda: not pending(c.pid, signal.SIGWINCH), "the signal has been read")
        c.ctl("status")  # whatever follows from it has begun
        self.assertEqual(c.all("worker.stop"), [])
        c.kill(signal.SIGWINCH)
        c.wait_events(2, "worker.stop", why="drain")


harness.main()
