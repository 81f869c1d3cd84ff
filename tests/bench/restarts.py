#!/usr/bin/env python3
"""Very many restarts: neither an fd nor a byte more.

    python3 tests/bench/restarts.py BUILD [--quick]

The workers end as soon as they have started. What is compared comes after a warm-up.
"""
import time

import figures


def fds(supervisor):
    """The fewest of many looks: a worker that comes or goes has some of its own."""
    return min(supervisor.fds() for _ in range(50))


def main():
    chosen = figures.options(__doc__)
    count, warm, more = (4, 400, 400) if chosen.quick else (4, 10000, 100000)
    rows = []
    for name, make in (("clusterd", figures.clusterd), ("bare loop", figures.bare)):
        with make(chosen, count, figures.PORT_BASE + 40, [chosen.worker, "die"]) as supervisor:
            supervisor.started(warm)
            open_fds, memory, begin = fds(supervisor), supervisor.memory_kb()[0], time.monotonic()
            done = 0
            while done < more:  # the pipe holds the workers back no longer than we are away
                supervisor.started(min(1000, more - done))
                done += 1000
            took = time.monotonic() - begin
            rows.append([name, f"{more / took:.0f}", supervisor.memory_kb()[0] - memory, fds(supervisor) - open_fds])
    figures.table(f"{more} restarts", ["", "restarts/s", "KiB more", "fds more"], rows)


main()
