"""Whoever is paged at night believes what is printed: what could not be done is not called done."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

import clients
import harness

POLICY = "[cluster]\nworkers = %d\n[ready]\nwhen = notify\n[stop]\ntimeout = 30s\n"
SERVE = (harness.PROBE, "ready", "serve")


def status_lines(c, kind):
    return [line for line in map(json.loads, c.ctl("status", "--json", status=None).splitlines()) if line.get("kind") == kind]


class Night(harness.TestCase):
    def scratch(self):
        folder = tempfile.mkdtemp(prefix="night-")
        self.addCleanup(shutil.rmtree, folder, True)
        return pathlib.Path(folder)

    def ask(self, c, *words, status=0, env=None):
        """All that clusterctl prints."""
        return self.ask_at(("-s", str(c.socket)), *words, status=status, env=env)

    def ask_at(self, where, *words, status=0, env=None):
        done = subprocess.run([harness.CLUSTERCTL, *where, *words], stdin=subprocess.DEVNULL, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.DEADLINE,
                              env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def start(self, workers, *program, policy="", **options):
        c = self.cluster(*(program or SERVE), policy=POLICY % workers + policy, **options)
        c.ready(workers)
        return c

    def write(self, c, workers, policy):
        c.policy_file.write_text(POLICY % workers + policy, encoding="utf-8")

    # -- what could not be done --

    def test_a_roll_that_can_not_make_a_socket_again(self):
        folder = self.scratch() / "sockets"
        folder.mkdir()
        c = self.start(1, policy=f"[listen a]\naddress = unix:{folder}/a\n", listen=False)
        c.announce("note", "listen.lost", "worker.stop", "listen.restored")
        c.baseline = None
        shutil.rmtree(folder)
        self.assertTrue(status_lines(c, "listener")[0]["lost"])
        self.assertIn("its file is gone: nobody can connect; next: clusterctl roll\n", self.ask(c, "status"))
        said = self.ask(c, "roll")
        self.assertIn("[listen a]: its file was removed and can not be made again; why: clusterctl events\n", said)
        folder.mkdir()
        self.assertNotIn("can not be made", self.ask(c, "roll"))
        self.assertFalse(status_lines(c, "listener")[0]["lost"])
        self.assertNotIn("its file is gone", self.ask(c, "status"))

    def test_a_log_that_can_not_be_opened_again(self):
        folder = self.scratch() / "log"
        folder.mkdir()
        c = self.cluster(*SERVE, policy=POLICY % 1 + f"[log]\nfile = {folder}/log\n")
        harness.eventually(lambda: (folder / "log").exists() and "worker.ready" in (folder / "log").read_text(), "a worker")
        moved = folder.rename(folder.with_name("moved"))
        self.assertIn(f"{folder}/log: No such file or directory; the log goes on where it was\n", self.ask(c, "reopen", status=1))
        folder.mkdir()
        self.assertEqual(self.ask(c, "reopen"), "reopen: done\n")
        self.assertTrue((folder / "log").exists() and (moved / "log").exists())

    def test_a_log_that_was_away_during_an_upgrade(self):
        folder = self.scratch() / "log"
        folder.mkdir()
        c = self.cluster(*SERVE, policy=POLICY % 1 + f"[log]\nfile = {folder}/log\n")
        harness.eventually(lambda: (folder / "log").exists() and "worker.ready" in (folder / "log").read_text(), "a worker")
        folder.rename(folder.with_name("moved"))
        c.announce("log.reopen")
        self.ask(c, "upgrade")
        c.wait_event("upgrade")  # on standard error
        self.assertIn("No such file or directory", self.ask(c, "reopen", status=1))
        folder.mkdir()
        self.assertEqual(self.ask(c, "reopen"), "reopen: done\n")
        self.ask(c, "roll")
        harness.eventually(lambda: '"event":"roll.end"' in (folder / "log").read_text(), "it is the log again")

    def test_without_a_log_file_there_is_nothing_to_open(self):
        c = self.start(1)
        self.assertEqual(self.ask(c, "reopen"), "the log goes to standard error: there is no file to be opened again\n"
                                                "reopen: done\n")

    def test_a_reload_to_a_log_that_can_not_be(self):
        folder = self.scratch()
        c = self.start(1)
        c.announce("note", "reload", "log.reopen")
        before = self.ask(c, "config")
        self.write(c, 1, f"[log]\nfile = {folder}/none/log\n[health]\ninterval = 77s\n")
        problem = f"log.file: {folder}/none/log: No such file or directory; nothing was changed\n"
        for words in ("reload",), ("reload", "--dry-run"), ("check",):
            self.assertIn(problem, self.ask(c, *words, status=1))
        self.assertEqual(self.ask(c, "config"), before)
        self.assertEqual(list(folder.iterdir()), [])
        (folder / "none").mkdir()
        (folder / "none" / "log").mkdir()
        for words in ("reload",), ("reload", "--dry-run"), ("check",):
            self.assertIn(f"log.file: {folder}/none/log: Is a directory; nothing was changed\n", self.ask(c, *words, status=1))
        (folder / "none" / "log").rmdir()
        self.ask(c, "reload", "--dry-run")
        self.assertEqual(list((folder / "none").iterdir()), [])  # a plan makes no file
        self.ask(c, "check")

    def test_check_finds_what_a_reload_would(self):
        folder = self.scratch()
        c = self.start(1)
        c.announce("note", "reload", "listen")
        self.write(c, 1, f"[listen b]\naddress = unix:{folder}/none/b\n")
        for words in ("check",), ("reload", "--dry-run"), ("config", "--diff"):
            self.assertIn(f"[listen b]: the folder {folder}/none: No such file or directory\n", self.ask(c, *words, status=1))

    def test_errors_of_a_start_are_seen_where_it_is_started(self):
        """Whoever starts it does not look into the log file; once it is up they are only there."""
        folder = self.scratch()
        words = ("--set", f"log.file={folder}/log", "--set", "control.socket=off", "-n", "1")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = self.run_clusterd(*words, "-l", f"127.0.0.1:{taken.getsockname()[1]}", "--", "/bin/true")
        self.assertEqual(done.returncode, 73)
        self.assertIn("Address already in use", done.stderr)
        self.assertIn(done.stderr.splitlines()[0].split(": ", 1)[1], (folder / "log").read_text())
        done = self.run_clusterd(*words, "-l", "none", "--set", "restart.delay=1ms", "--", "/bin/false")
        self.assertEqual(done.returncode, 69)
        self.assertIn("no worker ever got ready", done.stderr)
        self.assertNotIn("started", done.stderr)
        c = self.cluster(*SERVE, policy=POLICY % 1 + f"[exit 3]\naction = exit\n[log]\nfile = {folder}/later\n")
        c.expected_status = 69
        harness.eventually(lambda: (folder / "later").exists() and '"event":"up"' in (folder / "later").read_text(), "it is up")
        with contextlib.suppress(OSError):
            clients.ask(c.port, request=b"GET /exit=3 HTTP/1.1\r\n\r\n")
        self.assertEqual(c.wait(), 69)
        self.assertIn('"level":"error"', (folder / "later").read_text())
        self.assertEqual((list(c.lines), list(c.events)), ([], []))

    def test_no_answer_is_no_promise(self):
        c = self.start(1)
        c.announce("roll.end", "worker.exit")
        c.kill(signal.SIGSTOP)
        self.assertIn(f"clusterd (pid {c.pid}) is stopped by a signal; kill -CONT {c.pid} lets it go on\n",
                      self.ask_at(("-s", str(c.socket), "--timeout", "1"), "status", status=4))
        for words in ("roll",), ("stop", "--no-wait"):
            self.assertIn("timed out without a word from clusterd, which may do it yet; see: clusterctl status\n",
                          self.ask_at(("-s", str(c.socket), "--timeout", "1"), *words, status=75))
        c.kill(signal.SIGCONT)
        self.assertEqual(c.wait(), 0)

    @unittest.skipUnless(os.geteuid() == 0 and clients.nobody_can(harness.CLUSTERCTL), "root's clusters are looked for by nobody")
    def test_those_of_root_are_not_told_as_not_running(self):
        name = f"roots{os.getpid()}"
        c = self.cluster(*SERVE, policy=POLICY % 1, flags=("--name", name, "--set", "control.socket="))
        c.ready(1)
        if os.stat("/run/clusterd").st_mode & 0o011:
            self.skipTest("the folder is open to all")
        self.assertRegex(self.list_of_nobody({}, "-n", name, "status"), f"^{name}: not running, or root's: try sudo \\(")
        self.assertIn("/run/clusterd, which is closed to this user: try sudo", self.list_of_nobody({}))
        done = self.run_clusterd("--name", name, "-l", "none", "--", "/bin/true")
        self.assertIn(f"in use by process {c.pid}; if that is a cluster of the same name, choose another --name\n", done.stderr)

    def test_what_a_start_would_find_is_told_before(self):
        folder = self.scratch() / "none" / "more"
        done = self.run_clusterd("-t", "-l", "none", "--set", f"control.socket={folder}/s", "--set", f"log.file={folder}/l",
                                 "--set", f"supervisor.pid_file={folder}/p", "--", "/bin/true")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (78, 3), done.stderr)
        for what in "[control] socket", "[log] file", "[supervisor] pid_file":
            self.assertIn(f"{what}: the folder {folder}: No such file or directory; create it, it is not made\n", done.stderr)
        made = self.scratch() / "made"  # that of the control socket is
        done = self.run_clusterd("-t", "-l", "none", "--set", f"control.socket={made}/s", "--", "/bin/true")
        self.assertEqual((done.returncode, done.stdout), (0, "command line: ok\n"), done.stderr)
        made.mkdir()
        made.chmod(0o777)
        done = self.run_clusterd("-t", "-l", "none", "--set", f"control.socket={made}/s", "--", "/bin/true")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (78, 1), done.stderr)
        self.assertTrue(done.stderr.endswith(f"[control] socket: the folder {made}: others may write to the folder\n"),
                        done.stderr)

    def test_owners_and_links_are_looked_at_before(self):
        folder = self.scratch()
        (folder / "link").symlink_to("log")
        (folder / "name").touch()
        (folder / "second").hardlink_to(folder / "name")
        words = ("-t", "--set", "control.socket=off", "-l", f"a=unix:{folder}/a")
        for more, said in ((("--set", "listen.a.group=nosuch"), "listener a: group nosuch: no such group\n"),
                           (("--set", "listen.a.owner=nosuch"), "listener a: owner nosuch: no such user\n"),
                           (("--set", f"log.file={folder}/link"), f"[log] file {folder}/link: it is a symbolic link, which is "
                            "not followed (and - is standard error)\n"),
                           (("--set", "log.file="), "[log] file is empty; - is standard error\n")):
            done = self.run_clusterd(*words, *more, "--", "/bin/true")
            self.assertEqual((done.returncode, done.stderr.count("\n")), (78, 1), done.stderr)
            self.assertTrue(done.stderr.endswith(said), done.stderr)
        done = self.run_clusterd("--set", "control.socket=off", "--set", f"log.file={folder}/link", "--", "/bin/true")
        self.assertIn("it is a symbolic link", done.stderr)
        for path, said in ((f"{folder}/link", "it is a symbolic link, which is not followed"), ("/dev/null", "it is no plain file"),
                           (f"{folder}/name", "it has a second name, a hard link")):
            more = ("--set", f"supervisor.pid_file={path}", "--", "/bin/true")
            done = self.run_clusterd(*words, *more)
            self.assertEqual((done.returncode, done.stderr), (78, f"clusterd: --set: [supervisor] pid_file {path}: {said}\n"))
            done = self.run_clusterd(*words[1:], *more)
            self.assertEqual(done.returncode, 71)
            self.assertIn(f"pid file {path}: open: {said}\n", done.stderr)
        self.assertEqual(self.run_clusterd(*words, "--set", "listen.a.group=12345", "--", "/bin/true").returncode, 0)
        done = self.run_clusterd(*words[1:], "--set", "listen.a.group=nosuch", "--", "/bin/true")
        self.assertIn("group: no such group", done.stderr)
        self.assertNotIn("folder", done.stderr)

    @unittest.skipUnless(os.geteuid() or clients.nobody_can(harness.CLUSTERD), "asks as nobody")
    def test_a_log_that_is_there_needs_no_folder(self):
        """As logrotate makes it, for somebody who may not write beside it; and a device."""
        prefix = clients.as_nobody()[0] if os.geteuid() == 0 else ()
        folder = self.scratch()
        folder.chmod(0o755)
        log = folder / "app.log"
        log.touch()
        log.chmod(0o666)
        for path in log, "/dev/null":
            done = subprocess.run([*prefix, harness.CLUSTERD, "-t", "-l", "none", "--set", "control.socket=off", "--set",
                                   f"log.file={path}", "--", "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, check=False, timeout=harness.DEADLINE)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_could_not_be_kept_is_kept_when_it_can_be(self):
        """The record of on_death = keep; what is in the way stands for a full disk."""
        folder = self.scratch()
        record = folder / "web.workers"
        record.mkdir()
        c = self.start(1, policy="[supervisor]\non_death = keep\n", flags=("--set", f"control.socket={folder}/web.sock"))
        c.announce("note")
        c.wait_note("can not be taken over")
        record.rmdir()
        self.wake_until(folder / "web.sock", lambda: record.is_file())
        c.wait_note(f"{record} can be kept again")
        (pid,) = harness.children(c.pid)
        self.assertRegex(record.read_text(), rf"\b0*{pid}\b")
        c.baseline = None

    def wake_until(self, path, condition):
        """What failed is tried again when clusterd wakes up, at most every ten seconds."""
        end = time.monotonic() + 30 * harness.SLOW
        while not condition():
            self.assertLess(time.monotonic(), end)
            clients.control(path, "version")
            time.sleep(0.3)

    def test_the_socket_of_the_metrics_comes_back(self):
        """Somebody else had its place, and left his file when he went."""
        folder = self.scratch()
        path, control = folder / "metrics", folder / "control"
        c = self.start(1, flags=("--set", f"metrics.listen=unix:{path}", "--set", f"control.socket={control}"))
        c.announce("note")
        c.baseline = None

        def answers(path):
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(str(path)) == 0

        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            clients.control(control, "version")
            c.wait_note("had been removed")
        self.assertFalse(answers(path))
        self.wake_until(control, lambda: answers(path))

    def test_the_line_of_a_program_is_that_where_it_stands(self):
        policy = self.scratch() / "p.conf"
        policy.write_text("[cluster]\ncommand = /bin/true\n")
        words = ("-t", "--set", "control.socket=off", "-c", str(policy))
        self.assertEqual(self.run_clusterd(*words, "--", "no-such-one").stderr,
                         "clusterd: command line: no-such-one: No such file in PATH\n")
        policy.write_text("[cluster]\ncommand = no-such-one\n")
        self.assertEqual(self.run_clusterd(*words).stderr, f"{policy}:2: no-such-one: No such file in PATH\n")

    def test_a_slot_that_is_not_in_use_is_not_drained(self):
        folder = self.scratch()
        c = self.start(2, harness.PROBE, f"touch={folder}/up", "drain=600000", "ready", "serve")
        c.ctl("scale", "1", "--no-wait")
        self.ask(c, "drain", "1", "--no-wait")  # it drains already, and can be waited for
        c.kill(signal.SIGKILL, next(pid for pid in harness.children(c.pid) if pid != c.pid_of(0)))
        c.wait_event("worker.exit")
        self.assertIn("the slot is not in use\n", self.ask(c, "drain", "1", status=1))
        self.ask(c, "stop", "--now")
        c.wait()

    def test_kill_while_the_cluster_stops(self):
        """One worker does not end, and the others are to finish what they do."""
        c = self.start(2, harness.PROBE, "ignore-term", "ready", "serve")
        c.announce("worker.exit")
        c.ctl("stop", "--no-wait")
        c.wait_event("worker.stop", slot=1)
        begin = time.monotonic()
        self.assertTrue(self.ask(c, "kill", "1").endswith("kill: done\n"))
        self.assertEqual(c.wait_event("worker.exit", slot=1).signal, "SIGKILL")
        self.assertTrue(self.ask(c, "why", "1").endswith("\nslot 1 is empty now, and stays so\n"))
        self.ask(c, "kill", "0")
        self.assertEqual(c.wait(), 0)
        self.assertLess(time.monotonic() - begin, 20)  # the time to stop is 30 s

    def test_kill_means_the_new_worker_of_a_roll_too(self):
        c = self.start(1, "sh", "-c", '[ "$CLUSTERD_GENERATION" = 1 ] || exec sleep 1000; exec "$0" ready serve', harness.PROBE,
                       policy="[roll]\ntries = 1\n")
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        old = c.pid_of(0)
        mark = c.mark()
        with c.asked("roll") as asked:
            new = c.wait_event("worker.start", since=mark).pid
            self.ask(c, "kill", "0")
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 1, said)
        self.assertEqual({c.wait_event("worker.exit", since=mark, pid=pid).signal for pid in (old, new)}, {"SIGKILL"})
        c.wait_event("worker.ready", since=mark)

    def test_a_command_gets_the_port_of_its_worker(self):
        """Whatever clusterd itself was started with: it may be the worker of another one."""
        folder = self.scratch()
        c = self.cluster(*SERVE, env={"PORT": "7777", "CLUSTERD_SLOT": "9"},
                         policy="[cluster]\nworkers = 1\n[ready]\nwhen = command\n"
                                f"command = /bin/sh -c 'env >{folder}/env.new; mv {folder}/env.new {folder}/env'\n")
        c.ready(1)
        lines = (folder / "env").read_text().splitlines()
        self.assertEqual(sorted(line for line in lines if line.startswith(("PORT=", "CLUSTERD_SLOT="))),
                         ["CLUSTERD_SLOT=0", f"PORT={c.port}"])

    def test_wait_ready_says_that_a_roll_keeps_it(self):
        c = self.start(2, policy="[roll]\npause = 1h\n")
        c.announce("roll.end")
        c.ctl("roll", "--no-wait")
        c.wait_event("roll.slot")
        with c.asked("wait", "ready") as asked:
            self.assertEqual(asked.stdout.readline(), "roll 1 is under way: its end is waited for\n")
            asked.send_signal(signal.SIGINT)
            asked.communicate(timeout=harness.DEADLINE)
        self.assertEqual(asked.returncode, 75)

    def test_who_is_killed_while_it_drains_was_killed(self):
        c = self.start(1, harness.PROBE, "drain=600000", "ready", "serve")
        c.announce("worker.exit")
        c.ctl("drain", "0", "--no-wait")
        c.wait_event("worker.stop")
        self.ask(c, "kill", "0")
        self.assertIn("; an operator killed it, ", self.ask(c, "why", "0"))

    # -- who waits --

    def test_the_end_of_a_roll_names_it(self):
        c = self.start(1)
        (end,) = [line for line in map(json.loads, self.ask(c, "roll", "--json").splitlines()) if line.get("what") == "roll.end"]
        self.assertEqual((end["roll"], end["verdict"]), (1, "done"))

    def test_a_client_that_gives_up_says_so_in_json_too(self):
        c = self.start(1, harness.PROBE, "drain=600000", "ready", "serve")
        said = self.ask(c, "drain", "0", "--json", "--timeout", "200ms", status=75).splitlines()
        last = next(json.loads(line) for line in reversed(said) if line.startswith("{"))
        self.assertEqual(last, {"v": 1, "ok": False, "code": 75, "error": "timed out", "done": True})
        self.ask(c, "stop", "--now")
        c.wait()

    def test_the_end_by_sigkill_is_one_too(self):
        c = self.start(1)
        with c.asked("wait", "stopped") as asked:
            harness.eventually(lambda: any("control" in target or "socket" in target for target in harness.fds(asked.pid).values()),
                               "it is connected")
            clients.control(c.socket, "version")
            c.expected_status = -signal.SIGKILL
            os.kill(c.pid, signal.SIGKILL)
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual((asked.returncode, said), (0, ""))
        c.wait()
        c.socket.unlink()

    def test_what_is_printed_is_never_a_request(self):
        """Standard output is closed: the next descriptor must not take its place."""
        c = self.start(1)
        mark = c.mark()
        done = subprocess.run(["/bin/sh", "-c", '"$0" "$@" >&-', harness.CLUSTERCTL, "-s", str(c.socket), "roll"],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, timeout=harness.DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([event.verb for event in c.all("control", since=mark)], ["roll"])

    def test_scale_waits_over_an_upgrade_for_who_leaves(self):
        c = self.start(3, harness.PROBE, "drain=600000", "ready", "serve")
        with c.asked("scale", "1") as asked:
            leaving = [c.wait_event("worker.stop", slot=slot).pid for slot in (2, 1)]
            c.ctl("upgrade")
            with self.assertRaises(subprocess.TimeoutExpired):
                asked.wait(0.5)
            for pid in leaving:
                c.kill(signal.SIGKILL, pid)
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)
        self.assertIn("scale: done; 1 of 1 ready\n", said)
        with c.asked("scale", "2") as asked:
            said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)
        self.ask(c, "stop", "--now")
        c.wait()

    def test_who_follows_sees_the_end(self):
        c = self.start(1)
        with c.asked("events", "-f") as asked:
            said = asked.stdout.readline()  # it follows
            c.ctl("stop")
            c.wait()
            said += asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(asked.returncode, 0, said)
        self.assertIn(" worker.exit ", said)
        self.assertTrue(said.endswith("control: stopped, exit status 0\n"), said)

    def test_who_was_too_slow_is_told_so(self):
        with socket.socket(socket.AF_UNIX) as server:
            path = self.scratch() / "a.sock"
            server.bind(str(path))
            server.listen()
            with subprocess.Popen([harness.CLUSTERCTL, "-s", str(path), "events"], stdout=subprocess.PIPE, text=True) as asked:
                with server.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(b'{"v":1,"kind":"lost","bytes":3251}\n{"v":1,"ok":true,"done":true}\n')
                said = asked.communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(said, "(3251 bytes were overwritten before they could be read)\n")

    # -- what is shown --

    def test_a_respawn_that_never_came_is_not_told_of(self):
        c = self.start(2, policy="[restart]\ndelay = 40s\ndelay_max = 40s\n")
        c.announce("worker.exit", "slot.drained")
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.exit")
        self.assertRegex(self.ask(c, "why", "1"), r", so the respawn comes after \d")
        c.ctl("drain", "1")
        self.assertRegex(self.ask(c, "why", "1"), r", so the respawn was due after \d")

    def test_a_long_line_of_a_worker_is_marked_where_it_is_cut(self):
        text = "\u20ac" * 800
        c = self.start(1, harness.PROBE, "print=" + "y" * 1500 + "END", f"print={text}", "ready", "serve",
                       policy="[log]\noutput = capture\n")
        harness.eventually(lambda: self.ask(c, "logs").count("\n") == 2, "two lines")
        first, second = self.ask(c, "logs").splitlines()
        self.assertTrue(first.endswith("yEND"), first)
        self.assertTrue(second.endswith("\u20ac [cut]"), second)
        self.assertIn("\u20ac [cut]", self.ask(c, "logs", "--json"))

    @unittest.skipUnless(os.geteuid() or clients.nobody_can(harness.CLUSTERCTL), "asks as nobody")
    def test_a_cluster_of_any_name_is_found(self):
        folder = self.scratch()
        (folder / "clusterd").mkdir(0o700)
        env = {"XDG_RUNTIME_DIR": str(folder)}
        if os.geteuid() == 0:
            shutil.chown(folder / "clusterd", "nobody")
            shutil.chown(folder, "nobody")
        for name in "x.sock", "web.sock.b":
            with self.subTest(name=name), socket.socket(socket.AF_UNIX) as server:
                server.bind(str(folder / "clusterd" / f"{name}.sock"))
                server.listen()
                os.chmod(folder / "clusterd" / f"{name}.sock", 0o666)
                self.assertIn(name, self.list_of_nobody(env))

    def list_of_nobody(self, env, *words):
        """Root looks in another folder than the user's own."""
        prefix = clients.as_nobody()[0] if os.geteuid() == 0 else ()
        done = subprocess.run([*prefix, harness.CLUSTERCTL, *(words or ("list",))], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env={**os.environ, **env},
                              timeout=harness.DEADLINE)
        return done.stdout

    @unittest.skipUnless(os.geteuid() or clients.nobody_can(harness.CLUSTERCTL), "asks as nobody")
    def test_two_of_one_name_are_told_apart_by_their_paths(self):
        runtime = self.scratch()
        os.chmod(runtime, 0o755)
        folders = runtime / "clusterd", pathlib.Path(f"/tmp/clusterd-{os.geteuid() or 65534}")
        paths = [folder / f"twice{os.getpid()}.sock" for folder in folders]
        with contextlib.ExitStack() as stack:
            for path in paths:
                with contextlib.suppress(FileExistsError):
                    path.parent.mkdir(mode=0o755)
                    stack.callback(path.parent.rmdir)
                server = stack.enter_context(socket.socket(socket.AF_UNIX))
                server.bind(str(path))
                stack.callback(path.unlink)
                os.chmod(path, 0o666)
                server.listen()
            said = self.list_of_nobody({"XDG_RUNTIME_DIR": str(runtime)}, "status")
        self.assertRegex(said, "^clusterctl: several clusters run: .*; choose one with -s\n$")
        for path in paths:
            self.assertIn(str(path), said)

    @unittest.skipUnless(os.geteuid() or clients.nobody_can(harness.CLUSTERCTL), "asks as nobody")
    def test_a_folder_that_is_not_trusted_is_named(self):
        folder = self.scratch()
        (folder / "clusterd").mkdir()
        (folder / "clusterd").chmod(0o777)
        os.chmod(folder, 0o755)
        self.assertIn(f"{folder}/clusterd, which others may write to, so that nothing in it is trusted",
                      self.list_of_nobody({"XDG_RUNTIME_DIR": str(folder)}))

    def test_times_have_a_zone(self):
        c = self.start(1)
        c.ctl("roll")
        harness.eventually(lambda: " exit 0" in self.ask(c, "ends"), "an end")
        self.assertRegex(self.ask(c, "ends", env={"TZ": "America/New_York"}), r"\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d -0[45]00 ")

    # -- on a terminal --

    @contextlib.contextmanager
    def top(self, c, rows, columns=80, env=None, preexec=None, verb=("top",)):
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        top = subprocess.Popen([harness.CLUSTERCTL, "-s", str(c.socket), *verb], stdin=side, stdout=side, stderr=side,
                               start_new_session=True, preexec_fn=preexec, env={**os.environ, "TERM": "xterm", **(env or {})})
        os.close(side)
        try:
            yield top, main
        finally:
            with contextlib.suppress(OSError):
                os.close(main)
            top.kill()
            top.wait()

    def read(self, main, text):
        seen = ""
        end = time.monotonic() + harness.DEADLINE
        while text not in seen and time.monotonic() < end and select.select([main], [], [], harness.DEADLINE)[0]:
            try:
                data = os.read(main, 65536)
            except OSError:
                break
            seen += data.decode()
        return seen

    def test_top_hides_nobody_who_is_in_trouble(self):
        c = self.start(30, policy="[exit 3]\naction = retire\n")
        c.announce("worker.exit", "slot.give_up")
        with contextlib.suppress(OSError):
            while not c.all("worker.exit"):
                clients.ask(c.port, request=b"GET /exit=3 HTTP/1.1\r\n\r\n")
        slot = c.wait_event("worker.exit").slot
        with self.top(c, 12) as (_, main):
            seen = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", self.read(main, "more lines"))
        lines = seen.splitlines()
        self.assertRegex(lines[-1], r"^\d+ more lines; see: clusterctl status")
        first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("SLOT")) + 1
        self.assertRegex(lines[first], rf"^ *{slot} +retired ")
        self.assertEqual(int(lines[-1].split()[0]) + len(lines) - 1, len(self.ask(c, "status", status=1).splitlines()))

    def test_top_ends_with_its_terminal(self):
        """Also where nobody tells it: under nohup, say."""
        c = self.start(1)
        with self.top(c, 24, preexec=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as (top, main):
            self.read(main, "web: ready")
            os.close(main)
            top.wait(harness.DEADLINE)

    def test_progress_writes_over_what_is_on_the_screen_only(self):
        """Neither over what has scrolled away, nor over a line of another kind that came between."""
        c = self.start(12, policy="[roll]\nsurge = 12\n")
        with self.top(c, 10, verb=("roll",)) as (_, main):
            seen = self.read(main, "roll 1: done")
        self.assertLessEqual(max(map(int, re.findall(r"\033\[(\d+)A", seen))), 9)
        c = self.start(2, policy=f"[roll]\npause = {300 * harness.SLOW:.0f}ms\n")
        for roll in range(1, 40, 2):
            c.ctl("roll", "--no-wait")
            with self.top(c, 24, verb=("wait", "ready")) as (_, main):
                before = self.read(main, "ended (exit 0)")
                c.ctl("roll", "--no-wait")
                seen = self.read(main, "wait: done").partition(f"roll {roll + 1}: 2 slots")[2]
            if "  slot 0  " in before:  # else it began to wait when the first slot was done
                break
        self.assertEqual(re.findall(r"\033\[(\d+)A", seen)[0], "1")

    def test_top_draws_only_where_that_can_be(self):
        c = self.start(1)
        for term in "", "dumb":
            with self.top(c, 24, env={"TERM": term}) as (top, main):
                seen = self.read(main, "\0")
                self.assertIn("web: ready", seen)
                self.assertNotIn("\033", seen)
                self.assertEqual(top.wait(harness.DEADLINE), 0)


harness.main()
