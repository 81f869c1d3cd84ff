"""Rows N7 and N8: clusterd itself is killed, and what becomes of its workers is what the policy says."""

import os
import signal
import socket
import subprocess
import time
import unittest

import harness

POLICY = "[ready]\nwhen = notify\n[supervisor]\non_death = %s\n"


class RowN7(harness.TestCase):
    def start(self, on_death, **options):
        c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY % on_death, flags=("-n", "3"), **options)
        c.ready(3)
        return c

    def murder(self, c, asked=False):
        """SIGKILL to clusterd; what it can not take away itself is taken away here. If it was asked to
        end it may have done so before."""
        workers = c.workers()
        c.kill(signal.SIGKILL)  # a zombie takes it too: nobody has waited for it yet
        c.expected_status = c.wait()
        self.assertIn(c.expected_status, (-signal.SIGKILL, 0) if asked else (-signal.SIGKILL,))
        c.tidy()
        return workers

    def refused(self, port):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) != 0

    def second(self, c):
        """Another clusterd on the same address: (status, what it said)."""
        done = subprocess.run([harness.CLUSTERD, "--set", "control.socket=off", "-l", f"127.0.0.1:{c.port}", "--",
                               "/bin/sleep", "1"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=harness.DEADLINE, check=False)
        return done.returncode, done.stderr

    def test_N7_stop_leaves_nobody(self):
        for turn in range(5):
            c = self.start("stop")
            begin = time.monotonic()
            workers = self.murder(c)
            harness.eventually(lambda: not any(harness.stat_of(pid) and harness.stat_of(pid)[0] not in "ZX"
                                               for pid in workers), "no orphan")
            harness.eventually(lambda: self.refused(c.port), "the port is free")
            self.assertLess(time.monotonic() - begin, 1 * harness.SLOW + self.slack(), f"turn {turn}")

    def test_N7_stop_after_an_upgrade(self):
        """The wish to die with the parent survives the parent's change of program."""
        c = self.start("stop")
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", result="done")
        workers = self.murder(c)
        harness.eventually(lambda: not any(harness.stat_of(pid) and harness.stat_of(pid)[0] not in "ZX"
                                           for pid in workers), "no orphan")

    @unittest.skipUnless(os.geteuid() == 0, "only root may run workers as another user")
    def test_N7_stop_of_another_user(self):
        """The kernel forgets the wish when a process changes its user, so it is told after that."""
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "2"), policy="[cluster]\nuser = nobody\n[ready]\nafter = 0\n")
        c.ready(2)
        workers = self.murder(c)
        harness.eventually(lambda: not any(harness.stat_of(pid) and harness.stat_of(pid)[0] not in "ZX"
                                           for pid in workers), "no orphan")

    def test_N7_keep_serves_on(self):
        c = self.start("keep")
        workers = self.murder(c)
        for _ in range(200):
            connection = harness.Connection(c.port)
            status, headers, _ = connection.get("/")
            connection.close()
            self.assertEqual(status, 200)
            self.assertIn(int(headers["x-pid"]), workers)
        status, text = self.second(c)
        self.assertEqual(status, 73, text)
        self.assertIn(str(c.port), text)
        self.assertIn("in use", text)
        for pid in workers:  # none of them took harm
            self.assertNotIn(harness.stat_of(pid)[0], "ZX")
            os.kill(pid, signal.SIGKILL)
        harness.eventually(lambda: self.refused(c.port), "the port is free")

    def test_N7_a_clusterd_after_the_dead_one(self):
        """Control socket and pid file of the dead one are replaced, not stumbled over."""
        c = self.start("stop")
        socket_path = c.folder / "control.sock"
        inode = os.stat(socket_path).st_ino
        workers = c.workers()
        c.expected_status = -signal.SIGKILL
        c.kill(signal.SIGKILL)
        c.wait()
        harness.eventually(lambda: not any(harness.stat_of(pid) and harness.stat_of(pid)[0] not in "ZX"
                                           for pid in workers), "no orphan")
        self.assertTrue(socket_path.exists())
        again = subprocess.Popen([harness.CLUSTERD, "--set", f"control.socket={socket_path}", "-n", "1", "-l",
                                  f"127.0.0.1:{c.port}", "--", harness.PROBE, "ready", "serve"],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(again.wait)
        self.addCleanup(again.kill)
        harness.eventually(lambda: subprocess.run([harness.CLUSTERCTL, "-s", str(socket_path), "is-ready"],
                                                  capture_output=True, check=False).returncode == 0, "ready again")
        self.assertNotEqual(os.stat(socket_path).st_ino, inode)
        again.terminate()
        self.assertEqual(again.wait(harness.DEADLINE), 0)
        self.assertFalse(socket_path.exists())

    def test_N8_killed_at_any_moment(self):
        """Start, roll, scale, upgrade, stop: with on_death = stop no moment leaves an orphan."""
        harm = (lambda c: None, lambda c: c.kill(signal.SIGHUP), lambda c: c.kill(signal.SIGTTIN),
                lambda c: c.kill(signal.SIGUSR2), lambda c: c.kill(signal.SIGTERM))
        for turn in range(30):
            c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY % "stop", flags=("-n", "3"))
            c.announce("note", "roll.end", "upgrade")
            c.ready(3) if turn >= 5 else c.wait_event("start")
            harm[turn % 5](c)
            time.sleep(turn // 5 * 0.002)
            workers = self.murder(c, asked=turn % 5 == 4)
            harness.eventually(lambda: not any(harness.stat_of(pid) and harness.stat_of(pid)[0] not in "ZX"
                                               for pid in workers), "no orphan")
            harness.eventually(lambda: not [p for p, s in harness.children(os.getpid()).items()
                                            if s not in "ZX"], "no orphan of clusterd's")


harness.main()
