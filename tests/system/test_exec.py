"""clusterd-exec: a script between clusterd and the program."""

import os
import pathlib
import re
import subprocess
import unittest

import harness

EXEC = os.environ.get("CLUSTERD_EXEC")
APP = os.environ.get("APP")


@unittest.skipUnless(EXEC and APP, "CLUSTERD_EXEC or APP is not set")
class Exec(harness.TestCase):
    def behind_a_script(self, line):
        # The echo keeps the shell from executing its last command in its own place.
        c = self.cluster("/bin/sh", "-c", f"{line}; echo ended >&2",
                         policy="[ready]\nwhen = notify\n", flags=("-n", 1))
        return c

    def test_the_program_has_its_socket(self):
        c = self.behind_a_script(f"{EXEC} {APP}")
        c.ready(1)
        client = harness.Connection(c.port)
        self.addCleanup(client.close)
        self.assertEqual(client.get()[0], 200)

    def test_without_it_the_program_ignores_the_socket(self):
        c = self.behind_a_script(f"PORT=nonsense {APP}")
        c.announce("worker.exit", "give_up", "stop")
        c.expected_status = 69
        self.assertEqual(c.wait(), 69)

    def test_the_script_of_the_page(self):
        """clusterd-exec(1): the server is asked to end, it does, and what comes after it is done."""
        page = (pathlib.Path(__file__).parents[2] / "man/clusterd-exec.1").read_text(encoding="utf-8")
        script = re.search(r"^\.Bd [^\n]*\n(#!/bin/sh\n.*?)^\.Ed", page, flags=re.M | re.S).group(1)
        for name, ours in (("clusterd-exec ", f"{EXEC} "), ("./server", APP), ("tidy-up", "echo tidied up >&2")):
            self.assertIn(name, script)
            script = script.replace(name, ours)
        c = self.cluster("/bin/sh", "-c", script, policy="[ready]\nwhen = notify\n", flags=("-n", 1))
        c.announce("notify.refused")  # its last word may come when it is no process any more
        c.ready(1)
        client = harness.Connection(c.port)
        self.assertEqual(client.get()[0], 200)
        client.close()
        self.assertEqual(c.stop(), 0)
        self.assertEqual([e.code for e in c.all("worker.exit")], [0])
        self.assertIn("tidied up", c.other)

    def test_usage(self):
        for arguments, status in (((), 64), (("--help",), 64), (("/no/such/program",), 127), (("/etc/passwd",), 126)):
            with self.subTest(arguments=arguments):
                done = subprocess.run([EXEC, *arguments], capture_output=True, timeout=harness.DEADLINE, check=False)
                self.assertEqual(done.returncode, status)
                self.assertEqual(done.stdout, b"")
                self.assertIn(b"clusterd-exec", done.stderr)


if __name__ == "__main__":
    harness.main()
