"""Row N: clusterd replaces itself, and whatever is wrong with the new one, nothing is lost."""

import contextlib
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 5s\n"
GAPS, GAPS_SECONDS = 1000, 40  # rounds of N4, and how long they may take
TRIAL = 10  # seconds that a trial run may take


class RowN(harness.TestCase):
    def own_binary(self):
        """A copy of clusterd that a test may spoil."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="binary-"))
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "clusterd"
        shutil.copy(harness.CLUSTERD, path)
        return path

    def start(self, *program, binary=None, workers=2, policy=AT_ONCE, **options):
        before = harness.CLUSTERD
        harness.CLUSTERD = str(binary or before)
        try:
            c = self.cluster(*(program or ("/bin/sleep", "1000")), policy=policy,
                             flags=("-n", workers, *options.pop("flags", ())), **options)
        finally:
            harness.CLUSTERD = before
        c.ready(workers)
        return c

    def app(self, **options):
        return self.start(harness.APP, policy="[ready]\nwhen = notify\n[stop]\ntimeout = 10s\n", **options)

    def upgrade(self, c, result="done"):
        mark = c.mark()
        c.kill(signal.SIGUSR2)
        return c.wait_event("upgrade", since=mark, result=result, deadline=TRIAL + harness.DEADLINE)

    def status_of(self, c, slot):
        """What the worker of a slot last said about itself."""
        lines = [json.loads(line) for line in c.ctl("--json", "status").splitlines()]
        return next(line["status"] for line in lines if line.get("kind") == "slot" and line["slot"] == slot)

    def put(self, binary, content):
        """Replaces the program as a package manager does: by rename."""
        new = binary.with_suffix(".new")
        new.write_bytes(content)
        new.chmod(0o755)
        os.rename(new, binary)

    def test_own_unix_paths_are_taken_away_at_the_end(self):
        """Also after an upgrade, and when they were those of a clusterd that had crashed."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="paths-"))
        self.addCleanup(shutil.rmtree, folder)
        paths = [folder / "control", folder / "metrics"]
        for crashed in (False, True):
            with self.subTest(crashed=crashed):
                for path in paths if crashed else ():
                    with socket.socket(socket.AF_UNIX) as stale:
                        stale.bind(str(path))
                c = self.start(flags=("--set", f"control.socket={paths[0]}",
                                      "--set", f"metrics.listen=unix:{paths[1]}"))
                self.upgrade(c)
                self.upgrade(c)
                self.assertTrue(all(path.is_socket() for path in paths))
                self.assertEqual(c.stop(), 0)
                self.assertEqual(list(folder.iterdir()), [])

    def test_N1_hundred_upgrades_under_load(self):
        c = self.app(workers=3)
        workers, open_before = sorted(c.workers()), len(harness.fds(c.pid))
        loads = [harness.Load(c.port, 4), harness.Load(c.port, 4, keep_alive=True)]
        for _ in range(100):
            self.assertEqual(self.upgrade(c).pid, c.pid)
        for load in loads:
            sent, lost = load.stop(least=100)
            self.assertEqual(lost, [], f"of {sent}")
        self.assertEqual(sorted(c.workers()), workers)
        harness.eventually(lambda: len(harness.fds(c.pid)) == open_before, f"{open_before} descriptors")
        self.assertEqual(len(c.all("worker.start")), 3)
        mark = c.mark()  # and it is still a whole clusterd
        c.announce("worker.exit")
        c.kill(signal.SIGKILL, workers[0])
        c.wait_event("worker.ready", since=mark)
        c.ctl("roll")

    def test_N2_bad_new_program(self):
        self.assertTrue(os.path.exists(harness.CLUSTERD))
        script = "#!/bin/sh\n".encode()
        bad = {"empty": b"", "garbage": b"\x7fELF" + bytes(range(256)) * 16, "exits": script + b"exit 1\n",
               "aborts": script + b"kill -ABRT $$\n", "no interpreter": b"#!/nonexistent/sh\n",
               "is no clusterd, and well": script + b"exit 0\n",
               "another architecture": b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xf3\0" + b"\0" * 200}
        binary = self.own_binary()
        good = binary.read_bytes()
        c = self.start(binary=binary)
        c.announce("upgrade", "note")
        workers = sorted(c.workers())
        for what, content in bad.items():
            with self.subTest(what=what):
                self.put(binary, content)
                mark = c.mark()
                c.kill(signal.SIGUSR2)
                harness.eventually(lambda mark=mark: c.all("upgrade", since=mark) or c.all("note", since=mark),
                                   "a refusal")
                self.assertEqual(c.all("upgrade", since=mark, result="done"), [])
                self.assertEqual(sorted(c.workers()), workers)
                c.ctl("status")
                c.ctl("upgrade", status=1)
        with self.subTest(what="missing"):
            binary.unlink()
            mark = c.mark()
            c.kill(signal.SIGUSR2)
            self.assertIn("upgrade", c.wait_event("note", since=mark).text)
            mark = c.mark()
            c.ctl("upgrade", status=1)
            why = f"trial run of {binary}: exec: No such file or directory"
            self.assertEqual(c.wait_event("note", since=mark).text, f"upgrade: {why}; this clusterd goes on")
            self.assertIn(f'"upgrade_problem":"{why}"', c.ctl("--json", "version"))
        with self.subTest(what="not executable"):
            self.put(binary, good)
            binary.chmod(0o644)
            c.ctl("upgrade", status=1)
            binary.chmod(0o755)
        self.upgrade(c)
        self.assertEqual(sorted(c.workers()), workers)

    def test_N2_new_program_hangs(self):
        binary = self.own_binary()
        good = binary.read_bytes()
        c = self.start(binary=binary)
        c.announce("upgrade", "note", "worker.exit")
        self.put(binary, b"#!/bin/sh\nsleep 1000; :\n")  # the sleep goes with the shell
        mark, begin = c.mark(), time.monotonic()
        workers = set(c.workers())
        asked = subprocess.Popen([harness.CLUSTERCTL, "-s", f"{c.folder}/control.sock", "upgrade"], text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        harness.eventually(lambda: set(c.workers()) - workers, "the trial")
        # Supervision goes on meanwhile, and a second request is refused.
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.ready", since=mark, slot=0)
        c.kill(signal.SIGUSR2)
        harness.eventually(lambda: any("under way" in e.text for e in c.all("note", since=mark)),
                           "the second one is refused")
        event = c.wait_event("upgrade", since=mark, deadline=TRIAL + harness.DEADLINE)
        self.assertNotEqual(event.result, "done")
        self.assertIn(f"hung for {TRIAL}s and was killed", event.detail)
        self.assertGreater(time.monotonic() - begin, TRIAL - 1)
        said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual((asked.returncode, said.count("\n")), (1, 1), said)
        self.assertIn("hung for", said)
        self.put(binary, good)
        self.upgrade(c)

    def test_N2_the_path_is_a_link(self):
        """A deploy that turns a link: the upgrade follows the link, not where it pointed to at the start."""
        binary = self.own_binary()
        folder = binary.parent
        for version in ("v1", "v2"):
            (folder / version).mkdir()
            shutil.copy(binary, folder / version / "clusterd")
        link = folder / "current"
        link.symlink_to("v1")
        c = self.start(binary=link / "clusterd")
        (folder / "next").symlink_to("v2")
        os.rename(folder / "next", link)
        self.upgrade(c)
        self.assertEqual(os.readlink(f"/proc/{c.pid}/exe"), str(folder / "v2" / "clusterd"))

    @unittest.skipUnless(os.path.exists("/usr/bin/perl"), "a shell would reap the worker itself; perl does not")
    def test_N4_a_worker_dies_in_the_gap_each_time(self):
        """The program that clusterd executes kills one worker, then becomes the new clusterd: always in the gap."""
        binary = self.own_binary()
        real, victim_file = binary.with_name("real"), binary.with_name("victim")
        os.rename(binary, real)
        self.put(binary, b"""#!/usr/bin/perl
if ($ENV{CLUSTERD_UPGRADE} =~ /^take:/) {
    open F, "<%s"; chomp($victim = <F>); close F;
    kill 'KILL', $victim;
    do { open F, "</proc/$victim/stat"; $stat = <F>; close F } while $stat !~ /\\) Z/;
}
exec {"%s"} $0, @ARGV;
""" % (str(victim_file).encode(), str(real).encode()))
        c = self.start(binary=binary, workers=4, policy=AT_ONCE + "[restart]\ndelay = 1ms\ndelay_max = 1ms\n")
        c.announce("worker.exit")
        begin, rounds = time.monotonic(), 0
        while rounds < GAPS and time.monotonic() - begin < GAPS_SECONDS:
            slot = rounds % 4
            victim = c.pid_of(slot)
            victim_file.write_text(f"{victim}\n")
            mark = c.mark()
            self.upgrade(c)
            self.assertEqual(c.wait_event("worker.exit", since=mark, pid=victim).signal, "SIGKILL")
            c.wait_event("worker.ready", since=mark, slot=slot)
            rounds += 1
        print(f"{rounds} workers died in the gap of {rounds} upgrades, each was noticed")
        self.assertEqual(len(c.all("worker.exit")), rounds)
        self.assertEqual(len(c.all("worker.start")), 4 + rounds)
        self.assertEqual(len(c.workers()), 4)

    def test_N4_a_worker_dies_in_the_gap(self):
        c = self.start(workers=4, policy=AT_ONCE + "[restart]\ndelay = 1ms\ndelay_max = 1ms\n")
        c.announce("worker.exit", "note")
        for turn in range(40):
            mark = c.mark()
            victim = c.pid_of(turn % 4)
            c.kill(signal.SIGUSR2)
            time.sleep(turn % 20 / 2000)  # anywhere in the trial run, the gap and after it
            c.kill(signal.SIGKILL, victim)
            c.wait_event("upgrade", since=mark, result="done")
            self.assertEqual(c.wait_event("worker.exit", since=mark, pid=victim).signal, "SIGKILL")
            c.wait_event("worker.ready", since=mark, slot=turn % 4)
        self.assertEqual(len(c.all("worker.exit")), 40)
        self.assertEqual(len(c.all("worker.start")), 44)

    def test_N5_hostile_strings_survive(self):
        script = "'odd'\n\"arg\" \\ ; # %{slot}\n$HOME = \t\x01\x7f " + "ä" * 300
        c = self.start(harness.PROBE, "notify=STATUS=a\nb=c;READY=1;STATUS=" + "x" * 3000,
                       "print=" + script, workers=1, policy=AT_ONCE.replace("alive", "notify"),
                       flags=("--set", "env.ODD=a 'c' \\e"))
        before = pathlib.Path(f"/proc/{c.pid_of(0)}/cmdline").read_bytes()
        self.assertIn("x" * 40, (said := self.status_of(c, 0)))
        for _ in range(3):
            self.upgrade(c)
        self.assertEqual(self.status_of(c, 0), said)
        c.ctl("roll")
        self.assertEqual(pathlib.Path(f"/proc/{c.pid_of(0)}/cmdline").read_bytes(), before)
        self.assertEqual(harness.environ(c.pid_of(0))[b"ODD"], b"a 'c' \\e")

    def test_N5_many_long_arguments(self):
        arguments = [f"print={i}{'y' * 200}" for i in range(15)]
        c = self.start(harness.PROBE, *arguments, "serve", workers=1)
        self.upgrade(c)
        c.ctl("roll")
        self.assertEqual(len(pathlib.Path(f"/proc/{c.pid_of(0)}/cmdline").read_bytes().split(b"\0")), 18)

    def test_N1_history_and_timers_survive(self):
        c = self.start("/bin/sh", "-c", '[ "$CLUSTERD_SLOT" = 1 ] && exit 7; exec sleep 1000',
                       policy="[ready]\nwhen = alive\nafter = 0\n[restart]\ndelay = 400ms\ndelay_max = 3s\n")
        c.announce("worker.exit", "note")
        third = c.wait_events(3, "worker.exit", slot=1)[2]
        ends = c.ctl("--json", "ends", "1").count('"code":7')
        self.assertGreaterEqual(ends, 3)
        self.upgrade(c)
        mark = c.mark()
        self.assertGreaterEqual(c.ctl("--json", "ends", "1").count('"code":7'), ends)
        exit_after = c.wait_event("worker.exit", since=mark, slot=1)
        self.assertGreater(exit_after.delay_ms, third.delay_ms * 1.2)  # the streak went on
        self.assertIn("7", c.ctl("why", "1"))

    def test_N1_a_timer_is_due_during_the_step(self):
        """The back-off of 600 ms is neither lost nor begun anew by upgrades every 100 ms."""
        c = self.start("/bin/sh", "-c", '[ "$CLUSTERD_SLOT" = 1 ] && exit 7; exec sleep 1000',
                       policy="[ready]\nwhen = alive\nafter = 0\n[restart]\ndelay = 600ms\ndelay_max = 600ms\n")
        c.announce("worker.exit", "note")
        death = c.wait_event("worker.exit", slot=1)
        mark = c.mark()
        while not c.all("worker.start", since=mark, slot=1):
            self.upgrade(c)
            time.sleep(0.05)
            self.assertLess(time.monotonic() - death["at"], 5 * harness.SLOW + self.slack())
        start = c.all("worker.start", since=mark, slot=1)[0]
        self.assertGreater(start.when - death.when, 0.4 - self.slack())
        self.assertLess(start.when - death.when, 1.0 * harness.SLOW + self.slack())

    def test_N1_half_a_line_survives(self):
        for level in ("info", "error"):  # then the log has no line of clusterd's own that would set it going
            with self.subTest(level=level):
                c = self.cluster(harness.PROBE, "partial=first half,", "ready", "after=1500", "print= second half", "serve",
                                 flags=("-n", 1), log_level=level,
                                 policy=AT_ONCE.replace("alive", "notify") + "[log]\noutput = capture\n")
                harness.eventually(lambda c=c: "1 of 1 ready" in c.ctl("status", status=None), "it is ready")
                self.assertIn("upgraded", c.ctl("upgrade"))
                c.wait_line("first half, second half")
                self.assertEqual([line for line in c.other if line.endswith("first half,")], [])

    def test_N1_output_flows_on(self):
        c = self.start("/bin/sh", "-c", "i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.01; done", workers=1,
                       policy=AT_ONCE + "[log]\noutput = capture\n")
        for _ in range(10):
            self.upgrade(c)
        c.wait_line("line 50")
        numbers = [int(line.rsplit(" ", 1)[1]) for line in list(c.other) if " line " in line]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))

    def test_N1_output_that_outlives_its_worker_flows_on(self):
        c = self.start("/bin/sh", "-c", "[ $CLUSTERD_SLOT = 1 ] && exec sleep 1000\n"
                       "(for i in 1 2 3 4 5 6 7 8 9; do echo left $i; sleep 0.2; done) & sleep 0.1",
                       policy=AT_ONCE + "kill = process\n[restart]\nwhen = never\n[log]\noutput = capture\n")
        c.announce("note")  # whoever holds the pipes may hold the port as well when clusterd ends
        c.wait_event("worker.exit", slot=0)
        for _ in range(2):
            self.upgrade(c)
        c.wait_line("left 9")
        self.assertEqual([line.split()[-1] for line in c.other if " left " in line], list("123456789"))

    def test_N1_clients_of_the_control_socket(self):
        c = self.start()
        c.announce("note")  # one that comes too soon is refused
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{c.folder}/control.sock")
            inode = os.stat(f"{c.folder}/control.sock").st_ino
            out = c.ctl("upgrade")
            self.assertIn("upgrade", out)
            self.assertEqual(s.makefile().read(), '{"v":1,"kind":"reconnect","begun":false}\n')
            self.assertEqual(os.stat(f"{c.folder}/control.sock").st_ino, inode)
        for _ in range(10):
            c.kill(signal.SIGUSR2)
            c.ctl("status")
        # None is under way any more: the end would refuse it.
        harness.eventually(lambda: "upgrade" in c.ctl("upgrade", status=None), "an upgrade of our own")

    def asking(self, c, *words):
        """A clusterctl that waits for something by the time that this returns."""
        before = len(harness.fds(c.pid))
        process = subprocess.Popen([harness.CLUSTERCTL, "-s", c.socket, *words], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        harness.eventually(lambda: len(harness.fds(c.pid)) > before, "its connection")
        return process

    def test_N1_who_waits_for_the_end_goes_on_waiting(self):
        c = self.start()
        waiting = self.asking(c, "wait", "stopped")
        for _ in range(2):
            self.upgrade(c)
            with self.assertRaises(subprocess.TimeoutExpired):
                waiting.wait(0.5)
        self.assertEqual(c.stop(), 0)
        self.assertEqual(waiting.wait(harness.DEADLINE), 0)

    def test_N1_who_waits_for_a_drained_slot_is_told(self):
        """It is not ready and will not be, and that is what was asked for."""
        c = self.start("/bin/sh", "-c", "trap '' TERM; echo deaf; exec sleep 1000", policy=AT_ONCE.replace("5s", "2s"))
        c.wait_lines(2, "deaf")
        c.announce("worker.escalate")
        waiting = self.asking(c, "drain", "0")
        c.wait_event("worker.stop")
        self.upgrade(c)
        self.assertEqual(waiting.wait(harness.DEADLINE), 0)
        self.assertEqual(c.all("worker.exit")[0].slot, 0)
        c.baseline = None

    def test_N1_a_request_in_the_gap_is_not_lost(self):
        """Whoever connects while clusterd steps over asks again, and is heard once."""
        c = self.start(workers=1)
        c.announce("upgrade", "note")
        for turn in range(60):
            mark = c.mark()
            c.kill(signal.SIGUSR2)
            time.sleep(turn % 12 / 2000)
            c.ctl("scale", str(2 - turn % 2), "--no-wait")
            self.assertEqual(c.wait_event("scale", since=mark).to, 2 - turn % 2)
            c.wait_event("upgrade", since=mark)
        self.assertEqual(len(c.all("scale")), 60)
        c.baseline = None

    def test_N1_upgrades_in_every_state(self):
        """Starting, draining, backing off: what was under way goes on."""
        c = self.start("/bin/sh", "-c", 'while [ -e hold ]; do sleep 0.02; done; exec "$@"', "sh",
                       harness.PROBE, "after=300", "ready", "drain=600", "serve",
                       policy="[ready]\nwhen = notify\ntimeout = 10s\n[stop]\ntimeout = 10s\n")
        c.announce("roll.end", "note")
        workers = set(c.workers())
        hold = c.folder / "hold"
        hold.touch()  # however long the upgrades take, there are some before the first is ready
        c.kill(signal.SIGHUP)
        c.wait_event("roll.begin")
        for _ in range(4):
            self.upgrade(c)
        hold.unlink()
        upgrades = 0
        while not c.all("roll.end"):
            self.upgrade(c)
            upgrades += 1
            self.assertLess(upgrades, 1000)
        self.assertEqual(c.all("roll.end")[0].verdict, "done")
        harness.eventually(lambda: len(c.workers()) == 2 and not workers & set(c.workers()), "two new workers")
        for event in c.all("worker.exit"):
            self.assertEqual((event.asked, event.code), (True, 0))
        told = [e.pid for e in c.all("worker.stop")]
        self.assertEqual(sorted(told), sorted(workers))

    def test_N1_the_same_signals_are_listened_to(self):
        c = self.start()
        before = harness.status_field(c.pid, "SigBlk")
        for _ in range(2):
            self.upgrade(c)
            self.assertEqual(harness.status_field(c.pid, "SigBlk"), before)

    def test_N9_stop_wins(self):
        for delay in range(0, 40, 4):
            c = self.start()
            c.announce("upgrade", "note")
            c.kill(signal.SIGUSR2)
            time.sleep(delay / 1000)
            begin = time.monotonic()
            self.assertEqual(c.stop(), 0)
            self.assertLess(time.monotonic() - begin, 3 * harness.SLOW + self.slack())

    def test_N9_upgrade_while_it_stops(self):
        c = self.start(harness.PROBE, "ready", "drain=500", "serve")
        c.announce("upgrade", "note")
        c.kill(signal.SIGTERM)
        c.wait_event("worker.stop")
        for _ in range(20):
            c.kill(signal.SIGUSR2)
        self.assertEqual(c.wait(), 0)
        self.assertEqual(c.all("upgrade", result="done"), [])

    def test_N9_a_storm_of_requests(self):
        c = self.start()
        c.announce("upgrade", "note")
        workers = sorted(c.workers())
        for turn in range(500):
            c.kill((signal.SIGUSR2, signal.SIGUSR2, signal.SIGUSR1)[turn % 3])
        c.wait_event("upgrade", result="done")
        mark = c.mark()
        harness.eventually(lambda: c.ctl("status"), "status")
        c.ctl("upgrade", status=None)
        # The trial run of the last one may be under way.
        harness.eventually(lambda: sorted(c.workers()) == workers, "the same workers and no more")
        self.assertLess(len(c.all("upgrade", since=mark)), 30)

    def test_N10_pid_file_and_manager(self):
        folder = tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        pid_file = pathlib.Path(folder) / "clusterd.pid"
        c = self.start(env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "500000"},
                       flags=("--set", f"supervisor.pid_file={pid_file}"))
        manager.wait("READY=1")
        inode, text = pid_file.stat().st_ino, pid_file.read_text()
        self.assertEqual(text.strip(), str(c.pid))
        self.upgrade(c)
        self.assertEqual((pid_file.stat().st_ino, pid_file.read_text()), (inode, text))
        del manager.seen[:]
        manager.wait("WATCHDOG=1")
        self.assertFalse([line for line in manager.seen if line.startswith("MAINPID") and line != f"MAINPID={c.pid}"])
        self.upgrade(c)
        self.assertEqual(c.stop(), 0)
        manager.wait("STOPPING=1")
        self.assertFalse(pid_file.exists())

    def test_N10_what_is_wrong_is_said_on(self):
        """The manager's status line names the trouble after an upgrade too, until it is over."""
        folder = tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        c = self.start(env={"NOTIFY_SOCKET": manager.path})
        c.announce("reload", "note")
        good, status = c.policy_file.read_text(), "STATUS=2 of 2 workers ready"
        c.policy_file.write_text("[restart]\nburts = 3\n")
        c.ctl("reload", status=1)
        manager.wait(f"{status}; the last reload was refused, see the log")
        del manager.seen[:]
        self.upgrade(c)
        manager.wait(f"{status}; the last reload was refused, see the log")
        c.policy_file.write_text(good)
        c.ctl("reload")
        manager.wait(status)

    def test_N1_a_ready_command_is_under_way(self):
        """The command is asked again, and the one of before leaves no zombie and no double answer."""
        c = self.start("/bin/sleep", "1000", workers=1, policy="[ready]\nwhen = command\ncommand = /bin/sleep 0.3\n")
        mark = c.mark()
        c.ctl("restart", "0", "--no-wait")
        c.wait_event("worker.start", since=mark)
        time.sleep(0.1)
        self.upgrade(c)
        self.upgrade(c)
        c.wait_event("roll.end", since=mark)
        self.assertEqual(len(c.all("worker.ready", since=mark)), 1)
        self.assertEqual(c.all("roll.end")[0].verdict, "done")

    def test_N1_a_ready_command_that_hangs_is_ended(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="command-"))
        self.addCleanup(shutil.rmtree, folder)
        command = folder / "command"
        command.write_text("#!/bin/sh\necho $$ >>$0.pids\nexec sleep 1000\n")
        command.chmod(0o755)

        def asked():
            return list(map(int, folder.joinpath("command.pids").read_text().split()))

        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"),
                         policy=f"[ready]\nwhen = command\ncommand = {command}\n[health]\ntimeout = 60s\n")
        harness.eventually(folder.joinpath("command.pids").exists, "the command")
        for turn in range(3):
            harness.eventually(lambda turn=turn: len(asked()) == turn + 1, "the command once more")
            self.upgrade(c)
            harness.eventually(lambda turn=turn: not harness.stat_of(asked()[turn]), "its end")
        self.assertEqual(c.all("stranger"), [])

    @unittest.skipUnless(os.geteuid() == 0, "round-robin needs rights")
    def test_N1_health_checks_go_on(self):
        checked = pathlib.Path(tempfile.mkdtemp(prefix="checks-"))
        self.addCleanup(shutil.rmtree, checked)
        c = self.start(harness.PROBE, "ready", "serve", workers=2, flags=("-b", "round-robin"),
                       policy=f"[ready]\nwhen = notify\n[health]\nhttp = /touch={checked}/yes\ninterval = 500ms\n"
                       "timeout = 500ms\nfailures = 4\n[restart]\ndelay = 10ms\n[stop]\ntimeout = 300ms\n")
        c.announce("worker.hung", "worker.exit", "health", "worker.escalate", "note")
        for _ in range(3):
            self.upgrade(c)
            for _ in range(2):  # the first may have been asked for before
                (checked / "yes").unlink(missing_ok=True)
                harness.eventually((checked / "yes").exists, "a check")
        self.assertEqual(len(c.all("worker.start")), 2)
        mark = c.mark()
        c.kill(signal.SIGSTOP, c.pid_of(0))
        for turn in range(3):
            harness.eventually(lambda turn=turn: len(c.all("health", since=mark, slot=0)) > turn, "one more that failed")
            self.upgrade(c)
        end = c.wait_event("worker.exit", slot=0, deadline=20 * harness.SLOW)
        self.assertEqual([e.failures for e in c.all("health", since=mark, pid=end.pid)], [1, 2, 3, 4])

    @unittest.skipUnless(os.geteuid() == 0, "round-robin needs rights")
    def test_N1_a_health_check_comes_when_it_is_due(self):
        """However often clusterd is upgraded until then."""
        checked = pathlib.Path(tempfile.mkdtemp(prefix="checks-")) / "yes"
        self.addCleanup(shutil.rmtree, checked.parent)
        c = self.start(harness.PROBE, "ready", "serve", workers=1, flags=("-b", "round-robin"),
                       policy=f"[ready]\nwhen = notify\n[health]\nhttp = /touch={checked}\ninterval = 2s\ntimeout = 1s\n")
        end = time.monotonic() + harness.DEADLINE
        while not checked.exists():
            self.assertLess(time.monotonic(), end, "it is never asked")
            self.upgrade(c)

    def test_M10_a_unix_socket_survives_and_goes_in_the_end(self):
        folder = tempfile.mkdtemp(prefix="unix-")
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/web.sock"
        c = self.start(harness.PROBE, "ready", "serve", workers=1, listen=False,
                       policy=AT_ONCE.replace("alive", "notify") + f"[listen web]\naddress = unix:{path}\n")
        inode = os.stat(path).st_ino
        for _ in range(3):
            self.upgrade(c)
        self.assertEqual(os.stat(path).st_ino, inode)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
        self.assertEqual(c.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_N1_metrics_survive(self):
        port = harness.free_port()
        c = self.start(flags=("--set", f"metrics.listen=127.0.0.1:{port}"))
        c.announce("reload", "worker.exit")
        mark = c.mark()
        c.ctl("reload")
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.ready", since=mark)

        def counts():
            """What is no gauge, and when it began."""
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=harness.DEADLINE) as answer:
                text = answer.read().decode()
            names = ("start_time", "worker_exits", "decisions", "reloads", "ready_seconds", "respawn_seconds")
            return [line for line in text.splitlines() if line.startswith(tuple(f"clusterd_{name}" for name in names))]

        self.assertIn("worker.ready", c.ctl("--json", "events"))
        before = counts()
        self.assertIn('clusterd_reloads_total{result="ok"} 1', before)
        self.assertIn('clusterd_worker_exits_total{cause="self",asked="no"} 1', before)
        for _ in range(3):
            self.upgrade(c)
            self.assertEqual(counts(), before)
        self.assertNotIn("worker.ready", c.ctl("--json", "events"))  # those begin anew

    def test_N1_a_drain_delay_goes_on(self):
        c = self.start(harness.PROBE, "ready", "serve", workers=1, policy="[ready]\nwhen = notify\n[stop]\n"
                       "drain_delay = 1s\ntimeout = 5s\n")
        mark = c.mark()
        c.ctl("restart", "0", "--no-wait")
        begin = c.wait_event("roll.slot", since=mark)
        for _ in range(5):
            self.upgrade(c)
        end = c.wait_event("worker.exit", since=mark)
        self.assertAlmostEqual(end["at"] - begin["at"], 1, delta=0.3 * harness.SLOW + self.slack())

    def test_N6_a_state_that_is_not_understood(self):
        """What a trial run says to the state of another version, to half of one and to none."""
        def record(tag, content):
            return struct.pack("<HI", tag, len(content)) + content

        def version(number):
            return record(0x4c43, record(0x4c44, struct.pack("<Q", number)))

        for what, state, says in (("nothing", b"", "can not be read"), ("garbage", os.urandom(5000), "no state"),
                                  ("no version", record(0x4c43, b""), "no state"),
                                  ("older", version(0), "another version"), ("newer", version(2 ** 40), "another version"),
                                  ("cut short", version(1)[:-3], "no state"), ("only a head", version(1), "not understood")):
            with self.subTest(what=what):
                fd = os.memfd_create("state")
                self.addCleanup(os.close, fd)
                os.write(fd, state)
                done = harness.subprocess.run([harness.CLUSTERD, "-n", "1", "--", "/bin/true"], pass_fds=(fd,),
                                              env={**os.environ, "CLUSTERD_UPGRADE": f"check:{fd}"}, text=True,
                                              capture_output=True, timeout=harness.DEADLINE, check=False)
                self.assertEqual(done.returncode, 71)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)

    # A trial run that ends well, but not before the test has spoilt the step that follows.
    GATE = b"#!/bin/sh\n: >$0.begun\nwhile [ ! -e $0.go ]; do sleep 0.01; done\nexec $0.real\n"

    def failing_exec(self, c, binary, spoil, begin=lambda c: c.kill(signal.SIGUSR2)):
        """An upgrade whose trial run succeeds and whose execve(2) does not; returns what was said of it."""
        shutil.copy(harness.CLUSTERD, f"{binary}.real")
        self.put(binary, self.GATE)
        begun, go = (binary.with_name(binary.name + end) for end in (".begun", ".go"))
        mark = c.mark()
        begin(c)
        harness.eventually(begun.exists, "the trial run")
        mend = spoil()
        go.touch()
        said = c.wait_event("upgrade", since=mark).detail
        mend()
        begun.unlink()
        go.unlink()
        return said

    def test_N3_the_step_over_fails(self):
        """execve(2) comes back: nothing has changed, and the next one succeeds."""
        binary = self.own_binary()
        good = binary.read_bytes()
        # Restarts wait for a timer, so that one is armed.
        c = self.start(binary=binary, policy=AT_ONCE + "[restart]\ndelay = 30ms\ndelay_max = 30ms\n",
                       flags=("--set", f"metrics.listen=127.0.0.1:{harness.free_port()}"),
                       env={f"BIG{i}": "x" * 100000 for i in range(3)})
        c.announce("upgrade", "worker.exit")

        def too_big():  # arguments and environment may take a quarter of the stack
            before = resource.prlimit(c.pid, resource.RLIMIT_STACK)
            resource.prlimit(c.pid, resource.RLIMIT_STACK, (1 << 20, before[1]))
            return lambda: resource.prlimit(c.pid, resource.RLIMIT_STACK, before)

        def busy():
            return open(binary, "r+b").close

        def forbidden():
            binary.chmod(0o644)
            return lambda: None

        def missing():
            binary.unlink()
            return lambda: None

        def another():  # which has not been tried, and would be the end of all
            self.put(binary, b"#!/bin/sh\nexit 3\n")
            return lambda: None

        def blocked():
            return harness.status_field(c.pid, "SigBlk")

        def stay_open():
            """Descriptors that a program executed now would get."""
            found = set()
            for fd in harness.fds(c.pid):
                with contextlib.suppress(FileNotFoundError):  # of a client or a worker that has just gone
                    text = pathlib.Path(f"/proc/{c.pid}/fdinfo/{fd}").read_text()
                    if not int(text.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC:
                        found.add(fd)
            return found

        for spoil, reason in ((too_big, "Argument list too long"), (busy, "Text file busy"),
                              (forbidden, "Permission denied"), (missing, "No such file"),
                              (another, f"{binary} was changed while it was tried")):
            with self.subTest(reason=reason):
                before, workers = (blocked(), {0, 1, 2}), sorted(c.workers())
                self.assertIn(reason, self.failing_exec(c, binary, spoil))
                self.assertEqual((blocked(), stay_open()), before)
                self.assertEqual(sorted(c.workers()), workers)
                mark = c.mark()
                c.kill(signal.SIGKILL, c.pid_of(0))
                self.assertGreater(c.wait_event("worker.exit", since=mark).delay_ms, 0)
                c.wait_event("worker.ready", since=mark, slot=0)
                mark = c.mark()
                c.kill(signal.SIGTTIN)
                c.wait_event("worker.ready", since=mark, slot=2)
                c.kill(signal.SIGTTOU)
                c.wait_event("worker.exit", since=mark, slot=2)
                self.put(binary, good)
                self.upgrade(c)
                self.assertEqual(len(c.workers()), 2)

    def test_N3_no_descriptor_for_the_state(self):
        c = self.start()
        c.announce("note")
        limit = resource.prlimit(c.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(c.pid, resource.RLIMIT_NOFILE, (max(harness.fds(c.pid)) + 1, limit[1]))
        c.ctl("upgrade", status=1)
        resource.prlimit(c.pid, resource.RLIMIT_NOFILE, limit)
        self.assertIn("the state can not be written: Too many open files", c.wait_event("note").text)
        self.upgrade(c)

    def test_N3_who_asked_is_told_that_the_step_over_has_failed(self):
        """Its connection was closed for an upgrade that did not come."""
        binary = self.own_binary()
        good = binary.read_bytes()
        c = self.start(binary=binary)
        c.announce("upgrade")
        asked = []

        def ask(c):
            asked.append(subprocess.Popen([harness.CLUSTERCTL, "-s", c.socket, "upgrade"], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

        def forbid():
            binary.chmod(0o644)
            return lambda: None

        self.failing_exec(c, binary, forbid, ask)
        out, err = asked[0].communicate(timeout=harness.DEADLINE)
        self.assertEqual((asked[0].returncode, out), (1, ""), err)
        self.assertIn("Permission denied", err)
        self.put(binary, good)
        self.assertIn("upgraded", c.ctl("upgrade"))
        self.assertIn('"upgrade_problem":""', c.ctl("--json", "version"))

    def read_late(self, program, count):
        """A worker whose numbered lines are more than the log takes, an upgrade, and only then a reader of the log."""
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        c = self.cluster(sys.executable, "-c", program, policy=AT_ONCE + "[log]\noutput = capture\noverflow = block\n",
                         flags=("-n", "1"), pass_fds=(write_end,), prefix=("/bin/sh", "-c", f'exec "$0" "$@" 2>&{write_end}'))
        os.close(write_end)
        harness.eventually(lambda: "1 of 1 ready" in c.ctl("status", status=None), "it is ready")
        worker = c.workers()[0]
        harness.eventually(lambda: harness.unread(read_end) > 20000 and harness.rests(worker), "that it waits for the log")
        self.assertIn("upgraded", c.ctl("upgrade"))
        numbers, rest = [], b""
        while not numbers or numbers[-1] < count - 1:
            self.assertTrue(select.select([read_end], [], [], harness.DEADLINE)[0], f"{len(numbers)} lines and no more")
            *lines, rest = (rest + os.read(read_end, 65536)).split(b"\n")
            time.sleep(0.01)  # slower than the writer, to the end
            said = [json.loads(line) for line in lines]
            numbers += [int(event["line"].split()[1]) for event in said if event["event"] == "output"]
        self.assertEqual(numbers, list(range(count)))
        self.assertEqual(c.stop(), 0)

    def test_N1_what_the_log_could_not_write_is_not_lost(self):
        """[log] overflow = block: whoever reads the log late gets every line, across an upgrade."""
        self.read_late("import time\nfor i in range(20000): print('number', i, flush=True)\ntime.sleep(1000)", 20000)

    def test_N1_what_a_worker_said_before_it_fell_silent_is_not_kept(self):
        """All of it has been read, and nothing more comes that would have it looked at."""
        self.read_late("import os, time\nos.write(1, b''.join(b'number %d\\n' % i for i in range(5000)))\ntime.sleep(1000)", 5000)

    def test_N3_a_policy_that_changed_on_disk(self):
        """An upgrade takes the policy in force with it; the file counts again at the next reload."""
        c = self.start()
        c.policy_file.write_text("broken [\n")
        self.upgrade(c)
        c.announce("reload", "policy", "note")
        c.kill(signal.SIGHUP)
        self.assertNotEqual(c.wait_event("reload").result, "applied")
        c.policy_file.write_text(AT_ONCE + "[env]\nNEW = 1\n")
        mark = c.mark()
        c.kill(signal.SIGHUP)
        c.wait_event("roll.end", since=mark, verdict="done")
        self.assertEqual(harness.environ(c.pid_of(0))[b"NEW"], b"1")

    @unittest.skipUnless(os.geteuid() == 0, "round-robin needs rights")
    def test_N1_steered_sockets_survive(self):
        c = self.start(harness.APP, workers=3, policy="[ready]\nwhen = notify\n", flags=("-b", "round-robin?"))
        c.announce("balance", "note")
        load = harness.Load(c.port, 4)
        for turn in range(20):
            self.upgrade(c)
            if turn % 5 == 0:
                c.ctl("scale", "+1")
            if turn % 5 == 3:
                c.ctl("scale", "-1")
        c.ctl("roll")
        self.upgrade(c)
        sent, lost = load.stop()
        self.assertEqual(lost, [], f"of {sent}")
        c.rebase()


harness.main()
