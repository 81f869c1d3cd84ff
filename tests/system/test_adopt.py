"""adopt: programs that bind by themselves, unmodified."""

import collections
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import clients
import harness

HERE = pathlib.Path(__file__).resolve().parent
POLICY = "[restart]\ndelay = 50ms\n[stop]\ntimeout = 5s\n"
EVEN = "round-robin" if clients.has_bpf() else "hash"

# Numbers of system calls, and a filter that makes one fail before the program is executed.
VM_READV, PIDFD_GETFD = {"x86_64": 310, "aarch64": 270}, 438
FORBIDS = """
import ctypes, os, struct, sys
code = b"".join(struct.pack("=HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[1])), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)))
text = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(text)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program) == 0, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
"""

# A python server that binds PORT: forking and threaded forms of what servers do.
SERVER = """
import os, socket, sys, threading
host, port, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
def bind():
    s.bind((host, port))
    s.listen(100)
if form == "thread":
    t = threading.Thread(target=bind); t.start(); t.join()
elif form == "silent":
    while True: threading.Event().wait()
else:
    bind()
if form == "prefork":
    for _ in range(2):
        if os.fork() == 0:
            break
    else:
        while True: os.wait()
while True:
    c, _ = s.accept()
    with c:
        c.recv(4096)
        body = str(os.getpid()).encode()
        c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body))
"""

# Binds connections that linger, and another thread closes each while the call is looked at.
# It can hold up itself as well: when its thread has the last copy of such a connection.
LINGERER = """
import os, random, signal, socket, struct, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
wanted = ("127.0.0.1", int(sys.argv[1]))
def try_to_bind(s):
    try: s.bind(wanted)
    except OSError: pass
def attack():
    for turn in range(100):
        s = socket.create_connection(listener.getsockname())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        s.setblocking(False)
        try:
            while True: s.send(b"x" * 65536)
        except BlockingIOError: pass
        threading.Thread(target=try_to_bind, args=(s,), daemon=True).start()
        time.sleep(random.random() * 0.0004)
        threading.Thread(target=os.close, args=(s.detach(),), daemon=True).start()
        time.sleep(0.002)
attacker = threading.Thread(target=attack, daemon=True)
attacker.start()
attacker.join(5)
open("done", "w").close()
signal.pause()
"""

# Boost.Asio and others put their socket into an epoll set before they bind it.
EARLY = """
import os, select, socket, sys
s = socket.socket()
s.setblocking(False)
waits = select.epoll()
waits.register(s, select.EPOLLIN | select.EPOLLET)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(100)
while True:
    waits.poll()
    while True:
        try: c, _ = s.accept()
        except BlockingIOError: break
        with c:
            c.setblocking(True)
            c.recv(4096)
            body = str(os.getpid()).encode()
            c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body))
"""

# Serves one port, and has another for its metrics, say.
TWO = """
import signal, socket, sys
for port in sys.argv[1:]:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", int(port)))
    s.listen(100)
    s.detach()
signal.pause()
"""

GO = """
package main

import ("fmt"; "net/http"; "os")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) })
	http.ListenAndServe(os.Args[1], nil)
}
"""


def python(host="127.0.0.1", port="%{port}", form="plain"):
    return sys.executable, "-c", SERVER, host, port, form


class Adopt(harness.TestCase):
    def test_a_program_that_binds_all_the_time_does_not_fill_the_log(self):
        c = self.cluster(sys.executable, "-c", """
import os, socket, time
for _ in range(1000):
    with socket.socket() as s:
        s.bind(('127.0.0.1', int(os.environ['PORT'])))
print('bound', flush=True)
time.sleep(1000)
""", policy=POLICY, flags=("-n", "1", "-a"))
        c.wait_line("bound")
        told = c.all("adopt")
        self.assertEqual(len(told), 65)
        self.assertEqual({e.result for e in told[:-1]}, {"gets our socket"})
        self.assertEqual(told[-1].result, "again; no more is told of what it binds")

    def test_an_address_that_is_none_is_not_blamed_on_the_user(self):
        """The kernel tells the program what is wrong with it; there is nothing to tell an operator."""
        c = self.cluster("/usr/bin/python3", "-S", "-E", "-c", """
import ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket()
for address, size in ((0, 16), (1, 16), (id(s), 200), (id(s), 2**31 - 1)):
    libc.bind(s.fileno(), ctypes.c_void_p(address), size)
    print('said', ctypes.get_errno(), flush=True)
s.bind(('127.0.0.1', int(os.environ['PORT'])))
s.listen(5)
time.sleep(1000)
""", policy=POLICY, flags=("-n", "1", "-a"))
        c.ready(1)
        self.assertEqual([line for line in c.other if line.startswith("said")],
                         ["said 14", "said 14", "said 22", "said 22"])  # EFAULT, EINVAL

    def test_a_connection_that_lingers_holds_nobody_up(self):
        """What a program binds is looked at through a copy of ours, which may be the last when it is closed."""
        port = harness.free_port()
        c = self.cluster("/usr/bin/python3", "-S", "-E", "-c", LINGERER, str(port), listen=False,
                         policy=POLICY + "[ready]\ntimeout = 60s\n", flags=("-n", "1", "-a", "-l", f"127.0.0.1:{port}"))
        harness.eventually((c.folder / "done").exists, "the end of the attack")
        c.ctl("is-ready", status=1)
        c.announce("worker.escalate", "note", "adopt", "worker.exit")
        c.stop(signal.SIGQUIT)

    def start(self, *program, workers=4, mode=EVEN, flags=(), **options):
        c = self.cluster(*program, policy=options.pop("policy", POLICY),
                         flags=("-a", "-b", mode, "-n", workers, *flags), **options)
        c.announce("note") if options.get("prefix") else None
        c.ready(workers, deadline=20 * harness.SLOW)
        return c

    def even(self, c, workers=4, requests=200):
        counts = clients.count(c.port, requests)
        self.assertEqual(len(counts), workers, counts)
        if EVEN == "round-robin":
            self.assertLessEqual(max(counts.values()) - min(counts.values()), 1, counts)

    def test_every_mode(self):
        for mode in ("shared", "hash", EVEN):
            with self.subTest(mode=mode):
                c = self.start(*python(), mode=mode)
                bodies, _ = clients.answers(clients.queue(c.port, 100))
                self.assertEqual(len(bodies), 100)
                self.assertTrue(set(bodies) <= {str(pid) for pid in c.workers()}, bodies)

    def test_python_even(self):
        self.even(self.start(*python()))

    def test_bound_by_a_thread(self):
        self.even(self.start(*python(form="thread")))

    def test_through_a_shell_that_does_not_exec(self):
        c = self.start("/bin/sh", "-c", '"$@"; echo ended >&2', "sh", *python(), workers=2)
        self.assertEqual(len(clients.count(c.port, 40)), 2)

    def test_a_second_bind_that_only_one_can_have_is_said_clearly(self):
        other = harness.free_port()
        c = self.cluster(sys.executable, "-c", TWO, "%{port}", str(other), flags=("-a", "-n", 2), policy=POLICY)
        c.announce("note", "worker.exit")
        note = c.wait_note(f"127.0.0.1:{other}")
        self.assertIn("-l too", note.text)
        c.wait_events(3, "worker.exit")
        self.assertEqual(len([e for e in c.all("note") if "-l too" in e.text]), 1)
        c.stop(signal.SIGQUIT)
        c.expected_status = c.stopped

    def test_prefork(self):
        c = self.start(*python(form="prefork"), workers=2)
        bodies, _ = clients.answers(clients.queue(c.port, 100))
        self.assertEqual(len(bodies), 100)

    def test_who_waits_before_it_binds(self):
        self.even(self.start(sys.executable, "-c", EARLY, "%{port}"))

    def test_who_waits_before_it_binds_and_can_not_be_helped(self):
        """Docker's default: pidfd_getfd(2) says EPERM."""
        c = self.cluster(sys.executable, "-c", EARLY, "%{port}", flags=("-a", "-n", 2), policy=POLICY,
                         prefix=(sys.executable, "-c", FORBIDS, str(PIDFD_GETFD)))
        c.announce("note")
        c.ready(2)
        (note,) = [e.text for e in c.all("note") if "adopt" in e.text]
        self.assertRegex(note, "will hear of none: .*CAP_SYS_PTRACE.*fd 3")

    def test_the_app_alone(self):
        c = self.cluster(harness.APP, policy=POLICY, flags=("-a", "-n", 2), env={})
        c.ready(2)
        connection = harness.Connection(c.port)
        self.addCleanup(connection.close)
        self.assertEqual(connection.get()[0], 200)

    def test_killed_with_a_full_queue(self):
        c = self.start(*python())
        c.announce("worker.exit", "balance")
        victim = c.pid_of(1)
        c.kill(signal.SIGSTOP, victim)
        waiting = clients.queue(c.port, 100)
        mark = c.mark()
        c.kill(signal.SIGKILL, victim)
        self.assertEqual(len(clients.answers(waiting)[0]), 100)
        c.wait_event("worker.ready", since=mark, slot=1)
        self.even(c)

    def test_an_upgrade_in_between(self):
        c = self.start(*python())
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", since=mark, result="done")
        self.even(c)
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(2))  # its successor binds under the new image
        c.wait_event("worker.ready", since=mark, slot=2)
        self.even(c)

    def test_another_port_is_said_clearly(self):
        other = harness.free_port()
        c = self.cluster(*python(port=str(other)), flags=("-a", "-n", 1),
                         policy=POLICY + "[ready]\ntimeout = 500ms\n")
        c.announce("note", "worker.exit", "give_up", "worker.escalate", "stop", "spawn.error")
        c.wait_note(f"127.0.0.1:{other}")
        c.stop(signal.SIGQUIT)
        c.expected_status = c.stopped

    def test_no_bind_at_all_is_said_clearly(self):
        c = self.cluster(*python(form="silent"), flags=("-a", "-n", 1),
                         policy=POLICY + "[ready]\ntimeout = 500ms\n")
        c.announce("note", "worker.exit", "give_up", "worker.escalate", "stop")
        c.wait_note("never bound")
        c.stop(signal.SIGQUIT)
        c.expected_status = c.stopped

    def bound(self, port):
        """The local addresses that listen on a port."""
        lines = [line.split() for family in ("tcp", "tcp6")
                 for line in pathlib.Path("/proc/net", family).read_text().splitlines()[1:]]
        return {words[1].partition(":")[0] for words in lines if words[3] == "0A" and words[1].endswith(f":{port:04X}")}

    def test_it_gets_no_more_addresses_than_the_listener_has(self):
        """Who says 127.0.0.1 does not find the port open to the world, because the program asks for all."""
        mapped = "0000000000000000FFFF00000100007F"
        for form, asked, expected in (("127.0.0.1", "0.0.0.0", "0100007F"), ("127.0.0.1", "::", mapped),
                                      ("[::1]", "::", "00000000000000000000000001000000"),
                                      ("[::1]", "::1", "00000000000000000000000001000000"),
                                      ("*", "127.0.0.1", "0100007F")):
            with self.subTest(listener=form, asked=asked):
                port = harness.free_port()
                c = self.cluster(*python(asked), flags=("-a", "-b", EVEN, "-n", 2, "-l", f"{form}:{port}"),
                                 listen=False, policy=POLICY)
                c.ready(2)
                self.assertEqual(self.bound(port), {expected})
                if "[" not in form:
                    done = self.run_clusterd("--set", "control.socket=off", "-l", f"127.0.0.1:{port}", "--", "/bin/true")
                    self.assertRegex(done.stderr, r"Address already in use, by .* \(pid \d+\)")
                host = "::1" if "::1" in form else "127.0.0.1"
                self.assertGreaterEqual(len(clients.count(port, 40, host=host)), 2 if EVEN == "round-robin" else 1)
                c.finish()

    def test_a_bind_that_is_not_seen_is_said_clearly(self):
        """Of io_uring, say: then the program only tells that its address is in use, and ends. Said once."""
        c = self.cluster("/bin/sh", "-c", "exit 3", flags=("-a", "-n", 2), policy=POLICY)
        c.announce("note", "worker.exit", "give_up", "stop")
        c.expected_status = 69
        c.wait_event("stop")
        (note,) = [e for e in c.all("note") if "adopt" in e.text]
        self.assertIn("io_uring", note.text)
        self.assertIn("fd 3", note.text)
        c.wait()

    def test_what_ends_when_it_has_served_is_only_told_as_such(self):
        c = self.cluster(*python(), flags=("-a", "-n", 1), policy=POLICY)
        c.announce("worker.exit")
        c.ready(1)
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.ready", since=mark)

    def test_a_filter_in_a_filter_is_said_clearly(self):
        outer = ("-a", "-n", 1, "--set", "restart.when=never")
        inner = (harness.CLUSTERD, "-a", "-n", "1", "-l", "%{address}", "--set", "control.socket=off", "--", *python())
        c = self.cluster(*inner, flags=outer, policy=POLICY)
        c.announce("worker.exit", "stop", "give_up", "note")
        c.expected_status = 69
        c.wait_event("stop")
        c.wait()
        self.assertTrue([line for line in c.other if "leave out adopt here and listen on fd 3" in line], c.other)

    @unittest.skipUnless(clients.nobody_can("/usr/bin/python3"), "root and user nobody are needed")
    def test_another_user_without_the_right_is_said_clearly(self):
        """Docker's default: root, but not CAP_SYS_PTRACE."""
        without, options = ("setpriv", "--bounding-set=-sys_ptrace"), ("--set", "cluster.user=nobody", "-a", "-n", 1)
        checked = subprocess.run((*without, harness.CLUSTERD, "-t", *map(str, options), "--", "/bin/sleep", "1"),
                                 capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 78, checked.stderr)
        self.assertIn("CAP_SYS_PTRACE", checked.stderr)
        c = self.cluster("/usr/bin/python3", *python()[1:], flags=options, policy=POLICY, prefix=without)
        c.announce("note", "worker.exit", "give_up", "stop")
        c.expected_status = 69
        c.wait_event("stop")
        self.assertIn("CAP_SYS_PTRACE", next(e.text for e in c.all("note") if "adopt" in e.text))
        c.wait()

    @unittest.skipUnless(platform.machine() in VM_READV, "the number of process_vm_readv is not known here")
    def test_a_filter_that_forbids_the_look_is_said_clearly(self):
        """Docker 20.10's default: of the same user, and yet process_vm_readv(2) says EPERM."""
        c = self.cluster(*python(), flags=("-a", "-n", 1), policy=POLICY,
                         prefix=(sys.executable, "-c", FORBIDS, str(VM_READV[platform.machine()])))
        c.announce("note", "worker.exit", "give_up", "stop")
        c.expected_status = 69
        c.wait_event("stop")
        self.assertRegex(next(e.text for e in c.all("note") if "adopt" in e.text), "filter of a container.*CAP_SYS_PTRACE")
        c.wait()

    @unittest.skipUnless(clients.nobody_can(harness.CLUSTERD) and
                         clients.nobody_can("/usr/bin/python3"), "user nobody can not execute clusterd or python")
    def test_unprivileged(self):
        prefix, preexec = clients.as_nobody()
        program = ("/usr/bin/python3", *python()[1:])
        c = self.start(*program, mode="hash", prefix=prefix, preexec=preexec)
        self.assertEqual(len(clients.answers(clients.queue(c.port, 100))[0]), 100)

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
    def test_two_forms(self):
        """redis binds 0.0.0.0 and [::]: each worker has a socket of either kind."""
        port = harness.free_port()
        c = self.cluster("redis-server", "--port", port, "--bind", "0.0.0.0", "::", "--save", "",
                         "--protected-mode", "no", listen=False, policy=POLICY,
                         flags=("-a", "-b", EVEN, "-n", 2, "-l", f"*:{port}"))
        c.ready(2)
        for host in ("127.0.0.1", "::1"):
            ids = set()
            for _ in range(20 if EVEN == "round-robin" else 60):
                with socket.create_connection((host, port), harness.DEADLINE) as s:
                    s.sendall(b"INFO server\r\n")
                    text = b""
                    while b"run_id:" not in text or not text.endswith(b"\n"):
                        text += s.recv(65536)
                    ids.add(text.split(b"run_id:")[1].split()[0])
            self.assertEqual(len(ids), 2, host)
        c.rebase()  # ready is who listens on one of them; the other may have followed

    @unittest.skipUnless(shutil.which("go"), "go is not installed")
    def test_static_go(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="clusterd-go."))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "main.go").write_text(GO)
        subprocess.run(["go", "build", "-o", folder / "web", folder / "main.go"], check=True, timeout=120,
                       env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": os.environ.get(
                           "GOCACHE", str(pathlib.Path(harness.CLUSTERD).parent / "go-cache"))})
        self.even(self.start(str(folder / "web"), "127.0.0.1:%{port}"))


class Wrappers(harness.TestCase):
    """LISTEN_PID is wrong behind a shell that does not become the program."""

    def notes(self, script):
        c = self.sh(script, policy="[ready]\nwhen = notify\n", flags=("-n", 1))
        c.ready(1)
        return [e.text for e in c.all("note") if "LISTEN_PID" in e.text]

    def test_said_once_and_only_then(self):
        self.assertEqual(len(self.notes(f"{harness.PROBE} ready; true")), 1)
        self.assertEqual(self.notes(f"exec {harness.PROBE} ready"), [])

    def test_so_it_is_of_scripts(self):
        for head in "#!/bin/sh", "#!/usr/bin/env bash":
            for line, said in (f"{harness.PROBE} ready; true", 1), (f"exec {harness.PROBE} ready", 0):
                for shell in (), ("/bin/sh",), ("/bin/sh", "-e"):
                    with self.subTest(head=head, line=line, shell=shell), tempfile.TemporaryDirectory() as folder:
                        script = pathlib.Path(folder, "start")
                        script.write_text(f"{head}\n{line}\n", encoding="utf-8")
                        script.chmod(0o755)
                        c = self.cluster(*shell, script, policy="[ready]\nwhen = notify\n", flags=("-n", 1))
                        c.ready(1)
                        self.assertEqual(len([e for e in c.all("note") if "LISTEN_PID" in e.text]), said)
                        c.finish()


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "node or npm is not installed")
class Express(harness.TestCase):
    """The first example of the README: node app.js, four of them, each with its exact share."""

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(harness.CLUSTERD).resolve().parent / "express-app"
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "app.js"):
            shutil.copy(HERE / "node" / name, folder)
        cls.app = folder / "app.js"
        if not (folder / "node_modules" / "express").is_dir():
            try:
                done = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=folder, timeout=120,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            except subprocess.TimeoutExpired:
                raise unittest.SkipTest("npm does not reach its registry") from None
            if done.returncode != 0:
                raise unittest.SkipTest("npm can not install express: " + done.stderr.strip()[-200:])

    def start(self):
        # app.listen() without a host binds [::], so the listener is every address.
        port = harness.free_port()
        c = self.cluster("node", self.app, listen=False, env={"PORT": str(port)}, policy=POLICY,
                         flags=("-a", "-b", EVEN, "-n", 4))
        c.port = port
        c.ready(4, deadline=30 * harness.SLOW)
        return c

    def pids(self, port, requests):
        get = b"GET /get HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        return collections.Counter(json.loads(clients.ask(port, request=get))["pid"] for _ in range(requests))

    def test_fair_and_faithful(self):
        c = self.start()
        counts = self.pids(c.port, 200)
        self.assertEqual(set(counts), set(c.workers()))
        if EVEN == "round-robin":
            self.assertEqual(sorted(counts.values()), [50, 50, 50, 50])
        connection = harness.Connection(c.port)
        self.addCleanup(connection.close)
        connection.post({"n": 7})
        connection.send("POST /post HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                        "Content-Length: 1\r\n\r\n{")
        status, _, body = connection.response()
        self.assertEqual(status, 400)
        self.assertIn("error", json.loads(body))

    def test_crash_and_roll_under_load(self):
        c = self.start()
        c.announce("worker.exit", "balance")  # a busy machine may starve one of them for a moment
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.ready", since=mark, slot=0)
        load = harness.Load(c.port, clients=4, pause=0.002)
        c.ctl("roll", deadline=60 * harness.SLOW)
        _, lost = load.stop(least=100)
        self.assertEqual(lost, [])
        c.baseline = None  # for the two generations there are sockets of their own


harness.main()
