#!/usr/bin/env python3
"""mutants.py SOURCE_ROOT [WORD]: does any test notice when the core is wrong?

Each line of mutants.list is one small mistake in one file of supervisor/core. It is made in a
scratch folder, never in the tree; the unit rows and a short simulation are built with it, and at
least one of them has to fail. A mutant that survives, or a line that fits no place or several,
is an error. WORD runs only the mutants whose line contains it.
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CC = os.environ.get("CC", "cc")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-w"]
PROGRAMS = {
    "heap": ["tests/unit/test_core_heap.c"],
    "decide": ["tests/unit/test_core_decide.c"],
    "pool": ["tests/unit/test_core_pool.c"],
    "roll": ["tests/unit/test_core_roll.c"],
    "sim": ["tests/sim/sim.c", "tests/sim/world.c", "tests/sim/operator.c",
            "tests/sim/invariants.c"],
}
CHECK = ["-lcheck", "-lsubunit", "-lrt", "-lm", "-lpthread"]
CORE = ["decide", "heap", "slot", "pool", "pool_instance", "pool_slot", "pool_stop", "pool_ready",
        "pool_end", "replace", "roll", "recycle", "scale", "view", "state", "check"]
RUNS = {"sim": ["--seed", "7", "--events", "150000"]}
SECONDS = 30


def compile_one(root, source, target):
    subprocess.run([CC, *FLAGS, f"-I{root}", "-c", str(source), "-o", str(target)], check=True)


def build_base(root, work):
    jobs = [(root / f"supervisor/core/{name}.c", work / f"core_{name}.o") for name in CORE]
    jobs += [(source, work / f"config_{source.stem}.o")
             for source in sorted((root / "config").glob("*.c"))]
    for parts in PROGRAMS.values():
        jobs += [(root / part, work / f"test_{pathlib.Path(part).stem}.o") for part in parts]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(compile_one, root, *job) for job in jobs]:
            done.result()


def killed(work, folder, objects):
    """The name of the first program that fails, or None."""
    for name, parts in PROGRAMS.items():
        tests = [work / f"test_{pathlib.Path(part).stem}.o" for part in parts]
        program = folder / name
        subprocess.run([CC, *map(str, tests + objects), "-linih", *CHECK, "-o", str(program)],
                       check=True)
        try:
            run = subprocess.run([str(program), *RUNS.get(name, [])], timeout=SECONDS,
                                 capture_output=True, cwd=folder, check=False,
                                 env={**os.environ, "CK_FORK": "no"})
        except subprocess.TimeoutExpired:
            return name + " (never ended)"
        if run.returncode != 0:
            return name
    return None


def mutate(root, work, mutant):
    name, old, new = mutant
    source = (root / "supervisor/core" / name).read_text()
    if source.count(old) != 1:
        return f"fits {source.count(old)} places"
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    (folder / name).write_text(source.replace(old, new))
    compile_one(root, folder / name, folder / "mutant.o")
    others = [work / f"core_{core}.o" for core in CORE if core != pathlib.Path(name).stem]
    result = killed(work, folder, [folder / "mutant.o", *others, *work.glob("config_*.o")])
    shutil.rmtree(folder)
    return None if result else "survives"


def read_list(path, word):
    for line in path.read_text().splitlines():
        if not line or line.startswith("#") or word not in line:
            continue
        name, old, new = (part.replace("\\|", "|").replace("?\t", "\n\t")
                          for part in line.split(" | "))
        yield name, old, new


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    mutants = list(read_list(root / "tests/checks/mutants.list", word))
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        build_base(root, work)
        objects = [work / f"core_{core}.o" for core in CORE]
        broken = killed(work, work, [*objects, *work.glob("config_*.o")])
        if broken:
            print(f"{broken} fails without a mutant")
            return 1
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for mutant, problem in zip(mutants, pool.map(
                    lambda m: mutate(root, work, m), mutants)):
                if problem:
                    bad += 1
                    print(f"{problem}: {mutant[0]}: {mutant[1]!r} -> {mutant[2]!r}", flush=True)
    print(f"{len(mutants)} mutants, {len(mutants) - bad} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
