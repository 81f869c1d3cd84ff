"""Runs the real clusterd and watches it from outside.

A test makes a Cluster, waits for its events (each wait has a deadline), does harm,
and waits again. When the test ends the harness stops the cluster and asserts what
must hold after any test: the announced exit status, no zombie, no process left, no
descriptor more than before, no socket or pid file, no sanitizer report, and no line
of level warn or error that the test did not announce.

The environment names the binaries: CLUSTERD, CLUSTERCTL, APP, PROBE; PORT_BASE is the
first of sixty ports that belong to this test file.
"""

import array
import atexit
import collections
import ctypes
import fcntl
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest
from datetime import datetime

CLUSTERD = os.environ.get("CLUSTERD", "clusterd")
CLUSTERCTL = os.environ.get("CLUSTERCTL", "clusterctl")
APP = os.environ.get("APP", "app")
PROBE = os.environ.get("PROBE", "probe")
HARM = os.environ.get("HARM", "")  # tests/workers/harm.c; none where a sanitizer is
SLOW = float(os.environ.get("SLOW", "1"))  # > 1 where a sanitizer makes everything slower
DEADLINE = 20 * SLOW  # for what is to come: only what fails takes so long


def _for_everybody(programs):
    """Where each can be executed by any user. A build below /root can not: then copies are."""
    folders = {parent for program in programs if os.path.isabs(program)
               for parent in pathlib.Path(program).resolve().parents}
    if os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in folders if folder.exists()):
        return programs
    place = tempfile.mkdtemp(prefix="clusterd-programs-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.chmod(place, 0o755)
    return [shutil.copy(program, place) if os.path.exists(program) else program for program in programs]


CLUSTERD, CLUSTERCTL, APP, PROBE = _for_everybody([CLUSTERD, CLUSTERCTL, APP, PROBE])


def private_mounts():
    """May this process have mounts of its own? In a chroot whose root is no mount it may not, root or not."""
    return bool(shutil.which("unshare")) and subprocess.run(
        ["unshare", "--mount", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
PORTS = 60
TCPI_LAST_DATA_RECV = 52  # of struct tcp_info, linux/tcp.h; milliseconds ago
_first_port = int(os.environ.get("PORT_BASE", "23000"))
_ports = itertools.cycle(range(_first_port, _first_port + PORTS))


def free_port():
    """A port of this file's range that nobody has bound; not one of those that were given out last."""
    for port in itertools.islice(_ports, PORTS):
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("::", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def eventually(condition, what, deadline=DEADLINE):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        time.sleep(0.005)


class Standstill(threading.Thread):
    """Sleeps a little again and again: while it sleeps much too long nobody runs, as on a virtual machine that is stopped."""

    STEP, GRACE = 0.02, 0.05

    def __init__(self):
        super().__init__(daemon=True)
        self.before, self.since = 0.0, time.monotonic()
        self.start()

    def seconds(self):
        """All so far, with what it has not woken up from yet."""
        late = time.monotonic() - self.since - self.STEP
        return self.before + (late if late > self.GRACE else 0)

    def run(self):
        while True:
            time.sleep(self.STEP)
            self.before, self.since = self.seconds(), time.monotonic()


_standstill = Standstill()


def stalled():
    """Seconds that were lost, ever: somebody was ready to run and got no CPU, proc(5) pressure, or nobody ran at all."""
    try:
        waited = int(pathlib.Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6
    except (OSError, IndexError):
        waited = 0.0
    return waited + _standstill.seconds()


def stat_of(pid):
    """(state, parent, group) of a process, or None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2:].split()
    return fields[0], int(fields[1]), int(fields[2])


def children(parent):
    """{pid: state} of every child process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (info := stat_of(int(entry))) and info[1] == parent:
            found[int(entry)] = info[0]
    return found


def status_field(pid, field):
    """One field of /proc/PID/status, such as SigIgn."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == field:
            return value.strip()
    raise KeyError(field)


def unread(pipe):
    """Bytes that wait in it."""
    left = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    return left[0]


def rests(pid):
    """It has not run for a fifth of a second."""
    before = status_field(pid, "voluntary_ctxt_switches")
    time.sleep(0.2)
    return status_field(pid, "voluntary_ctxt_switches") == before


def fds(pid):
    """{number: what it points to}"""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            pass
    return found


def environ(pid):
    """The environment a process was started with; empty for an instant while it executes."""
    text = eventually(pathlib.Path(f"/proc/{pid}/environ").read_bytes, f"the environment of {pid}")
    return dict(item.split(b"=", 1) for item in text.split(b"\0") if b"=" in item)


class Event(dict):
    def __getattr__(self, field):
        return self.get(field)

    @property
    def when(self):
        """Seconds since the epoch by its time stamp; ["at"] is when it was read, which may be later."""
        return datetime.fromisoformat(self.time.replace("Z", "+00:00")).timestamp()


def sanitizer_reports(folder):
    """A leak checker that was killed together with its process has found nothing, nor said it."""
    for report in sorted(folder.glob("*san.*")):
        text = report.read_text()
        if "ERROR" in text or (text and "Unable to get registers" not in text):
            yield text


class Cluster:
    """One clusterd, started by the constructor."""

    def __init__(self, test, *program, policy="", flags=(), listen=True, env=None, name="web",
                 pass_fds=(), preexec=None, log_level="info", stdout=None, prefix=(), nested=False, after=None):
        self.test = test
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="clusterd-"))
        self.events, self.lines = [], []
        self.odd_lines = []  # what a terminal could stumble over
        self.announced = set()
        self.expected_status = 0
        self.changed = threading.Condition()
        self.stopped = None
        self.finished = False
        self.ended = False  # nothing more will be read from its log
        self.taken = collections.Counter()  # bytes read of each stream
        self.baseline = None
        self.port = after.port if after else free_port() if listen else None
        self.socket = after.socket if after else self.folder / "control.sock"  # `after` another was killed
        self.policy_file = self.folder / "policy.conf"
        self.policy_file.write_text(policy, encoding="utf-8")
        command = [*prefix, CLUSTERD, "--log-format", "json", "--name", name,
                   "--set", f"control.socket={self.socket}",
                   "--set", f"log.level={log_level}"]
        if policy:
            command += ["-c", str(self.policy_file)]
        if self.port:
            command += ["-l", f"127.0.0.1:{self.port}"]
        if SLOW > 1:  # the leak check of a process that ends under load can take for ever
            command += ["--set", f"env.ASAN_OPTIONS=log_path={self.folder}/asan:detect_leaks=0"]
        command += [str(flag) for flag in flags]
        if program:
            command += ["--", *map(str, program)]
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "CLUSTERD_"))}
        environment.pop("PORT", None)
        # detect_stack_use_after_return and friends stay off: the limits of workers are tested too.
        environment["ASAN_OPTIONS"] = f"log_path={self.folder}/asan:exitcode=99:abort_on_error=0"
        environment["UBSAN_OPTIONS"] = f"log_path={self.folder}/ubsan:print_stacktrace=1"
        environment["XDG_RUNTIME_DIR"] = str(self.folder)
        environment.update(env or {})
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, cwd=self.folder, start_new_session=True, pass_fds=pass_fds,
            preexec_fn=preexec)
        # A thousand workers say much at once, and the log drops what nobody reads.
        fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.pid = self.process.pid
        if nested:  # the prefix forks: clusterd is its child
            self.pid = next(iter(eventually(lambda: children(self.process.pid), "the child of the prefix")))
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        if self.process.stdout:
            threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        test.addCleanup(self.finish)

    def _read(self, stream):
        """Takes bytes out of the pipe under the lock only: what is no longer in it can be seen by all()."""
        rest = b""
        fd = os.dup(stream.fileno())  # the stream may be closed first
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        try:
            while True:
                waiting.poll()
                with self.changed:
                    data = os.read(fd, 65536)
                    if not data:
                        break
                    self.taken[stream] += len(data)
                    *lines, rest = (rest + data).split(b"\n")
                    for raw in lines:
                        self._take_line(raw)
                    self.changed.notify_all()
        finally:
            os.close(fd)
            with self.changed:
                if rest:
                    self._take_line(rest)
                self.ended = self.ended or stream is self.process.stderr
                self.changed.notify_all()

    def _take_line(self, raw):
        line = raw.decode("utf-8", "replace")
        if any(c < 32 or c == 127 for c in raw):
            self.odd_lines.append(raw)
        try:
            event = Event(json.loads(line))
            if "event" not in event:
                raise ValueError
        except (ValueError, TypeError):
            event = None
        if event is None:
            self.lines.append(line)
        elif event["event"] == "output":  # a captured line of a worker
            self.lines.append(f"{event['name']}[{event['slot']}] {event['line']}")
        else:
            event["at"] = time.monotonic()
            self.events.append(event)

    def _catch_up(self):
        """Waits, with the lock, until all that was written so far has been read."""
        for stream in filter(None, (self.process.stderr, self.process.stdout)):
            try:
                wanted = self.taken[stream] + unread(stream)
            except ValueError:  # closed
                continue
            self.changed.wait_for(lambda stream=stream, wanted=wanted: self.taken[stream] >= wanted, DEADLINE)

    @property
    def other(self):
        """The lines written so far that are no events of ours: the output of workers."""
        with self.changed:
            self._catch_up()
            return list(self.lines)

    # -- waiting --

    def mark(self):
        """From here on: pass it as since= to a wait."""
        with self.changed:
            self._catch_up()
            return len(self.events)

    def all(self, name, since=0, **fields):
        """The events written so far that match."""
        with self.changed:
            self._catch_up()
            return [e for e in self.events[since:]
                    if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]

    def wait_events(self, count, name, since=0, deadline=DEADLINE, **fields):
        """Waits until `count` events match and returns them. The deadline is that of each."""
        end, before = time.monotonic() + deadline, 0
        with self.changed:
            while True:
                found = [e for e in self.events[since:]
                         if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]
                if len(found) >= count:
                    return found
                if len(found) > before:
                    end, before = time.monotonic() + deadline, len(found)
                left = 0 if self.ended else end - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"{len(found)} of {count} {name} {fields}"
                        + (" and the log has ended" if self.ended else f" within {deadline:g} s")
                        + ";\n" + self.tail())
                self.changed.wait(left)

    def wait_event(self, name, since=0, deadline=DEADLINE, **fields):
        return self.wait_events(1, name, since, deadline, **fields)[0]

    def wait_note(self, text, since=0, deadline=DEADLINE):
        """Waits for a note with this in it: on a busy machine others may come before."""
        return eventually(lambda: next((e for e in self.all("note", since) if text in e.text), None),
                          f"a note {text!r}\n{self.tail()}", deadline)

    def wait_line(self, text, deadline=DEADLINE):
        """Waits for a line that is no event of ours: output of a worker."""
        eventually(lambda: any(text in line for line in list(self.lines)), f"line {text!r}\n{self.tail()}",
                   deadline)

    def wait_lines(self, count, line, deadline=DEADLINE):
        """Waits until this very line is there so many times, as from each worker that is armed."""
        eventually(lambda: self.lines.count(line) == count, f"{count} lines {line!r}\n{self.tail()}", deadline)

    def tail(self):
        count = int(os.environ.get("TAIL", "12"))
        return "\n".join([json.dumps(e) for e in self.events[-count:]] + self.lines[-count:])

    def ready(self, workers, since=0, deadline=DEADLINE):
        """Waits for that many ready workers; what is open then is the baseline of the fd check."""
        found = self.wait_events(workers, "worker.ready", since, deadline)
        if self.baseline is None:
            self.rebase()
        return found

    def rebase(self):
        """The number of workers is meant to be this from now on."""
        live = len(self.workers())
        end = time.monotonic() + 3 * SLOW  # not for ever: where descriptors are short there may be none
        while self._notify_sockets() <= live and time.monotonic() < end:
            time.sleep(0.001)
        self.baseline = (live, len(fds(self.pid)))

    def _notify_sockets(self):
        """One for each worker, and one that waits for the next: that is opened a moment after a start."""
        ours = set(fds(self.pid).values())
        table = pathlib.Path(f"/proc/{self.pid}/net/unix").read_text(encoding="utf-8", errors="replace")
        return sum(f"socket:[{row[6]}]" in ours for row in map(str.split, table.splitlines()[1:])
                   if row[4] == "0002" and row[-1].startswith("@"))

    def workers(self):
        """pids of the live children of clusterd."""
        return [pid for pid, state in children(self.pid).items() if state not in "ZX"]

    def pid_of(self, slot):
        """The newest pid started in a slot."""
        return [e["pid"] for e in self.all("worker.start", slot=slot)][-1]

    # -- acting --

    def kill(self, signo, pid=None):
        os.kill(pid or self.pid, signo)
        if signo == signal.SIGSTOP:
            # On another CPU it runs on for a moment, and may take a connection with it.
            eventually(lambda: (stat_of(pid or self.pid) or "T")[0] in "TtZX", "stopped")

    def announce(self, *names):
        """Events of level warn or error that belong to this test."""
        self.announced.update(names)

    def ctl(self, *words, status=0, deadline=DEADLINE):
        """Runs clusterctl; returns what it printed."""
        done = subprocess.run([CLUSTERCTL, "-s", str(self.socket), *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=deadline, check=False)
        if status is not None:
            self.test.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def asked(self, *words):
        """A clusterctl that waits, as a context; its stdout is all that it says."""
        return subprocess.Popen([CLUSTERCTL, "-s", str(self.socket), *words], text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait(self, deadline=DEADLINE):
        """Waits for clusterd's own end; returns its exit status."""
        try:
            self.stopped = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"clusterd still runs after {deadline:g} s;\n" + self.tail()) from None
        self.reader.join(5)
        return self.stopped

    def stop(self, signo=signal.SIGTERM, deadline=DEADLINE):
        self.kill(signo)
        return self.wait(deadline)

    def tidy(self):
        """What a killed clusterd could not take away."""
        for path in (*self.folder.rglob("*.sock"), *self.folder.rglob("*.workers")):
            path.unlink()

    # -- after every test --

    def finish(self):
        if self.finished:
            return
        self.finished = True
        try:
            if self.process.poll() is None:
                self._assert_sound()
                self.kill(signal.SIGTERM)
                self.wait(30 * SLOW)
            elif self.stopped is None:
                self.stopped = self.process.returncode
                self.reader.join(5)
            self._assert_clean()
        finally:
            self._sweep()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _assert_sound(self):
        """What must hold of a clusterd that runs."""
        eventually(lambda: "Z" not in children(self.pid).values(), "no zombie")
        if self.baseline and len(self.workers()) == self.baseline[0]:
            # Fewer is fine: what a readiness was asked with may have been open when they were counted.
            eventually(lambda: len(fds(self.pid)) <= self.baseline[1],
                       f"{self.baseline[1]} descriptors as before, not {len(fds(self.pid))}: {fds(self.pid)}")

    def _assert_clean(self):
        """What must hold when clusterd has ended."""
        self.test.assertEqual(self.stopped, self.expected_status, self.tail())
        for text in sanitizer_reports(self.folder):
            self.test.fail(text[:8000])
        for path in self.folder.rglob("*"):
            self.test.assertFalse(stat.S_ISSOCK(path.lstat().st_mode), f"{path} was left behind")
            self.test.assertNotIn(path.suffix, (".pid", ".workers"), f"{path} was left behind")
        for event in self.events:
            if event["level"] in ("warn", "error") and event["event"] not in self.announced:
                self.test.fail(f"not announced: {json.dumps(event)}")
        # What was killed with its process group may take an instant to go.
        eventually(lambda: not self._left(), f"no process left behind: {self._left()}")

    def _left(self):
        """{pid: command line} of processes that outlive clusterd."""
        found = {}
        for pid, state in children(os.getpid()).items():
            if pid != self.process.pid and state not in "ZX":
                try:
                    found[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    pass
        return found

    def _sweep(self):
        """Whatever happened: nothing of this cluster outlives its test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in children(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class TestCase(unittest.TestCase):
    """A test of the real binaries; its name begins with the row of the catalogue it stands for."""

    maxDiff = None
    last = None

    def run(self, result=None):
        self.stalled = stalled()
        return super().run(result)

    def slack(self):
        """How much later than it should be something may have been for want of CPU alone, since the test began.

        Next to nothing on a quiet machine, where a limit of time is judged strictly.
        """
        return stalled() - self.stalled

    def cluster(self, *program, beside=False, **options):
        """Starts a cluster; the one before it is ended and judged first, unless it runs beside it."""
        if self.last and not beside:
            self.last.finish()
        self.last = Cluster(self, *program, **options)
        return self.last

    def sh(self, script, **options):
        """A cluster of shell scripts: sh -c SCRIPT."""
        return self.cluster("/bin/sh", "-c", script, **options)

    def run_clusterd(self, *words, env=None, deadline=DEADLINE, **process):
        """Runs clusterd to its end; for what ends at once. What is left over is for subprocess.run."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LISTEN_")}
        environment.pop("PORT", None)
        environment.update(env or {})
        return subprocess.run([CLUSTERD, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=deadline, check=False, env=environment, **process)


class Load:
    """Clients that number every request, never retry and count each failure.

    One connection per request, or keep-alive. Each POST must come back with its own number. What a client
    asks on a connection that has rested for so long that a worker which stops may have ended it is not counted.
    """

    PATIENCE = 0.8  # app waits a second

    def __init__(self, port, clients=8, keep_alive=False, pause=0):
        self.port, self.keep_alive, self.pause = port, keep_alive, pause
        self.sent, self.lost = 0, []
        self.lock = threading.Lock()
        self.halt = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, client):
        connection, number = None, client * 1_000_000
        while not self.halt.is_set():
            number += 1
            try:
                if connection is None:
                    connection = Connection(self.port)
                again = connection.post({"n": number}, self.keep_alive)
            except (OSError, AssertionError, ValueError) as error:
                again = False
                if connection is None or connection.rested < self.PATIENCE:
                    with self.lock:
                        self.lost.append(f"{number}: {type(error).__name__} {error}" + (
                            f", {connection.rested} s at rest after {connection.answers} answers" if connection else ""))
            if not (again and self.keep_alive) and connection:
                connection.close()
                connection = None
            with self.lock:
                self.sent += 1
            if self.pause:
                time.sleep(self.pause)
        if connection:
            connection.close()

    def stop(self, least=0):
        """Ends the clients once they have sent at least that many; returns (requests sent, list of those that were lost)."""
        eventually(lambda: self.sent >= least, f"{least} requests")
        self.halt.set()
        for thread in self.threads:
            thread.join(DEADLINE)
        return self.sent, self.lost


class Connection:
    """A raw HTTP/1.1 client connection."""

    def __init__(self, port, host="127.0.0.1", timeout=DEADLINE):
        self.rested = 0  # seconds between the last answer, or the connect, and what was sent next
        self.answers = 0
        self.socket = socket.create_connection((host, port), timeout)
        self.file = self.socket.makefile("rb")

    def send(self, text):
        # The kernel knows when the answer came; who gets no CPU knows only when it read it.
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        self.rested = struct.unpack_from("I", info, TCPI_LAST_DATA_RECV)[0] / 1000
        begun = time.monotonic()
        try:
            self.socket.sendall(text.encode() if isinstance(text, str) else text)
        finally:
            self.rested += time.monotonic() - begun

    def response(self):
        """(status, headers, body) of the next answer."""
        line = self.file.readline()
        if not line:
            raise ConnectionResetError("closed before the answer")
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline().strip()):
            key, _, value = line.decode().partition(":")
            headers[key.lower()] = value.strip()
        body = self.file.read(int(headers.get("content-length", 0)))
        self.answers += 1
        return status, headers, body

    def get(self, path="/get"):
        self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
        return self.response()

    def post(self, document, keep_alive=True):
        """Sends a document, checks that the same comes back; true if the connection lives on."""
        body = json.dumps(document)
        close = "" if keep_alive else "Connection: close\r\n"
        self.send(f"POST /post HTTP/1.1\r\nHost: test\r\n{close}Content-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}")
        status, headers, answer = self.response()
        if status != 200 or document["n"] != find_number(json.loads(answer)):
            raise AssertionError(f"status {status}, {answer!r}")
        return headers.get("connection", "").lower() != "close"

    def close(self):
        self.file.close()
        self.socket.close()


def find_number(document):
    """The number of a request, wherever the answer holds the document that was sent."""
    if isinstance(document, dict):
        if "n" in document:
            return document["n"]
        for value in document.values():
            if (found := find_number(value)) is not None:
                return found
    return None


class Notify:
    """A service manager's side of sd_notify(3): collects what clusterd says to it."""

    def __init__(self, test, folder):
        self.path = str(pathlib.Path(folder) / "notify.manager")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.seen = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self._close)

    def _close(self):
        """The reader ends first: a number that is free again may be that of the next one's socket."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.socket.close()

    def _read(self):
        while text := self.socket.recv(65536).decode("utf-8", "replace"):
            self.seen += text.splitlines()

    def wait(self, line, deadline=DEADLINE):
        eventually(lambda: any(one == line or one.startswith(line + "=") for one in self.seen),
                   f"{line} to the service manager, seen: {self.seen}", deadline)


def main():
    if not os.access(CLUSTERD, os.X_OK) and not shutil.which(CLUSTERD):
        print(f"{CLUSTERD} is not built")
        raise SystemExit(1)
    unittest.main(verbosity=2)
