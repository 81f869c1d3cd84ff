"""clusterctl and the control socket of the real clusterd (catalogue rows G, H, M)."""

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
import termios
import time
import unittest

import clients
import harness
from harness import CLUSTERCTL, DEADLINE, SLOW, eventually

SLEEP = "trap 'exit 0' TERM; echo READY; while :; do sleep 0.05; done"
QUICK = "[ready]\nwhen = alive\nafter = 50ms\n[restart]\ndelay = 10s\ndelay_max = 10s\n"

# The schema of --json: fields of each kind of line. It only ever grows.
GOLDEN = {
    "cluster": {"name": str, "version": str, "pid": int, "state": str, "ready": int, "wanted": int,
                "live": int, "generation": int, "roll": int, "up_ms": int, "policy_file": str,
                "policy_age_ms": int, "listeners": int, "log_lines_lost": int, "output_lines_lost": int,
                "log_problem": str},
    "listener": {"name": str, "address": str, "fd": int, "balance": str, "queue": int, "limit": int,
                 "repaired": int},
    "slot": {"slot": int, "state": str, "pid": int, "next_pid": int, "old": int, "generation": int,
             "for_ms": int, "cpu_permille": int, "cpu_ms": int, "rss_kb": int, "queue": int,
             "handed": int, "starts": int, "ends": int, "streak": int, "status": str, "last_line": str,
             "problem": str},
    "end": {"slot": int, "time_ms": int, "pid": int, "generation": int, "end": str, "end_age_ms": int,
            "asked": bool, "cause": str, "next": str, "why": str, "delay_ms": int, "code": int,
            "signal": int, "core": bool, "oom": bool, "lived_ms": int, "cpu_user_ms": int,
            "cpu_sys_ms": int, "max_rss_kb": int, "streak": int},
    "why": {"slot": int, "state": str, "for_ms": int, "last_line": str, "problem": str, "sentence": str},
    "version": {"version": str, "libuv": str, "pid": int, "name": str, "upgrade_problem": str},
    "config": {"text": str},
    "metrics": {"text": str},
    "progress": {"what": str, "ms": int},
    "event": {"time": str, "level": str, "event": str, "name": str},
    "output": {"slot": int, "stream": str, "text": str},
    "note": {"text": str},
}


def socket_of(cluster):
    return f"{cluster.folder}/control.sock"


def raw(cluster, request):
    """One request on a connection of its own; the lines of the answer."""
    return [json.loads(line) for line in clients.control(socket_of(cluster), request).splitlines()]


class Ctl(harness.TestCase):

    def quick(self, workers=2, script=SLEEP, policy="", **options):
        """A cluster of shell scripts that is ready at once, and does not retry for long."""
        options.setdefault("flags", ("-n", workers))
        c = self.sh(script, policy=QUICK + policy, **options)
        c.ready(workers)
        c.ctl("wait", "ready")
        return c

    def background(self, cluster, *words):
        return subprocess.Popen([CLUSTERCTL, "-s", socket_of(cluster), *words], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def has_asked(self, cluster, client):
        """It sleeps with its connection: what it asks for has been sent, and what came before another answer is read."""
        eventually(lambda: client.poll() is not None or harness.stat_of(client.pid)[0] == "S"
                   and any(path.startswith("socket:") for path in harness.fds(client.pid).values()), "it has asked")
        raw(cluster, "version")

    def connections(self, cluster):
        """How many clusterd has on its control socket."""
        ours = set(harness.fds(cluster.pid).values())
        rows = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]]
        return sum(row[5] == "03" and row[-1] == socket_of(cluster) and f"socket:[{row[6]}]" in ours for row in rows)

    def gate(self):
        """A file that is there: while it is not, a probe until=FILE waits."""
        folder = harness.tempfile.mkdtemp(prefix="ctl-")
        self.addCleanup(shutil.rmtree, folder)
        path = pathlib.Path(folder, "gate")
        path.touch()
        return path

    def read_until(self, pipe, text):
        """Reads past the buffer of Python: select(2) does not see the lines that wait in there."""
        seen = b""
        while text not in seen:
            ready, _, _ = select.select([pipe], [], [], DEADLINE)
            self.assertTrue(ready, seen)
            data = os.read(pipe.fileno(), 65536)
            self.assertTrue(data, seen)
            seen += data
        return seen

    # -- looking --

    def test_status_for_people(self):
        c = self.quick()
        text = c.ctl("status")
        self.assertRegex(text, r"^web: ready, 2 of 2 ready    up \S+, policy \S*policy.conf applied \S+ ago\n")
        self.assertRegex(text, rf"\n\S+ 127\.0\.0\.1:{c.port}  shared  queue 0 of \d+\n")
        self.assertRegex(text, r"\n   0  ready +\d+ ")
        self.assertEqual(c.ctl("is-ready"), "web: ready, 2 of 2 ready\n")

    def test_status_exit_codes(self):
        c = self.quick()
        c.ctl("status", status=0)
        c.announce("worker.exit")
        os.kill(c.pid_of(0), signal.SIGKILL)
        c.wait_event("worker.exit", slot=0)
        text = c.ctl("status", status=1)
        self.assertIn("web: degraded, 1 of 2 ready", text)
        self.assertRegex(text, r"\n   0  backoff \S+ .* SIGKILL, \S+ ago")
        self.assertIn("slot 0 is in backoff after 1 short life in a row; next: clusterctl why 0", text)
        why = c.ctl("why", "0")
        self.assertIn("; short life number 1 in a row (under ", why)
        self.assertRegex(why, r", so the respawn comes after \S+\nslot 0 waits \(backoff\): the next start is due in "
                              r"\S+, or at once by: clusterctl reset 0\n")
        c.ctl("is-ready", status=1)
        c.ctl("reset", "0")
        c.ctl("wait", "ready")
        c.ctl("status", status=0)
        c.stop()
        done = subprocess.run([CLUSTERCTL, "-s", socket_of(c), "status"], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("not running (no socket at", done.stderr)

    def test_a_start_that_failed(self):
        """What keeps a slot empty is not the end of its last worker, but that no other can be executed."""
        folder = harness.tempfile.mkdtemp(prefix="ctl-")
        self.addCleanup(shutil.rmtree, folder)
        program = f"{folder}/{'long' * 50}/program"
        os.mkdir(os.path.dirname(program))
        shutil.copy("/bin/sleep", program)
        c = self.cluster(program, "1000", policy=QUICK + "[roll]\ntries = 1\n", flags=("-n", "1"))
        c.announce("spawn.error", "worker.exit", "roll.slot", "roll.end")
        c.ready(1)
        shutil.copy("/dev/null", f"{program}.new")
        os.chmod(f"{program}.new", 0o755)
        os.rename(f"{program}.new", program)
        failed = f"its last start failed: exec ...{program[-150:]}: Exec format error (the file is empty)"
        self.assertIn(failed[len("its last start "):].replace("failed", "could not be started"),
                      c.ctl("restart", "0", status=1))
        self.assertNotIn("failed:", c.ctl("status"))  # the old one serves on
        c.ctl("kill", "0", "--no-wait")
        eventually(lambda: c.all("spawn.error")[-1].retry_ms, "a start that is tried again")
        self.assertIn(f"slot 0 is in backoff: {failed}; next: clusterctl why 0\n", c.ctl("status", status=1))
        self.assertIn(f"\n{failed}\nslot 0 waits (backoff)", c.ctl("why", "0"))
        c.ctl("upgrade")
        self.assertIn(f"\n{failed}\nslot 0 waits (backoff)", c.ctl("why", "0"))
        shutil.copy("/bin/sleep", f"{program}.new")
        os.rename(f"{program}.new", program)
        c.ctl("reset", "0")
        c.ctl("wait", "ready")
        self.assertNotIn("failed", c.ctl("why", "0"))

    def test_status_can_not_tell(self):
        """A server that says nothing, or nonsense: 4, and in the time that was given."""
        c = self.quick()
        path = f"{c.folder}/other.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            done = subprocess.run([CLUSTERCTL, "-s", path, "--timeout", "200ms", "status"],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 4, done.stderr)
            client = subprocess.Popen([CLUSTERCTL, "-s", path, "status"], stderr=subprocess.PIPE)
            server.accept()[0].close()  # the one that gave up
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.communicate(timeout=DEADLINE)
            self.assertEqual(client.returncode, 4)
            connection.close()
        os.unlink(path)

    def test_json_schema(self):
        c = self.quick(policy="[log]\noutput = capture\n")
        c.ctl("kill", "1")
        c.ctl("wait", "ready")
        lines = []
        for words in (("status",), ("ends",), ("why", "1"), ("version",), ("config",), ("metrics",),
                      ("restart", "0"), ("events",), ("logs",), ("reload",)):
            answer = [json.loads(line) for line in c.ctl("--json", *words).splitlines()]
            self.assertTrue(all(line["v"] == 1 for line in answer))
            self.assertEqual([line for line in answer if line.get("done")], answer[-1:])
            self.assertIs(answer[-1]["ok"], True)
            lines += answer[:-1]
        for line in lines:
            for field, kind in GOLDEN[line["kind"]].items():
                self.assertIs(type(line.get(field)), kind, f"{field} of {line}")
        self.assertEqual({line["kind"] for line in lines}, set(GOLDEN))

    def test_ends_and_why(self):
        c = self.quick(policy="[exit 7]\naction = retire\n[log]\noutput = capture\n",
                       script="echo first words >&2; test $CLUSTERD_SLOT = 1 || exec sleep 1000; "
                              "read x < fifo; echo last words >&2; exit 7",
                       flags=("-n", 2, "--set", "stop.timeout=2s"), preexec=lambda: os.mkfifo("fifo"))
        c.announce("worker.exit", "slot.retired", "give_up", "slot.give_up", "note")
        (c.folder / "fifo").write_text("go\n")
        c.wait_event("worker.exit", slot=1)
        text = c.ctl("why", "1")
        self.assertRegex(text, r"^worker 1 \(pid \d+\) died: exit 7 after \S+; \[exit 7\] says retire, "
                               r"so the slot stays empty\n")
        self.assertIn("slot 1 is retired now", text)
        self.assertIn("last words: last words\n", text)
        self.assertRegex(c.ctl("ends", "1"), r"\n\S+ \S+ \S+ +1 +\d+ +1 +\S+  exit 7 +retire +rule")
        self.assertEqual(c.ctl("ends", "0"), "no worker has ended yet\n")
        self.assertIn("no worker of this slot has ended yet", c.ctl("why", "0"))
        self.assertIn("there is no slot 9; the last one is ", self.errors(c, "why", "9", status=64))
        self.assertIn("1: last words\n", c.ctl("logs", "1"))

    def test_ends_last(self):
        c = self.quick(workers=1)
        for _ in range(3):
            c.ctl("kill", "0")
            c.ctl("wait", "ready")
        self.assertEqual(len(c.ctl("ends").splitlines()), 4)
        self.assertEqual(len(c.ctl("ends", "--last", "2").splitlines()), 3)

    def test_logs_not_captured(self):
        c = self.quick()
        c.ctl("logs", status=1)

    def test_events_follow(self):
        c = self.quick()
        follower = self.background(c, "--json", "events", "-f")
        c.ctl("restart", "1")
        lines = self.read_until(follower.stdout, b'"roll.end"').splitlines()
        seen = [json.loads(line)["event"] for line in lines if line.endswith(b"}")]
        self.assertEqual(seen[0], "start")
        self.assertIn("worker.ready", seen)
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=DEADLINE)
        self.assertEqual(follower.returncode, 0)

    def test_metrics(self):
        c = self.quick()
        c.ctl("kill", "0")
        text = c.ctl("metrics")
        self.assertIn("\nclusterd_workers_wanted 2\n", text)
        self.assertIn('\nclusterd_worker_exits_total{cause="kill",asked="yes"} 1\n', text)
        self.assertTrue(text.endswith("# EOF\n"))

    def test_metrics_http(self):
        port = harness.free_port()
        c = self.quick(policy=f"[metrics]\nlisten = 127.0.0.1:{port}\n")

        def get(path):
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                return s.makefile().read()

        self.assertTrue(get("/metrics").endswith("# EOF\n"))
        self.assertTrue(get("/healthz").startswith("HTTP/1.1 200 "))
        self.assertTrue(get("/readyz").startswith("HTTP/1.1 200 "))
        c.ctl("drain", "all")
        self.assertTrue(get("/readyz").startswith("HTTP/1.1 503 "))

    def test_list_and_names(self):
        """Without -s a cluster is found by its name, in the folders of this user."""
        name = f"test-{os.getpid()}"
        c = self.sh(SLEEP, policy=QUICK, flags=("-n", 2, "--set", "control.socket="), name=name)
        c.ready(2)
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(c.folder)}

        def run(*words):
            return subprocess.run([CLUSTERCTL, *words], env=environment, capture_output=True, text=True,
                                  check=False)

        self.assertEqual(run("-n", name, "wait", "ready").returncode, 0)
        self.assertRegex(run("list").stdout, rf"(?m)^{name} +ready +2/2 ")
        found = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
        path = next(line["socket"] for line in found if line["name"] == name)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        c.stop()
        self.assertFalse(os.path.exists(path))
        done = run("-n", name, "status")
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"{name}: not running (no socket at {path})", done.stderr)

    def test_top(self):
        c = self.quick()
        self.assertIn("web: ready", c.ctl("top"))  # no terminal: printed once
        main, side = pty.openpty()
        top = subprocess.Popen([CLUSTERCTL, "-s", socket_of(c), "top"], stdin=side, stdout=side,
                               env={**os.environ, "TERM": "xterm"})
        os.close(side)
        data = b""
        while data.count(b"web: ") < 2:  # drawn, and drawn again
            ready, _, _ = select.select([main], [], [], DEADLINE)
            self.assertTrue(ready, data)
            data += os.read(main, 65536).replace(b"\x1b[32mready\x1b[0m", b"ready").replace(b"\x1b[1m", b"")
        os.write(main, b"q")
        while select.select([main], [], [], DEADLINE)[0]:
            try:  # until it has closed the other side
                data += os.read(main, 65536)
            except OSError:
                break
        self.assertEqual(top.wait(DEADLINE), 0)
        self.assertIn(b"\x1b[?1049h", data)
        self.assertTrue(data.rstrip().endswith(b"\x1b[?1049l"), data[-100:])
        os.close(main)

    def test_top_fits_a_narrow_terminal(self):
        c = self.quick()
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        top = subprocess.Popen([CLUSTERCTL, "-s", socket_of(c), "top"], stdin=side, stdout=side,
                               env={**os.environ, "TERM": "xterm"})
        os.close(side)
        drawn = self.read_until(os.fdopen(main, "rb", 0, closefd=False), b"\x1b[J").decode()
        os.write(main, b"q")
        self.assertEqual(top.wait(DEADLINE), 0)
        os.close(main)
        lines = [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line) for line in drawn.split("\r\n")]
        self.assertGreater(len(lines), 4)
        self.assertEqual([line for line in lines if len(line) > 30], [])
        self.assertIn("web: ready, 2 of 2 ready", lines[0])

    def test_output_that_can_not_be_written_is_told(self):
        c = self.quick()
        for words in ("status",), ("roll",), ("--json", "config"):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([CLUSTERCTL, "-s", socket_of(c), *words], stdin=subprocess.DEVNULL, stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
            self.assertRegex(done.stderr, "^clusterctl: standard output: (No space left on device|not all of it could be written)\n$")
            self.assertEqual(done.returncode, 1)

    def test_colour(self):
        c = self.quick()
        command = [CLUSTERCTL, "-s", socket_of(c), "status"]

        def painted(*words, **env):
            environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR_FORCE")}
            return "\x1b[" in subprocess.run([*command, *words], capture_output=True, text=True,
                                             check=True, env={**environment, **env}).stdout

        self.assertFalse(painted())
        self.assertTrue(painted("--color", "always"))
        self.assertTrue(painted(CLICOLOR_FORCE="1"))
        self.assertFalse(painted(CLICOLOR_FORCE="1", NO_COLOR="1"))
        self.assertFalse(painted("--color=never", CLICOLOR_FORCE="1"))
        self.assertTrue(painted("--color=always", NO_COLOR="1"))

    # -- doing --

    def test_scale(self):
        c = self.quick()
        self.assertIn("scale: done; 4 of 4 ready", c.ctl("scale", "+2"))
        c.ctl("scale", "1")
        eventually(lambda: len(c.workers()) == 1, "one worker")
        self.assertEqual(c.ctl("scale", "3", "--no-wait"), "scale: begun\n")
        c.ctl("wait", "ready")
        for word in ("many", "16385", "100000", "+", "--5", "1x"):
            self.assertIn("0 (paused) to 16384", self.errors(c, "scale", "--", word, status=64))
        for word in ("-4", "+16384"):
            self.assertIn("0 (paused) to 16384; it is 3 now", self.errors(c, "scale", word, status=64))
        self.assertEqual(len(c.workers()), 3)
        mark = c.mark()
        c.ctl("scale", "-0")  # changes nothing, and says so in no line
        first = json.loads(c.ctl("--json", "scale", "4").splitlines()[0])
        self.assertEqual({k: first.get(k) for k in ("what", "from", "to", "slot")},
                         {"what": "scale", "from": 3, "to": 4, "slot": None})  # it is no slot's
        self.assertEqual(c.wait_event("scale", since=mark).to, 4)
        c.ctl("scale", "3")
        c.rebase()

    def test_roll(self):
        c = self.quick()
        before = {c.pid_of(0), c.pid_of(1)}
        text = c.ctl("roll")
        self.assertRegex(text, r"^roll 1: 2 slots to generation 2\n")
        self.assertRegex(text, rf"\n  slot 0  \d+ -> \d+\n")
        self.assertRegex(text, r"\nroll 1: done after \S+; 2 of 2 ready\n$")
        self.assertFalse(before & {c.pid_of(0), c.pid_of(1)})

    def test_superseded_tells_what_to_wait_for(self):
        gate = self.gate()
        c = self.cluster(harness.PROBE, f"until={gate}", "ready", "serve", flags=("-n", "2"), policy="[ready]\nwhen = notify\n")
        c.ready(2)
        gate.unlink()
        first = self.background(c, "roll")
        c.wait_event("roll.begin")
        text = c.ctl("restart", "1", status=1)  # that roll will come to it
        self.assertRegex(text, r"roll 2: superseded after \S+; 2 of 2 ready\n"
                         "another roll takes its place; to wait for that: clusterctl wait ready\n$")
        gate.touch()
        self.assertIn("wait: done", c.ctl("wait", "ready"))
        self.assertEqual(c.wait_event("roll.end", roll=1).verdict, "done")
        first.communicate(timeout=DEADLINE)

    def test_roll_back_with_last_words(self):
        folder = pathlib.Path(harness.tempfile.mkdtemp())
        self.addCleanup(harness.shutil.rmtree, folder)
        program = folder / "program"
        program.write_text(f"#!/bin/sh\nexec {harness.PROBE} ready\n")
        program.chmod(0o755)
        c = self.cluster(program, policy="[ready]\nwhen = notify\n[log]\noutput = capture\n", flags=("-n", 2))
        c.ready(2)
        c.announce("worker.exit", "roll.end", "roll.slot", "roll.back", "roll.failed")
        new = folder / "new"
        new.write_text("#!/bin/sh\necho Cannot find module >&2\nexit 1\n")
        new.chmod(0o755)
        new.rename(program)
        text = c.ctl("roll", status=1)
        self.assertIn("died: exit 1; last words: Cannot find module\n", text)
        self.assertRegex(text, r"\nroll 1: rolled back after \S+; the old program serves on; 2 of 2 ready\n")
        self.assertIn("last words of slot 0: Cannot find module\n", text)
        self.assertIn("; another worker has its slot, so nothing had to follow\n", c.ctl("why", "0"))
        self.assertEqual({json.loads(line)["why"] for line in c.ctl("ends", "0", "--json").splitlines()[:-1]}, {"spare"})
        c.ctl("status", status=0)

    def test_detach_and_time_out(self):
        gate = self.gate()
        c = self.cluster(harness.PROBE, f"until={gate}", "drain=1000", "ready", policy="[ready]\nwhen = notify\n", flags=("-n", 2))
        c.ready(2)
        gate.unlink()
        roll = self.background(c, "roll")
        self.assertIn("roll 1: 2 slots", roll.stdout.readline())
        roll.send_signal(signal.SIGINT)
        _, errors = roll.communicate(timeout=DEADLINE)
        self.assertEqual(roll.returncode, 75)
        self.assertIn("detached; the roll goes on in clusterd", errors)
        gate.touch()
        c.wait_event("roll.end")
        c.ctl("stop", "--timeout", "1ms", status=75)
        self.assertEqual(c.wait(), 0)

    def test_a_reload_waits_for_the_roll_that_brings_it(self):
        """Whoever asks again, after ^C say, is not told that it is done before it is."""
        gate = self.gate()
        policy = "[ready]\nwhen = notify\ntimeout = 60s\n[roll]\ntries = 1\n[env]\nA = 1\n"
        c = self.cluster(harness.PROBE, f"until={gate}", "ready", policy=policy, flags=("-n", 2))
        c.announce("roll.slot", "roll.end", "note", "worker.exit", "worker.stop")
        c.ready(2)
        for value, status, said in ((2, 0, "roll 1: done after"), (3, 1, "roll 2: rolled back after")):
            gate.unlink()
            c.policy_file.write_text(policy.replace("A = 1", f"A = {value}"))
            mark = c.mark()
            c.ctl("reload", "--no-wait")
            again = self.background(c, "reload")
            self.assertEqual(again.stdout.readline(), "the policy has not changed\n")
            self.has_asked(c, again)
            self.assertIsNone(again.poll())
            if status == 0:
                gate.touch()
            else:
                c.kill(signal.SIGKILL, c.wait_event("worker.start", since=mark).pid)
            self.assertIn(said, again.communicate(timeout=DEADLINE)[0])
            self.assertEqual(again.returncode, status)
        gate.touch()

    def test_restart_kill_drain_signal(self):
        c = self.quick(script="trap 'echo got it; exit 3' USR1; trap 'exit 0' TERM; echo armed $$; "
                              "while :; do sleep 0.05; done")
        c.announce("worker.exit")
        old = c.pid_of(1)
        self.assertRegex(c.ctl("restart", "1"), rf"\n  slot 1  {old} -> \d+\n")
        self.assertIn("(SIGKILL)", c.ctl("kill", "0"))
        c.ctl("wait", "ready")
        c.wait_line(f"armed {c.pid_of(0)}")
        self.assertEqual(c.ctl("signal", "USR1", "0"), "signal: sent to 1 worker\n")
        c.wait_event("worker.exit", slot=0, code=3)
        c.ctl("signal", "NOPE", status=64)
        c.ctl("reset")
        c.ctl("wait", "ready")
        self.assertIn("drain: done", c.ctl("drain", "1"))
        self.assertRegex(c.ctl("status", status=1), r"\n   1  drained ")
        c.ctl("reset", "1")
        c.ctl("wait", "ready")

    def test_another_request_undoes_what_is_waited_for(self):
        """Nobody waits for ever for what is not to come any more."""
        gate = self.gate()
        c = self.cluster(harness.PROBE, f"until={gate}", "drain=600000", "ready", policy="[ready]\nwhen = notify\n",
                         flags=("-n", 2))
        c.announce("worker.exit")
        c.ready(2)
        for words in ("drain", "0"), ("drain", "all"):
            mark = c.mark()
            drain = self.background(c, *words)
            c.wait_event("worker.stop", since=mark, slot=0)
            c.ctl("reset")
            self.assertIn("another request has filled the slot again", drain.communicate(timeout=DEADLINE)[1])
            self.assertEqual(drain.returncode, 1)
            c.ctl("wait", "ready")
            for event in c.all("worker.stop", since=mark):
                c.kill(signal.SIGKILL, event.pid)
                c.wait_event("worker.exit", pid=event.pid)
        gate.unlink()
        scale = self.background(c, "scale", "3")
        c.wait_event("worker.start", slot=2)
        c.ctl("drain", "2")
        self.assertIn("a slot does not get ready", scale.communicate(timeout=DEADLINE)[1])
        self.assertEqual(scale.returncode, 1)
        c.ctl("stop", "--now")
        self.assertEqual(c.wait(), 0)

    def test_reload_check_and_diff(self):
        c = self.quick()
        self.assertIn(": ok\n", c.ctl("check"))
        c.policy_file.write_text(QUICK + "[stop]\ntimeout = 7s\n")
        plan = c.ctl("config", "--diff")
        self.assertIn("stop.timeout", plan.replace("[stop] timeout", "stop.timeout"))
        self.assertIn("timeout = 30s", c.ctl("config"))
        c.ctl("reload", "--dry-run")
        self.assertIn("timeout = 30s", c.ctl("config"))
        c.ctl("reload")
        self.assertIn("timeout = 7s", c.ctl("config"))
        c.announce("policy", "reload", "policy.refused", "policy.problem", "note")
        c.policy_file.write_text("[stop]\ntimeout = soon\nbogus = 1\n")
        text = c.ctl("check", status=1)
        self.assertIn("policy.conf:2:", text)
        self.assertIn("policy.conf:3:", text)
        c.ctl("reload", status=1)
        self.assertIn("timeout = 7s", c.ctl("config"))

    def test_upgrade(self):
        c = self.quick()
        workers = sorted(c.workers())
        text = c.ctl("upgrade")
        self.assertRegex(text, rf"^upgraded: clusterd \S+, pid {c.pid}; the workers run on\n")
        self.assertEqual(sorted(c.workers()), workers)
        self.assertIn("2 of 2 ready", c.ctl("status"))
        self.assertIn("web", c.ctl("version"))

    def test_upgrade_that_nobody_comes_back_from(self):
        """The new program has the sockets, so it can be reached once more; then it is gone."""
        folder = harness.tempfile.mkdtemp(prefix="ctl-")
        self.addCleanup(harness.shutil.rmtree, folder)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{folder}/s.sock")
            server.listen()
            asked = subprocess.Popen([harness.CLUSTERCTL, "-s", f"{folder}/s.sock", "upgrade"], text=True,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            server.settimeout(DEADLINE)
            for answer in (b'{"v":1,"kind":"reconnect","begun":true}\n', b""):
                with server.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(answer)
        said = asked.communicate(timeout=DEADLINE)[0]
        self.assertEqual((said, asked.returncode),
                         ("s: clusterd did not come back; see its log, and: clusterctl status\n", 1))

    def test_upgrade_while_another_rolls(self):
        """Whoever waits for the roll hears how it ended, over as many upgrades as there are; of the rest some may be missed."""
        gate = self.gate()
        c = self.cluster(harness.PROBE, f"until={gate}", "after=100", "ready", "drain=250", "serve", flags=("-n", "4"),
                         policy="[ready]\nwhen = notify\n[stop]\ntimeout = 10s\n")
        c.ready(4)
        gate.unlink()
        old = {slot: c.pid_of(slot) for slot in range(4)}
        roll = self.background(c, "roll")
        said = self.read_until(roll.stdout, b"4 slots to")
        upgrades = 0
        while not c.all("roll.end"):
            self.has_asked(c, roll)  # a roll that ended before the last upgrade is not known any more
            if upgrades == 3:
                gate.touch()
            self.assertRegex(c.ctl("upgrade"), rf"^upgraded: clusterd \S+, pid {c.pid}; the workers run on\n")
            upgrades += 1
        rest, errors = roll.communicate(timeout=DEADLINE)
        said = said.decode() + rest
        self.assertEqual((roll.returncode, errors), (0, ""), said)
        for slot, pid in old.items():
            self.assertLessEqual(said.count(f"slot {slot}  {pid} -> {c.pid_of(slot)}"), 1, said)
        self.assertRegex(said, r"\nroll 1: done after \S+; 4 of 4 ready\n$")
        self.assertGreater(upgrades, 2)
        self.assertEqual(len(c.all("upgrade", result="done")), upgrades)
        self.assertEqual(sorted(e.pid for e in c.wait_events(4, "worker.stop")), sorted(old.values()))
        self.assertEqual(len(c.all("worker.start")), 8)

    def test_wait_stopped_survives_upgrades(self):
        c = self.quick()
        waiter = self.background(c, "wait", "stopped")
        self.has_asked(c, waiter)
        for _ in range(3):
            c.ctl("upgrade")
        self.assertIsNone(waiter.poll())
        c.ctl("stop")
        self.assertEqual(c.wait(), 0)
        said, errors = waiter.communicate(timeout=DEADLINE)
        self.assertEqual((waiter.returncode, errors), (0, ""), said)

    def test_wait_for_a_roll(self):
        """What a clusterctl asks after an upgrade; a roll that has ended since is told as well."""
        c = self.quick()
        for words in ("roll", "roll 1", "roll x", "roll 0", "ready 1", "stopped 1"):
            self.assertFalse(raw(c, f"wait {words}")[-1]["ok"], words)
        c.ctl("roll")
        for words, ok in (("roll 1", True), ("roll 2", False)):
            answer = raw(c, f"wait {words}")[-1]
            self.assertEqual((answer["ok"], answer.get("verdict")), (ok, "done" if ok else None))

    def test_upgrade_while_another_roll_fails(self):
        c = self.cluster("/bin/sh", "-c", f"[ ! -e bad ] || {{ until [ -e go ]; do sleep 0.02; done; exit 1; }}; exec {harness.PROBE} ready serve",
                         flags=("-n", "2"), policy="[ready]\nwhen = notify\n[roll]\ntries = 3\n[restart]\ndelay = 100ms\n")
        c.ready(2)
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        old = sorted(c.workers())
        (c.folder / "bad").touch()
        for words in (("roll",), ("--json", "roll")):
            mark = c.mark()
            roll = self.background(c, *words)
            c.wait_event("roll.begin", since=mark)
            c.ctl("upgrade")
            c.ctl("upgrade")
            (c.folder / "go").touch()
            while not c.all("roll.end", since=mark):
                self.has_asked(c, roll)
                c.ctl("upgrade")
            said, _ = roll.communicate(timeout=DEADLINE)
            self.assertEqual(roll.returncode, 1, said)
            if "--json" in words:
                self.assertEqual(json.loads(said.splitlines()[-1])["verdict"], "rolled-back")
            else:
                self.assertRegex(said, r"\nroll 1: rolled back after \S+; the old program serves on; 2 of 2 ready\n")
            self.assertEqual(sorted(c.workers()), old)
            self.assertGreater(len(c.all("upgrade", since=mark, result="done")), 1)
            (c.folder / "go").unlink()

    def test_follower_survives_an_upgrade(self):
        c = self.quick()
        follower = self.background(c, "--json", "events", "-f")
        self.read_until(follower.stdout, b"\n")
        c.ctl("upgrade")
        c.ctl("restart", "0")
        self.read_until(follower.stdout, b'"roll.end"')
        follower.send_signal(signal.SIGTERM)
        follower.communicate(timeout=DEADLINE)

    def test_stop_and_wait_stopped(self):
        c = self.quick()
        waiter = self.background(c, "wait", "stopped")
        self.has_asked(c, waiter)
        self.assertIn("stopped, exit status 0", c.ctl("stop"))
        output, _ = waiter.communicate(timeout=DEADLINE)
        self.assertEqual((waiter.returncode, c.wait()), (0, 0), output)
        self.assertIn("not running", self.errors(c, "wait", "stopped", status=0))
        self.assertIn("not running", self.errors(c, "wait", "ready", status=3))

    def test_what_is_asked_while_it_stops(self):
        """Each is told that it comes too late; of a scale no socket is left behind either."""
        go = harness.tempfile.mkdtemp(prefix="ctl-")
        self.addCleanup(harness.shutil.rmtree, go)
        c = self.sh(f"trap 'while [ ! -e {go}/on ]; do sleep 0.02; done; exit 0' TERM; echo armed; while :; do sleep 0.02; done",
                    policy=QUICK, flags=("-n", "2", "-b", "hash"))
        c.announce("note", "reload")
        c.ready(2)
        c.wait_lines(2, "armed")
        c.ctl("stop", "--no-wait")
        eventually(lambda: not self.connections(c), "that one has gone")
        before = len(harness.fds(c.pid))
        for words in (("scale", "9"), ("scale", "9", "--no-wait"), ("reset",), ("reset", "1"), ("roll",), ("restart", "1"),
                      ("reload",), ("upgrade",)):
            with self.subTest(words=words):
                self.assertIn(self.errors(c, *words, status=1),
                              ("control: the cluster is stopping\n", "control: nothing was changed\n"))
        c.kill(harness.signal.SIGTTIN)
        eventually(lambda: len(harness.fds(c.pid)) == before, "no new socket")
        self.assertEqual(c.all("scale"), [])
        (harness.pathlib.Path(go) / "on").touch()
        self.assertEqual(c.wait(), 0)

    def errors(self, c, *words, status):
        done = subprocess.run([CLUSTERCTL, "-s", socket_of(c), *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=DEADLINE)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def test_the_log_tells_who_asked(self):
        c = self.quick()
        c.ctl("status")
        c.ctl("scale", "3")
        self.errors(c, "kill", "9", status=64)
        c.ctl("stop")
        c.wait()
        self.assertEqual([(e.verb, e.result, e.detail) for e in c.all("control", uid=os.geteuid())],
                         [("scale 3", None, None), ("kill 9", None, None),
                          ("kill 9", "refused", "there is no slot 9; the last one is 2"), ("stop", None, None)])
        c.wait_event("scale", by="clusterctl")

    def test_texts_say_what_happened(self):
        c = self.quick(policy="[cluster]\nworkers = 2\n")
        self.assertEqual(c.ctl("signal", "CONT"), "signal: sent to 2 workers\n")
        self.assertTrue(c.ctl("reload", "--dry-run").endswith("reload: this was the plan; nothing was changed\n"))
        c.ctl("drain", "1")
        self.assertIn("slot 1 is drained now; to start it again: clusterctl reset 1\n", c.ctl("why", "1"))
        self.assertEqual(self.errors(c, "wait", "ready", "--timeout", "1ms", status=75),
                         "control: timed out: not ready yet; see: clusterctl status\n")
        self.assertEqual(self.errors(c, "roll", "now", status=64), "usage: clusterctl roll\n")

    def test_usage(self):
        for words in ((), ("bogus",), ("scale",), ("status", "now"), ("--bogus",), ("roll", "--color", "x")):
            done = subprocess.run([CLUSTERCTL, *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 64, words)
            self.assertEqual(done.stdout, "")
            self.assertNotEqual(done.stderr, "")
        for word, near in (("stauts", "status"), ("rol", "roll"), ("--timeuot=3s", "--timeout")):
            done = subprocess.run([CLUSTERCTL, word], capture_output=True, text=True, check=False)
            self.assertIn(f"(did you mean {near}?)", done.stderr)
        done = subprocess.run([CLUSTERCTL, "--help"], capture_output=True, text=True, check=True)
        for verb in re.findall(r'VERB\(\w+, +"([^"]+)"',
                               (pathlib.Path(__file__).parents[2] / "cmd/clusterctl/verbs.def").read_text()):
            self.assertRegex(done.stdout, rf"\n  {verb} ")
        self.assertEqual([line for line in done.stdout.splitlines() if len(line) > 80], [])
        self.assertEqual(subprocess.run([CLUSTERCTL, "help"], capture_output=True, text=True, check=True).stdout, done.stdout)

    def test_usage_needs_no_cluster(self):
        """Each of these is refused before anybody is asked: there is nobody."""
        for words, said in ((("scale", "foo"), "N, +N or -N"), (("wait", "foo"), "ready or stopped"),
                            (("drain", "x"), "slot or all"), (("kill", "-1"), "number of a slot"),
                            (("restart", "all"), "number of a slot"), (("signal", "NOPE"), "SIGUSR1"),
                            (("signal", "HUP", "x"), "signal x"), (("reset", "x"), "number of a slot"),
                            (("why", "0x1"), "number of a slot"), (("ends", "x"), "number of a slot"),
                            (("status", "--now"), "status: --now is for stop\n"), (("list", "--no-wait"), "no such option"),
                            (("is-ready", "-f"), "--follow is for events, logs\n"), (("log", "-f"), "did you mean logs?"),
                            (("roll", "--diff"), "--diff is for config\n"), (("roll", "--last", "2"), "--last is for ends\n"),
                            (("scale", ""), "an empty argument: ''; see: clusterctl --help\n"),
                            (("ends", "--last", "x"), "--last"), (("ends", "--last", "0"), "from 1 on"), (("wait",), "ready|stopped"),
                            (("--width", "x", "status"), "columns"),
                            (("--width", "", "status"), "width"), (("--name", "", "status"), "name"),
                            (("roll", "--timeout", "x"), "duration")):
            done = subprocess.run([CLUSTERCTL, "-s", "/nonexistent/a.sock", *words], capture_output=True, check=False,
                                  text=True)
            self.assertEqual((done.returncode, done.stdout), (64, ""), (words, done.stderr))
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_letters_with_a_value(self):
        for words in (("-s/nonexistent/a.sock", "status"), ("-s", "/nonexistent/a.sock", "status"),
                      ("-s=/nonexistent/a.sock", "status"), ("--socket=/nonexistent/a.sock", "status")):
            done = subprocess.run([CLUSTERCTL, *words], capture_output=True, check=False, text=True)
            self.assertEqual((done.returncode, done.stderr), (3, "a: not running (no socket at /nonexistent/a.sock)\n"))

    def test_socket_that_is_none(self):
        for path, what in (("/tmp", "a folder"), (__file__, "a file")):
            for verb in ("status", "roll", "is-ready", "top"):
                done = subprocess.run([CLUSTERCTL, "-s", path, verb], capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stderr),
                                 (64, f"clusterctl: --socket {path}: that is {what}, and no control socket\n"))

    def test_errors_reach_the_terminal_clean(self):
        for raw_name, clean in ((b"a\x1b[2Jb\x9bc", r"a\x1b[2Jb\x9bc"), ("\u00e9\u0085\u20ac".encode(), "\u00e9\\xc2\\x85\u20ac")):
            done = subprocess.run([os.fsencode(CLUSTERCTL), b"-n", raw_name, b"status"], capture_output=True, check=False)
            self.assertEqual(done.returncode, 3)
            self.assertTrue(done.stderr.decode().startswith(f"{clean}: not running"), done.stderr)

    # -- the socket --

    def test_m11_second_server(self):
        c = self.quick()
        done = self.run_clusterd("--name", "two", "-l", "none", "--set", f"control.socket={socket_of(c)}",
                                 "--", "sleep", "1000")
        self.assertEqual(done.returncode, 73, done.stderr)
        self.assertIn(f"in use by process {c.pid}", done.stderr)
        self.assertIn("ready", c.ctl("status"))

    def test_m5_latency_under_attack(self):
        """Clients that never read, never write or vanish; what a status takes meanwhile."""
        c = self.quick(workers=4)
        silent, took = [], []
        for i in range(300):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            try:
                s.connect(socket_of(c))
                s.sendall((b"", b"stat", b"status\n" * 50)[i % 3])
            except OSError:
                pass
            silent.append(s)
            if i % 4 == 0:
                silent.pop(0).close()
            start = time.monotonic()
            raw(c, "status")
            took.append(time.monotonic() - start)
        for s in silent:
            s.close()
        took.sort()
        print(f"status under attack: p50 {took[150] * 1e3:.2f} ms, p99 {took[297] * 1e3:.2f} ms")
        self.assertLess(took[297], 0.2 * SLOW + self.slack())


if __name__ == "__main__":
    unittest.main()
