"""Rows N7 and N11: workers that a killed clusterd has left behind are taken over by the next one."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import clients
import harness

POLICY = "[ready]\nwhen = notify\n[supervisor]\non_death = keep\n"
ROW = 64
MODES = ("shared", "hash", "round-robin") if clients.has_bpf() else ("shared", "hash")
YAMA = os.path.exists("/proc/sys/kernel/yama/ptrace_scope") and pathlib.Path(
    "/proc/sys/kernel/yama/ptrace_scope").read_text() != "0\n"


def lives(pid):
    return (harness.stat_of(pid) or "X")[0] not in "ZX"


def how_it_ended(pid):
    """What the parent of an orphan is told: that is us."""
    try:
        _, status = os.waitpid(pid, os.WNOHANG)
        return f"{pid}: {os.waitstatus_to_exitcode(status)}"
    except ChildProcessError:
        return f"{pid}: no child of ours"


def started(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2:].split()[19])


class Case(harness.TestCase):
    def first(self, *program, policy="", flags=(), count=3, **options):
        c = self.cluster(*(program or (harness.PROBE, "ready", "serve")), policy=POLICY + policy,
                         flags=("-n", count, *flags), **options)
        c.announce("note")
        c.ready(count)
        return c

    def murder(self, c):
        """SIGKILL to clusterd alone; returns its workers, who live on."""
        workers = c.workers()
        c.expected_status = -signal.SIGKILL
        c.kill(signal.SIGKILL)
        # Its log goes on: the workers have it as their standard error.
        c.stopped = c.process.wait(harness.DEADLINE)
        self.assertEqual(c.stopped, -signal.SIGKILL)
        for pid in workers:
            self.assertTrue(lives(pid))
        return workers

    def again(self, c, *program, policy="", flags=(), count=3, **options):
        """The clusterd after c, at the same place."""
        d = self.cluster(*(program or (harness.PROBE, "ready", "serve")), beside=True, after=c,
                         policy=POLICY + policy, flags=("-n", count, *flags), **options)
        d.announce("note", "orphan.stop")
        return d

    def gone(self, pids):
        harness.eventually(lambda: not any(map(lives, pids)), f"{pids} have ended")

    def rows(self, c):
        """The lines of the record that are not empty, without the head."""
        text = c.socket.with_suffix(".workers").read_text()
        self.assertEqual(len(text) % ROW, 0)
        return [line.split() for line in text.splitlines()[1:] if line.strip()]

    def assert_rows(self, c, pids):
        """The record names these processes, and they are who it says. A row goes after its process."""
        harness.eventually(lambda: sorted(int(row[1]) for row in self.rows(c)) == sorted(pids),
                           f"rows of {sorted(pids)} only: {self.rows(c)}")
        for word, pid, start, *_ in self.rows(c):
            self.assertEqual((word, int(start)), ("worker", started(int(pid))))

    def assert_settled(self, c):
        """The record names the children. The trial run of an upgrade is one too, for a moment, and who is to end."""
        harness.eventually(lambda: sorted(c.workers()) == sorted(int(row[1]) for row in self.rows(c)), "a row for each")
        self.assert_rows(c, [int(row[1]) for row in self.rows(c)])


class RowN7(Case):
    def test_N7_nothing_is_lost(self):
        for mode in MODES:
            with self.subTest(balance=mode):
                self.kill_and_start(mode)

    def test_N7_the_record_was_taken_away(self):
        """With the folder of the control socket, as by a cleaner: clusterd begins it anew."""
        c = self.first(flags=("--set", "control.socket=run/web.sock"))
        c.socket = c.folder / "run" / "web.sock"
        for wake in (signal.SIGUSR1, signal.SIGUSR2):
            mark = c.mark()
            harness.shutil.rmtree(c.socket.parent)
            c.kill(wake)
            c.wait_events(2, "note", since=mark, level="warn")
            self.assert_settled(c)
            c.ctl("roll")
            c.ctl("scale", "4")
            c.ctl("scale", "3")
            c.ctl("upgrade")
            self.assert_settled(c)
        orphans = self.murder(c)
        d = self.again(c)
        d.ready(3)
        self.gone(orphans)

    def kill_and_start(self, mode):
        c = self.first(harness.APP, flags=("-b", mode))
        loads = [harness.Load(c.port, 4), harness.Load(c.port, 4, keep_alive=True)]
        clusters = [c]
        for _ in range(5):
            orphans = self.murder(clusters[-1])
            d = self.again(c, harness.APP, flags=("-b", mode))
            d.ready(3)
            d.ctl("status", status=0)
            self.gone(orphans)
            exits = d.wait_events(3, "orphan.exit")
            self.assertEqual(sorted(e.pid for e in exits), sorted(orphans))
            self.assertEqual({e.asked for e in exits}, {True})
            self.assertEqual(len(d.workers()), 3)
            clusters.append(d)
        for load in loads:
            sent, lost = load.stop(least=300)
            self.assertEqual(lost, [], f"of {sent}")
        self.assert_rows(c, clusters[-1].workers())
        for d in reversed(clusters):
            d.finish()

    SUDDEN = clients.READY_WORKER % 3 + """
while True:
    client, _ = listener.accept()
    client.recv(4096)
    time.sleep(0.1)
    client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok')
    client.close()
"""

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_N7_orphans_drain_as_workers_do(self):
        """Of a program that dies of SIGTERM at once nothing is lost either, if it has a drain_delay."""
        program, flags = (sys.executable, "-c", self.SUDDEN), ("-b", "round-robin", "--set", "stop.drain_delay=2s")
        c = self.first(*program, flags=flags)
        over, lost = threading.Event(), []
        threads = [threading.Thread(target=self.ask_until, args=(over, c.port, lost)) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            orphans = self.murder(c)
            d = self.again(c, *program, flags=flags)
            d.ready(3)
            self.gone(orphans)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(lost, [])

    def test_N7_an_adopted_program_of_another_form(self):
        """Its sockets are at the address that the program asked for, not quite that of the listener."""
        for listener, asked in (("*", "0.0.0.0"), ("127.0.0.1", "::")):
            for mode in MODES:
                with self.subTest(listener=listener, asked=asked, balance=mode):
                    port = harness.free_port()
                    program = (sys.executable, "-m", "http.server", str(port), "-b", asked)
                    options = {"flags": ("-a", "-b", mode, "-l", f"{listener}:{port}"), "listen": False,
                               "policy": "[stop]\ntimeout = 5s\n"}
                    c = self.first(*program, **options)
                    orphans = self.murder(c)
                    d = self.again(c, *program, **options)
                    d.ready(3)
                    self.gone(orphans)
                    with socket.create_connection(("127.0.0.1", port), 10):
                        pass
                    d.finish()

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
    def test_N7_an_adopted_program_of_two_forms(self):
        for mode in MODES:
            with self.subTest(balance=mode):
                port = harness.free_port()
                program = ("redis-server", "--port", str(port), "--bind", "0.0.0.0", "::", "--save", "",
                           "--protected-mode", "no")
                options = {"flags": ("-a", "-b", mode, "-l", f"*:{port}"), "listen": False, "count": 2}
                c = self.first(*program, **options)
                # Without clusterd nobody would answer a bind or listen that is still to come.
                harness.eventually(lambda c=c: sum("Ready to accept" in str(line) for line in c.other) == 2, "both listen")
                orphans = self.murder(c)
                d = self.again(c, *program, **options)
                d.ready(2)
                self.gone(orphans)
                for host in ("127.0.0.1", "::1"):
                    with socket.create_connection((host, port), 10) as s:
                        s.sendall(b"PING\r\n")
                        self.assertEqual(s.recv(16), b"+PONG\r\n")
                d.rebase()
                d.finish()

    def ask_until(self, over, port, lost):
        while not over.is_set():
            try:
                clients.ask(port)
            except OSError as error:
                lost.append(repr(error))

    def test_N7_every_kind_of_socket(self):
        """The very same sockets, with what waits in them."""
        name = f"clusterd-n7-{os.getpid()}"
        path = pathlib.Path(f"/tmp/{name}.sock")
        other = harness.free_port()
        flags = ("-l", f"unix:{path}", "-l", f"unix:@{name}", "-l", f"udp:127.0.0.1:{other}", "-l", f"*:{other}",
                 "-l", f"[::1]:{harness.free_port()}")
        c = self.first(flags=flags)
        inode = os.stat(path).st_ino
        before = [harness.fds(c.workers()[0])[fd] for fd in range(3, 9)]
        for turn in range(3):  # the second is a clusterd that has itself taken them back
            orphans = self.murder(c)
            for pid in orphans:
                os.kill(pid, signal.SIGSTOP)
            for pid in orphans:
                harness.eventually(lambda: harness.stat_of(pid)[0] == "T", "stopped")
            waiting = [socket.create_connection(("127.0.0.1", c.port), harness.DEADLINE),
                       socket.socket(socket.AF_UNIX)]
            waiting[1].settimeout(harness.DEADLINE)
            waiting[1].connect(str(path))
            for s in waiting:
                s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            d = self.again(c, flags=flags)
            d.ready(3)
            for s in waiting:
                self.assertIn(b"200 OK", s.recv(4096))
                s.close()
            d.wait_events(3, "orphan.exit")
            self.assertEqual([harness.fds(d.workers()[0])[fd] for fd in range(3, 9)], before)
            self.assertEqual([("taken back" in e.note) for e in d.wait_events(6, "listen")], [True] * 6)
            self.assertEqual(os.stat(path).st_ino, inode)
            c = d
        self.assertEqual(d.stop(), 0)
        self.assertFalse(path.exists())

    def test_N7_a_unix_path_that_was_replaced(self):
        """Its socket is called after the clusterd that made it, for the name was taken then."""
        path = pathlib.Path(f"/tmp/clusterd-n7-{os.getpid()}.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        listener = f"[listen local]\naddress = unix:{path}\nmode = 0%o\n"
        c = self.first(policy=listener % 0o666)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666)
        self.murder(c)
        d = self.again(c, policy=listener % 0o600)
        d.ready(3)
        d.wait_events(3, "orphan.exit")
        self.assertEqual([bool(e.note) for e in d.wait_events(2, "listen")], [True, True])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(d.stop(), 0)
        self.assertFalse(path.exists())

    def test_N7_a_path_that_leads_elsewhere(self):
        path = pathlib.Path(f"/tmp/clusterd-n7-{os.getpid()}.sock")
        c = self.first(flags=("-l", f"unix:{path}"))
        self.murder(c)
        path.unlink()
        d = self.again(c, flags=("-l", f"unix:{path}"))
        d.ready(3)
        d.wait_events(3, "orphan.exit")
        self.assertEqual([bool(e.note) for e in d.wait_events(2, "listen")], [True, False])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_N7_other_listeners(self):
        """What the policy names no more goes with the orphans, what it names anew is opened."""
        gone, fresh = harness.free_port(), harness.free_port()
        c = self.first(flags=("-l", f"127.0.0.1:{gone}"))
        self.murder(c)
        d = self.again(c, flags=("-l", f"127.0.0.1:{fresh}"))
        d.ready(3)
        d.wait_events(3, "orphan.exit")
        self.assertEqual([bool(e.note) for e in d.wait_events(2, "listen")], [True, False])
        with socket.socket() as client:
            self.assertNotEqual(client.connect_ex(("127.0.0.1", gone)), 0)
            self.assertEqual(client.connect_ex(("127.0.0.1", fresh)), 0)

    def test_N7_killed_again_in_the_middle(self):
        c = self.first(harness.APP)
        load = harness.Load(c.port, 2, pause=0.002)
        orphans = self.murder(c)
        for turn in range(3):
            d = self.again(c, "/bin/sleep", "1000", count=2)
            d.wait_events(2, "worker.start")
            orphans += self.murder(d)
            self.assert_rows(c, orphans)
        d = self.again(c, harness.APP)
        d.ready(3)
        self.assertEqual(sorted(e.pid for e in d.wait_events(len(orphans), "orphan.adopt")), sorted(orphans))
        self.gone(orphans)
        d.wait_events(len(orphans), "orphan.exit")
        self.assert_rows(c, d.workers())
        self.assertEqual({e.generation for e in d.all("worker.start")}, {5})
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")

    def test_N7_killed_while_the_orphans_stop(self):
        """The next one does not ask them again, but it kills them in time."""
        c = self.first(harness.PROBE, "ignore-term", "ready", "serve")
        orphans = self.murder(c)
        d = self.again(c)
        d.wait_events(3, "orphan.stop")
        self.assertEqual({row[0] for row in self.rows(c) if int(row[1]) in orphans}, {"asked"})
        self.murder(d)
        e = self.again(c, policy="[stop]\ntimeout = 500ms\n")
        e.ready(3)
        e.wait_events(6, "orphan.exit")
        asked = [(o.pid, o.signal) for o in e.all("orphan.stop") if o.pid in orphans]
        self.assertEqual(sorted(asked), sorted((pid, "SIGKILL") for pid in orphans))

    def test_N7_a_program_that_never_gets_ready(self):
        for mode in MODES:
            with self.subTest(balance=mode):
                self.start_what_fails(mode)

    def start_what_fails(self, mode):
        c = self.first(harness.APP, flags=("-b", mode))
        load = harness.Load(c.port, 4)
        orphans = self.murder(c)
        d = self.again(c, "/bin/false", policy="[restart]\ndelay = 50ms\n", flags=("-b", mode))
        d.announce("worker.exit", "give_up", "stop")
        d.expected_status = 69
        self.assertEqual(d.wait(), 69)
        self.assertEqual(d.all("orphan.stop"), [])
        self.assertTrue(any("serve on" in e.text for e in d.all("note")), d.tail())
        for pid in orphans:
            self.assertTrue(lives(pid), f"{how_it_ended(pid)} of {orphans}\n{c.tail()}\n{d.tail()}")
        self.assert_rows(c, orphans)
        e = self.again(c, harness.APP, flags=("-b", mode))
        e.ready(3)
        self.gone(orphans)
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")
        for cluster in (e, d, c):
            cluster.finish()

    def test_N7_not_all_get_ready(self):
        """As long as a slot fails, the orphans serve."""
        c = self.first()
        orphans = self.murder(c)
        d = self.again(c, "/bin/sh", "-c", f"[ $CLUSTERD_SLOT != 1 ] || [ -e {c.folder}/mended ] || exit 1;"
                       f"exec {harness.PROBE} ready serve", policy="[restart]\ndelay = 20ms\ndelay_max = 40ms\n")
        d.announce("worker.exit")
        d.wait_event("up")
        d.wait_events(8, "worker.exit", slot=1)
        self.assertEqual(d.all("orphan.stop"), [])
        (c.folder / "mended").touch()
        self.gone(orphans)

    def test_N7_stop_leaves_nobody(self):
        for words, policy, signals in (((), "", (signal.SIGTERM,)),
                                       (("ignore-term",), "[stop]\ntimeout = 300ms\n", (signal.SIGTERM,)),
                                       (("ignore-term",), "", (signal.SIGTERM, signal.SIGTERM)),
                                       (("ignore-term",), "", (signal.SIGQUIT,))):
            with self.subTest(words=words, signals=signals):
                c = self.first(harness.PROBE, *words, "ready", "serve")
                orphans = self.murder(c)
                d = self.again(c, harness.PROBE, "after=60000", "ready", "serve", policy=policy)
                d.announce("worker.escalate")
                d.wait_events(3, "worker.start")
                for signo in signals:
                    mark = d.mark()
                    d.kill(signo)
                    d.wait_note("stopping", mark)
                self.assertEqual(d.wait(), 0)
                self.assertEqual([pid for pid in orphans if lives(pid)], [])
                self.assertEqual(len(d.all("orphan.exit")), 3)
                self.assertFalse(c.socket.with_suffix(".workers").exists())
                d.finish()

    def test_N7_stop_while_they_stop(self):
        """Own workers have ended long before the orphans have."""
        c = self.first(harness.PROBE, "drain=700", "ready", "serve")
        orphans = self.murder(c)
        d = self.again(c)
        d.wait_events(3, "orphan.stop")
        self.assertEqual(d.stop(), 0)
        self.assertEqual([pid for pid in orphans if lives(pid)], [])
        self.assertEqual({e.signal for e in d.all("orphan.stop")}, {"SIGTERM"})

    def test_N7_the_group_of_an_orphan(self):
        for words in ((), ("ignore-term",)):
            c = self.first(harness.PROBE, *words, "fork-child", "ready", "serve", count=1)
            worker = c.workers()[0]
            child = next(iter(harness.children(worker)))
            self.murder(c)
            d = self.again(c, count=1, policy="[stop]\ntimeout = 300ms\n")
            d.ready(1)
            d.wait_event("orphan.exit")
            if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 9):
                self.gone([worker, child])
            elif lives(child):
                os.kill(child, signal.SIGKILL)
            d.finish()

    def test_N7_what_waits_in_a_group(self):
        """Each orphan has a queue of its own, and none of them is lost."""
        for mode in MODES[1:]:
            with self.subTest(balance=mode):
                c = self.first(harness.PROBE, "drain=500", "ready", "serve", flags=("-b", mode))
                orphans = self.murder(c)
                for pid in orphans:
                    os.kill(pid, signal.SIGSTOP)
                for pid in orphans:
                    harness.eventually(lambda: harness.stat_of(pid)[0] == "T", "stopped")
                waiting = clients.queue(c.port, 12)
                d = self.again(c, flags=("-b", mode))
                d.ready(3)
                later = clients.queue(c.port, 12)
                bodies, _ = clients.answers(waiting + later)
                self.assertEqual(len(bodies), 24)
                self.gone(orphans)
                for cluster in (d, c):
                    cluster.finish()

    def test_N7_upgrade(self):
        """The record goes on to be kept, and orphans to be watched, over an upgrade."""
        for mode in (MODES[0], MODES[-1]):
            with self.subTest(balance=mode):
                self.upgrade_with_orphans(("-b", mode))

    def upgrade_with_orphans(self, flags):
        c = self.first(harness.PROBE, "ignore-term", "ready", "serve", flags=flags)
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", result="done")
        self.assert_rows(c, c.workers())
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.ready", since=mark)
        self.assert_rows(c, c.workers())
        orphans = self.murder(c)
        d = self.again(c, flags=flags)
        d.wait_events(3, "orphan.stop")
        d.kill(signal.SIGUSR2)
        d.wait_event("upgrade", result="done")
        d.ctl("status")  # it watches them again
        for pid in orphans:
            self.assertTrue(lives(pid))
            os.kill(pid, signal.SIGKILL)
        d.wait_events(3, "orphan.exit")
        self.assertEqual(len(d.all("orphan.stop")), 3)
        self.assert_rows(c, d.workers())
        connection = harness.Connection(c.port)
        self.assertIn(int(connection.get("/")[2]), d.workers())
        connection.close()
        for cluster in (d, c):
            cluster.finish()

    def test_N7_captured_output(self):
        """Nobody reads it any more, and that ends an orphan that writes."""
        c = self.cluster("/bin/sh", "-c", "while [ ! -e word ]; do sleep 0.05; done; echo word; exec sleep 1000",
                         policy=POLICY.replace("notify", "alive\nafter = 0") + "[log]\noutput = capture\n",
                         flags=("-n", "2"))
        c.ready(2)
        orphans = self.murder(c)
        (c.folder / "word").touch()
        self.gone(orphans)
        c.tidy()

    def test_N7_the_record(self):
        """It is made when it is needed, names who lives, and goes at the end."""
        at_once = "[exit SIGKILL]\naction = respawn\n"
        c = self.cluster(harness.PROBE, "ready", "serve", policy="[ready]\nwhen = notify\n" + at_once,
                         flags=("-n", "2"))
        c.announce("worker.exit")
        c.ready(2)
        record = c.socket.with_suffix(".workers")
        self.assertFalse(record.exists())
        c.policy_file.write_text(POLICY + at_once)
        c.ctl("reload")
        c.ctl("wait", "ready")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers")
        self.assert_rows(c, c.workers())
        self.assertEqual(os.stat(record).st_mode & 0o777, 0o600)
        size = record.stat().st_size
        for _ in range(20):
            mark = c.mark()
            c.kill(signal.SIGKILL, c.pid_of(0))
            c.wait_event("worker.ready", since=mark)
        self.assert_rows(c, c.workers())
        self.assertEqual(record.stat().st_size, size)
        c.rebase()
        self.assertEqual(c.stop(), 0)
        self.assertFalse(record.exists())

    def test_N7_its_clusterd_lives(self):
        """Nothing is taken from a clusterd that runs."""
        c = self.first()
        done = self.run_clusterd("--name", "web", "-n", "3", "--set", f"control.socket={c.socket}",
                                 "--set", "supervisor.on_death=keep", "-l", f"127.0.0.1:{c.port}", "--",
                                 harness.PROBE, "ready", "serve")
        self.assertEqual(done.returncode, 73, done.stderr)
        self.assertIn("another clusterd", done.stderr)
        self.assertNotIn("orphan", done.stderr)
        self.assert_rows(c, c.workers())

    @unittest.skipUnless(clients.nobody_can(harness.CLUSTERD) and not YAMA, "no other user, or Yama forbids it")
    def test_N7_as_an_ordinary_user(self):
        prefix, preexec = clients.as_nobody()
        c = self.first(prefix=prefix, preexec=preexec)
        orphans = self.murder(c)
        d = self.again(c, prefix=prefix, preexec=preexec)
        d.ready(3)
        self.gone(orphans)
        self.assert_rows(c, d.workers())

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
    def test_N7_without_the_right(self):
        c = self.first()
        orphans = self.murder(c)
        d = self.again(c, prefix=("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"))
        d.expected_status = 73
        self.assertEqual(d.wait(), 73)
        told = [e.text for e in d.all("note") if "CAP_SYS_PTRACE" in e.text]
        self.assertEqual(len(told), 1, d.tail())
        for pid in orphans:
            self.assertIn(str(pid), told[0])
            self.assertTrue(lives(pid))
        self.assert_rows(c, orphans)
        e = self.again(c)
        e.ready(3)
        self.gone(orphans)


    def test_N7_another_mode(self):
        """One socket for all does not become a group, nor a group one socket: that is said."""
        for before, now in (("hash", "shared"), ("shared", "hash")):
            c = self.first(flags=("-b", before))
            orphans = self.murder(c)
            d = self.again(c, flags=("-b", now))
            d.expected_status = 73
            self.assertEqual(d.wait(), 73)
            told = [e.text for e in d.all("note", level="error") if "balance was shared" in e.text]
            self.assertEqual(len(told), 1, d.tail())
            for pid in orphans:
                self.assertIn(str(pid), told[0])
                os.kill(pid, signal.SIGKILL)
            self.gone(orphans)
            e = self.again(c, flags=("-b", now))
            e.ready(3)
            e.finish()


    def test_N7_killed_at_any_moment(self):
        """Most often while workers are started: none is lost sight of, and none is killed unasked."""
        dice = random.Random(7)
        c = self.first(harness.APP)
        loads = [harness.Load(c.port, 3), harness.Load(c.port, 3, keep_alive=True)]
        d = c
        for _ in range(25):
            d.expected_status = -signal.SIGKILL
            d.kill(signal.SIGKILL)
            d.stopped = d.process.wait(harness.DEADLINE)  # its log is open as long as an orphan lives
            d = self.again(c, harness.APP)
            time.sleep(dice.choice((0.02, 0.2, 0.35)) * dice.random())
        d.ready(3)
        harness.eventually(lambda: not [pid for pid in harness.children(os.getpid()) if pid != d.pid and lives(pid)],
                           "its own workers only", 3 * harness.DEADLINE)
        for load in loads:
            sent, lost = load.stop()
            self.assertEqual(lost, [], f"of {sent}")
        for path in c.folder.glob("control.sock.*"):  # killed between bind and rename
            path.unlink()

    def test_N7_gives_up_with_some_ready(self):
        """The orphans were not asked because of the slot that fails: they are all that is left."""
        c = self.first()
        orphans = self.murder(c)
        d = self.again(c, "/bin/sh", "-c", f"[ $CLUSTERD_SLOT != 1 ] || exit 1; exec {harness.PROBE} ready serve",
                       policy="[restart]\nburst = 3\ndelay = 20ms\ngive_up = exit\n")
        d.announce("worker.exit", "give_up", "stop")
        d.expected_status = 69
        self.assertEqual(d.wait(), 69)
        self.assertEqual(d.all("orphan.stop"), [])
        self.assertTrue(all(map(lives, orphans)))
        e = self.again(c)
        e.ready(3)
        self.gone(orphans)


class RowN11(Case):
    def rewrite(self, c, change):
        """change(number, row) for each row that is not empty."""
        record = c.socket.with_suffix(".workers")
        lines = record.read_bytes().split(b"\n")[:-1]
        record.write_bytes(b"".join(change(n, line.split()).ljust(ROW - 1) + b"\n" if line.strip() else line + b"\n"
                                    for n, line in enumerate(lines)))

    def stranger(self, unlike):
        """A process that did not start in the same clock tick as the process unlike, which is all that the kernel tells."""
        while True:
            process = subprocess.Popen(["/bin/sleep", "1000"])
            if started(process.pid) != started(unlike):
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
                return process
            process.kill()
            process.wait()

    def test_N11_a_recycled_pid(self):
        """The start time is another's: it is no orphan, whatever its pid."""
        c = self.first()
        orphans = self.murder(c)
        other = self.stranger(orphans[0])
        for pid in orphans[:1]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        def rename(n, row):
            if n > 0 and int(row[1]) == orphans[0]:
                row[1] = b"%d" % other.pid
            return b" ".join(row)

        self.rewrite(c, rename)
        d = self.again(c)
        d.ready(3)
        d.wait_events(2, "orphan.exit")
        self.assertEqual(sorted(e.pid for e in d.all("orphan.adopt")), sorted(orphans[1:]))
        self.assert_rows(c, d.workers())
        self.assertEqual(d.stop(), 0)
        self.assertIsNone(other.poll())
        other.kill()
        other.wait()

    def test_N11_another_boot(self):
        c = self.first()
        orphans = self.murder(c)
        other = b"clusterd workers 1 00000000-0000-0000-0000-000000000000"
        self.rewrite(c, lambda n, row: b" ".join(row) if n else other)
        d = self.again(c)
        d.expected_status = 73
        self.assertEqual(d.wait(), 73)
        self.assertEqual(d.all("orphan.adopt"), [])
        for pid in orphans:
            self.assertTrue(lives(pid))
            os.kill(pid, signal.SIGKILL)
        c.tidy()

    def test_N11_a_record_that_is_none(self):
        dice = random.Random(11)
        head = f"clusterd workers 1 {pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
        head = head.ljust(ROW - 1).encode() + b"\n"
        for text in (b"", b"x", b"\0" * 4096, dice.randbytes(4096), head[:-5], head + b"worker",
                     head + b"worker 1 1 0 1".ljust(ROW - 1) + b"\n", head + b"worker -1 1 0 1".ljust(ROW - 1) + b"\n",
                     head + dice.randbytes(64 * 100),
                     head + (b"worker 99999999 1 0 1".ljust(ROW - 1) + b"\n") * 3):
            with self.subTest(text=text[:80]):
                folder = pathlib.Path(f"/tmp/clusterd-n11-{os.getpid()}")
                folder.mkdir(mode=0o700)
                self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
                record = folder / "web.workers"
                record.write_bytes(text)
                record.chmod(0o600)
                c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY,
                                 flags=("-n", "2", "--set", f"control.socket={folder}/web.sock"))
                c.socket = folder / "web.sock"
                c.announce("note")
                c.ready(2)
                self.assert_rows(c, c.workers())
                self.assertEqual(c.stop(), 0)
                c.finish()
                folder.rmdir()  # empty

    def test_N11_a_file_that_is_not_ours(self):
        """Links, fifos, folders, what others may write to: not used, not harmed."""
        target = pathlib.Path(f"/tmp/clusterd-n11-{os.getpid()}.target")
        target.write_text("precious")
        self.addCleanup(target.unlink)
        makers = (lambda p: p.symlink_to(target), lambda p: os.link(target, p), os.mkfifo, lambda p: p.mkdir(),
                  lambda p: (p.touch(), p.chmod(0o666)))
        for make in makers:
            folder = pathlib.Path(f"/tmp/clusterd-n11-{os.getpid()}")
            folder.mkdir(mode=0o700)
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
            make(folder / "web.workers")
            c = self.cluster(harness.PROBE, "ready", "serve", policy=POLICY,
                             flags=("-n", "2", "--set", f"control.socket={folder}/web.sock"))
            c.announce("note")
            c.ready(2)
            self.assertEqual(len([e for e in c.all("note") if "can not be taken over" in e.text]), 1, c.tail())
            self.assertEqual(c.stop(), 0)
            c.finish()
            self.assertTrue((folder / "web.workers").is_symlink() or (folder / "web.workers").exists())
            self.assertEqual(target.read_text(), "precious")
            shutil.rmtree(folder)


harness.main()
