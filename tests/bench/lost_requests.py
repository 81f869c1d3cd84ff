#!/usr/bin/env python3
"""Requests lost while everything is changed: clusterd and its peers in one run.

    python3 tests/bench/lost_requests.py BUILD_FOLDER [--quick | TURNS [PEER_TURNS]]    (0: no peers)

A client of our own (bench_client) numbers each request and never sends one again; 8 clients keep their
connection and 8 use one for each request. Each row is so many restarts (or else) back to back under that
load, with 2 workers; what is lost is told apart by the two kinds, as a worker that closes its kept connections
without a word loses requests whoever supervises it. The peers run one and the same worker, a Node server that ends gracefully, or their own kind
of it; clusterd runs that worker too, and its own app. A peer that is not installed is skipped with
the reason. A figure, never a pass or fail.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
QUICK = "--quick" in sys.argv[2:]
TURNS = 2 if QUICK else int(sys.argv[2]) if len(sys.argv) > 2 else 100
PEER_TURNS = 0 if QUICK else int(sys.argv[3]) if len(sys.argv) > 3 else TURNS
PORT_FIRST = int(os.environ.get("PORT_BASE", "27400"))
CLUSTERD, CLUSTERCTL, APP = (str(BUILD / "cmd" / name / name) for name in ("clusterd", "clusterctl", "app"))
CLIENT = str(BUILD / "tests/bench/bench_client")
PM2 = os.environ.get("PM2") or shutil.which("pm2")
KEEP, ONE_SHOT = 8, 8
ports = iter(range(PORT_FIRST, PORT_FIRST + 100))

SERVER_JS = """
const http = require('http');
const server = http.createServer((request, answer) => {
  let body = '';
  request.on('data', (part) => body += part);
  request.on('end', () => {
    if (ending) answer.setHeader('Connection', 'close');
    answer.setHeader('Content-Length', Buffer.byteLength(body));
    answer.end(body);
  });
});
let ending = false;
function end() {
  ending = true;
  // http's own close would cut connections at rest, and so lose requests under every supervisor.
  require('net').Server.prototype.close.call(server, () => process.exit(0));
  setTimeout(() => server.closeIdleConnections(), 1000);
}
process.on('SIGTERM', end);
process.on('SIGINT', end);
process.on('message', (text) => { if (text === 'shutdown') end(); });
const inherited = process.env.SERVER_STARTER_PORT ? Number(process.env.SERVER_STARTER_PORT.split('=')[1])
  : process.env.LISTEN_FDS ? 3 : 0;
server.listen(inherited ? { fd: inherited } : { port: process.env.PORT, host: '127.0.0.1' }, () => {
  if (process.send) process.send('ready');
  if (process.env.NOTIFY_SOCKET)
    require('child_process').execFile('systemd-notify', ['--ready'], () => {});
});
"""

# The graceful restart that Node's documentation of cluster describes: fork, wait for it to listen, disconnect the old one.
CLUSTER_JS = """
const cluster = require('cluster');
cluster.setupPrimary({ exec: process.argv[2] });
const workers = [cluster.fork(), cluster.fork()];
let listening = 0;
const first = () => { if (++listening === 2) console.log('ready'); };
workers.forEach((worker) => worker.once('listening', first));
process.on('SIGHUP', () => {
  const step = (i) => {
    if (i === workers.length) { console.log('done'); return; }
    const next = cluster.fork();
    next.once('listening', () => {
      const old = workers[i];
      workers[i] = next;
      old.once('exit', () => step(i + 1));
      old.send('shutdown');
      old.disconnect();
    });
  };
  step(0);
});
"""

WSGI = """
def application(environ, start_response):
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
"""

NGINX = """
daemon off; master_process on; worker_processes 2; pid %(dir)s/nginx.pid; error_log %(dir)s/error crit;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000; default_type application/json; client_body_temp_path %(dir)s/1;
  proxy_temp_path %(dir)s/2; fastcgi_temp_path %(dir)s/3; uwsgi_temp_path %(dir)s/4; scgi_temp_path %(dir)s/5;
  server { listen 127.0.0.1:%(port)d backlog=4096; location / { return 200 '{"n":$arg_n}'; } }
}
"""

POLICY = "[cluster]\nworkers = 2\n[ready]\nwhen = %s\nafter = %s\n[stop]\ntimeout = 10s\n"


class Server:
    """Something that serves and can be changed; `again` does it once and waits until it is over."""

    def __init__(self, folder, port):
        self.folder, self.port, self.process = folder, port, None
        (folder / "server.js").write_text(SERVER_JS)

    def begin(self, *command, **options):
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True, **options)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    time.sleep(1)  # both workers
                    return
            time.sleep(0.05)
        raise RuntimeError("it does not listen: " + (self.folder / "log").read_text()[-500:])

    def look(self):
        """What the command for a roll costs when nothing is rolled: part of the load that latency is compared with."""

    def read_log(self):
        return (self.folder / "log").read_text()

    def wait_log(self, text, count):
        deadline = time.monotonic() + 30
        while self.read_log().count(text) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {text!r}")
            time.sleep(0.02)

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return set(pathlib.Path(path).read_text().split())

    def wait_other_children(self, before):
        """Until two workers run, and none of those from before."""
        deadline = time.monotonic() + 60
        while (now := self.children()) & before or len(now) != 2:
            if time.monotonic() > deadline:
                raise RuntimeError("the old workers stay")
            time.sleep(0.02)

    def end(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Clusterd(Server):
    def __init__(self, folder, port, program=None, ready=("notify", "1s")):
        super().__init__(folder, port)
        self.policy = folder / "policy.conf"
        self.text = POLICY % ready
        self.policy.write_text(self.text)
        self.begin(CLUSTERD, "-c", self.policy, "-l", f"127.0.0.1:{port}", "--set", f"control.socket={folder}/sock",
                   "--log-format", "json", "--", *(program or (APP,)))

    def ctl(self, *words, status=0):
        done = subprocess.run([CLUSTERCTL, "-s", f"{self.folder}/sock", *words], capture_output=True, text=True,
                              check=False)
        if done.returncode != status:
            raise RuntimeError(f"{words}: {done.returncode} {done.stdout} {done.stderr}")

    def look(self):
        self.ctl("status")

    def roll(self, turn):
        self.ctl("roll")

    def upgrade(self, turn):
        self.ctl("upgrade")

    def scale(self, turn):
        self.ctl("scale", str((2, 4, 3, 1, 5)[turn % 5]))

    def reload(self, turn):
        """One of two is broken."""
        if turn % 2:
            self.policy.write_text(self.text + ("[nonsense]\n", "[env]\nX = \"open\n", "[listen a]\naddress = 999.1:1\n",
                                                "[cluster]\ndirectory = /nonexistent\n")[turn // 2 % 4] + "\n[\n")
            self.ctl("reload", status=1)
        else:
            self.policy.write_text(self.text + f"[env]\nTURN = {turn}\n")
            self.ctl("reload")


def measure(title, make, action, turns, pause=0.15):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    port = next(ports)
    server = None
    try:
        server = make(folder, port)
        quiet = None
        if action == "roll":
            client = subprocess.Popen([CLIENT, str(port), str(KEEP), str(ONE_SHOT), "4"], stdout=subprocess.PIPE)
            while client.poll() is None:
                server.look()
                time.sleep(pause)
            quiet = json.loads(client.communicate()[0])
        client = subprocess.Popen([CLIENT, str(port), str(KEEP), str(ONE_SHOT), "600"], stdout=subprocess.PIPE)
        time.sleep(0.3)
        begin = time.monotonic()
        for turn in range(turns):
            getattr(server, action)(turn)
            time.sleep(pause)  # room for requests between two turns
        took = time.monotonic() - begin - turns * pause
        time.sleep(0.3)
        client.terminate()
        figures = json.loads(client.communicate()[0])
        kept = figures["lost_kept"]
        how = ", ".join(f"{figures[k]} {k}" for k in ("refused", "reset", "closed", "timeout", "wrong") if figures[k])
        p99 = f"{figures['p99_ms']:7.2f}" + (f" ({figures['p99_ms'] / max(quiet['p99_ms'], 0.001):.2f}x)" if quiet else "")
        print(f"{title:46s} {turns:5d} {figures['sent']:9d} {kept:7d} {figures['lost'] - kept:8d}  {1000 * took / turns:7.0f} ms  "
              f"{p99:16s} {how}", flush=True)
        return figures["sent"], figures["lost"]
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"{title:46s} failed: {str(error)[:300]}", flush=True)
        return 0, 0
    finally:
        if server:
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


# ---- the peers ----

class NodeCluster(Server):
    def __init__(self, folder, port):
        super().__init__(folder, port)
        (folder / "cluster.js").write_text(CLUSTER_JS)
        self.begin("node", "cluster.js", folder / "server.js", env={**os.environ, "PORT": str(port)})
        self.wait_log("ready", 1)

    def roll(self, turn):
        self.process.send_signal(signal.SIGHUP)
        self.wait_log("done", turn + 1)


class Pm2(Server):
    def __init__(self, folder, port):
        super().__init__(folder, port)
        self.env = {**os.environ, "PM2_HOME": str(folder / "pm2"), "PORT": str(port)}
        (folder / "pm2.json").write_text(json.dumps({"apps": [{
            "name": "web", "script": "server.js", "instances": 2, "exec_mode": "cluster", "wait_ready": True,
            "kill_timeout": 10000}]}))
        self.begin(PM2, "start", "pm2.json", env=self.env)

    def roll(self, turn):
        subprocess.run([PM2, "reload", "web"], env=self.env, capture_output=True, check=True, cwd=self.folder)

    def end(self):
        subprocess.run([PM2, "kill"], env=self.env, capture_output=True, check=False, cwd=self.folder)
        self.process.wait()


class Gunicorn(Server):
    def __init__(self, folder, port):
        super().__init__(folder, port)
        (folder / "hello.py").write_text(WSGI)
        self.begin("gunicorn", "-w", "2", "-k", "gthread", "--threads", "16", "-b", f"127.0.0.1:{port}",
                   "--keep-alive", "75", "hello:application")

    def roll(self, turn):
        before = self.children()
        self.process.send_signal(signal.SIGHUP)
        self.wait_other_children(before)


class Starter(Server):
    def __init__(self, folder, port):
        super().__init__(folder, port)
        self.begin("start_server", f"--port=127.0.0.1:{port}", "--interval=1", f"--status-file={folder}/status",
                   f"--pid-file={folder}/pid", "--", "node", "server.js")

    def roll(self, turn):
        subprocess.run(["start_server", f"--pid-file={self.folder}/pid", f"--status-file={self.folder}/status",
                        "--restart"], capture_output=True, check=True)


class Nginx(Server):
    def __init__(self, folder, port):
        super().__init__(folder, port)
        (folder / "nginx.conf").write_text(NGINX % {"dir": folder, "port": port})
        self.begin("nginx", "-p", folder, "-c", folder / "nginx.conf")

    def roll(self, turn):
        before = self.children()
        self.process.send_signal(signal.SIGHUP)
        self.wait_other_children(before)


def main():
    print(f"{'':46s} turns      sent   lost of:          a turn     p99 ms (to quiet)\n{'':46s}                  kept one-shot", flush=True)
    sent = lost = 0
    for title, action, turns, pause in (("clusterd roll", "roll", TURNS, 0.15), ("clusterd upgrade", "upgrade", TURNS, 0.15),
                                        ("clusterd scale", "scale", 10 * TURNS, 0.02),
                                        ("clusterd reload, half of them broken", "reload", TURNS, 0.15)):
        row = measure(title + ", app", Clusterd, action, turns, pause)
        sent, lost = sent + row[0], lost + row[1]
    print(f"{'clusterd, all of them':46s}       {sent:9d} {lost:7d} in both", flush=True)
    if PEER_TURNS == 0:
        return
    if shutil.which("node"):
        measure("clusterd roll, the Node server", lambda f, p: Clusterd(f, p, ("node", "server.js"), ("alive", "300ms")),
                "roll", PEER_TURNS)
    for title, command, make in (("Node cluster, fork then disconnect", "node", NodeCluster), ("PM2 reload", PM2, Pm2),
                                 ("gunicorn HUP (gthread)", "gunicorn", Gunicorn),
                                 ("Server::Starter --restart, the Node server", "start_server", Starter),
                                 ("nginx -s reload", "nginx", Nginx)):
        if command and shutil.which(command):
            measure(title, make, "roll", PEER_TURNS)
        else:
            print(f"{title:46s} skipped: not installed")


with contextlib.suppress(KeyboardInterrupt):
    main()
