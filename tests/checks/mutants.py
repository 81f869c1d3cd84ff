#!/usr/bin/env python3
"""mutants.py [--only WORD] SOURCE_ROOT ARCHIVE...: does any test notice when the code is wrong?

Each line of mutants.list is one small mistake in one file. It is made in a scratch folder, never
in the tree; the programs that test the file are linked with it, before the archives that have it
right, and at least one of them has to fail. A mutant that survives, or a line that fits no place
or several, is an error. --only runs the mutants whose line contains WORD.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CC = os.environ.get("CC", "cc")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-w", "-fPIE"]
LIBRARIES = ["-linih", "-luv", "-lcheck", "-lsubunit", "-lrt", "-lm", "-lpthread"]
SIM = ["tests/sim/sim.c", "tests/sim/world.c", "tests/sim/operator.c", "tests/sim/invariants.c"]
POOL = ["core_heap", "core_decide", "core_pool", "core_roll", "sim"]
CONFIG = ["config_values", "config_address", "config_check", "config_load"]
# Who tests what, the quickest first: a file, or all of a folder that are not named.
TESTS = {
    "config/": CONFIG,
    "supervisor/core/": POOL,
    "supervisor/core/brief.c": ["core_proto"],
    "supervisor/core/check.c": ["core_state"],
    "supervisor/core/record.c": ["core_record"],
    "supervisor/core/reserved.c": ["core_envp"],
    "supervisor/hear.c": ["glue_hear"],
    "supervisor/memory.c": ["glue_memory"],
    "supervisor/record.c": ["glue_record"],
}
RUNS = {"sim": ["--seed", "7", "--events", "150000"]}
SECONDS = 30


def tests_of(name):
    return TESTS.get(name) or TESTS[name[:name.rindex("/") + 1]]


def sources_of(program):
    return SIM if program == "sim" else [f"tests/unit/test_{program}.c"]


def object_of(source):
    return source.replace("/", "_") + ".o"


def compile_one(root, source, target):
    subprocess.run([CC, *FLAGS, f"-I{root}", "-c", str(source), "-o", str(target)], check=True)


def build_tests(root, work, programs):
    sources = {source for program in programs for source in sources_of(program)}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(compile_one, root, root / source, work / object_of(source))
                     for source in sources]:
            done.result()


def killed(work, folder, programs, objects):
    """The name of the first program that fails, or None."""
    for name in programs:
        tests = [str(work / object_of(source)) for source in sources_of(name)]
        program = folder / name
        subprocess.run([CC, "-pie", *tests, *objects, *LIBRARIES, "-o", str(program)], check=True)
        try:
            run = subprocess.run([str(program), *RUNS.get(name, [])], timeout=SECONDS,
                                 capture_output=True, cwd=folder, check=False,
                                 env={**os.environ, "CK_FORK": "no"})
        except subprocess.TimeoutExpired:
            return name + " (never ended)"
        if run.returncode != 0:
            return name
    return None


def mutate(root, work, archives, mutant):
    name, old, new = mutant
    source = (root / name).read_text()
    if source.count(old) != 1:
        return f"fits {source.count(old)} places"
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    (folder / "mutant.c").write_text(source.replace(old, new))
    compile_one(root, folder / "mutant.c", folder / "mutant.o")
    result = killed(work, folder, tests_of(name), [str(folder / "mutant.o"), *archives])
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("archives", nargs="+")
    given = parser.parse_args()
    root = given.root.resolve()
    mutants = list(read_list(root / "tests/checks/mutants.list", given.only))
    programs = list(dict.fromkeys(program for name, *_ in mutants for program in tests_of(name)))
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        build_tests(root, work, programs)
        broken = killed(work, work, programs, given.archives)
        if broken:
            print(f"{broken} fails without a mutant")
            return 1
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for mutant, problem in zip(mutants, pool.map(
                    lambda m: mutate(root, work, given.archives, m), mutants)):
                if problem:
                    bad += 1
                    print(f"{problem}: {mutant[0]}: {mutant[1]!r} -> {mutant[2]!r}", flush=True)
    print(f"{len(mutants)} mutants, {len(mutants) - bad} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
