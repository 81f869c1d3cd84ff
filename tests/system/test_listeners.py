"""Listeners that come and go by a reload: what the workers that lack one do with it, and what stays as it is."""

import json
import os
import signal
import socket
import sys
import time
import unittest

import clients
import harness

POLICY = "[ready]\nwhen = notify\n[restart]\ndelay = 50ms\n[stop]\ntimeout = 60s\n"
LISTEN = "[listen %s]\naddress = %s\nbalance = %s\n"
NEVER_ENDS = "[roll]\npause = 1h\n"


# Serves the socket that it has as standard input, and tells which of the others that is.
INETD = """
import os, socket
s = socket.socket(fileno=0)
own = os.fstat(0).st_ino
while True:
    c, _ = s.accept()
    with c:
        c.sendall(b" ".join(b"%d" % fd for fd in (3, 4) if os.fstat(fd).st_ino == own))
"""


class Stdin(harness.TestCase):
    def test_it_is_standard_input_too(self):
        for balance in "shared", "hash":
            with self.subTest(balance=balance):
                ports = harness.free_port(), harness.free_port()
                first, second = (LISTEN % (name, f"127.0.0.1:{port}", balance) for name, port in zip("ab", ports))
                c = self.cluster(sys.executable, "-c", INETD, policy=first + second + "stdin = yes\n", flags=("-n", 2),
                                 listen=False)
                c.ready(2)
                for _ in range(8):
                    with socket.create_connection(("127.0.0.1", ports[1]), harness.DEADLINE) as s:
                        self.assertEqual(s.recv(99), b"4")
                c.finish()


class Comings(harness.TestCase):
    def begin(self, first, then, *program, workers=3):
        """A cluster with the first policy that has begun to reload the second."""
        c = self.cluster(*(program or (harness.PROBE, "ready", "serve")), policy=POLICY + first, flags=("-n", workers),
                         listen=False)
        c.announce("balance", "health", "worker.exit", "worker.stop", "worker.escalate", "roll.end", "note", "reload")
        c.ready(workers)
        c.baseline = None  # the number of listeners changes
        self.write(c, then)
        return c

    def write(self, c, policy):
        c.policy_file.write_text(POLICY + policy, encoding="utf-8")

    def gated(self):
        """Workers of a later generation than the first wait until the file `hold` is gone."""
        return ("sh", "-c", 'while [ "$CLUSTERD_GENERATION" != 1 ] && [ -e hold ]; do sleep 0.02; done; exec "$0" ready serve',
                harness.PROBE)

    def at(self, port):
        return f"127.0.0.1:{port}"

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_who_lacks_a_listener_is_not_judged_by_what_waits_for_it(self):
        """Connections that wait for a new listener's first worker are no queue of the others: none is left out."""
        a, b = harness.free_port(), harness.free_port()
        first = "[health]\naccept = 1s\n" + NEVER_ENDS + LISTEN % ("a", self.at(a), "round-robin")
        c = self.begin(first, first + LISTEN % ("b", self.at(b), "round-robin"), *self.gated())
        hold = c.folder / "hold"
        hold.touch()
        mark = c.mark()
        c.ctl("reload", "--no-wait")
        c.wait_event("worker.start", since=mark)
        waiting = clients.queue(b, 12)
        end = time.monotonic() + 4  # several times what a worker that hangs is given
        while time.monotonic() < end:
            clients.ask(a)
            time.sleep(0.5)  # longer than a queue that does not move may stand
        self.assertEqual(c.all("balance", since=mark) + c.all("worker.exit", since=mark), [])
        queues = [line["queue"] for line in map(json.loads, c.ctl("status", "--json").splitlines()) if line.get("kind") == "slot"]
        self.assertEqual(queues, [0, 0, 0])
        hold.unlink()
        new = c.wait_event("worker.ready", since=mark).pid
        self.assertEqual(clients.answers(waiting)[0], [str(new)] * 12)  # from wherever they waited

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_who_lacks_the_listener_is_not_asked_through_it(self):
        a, b = harness.free_port(), harness.free_port()
        first = NEVER_ENDS + LISTEN % ("a", self.at(a), "shared")
        c = self.begin(first, first + LISTEN % ("b", self.at(b), "round-robin") +
                       "[health]\nhttp = /print=asked\ninterval = 100ms\ntimeout = 100ms\nfailures = 100\n")
        mark = c.mark()
        c.ctl("reload", "--no-wait")
        c.wait_event("worker.exit", since=mark, slot=0)
        new = c.pid_of(0)
        # After ten questions to the new worker the others have been asked as often, or never.
        harness.eventually(lambda: sum("asked" in line for line in c.lines) >= 10, "questions")
        # The new one may be late with an answer, and who is asked through a listener that it lacks has none.
        self.assertEqual({e.slot for e in c.all("health", since=mark)} - {0}, set())
        self.assertEqual(c.pid_of(0), new)

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_the_old_program_is_asked_as_its_own_policy_says(self):
        """The reload brings another path for the health question, which kills whoever is asked."""
        rest = NEVER_ENDS + "tries = 100\n" + LISTEN % ("a", self.at(harness.free_port()), "round-robin")
        ask = "[health]\nhttp = %s\ninterval = 100ms\ntimeout = 100ms\nfailures = 100\n[env]\nV = %d\n"
        c = self.begin(rest + ask % ("/print=asked", 1), rest + ask % ("/exit=3", 2), workers=2)
        c.announce("roll.slot")
        old = c.pid_of(1)
        mark = c.mark()
        c.ctl("reload", "--no-wait")
        for _ in range(3):
            c.wait_event("worker.exit", since=mark, slot=0, code=3)
            mark = c.mark()
        self.assertEqual(c.pid_of(1), old)
        asked = c.lines.count("asked")
        harness.eventually(lambda: c.lines.count("asked") > asked, "the old one is asked as before")

    def test_one_that_is_open_still_stays_as_it_is(self):
        """It was taken away, and comes back with another balance while workers that have it drain."""
        a, b = harness.free_port(), harness.free_port()
        rest = LISTEN % ("a", self.at(a), "shared")
        c = self.begin(rest + LISTEN % ("b", self.at(b), "shared"), rest, harness.PROBE, "drain=600000", "ready", workers=1)
        c.ctl("reload")
        self.write(c, rest + LISTEN % ("b", self.at(b), "hash"))
        said = c.ctl("reload")
        self.assertIn("[listen b]: is open still, for workers that leave; the new ones get it\n", said)
        self.assertIn("[listen b]: balance: shared -> hash: needs a restart of clusterd; the old value stays\n", said)
        self.assertNotIn("opened", said)
        (listener,) = [line for line in map(json.loads, c.ctl("status", "--json").splitlines())
                       if line.get("kind") == "listener" and line["name"] == "b"]
        self.assertEqual(listener["balance"], "shared")
        self.assertIn("balance: shared -> hash", c.ctl("config", "--diff"))
        # The first one takes connections too until it ends.
        harness.eventually(lambda: clients.ask(b) == str(c.pid_of(0)), "the new one has it")
        c.ctl("stop", "--now")
        c.wait()

    def test_a_socket_of_both_families_does_not_become_two(self):
        port = harness.free_port()
        c = self.begin(LISTEN % ("a", f"*:{port}", "shared"),
                       LISTEN % ("a", f"0.0.0.0:{port}", "shared") + LISTEN % ("b", f"[::]:{port}", "shared"))
        for words in ("reload",), ("reload", "--dry-run"), ("config", "--diff"):
            said = c.ctl(*words, status=1)
            self.assertIn("[listen b]: its address is in the socket that [listen a] goes on with; to have two takes a restart "
                          "of clusterd; nothing was changed\n", said)
        self.assertEqual(c.all("roll.begin"), [])


    def test_what_leaves_does_not_become_two_either(self):
        port = harness.free_port()
        rest = LISTEN % ("z", self.at(harness.free_port()), "shared")
        c = self.begin(rest + LISTEN % ("a", f"*:{port}", "shared"), rest, harness.PROBE, "drain=600000", "ready", workers=1)
        c.ctl("reload")
        self.write(c, rest + LISTEN % ("b", f"0.0.0.0:{port}", "shared") + LISTEN % ("c", f"[::]:{port}", "shared"))
        self.assertIn("[listen c]: its address is in the socket that [listen b] goes on with", c.ctl("reload", status=1))
        c.ctl("stop", "--now")
        c.wait()

    def test_a_reload_that_ends_a_roll_by_its_number_of_workers(self):
        """The slots that the roll has yet to do go with the reload, which opens a listener: that stays, and its policy too."""
        for mode in ("shared", "hash", *(("round-robin",) if clients.has_bpf() else ())):
            with self.subTest(mode=mode):
                a, b = harness.free_port(), harness.free_port()
                base = "[cluster]\nworkers = %d\n[health]\ninterval = %ds\n" + LISTEN % ("a", self.at(a), mode)
                c = self.cluster("sh", "-c", 'while [ "$CLUSTERD_GENERATION" = 2 ] && [ "$CLUSTERD_SLOT" = 2 ]; do sleep 0.02; '
                                 'done; exec "$0" ready serve', harness.PROBE, policy=POLICY + base % (3, 11), listen=False)
                c.announce("roll.end", "worker.exit", "worker.stop", "note", "reload", "spawn.error", "roll.slot", "roll.back")
                c.ready(3)
                c.baseline = None
                c.ctl("roll", "--no-wait")
                c.wait_event("roll.slot", slot=1)
                c.wait_event("worker.start", slot=2, generation=2)
                self.write(c, base % (2, 22) + LISTEN % ("b", self.at(b), mode))
                said = c.ctl("reload")
                self.assertRegex(said, r"\[listen b\]: 127\.0\.0\.1:\d+: opened")
                clients.ask(b)
                self.assertEqual([note.text for note in c.all("note") if "in force again" in note.text], [])
                self.assertIn("interval = 22s", c.ctl("config"))
                self.assertIn("the policy has not changed", c.ctl("config", "--diff"))


    def test_a_number_for_which_there_is_no_room(self):
        port = harness.free_port()
        policy = "[cluster]\nworkers = %d\n" + LISTEN % ("a", self.at(port), "hash")
        c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY + policy % 2, listen=False)
        c.announce("note", "reload")
        c.ready(2)
        self.write(c, policy % 100)
        for words in ("reload",), ("reload", "--dry-run"), ("check",), ("config", "--diff"):
            self.assertIn("cluster.workers: 100: a listener with a socket for each worker has no room for so many; restart "
                          "clusterd with that number; nothing was changed\n", c.ctl(*words, status=1))
        self.assertEqual(c.wait_event("reload").result, "refused, nothing was changed")
        self.assertIn("workers = 2\n", c.ctl("config"))
        self.write(c, policy % 60)
        c.ctl("reload")
        c.ready(60)
        c.rebase()

    def test_more_open_files_than_may_be(self):
        first = LISTEN % ("a", self.at(harness.free_port()), "shared")
        c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY + first, flags=("-n", 40), listen=False,
                         prefix=(*(("setpriv", "--bounding-set=-sys_resource") if os.geteuid() == 0 else ()),
                                 "prlimit", "--nofile=150"))
        c.announce("note", "reload")
        c.ready(40)
        self.write(c, first + LISTEN % ("b", self.at(harness.free_port()), "hash"))
        for words in ("reload",), ("reload", "--dry-run"), ("check",):
            self.assertRegex(c.ctl(*words, status=1), r"40 workers need \d+ open files with this policy, and the hard limit is "
                             r"150: that takes a start with a higher one .*; nothing was changed\n")


class Waiters(harness.TestCase):
    """Who waits for a roll, and other rolls and upgrades meanwhile."""

    def start(self, workers):
        c = self.cluster("sh", "-c", 'while [ -e hold ]; do sleep 0.02; done; exec "$0" ready serve', harness.PROBE,
                         policy=POLICY, flags=("-n", workers))
        c.ready(workers)
        (c.folder / "hold").touch()
        return c

    def test_a_restart_is_waited_for_over_an_upgrade(self):
        c = self.start(2)
        with c.asked("restart", "1") as asked:
            c.wait_event("roll.begin")
            c.ctl("upgrade")
            (c.folder / "hold").unlink()
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)
        self.assertRegex(said, r"\nroll 1: done after \S+; 2 of 2 ready\n$")

    def test_the_restart_of_somebody_else_is_none_of_ours(self):
        c = self.start(3)
        with c.asked("roll") as asked:
            c.wait_event("roll.begin")
            c.ctl("restart", "2", status=1)  # superseded: the roll comes there
            c.ctl("upgrade")
            (c.folder / "hold").unlink()
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)
        self.assertNotIn("roll 2", said)
        self.assertRegex(said, r"\nroll 1: done after \S+; 3 of 3 ready\n$")


harness.main()
