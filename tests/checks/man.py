#!/usr/bin/env python3
"""The man pages against the tables of the code, both ways: nothing missing, nothing invented.

  clusterd.8       .It Fl of OPTIONS    options.def
                   .It Cm of EVENTS     event.def, with the fields
                   .It Cm of METRICS    metrics.def, where there are any
                   DIAGNOSTICS          a .It for each event of level warn or error
  clusterd.conf.5  .Ss [section], .It Cm key, and the line below it (default, range, when)   keys.def
  clusterctl.1     .It Cm of COMMANDS   verbs.def, and .It Fl of OPTIONS   options.def
"""

import re

import repo

NOT_A_RANGE = {"octal", "signo", "path", "name", "words", "rlimit"}
DURATIONS = (("d", 86400000), ("h", 3600000), ("m", 60000), ("s", 1000), ("ms", 1))


def rows(path, macro):
    """The arguments of each MACRO(...) of a table; strings without their quotes."""
    text = (repo.ROOT / path).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = []
    for line in text.splitlines():
        if not (match := re.match(rf"\s*{macro}\((.*)\)\s*$", line)):
            continue
        items = re.findall(r'"((?:\\.|[^"\\])*)"|([^\s,"][^,"]*)', match.group(1))
        found.append([quoted or bare.strip() for quoted, bare in items])
    return found


def page(name):
    """{section: its lines} of a man page."""
    path = repo.ROOT / "man" / name
    sections, current = {}, []
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith(".Sh "):
                current = sections.setdefault(line[4:].strip().strip('"'), [])
            current.append(line)
    return sections


def items(lines, macro):
    """First word of each .It MACRO word, with the lines below it."""
    found = {}
    below = []
    for line in lines:
        if match := re.match(rf"\.It {macro} (\S+)", line):
            below = found.setdefault(match.group(1), [])
        elif line.startswith(".It "):
            below = []
        else:
            below.append(line)
    return found


def compare(problems, where, ours, theirs, table):
    for name in sorted(set(theirs) - set(ours)):
        problems.append(f"{where}: lacks {name} of {table}")
    for name in sorted(set(ours) - set(theirs)):
        problems.append(f"{where}: {name} is not in {table}")


def duration(ms):
    text = ""
    for unit, factor in DURATIONS:
        if ms >= factor:
            text += f"{ms // factor}{unit}"
            ms %= factor
    return text or "0"


def span(kind, low, high):
    """The range as the page says it, or None where the type says it all."""
    if kind in NOT_A_RANGE or (low, high) == ("0", "0") or high == "INT64_MAX":
        return None
    if kind == "duration":
        low, high = duration(int(low)), duration(int(high))
    if kind == "percent":
        low, high = f"{low}%", f"{high}%"
    return f"{low} to {high}"


def check_keys(problems):
    sections = page("clusterd.conf.5")
    lines = [line for part in sections.values() for line in part]
    theirs = {}
    for macro in ("KEY", "LISTEN_KEY", "EXIT_KEY"):
        for section, name, kind, fallback, low, high, when, *_ in rows("config/keys.def", macro):
            default = f"default Cm {fallback}" if fallback else "no default"
            line = f".Pq {default} ; No "
            if reach := span(kind, low, high):
                line += f"{reach} ; "
            if not fallback:
                line = line.replace(" ; No ", " ; ")
            theirs[f"{section}.{name}"] = line + when.lower()
    ours = {}
    section = name = None
    for line in lines:
        if match := re.match(r"\.Ss \"?\[(\w+)", line):
            section, name = match.group(1), None
        elif match := re.match(r"\.It Cm (\w+) No =", line):
            name = match.group(1)
            ours[f"{section}.{name}"] = ""
        elif name and line.startswith(".Pq ") and not ours[f"{section}.{name}"]:
            ours[f"{section}.{name}"] = line
    compare(problems, "clusterd.conf.5", ours, theirs, "keys.def")
    for key in sorted(set(ours) & set(theirs)):
        if ours[key] != theirs[key]:
            problems.append(f"clusterd.conf.5: {key}: is {ours[key]!r}, the table says {theirs[key]!r}")
    return len(theirs)


def check_options(problems):
    checked = 0
    for command, name in (("clusterd", "clusterd.8"), ("clusterctl", "clusterctl.1")):
        theirs = set()
        for letter, word, *_ in rows(f"cmd/{command}/options.def", "OPT"):
            theirs |= {f"-{letter}"} if letter else set()
            theirs.add(f"--{word}")
        ours = set()
        for line in page(name).get("OPTIONS", []):
            if line.startswith(".It Fl "):
                ours |= {"-" + flag for flag in re.findall(r"\bFl (\S+)", line)}
        compare(problems, f"{name} OPTIONS", ours, theirs, f"cmd/{command}/options.def")
        checked += len(theirs)
    return checked


def check_events(problems):
    sections = page("clusterd.8")
    ours = items(sections.get("EVENTS", []), "Cm")
    theirs = {name: (level, fields) for _, name, level, fields, *_ in rows(
        "supervisor/core/event.def", "LOG_EVENT")}
    compare(problems, "clusterd.8 EVENTS", ours, theirs, "event.def")
    for name in set(ours) & set(theirs):
        said = next((line for line in ours[name] if line.startswith(".Pq ")), "")
        if said != ".Pq " + theirs[name][1].replace(" ", " , "):
            problems.append(f"clusterd.8 EVENTS: the fields of {name} are: {theirs[name][1]}")
    loud = {name for name, (level, _) in theirs.items() if level in ("WARN", "ERROR")}
    told = set(re.findall(r"^\.It .*\bPq (\S+)$", "\n".join(sections.get("DIAGNOSTICS", [])), flags=re.M))
    for name in sorted(loud - told):
        problems.append(f"clusterd.8 DIAGNOSTICS: lacks {name}")
    for name in sorted(told - set(theirs)):
        problems.append(f"clusterd.8 DIAGNOSTICS: {name} is not in event.def")
    fields = {name for name, _ in rows("supervisor/core/event.def", "LOG_FIELD")}
    compare(problems, "clusterd.8 FIELDS", items(sections.get("EVENTS", []), "Va"), fields, "event.def")
    return len(theirs) + len(fields)


def check_metrics(problems):
    table = "supervisor/core/metrics.def"
    if not (repo.ROOT / table).is_file():
        return 0
    text = (repo.ROOT / table).read_text()
    theirs = {name if name.startswith("clusterd_") else "clusterd_" + name
              for name in re.findall(r'^METRIC\(\w+,\s*"([^"]+)"', text, flags=re.M)}
    compare(problems, "clusterd.8 METRICS", items(page("clusterd.8").get("METRICS", []), "Cm"), theirs,
            "metrics.def")
    return len(theirs)


def check_verbs(problems):
    table = "cmd/clusterctl/verbs.def"
    if not (repo.ROOT / table).is_file():
        return 0
    text = (repo.ROOT / table).read_text()
    theirs = set(re.findall(r'^VERB\((?:\w+,\s*)?"([^"]+)"', text, flags=re.M))
    ours = items(page("clusterctl.1").get("COMMANDS", []), "Cm")
    compare(problems, "clusterctl.1", ours, theirs, "verbs.def")
    return len(theirs)


def main():
    problems = []
    checked = sum(check(problems) for check in (check_options, check_keys, check_events, check_metrics,
                                                check_verbs))
    repo.finish(problems, checked)


if __name__ == "__main__":
    main()
