"""Row I: signals, suspension and the terminal."""

import fcntl
import os
import pty
import signal
import struct
import tempfile
import termios
import time
import unittest
from datetime import datetime

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"


def pending(pid, number):
    """Has the process been sent the signal, and not read it yet?"""
    return int(harness.status_field(pid, "ShdPnd"), 16) >> (number - 1) & 1


class RowI(harness.TestCase):
    def test_I2_what_is_ignored_harms_nothing(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        before = sorted(c.workers())
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGUSR1):
            for _ in range(20):
                c.kill(number)
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
        begin = time.monotonic()
        self.assertEqual(c.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5 * harness.SLOW + self.slack())

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_I8_suspended_clusterd(self):
        c = self.cluster(harness.APP, flags=("-n", "2"))
        c.announce("worker.exit")
        c.ready(2)
        load = harness.Load(c.port, clients=4, pause=0.002)
        c.kill(signal.SIGSTOP)
        time.sleep(2)
        sent, lost = load.stop()
        self.assertEqual(lost, [])
        self.assertGreater(sent, 100)
        victim = c.pid_of(1)
        c.kill(signal.SIGKILL, victim)
        mark = c.mark()
        begin = time.monotonic()
        c.kill(signal.SIGCONT)
        c.wait_event("worker.exit", since=mark, slot=1)
        self.assertLess(time.monotonic() - begin, 0.2 * harness.SLOW + self.slack())

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
                    said = datetime.fromisoformat(end.time.replace("Z", "+00:00")).timestamp()
                    self.assertLess(abs(said - time.time() - seconds), 3600)
                    start = c.wait_event("worker.start", since=mark, slot=0)
                    waited = start["at"] - end["at"]
                    self.assertGreater(waited, 0.15)
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
        harness.eventually(lambda: c.other.count("armed") == 2, "both traps are set")
        os.write(master, b"\x03")
        self.assertEqual(c.wait(), 0)
        harness.eventually(lambda: c.other.count("got TERM") == 2, "both are asked once")
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
