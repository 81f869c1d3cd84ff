#!/usr/bin/env python3
"""app and its Redis: a counter that no worker keeps, and what it says without one.

    APP=path/of/app python3 tests/system/test_visits.py [Class.test]
"""
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import harness
from test_app import GET, HOST, PATIENCE, Case, Reply, ask, wait_for


@unittest.skipUnless(shutil.which("redis-server"), "needs redis-server")
class Visits(Case):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="test_app.")
        self.addCleanup(shutil.rmtree, self.folder)
        self.socket = self.folder + "/redis"
        self.redis = None
        self.addCleanup(self.stop_redis)

    def start_redis(self, *more):
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
             "--save", "", "--appendonly", "yes", "--appendfsync", "always", *more],
            stdout=subprocess.DEVNULL)
        wait_for(self.answers, "Redis")

    def answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(self.socket)
                s.sendall(b"PING\r\n")
                return s.recv(10)
            except OSError:
                return None

    def stop_redis(self):
        if self.redis:
            self.redis.kill()
            self.redis.wait()
            self.redis = None

    def start_app(self, listeners=None):
        return self.start(listeners, env={"REDIS_URL": "unix:" + self.socket})

    def visit(self, app):
        return ask(app, "GET /visits HTTP/1.1\r\n" + HOST + "\r\n")

    def test_away_and_back(self):
        app = self.start_app()
        reply = self.visit(app)
        self.assertEqual((reply.status, reply.json()["message"]), (503, "Redis is away"))
        self.start_redis()
        wait_for(lambda: self.visit(app).status == 200, "a first visit")
        count = self.visit(app).json()["visits"]
        self.stop_redis()
        self.assertEqual(self.visit(app).status, 503)
        self.assertEqual(ask(app, GET + "\r\n").status, 200)
        os.unlink(self.socket)
        self.start_redis()
        wait_for(lambda: self.visit(app).status == 200, "a visit after the return")
        self.assertGreater(self.visit(app).json()["visits"], count)

    @unittest.skipIf(harness.SLOW > 1, "a sanitizer needs address space")
    def test_an_address_needs_no_thread(self):
        """Where there can be none, as with too many processes, a resolver would end the app."""
        app = self.start(env={"REDIS_URL": "redis://127.0.0.1:1"})
        used = int(harness.status_field(app.pid, "VmSize").split()[0]) * 1024
        limit = resource.prlimit(app.pid, resource.RLIMIT_AS)
        resource.prlimit(app.pid, resource.RLIMIT_AS, (used + (1 << 20), limit[1]))
        for _ in range(2):
            self.assertEqual(self.visit(app).status, 503)
        self.assertEqual(ask(app, GET + "\r\n").status, 200)

    def test_hung_redis_costs_a_second(self):
        self.start_redis()
        app = self.start_app()
        self.assertEqual(self.visit(app).status, 200)
        os.kill(self.redis.pid, signal.SIGSTOP)
        begin = time.monotonic()
        self.assertEqual(self.visit(app).status, 503)
        self.assertLess(time.monotonic() - begin, 3)
        os.kill(self.redis.pid, signal.SIGCONT)
        wait_for(lambda: self.visit(app).status == 200, "a visit after the pause")

    def test_over_tcp_with_password_and_database(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        self.start_redis("--port", str(port), "--requirepass", "se@cret")
        for url, status in ((f"redis://:se%40cret@localhost:{port}/2", 200),
                            (f"redis://:wrong@127.0.0.1:{port}", 503),
                            (f"redis://:se%40cret@127.0.0.1:{port}/99", 503),
                            (f"redis://127.0.0.1:{port}", 503),
                            ("redis://127.0.0.1:1", 503)):
            with self.subTest(url=url):
                app = self.start(env={"REDIS_URL": url})
                self.assertEqual(self.visit(app).status, status)

    def test_pipelined_visits_keep_their_order(self):
        self.start_redis()
        app = self.start_app()
        with app.connect() as s, s.makefile("rb") as f:
            visit = "GET /visits HTTP/1.1\r\n" + HOST + "\r\n"
            s.sendall((visit + GET + "\r\n" + visit + GET + "Connection: close\r\n\r\n").encode())
            bodies = [Reply(f).json() for _ in range(4)]
            self.assertEqual((bodies[0], bodies[2]), ({"visits": 1}, {"visits": 2}))
            self.assertEqual((bodies[1]["pid"], bodies[3]["pid"]), (app.pid, app.pid))
            self.assertEqual(f.read(), b"")

    def test_head(self):
        """Counts as GET does, and has the length of the body that is not sent."""
        self.start_redis()
        app = self.start_app()
        head = "HEAD /visits HTTP/1.1\r\n" + HOST
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall((head + "\r\nGET /visits HTTP/1.1\r\n" + HOST + "\r\n").encode())
            reply = Reply(f, head=True)
            self.assertEqual((reply.status, reply.headers["content-length"]), (200, "12"))
            self.assertEqual(Reply(f).json(), {"visits": 2})
        self.stop_redis()
        for _ in range(2):  # the connection to Redis breaks, then it is known to be away
            with app.connect() as s, s.makefile("rb") as f:
                s.sendall((head + "Connection: close\r\n\r\n").encode())
                self.assertEqual(Reply(f, head=True).status, 503)
                self.assertEqual(f.read(), b"")

    def test_close_does_not_reset_the_answer_away(self):
        """What came while the visit was under way is not read, but does no harm either."""
        self.start_redis()
        app = self.start_app()
        self.assertEqual(self.visit(app).status, 200)
        os.kill(self.redis.pid, signal.SIGSTOP)
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall(("GET /visits HTTP/1.1\r\n" + HOST + "Connection: close\r\n\r\n").encode())
            ask(app, GET + "\r\n")  # by now the visit has been read
            s.sendall((GET + "\r\n").encode())
            ask(app, GET + "\r\n")
            os.kill(self.redis.pid, signal.SIGCONT)
            self.assertEqual(Reply(f).json(), {"visits": 2})
            self.assertEqual(f.read(), b"")

    def test_a_client_that_is_gone_while_its_visit_is_under_way(self):
        """The answer before the visit finds the connection reset; the count comes to nobody."""
        self.start_redis()
        app = self.start_app()
        self.assertEqual(self.visit(app).status, 200)
        os.kill(self.redis.pid, signal.SIGSTOP)
        app.signal(signal.SIGSTOP)
        for ahead in (0, 1, 64):
            with app.connect() as s:
                s.sendall((ahead * (GET + "\r\n") + "GET /visits HTTP/1.1\r\n" + HOST + "\r\n").encode())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        app.signal(signal.SIGCONT)
        self.assertEqual(ask(app, GET + "\r\n").status, 200)  # those before it have been read
        os.kill(self.redis.pid, signal.SIGCONT)
        wait_for(lambda: self.visit(app).status == 200, "a visit after those of nobody")
        self.assertEqual(ask(app, GET + "\r\n").status, 200)

    def test_visit_under_way_is_answered_while_stopping(self):
        self.start_redis()
        app = self.start_app()
        self.assertEqual(self.visit(app).status, 200)
        os.kill(self.redis.pid, signal.SIGSTOP)
        with app.connect() as s, s.makefile("rb") as f:
            s.sendall(("GET /visits HTTP/1.1\r\n" + HOST + "\r\n").encode())
            ask(app, GET + "\r\n")
            app.signal(signal.SIGTERM)
            app.expect("STOPPING=1")
            os.kill(self.redis.pid, signal.SIGCONT)
            reply = Reply(f)
            self.assertEqual((reply.json(), reply.closes), ({"visits": 2}, True))
        self.assertEqual(app.wait(), 0)

    def test_four_processes_lose_no_count(self):
        self.start_redis("--appendfsync", "no")
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        for _ in range(4):
            self.start_app([listener.dup()])
        seen, lock = [], threading.Lock()

        def client():
            mine = []
            with socket.create_connection(listener.getsockname(), PATIENCE) as s, \
                    s.makefile("rb") as f:
                for _ in range(125):
                    s.sendall(("GET /visits HTTP/1.1\r\n" + HOST + "\r\n").encode() * 10)
                    mine += [Reply(f).json()["visits"] for _ in range(10)]
            with lock:
                seen.extend(mine)
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listener.close()
        self.assertEqual(sorted(seen), list(range(1, 10001)))


if __name__ == "__main__":
    unittest.main(verbosity=1)
