#!/usr/bin/env python3
"""Fairness, throughput and what is lost, of clusterd and of others, in one run.

    python3 tests/bench/balance.py BUILD [PART ...] [--quick]      parts: fair keepalive rate adopt harm roll visits

Other servers take part when they are installed: node, nginx, gunicorn, wrk, redis-server. Figures, never a
pass or fail.
"""
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import clients  # noqa: E402

QUICK = "--quick" in sys.argv
WORDS = [word for word in sys.argv[1:] if word != "--quick"]
BUILD = pathlib.Path(WORDS.pop(0) if WORDS else "build").resolve()
CLUSTERD, CLUSTERCTL, APP = (str(BUILD / "cmd" / name / name) for name in ("clusterd", "clusterctl", "app"))
PROBE = str(BUILD / "tests/workers/probe")
CONNECTIONS = int(os.environ.get("CONNECTIONS", "400" if QUICK else "10000"))
SECONDS = int(os.environ.get("SECONDS", "1" if QUICK else "4"))
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="clusterd-bench."))
RUNNING = []

NODE = """
const http = require('http');
const work = Number(process.env.WORK_MS || 0);
const server = http.createServer((q, r) => {
  for (const end = performance.now() + work; performance.now() < end;);
  r.end(String(process.pid));
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.env.PORT));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
"""
# Each process that is required by this has a cgroup of its own with that share of a CPU, so that more of
# them than there are CPUs, and the load, do not take it from each other.
LIMIT = """
const fs = require('fs'), folder = process.env.CPU_CGROUP + '/' + process.pid, period = 10000;
const quota = String(Math.round(period * Number(process.env.CPU_SHARE)));
fs.mkdirSync(folder);
if (fs.existsSync(folder + '/cpu.max')) {
  fs.writeFileSync(folder + '/cpu.max', quota + ' ' + period);
} else {
  fs.writeFileSync(folder + '/cpu.cfs_period_us', String(period));
  fs.writeFileSync(folder + '/cpu.cfs_quota_us', quota);
}
fs.writeFileSync(folder + '/cgroup.procs', String(process.pid));
"""
CLUSTER = """
const cluster = require('cluster');
cluster.schedulingPolicy = process.env.POLICY === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
if (cluster.isPrimary) for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
else require('./app.js');
"""
NGINX = """daemon off; worker_processes %d; user root; pid nginx; events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path b; proxy_temp_path p;
fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; server { listen 127.0.0.1:%d; location / { return 200 '$pid'; } } }
"""
WSGI = """
import os
def app(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, **env):
    process = subprocess.Popen([str(word) for word in command], cwd=FOLDER, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, **{k: str(v) for k, v in env.items()}})
    RUNNING.append(process)
    return process


def stop(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    RUNNING.remove(process)


def wait_for(condition):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("a server did not start")


def ctl(*words):
    return subprocess.run([CLUSTERCTL, "-s", f"{FOLDER}/control", *words], capture_output=True, text=True,
                          check=False, timeout=60).stdout


def clusterd(mode, workers, *program, adopt=False, **env):
    port = free_port()
    process = run(CLUSTERD, "--set", f"control.socket={FOLDER}/control", "--set", "stop.timeout=3s",
                  "-l", f"127.0.0.1:{port}" if not adopt else f"*:{port}", "-b", mode, "-n", workers,
                  *(["-a"] if adopt else []), "--", *program, PORT=port, **env)
    wait_for((FOLDER / "control").exists)
    ctl("wait", "ready")
    return process, port


def others(workers):
    """(name, start function) of each server that is installed."""
    def node(policy):
        port = free_port()
        process = run("node", "cluster.js", PORT=port, POLICY=policy, WORKERS=workers)
        return settle(process, port)

    def nginx():
        port = free_port()
        (FOLDER / "nginx.conf").write_text(NGINX % (workers, port))
        return settle(run("nginx", "-p", FOLDER, "-e", "stderr", "-c", "nginx.conf"), port)

    def gunicorn():
        port = free_port()
        return settle(run("gunicorn", "-w", workers, "-b", f"127.0.0.1:{port}", "app:app"), port)

    def settle(process, port):
        wait_for(lambda: clients.ask(port))
        time.sleep(0.5)  # the other workers have no way to say that they are ready
        return process, port

    found = []
    if shutil.which("node"):
        found += [("Node cluster, round robin", lambda: node("rr")), ("Node cluster, shared", lambda: node("none"))]
    if shutil.which("nginx"):
        found.append(("nginx", nginx))
    if shutil.which("gunicorn"):
        found.append(("gunicorn", gunicorn))
    return found


def ours(workers):
    return [(f"clusterd {mode}", lambda mode=mode: clusterd(mode, workers, PROBE, "ready"))
            for mode in ("round-robin", "hash", "shared")]


def many(port, requests, threads):
    """({pid: connections}, [ms of each]) with so many clients at a time."""
    parts, times, lost = [collections.Counter() for _ in range(threads)], [], [0]

    def client(i):
        for _ in range(requests // threads):
            begun = time.monotonic()
            try:
                parts[i][clients.ask(port)] += 1
            except OSError:
                lost[0] += 1
            times.append(1000 * (time.monotonic() - begun))

    pool = [threading.Thread(target=client, args=(i,)) for i in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return sum(parts, collections.Counter()), times, lost[0]


def p99(times):
    return sorted(times)[int(0.99 * (len(times) - 1))] if times else 0


def spread(counts, workers):
    values = sorted(counts.values(), reverse=True) + [0] * (workers - len(counts))
    ratio = values[0] / values[-1] if values[-1] else float("inf")
    return f"{values[0]:6d} {values[-1]:6d} {ratio:8.4f}"


def fair():
    for workers in (4, 8):
        for threads, load in ((1, "light"), (16, "heavy")):
            print(f"\n{CONNECTIONS} connections over {workers} workers, {load} load ({threads} at a time)")
            print(f"{'':28}{'most':>6} {'least':>6} {'ratio':>8} {'p99 ms':>8}")
            for name, start in ours(workers) + others(workers):
                process, port = start()
                counts, times, _ = many(port, CONNECTIONS, threads)
                print(f"{name:28}{spread(counts, workers)} {p99(times):8.2f}", flush=True)
                stop(process)


def keepalive():
    print("\n64 keep-alive connections over 4 workers: how many each has")
    for name, start in ours(4) + others(4):
        process, port = start()
        held = []
        for _ in range(64):
            s = socket.create_connection(("127.0.0.1", port), 10)
            s.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            answer = b""
            while (body := clients.whole(answer)) is None:
                data = s.recv(4096)
                if not data:
                    body = None
                    break
                answer += data
            held.append((s, body or re.findall(rb"(\d+)\s*$", answer)[0].decode()))
        counts = collections.Counter(pid for _, pid in held)
        for s, _ in held:
            s.close()
        print(f"{name:28}{'/'.join(map(str, sorted(counts.values(), reverse=True)))}")
        stop(process)


def wrk(port, close=False, path="/"):
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"]
    if close:
        command[1:1] = ["-H", "Connection: close"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"Requests/sec:\s*([\d.]+)", out).group(1))


def cpu_seconds(pid):
    """CPU time of a process and all its descendants."""
    total, left = 0, [pid]
    while left:
        one = left.pop()
        text = pathlib.Path(f"/proc/{one}/stat").read_text()
        fields = text[text.rindex(")") + 2:].split()
        total += int(fields[11]) + int(fields[12])
        left += map(int, pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return total / os.sysconf("SC_CLK_TCK")


def per_cpu(port, close=False):
    """Requests per CPU-second of the server: what counts where the load needs a CPU as well."""
    before = cpu_seconds(RUNNING[-1].pid)
    return wrk(port, close) * SECONDS / (cpu_seconds(RUNNING[-1].pid) - before)


def rounds(servers, measure, count=4):
    """{name: median} of interleaved rounds, each server alone on the machine while it is measured."""
    rates = collections.defaultdict(list)
    for _ in range(count):
        for name, start in servers:
            process, port = start()
            rates[name].append(measure(port))
            stop(process)
    return {name: statistics.median(values) for name, values in rates.items()}


def rate():
    found = rounds([(m, lambda m=m: clusterd(m, 2, APP)) for m in ("round-robin", "shared")],
                   lambda port: wrk(port, close=True, path="/get"))
    print(f"\nconnections/s of 2 workers: round-robin {found['round-robin']:.0f}, shared {found['shared']:.0f}, "
          f"ratio {found['round-robin'] / found['shared']:.3f}")


def cpu_cgroup():
    """A folder where cgroups with a share of the CPU can be made, or None."""
    for root in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup"):
        folder = pathlib.Path(root) / f"clusterd-bench.{os.getpid()}"
        try:
            folder.mkdir()
            if not (folder / "cpu.cfs_quota_us").exists():
                (folder / "cgroup.subtree_control").write_text("+cpu")
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        return folder
    return None


def removed(folder):
    """False as long as one of its processes has yet to be reaped."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def limited(start, cgroup):
    def begin():
        (FOLDER / "limit.js").write_text(LIMIT)
        os.environ.update(NODE_OPTIONS=f"--require {FOLDER}/limit.js", CPU_CGROUP=str(cgroup), CPU_SHARE="0.4")
        try:
            return start()
        finally:
            del os.environ["NODE_OPTIONS"]
    return begin


def adopt_limited(servers):
    """Two workers can do twice what one does only where the load and they have CPUs enough, or need so little."""
    cgroup = cpu_cgroup()
    if not cgroup:
        return
    found = rounds([(name, limited(start, cgroup)) for name, start in servers], wrk)
    for folder in *(child for child in cgroup.iterdir() if child.is_dir()), cgroup:
        wait_for(lambda folder=folder: removed(folder))
    tell_adopted("keep-alive, each process with 0.4 CPUs, requests/s", found, 2)


def tell_adopted(title, found, times):
    print(f"\nNode, {title}: alone {found['alone']:.0f}, 2 adopted {found['adopted']:.0f}, Node's "
          f"cluster of 2 {found['cluster']:.0f}; adopted / {times} x alone "
          f"{found['adopted'] / times / found['alone']:.3f}, adopted / cluster "
          f"{found['adopted'] / found['cluster']:.3f}")


def adopt():
    def alone():
        port = free_port()
        process = run("node", "app.js", PORT=port)
        wait_for(lambda: clients.ask(port))
        return process, port

    servers = [("alone", alone), ("adopted", lambda: clusterd("round-robin", 2, "node", "app.js", adopt=True)),
               ("cluster", others(2)[0][1])]
    for title, measure, times, work_ms in (
            ("keep-alive, requests/s", wrk, 2, 0), ("keep-alive, 2 ms of work in each, requests/s", wrk, 2, 2),
            ("keep-alive, requests per CPU-second", per_cpu, 1, 0),
            ("a connection each, requests per CPU-second", lambda port: per_cpu(port, close=True), 1, 0)):
        os.environ["WORK_MS"] = str(work_ms)
        tell_adopted(title, rounds(servers, measure), times)
    os.environ["WORK_MS"] = "0"
    adopt_limited(servers)


def slot_pid(slot):
    for line in ctl("--json", "status").splitlines():
        document = json.loads(line)
        if document.get("slot") == slot and "pid" in document:
            return document["pid"]
    sys.exit("clusterctl names no pid")


def harm():
    process, port = clusterd("round-robin", 4, "node", "app.js", adopt=True)
    victim = slot_pid(2)
    timer = threading.Timer(1, os.kill, (victim, signal.SIGSTOP))
    timer.start()
    _, times, lost = many(port, CONNECTIONS, 8)
    timer.join()
    late = sum(t > 1000 for t in times)
    _, after, lost_after = many(port, 2000, 8)
    print(f"\none of four stopped under load: of {CONNECTIONS} requests {lost} lost, {late} late (> 1 s), longest "
          f"{max(times):.0f} ms; after it was noticed {lost_after} lost, {sum(t > 1000 for t in after)} late of 2000")
    os.kill(victim, signal.SIGCONT)
    stop(process)
    process, port = clusterd("round-robin", 4, PROBE, "ready")
    victim = slot_pid(2)
    os.kill(victim, signal.SIGSTOP)
    waiting = clients.queue(port, 400)  # a fourth of them in its queue
    os.kill(victim, signal.SIGKILL)
    bodies, seconds = clients.answers(waiting)
    print(f"worker killed with 100 connections in its queue: {len(bodies)} of 400 answered, p99 "
          f"{p99([1000 * s for s in seconds]):.1f} ms, longest {1000 * max(seconds):.1f} ms after the kill")
    stop(process)


def roll():
    process, port = clusterd("round-robin", 4, "node", "app.js", adopt=True)
    sent, lost, times, halt = [0], [0], [], threading.Event()

    def client():
        while not halt.wait(0.003):
            begun = time.monotonic()
            sent[0] += 1
            try:
                clients.ask(port)
            except OSError:
                lost[0] += 1
            times.append(1000 * (time.monotonic() - begun))

    pool = [threading.Thread(target=client) for _ in range(4)]
    for thread in pool:
        thread.start()
    ctl("roll")
    halt.set()
    for thread in pool:
        thread.join()
    print(f"\nroll of an unmodified Node app under load: {lost[0]} of {sent[0]} lost, p99 {p99(times):.1f} ms, longest "
          f"{max(times):.1f} ms")
    stop(process)


def visits():
    if not shutil.which("redis-server"):
        return
    redis_port = free_port()
    redis = run("redis-server", "--port", redis_port, "--save", "", "--bind", "127.0.0.1")
    wait_for(lambda: socket.create_connection(("127.0.0.1", redis_port), 1).close() is None)
    process, port = clusterd("round-robin", 4, APP, REDIS_URL=f"redis://127.0.0.1:{redis_port}")
    get = b"GET /visits HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    first = json.loads(clients.ask(port, request=get))["visits"]
    for _ in range(CONNECTIONS):
        last = json.loads(clients.ask(port, request=get))["visits"]
    print(f"\nshared state: 4 workers, {CONNECTIONS} increments, the counter went up by {last - first}")
    stop(process)
    stop(redis)


PARTS = {f.__name__: f for f in (fair, keepalive, rate, adopt, harm, roll, visits)}


def main():
    for name, text in (("app.js", NODE), ("cluster.js", CLUSTER), ("app.py", WSGI)):
        (FOLDER / name).write_text(text)
    try:
        for name in WORDS or (("fair",) if QUICK else PARTS):
            PARTS[name]()
    finally:
        for process in list(RUNNING):
            stop(process)
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()
