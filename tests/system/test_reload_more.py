"""Rows F3, F5 and F7: which keys a reload changes, in any company, and the sockets that come and go."""

import itertools
import json
import os
import pathlib
import signal
import socket
import tempfile
import shutil
import time

import harness

GOOD = "[cluster]\nworkers = %d\n[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 5s\n"
NOTIFY = "[cluster]\nworkers = 2\n[ready]\nwhen = notify\ntimeout = %s\n[roll]\ntries = 1\n[stop]\ntimeout = 5s\n"


def reachable(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Reload(harness.TestCase):
    def start(self, policy=GOOD % 2, program=("/bin/sleep", "1000"), workers=2, **options):
        c = self.cluster(*program, policy=policy, **options)
        c.announce("note", "roll.end", "roll.slot")
        c.ready(workers)
        return c

    def write(self, c, text):
        new = c.policy_file.with_suffix(".new")
        new.write_text(text)
        os.rename(new, c.policy_file)

    def answers(self, port):
        connection = harness.Connection(port)
        self.addCleanup(connection.close)
        self.assertEqual(connection.get()[0], 200)

    def in_force(self, c, key):
        """The effective value of section.key."""
        section, name = key.split(".")
        here = ""
        for line in c.ctl("config").splitlines():
            line = line.split(" ;")[0].strip()
            if line.startswith("["):
                here = line.strip("[]")
            elif here == section and line.partition("=")[0].strip() == name:
                return line.partition("=")[2].strip()
        return None

    # -- F3 --

    def test_F3_live_keys_replace_nobody(self):
        c = self.start()
        before = sorted(c.workers())
        for section, key, value in (("stop", "timeout", "7s"), ("restart", "delay", "200ms"), ("roll", "surge", "2"),
                                    ("roll", "pause", "1s"), ("recycle", "max_rss", "4G"), ("restart", "burst", "9"),
                                    ("health", "interval", "5s"), ("supervisor", "max_old", "3"),
                                    ("restart", "when", "on-failure"), ("log", "overflow", "block")):
            with self.subTest(key=f"{section}.{key}"):
                self.write(c, GOOD.replace("[stop]\ntimeout = 5s\n", "") % 2 + f"[{section}]\n{key} = {value}\n")
                c.ctl("reload")
                self.assertEqual(self.in_force(c, f"{section}.{key}"), value)
                self.assertEqual(sorted(c.workers()), before)

    def test_F3_an_exit_rule_applies_at_once(self):
        c = self.start(GOOD % 2)
        c.announce("worker.exit")
        self.write(c, GOOD % 2 + "[exit SIGKILL]\naction = retire\n")
        before = sorted(c.workers())
        c.ctl("reload")
        self.assertEqual(sorted(c.workers()), before)
        c.kill(signal.SIGKILL, c.pid_of(1))
        self.assertEqual(c.wait_event("worker.exit").action, "retire")
        c.announce("give_up")

    def test_F3_what_can_not_change_is_named(self):
        c = self.start()
        self.write(c, GOOD % 2 + "[metrics]\nlisten = 127.0.0.1:1\n")
        before = sorted(c.workers())
        self.assertIn("metrics.listen", c.ctl("reload"))
        self.assertEqual(sorted(c.workers()), before)
        self.assertEqual(self.in_force(c, "metrics.listen"), "off")

    def test_F3_what_can_not_change_of_an_open_socket_is_named(self):
        listen = f"[listen web]\naddress = 127.0.0.1:{harness.free_port()}\nbacklog = %d\nbalance = %s\n%s"
        c = self.start(GOOD % 2 + listen % (64, "shared", ""), listen=False)
        self.write(c, GOOD % 2 + listen % (128, "hash", "nonblock = yes\n"))
        self.assertEqual(c.ctl("reload"), """\
[listen web]: backlog: 64 -> 128: applies at once
[listen web]: nonblock: keep -> yes: needs a restart of clusterd; the old value stays
[listen web]: balance: shared -> hash: needs a restart of clusterd; the old value stays
reload: done
""")
        self.assertEqual(self.in_force(c, "listen web.balance"), "shared")
        self.assertEqual(self.in_force(c, "listen web.backlog"), "128")

    def test_a_plan_says_which_addresses(self):
        ports = [harness.free_port() for _ in range(2)]
        listen = "[listen web]\naddress = 127.0.0.1:%d\n"
        c = self.start(GOOD % 2 + listen % ports[0], listen=False)
        self.write(c, GOOD % 2 + listen % ports[1])
        self.assertEqual(c.ctl("config", "--diff"), f"""\
[listen web]: 127.0.0.1:{ports[1]}: opened, then the workers are replaced
[listen web]: 127.0.0.1:{ports[0]}: closed when the workers have been replaced
""")

    def test_F3_dry_run_touches_nothing(self):
        c = self.start()
        before = sorted(c.workers())
        mark = c.mark()
        self.write(c, GOOD % 5 + "[env]\nA = b\n")
        plan = c.ctl("reload", "--dry-run")
        self.assertIn("cluster.workers", plan)
        self.assertIn("env", plan)
        self.assertEqual(sorted(c.workers()), before)
        self.assertEqual(c.all("worker.start", since=mark), [])

    def test_a_missing_program_changes_nothing(self):
        c = self.start(GOOD.replace("[cluster]\n", "[cluster]\ncommand = /bin/sleep 1000\n") % 2, program=())
        c.announce("reload", "policy")
        before = sorted(c.workers())
        self.write(c, GOOD.replace("[cluster]\n", "[cluster]\ncommand = /nonexistent/x\n") % 7)
        c.ctl("reload", status=1)
        self.assertEqual(sorted(c.workers()), before)
        self.assertIn("sleep", self.in_force(c, "cluster.command"))
        self.assertEqual(self.in_force(c, "cluster.workers"), "2")

    def test_who_asked_is_told_which_step_failed(self):
        """No such file is not the program here."""
        c = self.start()
        c.announce("roll.slot", "roll.end", "spawn.error")
        self.write(c, GOOD.replace("[cluster]\n", "[cluster]\ndirectory = /nonexistent\n") % 2)
        self.assertIn("\n  slot 0  could not be started: chdir /nonexistent: No such file or directory\n", c.ctl("reload", status=1))

    # -- the policy of a roll that fails --

    def failing(self, c, extra=""):
        self.write(c, NOTIFY % "1s" + "[env]\nBAD = 1\n" + extra)

    SLOW = ("/bin/sh", "-c", '[ "$BAD" ] && exit 3; exec "$0" ready serve', harness.PROBE)

    def test_rollback_brings_the_whole_policy_back(self):
        c = self.start(NOTIFY % "10s", self.SLOW)
        c.announce("worker.exit")
        before = sorted(c.workers())
        self.assertRegex(c.ctl("status"), r"policy \S+ applied \S+ ago\n")
        self.failing(c, "[health]\ninterval = 77s\n")
        c.ctl("reload", status=1)
        self.assertEqual(self.in_force(c, "health.interval"), "10s")
        c.ctl("upgrade")
        self.assertRegex(c.ctl("status"), r"policy \S+ rolled back \S+ ago\n")
        self.assertEqual(self.in_force(c, "ready.timeout"), "10s")
        self.assertEqual(sorted(c.workers()), before)
        mark = c.mark()
        c.kill(signal.SIGKILL, before[0])
        c.wait_event("worker.ready", since=mark)
        for pid in c.workers():
            self.assertNotIn(b"BAD", harness.environ(pid))

    def test_rollback_brings_the_number_of_workers_back(self):
        c = self.start(NOTIFY % "10s", self.SLOW)
        c.announce("worker.exit", "worker.escalate")
        self.write(c, (NOTIFY % "1s").replace("= 2", "= 4") + "[env]\nBAD = 1\n")
        c.ctl("reload", status=1)
        self.assertEqual(self.in_force(c, "cluster.workers"), "2")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers again")
        self.assertIn('"wanted":2', c.ctl("--json", "status"))
        self.assertEqual([e.by for e in c.all("scale")], ["reload", "rollback"])

    def test_rollback_brings_a_number_set_by_hand_back(self):
        base = NOTIFY % "10s"
        program = ("/bin/sh", "-c", 'while [ "$BAD" ] && [ -d "$BAD" ]; do sleep 0.02; done; [ "$BAD" ] && exit 3; '
                   'exec "$0" ready serve', harness.PROBE)
        for meanwhile, expected in (("upgrade",), 5), (("scale", "4"), 4):
            with self.subTest(meanwhile=meanwhile):
                bad = base.replace("= 2", "= 3") + f"[env]\nBAD = {(folder := tempfile.mkdtemp())}\n"
                c = self.start(base, program)
                c.announce("worker.exit", "worker.escalate", "roll.back", "upgrade")
                c.ctl("scale", "5")
                self.write(c, bad)
                c.ctl("reload", "--no-wait")
                c.wait_event("scale", to=3)
                c.ctl(*meanwhile, "--no-wait")
                os.rmdir(folder)
                c.wait_note("is in force again")
                harness.eventually(lambda c=c: f'"ready":{expected},"wanted":{expected}' in
                                   c.ctl("--json", "status", status=None), f"{expected} workers")
                self.write(c, base + "[health]\ninterval = 9s\n")
                c.ctl("reload")  # the file says nothing new
                self.assertIn(f'"wanted":{expected}', c.ctl("--json", "status"))
                c.baseline = None

    def test_rollback_closes_the_new_sockets(self):
        c = self.start(NOTIFY % "10s" + "[listen web]\naddress = 127.0.0.1:%d\n" % (port := harness.free_port()),
                       self.SLOW, listen=False)
        c.announce("worker.exit")
        other = harness.free_port()
        self.write(c, NOTIFY % "1s" + f"[env]\nBAD = 1\n[listen next]\naddress = 127.0.0.1:{other}\n")
        c.ctl("reload", status=1)
        self.assertTrue(reachable(port))
        self.assertFalse(reachable(other))

    def test_the_next_reload_finishes_a_roll_that_was_not_finished(self):
        base = (NOTIFY % "10s").replace("tries = 1", "tries = 1\non_failure = stop")
        for how in ("fails", "drained"):
            with self.subTest(how=how):
                c = self.start(base, ("/bin/sh", "-c", '[ "$A" ] && [ "$CLUSTERD_SLOT" = 1 ] && until [ -e go ]; do '
                                      '[ -e bad ] && exit 3; sleep 0.02; done; exec "$0" ready serve', harness.PROBE))
                c.announce("worker.exit")
                self.write(c, base + "[env]\nA = 1\n[log]\ntail = 1K\n")
                c.ctl("reload", "--no-wait")
                c.wait_event("roll.slot", slot=0)
                if how == "drained":
                    c.ctl("drain", "all")
                    c.ctl("reset")
                (c.folder / "bad").touch()
                c.wait_event("roll.end", verdict="failed" if how == "fails" else "stopped")
                (c.folder / "go").touch()
                c.ctl("wait", "ready")
                # Of what was drained as a whole the former policy is in force again.
                plan = ("the last roll was not finished: replaces the workers\n" if how == "fails" else
                        "log.tail: 4K -> 1K: replaces the workers\n[env]: replaces the workers\n")
                self.assertEqual(c.ctl("config", "--diff"), plan)
                self.assertTrue(c.ctl("reload").startswith(plan))
                for slot in (0, 1):
                    self.assertEqual(harness.environ(c.pid_of(slot))[b"A"], b"1")
                self.assertIn("the policy has not changed\n", c.ctl("reload"))
                c.baseline = None

    def test_a_live_change_during_a_roll_stays(self):
        """The roll was begun with an older policy; its end does not bring that one back."""
        slow = NOTIFY % "20s" + f"[listen web]\naddress = 127.0.0.1:{harness.free_port()}\nbacklog = %d\n"
        c = self.start(slow % 100, (harness.PROBE, "after=700", "ready", "serve"), listen=False)
        self.write(c, slow % 100 + "[env]\nA = 1\n")
        c.ctl("reload", "--no-wait")
        c.wait_event("roll.begin")
        self.write(c, slow % 50 + "[env]\nA = 1\n[health]\ninterval = 77s\n")
        c.ctl("reload", "--no-wait")
        self.assertEqual(self.in_force(c, "health.interval"), "1m17s")
        c.wait_event("roll.end", verdict="done")
        self.assertEqual(self.in_force(c, "health.interval"), "1m17s")
        self.assertEqual(self.in_force(c, "listen web.backlog"), "50")
        self.assertEqual(len(c.all("roll.begin")), 1)

    # -- scale by hand --

    def test_scale_by_hand_and_reload(self):
        c = self.start(GOOD % 2)
        c.ctl("scale", "5")
        self.write(c, GOOD % 2 + "[health]\ninterval = 9s\n")
        c.ctl("reload")
        self.assertEqual(len(c.workers()), 5)  # the file says nothing new
        self.write(c, GOOD % 3 + "[health]\ninterval = 9s\n")
        c.ctl("reload")
        harness.eventually(lambda: len(c.workers()) == 3, "what the file says now")

    def test_auto_follows_at_each_reload(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one CPU")
        cpus = sorted(os.sched_getaffinity(0))
        c = self.start(GOOD.replace("%d", "1"), workers=1)
        self.write(c, GOOD.replace("%d", "auto"))
        c.ctl("reload")
        count = len(c.workers())
        self.assertGreaterEqual(count, 1)
        os.sched_setaffinity(c.pid, {cpus[0]})
        told = f"cluster.workers: auto was {count} and is 1 now: applies at once\n" if count > 1 else "the policy has not changed\n"
        self.assertEqual(c.ctl("reload", "--dry-run").splitlines(True)[0], told)
        c.ctl("reload")
        harness.eventually(lambda: len(c.workers()) == 1, "one worker on one CPU")
        os.sched_setaffinity(c.pid, set(cpus))
        c.ctl("reload")
        harness.eventually(lambda: len(c.workers()) == count, f"{count} workers on {len(cpus)} CPUs")

    def test_who_asked_waits_for_the_workers_that_were_added(self):
        policy = (NOTIFY % "10s").replace("workers = 2", "workers = %d")
        c = self.start(policy % 1, program=(harness.PROBE, "after=300", "ready", "serve"), workers=1)
        self.write(c, policy % 3)
        text = c.ctl("reload")
        self.assertRegex(text, r"(?s)^cluster.workers: 1 -> 3: applies at once\n.* ready after .*\nreload: done; 3 of 3 ready\n$")
        self.write(c, policy % 5)
        self.assertRegex(c.ctl("reload", "--no-wait"), r"\nreload: begun\n$")
        self.assertEqual(json.loads(c.ctl("--json", "wait", "ready").splitlines()[-1])["ready"], 5)

    # -- F5 --

    def test_F5_all_pairs(self):
        """Any two operations, one in the middle of the other: it settles, and one of the two counts."""
        operations = {
            "roll": lambda c: c.ctl("roll", "--no-wait", status=None),
            "reload": lambda c: (self.write(c, c.policy_file.read_text() + f"[env]\nT{time.monotonic_ns()} = 1\n"),
                                 c.ctl("reload", "--no-wait", status=None)),
            "scale": lambda c: c.ctl("scale", "3", "--no-wait", status=None),
            "restart": lambda c: c.ctl("restart", "0", "--no-wait", status=None),
            "upgrade": lambda c: c.ctl("upgrade", "--no-wait", status=None),
            "stop": lambda c: c.ctl("stop", "--no-wait", status=None),
        }
        for first, second in itertools.product(operations, repeat=2):
            with self.subTest(first=first, second=second):
                c = self.start(NOTIFY % "10s", (harness.PROBE, "after=30", "ready", "drain=30", "serve"))
                c.announce("upgrade", "reload", "policy", "worker.escalate")
                operations[first](c)
                operations[second](c)
                if "stop" in (first, second):
                    self.assertEqual(c.wait(), 0)
                    continue
                harness.eventually(lambda: len(c.all("roll.begin")) == len(c.all("roll.end")), "every roll ends")
                wanted = 3 if "scale" in (first, second) else 2
                harness.eventually(lambda: f'"ready":{wanted},"wanted":{wanted},"live":{wanted}' in
                                   c.ctl("--json", "status", status=None), f"{wanted} workers")
                c.baseline = None

    # -- F7 --

    def test_F7_sockets_come_and_go(self):
        one, two, three = (harness.free_port() for _ in range(3))
        listen = "[listen %s]\naddress = 127.0.0.1:%d\n"
        base = NOTIFY % "10s" + "[supervisor]\nmax_old = 16\n"
        c = self.start(base + listen % ("web", one), (harness.APP,), listen=False)
        load = harness.Load(one, 4)
        self.write(c, base + listen % ("web", one) + listen % ("more", two))
        c.ctl("reload")
        self.answers(two)
        self.write(c, base + listen % ("web", one) + listen % ("more", three))  # it moves
        c.ctl("reload")
        self.answers(three)
        harness.eventually(lambda: not reachable(two), "the old address is closed")
        self.write(c, base + listen % ("web", one))
        c.ctl("reload")
        harness.eventually(lambda: not reachable(three), "the removed one is closed")
        for name, port in ("more", two), ("more", three):
            c.wait_event("listen.closed", listener=name, address=f"127.0.0.1:{port}")
        self.assertEqual(len(c.all("listen.closed")), 2)
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")

    def test_F7_a_removed_socket_stays_until_the_roll_is_done(self):
        one, two = (harness.free_port() for _ in range(2))
        listen = "[listen %s]\naddress = 127.0.0.1:%d\n"
        base = NOTIFY % "10s"
        c = self.start(base + listen % ("web", one) + listen % ("old", two), (harness.PROBE, "until=gate", "ready", "serve"),
                       listen=False, preexec=pathlib.Path("gate").touch)
        (c.folder / "gate").unlink()
        self.write(c, base + listen % ("web", one))
        c.ctl("reload", "--no-wait")
        c.wait_event("roll.begin")
        self.assertTrue(reachable(two))
        (c.folder / "gate").touch()
        c.wait_event("roll.end", verdict="done")
        harness.eventually(lambda: not reachable(two), "closed after the roll")
        c.baseline = None

    def names(self, c):
        """What the sockets are called: to the operator, and to the newest worker."""
        lines = [json.loads(line) for line in c.ctl("--json", "status").splitlines()]
        told = {int(line["address"].rpartition(":")[2]): line["name"] for line in lines if line.get("kind") == "listener"}
        worker = harness.environ(c.pid_of(0))[b"LISTEN_FDNAMES"].decode().split(":")
        self.assertEqual(sorted(told.values()), sorted(worker))
        return told

    def test_F7_a_socket_is_what_its_address_says(self):
        """It stays whatever it is called: by another section, or because there are more before the unnamed."""
        one, two = (harness.free_port() for _ in range(2))
        listen = "[listen %s]\naddress = 127.0.0.1:%d\n"
        base = NOTIFY % "10s"
        c = self.start(base, (harness.APP,))
        load = harness.Load(c.port, 4)
        self.assertEqual(self.names(c), {c.port: "fd3"})
        for sections, expected in (([("web", one)], {one: "web", c.port: "fd4"}),
                                   ([("www", one)], {one: "www", c.port: "fd4"}),
                                   ([("www", one), ("more", two)], {one: "www", two: "more", c.port: "fd5"}),
                                   ([("www", two), ("more", one)], {one: "more", two: "www", c.port: "fd5"}),
                                   ([], {c.port: "fd3"})):
            with self.subTest(sections=sections):
                self.write(c, base + "".join(listen % section for section in sections))
                c.ctl("reload")
                self.assertEqual(self.names(c), expected)
                if sections:
                    self.answers(one)
                harness.eventually(lambda: len(c.workers()) == 2, "the old workers have left")
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")

    def test_F7_another_order_is_other_descriptors(self):
        one, two = (harness.free_port() for _ in range(2))
        web, more = f"[listen web]\naddress = 127.0.0.1:{one}\n", f"[listen more]\naddress = 127.0.0.1:{two}\n"
        c = self.start(GOOD % 2 + web + more, listen=False)
        old = c.pid_of(0)
        self.write(c, GOOD % 2 + more + web)
        self.assertIn("[listen]: in another order: replaces the workers\n", c.ctl("reload"))
        self.assertNotEqual(c.pid_of(0), old)
        self.assertEqual(harness.environ(c.pid_of(0))[b"LISTEN_FDNAMES"], b"more:web")
        harness.eventually(lambda: len(c.workers()) == 2, "the old workers have left")

    def test_F7_what_a_socket_is_called_goes_back_with_the_roll(self):
        one = harness.free_port()
        base = NOTIFY % "10s"
        c = self.start(base + f"[listen web]\naddress = 127.0.0.1:{one}\n",
                       ("/bin/sh", "-c", '[ -e bad ] && exit 3; exec "$0" ready serve', harness.PROBE), listen=False)
        c.announce("worker.exit", "roll.back")
        (c.folder / "bad").touch()
        self.write(c, base + f"[listen www]\naddress = 127.0.0.1:{one}\n")
        said = c.ctl("reload", status=1)
        self.assertIn("[listen www]: is that of [listen web]: replaces the workers\n", said)
        c.wait_event("note", text="the policy of generation 1 is in force again")
        (c.folder / "bad").unlink()
        c.ctl("restart", "0")
        self.assertEqual(self.names(c), {one: "web"})

    def test_F7_an_address_in_use_changes_nothing(self):
        with socket.create_server(("127.0.0.1", harness.free_port())) as taken:
            one, free = harness.free_port(), harness.free_port()
            base = GOOD % 2 + f"[listen web]\naddress = 127.0.0.1:{one}\n"
            c = self.start(base, listen=False)
            c.announce("reload", "policy", "listen")
            before = sorted(c.workers())
            self.write(c, base + f"[listen a]\naddress = 127.0.0.1:{free}\n"
                       f"[listen b]\naddress = 127.0.0.1:{taken.getsockname()[1]}\n[health]\ninterval = 77s\n")
            self.assertRegex(c.ctl("reload", status=1), r"\nlistener b 127\.0\.0\.1:\d+: bind: Address already in use, "
                             rf"by \S+ \(pid {os.getpid()}\)\n\[listen b\]: could not be opened; nothing was changed\n$")
            self.assertEqual(sorted(c.workers()), before)
            self.assertFalse(reachable(free))
            self.assertEqual(self.in_force(c, "health.interval"), "10s")

    def test_F7_a_port_that_another_listener_has_still(self):
        port = harness.free_port()
        c = self.start(GOOD % 2 + f"[listen web]\naddress = 127.0.0.1:{port}\n", listen=False)
        c.announce("reload")
        self.write(c, GOOD % 2 + f"[listen all]\naddress = *:{port}\n")
        self.assertRegex(c.ctl("reload", status=1), r"\n\[listen all\]: could not be opened; nothing was changed\n"
                         r"\[listen web\] has that port until the workers have been replaced: .*\n$")

    def test_F7_no_more_sockets_than_those_of_two_policies(self):
        def policy(first, count):
            return NOTIFY % "5s" + "".join(f"[listen l{i}]\naddress = unix:@{os.getpid()}.{i}\n"
                                           for i in range(first, first + count))

        c = self.start(policy(0, 16), (harness.PROBE, "ignore-term", "ready", "serve"), listen=False)
        c.announce("reload", "worker.escalate", "worker.exit")
        self.write(c, policy(16, 16))
        c.ctl("reload")
        self.write(c, policy(32, 1))
        self.assertIn("\nlistener l32: 32 sockets are open, as many as there can be, until the workers of former "
                      "policies have ended\n", c.ctl("reload", status=1))
        c.ctl("stop", "--now")
        self.assertEqual(c.wait(), 0)

    # -- what the manager and the log see --

    def test_reloading_and_ready_come_in_pairs(self):
        folder = tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        c = self.start(env={"NOTIFY_SOCKET": manager.path})
        c.announce("reload", "policy")
        manager.wait("READY=1")
        for text in (GOOD % 2 + "[health]\ninterval = 9s\n", "broken [", GOOD % 3, GOOD % 3 + "[env]\nA = 1\n"):
            told = manager.seen.count("READY=1")
            self.write(c, text)
            mark = c.mark()
            c.kill(signal.SIGHUP)
            result = c.wait_event("reload", since=mark).result
            # HUP replaces the workers, and the end of that says READY=1 too.
            due = told + 1 + (result == "applied" and bool(c.wait_event("roll.end", since=mark)))
            harness.eventually(lambda due=due: manager.seen.count("READY=1") == due, f"{due} READY=1: {manager.seen}")
        seen = [line for line in manager.seen if line in ("READY=1", "RELOADING=1") or line.startswith("MONOTONIC")]
        self.assertEqual(seen.count("RELOADING=1"), 4)
        for at, line in enumerate(seen):
            if line == "RELOADING=1":
                self.assertTrue(seen[at + 1].startswith("MONOTONIC_USEC="), seen)
                self.assertEqual(seen[at + 2], "READY=1")
        self.assertEqual(c.stop(), 0)
        manager.wait("STOPPING=1")
        self.assertNotIn("READY=1", manager.seen[manager.seen.index("STOPPING=1"):])

    def test_the_log_is_opened_again(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="log-"))
        self.addCleanup(shutil.rmtree, folder)
        log = folder / "clusterd.log"
        c = self.start()
        self.write(c, GOOD % 2 + f"[log]\nfile = {log}\n")
        c.ctl("reload")
        harness.eventually(log.exists, "the log file")
        os.rename(log, folder / "clusterd.log.1")
        c.kill(signal.SIGUSR1)
        harness.eventually(log.exists, "a new log file")
        c.ctl("scale", "+1")
        harness.eventually(lambda: '"scale"' in log.read_text(), "the event in the new file")
        self.assertNotIn('"scale"', (folder / "clusterd.log.1").read_text())
        self.write(c, GOOD % 2)
        c.ctl("reload")

    def test_a_hundred_thousand_HUPs(self):
        c = self.start()
        for _ in range(100_000):
            os.kill(c.pid, signal.SIGHUP)
        c.announce("reload", "worker.escalate")
        harness.eventually(lambda: len(c.all("roll.begin")) == len(c.all("roll.end")) > 0, "it settles", 30 * harness.SLOW)
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")
        mark = c.mark()
        self.write(c, GOOD % 3)
        c.ctl("reload")
        c.wait_event("scale", since=mark, to=3)


harness.main()
