"""Row H: the number of workers is what was asked for, and slots keep their numbers."""

import errno
import os
import resource
import signal
import socket
import subprocess
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 5s\n"


class RowH(harness.TestCase):
    def start(self, count):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", count))
        c.ready(int(count))
        return c

    def test_H1_signals(self):
        c = self.start(1)
        for count in (2, 3, 4):
            c.kill(signal.SIGTTIN)
            harness.eventually(lambda count=count: len(c.workers()) == count, f"{count} workers")
        for count in (3, 2, 1):
            c.kill(signal.SIGTTOU)
            c.wait_event("worker.exit", slot=count)
            self.assertEqual(len(c.workers()), count)
        self.assertEqual([e.slot for e in c.all("worker.exit")], [3, 2, 1])  # the highest slot goes
        for event in c.all("worker.exit"):
            self.assertTrue(event.asked)

    def test_H1_one_to_sixty_four_and_back(self):
        """Within a second each way, and the first worker stays: the highest slots go."""
        c = self.start(1)
        first, many = c.workers(), 64
        for way in range(3):
            for count in (many, 1):
                before, mark = self.slack(), c.mark()
                begin = time.monotonic()
                c.ctl("scale", str(count), "--no-wait")
                harness.eventually(lambda count=count: len(c.workers()) == count, f"{count} workers")
                took = time.monotonic() - begin
                self.assertLess(took, 1 * harness.SLOW + self.slack() - before, f"{count} workers, time {way}")
                if count == many:
                    c.wait_events(many - 1, "worker.ready", since=mark)
            self.assertEqual(c.workers(), first)
            gone = c.wait_events(many - 1, "worker.exit", since=mark)
            self.assertEqual(sorted(e.slot for e in gone), list(range(1, many)))
            self.assertEqual({e.asked for e in gone}, {True})

    def test_H2_zero_is_a_pause(self):
        c = self.start(1)
        c.announce("note")
        c.kill(signal.SIGTTOU)
        harness.eventually(lambda: not c.workers(), "no worker")
        socket.create_connection(("127.0.0.1", c.port), 5).close()  # the queue of the socket is there
        self.assertIn("\npaused: no worker is wanted, and connections wait; next: clusterctl scale 1\n", c.ctl("status"))
        mark = c.mark()
        c.kill(signal.SIGTTIN)
        c.wait_event("worker.ready", since=mark)
        self.assertEqual(len(c.workers()), 1)

    @unittest.skipUnless(os.access(harness.CLUSTERCTL, os.X_OK), "clusterctl is not built")
    def test_H1_H2_clusterctl(self):
        c = self.start(1)
        c.ctl("scale", "32")
        self.assertEqual(len(c.workers()), 32)
        c.ctl("scale", "-31")
        harness.eventually(lambda: len(c.workers()) == 1, "one worker")
        c.ctl("scale", "100000", status=None)
        self.assertEqual(len(c.workers()), 1)

    @unittest.skipUnless(os.access(harness.CLUSTERCTL, os.X_OK), "clusterctl is not built")
    def test_H2_scale_0_is_a_pause(self):
        c = self.start(3)
        paused = "paused: no worker is wanted, and connections wait; next: clusterctl scale 3\n"
        for down in (("0",), ("-3",)):
            said = c.ctl("scale", *down)
            self.assertIn("scale: done; 0 of 0 ready\n", said)
            self.assertIn(paused, said)
            self.assertEqual(c.workers(), [])
            self.assertIn("\n" + paused, c.ctl("status"))
            self.assertEqual(c.ctl("is-ready", status=1), "web: paused, 0 of 0 ready\n")
            c.ctl("scale", "-1", status=64)
            c.ctl("roll")
            socket.create_connection(("127.0.0.1", c.port), 5).close()
            c.ctl("scale", "+3")
            self.assertEqual(len(c.workers()), 3)

    @unittest.skipUnless(os.access(harness.CLUSTERCTL, os.X_OK), "clusterctl is not built")
    def test_H1_a_number_set_by_hand_is_shown(self):
        """Beside that of the policy, until they are the same; over an upgrade and a reload too."""
        c = self.start(3)
        self.assertNotIn("workers_policy", c.ctl("--json", "status"))
        said = c.ctl("--json", "scale", "1")
        self.assertIn('"wanted":1,"workers_policy":3,', said)
        for words in ("reload",), ("upgrade",), ("status",):
            c.ctl(*words)
            self.assertIn(": ready, 1 of 1 ready (scaled by hand; the policy says 3)    up ", c.ctl("status"))
            self.assertIn('"workers_policy":3,', c.ctl("--json", "status"))
        c.ctl("scale", "3")
        self.assertIn(": ready, 3 of 3 ready    up ", c.ctl("status"))
        self.assertNotIn("workers_policy", c.ctl("--json", "status"))

    FILES = 100

    def limited(self, right):
        """Words before a command that leave it too few open files for so many workers, with or without the right to more."""
        drop = () if right or os.geteuid() != 0 else ("setpriv", "--bounding-set=-sys_resource")
        return (*drop, "prlimit", f"--nofile={self.FILES}")

    def check(self, right):
        return subprocess.run([*self.limited(right), harness.CLUSTERD, "-t", "-n", str(self.FILES), "--", "/bin/sleep", "1"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=harness.DEADLINE)

    @unittest.skipUnless(int(harness.status_field("self", "CapEff"), 16) >> 24 & 1, "to raise a hard limit takes CAP_SYS_RESOURCE")
    def test_H2_more_workers_than_open_files(self):
        """Root's clusterd raises its own limit; the workers have the one that it was started with."""
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", self.FILES), prefix=self.limited(True))
        c.ready(self.FILES)
        self.assertGreater(resource.prlimit(c.pid, resource.RLIMIT_NOFILE)[1], 2 * self.FILES)
        c.ctl("scale", str(3 * self.FILES))
        self.assertEqual(len(c.workers()), 3 * self.FILES)
        for slot in (0, 3 * self.FILES - 1):
            self.assertEqual(resource.prlimit(c.pid_of(slot), resource.RLIMIT_NOFILE), (self.FILES, self.FILES))
        self.assertEqual(self.check(True).stdout, "command line: ok\n")

    def test_D7_H2_more_workers_than_open_files_allowed(self):
        """A start that can not have what it needs is refused; of a scale, those serve for which there are enough."""
        done = self.check(False)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn(f"need {32 + 1 + 2 * (self.FILES + 1)} open files here, and the hard limit is {self.FILES}", done.stderr)
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", self.FILES), prefix=self.limited(False))
        c.expected_status = 78
        self.assertEqual(c.wait(), 78)
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", self.FILES // 4), prefix=self.limited(False))
        c.announce("spawn.error")
        c.ready(self.FILES // 4)
        c.ctl("scale", str(self.FILES), "--no-wait")
        self.assertEqual(c.wait_event("spawn.error").error, os.strerror(errno.EMFILE))
        self.assertGreater(len(c.workers()), self.FILES // 4)
        c.ctl("scale", str(self.FILES // 4))  # and the starts that failed have left no descriptor open

    def test_H3_storm(self):
        c = self.start(4)
        for _ in range(300):
            c.kill(signal.SIGTTIN)
            c.kill(signal.SIGTTOU)
        c.kill(signal.SIGTTIN)
        # Signals of one kind merge, so the count may drift; each worker is still told to stop once.
        c.wait_event("scale")
        c.kill(signal.SIGTERM)
        self.assertEqual(c.wait(), 0)
        asked = [e.pid for e in c.all("worker.stop")]
        self.assertEqual(len(asked), len(set(asked)))

    def test_H3_more_workers_after_fewer_old_ones(self):
        """The room for processes that was made for many old generations is not taken back."""
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[supervisor]\nmax_old = 16\n", flags=("-n", "2"))
        c.ready(2)
        c.announce("note")
        c.policy_file.write_text(AT_ONCE + "[supervisor]\nmax_old = 1\n", encoding="utf-8")
        c.ctl("reload")
        for count in (4, 8, 40):
            c.ctl("scale", str(count))
            self.assertEqual(len(c.workers()), count)
        c.rebase()

    def test_H3_more_old_workers_than_at_the_start(self):
        """A reload lets more of them drain: there is room for the new ones as well."""
        policy = "[ready]\nwhen = notify\n[stop]\ntimeout = 60s\n[supervisor]\nmax_old = %d\n"
        c = self.cluster(harness.PROBE, "ignore-term", "ready", "serve", policy=policy % 1, flags=("-n", "2"))
        c.ready(2)
        c.announce("worker.exit", "worker.escalate")
        c.policy_file.write_text(policy % 16, encoding="utf-8")
        c.ctl("reload")
        for _ in range(10):
            c.ctl("roll")
        self.assertEqual(len(c.workers()), 22)
        c.kill(signal.SIGQUIT)
        self.assertEqual(c.wait(), 0)

    def test_H5_auto_follows_the_affinity(self):
        for cpus in ({min(os.sched_getaffinity(0))}, os.sched_getaffinity(0)):
            with self.subTest(cpus=cpus):
                c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "auto"),
                                 preexec=lambda cpus=cpus: os.sched_setaffinity(0, cpus))
                start = c.wait_event("start")
                self.assertLessEqual(start.workers, len(cpus))
                self.assertGreaterEqual(start.workers, 1)
                c.ready(start.workers)
                self.assertEqual(harness.environ(c.pid_of(0))[b"CLUSTERD_WORKERS"],
                                 str(start.workers).encode())
                for pid in c.workers():
                    self.assertEqual(os.sched_getaffinity(pid), cpus)

    def test_pin(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[cluster]\ncpu = pin\n", flags=("-n", "2"))
        c.ready(2)
        usable = sorted(os.sched_getaffinity(0))
        for slot in (0, 1):
            self.assertEqual(os.sched_getaffinity(c.pid_of(slot)), {usable[slot % len(usable)]})

    def test_H6_slots_keep_their_numbers(self):
        c = self.start(4)
        c.announce("worker.exit")
        for slot in (2, 0, 3, 2):
            mark = c.mark()
            c.kill(signal.SIGKILL, c.pid_of(slot))
            c.wait_event("worker.ready", since=mark, slot=slot)
            self.assertEqual(harness.environ(c.pid_of(slot))[b"CLUSTERD_SLOT"], str(slot).encode())
        self.assertEqual({e.slot for e in c.all("worker.start")}, {0, 1, 2, 3})


harness.main()
