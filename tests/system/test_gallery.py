"""config/examples: each policy with the real server it is for.

A row says what the server needs: its files, and its command with paths of the test. All the rest, the
activation, the stop signal and the drain delay, is taken from the example as it stands.
Each serves through two workers, survives kill -9, answers what is under way when a worker leaves,
rolls under load and stops. What a request for /slow waits for is the file `go`.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

import clients
import harness

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "config" / "examples"

WSGI = """
import os, time
def app(environ, start_response):
    while environ["PATH_INFO"] == "/slow" and not os.path.exists("go"):
        time.sleep(0.01)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
ASGI = """
import asyncio, os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while scope["path"] == "/slow" and not os.path.exists("go"):
        await asyncio.sleep(0.01)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
RACK = """
run ->(env) {
  sleep 0.01 until env['PATH_INFO'] != '/slow' || File.exist?('go')
  [200, {'content-type' => 'text/plain'}, [Process.pid.to_s]]
}
"""
PSGI = """
sub {
    select(undef, undef, undef, 0.01) until $_[0]->{PATH_INFO} ne '/slow' || -e 'go';
    [200, ['Content-Type' => 'text/plain', 'Content-Length' => length($$)], [$$]]
};
"""
NODE = """
const fs = require('fs');
const answer = (q, r) => {
  if (q.url !== '/slow' || fs.existsSync('go')) r.end(String(process.pid));
  else setTimeout(answer, 10, q, r);
};
const server = require('http').createServer(answer);
server.listen(%s);
"""
NODE_DRAINS = "process.on('SIGTERM', () => server.close(() => process.exit(0)));\n"
NGINX = """daemon off; worker_processes 1; user root;
events {}
http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u;
scgi_temp_path s; server { listen 0.0.0.0:@PORT@; location / { return 200 '$pid'; }
location = /big { root @FOLDER@; } } }
"""
LIGHTTPD = """server.document-root = "@FOLDER@"
server.systemd-socket-activation = "enable"
server.bind = "0.0.0.0"
server.port = @PORT@
index-file.names = ("index.html")
"""
HAPROXY = """global
 hard-stop-after 5s
defaults
 mode http
 timeout client 5s
 timeout server 5s
 timeout connect 5s
frontend web
 bind fd@3
 http-request return status 200 content-type text/plain string "%[pid]"
"""
PHP = """[global]
error_log = /dev/stderr
daemonize = no
process_control_timeout = 5
[www]
user = root
group = root
listen = 127.0.0.1:@PORT@
pm = static
pm.max_children = 1
"""
GO = """
package main

import ("fmt"; "net/http"; "os"; "time")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, err := os.Stat("go"); r.URL.Path == "/slow" && err != nil; _, err = os.Stat("go") {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprint(w, os.Getpid())
	})
	http.ListenAndServe(os.Args[1], nil)
}
"""
PHP_SLOW = "<?php while (!file_exists(__DIR__ . '/go')) { usleep(10000); clearstatcache(); } echo getmypid();"
BIG = 1 << 24  # more than the buffers of a connection hold
BIG_FILE = {"first": b"GET /big HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", "least": BIG}


def ask_http(port):
    return clients.ask(port)


def ask_redis(port):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(b"INFO server\r\n")
        text = b""
        while b"process_id:" not in text or not text.endswith(b"\r\n"):
            data = s.recv(65536)
            if not data:
                raise ConnectionResetError("closed before the answer")
            text += data
    return text.split(b"process_id:")[1].split()[0].decode()


def record(kind, body):
    return bytes([1, kind, 0, 1, len(body) >> 8, len(body) & 255, 0, 0]) + body


def fastcgi(script):
    """FastCGI 1.0: a request for a script."""
    pairs = b"".join(bytes([len(k), len(v)]) + k + v for k, v in (
        (b"REQUEST_METHOD", b"GET"), (b"SCRIPT_FILENAME", script.encode())))
    return record(1, b"\0\1\0\0\0\0\0\0") + record(4, pairs) + record(4, b"") + record(5, b"")


def ask_fastcgi(port):
    """php-fpm answers `File not found` as well as any."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(fastcgi("/none.php"))
        text = b""
        while data := s.recv(65536):
            text += data
    if b"Status:" not in text and b"Content-type" not in text:
        raise ConnectionResetError("closed before the answer")
    return "an answer"


class UnderWay:
    """A request that is begun, and is to be answered in full whatever becomes of its worker."""

    def __init__(self, port, first=b"GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", then=b"", least=1):
        self.then, self.least = then, least
        self.socket = socket.socket()
        self.socket.settimeout(harness.DEADLINE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(first)

    def finish(self, test):
        with self.socket as s:
            s.sendall(self.then)
            text = bytearray()  # with bytes a large one takes longer than a drain delay
            while data := s.recv(1 << 20):
                text += data
        test.assertTrue(b" 200 OK" in text or b"Content-type" in text, text[:200])
        test.assertGreaterEqual(len(text), self.least)


class Gallery(harness.TestCase):
    def start(self, example, needs, command=None, files=None, ask=ask_http):
        if not shutil.which(needs):
            self.skipTest(f"{needs} is not installed")
        port = harness.free_port()
        self.ask, self.port = ask, port
        text = (EXAMPLES / f"{example}.conf").read_text()
        self.signal = re.search(r"(?m)^signal = (\w+)", text)[1]
        text = re.sub(r"^workers = .*", "workers = 2", text, flags=re.M)
        text = re.sub(r"^(address = .*?)\d+$", rf"\g<1>{port}", text, flags=re.M)
        text = re.sub(r"^directory = .*\n", "", text, flags=re.M)
        if command:
            text = re.sub(r"^command = .*", lambda _: f"command = {command}", text, flags=re.M)

        def write_files():
            for name, content in (files or {}).items():
                path = pathlib.Path(name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(content.replace("@PORT@", str(port)).replace("@FOLDER@", os.getcwd()))

        c = self.cluster(listen=False, policy=text, preexec=write_files)
        c.announce("balance", "listen", "note", "health")
        c.ready(2, deadline=30 * harness.SLOW)
        return c

    def prove(self, c, signal_drains=True, **request):
        for _ in range(20):
            self.assertTrue(self.ask(self.port))
        slots = [slot for slot in map(json.loads, c.ctl("--json", "status").splitlines()) if "handed" in slot]
        self.assertTrue(all(slot["handed"] > 0 for slot in slots), slots)
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.ready", since=mark, slot=0, deadline=30 * harness.SLOW)
        if self.ask is not ask_redis:  # it cuts its clients, and answers each at once
            self.leave(c, signal_drains, request)
        self.roll(c)
        c.baseline = None
        c.kill(signal.SIGTERM)
        self.assertEqual(c.wait(30 * harness.SLOW), 0)
        self.assertEqual(c.all("worker.escalate"), [])

    def leave(self, c, signal_drains, request):
        """A worker with a request under way is replaced: each of two has one."""
        waiting = [UnderWay(self.port, **request) for _ in range(2)]
        mark = c.mark()
        c.ctl("restart", "0", "--no-wait")
        # For a program that dies of the signal there is the drain delay, which begins with an event as well.
        drains = {"signal": self.signal} if signal_drains else {}
        c.wait_event("worker.stop", since=mark, slot=0, deadline=30 * harness.SLOW, **drains)
        (c.folder / "go").touch()
        for one in waiting:
            one.finish(self)
        c.ctl("wait", "ready")

    def roll(self, c):
        asked, lost, halt = [0], [], threading.Event()

        def run():
            while not halt.wait(0.005):
                try:
                    asked[0] += 1
                    self.ask(self.port)
                except OSError as error:
                    lost.append(error)

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            c.ctl("roll", deadline=60 * harness.SLOW)
        finally:
            halt.set()
            for thread in threads:
                thread.join()
        self.assertGreater(asked[0], 10)
        self.assertEqual(lost, [], f"of {asked[0]}")

    def test_node(self):
        self.prove(self.start("node", "node", files={"app.js": NODE % "{ fd: 3 }" + NODE_DRAINS}))

    def test_express(self):
        # The very express app is in test_adopt; what matters here is listen(PORT), and no handler of SIGTERM.
        self.prove(self.start("express", "node", files={"app.js": NODE % "process.env.PORT || 1337"}), signal_drains=False)

    def test_gunicorn(self):
        self.prove(self.start("gunicorn", "gunicorn", files={"app.py": WSGI}))

    def test_uvicorn(self):
        self.prove(self.start("uvicorn", "uvicorn", files={"app.py": ASGI}))

    def test_puma(self):
        self.prove(self.start("puma", "puma", files={"config.ru": RACK}))

    def test_unicorn(self):
        self.prove(self.start("unicorn", "unicorn", files={"config.ru": RACK}))

    def test_nginx(self):
        self.prove(self.start("nginx", "nginx", "nginx -p . -e stderr -c nginx.conf -g 'pid nginx-%{slot};'",
                              {"nginx.conf": NGINX, "big": "x" * BIG}), **BIG_FILE)

    def test_lighttpd(self):
        self.prove(self.start("lighttpd", "lighttpd", "lighttpd -D -f lighttpd.conf",
                              {"lighttpd.conf": LIGHTTPD, "index.html": "an answer", "big": "x" * BIG}), **BIG_FILE)

    def test_haproxy(self):
        self.prove(self.start("haproxy", "haproxy", "haproxy -db -f haproxy.cfg", {"haproxy.cfg": HAPROXY}),
                   first=b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n", then=b"\r\n")

    def test_starman(self):
        self.prove(self.start("starman", "starman", files={"app.psgi": PSGI}))

    def test_php_fpm(self):
        c = self.start("php-fpm", "php-fpm8.2", "php-fpm8.2 -R -F -y fpm.conf",
                       {"fpm.conf": PHP, "slow.php": PHP_SLOW}, ask=ask_fastcgi)
        self.prove(c, first=fastcgi(f"{c.folder}/slow.php"))

    def test_python_http(self):
        self.prove(self.start("python-http", "python3", f"{sys.executable} -m http.server %{{port}}",
                              {"big": "x" * BIG}), signal_drains=False, **BIG_FILE)

    def test_redis(self):
        self.prove(self.start("redis", "redis-server", ask=ask_redis))

    def test_go(self):
        if not shutil.which("go"):
            self.skipTest("go is not installed")
        folder = pathlib.Path(harness.CLUSTERD).resolve().parent / "go-app"
        folder.mkdir(exist_ok=True)
        (folder / "main.go").write_text(GO)
        subprocess.run(["go", "build", "-o", folder / "web", folder / "main.go"], check=True, timeout=120,
                       env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(folder.parent / "go-cache")})
        self.prove(self.start("go", "go", f"{folder}/web :%{{port}}"), signal_drains=False)


harness.main()
