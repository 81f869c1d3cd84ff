#!/usr/bin/env python3
"""The pure archives may need a handful of string functions and nothing that acts.

purity.py NM core ARCHIVE | purity.py NM config ARCHIVE
"""

import re
import subprocess
import sys

import repo

STRINGS = set("""
memcpy memset memcmp memchr memmove memrchr mempcpy strlen strnlen strcmp strncmp strchr strrchr strcspn
strspn strstr strcasecmp strncasecmp stpcpy snprintf vsnprintf
""".split())
NUMBERS = set("strtol strtoul strtoll strtoull strtod qsort bsearch __errno_location".split())
COMPILER = {"__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_", "__assert_fail",
            "__ctype_b_loc", "__ctype_tolower_loc", "__ctype_toupper_loc"}
INIH = {"ini_parse_stream"}
ALLOWED = {"core": STRINGS | COMPILER,
           "config": STRINGS | NUMBERS | COMPILER | INIH | {"inet_pton", "inet_ntop"}}


def symbols(nm, archive):
    """(needed, defined) over all members of the archive."""
    out = subprocess.run([nm, "-P", archive], check=True, capture_output=True, text=True).stdout
    needed, defined = set(), set()
    for line in out.splitlines():
        words = line.split()
        if len(words) < 2 or len(words[1]) != 1:
            continue
        # A fortified function is the function; glibc 2.38 renames the strtol family.
        symbol = re.sub(r"^__(\w+)_chk$", r"\1", words[0].split("@")[0])
        symbol = re.sub(r"^__isoc\d\d_", "", symbol)
        if symbol == "stack":
            symbol = "__stack_chk_fail"
        (needed if words[1] in "Uw" else defined).add(symbol)
    return needed, defined


def main():
    nm, layer, *archives = sys.argv[1:]
    needed, defined = set(), set()
    for archive in archives:  # the first is judged, the others are layers below it
        n, d = symbols(nm, archive)
        needed |= n if archive == archives[0] else set()
        defined |= d
    if layer == "core":
        allowed = ALLOWED["core"] | ALLOWED["config"] - INIH
    else:
        allowed = ALLOWED["config"]
    bad = sorted(needed - defined - allowed)
    repo.finish([f"{archives[0]}: not pure, it needs {symbol}" for symbol in bad], len(needed))


main()
