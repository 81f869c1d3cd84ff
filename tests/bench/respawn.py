#!/usr/bin/env python3
"""From the SIGKILL of a worker until its replacement has answered a request.

    python3 tests/bench/respawn.py BUILD [--quick]

clusterd and the bare loop have one worker of the same kind each, and are killed in turns.
"""
import subprocess

import figures

LIFE_MS = 60


def measure(chosen, kills, program):
    port = figures.PORT_BASE
    with figures.clusterd(chosen, 1, port, program, "restart.stable=20ms"), \
            figures.bare(chosen, 1, port + 1, program):
        figures.wait_port(port)
        figures.wait_port(port + 1)
        out = subprocess.run([chosen.clock, str(kills), str(LIFE_MS), f"clusterd={port}", f"bare={port + 1}"],
                             stdout=subprocess.PIPE, check=True, text=True).stdout
    took = {}
    for line in out.splitlines():
        name, us = line.split()
        took.setdefault(name, []).append(float(us))
    return took


def main():
    chosen = figures.options(__doc__)
    kills = 10 if chosen.quick else 200
    took = measure(chosen, kills, [chosen.worker])
    rows = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ours, limit = (figures.percentile(took[who], share) for who in ("clusterd", "bare"))
        rows.append([name, f"{ours:.0f}", f"{limit:.0f}", f"{ours / limit:.2f}", "≤ 1.15"])
    figures.table(f"SIGKILL to the next answer, us, {kills} kills", ["", "clusterd", "bare loop", "ratio", "goal"], rows)


main()
