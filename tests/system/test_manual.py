"""The examples of clusterd-worker(7): each is taken out of the page, run, asked and stopped.

And METRICS of clusterd(8): what is served is of the type and has the labels that the page tells. And sentences of the
pages that no other test holds.
"""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

import harness

PAGE = harness.pathlib.Path(__file__).resolve().parents[2] / "man" / "clusterd-worker.7"
README = PAGE.parents[1] / "README.md"
DAEMON = (PAGE.parent / "clusterd.8").read_text(encoding="utf-8")
WATCH = (PAGE.parent / "clusterd-runbook.7").read_text(encoding="utf-8").split(".Sh WHAT TO WATCH\n")[1].split("\n.Sh ")[0]
EXAMPLES = dict(re.findall(r'^\.\\" example (\w+)\n\.Bd [^\n]*\n(.*?)^\.Ed$', PAGE.read_text(encoding="utf-8"),
                           flags=re.M | re.S))


def source(language):
    """The example as a reader of the page types it."""
    return EXAMPLES[language].replace("\\e", "\\")


class Manual(harness.TestCase):
    def setUp(self):
        self.folder = harness.pathlib.Path(harness.tempfile.mkdtemp(prefix="manual-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def write(self, language, name):
        path = self.folder / name
        path.write_text(source(language), encoding="utf-8")
        return str(path)

    def serve(self, *program, ready="notify", env=None):
        c = self.cluster(*program, flags=("-n", "2"), env=env,
                         policy=f"[ready]\nwhen = {ready}\ntimeout = 30s\n[stop]\ntimeout = 10s\n")
        self.assertEqual({e.how for e in c.ready(2, deadline=30 * harness.SLOW)}, {ready})
        answers = set()
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", c.port), harness.DEADLINE) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                answer = b""
                while chunk := s.recv(4096):
                    answer += chunk
            self.assertIn(b"200 OK", answer)
            answers.add(re.search(rb"worker (\d)\n", answer).group(1))
        self.assertLessEqual(answers, {b"0", b"1"})
        self.assertEqual(c.stop(), 0)
        ends = c.all("worker.exit")
        self.assertEqual([(e.code, bool(e.asked)) for e in ends], [(0, True), (0, True)])

    def test_every_language_is_there(self):
        self.assertEqual(set(EXAMPLES), {"c", "node", "python", "go", "ruby"})

    def test_c(self):
        path = self.write("c", "worker.c")
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", f"{self.folder}/worker", path], check=True)
        self.serve(f"{self.folder}/worker")

    def test_python(self):
        self.serve("/usr/bin/python3", self.write("python", "worker.py"))

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_node(self):
        self.serve("node", self.write("node", "worker.js"), ready="fd")

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_node_answers_who_keeps_a_connection(self):
        self.kept("node", self.write("node", "worker.js"), flags=("-n", "1"), policy="[ready]\nwhen = fd\n")

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_node_of_the_readme(self):
        text = README.read_text(encoding="utf-8")
        snippet = re.search(r"^```js\n(.*?)^```", text, flags=re.M | re.S).group(1)
        path = self.folder / "worker.js"
        path.write_text("const http = require('http');\n"
                        "const app = (request, response) => response.end('hello');\n" + snippet, encoding="utf-8")
        self.kept("node", str(path), flags=("-n", "1"), policy="[ready]\nwhen = alive\n")

    def kept(self, *program, flags, policy):
        """Connections at rest: after its stop signal the worker answers one request more on each."""
        c = self.cluster(*program, flags=flags, policy=policy + "timeout = 30s\n[stop]\ntimeout = 10s\n")
        c.ready(1, deadline=30 * harness.SLOW)
        old = [harness.Connection(c.port) for _ in range(16)]
        for connection in old:
            self.assertEqual(connection.get("/")[0], 200)
        mark = c.mark()
        rolling = subprocess.Popen([harness.CLUSTERCTL, "-s", str(c.socket), "roll"], stdout=subprocess.DEVNULL)
        c.wait_event("worker.stop", since=mark, deadline=30 * harness.SLOW)
        for connection in old:
            told = False
            while not told:  # as long as it has not acted on its signal it goes on as before
                status, headers, _ = connection.get("/")
                self.assertEqual(status, 200)
                told = headers["connection"].lower() == "close"
        self.assertEqual(rolling.wait(30 * harness.SLOW), 0)
        self.assertEqual(c.all("worker.escalate"), [])
        self.assertEqual(c.stop(), 0)

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_every_node_is_a_primary(self):
        """As clusterd-runbook(7) says of code that is made for Node's own cluster."""
        script = self.folder / "worker.js"
        script.write_text("console.log('primary', require('cluster').isPrimary ?? require('cluster').isMaster);\nsetInterval(() => {}, 1000);\n")
        c = self.cluster("node", str(script), flags=("-n", "2"))
        c.wait_lines(2, "primary true")

    @unittest.skipUnless(shutil.which("go"), "go is not installed")
    def test_go(self):
        path = self.write("go", "worker.go")
        subprocess.run(["go", "build", "-o", f"{self.folder}/worker", path], check=True, timeout=120,
                       env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod",
                            "CGO_ENABLED": "0"})
        self.serve(f"{self.folder}/worker")

    @unittest.skipUnless(shutil.which("ruby"), "ruby is not installed")
    def test_ruby(self):
        self.serve("ruby", self.write("ruby", "worker.rb"))

    # ---- METRICS of clusterd(8) ----

    def watched(self, *program):
        """A cluster, and a function that gets (status, type, text) of a path of its metrics."""
        port = harness.free_port()
        c = self.cluster(*program, flags=("-n", "2"), policy=f"[metrics]\nlisten = 127.0.0.1:{port}\n[ready]\nwhen = notify\n")

        def get(path, **headers):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=harness.DEADLINE) as answer:
                    return answer.status, answer.headers["Content-Type"], answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers["Content-Type"], error.read().decode()

        return c, get

    def test_metrics(self):
        c, get = self.watched(harness.PROBE, "ready")
        c.ready(2)
        self.assertEqual((get("/readyz")[0], get("/healthz")[0]), (200, 200))
        _, kind, text = get("/metrics", Accept="text/plain;version=0.0.4")
        self.assertEqual(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, flags=re.M))
        labels = {family: set() for family in types}
        for name, row in re.findall(r"^(\w+)\{(.*)\} ", text, flags=re.M):
            family = next(f for f in sorted(types, reverse=True) if name.startswith(f))
            labels[family] |= set(re.findall(r'(\w+)="', row)) - {"le", family}
        told = {}
        for part in DAEMON.split(".Sh METRICS\n")[1].split("\n.Sh ")[0].split("\n.It Cm ")[1:]:
            by = re.search(r"^\.Pq by Va (.*)$", part, flags=re.M)
            told[part.split()[0]] = (part.split()[2], set(by.group(1).split(" , ")) if by else set())
        # Those two have rows where each slot has a queue of its own: test_balance.py.
        self.assertEqual([labels.pop(family) for family in ("clusterd_worker_handed", "clusterd_worker_backlog")], [set()] * 2)
        self.assertEqual({family: (types[family], labels.get(family, {"slot"})) for family in types}, told)
        watched = re.findall(r"\b(clusterd_\w+)(?:\{(.*?)\})?", WATCH)
        self.assertGreater(len(watched), 6)
        for name, labels in watched:
            self.assertRegex(text, rf"(?m)^{name}(\{{.*{labels}.*\}})? " if labels else rf"(?m)^{name}[ {{]")

    def test_not_ready(self):
        c, get = self.watched(harness.PROBE)
        c.wait_events(2, "worker.start")
        self.assertEqual((get("/readyz")[0], get("/healthz")[0]), (503, 200))

    def test_up_with_one_that_ends(self):
        c = self.sh("[ $CLUSTERD_SLOT = 0 ] || exit 1; exec sleep 1000", flags=("-n", "2"),
                    policy="[ready]\nwhen = alive\nafter = 2s\n")
        c.announce("worker.exit")
        up = c.wait_event("up")
        self.assertEqual((up.ready, up.workers), (1, 2))
        self.assertGreaterEqual(up.after_ms, 2000)
        c.ctl("is-ready", status=1)

    def test_forms_of_the_log(self):
        """What begins a line, as EVENTS says it, and the lines of a worker between."""
        script = "echo out; echo err >&2; exec sleep 1000"
        time, level = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "(error|warn|info|debug)"
        for form, start, lines in (
                ("text", rf"{time} clusterd web: |web\[0\] (out|err)$", ("web[0] out", "web[0] err")),
                ("logfmt", rf"time={time} level={level} event=[\w.]+ name=web ",
                 ('slot=0 stream=out line="out"', 'slot=0 stream=err line="err"')),
                ("json", rf'{{"v":1,"time":"{time}","level":"{level}","event":"[\w.]+","name":"web",',
                 ('"slot":0,"stream":"out","line":"out"', '"slot":0,"stream":"err","line":"err"'))):
            log = self.folder / form
            c = self.cluster("/bin/sh", "-c", script, flags=("-n", "1", "--log-format", form),
                             policy=f"[log]\nfile = {log}\noutput = capture\n[ready]\nwhen = alive\nafter = 0\n")
            harness.eventually(lambda log=log, lines=lines: log.exists() and all(line in log.read_text() for line in lines), lines)
            self.assertEqual([line for line in log.read_text().splitlines() if not re.match(start, line)], [], start)
            self.assertEqual(c.stop(), 0)

    # ---- clusterd.conf(5) ----

    def test_ready_command(self):
        """It is run again 250 ms after a no, as the page says with what, and in the directory of the worker."""
        script = "echo $CLUSTERD_SLOT $CLUSTERD_WORKER_PID $PORT $MARK $PWD >>said && test $(wc -l <said) -ge 3"
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"), env={"MARK": "ours"},
                         policy=f"[cluster]\ndirectory = {self.folder}\n[ready]\nwhen = command\ncommand = /bin/sh -c '{script}'\n")
        (ready,) = c.ready(1)
        self.assertEqual(ready.how, "command")
        self.assertGreaterEqual(ready.after_ms, 500)
        said = (self.folder / "said").read_text().splitlines()
        self.assertEqual(said, [f"0 {ready.pid} {c.port} ours {self.folder}"] * 3)

    def test_ready_command_that_takes_too_long(self):
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"),
                         policy="[health]\ntimeout = 200ms\n[ready]\nwhen = command\n"
                                "command = /bin/sh -c 'test -e tried || exec /bin/sh -c \"touch tried && exec sleep 1000\"'\n")
        self.assertGreaterEqual(c.ready(1)[0].after_ms, 450)

    def test_when_all_slots_are_empty(self):
        for when, script, status in (("on-failure", "exit 0", 0), ("on-abnormal", "exit 0", 0),
                                     ("on-abnormal", "exit $CLUSTERD_SLOT", 69), ("never", "exit 0", 0)):
            c = self.sh(script, flags=("-n", "2"), policy=f"[ready]\nwhen = alive\nafter = 0\n[restart]\nwhen = {when}\n")
            c.announce("worker.exit", "give_up", "stop")
            c.expected_status = status
            self.assertEqual(c.wait(), status, (when, script))
            self.assertEqual(c.all("stop")[0].reason, "finished")

    def test_status_is_cut(self):
        c = self.cluster(harness.PROBE, "notify=STATUS=" + "x" * 300, "ready", flags=("-n", "1"), policy="[ready]\nwhen = notify\n")
        c.ready(1)
        self.assertIn(f'"status":"{"x" * 255}"', c.ctl("--json", "status"))

    # ---- clusterctl(1) ----

    def test_what_fills_a_drained_slot(self):
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "2"), policy="[ready]\nwhen = notify\n")
        c.ready(2)
        for words in ("reset", "1"), ("scale", "2"), ("roll",):
            c.ctl("drain", "1")
            c.ctl("is-ready", status=1)
            c.ctl(*words)
            harness.eventually(lambda: len(c.workers()) == 2, words)
            c.ctl("wait", "ready")
        c.baseline = None

    def test_fields(self):
        """What JSON of the page lists for each kind of line is what such a line has."""
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "2", "-b", "round-robin?"), policy="[ready]\nwhen = notify\n")
        c.announce("worker.exit", "balance")
        c.ready(2)
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_events(3, "worker.ready")
        lines = [json.loads(line) for words in (("status",), ("ends",), ("why", "0"), ("version",), ("config",), ("metrics",),
                                                ("roll",), ("events",)) for line in c.ctl("--json", *words).splitlines()]
        part = PAGE.with_name("clusterctl.1").read_text(encoding="utf-8").split(".Sh JSON\n")[1].split("\n.Sh ")[0]
        told = {kind: set(re.findall(r"[a-z_]+", text)) for kinds, text in re.findall(r"^\.It Va (.*)\n((?:(?!\.It|\.El).*\n)+)", part, flags=re.M)
                for kind in kinds.split(" , ")}
        sometimes = {"due_in_ms", "left_out_ms", "roll_waits", "roll_generation", "roll_done", "roll_back", "workers_policy",
                     "policy_back", "roll_pause_ms"}
        for kind in ("cluster", "listener", "slot", "end", "why", "version", "config", "metrics"):
            fields = set().union(*(line for line in lines if line.get("kind") == kind)) - {"v", "kind"}
            self.assertEqual(fields - told[kind] - (told["slot"] if kind in ("end", "why") else set()), set(), kind)
            self.assertEqual({word for word in told[kind] if "_" in word} - fields - sometimes, set(), kind)
        self.assertLessEqual({line.get("kind") for line in lines}, {*told, None})
        c.baseline = None  # the roll has made places for more workers

    def test_the_end_of_waiting(self):
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "1"), policy="[ready]\nwhen = notify\n")
        c.ready(1)
        wait = subprocess.Popen([harness.CLUSTERCTL, "-s", c.socket, "wait", "stopped"], stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
        harness.eventually(lambda: any("socket:" in what for what in harness.fds(wait.pid).values()), "it has asked")
        wait.send_signal(signal.SIGINT)
        self.assertIn("detached", wait.communicate(timeout=harness.DEADLINE)[1])
        self.assertEqual(wait.returncode, 75)
        c.ctl("is-ready")

    def on_a_terminal(self, c, term):
        """What `clusterctl status` shows on one of this type."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(harness.CLUSTERCTL, ["clusterctl", "-s", str(c.socket), "status"], {"TERM": term} if term else {})
        shown = b""
        try:
            while more := os.read(terminal, 65536):
                shown += more
        except OSError:
            pass
        os.close(terminal)
        os.waitpid(pid, 0)
        return shown

    def test_colours(self):
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "1"), policy="[ready]\nwhen = notify\n")
        c.ready(1)
        self.assertIn(b"\x1b[", self.on_a_terminal(c, "xterm"))
        for term in "dumb", "":
            shown = self.on_a_terminal(c, term)
            self.assertIn(b"1 of 1 ready", shown)
            self.assertNotIn(b"\x1b[", shown)


harness.main()
