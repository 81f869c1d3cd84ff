"""What the measurements share: the programs, a supervisor that is watched, and tables."""
import argparse
import contextlib
import os
import pathlib
import resource
import select
import signal
import socket
import subprocess
import sys
import time

PORT_BASE = int(os.environ.get("PORT_BASE", "24000"))
DEADLINE = 120  # seconds that any one step may take


def options(text):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build", help="build folder")
    parser.add_argument("--quick", action="store_true", help="a few turns only: does it run?")
    chosen = parser.parse_args()
    build = pathlib.Path(chosen.build).resolve()
    chosen.clusterd = str(build / "cmd/clusterd/clusterd")
    chosen.app = str(build / "cmd/app/app")
    chosen.loop, chosen.worker, chosen.clock = (
        str(build / "tests/bench" / name) for name in ("bare_loop", "bare_worker", "respawn_clock"))
    for path in (chosen.clusterd, chosen.app, chosen.loop, chosen.worker, chosen.clock):
        if not os.access(path, os.X_OK):
            sys.exit(f"{path} is not built")
    allow_fds()
    return chosen


def allow_fds():
    """clusterd needs two or three for each worker; only root may raise the hard limit."""
    for limit in (65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        with contextlib.suppress(ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 1024), limit))
            return


class Supervisor:
    """A supervisor whose workers write a byte to standard output when they start."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, bufsize=0)
        self.pid = self.process.pid

    def started(self, count):
        """Waits until so many more workers have started."""
        deadline = time.monotonic() + DEADLINE
        out = self.process.stdout.fileno()
        while count > 0:
            if not select.select([out], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"{count} workers have not started")
            got = len(os.read(out, min(count, 65536)))
            if got == 0:
                raise RuntimeError("the supervisor has ended")
            count -= got

    def workers(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]

    def kill_workers(self):
        pids = self.workers()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def memory_kb(self):
        """(RSS, PSS) in KiB."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as f:
            fields = dict(line.split()[:2] for line in f if line.endswith("kB\n"))
        return int(fields["Rss:"]), int(fields["Pss:"])

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def switches(self):
        """Voluntary context switches of all its threads: each is one wake-up that was waited for."""
        total = 0
        for thread in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        while self.process.stdout.read(65536):  # until the last worker has gone, and its socket
            pass
        self.process.stdout.close()


def clusterd(chosen, count, port, program, *more):
    """Workers that are ready at once and always replaced at once, and no control socket."""
    settings = ("ready.when=alive", "ready.after=0", "restart.stable=0", "control.socket=off", *more)
    return Supervisor(chosen.clusterd, "-n", str(count), "-l", f"127.0.0.1:{port}",
                      *(word for setting in settings for word in ("--set", setting)), "--", *program)


def bare(chosen, count, port, program):
    return Supervisor(chosen.loop, str(count), str(port), *program)


def wait_port(port):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on port {port}")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def table(title, head, rows):
    print(f"{title}; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()
