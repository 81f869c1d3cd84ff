"""The sessions that the README shows, typed again: the same lines, but for pids and times."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

import harness

README = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
WHAT = r"\d[\d.]*(ms|s|m|h|M|K|%)?\b%?"  # a number, a time, a size


def shape(lines):
    """What is the same each time: the kinds of lines, without numbers and the width of columns."""
    return {" ".join(re.sub(WHAT, "#", line).split()) for line in lines if line.strip()}


def session(command):
    """The lines that the README shows below `$ command`."""
    part = README.split(f"    $ {command}")[1].split("\n\n    $ ")[0]
    lines = []
    for line in part.split("\n")[1:]:
        if line and not line.startswith("    "):
            break
        lines.append(line[4:])
    return lines


@unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
class Readme(harness.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="readme-"))
        self.addCleanup(harness.shutil.rmtree, self.folder)
        self.log = self.folder / "log"

    def lines(self):
        """What clusterd has said, without the times that begin each line."""
        return [re.sub(r"^\S+Z ", "", line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def ctl(self, words):
        done = subprocess.run([harness.CLUSTERCTL, "-s", f"{self.folder}/app.sock", "--width", "0", *words.split()], capture_output=True,
                              text=True, check=True, timeout=harness.DEADLINE)
        return done.stdout.splitlines()

    def test_sessions(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("LISTEN_", "NOTIFY_"))}
        environment |= {"PORT": str(harness.free_port()), "PATH": f"{pathlib.Path(harness.APP).parent}:{os.environ['PATH']}"}
        environment["ASAN_OPTIONS"] = "detect_leaks=0"  # the leak check of a process that ends can take for ever
        with self.log.open("wb") as log:
            clusterd = subprocess.Popen([harness.CLUSTERD, "--set", f"control.socket={self.folder}/app.sock", "-n", "2", "--", "app"],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.addCleanup(clusterd.wait)
        self.addCleanup(clusterd.kill)
        harness.eventually(lambda: "up: 2 of 2" in self.log.read_text(encoding="utf-8"), "it is up")
        self.assertEqual(shape(self.lines()), shape(session("clusterd -n 2 -- app")))

        begun = len(self.lines())
        os.kill(int(re.search(r"worker 0 \(pid (\d+)\) started", "\n".join(self.lines())).group(1)), signal.SIGKILL)
        harness.eventually(lambda: "ready after" in "\n".join(self.lines()[begun:]), "the next one")
        self.assertEqual(shape(self.lines()[begun:]), shape(session("kill -9 7043")))

        self.assertEqual(shape(self.ctl("status")), shape(session("clusterctl status")))
        self.assertEqual(shape([" ".join(self.ctl("why 0"))]), shape([" ".join(session("clusterctl why 0"))]))  # it is wrapped
        self.assertEqual(shape(self.ctl("roll")), shape(session("clusterctl roll")))
        clusterd.terminate()
        self.assertEqual(clusterd.wait(harness.DEADLINE), 0)


harness.main()
