"""adopt: the server is a child of what is started, and gets the signals nevertheless."""

import contextlib
import json
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
import unittest

import harness

POLICY = "[restart]\ndelay = 50ms\n[stop]\ntimeout = 30s\n"

# It answers when it is asked to end, and then ends.
SERVER = """
import signal, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(100)
c, _ = s.accept()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
c.recv(4096)
c.sendall(b"begun")
c.sendall(signal.Signals(signal.sigwait([signal.SIGTERM, signal.SIGUSR1])).name.encode())
"""

NODE = """
const server = require('http').createServer((request, response) => {
  response.write('begun');
  process.on('SIGTERM', () => { response.end('SIGTERM'); server.close(); });
}).listen(process.env.PORT);
"""


class Wrapped(harness.TestCase):
    def start(self, script, *words):
        c = self.cluster("/bin/sh", "-c", script, "sh", *(words or (sys.executable, "-c", SERVER, "%{port}")),
                         flags=("-a", "-n", 1), policy=POLICY)
        c.announce("upgrade", "worker.exit")
        c.ready(1)
        return c

    def request(self, port):
        """A connection whose request is under way."""
        s = socket.create_connection(("127.0.0.1", port), harness.DEADLINE)
        self.addCleanup(s.close)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"begun" not in text:
            part = s.recv(4096)
            self.assertTrue(part, text)
            text += part
        return s

    def rest(self, s):
        text = b""
        while b"SIG" not in text:
            try:
                part = s.recv(4096)
            except ConnectionError as e:
                self.fail(f"cut: {e}, after {text}")
            self.assertTrue(part, text)
            text += part
        return text.decode()

    def test_it_finishes_what_is_under_way(self):
        c = self.start('"$@"; exit 7')
        request, mark = self.request(c.port), c.mark()
        c.ctl("restart", "0")
        self.assertIn("SIGTERM", self.rest(request))
        self.assertIn(c.wait_event("worker.exit", since=mark).cause, ("restart", "roll"))

    def test_who_waits_for_more_is_asked_too(self):
        c = self.start('"$@"; exec sleep 1000')
        request, mark = self.request(c.port), c.mark()
        c.ctl("restart", "0")
        self.assertIn("SIGTERM", self.rest(request))
        self.assertEqual(c.wait_event("worker.exit", since=mark).signal, "SIGTERM")

    def test_over_an_upgrade(self):
        c = self.start('"$@"; exec sleep 1000')
        request, mark = self.request(c.port), c.mark()
        c.ctl("upgrade")
        c.ctl("restart", "0")
        self.assertIn("SIGTERM", self.rest(request))
        self.assertEqual(c.wait_event("worker.exit", since=mark).signal, "SIGTERM")

    def test_any_signal(self):
        c = self.start('"$@"; exec sleep 1000')
        request = self.request(c.port)
        c.ctl("signal", "USR1", "0")
        self.assertIn("SIGUSR1", self.rest(request))
        self.assertEqual(c.all("worker.exit"), [])

    def test_several_are_the_matter_of_the_first(self):
        c = self.start('trap "exit 9" TERM; "$@" & "$@" & wait')
        c.wait_events(2, "adopt")
        c.kill(signal.SIGTERM)
        self.assertEqual(c.wait_event("worker.exit").code, 9)

    def test_one_after_the_other(self):
        """A wrapper that starts its server anew."""
        c = self.start('"$@"; "$@"')
        first = self.request(c.port)
        c.ctl("signal", "USR1", "0")
        self.assertIn("SIGUSR1", self.rest(first))
        c.wait_events(2, "adopt")
        second = self.request(c.port)
        c.kill(signal.SIGTERM)
        self.assertIn("SIGTERM", self.rest(second))

    def test_a_wrapper_that_ends_alone(self):
        """What it leaves is killed with its group, as ever."""
        c = self.start('"$@"; exit 7')
        request, mark = self.request(c.port), c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.exit", since=mark)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(request.recv(100), b"")

    @unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "node or npm is not installed")
    def test_npm_start(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "package.json").write_text(json.dumps({"name": "x", "version": "1.0.0", "scripts": {"start": "node app.js"}}))
            (folder / "app.js").write_text(NODE)
            port = harness.free_port()
            c = self.cluster("npm", "start", listen=False, env={"PORT": str(port), "HOME": name},
                             flags=("-a", "-n", 1), policy=POLICY + f"[cluster]\ndirectory = {name}\n")
            c.ready(1, deadline=30 * harness.SLOW)
            request = self.request(port)
            c.kill(signal.SIGTERM)
            self.assertIn("SIGTERM", self.rest(request))
            c.wait_event("stop")


harness.main()
