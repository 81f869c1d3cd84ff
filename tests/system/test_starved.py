"""A worker that gets no CPU is not hung, one that gets it and says nothing is."""

import signal
import sys
import time
import unittest

import harness

# Pings, then works so long that with a fair share of a CPU the next ping is in time.
WORKER = """
import os, signal, socket, sys, time
hogs = []
def starve(*_):
    # Children of its own: another session would have another share of the CPU (sched(7), autogroup).
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for _ in range(3):
        hogs.append(os.fork())
        if hogs[-1] == 0:
            while True: pass
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
signal.signal(signal.SIGUSR1, starve)
def say(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text, "\\0" + address[1:] if address[0] == "@" else address)
say(b"READY=1")
while True:
    say(b"WATCHDOG=1")
    begin = time.process_time()
    while time.process_time() - begin < 0.15:
        pass
    if sys.argv[1] == "silent":
        while True: pass
"""
POLICY = "[ready]\nwhen = notify\n[health]\nwatchdog = 1500ms\n[stop]\ntimeout = 1s\n[limit]\ncore = 0\n"


class Starved(harness.TestCase):
    def start(self, manner):
        c = self.cluster(sys.executable, "-c", WORKER, manner, policy=POLICY, flags=("-n", 1))
        c.ready(1)
        return c, c.pid_of(0)

    def test_starved(self):
        c, worker = self.start("busy")
        c.announce("note")
        mark = c.mark()
        c.kill(signal.SIGUSR1, worker)
        note = c.wait_event("note", since=mark, deadline=20 * harness.SLOW)
        self.assertIn("gets no CPU", note.text)
        time.sleep(4)  # more than two watchdogs
        for hog in harness.children(worker):
            c.kill(signal.SIGKILL, hog)
        time.sleep(2)
        self.assertEqual(c.all("worker.hung", since=mark), [])
        self.assertEqual(c.workers(), [worker])

    def test_hung(self):
        c, worker = self.start("silent")
        c.announce("worker.hung", "worker.exit", "worker.escalate")
        end = c.wait_event("worker.exit", pid=worker, deadline=20 * harness.SLOW)
        self.assertEqual(end.cause, "watchdog")

    def test_hung_since_before_an_upgrade(self):
        """The new clusterd counts from its own beginning: before that it has seen neither words nor work."""
        c, worker = self.start("silent")
        c.announce("worker.hung", "worker.exit", "worker.escalate")
        time.sleep(0.5)  # it has said its last word
        c.ctl("upgrade")
        c.wait_event("worker.exit", pid=worker, cause="watchdog", deadline=20 * harness.SLOW)
        self.assertEqual(c.all("note", level="warn"), [])


if __name__ == "__main__":
    harness.main()
