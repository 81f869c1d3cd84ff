#!/usr/bin/env python3
"""Every event of event.def is logged somewhere: what clusterd(8) lists can be waited for."""

import re

import repo


def main():
    table = re.findall(r"^LOG_EVENT\((\w+),", (repo.ROOT / "supervisor/core/event.def").read_text(), flags=re.M)
    glue = "\n".join(path.read_text() for path in sorted((repo.ROOT / "supervisor").glob("*.c")))
    logged = set(re.findall(r"\bLOG_(\w+)", repo.without_comments(glue)))
    repo.finish([f"event.def: {name} is logged nowhere" for name in table if name not in logged], len(table))


main()
