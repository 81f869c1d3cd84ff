#!/usr/bin/env python3
"""Starts many idle workers, kills all of them at once, and waits until all are replaced.

    python3 tests/bench/scale.py BUILD [--quick]

Each worker reports its start by a byte on a pipe. clusterd and the bare loop take turns. 10,000
workers take 20,000 fds and some to spare: where the hard limit is lower there are as many as fit.
"""
import resource
import statistics
import time

import figures


def turn(make, chosen, count):
    """Seconds to start all, and to replace all."""
    begin = time.monotonic()
    with make(chosen, count, figures.PORT_BASE + 10, [chosen.worker, "idle"]) as supervisor:
        supervisor.started(count)
        start = time.monotonic() - begin
        time.sleep(0.5)  # no part of the figure: the machine is to be quiet
        begin = time.monotonic()
        supervisor.kill_workers()
        supervisor.started(count)
        return start, time.monotonic() - begin


def many():
    return min(10000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1024) // 2)


def main():
    chosen = figures.options(__doc__)
    rows = []
    for count, turns in ((50, 1),) if chosen.quick else ((1000, 3), (many(), 1)):
        took = {figures.clusterd: [], figures.bare: []}
        for _ in range(turns):
            for make, results in took.items():
                results.append(turn(make, chosen, count))
        for at, what in enumerate(("start", "kill, replace")):
            ours, limit = (statistics.median(result[at] for result in took[make]) * 1000
                           for make in (figures.clusterd, figures.bare))
            rows.append([count, what, f"{ours:.0f}", f"{ours * 1000 / count:.0f}", f"{limit:.0f}",
                         f"{ours / limit:.2f}", "≤ 1.3"])
    figures.table("All of them, ms, median", ["workers", "", "clusterd", "us each", "bare loop", "ratio", "goal"], rows)


main()
