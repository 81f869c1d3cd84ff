#!/usr/bin/env python3
"""Calls that are never made: shells, unbounded copies, small fd sets, the wall clock, signal handlers."""

import re

import repo

NEVER = ("system popen strcpy strcat sprintf vsprintf strtok gets FD_SET select alloca "
         "execvp execlp tmpnam mktemp atoi atol setjmp longjmp").split()
# Signals are read from a descriptor (row I6): no code runs in a handler.
HANDLER = re.compile(r"(?<![\w.>])(sigaction\s*\(|signal\s*\([^,()]*,(?!\s*SIG_))")
HANDLER_FILES = re.compile(r"cmd/clusterctl/main\.c$")  # sets a flag
CLOCK = "time gettimeofday clock_gettime localtime localtime_r gmtime gmtime_r".split()
# Who may ask for the time: the one clock of os/, the time stamp of the log, and the programs that are no part of the supervisor.
# clusterd-exec stands where a shell would stand, and so does what a shell does.
ALLOWED = {("cmd/clusterd-exec/main.c", "execvp")}
CLOCK_FILES = re.compile(r"supervisor/os/clock\.[ch]$|supervisor/log\w*\.c$|cmd/")


def main():
    problems = []
    checked = 0
    never = re.compile(r"(?<![\w.>])(" + "|".join(NEVER) + r")\s*\(")
    clock = re.compile(r"(?<![\w.>])(" + "|".join(CLOCK) + r")\s*\(")
    for path in repo.sources(*repo.PRODUCT):
        where = repo.name(path)
        text = repo.without_comments(path.read_text())
        checked += 1
        for number, line in enumerate(text.splitlines(), 1):
            found = never.search(line)
            if found and (where, found.group(1)) not in ALLOWED:
                problems.append(f"{where}:{number}: calls {found.group(1)}")
            if HANDLER.search(line) and not HANDLER_FILES.search(where):
                problems.append(f"{where}:{number}: a signal handler")
            found = clock.search(line)
            if found and not CLOCK_FILES.search(where):
                problems.append(f"{where}:{number}: asks for the time: {found.group(1)}")
    repo.finish(problems, checked)


main()
