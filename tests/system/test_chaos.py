"""The world around clusterd breaks, up to three faults at a time, and all is well again when they end.

    CLUSTERD=... CLUSTERCTL=... APP=... python3 tests/system/test_chaos.py [SEED [ROUNDS]]

test_monkey asks clusterd for anything; here it is the disk, the descriptors, the threads, the control
socket, the policy, the programs and the scheduler that fail, while it is asked for what an operator asks
for. A seed repeats the faults, not how they interleave.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

import harness

POLICY = """
[ready]
when = notify
timeout = 2s
[restart]
stable = 0
delay_max = 500ms
[stop]
timeout = 2s
[health]
watchdog = 3s
[log]
file = log
"""
WORKERS = 3
PATIENCE = 2 * harness.DEADLINE  # more than the trial run of a program that hangs is given
KINDS = {"empty": b"", "garbage": b"\x7fELF" + bytes(999), "ends": b"#!/bin/sh\nexit 3\n",
         "no interpreter": b"#!/nonexistent\n", "sleeps": b"#!/bin/sh\nexec sleep 3\n"}


@unittest.skipUnless(shutil.which(harness.CLUSTERCTL) and shutil.which(harness.APP), "clusterctl and app are not built")
class Chaos(harness.TestCase):
    def limit(self, what, soft):
        before = resource.prlimit(self.c.pid, what)
        resource.prlimit(self.c.pid, what, (min(soft, before[1]) if before[1] >= 0 else soft, before[1]))
        return lambda: resource.prlimit(self.c.pid, what, before)

    def disk_is_full(self):
        return self.limit(resource.RLIMIT_FSIZE, 0)

    def descriptors_are_short(self):
        return self.limit(resource.RLIMIT_NOFILE, max(harness.fds(self.c.pid)) + 1 - self.random.randint(0, 4))

    def no_thread_and_little_memory(self):
        if harness.SLOW > 1:
            return lambda: None  # a sanitizer needs address space
        used = int(harness.status_field(self.c.pid, "VmSize").split()[0]) * 1024
        return self.limit(resource.RLIMIT_AS, used + self.random.choice([0, 1 << 16, 1 << 20]))

    def control_socket_is_gone(self):
        if self.random.random() < 0.5:
            shutil.rmtree(self.c.socket.parent, True)
        else:
            self.c.socket.unlink(True)
        return lambda: None

    def policy_is_none(self):
        path = self.c.policy_file
        kept = path.read_bytes()
        path.unlink()
        make, mend = self.random.choice([
            (path.mkdir, path.rmdir), (lambda: os.mkfifo(path), path.unlink), (lambda: path.write_text("[nope]\n"), path.unlink),
            (lambda: path.symlink_to(path), path.unlink), (lambda: None, lambda: None)])
        make()
        return lambda: (mend(), path.write_bytes(kept))

    def spoil(self, path):
        kept, kind = path.read_bytes(), self.random.choice(sorted(KINDS))
        self.put(path, KINDS[kind])
        return lambda: self.put(path, kept)

    def program_is_spoilt(self):
        return self.spoil(self.program)

    def own_program_is_spoilt(self):
        return self.spoil(self.own)

    def supervisor_stands_still(self):
        self.c.kill(signal.SIGSTOP)
        return lambda: self.c.kill(signal.SIGCONT)

    def worker_stands_still(self):
        workers = self.c.workers()
        if workers:
            self.signal(signal.SIGSTOP, workers[0])
        return lambda: workers and self.signal(signal.SIGCONT, workers[0])

    FAULTS = (disk_is_full, descriptors_are_short, no_thread_and_little_memory, control_socket_is_gone, policy_is_none,
              program_is_spoilt, own_program_is_spoilt, supervisor_stands_still, worker_stands_still)

    def put(self, path, content):
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.chmod(0o755)
        os.rename(new, path)

    def signal(self, signo, pid):
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            pass

    def act(self):
        """What happens all the time: workers die, and somebody wants something."""
        workers = self.c.workers()
        for pid in self.random.choice([workers, workers[:1], []]):
            self.signal(self.random.choice([signal.SIGKILL, signal.SIGUSR2, signal.SIGTERM]), pid)
        self.c.kill(self.random.choice([signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU]))
        words = self.random.choice([("roll",), ("upgrade",), ("scale", "5"), ("reload",), ()])
        if words:
            self.asked.append(subprocess.Popen([harness.CLUSTERCTL, "-s", self.c.socket, *words, "--no-wait"], stdin=subprocess.DEVNULL,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(self.random.choice([0, 0.02, 0.2]))

    def done(self, *words):
        """As soon as it is: an upgrade or a roll of before may have to end first."""
        harness.eventually(lambda: subprocess.run(
            [harness.CLUSTERCTL, "-s", self.c.socket, *words], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=PATIENCE, check=False).returncode == 0, " ".join(words), PATIENCE)

    def well(self):
        """As many workers as are wanted, and everything that an operator asks for is done."""
        self.c.kill(signal.SIGUSR1)
        for words in (("reset",), ("scale", str(WORKERS)), ("wait", "ready"), ("reload",), ("upgrade",), ("roll",), ("status",)):
            self.done(*words)
        harness.eventually(lambda: len(harness.children(self.c.pid)) == WORKERS, "no process too many", PATIENCE)
        harness.eventually(lambda: len(harness.fds(self.c.pid)) <= self.descriptors, "no descriptor too many")
        load = harness.Load(self.c.port, 4, pause=0.005)
        time.sleep(0.3)
        _, lost = load.stop(least=1)
        self.assertEqual(lost, [])

    def round(self):
        self.asked = []
        faults = self.random.sample(self.FAULTS, self.random.randint(1, 3))
        with self.subTest(faults=[fault.__name__ for fault in faults]):
            cures = []
            for fault in faults:
                cures.append(fault(self))
                self.act()
            time.sleep(self.random.choice([0, 0.3, 1]))
            self.random.shuffle(cures)
            for cure in cures:
                cure()
            for one in self.asked:
                one.wait(4 * harness.DEADLINE)
            self.assertIsNone(self.c.process.poll(), "it ended")
            self.well()

    def play(self, seed, rounds):
        self.random = random.Random(seed)
        folder = harness.pathlib.Path(harness.tempfile.mkdtemp(prefix="chaos-"))
        self.addCleanup(shutil.rmtree, folder)
        self.program, self.own = folder / "app", folder / "clusterd"
        shutil.copy(harness.APP, self.program)
        before, harness.CLUSTERD = harness.CLUSTERD, shutil.copy(harness.CLUSTERD, self.own)
        try:
            self.c = self.cluster(self.program, policy=POLICY, flags=("-n", WORKERS, "--set", "control.socket=run/web.sock"))
        finally:
            harness.CLUSTERD = before
        self.c.socket = self.c.folder / "run" / "web.sock"
        harness.eventually(lambda: self.c.socket.exists() and self.c.ctl("wait", "ready"), "ready")
        self.descriptors = len(harness.fds(self.c.pid)) + 1
        for _ in range(rounds):
            self.round()
        self.assertEqual(self.c.stop(), 0)

    def test_all_is_well_again(self):
        self.play(7, 8)


if len(sys.argv) > 1 and sys.argv[1].isdigit():
    chaos = Chaos("test_all_is_well_again")
    SEED, ROUNDS = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100
    chaos.test_all_is_well_again = lambda: chaos.play(SEED, ROUNDS)
    result = chaos.run()
    print(*(text for _, text in result.errors + result.failures), result, sep="\n")
else:
    harness.main()
