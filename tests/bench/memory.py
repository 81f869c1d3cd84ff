#!/usr/bin/env python3
"""clusterd's own memory: with few and with many workers, and after each has died many times.

    python3 tests/bench/memory.py BUILD [--quick]
"""
import figures


def measure(make, chosen, count, deaths):
    """(RSS, PSS) fresh, and after so many deaths of each worker."""
    with make(chosen, count, figures.PORT_BASE + 20, [chosen.worker, "idle"]) as supervisor:
        supervisor.started(count)
        fresh = supervisor.memory_kb()
        for _ in range(deaths):
            supervisor.kill_workers()
            supervisor.started(count)
        return fresh, supervisor.memory_kb()


def main():
    chosen = figures.options(__doc__)
    many, deaths = (20, 3) if chosen.quick else (1000, 100)
    rows = []
    for name, make in (("clusterd", figures.clusterd), ("bare loop", figures.bare)):
        few = measure(make, chosen, 2, deaths)
        lots = measure(make, chosen, many, deaths)
        for at, state in enumerate(("fresh", f"after {deaths} deaths of each")):
            each = (lots[at][0] - few[at][0]) / (many - 2)
            rows.append([name, state, *few[at], *lots[at], f"{each:.1f}"])
    figures.table("Memory, KiB; goals: ≤ 3072 with 2 workers, ≤ 8 for each further one",
                  ["", "", "RSS, 2", "PSS, 2", f"RSS, {many}", f"PSS, {many}", "RSS each"], rows)


main()
