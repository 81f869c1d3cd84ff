"""What clusterctl shows is true at that moment: ages, last words, figures, numbers of descriptors."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[restart]\ndelay = 0\n"
STUBBORN = "trap '' TERM; echo armed; while :; do sleep 0.05; done"


class Truth(harness.TestCase):
    def lines(self, c, kind, *words, **options):
        """The lines of one kind that clusterctl --json prints."""
        found = [json.loads(line) for line in c.ctl("--json", *words, **options).splitlines()]
        return [line for line in found if line.get("kind") == kind]

    def refused(self, c, *words):
        done = subprocess.run([harness.CLUSTERCTL, "-s", str(c.socket), *words], capture_output=True, text=True,
                              timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stderr

    def slot(self, c, number=0):
        return self.lines(c, "slot", "status", status=None)[number]

    def test_for_is_the_time_in_this_state(self):
        """A worker that has served for long and is asked to stop has been stopping for a moment only."""
        c = self.sh(STUBBORN, policy=AT_ONCE, flags=("-n", "1"))
        c.announce("worker.escalate")
        c.ready(1)
        harness.eventually(lambda: self.slot(c)["for_ms"] > 1500, "a second and a half as ready")
        begin = time.monotonic()
        c.ctl("stop", "--no-wait")
        c.wait_event("worker.stop")
        slot = self.slot(c)
        self.assertEqual(slot["state"], "stopping")
        self.assertLessEqual(slot["for_ms"], (time.monotonic() - begin) * 1000)
        self.assertIn("slot 0 is stopping now, for ", c.ctl("why", "0"))
        c.ctl("stop", "--now")

    def test_kill_reaches_what_a_drained_slot_still_holds(self):
        """status shows it as `1 old`, and the runbook says that kill ends it."""
        c = self.sh(STUBBORN, policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.wait_lines(2, "armed")
        victim = c.pid_of(0)
        c.ctl("drain", "0", "--no-wait")
        c.wait_event("worker.stop", pid=victim)
        self.assertRegex(c.ctl("status", status=1), r"\n +0 +drained, 1 old ")
        c.ctl("kill", "0")
        self.assertEqual(c.wait_event("worker.exit", pid=victim).signal, "SIGKILL")
        self.assertIn("the slot holds no process", self.refused(c, "kill", "0"))
        c.ctl("stop", "--now")

    def test_who_went_on_after_stopping_is_not_said_to_have_taken_no_connections(self):
        c = self.cluster("/usr/bin/python3", "-S", "-E", "-c", """
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
s.send(b'READY=1'); s.send(b'STOPPING=1'); time.sleep(1000)
""", policy="[stop]\ntimeout = 200ms\n[limit]\ncore = 0\n[restart]\ndelay = 10s\n", flags=("-n", "1", "-l", "none"), listen=False)
        c.announce("worker.exit", "worker.hung")
        c.wait_event("worker.exit")
        self.assertIn(" died: SIGABRT (hung, or STOPPING=1 without an end) after ", c.ctl("why", "0"))

    def test_who_says_trigger_is_not_said_to_have_said_nothing(self):
        c = self.cluster(harness.PROBE, "ready", "notify=WATCHDOG=trigger", "serve", policy="[ready]\nwhen = notify\n[restart]\n"
                         "delay = 1h\ndelay_max = 1h\n", flags=("-n", "1"))
        c.announce("worker.exit", "worker.hung", "note")
        pid = c.wait_event("worker.exit", cause="watchdog").pid
        self.assertIn(f"worker 0 (pid {pid}) says WATCHDOG=trigger", [e.text for e in c.all("note")])
        self.assertIn("SIGABRT (watchdog: silent, or WATCHDOG=trigger)", c.ctl("why", "0"))

    def test_a_worker_that_asks_for_more_time_is_told(self):
        """It may ask for ever: [stop] timeout has passed, and the log says why no SIGKILL comes."""
        c = self.cluster("/usr/bin/python3", "-S", "-E", "-c", """
import os, signal, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
signal.signal(signal.SIGTERM, lambda *_: [s.send(b'EXTEND_TIMEOUT_USEC=86400000000') for _ in range(3)])
s.send(b'READY=1')
while True: time.sleep(1000)
""", policy="[stop]\ntimeout = 500ms\n", flags=("-n", "1", "-l", "none"), listen=False)
        c.announce("note")
        c.ready(1)
        c.ctl("stop", "--no-wait")
        c.wait_event("note", text=f"worker 0 (pid {c.pid_of(0)}) asks for 1d to start or stop (EXTEND_TIMEOUT_USEC); this is said once")
        time.sleep(1)  # past the timeout
        self.assertEqual(self.slot(c)["state"], "stopping")
        c.ctl("stop", "--now")
        self.assertEqual(c.wait(), 0)
        self.assertEqual(sum("EXTEND_TIMEOUT_USEC" in note.text for note in c.all("note")), 1)

    def test_why_of_a_program_that_goes_into_the_background_again_and_again(self):
        c = self.sh("read line < fifo; exit 0", policy=AT_ONCE, flags=("-n", "1"), preexec=lambda: os.mkfifo("fifo"))
        hint = ". A program that puts itself into the background must be told to stay in the foreground\n"
        for n in range(2):
            (c.folder / "fifo").write_text("go\n")
            c.wait_events(n + 1, "worker.exit", code=0)
            self.assertEqual(hint in c.ctl("why", "0"), n > 0)

    def test_why_explains_what_was_decided_on_a_start_that_failed(self):
        """Later than the end before it, whose respawn has come and gone."""
        folder = tempfile.mkdtemp(prefix="truth-")
        self.addCleanup(shutil.rmtree, folder)
        program = pathlib.Path(shutil.copy("/bin/sleep", folder))
        c = self.cluster(program, "1000", policy="[cluster]\nworkers = 1\n[ready]\nwhen = alive\nafter = 0\n"
                         "[restart]\ndelay = 10ms\nburst = 2\n")
        c.announce("worker.exit", "spawn.error", "give_up", "slot.give_up")
        c.ready(1)
        program.unlink()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("give_up")
        for _ in range(2):
            self.assertRegex(c.ctl("why", "0"), r"^worker 0 .*, so the respawn was due after \S+; its last start failed, and "
                             r"\[restart\] burst 2 respawns in 1m are used up, and give_up says hold, so the respawn comes after \S+\n")
            c.ctl("upgrade")

    def test_last_words_are_those_of_the_end_that_is_explained(self):
        c = self.sh("test -e done && exec sleep 1000; touch done; echo boom >&2; exit 1",
                    policy=AT_ONCE + "[log]\noutput = capture\n", flags=("-n", "1"))
        c.announce("worker.exit", "note")
        c.wait_event("worker.exit", code=1)
        c.wait_events(2, "worker.start")
        self.assertIn("last words: boom\n", c.ctl("why", "0"))
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.exit", signal="SIGKILL")
        self.assertNotIn("boom", c.ctl("why", "0"))
        self.assertEqual(self.slot(c)["last_line"], "")

    def test_an_operator_s_kill_has_no_last_words(self):
        c = self.sh("test -e done && exec sleep 1000; touch done; echo boom >&2; exit 1",
                    policy=AT_ONCE + "[log]\noutput = capture\n", flags=("-n", "1"))
        c.announce("worker.exit", "note")
        c.wait_event("worker.exit", code=1)
        harness.eventually(lambda: self.slot(c)["state"] == "ready", "the next one")
        c.ctl("kill", "0")
        why = c.ctl("why", "0")
        self.assertIn(" ended as asked: ", why)
        self.assertNotIn("last words", why)

    def test_a_decision_is_not_explained_by_a_later_policy(self):
        """Another rule, another burst, another `when` was in force."""
        policy = "[cluster]\nworkers = 3\n[exit 3]\naction = retire\n[restart]\n%s\n"
        c = self.sh("test $CLUSTERD_SLOT = 0 || exit $((2 + CLUSTERD_SLOT)); exec sleep 1000",
                    policy="[ready]\nwhen = alive\nafter = 0\n" + policy % "when = never")
        c.announce("worker.exit", "give_up")
        c.wait_events(2, "worker.exit")
        self.assertIn("; [exit 3] says retire, so the slot stays empty\n", c.ctl("why", "1"))
        self.assertIn("; [restart] when = never does not cover such an end, ", c.ctl("why", "2"))
        c.policy_file.write_text("[ready]\nwhen = alive\nafter = 0\n" + (policy % "when = always").replace("exit 3", "exit 8"))
        c.ctl("reload")
        self.assertIn("; an [exit RULE] decided, by the policy of that time, so the slot stays empty\n", c.ctl("why", "1"))
        self.assertIn("; [restart] when did not cover such an end, by the policy of that time, so", c.ctl("why", "2"))

    def test_a_reload_without_a_change_takes_no_figure_away(self):
        c = self.sh("exec sleep 1000", policy="[cluster]\nworkers = 1\n" + AT_ONCE)
        c.announce("worker.exit")
        c.ready(1)
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.exit")
        before = c.ctl("why", "0").splitlines()[0]
        self.assertIn("short life number 1 in a row (under [restart] stable 10s)", before)
        c.ctl("reload")
        self.assertEqual(c.ctl("why", "0").splitlines()[0], before)

    def test_the_log_tells_why_a_reload_was_refused(self):
        """Whoever asked for it: clusterctl has told it to the one who typed it, and to nobody else."""
        c = self.sh("exec sleep 1000", policy="[cluster]\nworkers = 1\n" + AT_ONCE)
        c.announce("note", "reload")
        c.ready(1)
        c.policy_file.write_text("[cluster]\nworkers = many\n")
        for words in (("check",), ("reload", "--dry-run"), ("config", "--diff")):
            c.ctl(*words, status=1)
        self.assertEqual(c.all("note"), [])  # these only ask
        self.assertIn(":2: workers = many: not a whole number or auto\n", c.ctl("reload", status=1))
        c.wait_event("reload", result="refused, nothing was changed")
        self.assertEqual([note.text for note in c.all("note")],
                         [f"reload: {c.policy_file}:2: workers = many: not a whole number or auto"])

    def test_check_refuses_what_reload_would(self):
        c = self.cluster(policy="[cluster]\ncommand = /bin/sleep 1000\nworkers = 1\n" + AT_ONCE)
        c.announce("note", "reload")
        c.ready(1)
        good = c.policy_file.read_text()
        for change, told in (("command = /nosuch 1", "program /nosuch: No such file or directory"),
                             ("user = nosuch", "cluster.user: there is no user nosuch"),
                             # 2^32 + 0, which is root's, if it is cut
                             ("group = 4294967296", "cluster.group: there is no group 4294967296")):
            changed = good.replace("command = /bin/sleep 1000", change if "command" in change else "command = /bin/sleep 1000\n" + change)
            c.policy_file.write_text(changed)
            for words in (("check",), ("reload", "--dry-run"), ("config", "--diff"), ("reload",)):
                with self.subTest(change=change, words=words):
                    self.assertIn(told, c.ctl(*words, status=1))
        c.policy_file.write_text(good)
        self.assertEqual(c.ctl("check"), "control: ok\n")
        self.assertEqual(c.ctl("config", "--diff"), "the policy has not changed\n")

    def test_a_verdict_comes_last_in_a_pipe_too(self):
        c = self.sh("exec sleep 1000", policy="[cluster]\nworkers = 1\n" + AT_ONCE)
        c.announce("note", "reload")
        c.ready(1)
        c.policy_file.write_text("[cluster]\nworkers = many\n")
        done = subprocess.run([harness.CLUSTERCTL, "-s", str(c.socket), "reload"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.stdout.splitlines()[-1], "control: nothing was changed")

    def last_line(self, c, *words):
        """Exit status and last line of clusterctl --json."""
        done = subprocess.run([harness.CLUSTERCTL, "-s", str(c.socket), "--json", *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    def test_json_has_its_last_line_without_clusterd_too(self):
        c = self.sh(STUBBORN, policy=AT_ONCE, flags=("-n", "1"))
        c.ready(1)
        c.wait_lines(1, "armed")
        waits = [subprocess.Popen([harness.CLUSTERCTL, "-s", str(c.socket), "--json", *words], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for words in (("drain", "0"), ("events", "-f"))]
        c.wait_event("worker.stop")
        harness.eventually(lambda: harness.unread(waits[1].stdout), "that the events are followed")
        c.kill(signal.SIGKILL)
        c.expected_status = c.wait()
        c.tidy()
        for one in waits:
            line = json.loads(one.communicate(timeout=harness.DEADLINE)[0].splitlines()[-1])
            self.assertEqual((one.returncode, line["code"], line["ok"], line["done"]), (1, 1, False, True), line)
        for words, status in ((("roll",), 3), (("status",), 3), (("roll", "now"), 64), (("restart", "x"), 64), (("rol",), 64)):
            with self.subTest(words=words):
                code, line = self.last_line(c, *words)
                self.assertEqual((code, line["code"], line["ok"], line["done"]), (status, status, False, True))
                self.assertNotEqual(line["error"], "")
        self.assertEqual(self.last_line(c, "wait", "stopped"), (0, {"v": 1, "ok": True, "done": True}))

    def test_json_of_an_upgrade_that_failed_at_the_last_step_is_not_ok(self):
        """Its trial run was well, and then the program is gone."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="binary-"))
        self.addCleanup(shutil.rmtree, folder)
        binary, before = folder / "clusterd", harness.CLUSTERD
        shutil.copy(before, binary)
        harness.CLUSTERD = str(binary)
        try:
            c = self.sh("exec sleep 1000", policy=AT_ONCE, flags=("-n", "1"))
        finally:
            harness.CLUSTERD = before
        c.announce("upgrade")
        c.ready(1)
        new = folder / "new"
        new.write_text(f'#!/bin/sh\nrm {binary}\nexec {before} "$@"\n', encoding="utf-8")
        new.chmod(0o755)
        os.rename(new, binary)
        why = f"exec {binary}: No such file or directory; the clusterd that runs goes on"
        self.assertEqual(self.last_line(c, "upgrade"), (1, {"v": 1, "code": 1, "error": why, "ok": False, "done": True}))
        shutil.copy(before, binary)
        self.assertEqual(self.last_line(c, "upgrade"), (0, {"v": 1, "ok": True, "done": True}))

    def test_the_verdict_of_a_roll_that_went_back_counts_what_that_brought(self):
        """The number of workers of the file that failed is not in force any more."""
        policy = "[cluster]\nworkers = %d\n[ready]\nwhen = notify\n[env]\nQ = %s\n"
        c = self.sh(f'[ "$Q" = bad ] && exit 7; exec {harness.PROBE} ready serve', policy=policy % (2, "good"))
        c.announce("worker.exit", "roll.slot", "roll.back", "roll.end", "note")
        c.ready(2)
        c.policy_file.write_text(policy % (4, "bad"))
        self.assertRegex(c.ctl("reload", status=1), r"\nroll 1: rolled back after \S+; the old program serves on; 2 of 2 ready\n$")
        c.policy_file.write_text(policy % (1, "bad"))
        code, line = self.last_line(c, "reload")
        self.assertEqual((code, line["verdict"], line["wanted"]), (1, "rolled-back", 2))

    def test_the_descriptor_of_a_listener_is_that_of_the_worker(self):
        """A listener with adopt has none, and takes no number from those behind it."""
        ports = harness.free_port(), harness.free_port()
        c = self.sh("exec sleep 1000", listen=False, flags=("-n", "1"),
                    policy=AT_ONCE + "[listen own]\naddress = 127.0.0.1:%d\nadopt = yes\n"
                                     "[listen given]\naddress = 127.0.0.1:%d\n" % ports)
        c.ready(1)
        shown = {line["name"]: line["fd"] for line in self.lines(c, "listener", "status")}
        self.assertEqual(shown, {"own": -1, "given": 3})
        self.assertEqual(c.wait_event("listen", listener="given").fd, 3)
        self.assertTrue(os.readlink(f"/proc/{c.pid_of(0)}/fd/3").startswith("socket:"))

    def test_the_queue_of_a_unix_listener(self):
        """By path and abstract, in status and in the metrics; of UDP there is none."""
        folder = tempfile.mkdtemp(prefix="queue-")
        self.addCleanup(shutil.rmtree, folder)
        name, port = f"@queue-of-{os.getpid()}", harness.free_port()
        flags = ("-n", "1", "-l", f"path=unix:{folder}/s", "-l", f"name=unix:{name}", "--set", "listen.name.backlog=7",
                 "-l", "udp=udp:127.0.0.1:0", "--set", f"metrics.listen=127.0.0.1:{port}")
        c = self.sh("exec sleep 1000", listen=False, flags=flags, policy=AT_ONCE)
        c.ready(1)
        for address in 3 * [f"{folder}/s"] + 2 * [name.replace("@", "\0")]:
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(address)
        shown = {line["name"]: (line["queue"], line["limit"]) for line in self.lines(c, "listener", "status")}
        self.assertEqual(shown, {"path": (3, 4096), "name": (2, 7), "udp": (-1, -1)})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=harness.DEADLINE) as answer:
            metrics = answer.read().decode().splitlines()
        self.assertEqual([line for line in metrics if line.startswith("clusterd_listen_backlog{")],
                         ['clusterd_listen_backlog{listener="path"} 3', 'clusterd_listen_backlog{listener="name"} 2'])


harness.main()
