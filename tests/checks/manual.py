#!/usr/bin/env python3
"""manual.py CLUSTERD CLUSTERCTL - what the man pages and the README tell one to type is what the programs take.

  commands   each of clusterd and clusterctl is one that they accept
  keys       each "[section] key" exists, and each "= value" is one of its values
  policies   each policy among the examples of clusterd.conf(5) is one without a problem
  complete   ENVIRONMENT has every variable, EXIT STATUS every status, clusterd-worker(7) every variable that a
             worker gets, clusterd.conf(5) the limits
  rendered   in 80 columns nothing is wider, no command is broken, and no word of a heading was taken for a macro
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import repo

CLUSTERD, CLUSTERCTL = sys.argv[1:3]
PAGES = sorted((repo.ROOT / "man").glob("*.[1-8]"))
EXAMPLE = repo.ROOT / "config/examples/web.conf"
NOT_HERE = re.compile("[Nn]o such (file|user|group)|no program|above the hard limit")  # the examples name what need not be there
MACROS = {"Ar", "Cm", "Fl", "Ic", "Li", "No", "Ns", "Pa"}
LIMITS = ("LISTENERS_MAX", "RULES_MAX", "ENV_MAX", "ENV_TEXT_MAX", "WORDS_MAX", "LINE_TEXT_MAX", "SECTION_TEXT_MAX",
          "SECTIONS_MAX")
WITH_NUL = ("WORDS_TEXT_MAX", "PATH_TEXT_MAX", "NAME_TEXT_MAX")


def run(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def literal(text):
    """A line as it is shown: without the escapes of roff."""
    return text.replace("\\&", "").replace("\\e", "\\").replace("\\-", "-")


def of_line(line):
    """The commands of one line of a page; of a sentence one that is more than a name counts."""
    if line.startswith((".Dl ", "clusterd ")):
        yield from re.split(r"&&|\||;", literal(line.removeprefix(".Dl ")))
        return
    for text in re.findall(r"\b(?:Ic|Li) (cluster(?:d|ctl) .*)", line):
        words = re.split(r" [,.;:)]| Ic ", text)[0].split()
        if len(words) > 2:
            yield " ".join(word for word in words if word not in MACROS)
        elif words[0] == "clusterctl":
            yield f"clusterctl --help {words[1]}"


def commands():
    """(where, command) of all pages and the README."""
    for page in PAGES:
        for line in page.read_text().replace("\\e\n", " ").splitlines():
            for command in of_line(line):
                yield page.name, command.strip()
    text = (repo.ROOT / "README.md").read_text()
    for command in re.findall(r"^    (?:\$ )?(cluster(?:d|ctl) (?![\w-]+:).*)|`(cluster(?:d|ctl) [^`]+)`", text, flags=re.M):
        yield "README.md", re.sub(r"  +\(.*", "", "".join(command))


def accepted(words):
    """Whether the command line is one: nothing is started, and nobody is asked."""
    if words[0] == "clusterctl":
        code, said = run(CLUSTERCTL, *words[1:], "-s", "/nonexistent/a.sock")
        return code in (0, 3), said
    if "-c" in words:
        words[words.index("-c") + 1] = str(EXAMPLE)
    code, said = run(CLUSTERD, "--dump-config", *(word for word in words[1:] if word != "-t"))
    return code == 0, said


def check_commands(problems):
    verbs = set(re.findall(r'^VERB\(\w+, +"([^"]+)"', (repo.ROOT / "cmd/clusterctl/verbs.def").read_text(), flags=re.M))
    checked = 0
    for where, command in commands():
        words = shlex.split(command)
        if words and words[0] in ("clusterd", "clusterctl"):
            checked += 1
            ok, said = accepted(words)
            if words[1] == "--help" and words[2] not in verbs:
                ok, said = False, "no such verb"
            if not ok:
                problems.append(f"{where}: {command}: {said.strip()}")
    return checked


def check_keys(problems):
    keys = {("exit", "action"), ("exit", "delay")}
    section = None
    for line in (repo.ROOT / "config/examples/full.conf").read_text().splitlines():
        if match := re.match(r"\[(\w+)", line):
            section = match.group(1)
        elif match := re.match(r"(\w+) =", line):
            keys.add((section, match.group(1)))
    sections = {section for section, _ in keys}
    checked = 0
    for page in [*PAGES, repo.ROOT / "README.md"]:
        # Of a page what is marked as something to type; a sentence may begin behind a [section].
        text = "\n".join(re.findall(r"^\..*\b(?:Ic|Li) .*" if page in PAGES else ".+", page.read_text(), flags=re.M))
        for section, instance, key, more, value in re.findall(
                r"\[(\w+)(?: (NAME|RULE))?\] (\w+)((?: , \w+)*)(?: = ([^\s`;]+))?", text):
            for name in [key, *more.split(" , ")[1:]]:
                checked += 1
                if section not in sections or (section, name) not in keys:
                    problems.append(f"{page.name}: [{section}] {name} is no key")
            if value:
                where = {"NAME": f"{section}.a", "RULE": f"{section}.1"}.get(instance, section)
                code, said = run(CLUSTERD, "--dump-config", "--set", "listen.a.address=1337", "--set", f"{where}.{key}={value}")
                # What is missing beside it is another matter: when = command has no command here.
                if code != 0 and f"{key} =" not in said.replace("when = command needs", ""):
                    code = 0
                if code != 0:
                    problems.append(f"{page.name}: [{section}] {key} = {value}: {said.strip()}")
    return checked


def check_policies(problems):
    text = (repo.ROOT / "man/clusterd.conf.5").read_text()
    policies = re.findall(r"^\.Bd -literal[^\n]*\n(\[.*?)^\.Ed", text, flags=re.M | re.S)
    for policy in policies:
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(literal(policy))
            file.flush()
            _, said = run(CLUSTERD, "-t", "-c", file.name)
        problems += [f"clusterd.conf.5: {line}" for line in said.splitlines()
                     if not NOT_HERE.search(line) and not line.endswith(": ok")]
    return len(policies)


def part(page, section):
    text = (repo.ROOT / "man" / page).read_text()
    return re.search(rf"^\.Sh {section}\n(.*?)(?=^\.Sh |\Z)", text, flags=re.M | re.S).group(1)


def check_words(compare):
    """The words that the log and clusterctl use, and the columns of a status."""
    def listed(text):
        return set(re.findall(r"^\.It Li (.+)$", text.split("\n.El")[0], flags=re.M))

    def named(*functions):
        text = (repo.ROOT / "supervisor/core/names.c").read_text()
        found = (re.search(rf"NAMES\({name},(.*?)\)\n", text, flags=re.S).group(1) for name in functions)
        return {word for words in found for word in re.findall(r'= "([^"]+)"', words)}

    why, cause = (part("clusterd.8", "EVENTS").split(f"The words of\n.Va {word} ,")[1] for word in ("why", "cause"))
    columns, states = part("clusterctl.1", "STATUS").split("The states:")
    titles = re.findall(r'\[C_\w+\] = \{ "([^"]+)"', (repo.ROOT / "cmd/clusterctl/look.c").read_text())
    return (compare("clusterd.8, words of why", listed(why), named("name_why"))
            + compare("clusterd.8, words of cause", listed(cause), named("name_end_cause"))
            + compare("clusterctl.1, states", listed(states), named("name_slot_state", "name_instance_state") - {"live"})
            + compare("clusterctl.1, columns", listed(columns), set(titles)))


def check_complete(problems):
    def compare(where, ours, theirs):
        for name in sorted(theirs - ours):
            problems.append(f"{where}: lacks {name}")
        for name in sorted(ours - theirs):
            problems.append(f"{where}: {name} is used nowhere")
        return len(theirs)

    checked = 0
    for page, folders in (("clusterd.8", ("supervisor", "cmd/clusterd")), ("clusterctl.1", ("cmd/clusterctl",)),
                          ("clusterd-exec.1", ("cmd/clusterd-exec",))):
        names = {name for path in repo.sources(*folders)
                 for name in re.findall(r'(?:getenv|rename_pid)\("(\w+)"\)', path.read_text())}
        names |= {"PATH"} if page == "clusterd-exec.1" else set()  # execvp(3)
        told = re.findall(r"^\.It Ev (.*)", part(page, "ENVIRONMENT"), flags=re.M)
        checked += compare(f"{page} ENVIRONMENT", set(" , ".join(told).split(" , ")), names)
    statuses = {"0", "64"}
    statuses |= set(re.findall(r"^\s+STATUS_\w+ = (\d+)", (repo.ROOT / "supervisor/core/pool.h").read_text(), flags=re.M))
    checked += compare("clusterd.8 EXIT STATUS",
                       set(re.findall(r"^\.It (\d+)", part("clusterd.8", "EXIT STATUS"), flags=re.M)), statuses)
    worker = (repo.ROOT / "man/clusterd-worker.7").read_text()
    names = re.findall(r'"([A-Z][A-Z_]{3,}(?:%zu)?)"', (repo.ROOT / "supervisor/core/envp.c").read_text())
    checked += compare("clusterd-worker.7", set(re.findall(r"\b[A-Z][A-Z_]{3,}0?\b", worker)) & set(
        name.replace("%zu", "0") for name in names), {name.replace("%zu", "0") for name in names})
    checked += check_words(compare)
    conf = (repo.ROOT / "man/clusterd.conf.5").read_text()
    header = (repo.ROOT / "config/policy.h").read_text() + (repo.ROOT / "config/load.h").read_text()
    for name in LIMITS + WITH_NUL:
        most = int(re.search(rf"\b{name} = (\d+)", header).group(1))
        checked += 1
        if not re.search(rf"\b{most - (name in WITH_NUL)}\b", conf):
            problems.append(f"clusterd.conf.5: does not tell {name}, {most}")
    return checked


def must_be_seen(page):
    """The lines of a page that have to be lines of what is shown, too."""
    verbatim = False
    for line in page.read_text().splitlines():
        verbatim = line.startswith(".Bd -literal") or (verbatim and line != ".Ed")
        if verbatim and line and not line.startswith("."):
            yield literal(line)
        elif match := re.match(r"\.(?:Ss|Sh|Dl) (.*)", line):
            yield literal(match.group(1)).strip('"')


def check_rendered(problems):
    checked = 0
    for page in PAGES if shutil.which("mandoc") else ():
        _, text = run("mandoc", "-O", "width=80", "-T", "utf8", str(page))
        shown = re.sub("(?m)^mandoc:.*\n", "", re.sub(".\b", "", text)).splitlines()
        words = {" ".join(line.split()) for line in shown}
        checked += len(shown)
        problems += [f"{page.name}: wider than 80 columns: {line.strip()}" for line in shown if len(line) > 80]
        problems += [f"{page.name}: is not shown as it stands: {line}" for line in must_be_seen(page)
                     if " ".join(line.split()) not in words]
        problems += [f"{page.name}: {line}: the first word is a macro" for line in page.read_text().splitlines()
                     if re.match(r"\.(Dq|Sq|Ql) (No|In|At|As|Do|An)\b", line)]
    return checked


def main():
    problems = []
    checked = sum(check(problems) for check in (check_commands, check_keys, check_policies, check_complete,
                                                check_rendered))
    repo.finish(problems, checked)


main()
