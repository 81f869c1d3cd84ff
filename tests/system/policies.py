"""Policy files that are broken, or nearly so: made by chance from the corpus of the fuzzer, the same for a seed."""

import pathlib
import random
import re

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAINS = ("[stop]\ntimeout = 5\n", "[nonsense]\nkey = 1\n", "[stop]\nkey = 1\n", "no section at all\n",
          "[stop]\ntimeout = 5s\ntimeout = 6s\n", "[cluster]\nworkers = -1\n", "[stop\ntimeout = 5s\n",
          "[stop]\ntimeout = " + "9" * 500 + "s\n", "[stop]\nsignal = SIGNOPE\n", "[stop]\n\0\n",
          "[restart]\nburst = 65\n", "[listen web]\naddress = nowhere:port\n", "[exit nonsense]\naction = respawn\n",
          "[cluster]\ncommand = 'open quote\n", "[env]\nNO EQUALS\n", "\xff\xfe[stop]\n", "[log]\nlevel = loud\n",
          "[roll]\nsurge = 2\n", "[stop]\ntimeout = 3s\n", "[env]\nA = b\n", "[exit 3]\naction = retire\n",
          "[restart]\nburst = 2\nwindow = 1s\ndelay = 5s\n", "[log]\nlevel = warn\n", "[health]\nhttp = /\n")


def corpus():
    """The files to begin with."""
    files = sorted((ROOT / "tests/fuzz/corpus/config_ini").iterdir()) + sorted((ROOT / "config/examples").iterdir())
    return [path.read_bytes() for path in files]


def without_reach(text, folder):
    """What would lead out of the folder leads into it, or nowhere; the ports are those of this test file.

    What is no valid value stays as it is: that is what the file is for.
    """
    text = re.sub(rb"unix:/[^\s;]*", b"unix:" + folder.encode() + b"/s", text)
    text = re.sub(rb"(?m)^(\s*address\s*=\s*)[\w.*:-]*?\d+[ \t]*(;.*)?$",
                  lambda match: match[1] + b"127.0.0.1:%d" % harness.free_port(), text)
    return re.sub(rb"(?m)^(\s*(?:user|group|owner|directory)\s*=).*$", rb"\1", text)


def spoil(dice, text, files):
    """One change of a file."""
    lines = text.split(b"\n")
    at = dice.randrange(len(lines))
    other = dice.choice(files).split(b"\n")
    what = dice.randrange(8)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[at])
    elif what == 2:
        lines.insert(at, dice.choice(other))
    elif what == 3:
        lines[at:at] = dice.choice(GRAINS).encode("latin-1").split(b"\n")
    elif what == 4:
        lines[at] = lines[at].partition(b"=")[0] + b"=" + dice.choice(other).partition(b"=")[2]
    elif what == 5 and text:
        at = dice.randrange(len(text))
        return text[:at] + bytes([dice.randrange(256)]) + text[at + 1:]
    elif what == 6:
        return text[:dice.randrange(len(text) + 1)]
    else:
        lines.append(dice.choice(GRAINS).encode("latin-1"))
    return b"\n".join(lines)


def endless(seed, folder):
    """One file after the other, each with one to three changes."""
    dice, files = random.Random(seed), corpus()
    while True:
        text = dice.choice(files)
        for _ in range(dice.choice((1, 1, 2, 3))):
            text = spoil(dice, text, files)
        yield without_reach(text, str(folder))
