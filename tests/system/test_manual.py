"""The examples of clusterd-worker(7): each is taken out of the page, run, asked and stopped."""

import re
import shutil
import socket
import subprocess
import unittest

import harness

PAGE = harness.pathlib.Path(__file__).resolve().parents[2] / "man" / "clusterd-worker.7"
README = PAGE.parents[1] / "README.md"
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


harness.main()
