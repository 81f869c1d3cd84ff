#!/usr/bin/env python3
"""Requests per second of the app under clusterd and of the same app started by hand on one socket.

    python3 tests/bench/throughput.py BUILD [--quick]        needs wrk

Both run all the time and are asked in turns.
"""
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys

import figures

WORKERS = 2


@contextlib.contextmanager
def by_hand(chosen, port):
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        command = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0"'
        workers = [subprocess.Popen(["/bin/sh", "-c", command, chosen.app], pass_fds=[listener.fileno()],
                                    stdin=subprocess.DEVNULL) for _ in range(WORKERS)]
    try:
        yield [worker.pid for worker in workers]
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def ask(port, seconds, header, pids):
    """(requests per second, requests per CPU second of the workers)"""
    before = cpu_s(pids)
    out = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", *header, f"http://127.0.0.1:{port}/get"],
                         stdout=subprocess.PIPE, check=True, text=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return rate, requests / max(cpu_s(pids) - before, 0.01)


def main():
    chosen = figures.options(__doc__)
    if not shutil.which("wrk"):
        print("wrk is not installed")
        sys.exit(77)
    seconds, turns = (1, 1) if chosen.quick else (3, 7)
    port = figures.PORT_BASE + 50
    rows = []
    with figures.clusterd(chosen, WORKERS, port, [chosen.app]) as ours, by_hand(chosen, port + 1) as hand:
        figures.wait_port(port)
        figures.wait_port(port + 1)
        for way, header in (("keep-alive", []), ("one request each", ["-H", "Connection: close"])):
            results = {port: [], port + 1: []}
            for at in range(turns):
                for where in (port, port + 1) if at % 2 == 0 else (port + 1, port):
                    results[where].append(ask(where, seconds, header, ours.workers() if where == port else hand))
            for what, name in enumerate(("requests/s", "requests per CPU s")):
                mine, other = (statistics.median(result[what] for result in results[at]) for at in (port, port + 1))
                rows.append([way, name, f"{mine:.0f}", f"{other:.0f}", f"{mine / other:.3f}", "≥ 0.98"])
    figures.table(f"{WORKERS} workers, median of {turns} turns", ["", "", "clusterd", "by hand", "ratio", "goal"], rows)


main()
