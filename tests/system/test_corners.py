"""What happens where two things meet: a reload and a roll, an upgrade and a link, a probe and its end."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import harness


class Corners(harness.TestCase):
    def scratch(self):
        folder = tempfile.TemporaryDirectory(prefix="clusterd-")
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def write(self, c, policy):
        new = c.policy_file.with_suffix(".new")
        new.write_text(policy, encoding="utf-8")
        os.rename(new, c.policy_file)

    def reload(self, c, policy, status=0):
        """By clusterctl: without a change that needs it there is no roll."""
        self.write(c, policy)
        return c.ctl("reload", status=status)

    def refused(self, c, *words, status=1):
        """What clusterctl says of what it could not do."""
        done = subprocess.run([harness.CLUSTERCTL, "-s", str(c.socket), *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr

    def test_a_start_timeout_changes_while_a_worker_starts(self):
        policy = "[cluster]\nworkers = 1\n[ready]\nwhen = notify\ntimeout = {}\n"
        c = self.cluster(harness.PROBE, policy=policy.format("1h"))
        c.wait_event("worker.start")
        c.announce("worker.stop", "worker.exit", "note", "reload")
        self.reload(c, policy.format("300ms"))
        c.wait_event("worker.stop", why="timeout")

    def test_a_ready_command_that_hangs_leaves_no_zombie(self):
        policy = ("[cluster]\nworkers = 1\n[ready]\nwhen = command\ncommand = /bin/sleep 1000\n"
                  "[health]\ntimeout = 100ms\n")
        c = self.cluster(harness.PROBE, policy=policy)
        worker = c.wait_event("worker.start").pid
        seen = set()

        def three_more():
            seen.update(p for p in harness.children(c.pid) if p != worker)
            return len(seen) >= 3

        harness.eventually(three_more, "three runs of the command")
        harness.eventually(lambda: len(harness.children(c.pid)) <= 2, "no zombie")
        c.announce("worker.stop", "worker.exit")

    def health(self, path, balance="round-robin"):
        return (f"[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[listen web]\n"
                f"address = 127.0.0.1:{self.port}\nbalance = {balance}\n"
                f"[health]\nhttp = {path}\ninterval = 100ms\ntimeout = 100ms\nfailures = 100\n")

    def test_health_checks_end_and_begin_by_reload(self):
        self.port = harness.free_port()
        c = self.cluster(harness.PROBE, "ready", policy=self.health("/"), listen=False)
        c.ready(2)
        c.announce("note", "reload", "health", "worker.stop", "worker.hung", "worker.exit")
        self.reload(c, self.health(""))
        mark = c.mark()
        time.sleep(0.5)  # five intervals: nobody asks, so nobody fails
        self.assertEqual(c.all("health", since=mark), [])
        self.reload(c, self.health("/exit=3"))
        c.wait_event("worker.exit", code=3)
        self.reload(c, self.health("/"))

    def test_health_checks_that_can_not_be_are_refused(self):
        self.port = harness.free_port()
        c = self.cluster(harness.PROBE, "ready", policy=self.health("", "shared"), listen=False)
        c.ready(2)
        c.announce("note", "reload")
        self.assertIn("round-robin", self.reload(c, self.health("/", "shared"), status=1))

    def test_a_port_that_the_kernel_chooses_stays_the_same(self):
        policy = ("[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[listen a]\naddress = 127.0.0.1:0\n"
                  "[listen b]\naddress = *:0\nbalance = hash\n[env]\nV = {}\n")
        c = self.cluster(harness.PROBE, "ready", policy=policy.format(1), listen=False)
        c.ready(2)
        c.announce("reload")
        first = [c.wait_event("listen", listener=name).address for name in "ab"]
        self.assertFalse([address for address in first if address.endswith(":0")])
        self.reload(c, policy.format(2))
        c.wait_event("roll.end", verdict="done")
        self.assertIn("not changed", c.ctl("config", "--diff"))
        c.ctl("upgrade")
        c.ctl("roll")
        self.assertEqual([line["address"] for line in map(json.loads, c.ctl("status", "--json").splitlines())
                          if line.get("kind") == "listener"], first)
        for address in first:
            client = harness.Connection(int(address.rsplit(":", 1)[1]))
            self.assertEqual(client.get("/")[0], 200)
            client.close()

    def test_a_refused_reload_counts_no_changes(self):
        policy = "[cluster]\nworkers = 1\n[ready]\nwhen = notify\n[restart]\ndelay = {}\n"
        c = self.cluster(harness.PROBE, "ready", policy=policy.format("1s"))
        c.ready(1)
        c.announce("note", "reload")
        self.reload(c, policy.format("2s") + f"[listen b]\naddress = 127.0.0.1:{c.port}\nbalance = hash\n", status=1)
        self.reload(c, policy.format("2s") + "[listen b]\naddress = unix:/nonexistent/b\n", status=1)
        self.assertEqual([(e.result.partition(",")[0], e.changes) for e in c.wait_events(2, "reload")],
                         [("refused", None)] * 2)

    def test_overflow_drop_frees_the_worker_that_was_kept_waiting(self):
        folder = self.scratch()
        policy = ("[cluster]\nworkers = 1\n[ready]\nwhen = notify\n[log]\noutput = capture\noverflow = {}\n")
        c = self.cluster(harness.PROBE, "ready", f"until={folder}/go", f"touch={folder}/begun", "flood=20",
                         f"touch={folder}/written", policy=policy.format("block"))
        c.ready(1)
        c.announce("output.lost", "log.lost", "note", "reload", "worker.exit")
        with c.changed:  # the harness reads nothing while it can not tell
            (folder / "go").touch()
            harness.eventually((folder / "begun").exists, "the flood begins")
            self.write(c, policy.format("drop"))
            c.ctl("reload")
            harness.eventually((folder / "written").exists, "all is written")
        c.wait_event("output.lost")

    def test_what_applies_at_once_stays_after_the_roll(self):
        policy = ("[cluster]\nworkers = 2\n[ready]\nwhen = alive\nafter = 700ms\n[roll]\npause = {}\n"
                  "[stop]\ntimeout = {}\n[env]\nV = {}\n")
        c = self.cluster("/bin/sleep", "1000", policy=policy.format("0", "5s", 1))
        c.ready(2)
        c.announce("note", "reload")
        self.write(c, policy.format("200ms", "5s", 2))
        c.ctl("reload", "--no-wait")
        c.wait_event("roll.begin")
        self.reload(c, policy.format("200ms", "7s", 2))
        c.wait_event("roll.end", verdict="done")
        self.assertIn("timeout = 7s", c.ctl("config"))
        self.assertFalse([e for e in c.all("note") if "in force again" in e.text])

    def test_a_failed_roll_takes_the_number_of_workers_back(self):
        policy = ("[cluster]\nworkers = {}\n[ready]\nwhen = notify\n[roll]\ntries = 1\n[env]\nV = {}\n")
        c = self.cluster("/bin/sh", "-c", f'[ "$V" = 1 ] || exit 3; exec {harness.PROBE} ready',
                         policy=policy.format(2, 1))
        c.ready(2)
        c.announce("note", "reload", "roll.end", "roll.slot", "worker.exit")
        self.write(c, policy.format(4, 2))
        c.ctl("reload", status=None)
        c.wait_event("roll.end", verdict="rolled-back")
        harness.eventually(lambda: len(c.workers()) == 2, "two workers again")

    def test_a_listener_of_a_generation_that_drains_stays_open(self):
        ports = harness.free_port(), harness.free_port()
        policy = ("[cluster]\nworkers = 1\n[ready]\nwhen = notify\n[stop]\ntimeout = 20s\n"
                  "[listen web]\naddress = 127.0.0.1:{}\n[health]\nfailures = {}\n")
        c = self.cluster(harness.PROBE, "drain=1500", "ready", policy=policy.format(ports[0], 3), listen=False)
        c.ready(1)
        c.announce("note", "reload")
        self.reload(c, policy.format(ports[1], 3))

        def bound(port):
            # In the state LISTEN: connections of an earlier test may be in TIME_WAIT still.
            return f":{port:04X} 00000000:0000 0A " in pathlib.Path("/proc/net/tcp").read_text()

        self.reload(c, policy.format(ports[1], 4))
        c.wait_event("worker.exit")
        harness.eventually(lambda: not bound(ports[0]), "the old port is closed")
        self.assertTrue(bound(ports[1]))

    def test_a_worker_that_left_its_group_is_killed(self):
        deaf = ("import os, signal, time; signal.signal(15, signal.SIG_IGN); "
                "os.setpgid(0, os.getpgid(os.getppid())); print('deaf', flush=True); time.sleep(1000)")
        c = self.cluster("/usr/bin/env", "python3", "-c", deaf,
                         policy="[cluster]\nworkers = 1\n[ready]\nwhen = alive\nafter = 1s\n[stop]\ntimeout = 300ms\n")
        c.ready(1)
        c.wait_line("deaf")
        c.announce("worker.escalate", "worker.exit")
        self.assertEqual(c.stop(), 0)
        self.assertEqual(c.wait_event("worker.exit").signal, "SIGKILL")

    def test_an_upgrade_follows_the_link_that_clusterd_was_started_by(self):
        folder = self.scratch()
        link = folder / "clusterd"
        link.symlink_to(harness.CLUSTERD)
        real, harness.CLUSTERD = harness.CLUSTERD, str(link)
        try:
            c = self.cluster(harness.PROBE, "ready", policy="[cluster]\nworkers = 1\n[ready]\nwhen = notify\n")
        finally:
            harness.CLUSTERD = real
        c.ready(1)
        os.unlink(link)
        c.announce("upgrade", "note")
        c.kill(signal.SIGUSR2)
        c.wait_event("note", level="error")
        link.symlink_to(real)
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", result="done")

    def test_a_script_in_place_of_clusterd_stays_the_one_that_is_executed(self):
        folder = self.scratch()
        path, mark_file = folder / "clusterd", folder / "runs"
        path.symlink_to(harness.CLUSTERD)
        real, harness.CLUSTERD = harness.CLUSTERD, str(path)
        try:
            c = self.cluster(harness.PROBE, "ready", policy="[cluster]\nworkers = 1\n[ready]\nwhen = notify\n")
        finally:
            harness.CLUSTERD = real
        c.ready(1)
        path.unlink()
        path.write_text(f'#!/bin/sh\necho "$CLUSTERD_UPGRADE" >>{mark_file}\nexec {real} "$@"\n', encoding="ascii")
        path.chmod(0o755)
        for _ in range(2):
            c.ctl("upgrade")
        self.assertEqual([line.split(":")[0] for line in mark_file.read_text().splitlines()],
                         ["check", "take"] * 2)

    def test_an_upgrade_of_a_clusterd_found_by_its_name_follows_the_link_too(self):
        folder = self.scratch()
        for version in ("v1", "v2"):
            (folder / version).mkdir()
            shutil.copy(harness.CLUSTERD, folder / version / "clusterd")
        link = folder / "clusterd"
        link.symlink_to("v1/clusterd")
        real, harness.CLUSTERD = harness.CLUSTERD, "clusterd"
        try:
            c = self.cluster(harness.PROBE, "ready", policy="[cluster]\nworkers = 1\n[ready]\nwhen = notify\n",
                             env={"PATH": f"{folder}:{os.environ['PATH']}"})
        finally:
            harness.CLUSTERD = real
        c.ready(1)
        (folder / "next").symlink_to("v2/clusterd")
        os.rename(folder / "next", link)
        c.ctl("upgrade")
        self.assertEqual(os.readlink(f"/proc/{c.pid}/exe"), str(folder / "v2" / "clusterd"))

    def test_a_roll_of_which_every_slot_is_taken_away_is_stopped(self):
        """Nobody has seen the new version serve: what counts is the former, whatever took the slots away."""
        policy = ("[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[stop]\ntimeout = 5s\n[env]\nV = {}\n")
        for take, cause in ((("drain", "all"), "drain"), (("scale", "0"), "scale")):
            with self.subTest(take=take):
                c = self.cluster("/bin/sh", "-c", f'[ "$V" = 1 ] && exec {harness.PROBE} ready; echo new; exec sleep 1000',
                                 policy=policy.format(1))
                c.ready(2)
                c.announce("note", "reload", "roll.end", "worker.stop", "worker.exit")
                self.write(c, policy.format(2))
                with subprocess.Popen([harness.CLUSTERCTL, "-s", str(c.socket), "reload"], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, text=True) as asked:
                    new = c.wait_event("worker.start", generation=2)
                    c.wait_line("new")
                    c.ctl(*take)
                    said = asked.communicate(timeout=harness.DEADLINE)[0]
                self.assertEqual(asked.returncode, 1, said)
                self.assertRegex(said, r"(?m)^roll 1: stopped after ")
                self.assertEqual(c.wait_event("worker.stop", pid=new.pid).why, cause)
                self.assertIn("V = 1", c.ctl("config"))
                mark = c.mark()
                c.ctl(*(("reset",) if cause == "drain" else ("scale", "2")))
                self.assertEqual({e.generation for e in c.wait_events(2, "worker.start", since=mark)}, {1})
                self.assertIn("[env]: replaces the workers", c.ctl("config", "--diff"))

    def test_what_was_drained_in_a_reload_stays_so(self):
        """The roll is stopped and its policy taken back, with its number of workers; nobody has asked for any."""
        policy = "[cluster]\nworkers = {}\n[ready]\nwhen = notify\n[stop]\ntimeout = 5s\n[env]\nV = {}\n"
        for before, after in (2, 3), (3, 2):
            for how in ("all",), ("0", "1", "2")[:after]:
                with self.subTest(before=before, after=after, how=how):
                    c = self.cluster("/bin/sh", "-c", f'[ "$V" = 1 ] && exec {harness.PROBE} ready; exec sleep 1000',
                                     policy=policy.format(before, 1))
                    c.ready(before)
                    c.announce("note", "reload", "roll.end", "worker.stop", "worker.exit", "slot.drained")
                    self.write(c, policy.format(after, 2))
                    c.ctl("reload", "--no-wait")
                    c.wait_event("worker.start", generation=2)
                    for slot in how:
                        c.ctl("drain", slot)
                    c.wait_note("is in force again")
                    mark = c.mark()
                    c.ctl("status", status=None)
                    self.assertEqual(c.all("worker.start", since=mark), [])
                    self.assertEqual(harness.children(c.pid), {})
                    c.baseline = None

    def test_reset_is_waited_for_over_an_upgrade(self):
        """Only that slot, though another one can not be ready."""
        folder = self.scratch()
        c = self.cluster("/bin/sh", "-c", f'while [ -e {folder}/hold ]; do sleep 0.02; done; [ "$CLUSTERD_SLOT" = 1 ] && '
                         f'[ -e {folder}/sick ] && exit 3; exec {harness.PROBE} ready',
                         policy="[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[exit 3]\naction = retire\n")
        c.ready(2)
        c.announce("worker.exit", "slot.give_up", "slot.drained")
        for name in "sick", "hold":
            (folder / name).touch()
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.exit", slot=1)
        c.ctl("drain", "0")
        with subprocess.Popen([harness.CLUSTERCTL, "-s", str(c.socket), "reset", "0"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as asked:
            mark = c.mark()
            c.wait_event("worker.start", slot=0, since=mark)
            c.ctl("upgrade")
            (folder / "hold").unlink()
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)

    def test_the_roll_of_another_is_not_what_a_reset_waits_for(self):
        """It hears of that one, which fails; over an upgrade too."""
        folder = self.scratch()
        c = self.cluster("/bin/sh", "-c", f'while [ -e {folder}/hold ]; do sleep 0.02; done; [ $CLUSTERD_GENERATION = 1 ] || '
                         f'exit 4; exec {harness.PROBE} ready', policy="[cluster]\nworkers = 2\n[ready]\nwhen = notify\n")
        c.ready(2)
        c.announce("worker.exit", "slot.drained", "roll.slot", "roll.end")
        c.ctl("drain", "0")
        (folder / "hold").touch()
        mark = c.mark()
        with c.asked("reset") as asked:
            c.wait_event("worker.start", slot=0, since=mark)
            c.ctl("roll", "--no-wait")
            c.ctl("upgrade")
            (folder / "hold").unlink()
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual((asked.returncode, said.splitlines()[-1]), (0, "reset: done; 2 of 2 ready"), said)
        c.wait_event("roll.end", verdict="rolled-back")

    def test_reset_waits_for_what_it_has_started(self):
        folder = self.scratch()
        c = self.cluster("/bin/sh", "-c", f'[ -e {folder}/sick ] && exit 3; exec {harness.PROBE} ready',
                         policy="[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[exit 3]\naction = retire\n")
        c.ready(2)
        c.announce("worker.exit", "slot.give_up", "slot.drained")
        c.ctl("drain", "1")
        self.assertRegex(c.ctl("reset", "1"), r"slot 1 .* ready after .*\nreset: done; 2 of 2 ready\n$")
        c.ctl("drain", "1")
        (folder / "sick").touch()
        self.assertIn("a slot does not get ready", self.refused(c, "reset", "1"))
        self.assertEqual(c.ctl("reset", "1", "--no-wait"), "reset: begun\n")
        self.assertIn("a slot does not get ready", self.refused(c, "reset"))
        (folder / "sick").unlink()
        self.assertTrue(c.ctl("reset").endswith("reset: done; 2 of 2 ready\n"))
        self.assertEqual(c.ctl("reset"), "reset: done; 2 of 2 ready\n")

    def test_scale_waits_for_what_it_has_started(self):
        """Not for a slot that was given up before: that is not what was asked for."""
        folder = self.scratch()
        c = self.cluster("/bin/sh", "-c", f'[ -e {folder}/$CLUSTERD_SLOT ] && exit 3; exec {harness.PROBE} ready',
                         policy="[cluster]\nworkers = 2\n[ready]\nwhen = notify\n[exit 3]\naction = retire\n")
        c.ready(2)
        c.announce("worker.exit", "slot.give_up")
        (folder / "0").touch()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.exit", action="retire")
        self.assertRegex(c.ctl("scale", "+1"), r"^  slot 2  \d+ ready after .*\nscale: done; 2 of 3 ready\n$")
        self.assertTrue(c.ctl("scale", "2").endswith("\nscale: done; 1 of 2 ready\n"))
        (folder / "2").touch()
        self.assertIn("a slot does not get ready", self.refused(c, "scale", "3"))

    def test_a_slot_that_is_not_in_use_is_called_so(self):
        c = self.cluster(harness.PROBE, "ready", policy="[cluster]\nworkers = 3\n[ready]\nwhen = notify\n")
        c.ready(3)
        c.ctl("scale", "2")
        for verb in "reset", "restart":
            self.assertIn("the slot is not in use", self.refused(c, verb, "2"))
        self.assertIn("slot 2 is not in use now; to use it: clusterctl scale 3\n", c.ctl("why", "2"))
        self.assertIn("there is no slot 55", self.refused(c, "logs", "55", status=64))

    def test_upgrades_leave_no_descriptor_behind(self):
        c = self.cluster(harness.PROBE, "ready-fd", policy="[cluster]\nworkers = 2\n[ready]\nwhen = fd\n"
                         "[log]\noutput = capture\n")
        c.ready(2)
        counts = []
        for _ in range(6):
            mark = c.mark()
            c.kill(signal.SIGUSR2)
            c.wait_event("upgrade", since=mark, result="done")
            c.ctl("status")
            harness.eventually(lambda: not [p for p in harness.fds(c.pid).values() if "clusterd-state" in p],
                               "the state is closed")
            counts.append(len(harness.fds(c.pid)))
        # The client that has just gone may still be in the first count; five leaks are more than that.
        harness.eventually(lambda: len(harness.fds(c.pid)) <= counts[0], f"{counts}: {harness.fds(c.pid)}")
        c.rebase()

    def test_an_upgrade_goes_on_without_its_log_file(self):
        folder = self.scratch() / "logs"
        folder.mkdir()
        c = self.cluster(harness.PROBE, "ready",
                         policy=f"[cluster]\nworkers = 1\n[ready]\nwhen = notify\n[log]\nfile = {folder}/log\n")
        log = folder / "log"
        harness.eventually(lambda: log.exists() and "worker.ready" in log.read_text(), "a ready worker")
        worker = c.workers()
        log.unlink()
        folder.rmdir()
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", result="done")
        self.assertEqual(c.workers(), worker)


harness.main()
