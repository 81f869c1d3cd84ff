#!/usr/bin/env python3
"""Wake-ups of clusterd while nothing happens: voluntary context switches of all its threads.

    python3 tests/bench/idle.py BUILD [--quick]
"""
import contextlib
import tempfile
import time

import figures

WAYS = (
    ("defaults", ()),
    ("captured output", ("log.output=capture",)),
    ("control socket", ("control.socket={folder}/control",)),
    ("round-robin", ("listen.balance=round-robin?",)),
)


def main():
    chosen = figures.options(__doc__)
    seconds = 2 if chosen.quick else 60
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clusterd-"))
        watched = []
        for at, (name, settings) in enumerate(WAYS):
            one = figures.clusterd(chosen, 2, figures.PORT_BASE + 30 + at, [chosen.app],
                                   *(setting.format(folder=folder) for setting in settings))
            watched.append((name, stack.enter_context(one)))
            figures.wait_port(figures.PORT_BASE + 30 + at)
        time.sleep(3)  # until the workers are ready and have said so
        before = [one.switches() for _, one in watched]
        time.sleep(seconds)
        rows = [[name, one.switches() - then, 0] for (name, one), then in zip(watched, before)]
    figures.table(f"Wake-ups in {seconds} idle seconds, 2 workers", ["", "wake-ups", "goal"], rows)


main()
