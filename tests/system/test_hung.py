"""A worker that hangs costs nobody else, and one that only idles is left in peace."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
import unittest

import clients
import harness

POLICY = "[ready]\nwhen = notify\n[restart]\ndelay = 50ms\n[stop]\ntimeout = 1s\n"


@unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
class Hung(harness.TestCase):
    def start(self, more="", workers=4, words=("ready",), flags=()):
        c = self.cluster(harness.PROBE, *words, policy=POLICY + more,
                         flags=("-n", workers, "-b", "round-robin", *flags))
        c.ready(workers)
        return c

    HOARD = clients.READY_WORKER % 3 + """
held = []
while True:
    held.append(listener.accept())
"""

    def test_K6_one_hoards_connections(self):
        """It costs the clients it was given, and no more; and it can be seen who has them."""
        c = self.sh(f"[ $CLUSTERD_SLOT != 1 ] || exec {sys.executable} -c \"{self.HOARD}\"; exec {harness.PROBE} ready serve",
                    policy=POLICY, flags=("-n", "4", "-b", "round-robin"))
        c.ready(4)
        hoarder, connections = c.pid_of(1), 800
        bodies, seconds = clients.answers(clients.queue(c.port, connections), deadline=5 * harness.SLOW)
        self.assertEqual(len(bodies), connections * 3 // 4)
        self.assertEqual(len(set(bodies)), 3)
        self.assertNotIn(str(hoarder), bodies)
        self.assertLess(max(seconds), 1 * harness.SLOW + self.slack())
        status = [json.loads(line) for line in c.ctl("status", "--json").splitlines()]
        handed = {line["slot"]: line["handed"] for line in status if line.get("kind") == "slot"}
        self.assertEqual(handed, dict.fromkeys(range(4), connections // 4))

    def wait_left_out(self, c, slot):
        return next(e for e in c.wait_events(1, "balance", slot=slot) if "left out" in e.state)

    def test_its_queue_goes_to_the_others(self):
        c = self.start()
        c.announce("balance")
        victim = c.pid_of(2)
        c.kill(signal.SIGSTOP, victim)
        bodies, seconds = clients.answers(clients.queue(c.port, 100))
        self.assertEqual(len(bodies), 100)
        self.assertNotIn(str(victim), bodies)
        self.assertLess(max(seconds), 1 * harness.SLOW + self.slack())
        self.wait_left_out(c, 2)
        status = c.ctl("status")
        self.assertRegex(status, rf"(?m)^   2  ready, left out +{victim} ")
        self.assertRegex(status, r"(?m)^slot 2 has taken no connections for \S+ and is left out; next: "
                                 r"clusterctl restart 2$")
        begun = time.monotonic()
        counts = clients.count(c.port, 300)  # noticed: from now on nobody waits
        self.assertLess(time.monotonic() - begun, 3 * harness.SLOW + self.slack())
        self.assertNotIn(str(victim), counts)
        c.kill(signal.SIGCONT, victim)

    def test_a_full_queue_hides_nothing(self):
        """What is dropped because it is full was handed out, but nobody has taken it."""
        port = harness.free_port()
        c = self.cluster(harness.PROBE, "ready", flags=("-n", 4), listen=(), policy=POLICY +
                         f"[listen http]\naddress = 127.0.0.1:{port}\nbacklog = 8\nbalance = round-robin\n")
        c.ready(4)
        c.announce("balance")
        victim = c.pid_of(2)
        c.kill(signal.SIGSTOP, victim)
        with contextlib.ExitStack() as clients_at_once:
            def left_out():
                s = clients_at_once.enter_context(socket.socket())
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", port))
                return [e for e in c.all("balance", slot=2) if "left out" in e.state]

            harness.eventually(left_out, "it is left out while they come")
        c.kill(signal.SIGCONT, victim)

    SLOW = """
while True:
    client, _ = listener.accept()
    try:
        client.recv(4096)
        time.sleep(0.02)
        client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\nConnection: close\\r\\n\\r\\n1')
    except ConnectionError:
        pass
    client.close()
"""

    def test_too_much_to_do_is_not_hung(self):
        """A check that waits its turn in the queue says nothing of the worker, and killing it would only make it worse."""
        c = self.cluster(sys.executable, "-c", clients.READY_WORKER % 3 + self.SLOW, flags=("-n", 1, "-b", "round-robin"),
                         policy=POLICY + "[health]\nhttp = /\ninterval = 400ms\ntimeout = 300ms\nfailures = 2\naccept = 1s\n")
        c.ready(1)
        c.announce("health")
        waiting = clients.queue(c.port, 150)
        self.assertEqual(len(clients.answers(waiting)[0]), 150)
        self.assertEqual([e.result for e in c.all("health")], ["not counted"])
        self.assertEqual(c.all("worker.hung") + c.all("worker.exit"), [])

    def test_life_in_another_queue_is_no_excuse(self):
        """The worker takes connections, but not where it is asked."""
        ports = [harness.free_port() for _ in range(2)]
        script = clients.READY_WORKER % 4 + self.SLOW.replace("0.02", "0")
        c = self.cluster(sys.executable, "-c", script, flags=("-n", 1), listen=(), policy=POLICY +
                         "".join(f"[listen {name}]\naddress = 127.0.0.1:{port}\nbalance = round-robin\n"
                                 for name, port in zip("ab", ports)) +
                         "[health]\nhttp = /\ninterval = 400ms\ntimeout = 300ms\nfailures = 2\n")
        c.ready(1)
        c.announce("health", "worker.hung", "worker.exit", "worker.escalate", "balance")

        def hung():
            clients.answers(clients.queue(ports[1], 4))
            return c.all("worker.hung")

        self.assertEqual(harness.eventually(hung, "the check finds it")[0].cause, "health")

    def test_left_out_still_after_upgrades(self):
        """Nobody waits for it anew, and its time runs on."""
        c = self.start(f"[health]\naccept = {3 * harness.SLOW:g}s\n")
        c.announce("balance", "worker.hung", "worker.exit", "worker.escalate")
        victim = c.pid_of(2)
        c.kill(signal.SIGSTOP, victim)
        self.assertEqual(len(clients.answers(clients.queue(c.port, 40))[0]), 40)
        begun = self.wait_left_out(c, 2).at
        stop = begun + 10 * harness.SLOW
        upgrades = 0
        while not c.all("worker.exit", slot=2) and time.monotonic() < stop:
            mark = c.mark()
            c.kill(signal.SIGUSR2)
            c.wait_event("upgrade", since=mark)
            upgrades += 1
            self.assertEqual(len(clients.answers(clients.queue(c.port, 8))[0]), 8)
            time.sleep(0.2)
        self.assertGreater(upgrades, 2)
        end = c.wait_event("worker.exit", pid=victim)
        self.assertEqual(len([e for e in c.all("balance", slot=2) if "left out" in e.state and e["at"] < end["at"]]), 1)
        self.assertEqual(len(c.all("worker.hung", pid=victim)), 1)

    def test_datagrams_do_not_hide_it(self):
        """They are handed to a worker too, but none of them waits in the queue of its connections."""
        datagrams = harness.free_port()
        c = self.start(words=("close=4", "ready"), flags=("-l", f"udp:127.0.0.1:{datagrams}"))
        c.announce("balance")
        victim = c.pid_of(2)
        c.kill(signal.SIGSTOP, victim)
        waiting = clients.queue(c.port, 20)
        with contextlib.ExitStack() as flows:
            senders = [flows.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(40)]

            def left_out():
                for sender in senders:
                    sender.sendto(b"?", ("127.0.0.1", datagrams))
                return [e for e in c.all("balance", slot=2) if "left out" in e.state]

            harness.eventually(left_out, "it is left out while datagrams come")
        self.assertEqual(len(clients.answers(waiting)[0]), 20)
        c.kill(signal.SIGCONT, victim)

    def wakes(self, c):
        """How often clusterd has woken up so far."""
        with open(f"/proc/{c.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary"))

    def rests(self, c):
        before = self.wakes(c)
        time.sleep(1)
        return self.wakes(c) == before

    def test_nobody_looks_while_nothing_comes(self):
        c = self.start()
        c.announce("balance")
        harness.eventually(lambda: self.rests(c), "no wake-up in a second")
        self.assertEqual(len(clients.count(c.port, 8)), 4)
        harness.eventually(lambda: self.rests(c), "nor after eight requests")
        c.kill(signal.SIGSTOP, c.pid_of(2))
        bodies, _ = clients.answers(clients.queue(c.port, 20))
        self.assertEqual(len(bodies), 20)
        self.wait_left_out(c, 2)
        c.kill(signal.SIGCONT, c.pid_of(2))
        harness.eventually(lambda: str(c.pid_of(2)) in clients.count(c.port, 8), "it serves again")
        harness.eventually(lambda: self.rests(c), "and then there is rest")
        c.ctl("scale", "5")  # a seat more, which is watched as well
        c.ready(5)
        c.rebase()
        harness.eventually(lambda: self.rests(c), "with five")
        c.kill(signal.SIGSTOP, c.pid_of(4))
        self.assertEqual(len(clients.answers(clients.queue(c.port, 20))[0]), 20)
        c.kill(signal.SIGCONT, c.pid_of(4))

    def test_it_comes_back_by_itself(self):
        c = self.start()
        c.announce("balance")
        c.kill(signal.SIGSTOP, c.pid_of(1))
        waiting = clients.queue(c.port, 20)
        self.wait_left_out(c, 1)
        self.assertEqual(len(clients.answers(waiting)[0]), 20)
        c.kill(signal.SIGCONT, c.pid_of(1))

        def serves():
            return str(c.pid_of(1)) in clients.count(c.port, 8)

        harness.eventually(serves, "it serves again")
        harness.eventually(lambda: c.all("balance", slot=1, state="takes connections again"), "and that is said")
        self.assertNotIn("left out", c.ctl("status"))
        self.assertEqual(c.all("worker.exit"), [])

    def test_a_trial_ends_under_load(self):
        """What it has taken for a while ends its trial, though its queue is never seen empty."""
        c = self.cluster(sys.executable, "-c", clients.READY_WORKER % 3 + self.SLOW, policy=POLICY,
                         flags=("-n", 2, "-b", "round-robin"))
        c.ready(2)
        c.announce("balance")
        c.kill(signal.SIGSTOP, c.pid_of(1))
        load = clients.queue(c.port, 20)
        self.wait_left_out(c, 1)

        def queues():
            lines = map(json.loads, c.ctl("status", "--json").splitlines())
            return {line["slot"]: line["queue"] for line in lines if line.get("kind") == "slot"}

        def tried():
            """Both have enough to do, but not more than they can do in a second."""
            waiting = queues()
            if min(waiting.values()) < 20 and sum(waiting.values()) < 60:
                load.extend(clients.queue(c.port, 4))
            return waiting[1] > 4

        harness.eventually(tried, "it gets a trial")
        c.kill(signal.SIGCONT, c.pid_of(1))

        def told():
            tried()
            return c.all("balance", slot=1, state="takes connections again")

        harness.eventually(told, "that it is well is told")
        self.assertEqual(len(clients.answers(load)[0]), len(load))

    def test_accept_makes_it_end(self):
        c = self.start("[health]\naccept = 500ms\n")
        c.announce("balance", "worker.hung", "worker.exit", "worker.escalate")
        mark = c.mark()
        victim = c.pid_of(0)
        c.kill(signal.SIGSTOP, victim)
        waiting = clients.queue(c.port, 20)
        self.assertEqual(len(clients.answers(waiting)[0]), 20)

        def hung():
            clients.count(c.port, 4)  # a trial takes a client
            return c.all("worker.hung", since=mark, pid=victim)

        harness.eventually(hung, "it counts as hung")
        self.assertEqual(hung()[0].detail, "it takes no connections")
        c.wait_event("worker.exit", since=mark, pid=victim)
        c.wait_event("worker.ready", since=mark, slot=0)
        self.assertEqual([e.pid for e in c.all("worker.exit")], [victim])

    def test_a_probe_names_the_one_that_hangs(self):
        c = self.start("[health]\nhttp = /\ninterval = 300ms\ntimeout = 300ms\nfailures = 2\n")
        c.announce("balance", "health", "worker.hung", "worker.exit", "worker.escalate")
        mark = c.mark()
        victim = c.pid_of(3)
        c.kill(signal.SIGSTOP, victim)
        c.wait_event("worker.exit", since=mark, pid=victim)
        self.assertEqual({e.slot for e in c.all("worker.hung")}, {3})
        self.assertEqual([e.failures for e in c.all("health", pid=victim, since=mark)][:2], [1, 2])
        c.wait_event("worker.ready", since=mark, slot=3)
        self.assertEqual([e.pid for e in c.all("worker.exit")], [victim])

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_who_said_that_it_ends_is_not_asked(self):
        """It may be slow about it; [stop] timeout is what it has."""
        c = self.cluster(harness.PROBE, "ready", flags=("-n", 2, "-b", "round-robin"),
                         policy=POLICY.replace("timeout = 1s", "timeout = 1h") +
                         "[health]\nhttp = /print=asked\ninterval = 100ms\ntimeout = 100ms\nfailures = 100\n")
        c.ready(2)
        c.announce("health")  # the other one may be late with an answer
        clients.ask(c.port, request=b"GET /notify=STOPPING=1 HTTP/1.1\r\n\r\n")
        leaving = harness.eventually(lambda: re.search(r"\n *\d+ +draining +(\d+)", c.ctl("status", status=None)), "it is known")
        pid, mark = int(leaving.group(1)), c.mark()
        c.kill(signal.SIGSTOP, pid)
        asked = c.lines.count("asked")
        harness.eventually(lambda: c.lines.count("asked") >= asked + 10, "questions to the other one")
        self.assertEqual(c.all("health", since=mark, pid=pid), [])
        self.assertEqual(c.all("worker.kill"), [])

    def test_I7_a_suspended_worker_under_load(self):
        """It costs at most the requests it had already; a health check finds it, and from then on nobody is lost."""
        c = self.cluster(harness.APP, flags=("-n", 4, "-b", "round-robin"), policy=POLICY +
                         "[health]\nhttp = /get\ninterval = 300ms\ntimeout = 300ms\nfailures = 2\n")
        c.ready(4)
        c.announce("balance", "health", "worker.hung", "worker.exit", "worker.escalate")
        clients_at_once = 8
        load = harness.Load(c.port, clients=clients_at_once, pause=0.001)
        harness.eventually(lambda: load.sent > 100, "the load runs")
        self.assertEqual(load.lost, [])
        mark, victim = c.mark(), c.pid_of(1)
        c.kill(signal.SIGSTOP, victim)
        end = c.wait_event("worker.exit", since=mark, pid=victim)
        self.assertEqual(end.cause, "health")
        before = load.sent
        harness.eventually(lambda: load.sent > before + 100, "the load goes on")
        sent, lost = load.stop()
        self.assertLessEqual(len(lost), clients_at_once, f"of {sent}: {lost}")
        load = harness.Load(c.port, clients=clients_at_once)
        c.wait_event("worker.ready", since=mark, slot=1)
        harness.eventually(lambda: load.sent > 500, "five hundred requests")
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")
        self.assertEqual([e.pid for e in c.all("worker.exit")], [victim])

    def test_ready_when_it_answers_itself(self):
        c = self.cluster(harness.PROBE, policy="[ready]\nwhen = http /\n", flags=("-n", 3, "-b", "round-robin"))
        self.assertEqual({e.how for e in c.wait_events(3, "worker.ready")}, {"http"})

    def test_idle_workers_are_left_in_peace(self):
        c = self.start("[health]\naccept = 200ms\n")
        held = [harness.Connection(c.port) for _ in range(8)]
        for connection in held:
            connection.get("/")
        time.sleep(2)  # a time in which nothing may happen
        self.assertEqual(c.all("worker.exit") + c.all("balance", level="warn"), [])
        for connection in held:
            self.assertEqual(connection.get("/")[0], 200)
            connection.close()

    def test_all_stopped_at_once_and_continued(self):
        """A machine that pauses: nobody is killed, nobody is lost."""
        c = self.start("[health]\nhttp = /\ninterval = 300ms\ntimeout = 300ms\nfailures = 2\naccept = 500ms\n")
        c.announce("balance", "health")
        everybody = [*c.workers(), c.pid]
        for pid in reversed(everybody):
            c.kill(signal.SIGSTOP, pid)
        waiting = clients.queue(c.port, 40)
        time.sleep(1.5)  # the pause itself
        for pid in everybody:
            c.kill(signal.SIGCONT, pid)
        self.assertEqual(len(clients.answers(waiting)[0]), 40)
        self.assertEqual(c.all("worker.exit"), [])

    def test_a_short_pause_of_all_is_no_hang_of_one(self):
        """clusterd has seen a queue, and then nobody has run for a while: that is not the time in which it did not move."""
        c = self.start()
        victim = c.pid_of(2)
        for _ in range(8):
            c.kill(signal.SIGSTOP, victim)
            waiting = clients.queue(c.port, 8)
            begun = time.monotonic()
            time.sleep(0.15)  # so that it has looked; three looks would be too many
            c.kill(signal.SIGSTOP)
            looked = time.monotonic() - begun
            time.sleep(0.5)  # the pause itself
            begun = time.monotonic()
            c.kill(signal.SIGCONT)
            clients.control(c.socket, "version")  # it has looked again
            c.kill(signal.SIGCONT, victim)
            self.assertEqual(len(clients.answers(waiting)[0]), 8)
            looked += time.monotonic() - begun
            if looked > 0.25:  # this test or the worker had no CPU: then it has been left out rightly
                c.announce("balance")
                continue
            self.assertEqual(c.all("balance"), [])
            break


class Shared(harness.TestCase):
    def test_others_take_all(self):
        c = self.cluster(harness.PROBE, "ready", policy=POLICY, flags=("-n", 4))
        c.ready(4)
        c.kill(signal.SIGSTOP, c.pid_of(2))
        self.assertEqual(len(clients.answers(clients.queue(c.port, 100))[0]), 100)
        c.kill(signal.SIGCONT, c.pid_of(2))


harness.main()
