"""A clusterd that does not answer, because it was stopped: clusterctl says so and comes to an end."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import harness
from harness import CLUSTERCTL, DEADLINE


class Silent(harness.TestCase):
    def stopped(self):
        c = self.cluster(harness.PROBE, "ready", policy="[cluster]\nworkers = 1\n[ready]\nwhen = notify\n")
        c.ready(1)
        c.kill(signal.SIGSTOP)
        self.addCleanup(lambda: c.process.poll() is None and c.kill(signal.SIGCONT))
        return c

    def ask(self, c, *words, deadline=DEADLINE):
        done = subprocess.run([CLUSTERCTL, "-s", f"{c.folder}/control.sock", *words], timeout=deadline,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, done.stdout

    def test_looking_says_it_soon_and_ends_with_can_not_tell(self):
        c = self.stopped()
        cure = f"clusterd (pid {c.pid}) is stopped by a signal; kill -CONT {c.pid} lets it go on"
        begun = time.monotonic()
        asked = [(verb, subprocess.Popen([CLUSTERCTL, "-s", f"{c.folder}/control.sock", *verb, "--timeout",
                                          "2500ms"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, text=True))
                 for verb in (["status"], ["is-ready"], ["ends"], ["why", "0"], ["version"], ["check"])]
        for verb, ctl in asked:
            errors = ctl.communicate(timeout=DEADLINE)[1]
            self.assertEqual(ctl.returncode, 4, (verb, errors))
            self.assertEqual(errors.splitlines(),
                             [f"control: {cure}", "control: can not tell: no answer within 2.5s"])
        self.assertLess(time.monotonic() - begun, 6 * harness.SLOW)

    def test_who_was_frozen_with_it_has_the_time_that_was_left(self):
        """As `docker pause` does it: that it had no word from them is not their fault."""
        c = self.cluster(harness.PROBE, "drain=1500", "ready", flags=("-n", 2),
                         policy="[ready]\nwhen = notify\n[stop]\ntimeout = 2s\n")
        c.ready(2)
        workers = c.workers()
        c.ctl("stop", "--no-wait")
        for pid in workers:
            c.wait_event("worker.stop", pid=pid)
        for pid in (c.pid, *workers):
            c.kill(signal.SIGSTOP, pid)
        time.sleep(2 + 2)  # longer than they may take
        mark = c.mark()
        c.kill(signal.SIGCONT)
        c.ctl("version")
        time.sleep(0.3)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                c.kill(signal.SIGCONT, pid)
        self.assertEqual(c.wait(), 0)
        self.assertEqual([(e.code, e.signal) for e in c.wait_events(2, "worker.exit", since=mark)], [(0, None)] * 2)

    def test_work_is_told_too_and_done_when_it_goes_on(self):
        c = self.stopped()
        ctl = subprocess.Popen([CLUSTERCTL, "-s", f"{c.folder}/control.sock", "roll"], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = ctl.stderr.readline()
        self.assertIn(f"kill -CONT {c.pid}", line)
        c.kill(signal.SIGCONT)
        out, errors = ctl.communicate(timeout=DEADLINE)
        self.assertEqual((ctl.returncode, errors), (0, ""), out)
        self.assertIn("roll 1: done", out)

    def test_one_that_does_not_even_take_connections(self):
        c = self.stopped()
        waiting = []
        self.addCleanup(lambda: [s.close() for s in waiting])
        while True:
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            waiting.append(s)
            try:
                s.connect(f"{c.folder}/control.sock")
            except BlockingIOError:
                break
        for verb, expected in (("status", 4), ("roll", 1)):
            code, errors, _ = self.ask(c, verb, "--timeout", "300ms")
            self.assertEqual(code, expected, errors)
            self.assertIn("takes no connections", errors)
        self.assertIn("silent", self.list_of(c)[0])

    def list_of(self, c, *words):
        """`clusterctl list` where the one socket in its folder leads to this cluster."""
        with tempfile.TemporaryDirectory(prefix="clusterd-") as folder:
            inner = f"mkdir -m 700 $0/clusterd; ln -s {c.folder}/control.sock $0/clusterd/web.sock; exec $@"
            command, place = ["/bin/sh", "-c", inner, folder], f"{folder}/clusterd/web.sock"
            if os.geteuid() == 0:  # root's folder is fixed
                if not harness.private_mounts():
                    self.skipTest("what is in /run/clusterd is not ours to replace, and no mount of our own to be had")
                command = ["unshare", "-m", "/bin/sh", "-c", "mount -t tmpfs none $0; " + inner, "/run"]
                place = "/run/clusterd/web.sock"
            done = subprocess.run([*command, CLUSTERCTL, *words, "list"], text=True, timeout=DEADLINE,
                                  env={**os.environ, "XDG_RUNTIME_DIR": folder}, capture_output=True,
                                  stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return done.stdout, place

    def test_list_shows_it(self):
        c = self.stopped()
        text, place = self.list_of(c)
        self.assertRegex(text, rf"web +silent +- +{c.pid} +- +{place}")
        text, place = self.list_of(c, "--json")
        self.assertEqual(json.loads(text), {"v": 1, "kind": "cluster", "name": "web", "pid": c.pid,
                                            "state": "silent", "socket": place})

    def top(self, socket_path, *words):
        """Runs `top` on a terminal; returns its status and what stands there after it."""
        main, side = pty.openpty()
        ctl = subprocess.Popen([CLUSTERCTL, "-s", socket_path, "top", *words], stdin=side, stdout=side,
                               stderr=side, env={**os.environ, "TERM": "xterm"})
        os.close(side)
        text = b""
        try:
            while select.select([main], [], [], DEADLINE)[0]:
                text += os.read(main, 65536)
        except OSError:
            pass
        os.close(main)
        return ctl.wait(DEADLINE), text.decode().rpartition("\033[?1049l")[2]

    def test_top_says_why_it_ends_where_it_can_be_read(self):
        c = self.stopped()
        code, left = self.top(f"{c.folder}/control.sock", "--timeout", "300ms")
        self.assertEqual(code, 4)
        self.assertIn("does not answer", left)
        code, left = self.top("/nonexistent/web.sock")
        self.assertEqual(code, 3)
        self.assertIn("web: not running", left)


if __name__ == "__main__":
    unittest.main()
