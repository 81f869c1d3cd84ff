#!/usr/bin/env python3
"""Dependency only ever points right: cmd -> supervisor -> {core, os} -> config.

core and os do not know each other, config knows nothing of ours, the bundled app
knows nothing but itself, and only glue and commands may know libuv.
"""

import re

import repo

# What crosses a border on purpose: an address is a plain value that both sides speak of, and
# clusterctl prints the completions of both commands.
EXCEPTIONS = {("supervisor/os", "config/address.h"),
              ("cmd/clusterctl", "cmd/clusterd/options.def")}

# folder -> folders of ours it may include, and whether libuv is allowed. The longest match counts.
LAYERS = {
    "config": ({"config"}, False),
    "supervisor/core": ({"config", "supervisor/core"}, False),
    "supervisor/os": ({"supervisor/os"}, False),
    "supervisor": ({"config", "supervisor/core", "supervisor/os", "supervisor"}, True),
    "cmd/app": ({"cmd/app"}, True),
    "cmd/clusterd-exec": (set(), False),
    "cmd/clusterd": ({"config", "supervisor", "supervisor/core", "supervisor/os",
                      "cmd/clusterd"}, True),
    "cmd/clusterd-exec": ({"cmd/clusterd-exec"}, False),
    "cmd/clusterctl": ({"config", "supervisor", "supervisor/core", "supervisor/os",
                        "cmd/clusterctl"}, True),
}


def layer(path):
    """The layer that a path from the root belongs to."""
    fits = [folder for folder in LAYERS if path.startswith(folder + "/")]
    return max(fits, key=len, default=None)


def main():
    problems = []
    checked = 0
    for path in repo.sources(*repo.PRODUCT, suffixes=(".c", ".h", ".def")):
        where = repo.name(path)
        own = layer(where)
        if own is None:
            problems.append(f"{where}: belongs to no layer")
            continue
        allowed, libuv = LAYERS[own]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            checked += 1
            quote, included = found.groups()
            if quote == "<":
                if included == "uv.h" and not libuv:
                    problems.append(f"{where}:{number}: {own} must not know libuv")
                continue
            if not (repo.ROOT / included).is_file():
                problems.append(f"{where}:{number}: {included} is not a path from the root")
            elif layer(included) not in allowed and (own, included) not in EXCEPTIONS:
                problems.append(f"{where}:{number}: {own} must not include {included}")
    repo.finish(problems, checked)


main()
