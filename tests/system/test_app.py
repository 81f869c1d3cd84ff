#!/usr/bin/env python3
"""app over real sockets: what it answers, what it refuses, and how it ends.

    APP=path/of/app python3 tests/system/test_app.py [Class.test]
"""
import contextlib
import ctypes
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

APP = os.environ.get("APP", "app")
HOST = "Host: h\r\n"
GET = "GET /get HTTP/1.1\r\n" + HOST
POST = "POST /post HTTP/1.1\r\n" + HOST
JSON = "Content-Type: application/json\r\n"
PATIENCE = 15  # seconds any one wait may take


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.005)
    raise AssertionError(f"gave up waiting for {what}")


def stat(pid, index):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[index]


def cpu(pid):
    """What it has used so far, in ticks of 10 ms."""
    return int(stat(pid, 11)) + int(stat(pid, 12))


def switches(pid):
    with open(f"/proc/{pid}/status") as f:
        return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", f.read())))


class Late(Exception):
    """The test itself was held up for longer than app waits: that shows nothing."""


@contextlib.contextmanager
def soon(seconds=0.8, since=None):
    """Around what must be done before a limit of app ends; it waits a second while it stops."""
    begin = since or time.monotonic()
    try:
        yield
    finally:
        if time.monotonic() - begin > seconds:
            raise Late


def again_if_late(test):
    @functools.wraps(test)
    def run(*words):
        for _ in range(20):
            with contextlib.suppress(Late):
                return test(*words)
        raise AssertionError("this machine is never quick enough for it")
    return run


class App:
    """One app on a listener of our own, or on what `env` says."""

    def __init__(self, listeners=None, env=None, nofile=None, own_port=False):
        self.folder = tempfile.mkdtemp(prefix="test_app.")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.folder + "/notify")
        self.notify.settimeout(PATIENCE)
        self.listeners = listeners or []
        if not listeners and not own_port:
            self.listeners = [socket.create_server(("127.0.0.1", 0), backlog=4096)]
        clean = {k: v for k, v in os.environ.items() if k not in ("PORT", "REDIS_URL")}
        clean["NOTIFY_SOCKET"] = self.folder + "/notify"
        clean.update(env or {})
        fds = [s.fileno() for s in self.listeners]
        self.errors = open(self.folder + "/stderr", "w+b")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.dup2(self.errors.fileno(), 2)
                high = [os.dup(fd) for fd in fds]
                for i, fd in enumerate(high):
                    os.dup2(fd, 3 + i)
                os.closerange(3 + len(fds), 4096)
                for i in range(len(fds)):
                    os.set_inheritable(3 + i, True)
                if fds:
                    clean["LISTEN_FDS"] = str(len(fds))
                    clean.setdefault("LISTEN_PID", str(os.getpid()))
                if nofile:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
                os.execvpe(APP, ["app"], clean)
            finally:
                os._exit(127)
        self.status = None
        self.asked = False

    def ready(self):
        self.expect("READY=1")
        return self

    def expect(self, state):
        got = self.notify.recv(100).decode()
        assert got == state, got

    @property
    def address(self):
        return self.listeners[0].getsockname()

    def connect(self, address=None):
        address = address or self.address
        family = socket.AF_UNIX if isinstance(address, (str, bytes)) else (
            socket.AF_INET6 if len(address) == 4 else socket.AF_INET)
        s = socket.socket(family)
        s.settimeout(PATIENCE)
        s.connect(address)
        return s

    def signal(self, number):
        self.asked = self.asked or number in (signal.SIGTERM, signal.SIGINT)
        os.kill(self.pid, number)

    def halt(self):
        """From now on as a process that gets no CPU, until SIGCONT."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: stat(self.pid, 0) == "T", "app to stand still")

    def wait(self):
        def ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid
        if self.status is None:
            wait_for(ended, "the end of app")
        return self.status

    def stderr(self):
        with open(self.folder + "/stderr") as f:
            return f.read()

    def close(self):
        early = None
        if self.status is None:
            early = not self.asked and stat(self.pid, 0) == "Z" and (self.stderr() or "without a word")
            self.signal(signal.SIGKILL)
            self.wait()
        for s in self.listeners:
            s.close()
        self.notify.close()
        self.errors.close()
        shutil.rmtree(self.folder)
        assert not early, f"app ended with {self.status}: {early}"


class Reply:
    """One answer, read from a socket's file."""

    def __init__(self, file, head=False):
        line = file.readline().decode()
        if not line:
            raise EOFError
        self.status = int(line.split()[1])
        self.headers = {}
        while (line := file.readline().decode().rstrip("\r\n")):
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        size = int(self.headers.get("content-length", 0))
        self.body = b"" if head or self.status == 100 else file.read(size)

    def json(self):
        return json.loads(self.body)
    closes = property(lambda self: self.headers.get("connection") == "close")


def ask(app, text, head=False, address=None):
    """Sends bytes on a connection of their own; returns the first answer."""
    with app.connect(address) as s, s.makefile("rb") as f:
        s.sendall(text.encode("latin1") if isinstance(text, str) else text)
        return Reply(f, head)


class Case(unittest.TestCase):
    def start(self, *args, **kwargs):
        app = App(*args, **kwargs)
        self.addCleanup(app.close)
        return app.ready()


class Shared(Case):
    """One app for all tests of a class."""
    @classmethod
    def setUpClass(cls):
        cls.app = App(env={"CLUSTERD_SLOT": "3", "APP_TIMEOUT_MS": "120000"}).ready()

    @classmethod
    def tearDownClass(cls):
        cls.app.close()

    def ask(self, text, head=False):
        return ask(self.app, text, head)

    def is_error(self, reply, status):
        self.assertEqual(reply.status, status)
        self.assertEqual(reply.headers["content-type"], "application/json")
        self.assertEqual(reply.json()["status"], status)
        self.assertTrue(reply.json()["message"])


class Answers(Shared):
    def test_get(self):
        reply = self.ask(GET + "\r\n")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.json()["pid"], self.app.pid)
        self.assertEqual(reply.json()["slot"], 3)
        self.assertEqual(reply.headers["x-pid"], str(self.app.pid))
        self.assertRegex(reply.headers["date"], r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")

    def test_head(self):
        with self.app.connect() as s, s.makefile("rb") as f:
            s.sendall(("HEAD /get HTTP/1.1\r\n" + HOST + "\r\n" + GET + "\r\n").encode())
            head, get = Reply(f, head=True), Reply(f)
        self.assertEqual(head.headers["content-length"], get.headers["content-length"])
        self.assertEqual(get.status, 200)

    def test_post(self):
        for body in ("{}", "[1,2.5,true,null]", '"x"', '{"a":{"b":["c"]}}'):
            reply = self.ask(f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n{body}")
            self.assertEqual((reply.status, reply.body.decode()), (200, body))

    def test_post_of_the_largest_body(self):
        body = '"' + "a" * (100 * 1024 - 2) + '"'
        reply = self.ask(f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n{body}")
        self.assertEqual((reply.status, reply.body.decode()), (200, body))

    def test_chunked(self):
        reply = self.ask(POST + JSON + "Transfer-Encoding: chunked\r\n\r\n"
                         "1\r\n[\r\n3;x=y\r\n1,2\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n")
        self.assertEqual((reply.status, reply.body), (200, b"[1,2]"))

    def test_error_keeps_the_connection_when_the_framing_is_known(self):
        with self.app.connect() as s, s.makefile("rb") as f:
            s.sendall((POST + "Content-Length: 5\r\n\r\nhello" + POST + JSON +
                       "Content-Length: 1\r\n\r\n[" + GET + "\r\n").encode())
            self.assertEqual([Reply(f).status for _ in range(3)], [415, 400, 200])

    def test_keep_alive_and_close(self):
        for version, header, closes in (("1.1", "", False), ("1.1", "close", True),
                                        ("1.0", "", True), ("1.0", "keep-alive", False)):
            with self.subTest(version=version, header=header):
                field = f"Connection: {header}\r\n" if header else ""
                with self.app.connect() as s, s.makefile("rb") as f:
                    request = f"GET /get HTTP/{version}\r\n{HOST}{field}\r\n".encode()
                    s.sendall(request)
                    reply = Reply(f)
                    self.assertEqual(reply.closes, closes)
                    if closes:
                        self.assertEqual(f.read(), b"")
                    else:
                        s.sendall(request)
                        self.assertEqual(Reply(f).status, 200)

    def test_pipelining(self):
        """A thousand requests in one go: a thousand answers, in order."""
        requests, bodies = [], []
        for i in range(1000):
            body = str(i)
            requests.append(f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n{body}")
            bodies.append(body)
        with self.app.connect() as s, s.makefile("rb") as f:
            sender = threading.Thread(target=s.sendall, args=("".join(requests).encode(),))
            sender.start()
            self.assertEqual([Reply(f).body.decode() for _ in bodies], bodies)
            sender.join()

    def test_pipelining_to_a_client_that_reads_late(self):
        """The answers exceed all buffers: app stops reading, then goes on."""
        count = 80000  # 13 MB, more than the socket buffers of both sides hold
        with self.app.connect() as s, s.makefile("rb") as f:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

            def send():  # piece by piece: the patience of the socket is for each
                for _ in range(count // 1000):
                    s.sendall((GET + "\r\n").encode() * 1000)
            sender = threading.Thread(target=send)
            sender.start()
            sender.join(0.5)
            for _ in range(count):
                self.assertEqual(Reply(f).status, 200)
            sender.join()

    def test_byte_by_byte(self):
        with self.app.connect() as s, s.makefile("rb") as f:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in (POST + JSON + "Content-Length: 5\r\n\r\n[1,2]").encode():
                s.sendall(bytes([byte]))
            self.assertEqual(Reply(f).body, b"[1,2]")

    def test_expect(self):
        with self.app.connect() as s, s.makefile("rb") as f:
            s.sendall((POST + JSON + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n").encode())
            self.assertEqual(Reply(f).status, 100)
            s.sendall(b"{}")
            self.assertEqual(Reply(f).body, b"{}")
        for extra, status in ((JSON + "Content-Length: 200000\r\n", 413),
                              ("Content-Length: 2\r\n", 415)):
            reply = self.ask(POST + extra + "Expect: 100-continue\r\n\r\n")
            self.assertEqual((reply.status, reply.closes), (status, True))

    @again_if_late
    def test_refusal_reaches_a_client_that_still_sends(self):
        """No reset destroys the 413 while the body is on its way."""
        with self.app.connect() as s, s.makefile("rb") as f, soon(1.8):
            s.sendall((POST + JSON + "Content-Length: 5000000\r\n\r\n").encode())
            s.sendall(b"a" * 200000)
            s.sendall(b"a" * 200000)
            self.assertEqual(Reply(f).status, 413)

    def test_half_closed_client_is_answered(self):
        with self.app.connect() as s, s.makefile("rb") as f:
            s.sendall((GET + "\r\n").encode())
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(Reply(f).status, 200)
            self.assertEqual(f.read(), b"")

    def test_zz_nothing_is_left(self):
        """After all of the above (and clients that vanish) no descriptor remains."""
        for text in (b"", b"GET", (POST + "Content-Length: 9\r\n\r\n").encode()):
            with self.app.connect() as s:
                s.sendall(text)
        wait_for(lambda: not sockets(self.app.pid), "the last connection to go")


def sockets(pid):
    """Connected TCP sockets of a process: its sockets minus listeners and unix ones."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if link.startswith("socket:"):
            inodes.add(link[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[9] in inodes and fields[3] != "0A":
                    found.append(fields)
    return found


class Limits(Case):
    def test_slow_clients_are_ended(self):
        app = self.start(env={"APP_TIMEOUT_MS": "400", "APP_IDLE_MS": "900"})
        for text, status in (("", None), ("GET /g", 408), (GET, 408),
                             (POST + JSON + "Content-Length: 9\r\n\r\n[", 408)):
            app.halt()  # the limit begins when all of it is there
            with self.subTest(text=text), app.connect() as s, s.makefile("rb") as f:
                s.sendall(text.encode())
                begin = time.monotonic()
                app.signal(signal.SIGCONT)
                data = f.read()
                self.assertGreater(time.monotonic() - begin, 0.3)
                self.assertLess(time.monotonic() - begin, 3)
                self.assertEqual(int(data.split()[1]) if data else None, status)

    def test_a_trickle_does_not_renew_the_limit(self):
        app = self.start(env={"APP_TIMEOUT_MS": "500"})
        app.halt()
        with app.connect() as s:
            s.sendall(b"GET /get?")
            app.signal(signal.SIGCONT)
            begin = time.monotonic()
            s.settimeout(0.05)
            while True:
                self.assertLess(time.monotonic() - begin, 5)
                try:
                    self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 408 "))
                    break
                except TimeoutError:
                    with contextlib.suppress(ConnectionError):  # its answer is there all the same
                        s.sendall(b"a")

    def test_idle_connection_ends(self):
        app = self.start(env={"APP_IDLE_MS": "400"})
        with app.connect() as s, s.makefile("rb") as f:
            begin = time.monotonic()
            s.sendall((GET + "\r\n").encode())
            self.assertEqual(Reply(f).status, 200)
            self.assertEqual(f.read(), b"")
            self.assertLess(time.monotonic() - begin, 4)
            self.assertGreater(time.monotonic() - begin, 0.3)

    def test_client_that_does_not_read_is_ended(self):
        app = self.start(env={"APP_TIMEOUT_MS": "500"})
        with app.connect() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with self.assertRaises(ConnectionError):
                while True:
                    s.sendall((GET + "\r\n").encode() * 1000)
            wait_for(lambda: not sockets(app.pid), "the end of the connection")

    def test_clients_that_never_read_cost_little(self):
        """Each pipelines until it can not go on; app holds one batch of answers for each."""
        count = 10
        # What a sanitizer keeps of freed memory is not app's.
        quiet = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
        app = self.start(env={"ASAN_OPTIONS": quiet.lstrip(":")})
        ask(app, GET + "\r\n")
        before, held = self.rss(app.pid), []
        body = '"' + "a" * 100000 + '"'
        text = f"{POST}{JSON}Content-Length: {len(body)}\r\n\r\n{body}".encode() * 4
        try:
            for _ in range(count):
                s = app.connect()
                held.append(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.settimeout(0.1)
                with self.assertRaises(TimeoutError):
                    while True:
                        s.sendall(text)
            each = (self.rss(app.pid) - before) / count
            print(f"\n{count} clients that never read: {each:.0f} bytes each")
            self.assertLess(each, 400 * 1024)
            self.assertEqual(ask(app, GET + "\r\n").status, 200)
        finally:
            for s in held:
                s.close()
        wait_for(lambda: not sockets(app.pid), "the connections to end")

    def test_ten_thousand_idle_connections(self):
        count = 10000
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < count + 200:
            self.skipTest(f"only {hard} descriptors allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        app = self.start(env={"APP_IDLE_MS": "600000", "APP_TIMEOUT_MS": "600000"})
        ask(app, GET + "\r\n")
        before = self.rss(app.pid)
        held = []
        try:
            for i in range(count):
                s = app.connect()
                held.append(s)
                if i % 2:  # half of them have been served, half never spoke
                    s.sendall((GET + "\r\n").encode())
            for s in held[1::2]:
                self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
            wait_for(lambda: len(os.listdir(f"/proc/{app.pid}/fd")) > count, "all to be accepted")
            each = (self.rss(app.pid) - before) / count
            print(f"\n{count} idle connections: {each:.0f} bytes each")
            self.assertLess(each, 8192)
            begin, used = time.monotonic(), cpu(app.pid)
            self.assertEqual(ask(app, GET + "\r\n").status, 200)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertLess(cpu(app.pid) - used, 20)
        finally:
            for s in held:
                s.close()
        wait_for(lambda: len(os.listdir(f"/proc/{app.pid}/fd")) < 100, "all to be closed")

    @staticmethod
    def rss(pid):
        return int(stat(pid, 21)) * resource.getpagesize()

    def test_out_of_descriptors_does_not_spin(self):
        app = self.start(nofile=32)
        held = [app.connect() for _ in range(60)]
        try:
            wait_for(lambda: "Too many open files" in app.stderr(), "the complaint")
            used = cpu(app.pid)
            time.sleep(1)
            self.assertLess(cpu(app.pid) - used, 10)
            self.assertEqual(app.stderr().count("Too many open files"), 1)
        finally:
            for s in held:
                s.close()
        self.assertEqual(ask(app, GET + "\r\n").status, 200)

    def test_no_wake_ups_while_idle(self):
        app = self.start()
        ask(app, GET + "\r\n")
        wait_for(lambda: not sockets(app.pid), "the connection to end")

        wait_for(lambda: stat(app.pid, 0) == "S", "app to sleep")
        before = switches(app.pid)
        time.sleep(1.5)
        self.assertEqual(switches(app.pid), before)


class Stopping(Case):
    def test_idle(self):
        app = self.start()
        app.signal(signal.SIGTERM)
        app.expect("STOPPING=1")
        self.assertEqual(app.wait(), 0)

    def test_sigint(self):
        app = self.start()
        app.signal(signal.SIGINT)
        self.assertEqual(app.wait(), 0)

    @again_if_late
    def test_what_is_under_way_is_answered(self):
        app = self.start()
        with app.connect() as started, started.makefile("rb") as f, \
                app.connect() as kept, kept.makefile("rb") as g:
            kept.sendall((GET + "\r\n").encode())
            self.assertEqual(Reply(g).status, 200)
            started.sendall((POST + JSON + "Content-Length: 5\r\n\r\n[").encode())
            ask(app, GET + "\r\n")  # by now the others have been read
            with soon():
                app.signal(signal.SIGTERM)
                app.expect("STOPPING=1")
                kept.sendall((GET + "\r\n").encode())
            reply = Reply(g)  # on an idle connection: one more, then it closes
            self.assertEqual((reply.status, reply.closes), (200, True))
            self.assertEqual(g.read(), b"")
            started.sendall(b"1,2]")
            reply = Reply(f)
            self.assertEqual((reply.body, reply.closes), (b"[1,2]", True))
            self.assertEqual(f.read(), b"")
        self.assertEqual(app.wait(), 0)

    @again_if_late
    def test_queued_connections_are_served(self):
        """Connected, but not yet accepted when the signal comes: all are answered."""
        app = self.start()
        app.halt()
        held = [app.connect() for _ in range(200)]
        for s in held[:150]:
            s.sendall((GET + "\r\n").encode())
        with soon():
            app.signal(signal.SIGTERM)
            app.signal(signal.SIGCONT)
            app.expect("STOPPING=1")
            for s in held[150:]:  # these speak only after the signal
                s.sendall((GET + "\r\n").encode())
        for s in held:
            with s, s.makefile("rb") as f:
                self.assertEqual(Reply(f).status, 200)
        self.assertEqual(app.wait(), 0)

    def test_idle_connections_do_not_hold_it_up(self):
        app = self.start()
        with app.connect() as silent, app.connect() as kept, kept.makefile("rb") as f:
            kept.sendall((GET + "\r\n").encode())
            Reply(f)
            begin = time.monotonic()
            app.signal(signal.SIGTERM)
            self.assertEqual(app.wait(), 0)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertEqual(silent.recv(1), b"")
            self.assertEqual(f.read(), b"")

    def go_on(self, app):
        """It has looked at its timers when this returns."""
        before = switches(app.pid)
        app.signal(signal.SIGCONT)
        wait_for(lambda: switches(app.pid) > before and stat(app.pid, 0) in "SZ", "app to have looked")

    @again_if_late
    def test_a_limit_that_passed_while_app_stood_still_is_none(self):
        """The client may have stood still as well: it sends its request when both go on."""
        app = self.start()
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall((GET + "\r\n").encode())
            self.assertFalse(Reply(f).closes)
            with soon():
                app.signal(signal.SIGTERM)
                app.expect("STOPPING=1")
                app.halt()
            time.sleep(1.3)
            with soon():
                self.go_on(app)
                s.sendall((GET + "\r\n").encode())
            self.assertTrue(Reply(f).closes)
        self.assertEqual(app.wait(), 0)

    def test_a_request_that_came_while_app_stood_still_is_answered(self):
        for drains, limit in ((False, "1000"), (True, "60000")):
            with self.subTest(drains=drains):
                self.answered_after_a_halt(drains, limit)

    @again_if_late
    def answered_after_a_halt(self, drains, limit):
        app = self.start(env={"APP_IDLE_MS": limit})
        with app.connect() as s, s.makefile("rb") as f:
            with soon():
                s.sendall((GET + "\r\n").encode())
                self.assertFalse(Reply(f).closes)
                if drains:
                    app.signal(signal.SIGTERM)
                    app.expect("STOPPING=1")
                app.halt()
            time.sleep(1.3)
            with soon():
                self.go_on(app)  # the limit starts once more, and then not again
                app.halt()
            s.sendall((GET + "\r\n").encode())
            time.sleep(1.3)
            app.signal(signal.SIGCONT)
            self.assertEqual(Reply(f).closes, drains)
        if drains:
            self.assertEqual(app.wait(), 0)

    def test_an_empty_line_begins_no_request(self):
        """RFC 9112 2.2: some clients send one behind a body. The connection is idle all the same."""
        app = self.start(env={"APP_IDLE_MS": "1000"})
        text = (POST + JSON + "Content-Length: 2\r\n\r\n{}\r\n").encode()
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall(text)
            self.assertEqual(Reply(f).status, 200)
            begin = time.monotonic()
            self.assertEqual(f.read(), b"")  # the idle limit, and no 408
            self.assertLess(time.monotonic() - begin, 5)
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall(text)
            self.assertEqual(Reply(f).status, 200)
            ask(app, GET + "\r\n")  # by now the empty line has been read
            begin = time.monotonic()
            app.signal(signal.SIGTERM)
            self.assertEqual(app.wait(), 0)
            self.assertLess(time.monotonic() - begin, 5)

    def test_second_signal_ends_it_at_once(self):
        app = self.start()
        with app.connect() as s:
            s.sendall(b"GET /")
            ask(app, GET + "\r\n")
            app.signal(signal.SIGTERM)
            app.expect("STOPPING=1")
            app.signal(signal.SIGTERM)
            self.assertEqual(app.wait(), -signal.SIGTERM)

    def test_nothing_is_lost_when_workers_change_under_load(self):
        """Two workers on one socket; one after the other is replaced."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)  # else each dup() makes it block under the workers that have it
        workers = [self.start([listener.dup()]) for _ in range(2)]
        address, stop, counts, failures = listener.getsockname(), threading.Event(), [], []

        def client(keep):
            count = 0
            try:
                while not stop.is_set():
                    rests = time.monotonic()
                    with socket.create_connection(address, PATIENCE) as s, s.makefile("rb") as f, \
                            contextlib.suppress(Late):
                        while not stop.is_set():
                            with soon(since=rests):  # else a worker that stops has ended it rightly
                                s.sendall((GET + "\r\n").encode())
                            reply, rests = Reply(f), time.monotonic()
                            count += reply.status == 200
                            if reply.closes or not keep:
                                break
            except (OSError, EOFError) as error:
                failures.append(repr(error))
            counts.append(count)
        threads = [threading.Thread(target=client, args=(i % 2,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for i in range(6):
            workers.append(self.start([listener.dup()]))
            workers[i].signal(signal.SIGTERM)
            self.assertEqual(workers[i].wait(), 0)
        stop.set()
        for thread in threads:
            thread.join()
        listener.close()
        self.assertEqual(failures, [])
        self.assertGreater(min(counts), 0)


class Start(Case):
    def copies(self, app):
        """What another process gets that takes each socket of app to look at it, as a clusterd does with orphans."""
        pidfd_getfd = 438  # on every architecture
        pidfd = os.pidfd_open(app.pid)
        self.addCleanup(os.close, pidfd)
        sockets = [int(fd) for fd in os.listdir(f"/proc/{app.pid}/fd")
                   if os.readlink(f"/proc/{app.pid}/fd/{fd}").startswith("socket:")]
        found = [ctypes.CDLL(None, use_errno=True).syscall(pidfd_getfd, pidfd, fd, 0) for fd in sockets]
        for fd in found:
            self.addCleanup(os.close, fd)
        return found

    def test_a_connection_that_another_process_holds_too(self):
        """What app has closed stays in an epoll set as long as it is open elsewhere, and goes on to have events."""
        app = self.start()
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall((GET + "\r\n").encode())
            self.assertFalse(Reply(f).closes)
            before = len(os.listdir(f"/proc/{app.pid}/fd"))
            if min(self.copies(app)) < 0:
                self.skipTest("descriptors of another process can not be had here")
            s.sendall((GET + "Connection: close\r\n\r\n").encode())
            self.assertTrue(Reply(f).closes)
            wait_for(lambda: len(os.listdir(f"/proc/{app.pid}/fd")) < before, "app to close it")
            used = cpu(app.pid)
            s.sendall(b"more")
            for _ in range(20):
                self.assertEqual(ask(app, GET + "\r\n").status, 200)
            time.sleep(0.5)
            self.assertLess(cpu(app.pid) - used, 20)  # it does not spin either

    def test_several_sockets(self):
        path = tempfile.mkdtemp(prefix="test_app.")
        self.addCleanup(shutil.rmtree, path)
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path + "/s")
        unix.listen()
        four = socket.create_server(("127.0.0.1", 0))
        six = socket.create_server(("::1", 0), family=socket.AF_INET6)
        app = self.start([four, six, unix])
        for s in (four, six, unix):
            self.assertEqual(ask(app, GET + "\r\n", address=s.getsockname()).status, 200)

    def test_environment_of_another_process_is_ignored(self):
        app = self.start(env={"LISTEN_PID": "1", "PORT": "0"})
        port = int(re.search(r"port (\d+)", app.stderr()).group(1))
        self.assertEqual(ask(app, GET + "\r\n", address=("127.0.0.1", port)).status, 200)

    def test_own_port_on_both_families(self):
        app = self.start(own_port=True, env={"PORT": "0"})
        port = int(re.search(r"port (\d+)", app.stderr()).group(1))
        self.assertEqual(ask(app, GET + "\r\n", address=("127.0.0.1", port)).status, 200)
        self.assertEqual(ask(app, GET + "\r\n", address=("::1", port, 0, 0)).status, 200)

    def test_abstract_notify_socket(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            name = f"test_app.{os.getpid()}"
            s.bind("\0" + name)
            s.settimeout(PATIENCE)
            app = App(env={"NOTIFY_SOCKET": "@" + name})
            self.addCleanup(app.close)
            self.assertEqual(s.recv(100), b"READY=1")

    def test_watchdog(self):
        app = App(env={"WATCHDOG_USEC": "200000"})
        self.addCleanup(app.close)
        app.expect("READY=1")
        begin = time.monotonic()
        for _ in range(3):
            app.expect("WATCHDOG=1")
        self.assertLess(time.monotonic() - begin, 2)
        other = self.start(env={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
        other.notify.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            other.notify.recv(100)

    def fails(self, status, words, **kwargs):
        app = App(**kwargs)
        self.addCleanup(app.close)
        self.assertEqual(app.wait(), status)
        self.assertRegex(app.stderr(), words)

    def test_what_can_not_be_served_is_said(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            self.fails(73, "port " + port + ": bind: Address already in use",
                       own_port=True, env={"PORT": port})
        self.fails(64, "PORT is not a number", own_port=True, env={"PORT": "http"})
        self.fails(64, "fd 3 is no listening", listeners=[socket.socket()])
        self.fails(64, "REDIS_URL", env={"REDIS_URL": "http://x"})

    def test_options(self):
        for arguments, status, words in ((["-V"], 0, r"^app \d+\.\d+\.\d+, libuv"),
                                         (["-h"], 0, "usage: app"), (["-x"], 64, "^$"),
                                         (["extra"], 64, "^$")):
            done = subprocess.run([APP] + arguments, capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, status)
            self.assertRegex(done.stdout, words)


if __name__ == "__main__":
    unittest.main(verbosity=1)
