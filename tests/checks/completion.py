#!/usr/bin/env python3
"""completion.py PROGRAM - asks the shells themselves what they complete: every verb, option and word of a list, nothing else.

PROGRAM is the one that prints the completions. bash is always there; zsh and fish are asked where they are installed.
"""

import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

import man
import repo

DEADLINE = 30
SHELLS = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
"_$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# What is handed to compadd goes into a file; what it hides or only looks at does not.
ZSH = """
PROMPT= RPROMPT= ; unsetopt zle_bracketed_paste 2>/dev/null
fpath=($FOLDER $fpath); autoload -Uz compinit; compinit -u -D
zstyle ':completion:*' verbose no
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits; builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- ${(Q)hits} >>$FOLDER/hits
    return 1
}
asked() { _main_complete; : >$FOLDER/done }
zle -C asked complete-word asked
bindkey -e; bindkey '^X' asked
: >$FOLDER/ready
"""


class Bash:
    def __init__(self, folder):
        self.folder = folder

    def ask(self, program, *words):
        """Its line editor takes --name=value apart at the =, before it asks."""
        split = [part for word in words for part in (word.replace("=", "\0=\0").split("\0") if word.startswith("-") else [word])]
        done = subprocess.run(["bash", "-c", BASH, "bash", str(self.folder / program), program, *split], check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        return set(done.stdout.split())


class Fish:
    def __init__(self, folder):
        self.folder = folder

    def ask(self, program, *words):
        line = " ".join([program, *words])
        script = f"source {self.folder}/{program}.fish; complete -C '{line}'"
        done = subprocess.run(["fish", "--no-config", "-c", script], check=True, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=DEADLINE, cwd=self.folder, env={**os.environ, "HOME": str(self.folder)})
        found = {line.split("\t")[0] for line in done.stdout.splitlines()}
        before = words[-1].partition("=")[0] + "=" if "=" in words[-1] else ""
        # Where nothing begins so, it offers what has it in the middle.
        return {word.removeprefix(before) for word in found if word.startswith(words[-1])}


class Zsh:
    """It completes only where there is a line editor: on a terminal."""

    def __init__(self, folder):
        self.folder = folder
        (folder / ".zshrc").write_text(ZSH, encoding="utf-8")
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(ZDOTDIR=str(folder), FOLDER=str(folder), HOME=str(folder), TERM="dumb")
            os.execvp("zsh", ["zsh", "-o", "no_global_rcs", "-i"])
        self.wait("ready")

    def wait(self, name):
        end = time.monotonic() + DEADLINE
        while not (self.folder / name).exists():
            if time.monotonic() > end:
                raise TimeoutError(f"zsh: no {name}")
            if select.select([self.terminal], [], [], 0.005)[0]:
                os.read(self.terminal, 65536)  # nobody else reads what it draws
        (self.folder / name).unlink()

    def ask(self, program, *words):
        os.write(self.terminal, b"\x15" + " ".join([program, *words]).encode() + b"\x18")
        self.wait("done")
        hits = self.folder / "hits"
        found = set(hits.read_text(encoding="utf-8").splitlines()) if hits.exists() else set()
        hits.unlink(missing_ok=True)
        return {word.rstrip("=") for word in found}


def starting(words, text):
    return {word for word in words if word.startswith(text)}


def questions():
    """(program, words, what is completed)"""
    for program in ("clusterctl", "clusterd"):
        rows = man.rows(f"cmd/{program}/options.def", "OPT")
        options = {"--" + row[1] for row in rows}
        for letter in sorted({word[2] for word in options}):
            yield program, (f"--{letter}",), starting(options, f"--{letter}")
        for letter, name, argument, *_ in rows:
            if "|" in argument and not set(argument) & set("NSA[+"):
                words = set(argument.split("|"))
                for before in [(f"--{name}",)] + ([(f"-{letter}",)] if letter else []):
                    yield program, (*before, ""), words
                yield program, (f"--{name}=",), words
                first = sorted(words)[0]
                yield program, (f"--{name}={first[0]}",), starting(words, first[0])
    verbs = man.rows("cmd/clusterctl/verbs.def", "VERB")
    names = {row[1] for row in verbs}
    for letter in sorted({name[0] for name in names}):
        yield "clusterctl", (letter,), starting(names, letter)
        yield "clusterctl", ("--json", letter), starting(names, letter)
    for _, name, arguments, *_ in verbs:
        words = {"ready|stopped": {"ready", "stopped"}, "SLOT|all": {"all"}}.get(arguments, set())
        for letter in "as":  # and no other verb
            yield "clusterctl", (name, letter), starting(words, letter)
        for word in words:
            yield "clusterctl", (name, word[0]), {word}
        if arguments.startswith("SIGNAL"):
            yield "clusterctl", (name, "SIGU"), {"SIGUSR1", "SIGUSR2", "SIGURG"}


def main():
    program = sys.argv[1]
    problems, checked = [], 0
    for shell, place in SHELLS.items():
        if not shutil.which(shell):
            print(f"{shell} is not installed, so it is not asked")
            continue
        with tempfile.TemporaryDirectory(prefix="completion-") as name:
            folder = pathlib.Path(name)
            for command in ("clusterctl", "clusterd"):
                with open(folder / place.format(command), "wb") as out:
                    subprocess.run([program, shell, command], stdout=out, check=True)
            asked = globals()[shell.capitalize()](folder)
            for command, words, expected in questions():
                found = asked.ask(command, *words)
                checked += 1
                if found != expected:
                    problems.append(f"{shell}: {' '.join((command, *words))}<TAB>: {sorted(found)}, not {sorted(expected)}")
    repo.finish(problems, checked)


if __name__ == "__main__":
    main()
