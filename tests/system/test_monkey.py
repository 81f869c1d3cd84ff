"""Random policies, programs, signals and requests: whatever is done to clusterd, it goes on or ends by a rule.

    CLUSTERD=... CLUSTERCTL=... PROBE=... python3 tests/system/test_monkey.py [SEED [ROUNDS]]

A round is one clusterd. It answers all the time, ends with a documented status only, stops when it is
asked to, and leaves neither a process nor a sanitizer's report behind. A seed repeats what is asked for,
not how it interleaves; build with -DCLUSTERD_SANITIZE=address,undefined to see the most.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import harness
from harness import CLUSTERCTL, CLUSTERD, PROBE

PATIENCE = 30 * harness.SLOW
ENDS = {0, 69, 71, 73, 77, 78, 126, 127}
SHORT = ["0", "1ms", "20ms", "100ms", "400ms"]
VALUES = {
    "cluster.workers": ["1", "2", "3", "5", "auto"],
    "cluster.activation": ["systemd", "systemd einhorn", "server-starter", "nginx unicorn", "puma", "none"],
    "cluster.umask": ["077"], "cluster.nice": ["5"], "cluster.no_new_privs": ["yes"], "cluster.cpu": ["pin"],
    "cluster.env_clear": ["yes"], "limit.nofile": ["64", "256:1024"], "limit.core": ["0"], "limit.stack": ["1M"],
    "restart.when": ["always", "on-failure", "on-abnormal", "never"],
    "restart.delay": SHORT, "restart.delay_max": SHORT + ["1s"], "restart.stable": SHORT + ["10s"],
    "restart.burst": ["1", "3", "64"], "restart.window": ["1ms", "1s", "60s"],
    "restart.give_up": ["hold", "retire", "exit"], "restart.cluster_burst": ["1", "10", "1024"],
    "ready.when": ["auto", "notify", "alive", "fd", "command", "http /"],
    "ready.after": SHORT, "ready.timeout": ["0", "50ms", "400ms", "2s"],
    "ready.command": ["/bin/true", "/bin/false", "/bin/sleep 1", "/nonexistent"],
    "stop.signal": ["SIGTERM", "SIGINT", "SIGUSR2", "SIGWINCH"],
    "stop.timeout": ["0", "50ms", "300ms", "1s"], "stop.drain_delay": ["0", "50ms", "300ms"],
    "stop.kill": ["group", "process"],
    "roll.surge": ["1", "2", "64"], "roll.tries": ["1", "3"], "roll.on_failure": ["rollback", "stop"],
    "roll.pause": SHORT, "recycle.max_rss": ["1M", "3M", "1G"], "recycle.max_lifetime": ["100ms", "500ms", "2s"],
    "recycle.jitter": ["0%", "50%"], "recycle.at_most": ["1", "64"],
    "health.watchdog": ["50ms", "500ms"], "health.signal": ["SIGABRT", "SIGKILL", "SIGWINCH"],
    "health.http": ["/", "/nothing"], "health.accept": ["100ms", "1s"], "health.interval": ["100ms", "300ms"],
    "health.timeout": ["10ms", "200ms"], "health.failures": ["1", "3"],
    "log.format": ["text", "logfmt", "json"], "log.level": ["error", "debug"],
    "log.output": ["capture", "inherit"], "log.overflow": ["drop", "block"], "log.tail": ["0", "64K"],
    "supervisor.on_death": ["stop"], "supervisor.max_old": ["1", "2", "16"],
}
WORDS = [["ready"], ["ready-fd"], ["ready", "drain=100"], ["ready", "drain=2000"], ["ignore-term", "ready"], ["after=50", "ready"],
         ["print=hello", "error=oops", "ready"], ["flood=1", "ready"], ["fork-child", "ready"], ["setsid-child", "ready"],
         ["notify=STATUS=busy;WATCHDOG=1", "ready"], ["ready", "crash-after=3"], ["exit=0"], ["exit=3"], ["abort"],
         ["ready", "exit=7"], ["notify=STOPPING=1", "ready"], ["ready", "hang"], ["blocking", "ready"],
         ["notify=EXTEND_TIMEOUT_USEC=100000", "after=300", "ready"], ["signal=9"], ["eat-memory=4", "ready"],
         ["notify=WATCHDOG=trigger", "ready"], ["ready", "term-exit=5"], ["partial=half", "ready"]]
ASKED = ["exit=0", "exit=9", "signal=11", "signal=9", "abort", "shutdown=rdwr", "shutdown=rd", "shutdown=unspec", "backlog=1",
         "nonblock=0", "nonblock=1", "hang", "notify=READY=1", "notify=STOPPING=1", "notify=WATCHDOG=1", "ready", "print=x", "flood=1",
         "fork-child", "close=3", "error=bad", "eat-memory=8", "ignore-term"]


class Broken(Exception):
    """What should not have happened."""


def children(pid):
    out = {}
    for tid in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            found = (tid / "children").read_text().split()
        except OSError:
            continue
        for child in found:
            try:
                out[int(child)] = pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                pass
    return out


class Round:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="monkey-"))
        os.chmod(self.folder, 0o755)
        self.port = int(os.environ.get("PORT_BASE", "23000")) + seed % 50
        self.policy = self.folder / "policy.conf"
        self.program = self.folder / "program"
        self.mend()
        self.words = self.random.choice(WORDS)
        self.balance = self.random.choice(["shared", "shared", "hash", "round-robin"])
        self.listeners = self.random.choice([1, 1, 2])
        self.keys = {"stop.timeout": "1s"}
        self.log = [f"words {self.words}"]
        self.env = {key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "LISTEN_FDS")}
        self.env["ASAN_OPTIONS"] = f"log_path={self.folder}/asan"
        self.env["UBSAN_OPTIONS"] = f"log_path={self.folder}/ubsan:print_stacktrace=1"
        self.say = open(self.folder / "log", "w+b")

    def mend(self):
        new = self.folder / "new"
        shutil.copy(PROBE, new)
        os.rename(new, self.program)

    def write(self, broken=False):
        sections = {}
        for key, value in self.keys.items():
            section, name = key.split(".")
            sections.setdefault(section, []).append(f"{name} = {value}")
        text = ""
        sections.setdefault("cluster", []).append(f"command = {self.program} {' '.join(self.words)}")
        for section, lines in sections.items():
            text += f"[{section}]\n" + "\n".join(lines) + "\n"
        for i in range(self.listeners):
            address = [f"127.0.0.1:{self.port}", f"unix:{self.folder}/app.sock"][i]
            balance = f"balance = {self.balance}\n" if i == 0 else ""
            text += f"[listen l{i}]\naddress = {address}\n{balance}"
        for _ in range(self.random.choice([0, 0, 1])):
            rule = self.random.choice(["0", "7", "1-255", "SIGSEGV", "SIGKILL", "timeout", "watchdog"])
            text += f"[exit {rule}]\naction = {self.random.choice(['respawn', 'backoff', 'retire', 'exit'])}\n"
        if broken:
            text += self.random.choice(["[nope]\na = b\n", "[restart]\nwhen = maybe\n", "garbage\n", "[listen x]\naddress = 192.0.2.1:80\n"])
        self.policy.write_text(text)

    def vary(self, most):
        for key in self.random.sample(sorted(VALUES), self.random.randint(0, most)):
            self.keys[key] = self.random.choice(VALUES[key])
        if self.keys.get("ready.when") == "command":
            self.keys.setdefault("ready.command", "/bin/true")
        else:
            self.keys.pop("ready.command", None)
        for key in list(self.keys):
            if key == "ready.when" and self.keys[key].startswith("http") and self.balance != "round-robin":
                del self.keys[key]
            elif key in ("health.http", "health.accept") and self.balance != "round-robin":
                del self.keys[key]

    def start(self):
        self.vary(8)
        self.write()
        self.control = f"{self.folder}/c.sock"
        # A worker is made to die of all kinds of things: its reports go nowhere.
        theirs = "env.ASAN_OPTIONS=log_path=/dev/null:handle_segv=0:handle_abort=0:detect_leaks=0"
        self.process = subprocess.Popen([CLUSTERD, "--set", theirs, "-c", self.policy, "--set", f"control.socket={self.control}", "--name", "monkey"],
                                        stdin=subprocess.DEVNULL, stdout=self.say, stderr=self.say, env=self.env,
                                        cwd=self.folder)

    def ctl(self, *words):
        self.log.append("ctl " + " ".join(words))
        try:
            done = subprocess.run([CLUSTERCTL, "-s", self.control, *words], stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=PATIENCE, env=self.env, check=False)
        except subprocess.TimeoutExpired:
            self.fail(f"clusterctl {' '.join(words)}: no end within {PATIENCE} s")
        if done.returncode not in (0, 1, 3, 4, 64, 75) or b"\x1b" in done.stdout:
            self.fail(f"clusterctl {words}: {done.returncode} {done.stdout[-300:]} {done.stderr[-300:]}")
        return done

    def ask(self):
        word = self.random.choice(ASKED)
        self.log.append(f"ask {word}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.settimeout(0.3)
                s.sendall(f"GET /{word} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                s.recv(100)
        except OSError:
            pass

    def kill(self):
        number = self.random.choice([signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH,
                                     signal.SIGCHLD, signal.SIGPIPE])
        self.log.append(f"signal {number.name}")
        self.process.send_signal(number)

    def kill_worker(self):
        number = self.random.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM])
        victims = []
        for pid in sorted(children(self.process.pid)):
            try:
                if os.readlink(f"/proc/{pid}/exe") != CLUSTERD:  # that could be the leak checker
                    victims.append(pid)
            except OSError:
                pass
        if victims:
            self.log.append(f"worker {number.name}")
            try:
                os.kill(self.random.choice(victims), number)
            except ProcessLookupError:
                pass

    def change(self):
        if self.random.random() < 0.3:
            self.words = self.random.choice(WORDS)
        if self.random.random() < 0.2:
            self.listeners = self.random.choice([1, 2])
        self.vary(3)
        broken = self.random.random() < 0.2
        self.write(broken)
        self.log.append(f"policy{' broken' if broken else ''} {self.words} {self.keys}")
        self.ctl(*self.random.choice([["reload", "--no-wait"], ["reload", "--timeout", "1s"], ["check"], ["reload", "--dry-run"], ["config", "--diff"]]))

    def break_program(self):
        how = self.random.choice(["gone", "garbage", "mode", "script", "mend", "mend"])
        self.log.append("program " + how)
        if how == "mend":
            self.mend()
            return
        new = self.folder / "new"
        new.write_bytes({"garbage": b"\x00\x01", "script": b"#!/nonexistent\n"}.get(how, b""))
        new.chmod(0o644 if how == "mode" else 0o755)
        os.rename(new, self.program)
        if how == "gone":
            self.program.unlink()

    def verb(self):
        slot = str(self.random.randint(0, 5))
        self.ctl(*self.random.choice([
            ["scale", str(self.random.randint(0, 9)), "--no-wait"], ["scale", "+1", "--timeout", "1s"], ["scale", "-1", "--no-wait"],
            ["roll", "--no-wait"], ["roll", "--timeout", "1s"], ["restart", slot, "--no-wait"], ["drain", slot, "--no-wait"],
            ["drain", "all", "--no-wait"], ["kill", slot], ["signal", "SIGUSR1", slot], ["signal", "SIGCONT"], ["reset"], ["reset", slot],
            ["upgrade", "--timeout", "15s"], ["reopen"], ["ends"], ["why", slot], ["events"], ["logs"], ["metrics"], ["config"], ["status"],
            ["top"], ["is-ready"], ["wait", "ready", "--timeout", "300ms"]]))

    def freeze(self):
        self.log.append("freeze")
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.choice([0.05, 0.6]))
        self.process.send_signal(signal.SIGCONT)

    def alive(self):
        """Answers, or has ended by a rule."""
        if self.process.poll() is None:
            done = self.ctl("status", "--json")
            if done.returncode in (0, 1):
                for line in done.stdout.splitlines():
                    json.loads(line)
                return True
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.fail(f"status: {done.returncode} {done.stdout} {done.stderr}")
        if self.process.returncode not in ENDS:
            self.fail(f"ended with {self.process.returncode}")
        return False

    def play(self):
        self.start()
        deadline = time.monotonic() + 10
        while not os.path.exists(self.control) and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        acts = [self.ask] * 6 + [self.kill] * 2 + [self.kill_worker] * 4 + [self.change] * 2 + [self.break_program] + [self.verb] * 5 + [self.freeze]
        for _ in range(self.random.randint(5, 40)):
            if self.process.poll() is not None:
                break
            self.random.choice(acts)()
            if self.random.random() < 0.3:
                time.sleep(self.random.choice([0.001, 0.05, 0.3]))
        if self.alive():
            self.stop()
        self.check()

    def stop(self):
        self.log.append("TERM")
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail("no end after SIGTERM")
        if self.process.returncode not in ENDS:
            self.fail(f"ended with {self.process.returncode} when asked to stop")

    def check(self):
        for text in harness.sanitizer_reports(self.folder):
            self.fail(text[:3000])
        if os.path.exists(self.control):
            self.fail(f"{self.control} is left behind")
        # One in a session of its own is out of reach, and one in its worker's group with kill = process.
        if not any(word in "".join(self.log) + str(self.words) for word in ("setsid-child", "fork-child")):
            try:  # what was killed with its process group may take an instant to go
                harness.eventually(lambda: not self.left(), "nobody is left")
            except AssertionError:
                self.fail(f"left behind: {self.left()}")
        self.sweep()

    def left(self):
        """pids of those that run in our folder."""
        found = []
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(proc / "cwd").startswith(str(self.folder)) and \
                        (proc / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    found.append(int(proc.name))
            except OSError:
                pass
        return found

    def sweep(self):
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.say.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fail(self, why):
        text = f"seed {self.seed}: {why}\n{self.policy.read_text()}\n" + "\n".join(self.log[-40:])
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.say.seek(0)
        text += "\n" + self.say.read().decode(errors="replace")[-4000:]
        self.sweep()
        raise Broken(text)


def play(first, rounds):
    for seed in range(first, first + rounds):
        Round(seed).play()


class Monkey(harness.TestCase):
    def test_rounds(self):
        play(1, 14)
        play(2024, 1)  # a pool that was made anew with less room


if __name__ == "__main__" and len(sys.argv) > 1:
    play(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
else:
    harness.main()
