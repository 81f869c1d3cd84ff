#!/usr/bin/env python3
"""How long an upgrade takes over, and how soon status is answered, idle and under attack.

    python3 tests/bench/control.py BUILD_FOLDER [TURNS] [--quick]

Takeover: from the moment the old clusterd stops looking at its events until the new one looks at them,
as the log says (after_us), with 4 and with 1,000 workers; beside it the limit, execve(2) of a program with the
same libraries that carries nothing. Status: connect, one request line, read to the end;
the attackers hold dead connections, send half lines, garbage and lines of 1 MB. A figure, never a pass or fail.
"""
import atexit
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

QUICK = "--quick" in sys.argv
WORDS = [word for word in sys.argv[1:] if word != "--quick"]
BUILD = pathlib.Path(WORDS[0] if WORDS else "build")
TURNS = int(WORDS[1]) if len(WORDS) > 1 else 2 if QUICK else 100
CLUSTERD = str(BUILD / "cmd/clusterd/clusterd")
BARE_EXEC = str(BUILD / "tests/bench/bare_exec")
CLUSTERCTL = str(BUILD / "cmd/clusterctl/clusterctl")
PORT = int(os.environ.get("PORT_BASE", "27500"))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Clusterd:
    def __init__(self, workers):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.socket = f"{self.folder}/sock"
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [CLUSTERD, "-n", str(workers), "-l", f"127.0.0.1:{PORT}", "--log-format", "json", "--set", "ready.when=alive",
                 "--set", "ready.after=0", "--set", f"control.socket={self.socket}", "--", "/bin/sleep", "100000"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.process.terminate)  # whatever ends us
        self.ctl("wait", "ready")

    def ctl(self, *words):
        deadline = time.monotonic() + 60
        while subprocess.run([CLUSTERCTL, "-s", self.socket, *words], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{words}: " + self.log.read_text()[-1000:])
            time.sleep(0.05)

    def upgrades(self):
        """after_us of every upgrade so far."""
        events = [json.loads(line) for line in self.log.read_text().splitlines() if '"upgrade"' in line]
        return [event["after_us"] for event in events if event.get("event") == "upgrade"]

    def status_ms(self):
        begin = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.socket)
            s.sendall(b"status\n")
            text = b""
            while b'"done":true' not in text:
                part = s.recv(65536)
                if not part:
                    raise RuntimeError("closed: " + text.decode()[-300:])
                text += part
        return 1000 * (time.perf_counter() - begin)

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def takeover(workers, turns):
    """In turns with the limit, so that both meet the same machine."""
    c = Clusterd(workers)
    limit = []
    for _ in range(turns):
        c.ctl("upgrade")
        limit += subprocess.run([BARE_EXEC, "2"], capture_output=True, check=True).stdout.split()
    took = c.upgrades()
    c.end()
    limit = percentile([int(us) for us in limit], 0.5)
    print(f"takeover, {workers:5d} workers {len(took):5d} upgrades   p50 {percentile(took, 0.5) / 1000:7.2f} ms   "
          f"p99 {percentile(took, 0.99) / 1000:7.2f} ms   max {max(took) / 1000:7.2f} ms   "
          f"bare exec {limit / 1000:.2f} ms, {percentile(took, 0.5) / limit:.2f} times that", flush=True)


def dead(c, halt):
    held = []
    while not halt.is_set():
        try:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(0.05)
            s.connect(c.socket)
            held.append(s)
        except OSError:
            s.close()
        if len(held) > 250:
            held.pop(random.randrange(len(held))).close()
        time.sleep(0.001)


def hostile(payload):
    def attack(c, halt):
        while not halt.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(0.2)
                    s.connect(c.socket)
                    s.sendall(payload())
                    s.recv(4096)
            except OSError:
                pass
            time.sleep(0.002)
    return attack


def status(c, title, attackers, turns):
    halt = threading.Event()
    threads = [threading.Thread(target=attack, args=(c, halt)) for attack in attackers]
    for thread in threads:
        thread.start()
    time.sleep(1 if attackers else 0.1)
    took, refused = [], 0
    while len(took) < turns and refused < turns:
        try:
            took.append(c.status_ms())
        except (OSError, RuntimeError):
            refused += 1
        time.sleep(0.002)
    halt.set()
    for thread in threads:
        thread.join()
    if took:
        print(f"status, {title:24s} {len(took):5d} answers    p50 {percentile(took, 0.5):7.3f} ms   "
              f"p99 {percentile(took, 0.99):7.3f} ms   max {max(took):7.3f} ms   refused {refused}", flush=True)
    else:
        print(f"status, {title}: no answer at all", flush=True)


def main():
    takeover(4, TURNS)
    takeover(50 if QUICK else 1000, max(TURNS // 5, 5))
    c = Clusterd(4)
    status(c, "idle", [], 10 * TURNS)
    attackers = {"dead connections": dead, "half lines": hostile(lambda: b"stat"),
                 "garbage": hostile(lambda: bytes(random.randrange(256) for _ in range(500)) + b"\n"),
                 "lines of 1 MB": hostile(lambda: b"x" * 1_000_000), "a flood of requests": hostile(lambda: b"version\n" * 100)}
    for title, attack in attackers.items():
        status(c, title, [attack], 5 * TURNS)
    status(c, "all of these at once", list(attackers.values()), 5 * TURNS)
    c.end()


main()
