#!/usr/bin/env python3
"""Functions of at most 60 lines and 12 branches, files of at most 500 lines.

A function that is one table is data: START_TEST bodies and .def files are not counted.
"""

import shutil
import subprocess
import sys

import repo

FUNCTION_LINES = 60
FILE_LINES = 500
TEST_FILE_LINES = 800  # most of them is tables
MCCABE = 12


def functions(paths):
    """(modified McCabe number, lines, file, first line, function) of each, from pmccabe."""
    out = subprocess.run(["pmccabe", *map(str, paths)], check=False, capture_output=True, text=True).stdout
    for line in out.splitlines():
        words = line.split("\t")
        where, _, function = words[5].rpartition(": ")
        path = where[:where.rfind("(")]
        yield int(words[0]), int(words[4]), path, int(words[3]), function


def main():
    if not shutil.which("pmccabe"):
        print("pmccabe is not installed")
        sys.exit(77)
    problems = []
    files = list(repo.sources(*repo.PRODUCT, "tests", suffixes=(".c", ".h", ".py", ".sh")))
    for path in files:
        lines = path.read_text().count("\n")
        limit = TEST_FILE_LINES if repo.name(path).startswith("tests/") else FILE_LINES
        if lines > limit:
            problems.append(f"{repo.name(path)}: {lines} lines; at most {limit}")
    code = [path for path in files if path.suffix == ".c"]
    product = {str(path) for path in repo.sources(*repo.PRODUCT)}
    checked = 0
    for mccabe, lines, path, first, function in functions(code):
        if path not in product and function == "START_TEST":
            continue
        checked += 1
        where = f"{path.removeprefix(str(repo.ROOT) + '/')}:{first}: {function}"
        if lines > FUNCTION_LINES:
            problems.append(f"{where} has {lines} lines; at most {FUNCTION_LINES}")
        if mccabe > MCCABE:
            problems.append(f"{where} has {mccabe} branches; at most {MCCABE}")
    repo.finish(problems, checked)


main()
