"""balance: which worker gets a connection, from the first one on and whatever happens."""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import clients
import harness

POLICY = "[ready]\nwhen = notify\n[restart]\ndelay = 50ms\n[stop]\ntimeout = 5s\n"
SERVE = (harness.PROBE, "drain=200", "ready")
WITHOUT_BPF = ("setpriv", "--bounding-set=-bpf,-sys_admin")

# Whoever reads what clusterd says is quicker than clusterd, which gets no CPU then.
TOLD = {"LD_PRELOAD": harness.HARM, "HARM_TOLD": "20"} if harness.HARM else {}

UDP = """
import os, socket
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = os.environ["NOTIFY_SOCKET"]
notify.sendto(b"READY=1", "\\0" + path[1:] if path[0] == "@" else path)
s = socket.socket(fileno=3)
while True:
    data, peer = s.recvfrom(64)
    s.sendto(os.environ["CLUSTERD_SLOT"].encode(), peer)
"""


def exact(test, counts, workers):
    test.assertEqual(len(counts), workers, counts)
    test.assertLessEqual(max(counts.values()) - min(counts.values()), 1, counts)


class Balance(harness.TestCase):
    def start(self, mode="round-robin", workers=4, program=SERVE, **options):
        flags = ("-n", workers, "-b", mode, *options.pop("flags", ()))
        c = self.cluster(*program, policy=options.pop("policy", POLICY), flags=flags, **options)
        c.ready(workers)
        return c


@unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
class RoundRobin(Balance):
    def test_exact_from_the_first_connection_on(self):
        for workers in (2, 3, 4, 8):
            with self.subTest(workers=workers):
                c = self.start(workers=workers)
                exact(self, clients.count(c.port, workers), workers)
                exact(self, clients.count(c.port, 100 * workers), workers)

    def test_more_workers_than_can_be_asked_by_http(self):
        done = self.run_clusterd("-n", 1025, "-b", "round-robin", "-l", f"127.0.0.1:{harness.free_port()}", "--set",
                                 "control.socket=off", "--set", "health.http=/", "--", "/bin/sleep", "1000")
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("at most 1024 workers at the start", done.stderr)

    def test_exact_right_after_a_respawn(self):
        c = self.start()
        c.announce("worker.exit")
        for slot in (1, 3):
            mark = c.mark()
            c.kill(signal.SIGKILL, c.pid_of(slot))
            c.wait_event("worker.exit", since=mark)
            while not c.all("worker.ready", since=mark):
                self.assertTrue(clients.ask(c.port))  # nobody waits for the replacement
            counts = clients.count(c.port, 400)
            exact(self, counts, 4)
            self.assertIn(str(c.pid_of(slot)), counts)

    def test_exact_after_a_roll_and_nothing_lost_in_it(self):
        c = self.start()
        seen, lost, halt = [], [], threading.Event()

        def run():
            while not halt.is_set():
                try:
                    seen.append(clients.ask(c.port))
                except OSError as error:
                    lost.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            harness.eventually(lambda: len(seen) >= 4, "an answer of each before the roll")
            c.ctl("roll")
            c.wait_event("roll.end", verdict="done", deadline=20 * harness.SLOW)
            mark = len(seen)
            harness.eventually(lambda: len(seen) >= mark + 500, "500 answers after the roll")
        finally:
            halt.set()
            thread.join()
        self.assertEqual(lost, [])
        exact(self, collections.Counter(seen[mark + 4:mark + 404]), 4)
        self.assertEqual(len(set(seen)), 8, collections.Counter(seen))  # the old ones and the new ones
        # The new ones sit in seats beside those of the slots, whose sockets stay open.
        harness.eventually(lambda: len(c.workers()) == 4, "the old ones have ended")
        c.rebase()

    def test_keep_alive_connections_are_spread_evenly(self):
        c = self.start()
        held = [harness.Connection(c.port) for _ in range(64)]
        try:
            counts = collections.Counter(connection.get("/")[1]["x-slot"] for connection in held)
        finally:
            for connection in held:
                connection.close()
        self.assertEqual(sorted(counts.values()), [16, 16, 16, 16])

    def test_who_waits_for_a_slot_that_never_comes_is_answered(self):
        """It ended when there was nobody yet to take its queue over."""
        script = 'until test -e "%s/$CLUSTERD_SLOT"; do sleep 0.02; done; test $CLUSTERD_SLOT = 1 && exit 0; exec "$0" "$@"'
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        c = self.cluster("/bin/sh", "-c", script % folder, *SERVE, flags=("-n", 2, "-b", "round-robin"),
                         policy="[ready]\nwhen = notify\n[restart]\nwhen = on-failure\n")
        c.announce("worker.exit")
        c.wait_event("worker.start", slot=1)
        waiting = clients.queue(c.port, 16)
        self.addCleanup(lambda: [s.close() for s in waiting])
        pathlib.Path(folder, "1").touch()
        self.assertEqual(c.wait_event("worker.exit", slot=1).action, "retire")
        pathlib.Path(folder, "0").touch()
        self.assertEqual(len(clients.answers(waiting)[0]), 16)

    def test_killed_with_a_full_queue_everybody_is_answered(self):
        c = self.start()
        c.announce("worker.exit", "balance")
        victim = c.pid_of(2)
        # Stopped by its parent, not by a hang of its own: it takes nothing, and dies before the watch sees it.
        c.kill(signal.SIGSTOP, victim)
        waiting = clients.queue(c.port, 100)
        mark = c.mark()
        c.kill(signal.SIGKILL, victim)
        bodies, _ = clients.answers(waiting)
        self.assertEqual(len(bodies), 100)
        self.assertNotIn(str(victim), bodies)
        c.wait_event("worker.ready", since=mark, slot=2)

    def test_a_starting_worker_gets_nothing(self):
        gate = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "gate")
        gate.touch()
        c = self.start(workers=2, program=(harness.PROBE, f"until={gate}", "ready"))
        c.announce("worker.exit")
        gate.unlink()
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.start", since=mark, slot=0)
        self.assertEqual(set(clients.count(c.port, 20)), {str(c.pid_of(1))})
        gate.touch()
        c.wait_event("worker.ready", since=mark, slot=0)
        exact(self, clients.count(c.port, 100), 2)

    def test_a_draining_worker_gets_nothing_new(self):
        c = self.start(workers=2, program=(harness.PROBE, "drain=700", "ready"))
        old = c.pid_of(0)
        mark = c.mark()
        c.ctl("restart", "0", "--no-wait")
        c.wait_event("worker.stop", since=mark, pid=old)
        counts = clients.count(c.port, 40)
        self.assertNotIn(str(old), counts)
        exact(self, counts, 2)
        c.wait_event("worker.exit", since=mark, pid=old)
        c.baseline = None  # the new one has a socket of its own

    def test_a_slot_that_goes_leaves_the_seat_of_another_alone(self):
        """The worker that has replaced that of slot 0 sits in seat 2."""
        c = self.start(workers=2)
        c.ctl("restart", "0")
        for workers, change in ((3, "scale 3"), (2, "drain 2"), (3, "scale 3"), (2, "scale 2")):
            c.ctl(*change.split())
            exact(self, clients.count(c.port, 60), workers)
        c.rebase()

    def test_a_slot_that_goes_hands_over_what_waits_wherever_its_worker_sat(self):
        c = self.start(workers=2, policy=POLICY + "drain_delay = 1h\n")
        for seat in ("its own", "another"):
            with self.subTest(seat=seat):
                c.kill(signal.SIGSTOP, c.pid_of(0))
                waiting = clients.queue(c.port, 10)
                c.ctl("drain", "0", "--no-wait")
                self.assertEqual(clients.answers(waiting)[0], [str(c.pid_of(1))] * 10)
                c.ctl("scale", "2")
        self.assertEqual(c.stop(signal.SIGQUIT), 0)

    def test_scale_without_a_reset(self):
        c = self.start(workers=2)
        seen, lost, halt = [], [], threading.Event()

        def run():
            while not halt.is_set():
                try:
                    seen.append(clients.ask(c.port))
                except OSError as error:
                    lost.append((time.monotonic(), error))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for workers in (6, 3, 8, 2):
                c.ctl("scale", str(workers))
                harness.eventually(lambda n=workers: len(c.workers()) == n, f"{workers} workers")
            harness.eventually(lambda: len(seen) > 100, "a hundred answers")
        finally:
            halt.set()
            for thread in threads:
                thread.join()
        self.assertEqual(lost, [])
        c.baseline = None
        exact(self, clients.count(c.port, 100), 2)

    def test_clusterctl_shows_what_was_handed_out(self):
        c = self.start()
        clients.count(c.port, 100)
        lines = map(json.loads, c.ctl("--json", "status").splitlines())
        self.assertEqual([line["handed"] for line in lines if "handed" in line], [25, 25, 25, 25])
        self.assertEqual(len(re.findall(r"(?m)^ +\d  ready +\d+ .* 0 +25 +1 +0  -$", c.ctl("status"))), 4)
        self.assertIn('clusterd_worker_handed_total{slot="3"} 25\n', c.ctl("metrics"))
        self.assertIn('clusterd_worker_backlog{slot="3"} 0\n', c.ctl("metrics"))

    def test_the_room_for_connections_that_wait_is_that_of_who_gets_them(self):
        """A roll leaves seats behind that nobody has."""
        c = self.start()
        limits = []
        for _ in range(3):
            lines = map(json.loads, c.ctl("--json", "status").splitlines())
            limits += [line["limit"] for line in lines if line.get("kind") == "listener"]
            c.ctl("roll")
        self.assertEqual(limits, limits[:1] * 3)
        self.assertGreater(limits[0], 0)
        c.baseline = None

    def handed(self, c):
        lines = map(json.loads, c.ctl("--json", "status").splitlines())
        return [line["handed"] for line in lines if "handed" in line]

    def is_free(self, port):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            return True
        return False

    def test_what_was_handed_out_never_gets_less(self):
        section = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = round-robin\n"
        a, b = harness.free_port(), harness.free_port()
        policy = POLICY + section % ("b", b)
        c = self.start(workers=2, listen=False, policy=policy + section % ("a", a))
        clients.count(a, 10)
        self.assertEqual(self.handed(c), [5, 5])
        c.ctl("roll")
        c.wait_events(2, "worker.exit")  # their seats are free for the next ones
        c.policy_file.write_text(policy, encoding="utf-8")
        c.ctl("reload")
        c.wait_events(4, "worker.exit")  # and then the listener is closed
        harness.eventually(lambda: self.is_free(a), "the listener is gone")
        self.assertEqual(self.handed(c), [5, 5])
        clients.count(b, 10)
        self.assertEqual(self.handed(c), [10, 10])

    def slots(self, c):
        lines = map(json.loads, c.ctl("--json", "status", status=None).splitlines())
        return [line for line in lines if line.get("kind") == "slot"]

    def keeps_its_queue(self, c):
        """Of slot 0, which takes nothing, while slot 2 dies; false too if that was found to be stuck before."""
        harness.eventually(lambda: all(slot["state"] == "ready" and "left_out_ms" not in slot for slot in self.slots(c)),
                           "all are ready, and nobody is left out")
        c.kill(signal.SIGSTOP, c.pid_of(0))
        waiting = clients.queue(c.port, 4)
        harness.eventually(lambda: not any(slot["queue"] for slot in self.slots(c)[1:]), "the others have taken theirs")
        victim = c.pid_of(2)
        c.kill(signal.SIGKILL, victim)
        c.wait_event("worker.exit", pid=victim)
        queue = self.slots(c)[0]["queue"]
        c.kill(signal.SIGCONT, c.pid_of(0))
        for s in waiting:
            s.close()
        return queue == 1

    def test_a_worker_that_dies_leaves_the_queues_of_others_alone(self):
        """After a roll, and with more slots than before, another slot's worker has the seat of its number."""
        c = self.start(workers=2, program=(harness.PROBE, "ready"))
        c.announce("worker.exit", "balance")
        c.ctl("roll")
        c.ctl("scale", "4")
        self.assertTrue(any(self.keeps_its_queue(c) for _ in range(4)))
        c.baseline = None

    def test_what_was_handed_out_counts_while_they_drain(self):
        c = self.start(program=(harness.PROBE, "ready", "drain=60000"), workers=2,
                       policy=POLICY.replace("timeout = 5s", "timeout = 60s"))
        clients.count(c.port, 10)
        c.ctl("--no-wait", "roll")
        c.wait_event("roll.end")
        self.assertIn("1 old", c.ctl("status"))
        self.assertEqual(self.handed(c), [5, 5])
        c.announce("worker.exit")
        c.stop(signal.SIGQUIT)

    def test_a_stranger_of_the_same_uid_gets_nothing(self):
        c = self.start()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.bind(("127.0.0.1", c.port))
            s.listen(100)
            s.setblocking(False)
            exact(self, clients.count(c.port, 400), 4)
            with self.assertRaises(BlockingIOError):
                s.accept()

    def test_udp_flows_stay_where_they_are(self):
        port = harness.free_port()
        c = self.start(program=(sys.executable, "-c", UDP), listen=False,
                       flags=("-l", f"udp:127.0.0.1:{port}"))
        c.announce("worker.exit")
        flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(80)]
        try:
            first = [self.udp(s, port) for s in flows]
            self.assertEqual(set(first), {b"0", b"1", b"2", b"3"})
            self.assertEqual([self.udp(s, port) for s in flows], first)
            mark = c.mark()
            c.kill(signal.SIGKILL, c.pid_of(1))
            c.wait_event("worker.exit", since=mark)
            c.wait_event("worker.ready", since=mark, slot=1)
            self.assertEqual(set(self.udp(s, port) for s in flows), {b"0", b"1", b"2", b"3"})
            self.assertEqual([self.udp(s, port) for s in flows], first)
            for words in ("restart", "0"), ("restart", "0"), ("upgrade",), ("restart", "3"), ("roll",):
                c.ctl(*words)
                harness.eventually(lambda: len(harness.children(c.pid)) == 4, "the old ones have gone")
                self.assertEqual([self.udp(s, port) for s in flows], first, words)
            c.rebase()
        finally:
            for s in flows:
                s.close()

    def udp(self, s, port):
        s.settimeout(harness.DEADLINE)
        s.sendto(b"?", ("127.0.0.1", port))
        return s.recv(16)

    def test_after_an_upgrade_it_is_exact_still(self):
        c = self.start()
        mark = c.mark()
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", since=mark, result="done")
        exact(self, clients.count(c.port, 400), 4)
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.ready", since=mark, slot=0)
        exact(self, clients.count(c.port, 400), 4)

    def test_in_a_roll_who_has_the_listener_gets_its_connections(self):
        """That of the reload which adds it or takes it away: what the others were given would wait for its end."""
        port = harness.free_port()
        listener = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = round-robin\n"
        without = POLICY + "[roll]\npause = 1h\n" + listener % ("a", harness.free_port())
        with_it = without + listener % ("b", port)
        for before, after in (without, with_it), (with_it, without):
            with self.subTest(adds=after == with_it):
                c = self.cluster(*SERVE, policy=before, flags=("-n", 3), listen=False)
                c.announce("roll.end")
                c.ready(3)
                c.policy_file.write_text(after)
                mark = c.mark()
                c.ctl("reload", "--no-wait")
                new = str(c.wait_event("worker.ready", since=mark).pid)
                counts = clients.count(port, 20)
                if after == with_it:
                    self.assertEqual(counts, {new: 20})
                else:
                    self.assertNotIn(new, counts)
                c.baseline = None

    def test_a_listener_that_goes_leaves_no_seat_taken(self):
        """Its seats are those of the workers started while it was open, and they end when it is closed."""
        listener = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = %s\n"
        port = harness.free_port()
        without = POLICY + listener % ("a", harness.free_port(), "shared")
        with_it = without + listener % ("b", port, "round-robin")
        c = self.cluster(*SERVE, policy=with_it, flags=("-n", 2), listen=False)
        c.ready(2)
        first = set(c.workers())
        for policy, verb in ((without, "reload"), (without, "roll"), (with_it, "reload")):
            c.policy_file.write_text(policy)
            c.ctl(verb)
            harness.eventually(lambda: len(c.workers()) == 2 and not first & set(c.workers()), "the new ones alone")
            first = set(c.workers())
        c.ctl("scale", "4")
        exact(self, clients.count(port, 100), 4)
        c.rebase()

    def test_a_listener_that_is_new_is_upgraded_in_its_roll(self):
        """Who was started before there was one gets nothing of it, and who is started then keeps its place."""
        shared, port = harness.free_port(), harness.free_port()
        c = self.sh("while [ $CLUSTERD_SLOT = 2 ] && [ -e hold ]; do sleep 0.02; done; exec " + " ".join(SERVE),
                    policy=POLICY + f"[listen shared]\naddress = 127.0.0.1:{shared}\n", flags=("-n", 4), listen=False)
        c.ready(4)
        c.announce("note", "reload", "roll.end")
        hold = c.folder / "hold"
        hold.touch()
        with c.policy_file.open("a") as policy:
            policy.write(f"[listen new]\naddress = 127.0.0.1:{port}\nbalance = round-robin\n")
        mark = c.mark()
        c.kill(signal.SIGHUP)
        c.wait_event("roll.slot", since=mark, slot=1)
        c.wait_event("worker.start", since=mark, slot=2)
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade")
        exact(self, clients.count(port, 40), 2)
        self.assertEqual(c.all("balance"), [])  # not one was handed to the others, which would be left out for it
        hold.unlink()
        self.assertEqual(c.wait_event("roll.end").verdict, "done")
        harness.eventually(lambda: len(c.workers()) == 4, "the old ones are gone")
        exact(self, clients.count(port, 40), 4)
        c.baseline = None


class Paused(Balance):
    def test_scale_0_is_a_pause_and_connections_wait(self):
        for mode in ("shared", "hash", "round-robin") if clients.has_bpf() else ("shared", "hash"):
            with self.subTest(mode=mode):
                c = self.start(mode=mode, workers=3)
                for count in (3, 1):
                    c.ctl("scale", "0")
                    waiting = clients.queue(c.port, 12)
                    self.addCleanup(lambda waiting=waiting: [s.close() for s in waiting])
                    c.ctl("scale", str(count))
                    self.assertEqual(len(clients.answers(waiting)[0]), 12)
                    self.assertEqual(sum(clients.count(c.port, 24).values()), 24)
                c.ctl("scale", "0")
                c.ctl("upgrade")
                waiting = clients.queue(c.port, 12)
                c.ctl("scale", "2")
                self.assertEqual(len(clients.answers(waiting)[0]), 12)
                self.assertEqual(sum(clients.count(c.port, 24).values()), 24)
                c.ctl("scale", "3")

    def test_a_listener_that_is_new_while_paused_is_open(self):
        section = "[listen %s]\naddress = 127.0.0.1:0\nbalance = %s\n"
        for mode in ("hash", "round-robin") if clients.has_bpf() else ("hash",):
            with self.subTest(mode=mode):
                c = self.cluster(*SERVE, policy=POLICY + section % ("a", mode), flags=("-n", 2), listen=False)
                c.ready(2)
                c.ctl("scale", "0")
                c.policy_file.write_text(c.policy_file.read_text() + section % ("b", mode))
                c.ctl("reload")
                port = int(c.wait_event("listen", listener="b").address.rpartition(":")[2])
                self.assertGreater(port, 0)
                with socket.create_connection(("127.0.0.1", port), harness.DEADLINE):
                    c.ctl("scale", "2")
                c.rebase()

    def test_where_no_seat_is_left_replacements_share(self):
        """As many workers as there is room for: who has shared a seat has it when the other one leaves."""
        c = self.start(workers=2)
        c.ctl("scale", "64")
        for step in ("roll",), ("restart", "0"), ("upgrade",), ("restart", "63"), ("roll",):
            c.ctl(*step)
            harness.eventually(lambda: len(harness.children(c.pid)) == 64, "the old ones have gone")
            exact(self, clients.count(c.port, 128), 64)
        c.rebase()

    def test_a_scale_that_is_refused_changes_nothing(self):
        c = self.start(workers=3)
        for step in ("roll",), ("restart", "0"), ("restart", "1"), ("roll",):
            self.assertIn("no room for so many", c.ctl("--json", "scale", "100", status=1))
            c.ctl(*step)
            harness.eventually(lambda: len(harness.children(c.pid)) == 3, "the old ones have gone")
            exact(self, clients.count(c.port, 30), 3)
        c.rebase()

    def test_beside_it_a_hash_listener_loses_the_socket_of_a_slot_that_goes(self):
        """After a roll other slots' workers have seats there; that of hash is the slot's own all the same."""
        hashed = harness.free_port()
        listen = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = %s\n"
        c = self.cluster(*SERVE, policy=POLICY + listen % ("h", hashed, "hash")
                         + listen % ("r", harness.free_port(), "round-robin"), flags=("-n", 2), listen=False)
        c.ready(2)
        c.ctl("roll")
        c.ctl("scale", "3")
        c.ctl("scale", "2")
        c.baseline = None  # seats that were used stay open
        self.assertLessEqual(len(clients.count(hashed, 40)), 2)


class OtherModes(Balance):
    def test_the_room_for_more_workers(self):
        """At least four times the number of the start, and 64; in powers of two."""
        for start, fits, too_many in ((2, 5, 65), (17, 4 * 17, 129)):
            with self.subTest(start=start):
                c = self.start("hash", workers=start)
                self.assertIn("no room for so many", c.ctl("--json", "scale", str(too_many), status=1))
                self.assertEqual(len(c.workers()), start)
                c.ctl("scale", str(fits))
                self.assertEqual(len(c.workers()), fits)
                c.rebase()

    def test_hash_reaches_everybody(self):
        c = self.start(mode="hash")
        counts = clients.count(c.port, 800)
        self.assertEqual(len(counts), 4, counts)
        self.assertLess(max(counts.values()), 2 * min(counts.values()), counts)

    def test_hash_a_dead_worker_keeps_its_queue(self):
        c = self.start(mode="hash")
        c.announce("worker.exit")
        c.kill(signal.SIGSTOP, c.pid_of(1))
        waiting = clients.queue(c.port, 100)
        c.kill(signal.SIGKILL, c.pid_of(1))
        self.assertEqual(len(clients.answers(waiting)[0]), 100)

    def answer_all(self, c, number=100):
        for _ in range(number):
            clients.ask(c.port)

    def test_hash_a_drained_slot_gets_nothing(self):
        c = self.start(mode="hash", env=TOLD)
        c.ctl("drain", "1")
        self.answer_all(c)
        c.ctl("upgrade")
        self.answer_all(c)
        c.ctl("scale", "4")
        counts = clients.count(c.port, 400)
        self.assertEqual(len(counts), 4, counts)

    def test_hash_with_all_slots_drained_connections_wait(self):
        c = self.start(mode="hash")
        for slot in range(4):
            c.ctl("drain", str(slot))
        waiting = clients.queue(c.port, 100)
        c.ctl("scale", "4")
        self.assertEqual(len(clients.answers(waiting)[0]), 100)
        counts = clients.count(c.port, 400)
        self.assertEqual(len(counts), 4, counts)

    def test_hash_in_a_roll_who_has_the_listener_gets_its_connections(self):
        """As with round-robin: what hashed to a worker without it would wait for the roll's end."""
        port = harness.free_port()
        listener = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = hash\n"
        without = POLICY + "[roll]\npause = 1h\n" + listener % ("a", harness.free_port())
        with_it = without + listener % ("b", port)
        for before, after in (without, with_it), (with_it, without):
            with self.subTest(adds=after == with_it):
                c = self.cluster(*SERVE, policy=before, flags=("-n", 3), listen=False, env=TOLD)
                c.announce("worker.exit", "roll.end")
                c.ready(3)
                c.policy_file.write_text(after)
                mark = c.mark()
                c.ctl("reload", "--no-wait")
                new = str(c.wait_event("worker.ready", since=mark).pid)
                c.wait_event("worker.exit", since=mark, slot=0)
                counts = clients.count(port, 40)
                if after == with_it:
                    self.assertEqual(counts, {new: 40})
                else:
                    self.assertEqual(len(counts), 2, counts)
                    self.assertNotIn(new, counts)
                c.ctl("upgrade")
                self.assertEqual(sum(clients.count(port, 40).values()), 40)
                c.baseline = None

    def test_hash_who_waits_for_a_worker_that_fails_in_the_roll_gets_the_next(self):
        """The second worker with the new listener fails once: what waits in its socket stays for its next try."""
        port = harness.free_port()
        listener = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = hash\n"
        policy = POLICY + "[roll]\ntries = 2\n" + listener % ("a", harness.free_port())
        program = ("sh", "-c", """
            if [ "$CLUSTERD_GENERATION" = 2 ] && [ "$CLUSTERD_SLOT" = 1 ] && mkdir once; then
                while ! [ -e go ]; do sleep 0.01; done; exit 3; fi
            exec "$0" ready serve""", harness.PROBE)
        c = self.cluster(*program, policy=policy, flags=("-n", 2), listen=False)
        c.announce("worker.exit", "roll.slot", "roll.end")
        c.ready(2)
        c.baseline = None  # there will be a listener more
        c.policy_file.write_text(policy + listener % ("b", port))
        mark = c.mark()
        c.ctl("reload", "--no-wait")
        c.wait_event("worker.start", since=mark, slot=1)
        waiting = clients.queue(port, 40)
        (c.folder / "go").touch()
        self.assertEqual(len(clients.answers(waiting)[0]), 40)
        self.assertEqual(c.wait_event("worker.exit", since=mark, slot=1).code, 3)
        c.wait_event("roll.end", since=mark)

    def test_hash_a_listener_that_comes_back_in_a_roll_reaches_everybody(self):
        """Slot 0 had lost its socket with the last worker that was started with it."""
        port = harness.free_port()
        listener = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = hash\n"
        without = POLICY + listener % ("a", harness.free_port())
        c = self.cluster(*SERVE, policy=without + listener % ("b", port), flags=("-n", 3), listen=False)
        c.announce("roll.end", "worker.exit")
        c.ready(3)
        c.policy_file.write_text(without + "[roll]\npause = 1h\n")
        mark = c.mark()
        c.ctl("reload", "--no-wait")
        c.wait_event("worker.exit", since=mark, slot=0)
        c.policy_file.write_text(without + listener % ("b", port))
        c.ctl("reload")
        harness.eventually(lambda: len(harness.children(c.pid)) == 3, "the old ones have gone")
        counts = clients.count(port, 400)
        for slot in range(3):
            self.assertIn(str(c.pid_of(slot)), counts)

    def test_hash_who_waits_in_the_last_socket_is_answered_by_another_slot(self):
        c = self.start(mode="hash")
        for slot in range(4):
            c.ctl("drain", str(slot))
        waiting = clients.queue(c.port, 30)
        c.ctl("restart", "0")
        self.assertEqual(clients.answers(waiting)[0], [str(c.pid_of(0))] * 30)
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade")
        c.ctl("scale", "4")
        counts = clients.count(c.port, 400)
        self.assertEqual(len(counts), 4, counts)

    def test_hash_who_waits_in_the_last_socket_is_answered_by_a_slot_that_is_new(self):
        c = self.start(mode="hash", workers=2, policy=POLICY.replace("50ms", "40s\ndelay_max = 40s"))
        c.announce("worker.exit")
        for slot in (1, 0):
            c.kill(signal.SIGKILL, c.pid_of(slot))
            c.wait_event("worker.exit", slot=slot)
        waiting = clients.queue(c.port, 30)
        c.ctl("scale", "3", "--no-wait")
        self.assertEqual(clients.answers(waiting)[0], [str(c.pid_of(2))] * 30)
        self.answer_all(c)

    def test_hash_the_last_socket_goes_when_another_slot_serves_again(self):
        c = self.start(mode="hash")
        for slot in range(4):
            c.ctl("drain", str(slot))
        c.ctl("upgrade")
        c.ctl("restart", "0")
        self.answer_all(c)

    def test_hash_the_port_stays_when_the_slots_go_that_had_a_socket(self):
        c = self.start(mode="hash")
        c.ctl("drain", "0")
        c.ctl("scale", "0")
        waiting = clients.queue(c.port, 12)
        c.ctl("scale", "2")
        self.assertEqual(len(clients.answers(waiting)[0]), 12)
        self.assertEqual(len(clients.count(c.port, 200)), 2)

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_hash_a_slot_that_goes_gets_nothing_where_another_has_its_seat(self):
        """Beside a listener with round-robin, where the worker that has replaced that of slot 0 sits in seat 2."""
        section = "[listen %s]\naddress = 127.0.0.1:%d\nbalance = %s\n"
        even, hashed = harness.free_port(), harness.free_port()
        c = self.cluster(*SERVE, flags=("-n", 2), listen=False,
                         policy=POLICY + section % ("a", even, "round-robin") + section % ("b", hashed, "hash"))
        c.ready(2)
        c.ctl("restart", "0")
        c.ctl("scale", "3")
        c.ctl("scale", "2")
        self.assertEqual(sum(clients.count(hashed, 100).values()), 100)
        exact(self, clients.count(even, 100), 2)
        c.rebase()

    def test_hash_a_slot_that_was_given_up_gets_nothing(self):
        c = self.start(mode="hash", policy=POLICY + "[exit 7]\naction = retire\n", env=TOLD)
        c.announce("worker.exit")
        with self.assertRaises(ConnectionError):
            clients.ask(c.port, request=b"GET /exit=7 HTTP/1.1\r\n\r\n")
        c.wait_event("worker.exit")
        self.answer_all(c)

    def test_hash_a_slot_that_waits_for_long_gets_nothing(self):
        """What would wait for a second or more is late for whoever asks: the siblings answer."""
        c = self.start(mode="hash", policy=POLICY.replace("50ms", "40s\ndelay_max = 40s"), env=TOLD)
        c.announce("worker.exit")
        with self.assertRaises(ConnectionError):
            clients.ask(c.port, request=b"GET /exit=7 HTTP/1.1\r\n\r\n")
        self.assertGreater(c.wait_event("worker.exit").delay_ms, 20000)
        self.answer_all(c)
        c.ctl("upgrade")
        self.answer_all(c)
        c.ctl("reset")
        c.ctl("wait", "ready")
        counts = clients.count(c.port, 400)
        self.assertEqual(len(counts), 4, counts)

    def test_shared_reaches_everybody_at_last(self):
        c = self.start(mode="shared")
        waiting = clients.queue(c.port, 100)
        self.assertEqual(len(clients.answers(waiting)[0]), 100)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
class WithoutTheRight(Balance):
    def test_refused_and_the_right_is_named(self):
        done = subprocess.run([*WITHOUT_BPF, harness.CLUSTERD, "-b", "round-robin",
                               "-l", f"127.0.0.1:{harness.free_port()}", "--set", "control.socket=off",
                               "--", "/bin/sleep", "1000"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("CAP_BPF", done.stderr)
        self.assertIn("hash", done.stderr)  # the way out

    def test_probes_do_not_fall_back(self):
        """Only round-robin reaches one very worker: -t and the start say so."""
        words = ("-b", "round-robin?", "-l", f"127.0.0.1:{harness.free_port()}", "--set", "control.socket=off",
                 "--set", "health.http=/", "--", "/bin/sleep", "1000")
        for more in ("-t",), ():
            done = subprocess.run([*WITHOUT_BPF, harness.CLUSTERD, *more, *words], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertIn("round-robin", done.stderr)

    def test_falls_back_and_says_so(self):
        c = self.start(mode="round-robin?", prefix=WITHOUT_BPF)
        c.announce("balance", "listen", "note")
        event = c.wait_event("listen")
        self.assertIn("hash", str(event))
        self.assertEqual(len(clients.count(c.port, 400)), 4)

    def test_so_once_where_a_program_asks_for_another_form(self):
        port = harness.free_port()
        c = self.cluster(sys.executable, "-c", f"import socket\nwith socket.create_server(('0.0.0.0', {port})) as s:\n s.accept()",
                         flags=("-a", "-n", 1, "-b", "round-robin?", "-l", f"*:{port}"), listen=False, prefix=WITHOUT_BPF)
        c.announce("balance", "note")
        c.ready(1)
        self.assertEqual(len(c.all("balance", mode="hash")), 1)

    def granted(self, *before):
        """Whether nobody's workers have the right too."""
        prefix, preexec = clients.as_nobody()
        c = self.start(prefix=(*prefix, *before), preexec=preexec)
        exact(self, clients.count(c.port, 40), 4)
        return int(harness.status_field(c.pid_of(0), "CapEff"), 16) != 0

    @unittest.skipUnless(clients.has_bpf() and clients.nobody_can(harness.CLUSTERD), "nothing to give to nobody")
    def test_nobody_with_what_the_unit_grants(self):
        self.assertTrue(self.granted("--inh-caps=+bpf", "--ambient-caps=+bpf"))

    @unittest.skipUnless(clients.has_bpf() and clients.nobody_can(harness.CLUSTERD), "nothing to give to nobody")
    def test_nobody_with_what_setcap_grants(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            own = shutil.copy(harness.CLUSTERD, folder)
            if not shutil.which("setcap") or subprocess.run(("setcap", "cap_bpf+ep", own), check=False).returncode:
                self.skipTest("no capabilities of files here")
            self.assertFalse(self.granted("sh", "-c", f'shift; exec {own} "$@"', "sh"))

    @unittest.skipUnless(clients.nobody_can(harness.CLUSTERD), "user nobody can not execute clusterd")
    def test_nobody_falls_back_too(self):
        prefix, preexec = clients.as_nobody()
        c = self.start(mode="round-robin?", prefix=prefix, preexec=preexec)
        c.announce("balance", "listen", "note")
        self.assertEqual(len(clients.count(c.port, 400)), 4)


harness.main()
