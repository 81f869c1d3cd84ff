"""adopt: programs that unlink and bind a unix path by themselves."""

import os
import pathlib
import signal
import socket
import sys
import tempfile
import unittest

import harness

# Unlinks the path before it binds and again when it ends, as many servers do. Others that start at
# the same instant do so too: the path may be missing for a moment.
SERVER = """
import contextlib, os, signal, socket, sys
path = sys.argv[1]
missing = contextlib.suppress(FileNotFoundError)
with missing:
    os.unlink(path)
s = socket.socket(socket.AF_UNIX)
s.bind(path)
with missing:
    os.chmod(path, 0o660)
s.listen(100)
def leave(*_):
    with missing:
        os.unlink(path)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
while True:
    c, _ = s.accept()
    with c:
        c.sendall(str(os.getpid()).encode())
"""


class AdoptUnix(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "web.sock"

    def start(self, workers=3):
        c = self.cluster(sys.executable, "-c", SERVER, self.path, listen=False,
                         policy="[restart]\ndelay = 50ms\n[stop]\ntimeout = 5s\n",
                         flags=("-a", "-l", f"unix:{self.path}", "-n", workers))
        c.ready(workers, deadline=20 * harness.SLOW)
        return c

    def ask(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(harness.DEADLINE)
            client.connect(str(self.path))
            return int(client.recv(99))

    def answers(self, c, tries=20):
        for _ in range(tries):
            self.assertIn(self.ask(), c.workers())

    def linked(self):
        harness.eventually(lambda: self.path.is_symlink() and self.path.is_socket(), "the link is back")

    def test_served_by_all_and_cleaned_up(self):
        c = self.start()
        self.assertEqual(os.readlink(self.path), "web.sock.clusterd")
        self.answers(c)
        self.assertEqual(c.stop(), 0)
        self.assertEqual(list(self.path.parent.iterdir()), [])

    def test_the_path_outlives_a_worker_that_unlinks_it(self):
        c = self.start()
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGTERM, c.pid_of(1))
        c.wait_event("worker.ready", since=mark, slot=1)
        self.linked()
        self.answers(c)

    def test_rolled_and_upgraded(self):
        c = self.start()
        mark = c.mark()
        c.kill(signal.SIGHUP)
        c.wait_event("roll.end", since=mark, verdict="done")
        c.wait_events(3, "worker.exit", since=mark)  # each takes the link away once more
        self.linked()
        self.answers(c)
        mark = c.mark()
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", since=mark, result="done", deadline=20 * harness.SLOW)
        self.path.unlink()
        self.linked()
        self.answers(c)

    def test_what_is_there_is_left_alone(self):
        self.path.write_text("precious")
        c = self.cluster("/bin/sleep", "100", listen=False,
                         flags=("-a", "-l", f"unix:{self.path}", "-n", 1, "--set", "ready.timeout=1s"))
        c.announce("note", "worker.exit", "give_up", "stop", "worker.stop")
        c.expected_status = 69
        self.assertEqual(c.wait(30 * harness.SLOW), 69)
        self.assertEqual(self.path.read_text(), "precious")


if __name__ == "__main__":
    harness.main()
