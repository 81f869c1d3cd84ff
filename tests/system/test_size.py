"""Row O: many workers, many restarts, nothing that grows.

    CONNECTIONS=100000 RELOADS=10000 python3 tests/system/test_size.py RowO.test_O3_clients_and_reloads_leave_nothing_behind
"""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

import clients
import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 20s\n"


class RowO(harness.TestCase):
    def rss_kb(self, c):
        return int(harness.status_field(c.pid, "VmRSS").split()[0])

    def test_O1_A4_a_thousand_workers(self):
        count = 1000
        begin = harness.time.monotonic()
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[restart]\ndelay = 0\n", flags=("-n", count))
        c.announce("worker.exit")
        c.wait_events(count, "worker.start")  # all before the first is ready
        c.ready(count)
        started = harness.time.monotonic() - begin
        rss = self.rss_kb(c)
        mark = c.mark()
        for pid in c.workers():
            c.kill(signal.SIGKILL, pid)
        ends = c.wait_events(count, "worker.exit", since=mark)
        c.wait_events(count, "worker.ready", since=mark)
        self.assertEqual(len({e.pid for e in ends}), count)
        print(f"{count} workers: started in {started:.2f} s, RSS {rss} kB, all replaced in "
              f"{c.events[-1]['at'] - ends[0]['at']:.2f} s")
        if harness.SLOW == 1:
            self.assertLess(rss, 16384)

    def test_O1_a_request_about_two_thousand(self):
        """Each step of each worker is told, and the verdict behind them, although more than a socket takes is told at once."""
        count = 2000
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", count))
        c.wait_events(count, "worker.start")  # all before the first is ready
        c.ready(count)
        for request, stops, verdict in (("drain all", count, f"drain: done; 0 of {count} ready"),
                                         ("reset", 0, f"reset: done; {count} of {count} ready"),
                                         ("wait ready", 0, f"wait: done; {count} of {count} ready"),
                                         ("stop", count, "control: stopped, exit status 0")):
            with self.subTest(request=request):
                said = c.ctl(*request.split(), deadline=4 * harness.DEADLINE).splitlines()
                self.assertEqual(said[-1], verdict)
                self.assertEqual(sum(" gets SIGTERM (" in line for line in said), stops)
        self.assertEqual(c.wait(), 0)

    def test_O3_restarts_leave_nothing_behind(self):
        c = self.cluster("/bin/sh", "-c", "[ $CLUSTERD_SLOT = 0 ] && exit 0; exec sleep 1000",
                         policy=AT_ONCE + "[restart]\ndelay = 0\n", flags=("-n", "2"))
        c.announce("worker.exit")
        c.wait_events(300, "worker.exit", deadline=20 * harness.SLOW)  # the death history is full by now
        before, rss = len(harness.fds(c.pid)), self.rss_kb(c)
        count = len(c.all("worker.exit"))
        c.wait_events(count + 2000, "worker.exit", deadline=60 * harness.SLOW)
        self.assertLessEqual(abs(len(harness.fds(c.pid)) - before), 5)  # one worker may be on its way
        if harness.SLOW == 1:
            self.assertLess(self.rss_kb(c) - rss, 128)

    CONNECTIONS = int(os.environ.get("CONNECTIONS", 30000 if harness.SLOW == 1 else 3000))
    RELOADS = int(os.environ.get("RELOADS", 3000 if harness.SLOW == 1 else 150))

    def test_O3_clients_and_reloads_leave_nothing_behind(self):
        """Clients that ask, that ask half a question, and that only come and go; reloads that change something or not."""
        policy = AT_ONCE + "[restart]\ndelay = {}ms\n"
        c = self.cluster("/bin/sleep", "1000", policy=policy.format(1), flags=("-n", "2"))
        c.announce("note")
        c.ready(2)

        def visit(number):
            if number % 3 == 0:
                self.assertIn('"done":true', clients.control(c.socket, ("version", "status", "ends")[number // 3 % 3]))
                return
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(harness.DEADLINE)
                client.connect(str(c.socket))
                if number % 3 == 1:
                    client.sendall(b"stat")

        def reload(number):
            if number % 2:
                c.policy_file.write_text(policy.format(number), encoding="utf-8")
            self.assertIn('"done":true', clients.control(c.socket, "reload"))

        def do(times, act):
            for number in range(times):
                act(number)

        def measure():
            """Once all that left is gone: clusterd looks at its clients when something comes, or each second."""
            harness.eventually(lambda: len(harness.fds(c.pid)) <= c.baseline[1], f"{c.baseline[1]} fds")
            return len(harness.fds(c.pid)), self.rss_kb(c)

        do(600, visit)
        do(600, reload)  # the rings of events and reasons are full by now
        for times, act in ((self.CONNECTIONS, visit), (self.RELOADS, reload)):
            before = measure()
            do(times, act)
            after = measure()
            print(f"{times} times {act.__name__}: fds {before[0]} and {after[0]}, RSS {before[1]} and {after[1]} kB")
            self.assertEqual(after[0], before[0])
            if harness.SLOW == 1:
                self.assertLessEqual(after[1] - before[1], 128)
        self.assertEqual(len(c.all("worker.start")), 2)

    @unittest.skipUnless(harness.HARM, "nothing is preloaded into a sanitized clusterd")
    def test_O6_no_allocation_is_assumed_to_succeed(self):
        """From the start to the end of a cluster each one fails once: clusterd goes on, or ends as documented."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            policy, count = folder / "policy.conf", folder / "count"
            policy.write_text(
                "[cluster]\nworkers = 2\n[ready]\nwhen = alive\nafter = 0\n[restart]\nwhen = never\ndelay = 10ms\n"
                f"[log]\noutput = capture\n[control]\nsocket = {folder}/c.sock\n[metrics]\nlisten = unix:{folder}/m.sock\n"
                f"[supervisor]\non_death = keep\npid_file = {folder}/c.pid\n[exit 3]\naction = retire\n[env]\nA = b\n"
                f"[listen a]\naddress = 127.0.0.1:{harness.free_port()}\n"
                f"[listen b]\naddress = 127.0.0.1:{harness.free_port()}\nbalance = hash\n", encoding="utf-8")

            def run(number):
                return subprocess.run(
                    [harness.CLUSTERD, "-c", policy, "--", "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True,
                    text=True, timeout=harness.DEADLINE, check=False,
                    env={**os.environ, "LD_PRELOAD": harness.HARM, "HARM_MALLOC": str(number), "HARM_COUNT": str(count)})

            done = run(1 << 40)
            self.assertEqual(done.returncode, 0, done.stderr)
            allocations = int(count.read_text())
            self.assertGreater(allocations, 20)
            ends = {}
            for number in range(1, allocations + 1):
                with self.subTest(allocation=number):
                    done = run(number)
                    ends[done.returncode] = ends.get(done.returncode, 0) + 1
                    self.assertIn(done.returncode, (0, 71, 73, 78), done.stderr)
                    if done.returncode:
                        self.assertRegex(done.stderr, "(?i)memory")
                    self.assertLessEqual(set(os.listdir(folder)), {"policy.conf", "count"})
                    self.assertEqual([p for p, state in harness.children(os.getpid()).items() if state not in "ZX"], [])
            print(f"{allocations} allocations failed, one a run; status: {ends}")


harness.main()
