#!/usr/bin/env python3
"""Every event of event.def is logged somewhere, and every field of it is set: what clusterd(8) lists can be waited for."""

import re

import repo

CALL = re.compile(r"\bLOG(?:_AT)?\((?=[^;]*?\bLOG_(\w+))")
FIELD = re.compile(r"\bF_(?:NUM|MS|FLAG|TEXT|BYTES)(?:_IF)?\((?:[^;\"]*?, )?\"(\w+)\"")


def arguments(text, begin):
    """Up to the parenthesis that closes the one before `begin`."""
    depth, end = 1, begin
    while depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    return text[begin:end]


def fields_set(glue):
    """{event: the fields that a call of LOG() gives it, or its function where it is written in another way}"""
    glue = re.sub(r'"[^"\n]*"', lambda text: text.group().replace("(", " ").replace(")", " "), glue)
    found = {}
    for call in CALL.finditer(glue):
        found.setdefault(call.group(1), set()).update(FIELD.findall(arguments(glue, call.end())))
    for other in re.finditer(r"\bline_of\(\w+, LOG_(\w+)", glue):
        begin, end = glue.rindex("\n{", 0, other.start()), glue.index("\n}", other.start())
        found.setdefault(other.group(1), set()).update(FIELD.findall(glue[begin:end]))
    return found


def main():
    text = (repo.ROOT / "supervisor/core/event.def").read_text()
    table = re.findall(r'^LOG_EVENT\((\w+), *"[\w.]+", *\w+, *"([^"]*)"', text, flags=re.M)
    found = fields_set("\n".join(path.read_text() for path in sorted((repo.ROOT / "supervisor").glob("*.c"))))
    problems = [f"event.def: {name} is logged nowhere" for name, _ in table if name not in found]
    for name, fields in table:
        ours, theirs = set(fields.split()), found.get(name, set())
        problems += [f"event.def: no {name} has the field {field}" for field in fields.split() if field not in theirs]
        problems += [f"{name} is logged with {field}, which event.def does not list" for field in sorted(theirs - ours)]
    repo.finish(problems, sum(len(fields.split()) for _, fields in table))


main()
