"""Row E: when a worker counts as ready, and what it can not do with its notify socket."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import harness

# A worker that talks to NOTIFY_SOCKET. say(...) is sd_notify(3).
PYTHON = ("/usr/bin/python3", "-S", "-E", "-c")
SAY = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = os.environ['NOTIFY_SOCKET']
s.connect('\\0' + path[1:] if path[0] == '@' else path)
def say(text):
    s.send(text if isinstance(text, bytes) else text.encode())
slot = int(os.environ['CLUSTERD_SLOT'])
"""
NOTIFY = "[ready]\nwhen = notify\ntimeout = %s\n[stop]\ntimeout = 1s\n"

# A connection whose close(2) takes 100 s, and its peer, which must stay open and read nothing.
LINGERING = """
import array, struct
listener = socket.create_server(('127.0.0.1', 0))
def lingering():
    sender = socket.create_connection(listener.getsockname())
    peer = listener.accept()[0]
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 100))
    sender.setblocking(False)
    try:
        while True: sender.send(b'x' * 65536)
    except BlockingIOError:
        pass
    return sender, peer
"""


class RowE(harness.TestCase):
    def python(self, script, **options):
        return self.cluster(*PYTHON, SAY + script, **options)

    def test_ready_by_notify(self):
        c = self.python("while not os.path.exists('go'): time.sleep(0.01)\nsay('READY=1'); time.sleep(1000)",
                        policy=NOTIFY % "60s", flags=("-n", "2"))
        c.wait_events(2, "worker.start")
        c.ctl("is-ready", status=None)  # whatever was said so far has been heard
        self.assertEqual(c.all("worker.ready"), [])
        (c.folder / "go").touch()
        for event in c.ready(2):
            self.assertEqual(event.how, "notify")

    def test_auto_takes_what_comes_first(self):
        for script, after, how, least in (("say('READY=1')", "1h", "notify", 0), ("pass", "700ms", "alive", 690)):
            c = self.python(f"{script}; time.sleep(1000)", policy=f"[ready]\nafter = {after}\n", flags=("-n", "1"))
            (ready,) = c.ready(1)
            self.assertEqual(ready.how, how)
            self.assertGreaterEqual(ready.after_ms, least)

    def test_ready_by_the_ack_of_einhorn(self):
        """Only the process that sends it counts, not the pid in the text; a child may send it too."""
        c = self.cluster(*PYTHON, """
import os, socket, sys, time
slot = int(os.environ['CLUSTERD_SLOT'])
def ack(pid):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.environ['EINHORN_SOCK_PATH'])
        s.send(b'{"command":"worker:ack","pid":%d}\\n' % pid)
        return s.recv(4096).decode() if slot == 1 else ''
if slot == 0:
    while not os.path.exists('go'): time.sleep(0.02)
    ack(os.getpid())
elif slot == 1:
    if os.fork() == 0:
        os.setsid()
        print('answer', ack(1), flush=True)
        os._exit(0)
    os.wait()
time.sleep(1000)
""", policy="[cluster]\nactivation = systemd einhorn\n" + NOTIFY % "60s", flags=("-n", "3"))
        c.wait_event("worker.ready", slot=1)
        c.wait_line('answer {"v":1,"ok":true,"done":true}')
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(f"{c.folder}/control.sock")
            stranger.send(b'{"command":"worker:ack","pid":%d}\n' % c.pid_of(2))
            self.assertIn(b"not sent by a worker", stranger.recv(4096))
        self.assertEqual([e.slot for e in c.all("worker.ready")], [1])
        (c.folder / "go").touch()
        self.assertEqual(c.wait_event("worker.ready", slot=0).how, "notify")
        self.assertEqual([e.slot for e in c.all("worker.ready")], [1, 0])

    def test_without_a_control_socket_einhorn_has_no_path(self):
        c = self.sh("echo path=${EINHORN_SOCK_PATH-none} fds=$EINHORN_FD_COUNT; exec sleep 1000",
                    policy="[cluster]\nactivation = einhorn\n",
                    flags=("-n", "1", "--set", "control.socket=off"))
        c.wait_line("path=none fds=1")

    def test_a_ready_command_that_can_not_be_run_is_told(self):
        for what, mode, why in (("gone", None, "exec: No such file or directory"),
                                ("plain", 0o644, "exec: Permission denied"),
                                ("binary", 0o755, "exec: Exec format error")):
            with self.subTest(what=what):
                folder = pathlib.Path(tempfile.mkdtemp(prefix="command-"))
                self.addCleanup(shutil.rmtree, folder)
                if mode:
                    (folder / what).write_bytes(b"\0\0\0\0")
                    (folder / what).chmod(mode)
                c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"),
                                 policy=f"[ready]\nwhen = command\ncommand = {folder / what}\ntimeout = 60s\n")
                c.announce("note")
                note = c.wait_event("note", level="warn")
                self.assertEqual(note.text, f"worker 0: ready.command {folder / what} can not be run: {why}")
                (folder / "right").write_text("#!/bin/sh\n")
                (folder / "right").chmod(0o755)
                time.sleep(0.6)  # asked twice more: it is told once
                os.rename(folder / "right", folder / what)
                self.assertEqual(c.wait_event("worker.ready").how, "command")
                self.assertEqual(len(c.all("note", level="warn")), 1)

    def test_a_ready_command_gets_the_port_of_its_worker(self):
        """The listener of the generation before is still open when the new worker is asked."""
        policy = ("[listen web]\naddress = 127.0.0.1:%d\n[ready]\nwhen = command\n"
                  "command = /bin/sh -c 'echo asked $CLUSTERD_WORKER_PID $PORT'\n")
        ports = [harness.free_port() for _ in range(2)]
        c = self.cluster("/bin/sleep", "1000", policy=policy % ports[0], listen=False, flags=("-n", "1"))
        c.ready(1)
        c.policy_file.write_text(policy % ports[1], encoding="utf-8")
        c.ctl("reload")
        c.wait_line(f"asked {c.pid_of(0)} ")
        asked = [line.split()[1:] for line in c.other if line.startswith("asked ")]
        self.assertEqual([port for _, port in asked], list(map(str, ports)))

    def test_a_ready_command_that_is_not_in_the_path_is_told(self):
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "2"),
                         policy="[ready]\nwhen = command\ncommand = no-such-program\ntimeout = 60s\n")
        c.announce("note")
        texts = {note.text for note in c.wait_events(2, "note", level="warn")}
        self.assertEqual(texts, {f"worker {slot}: ready.command no-such-program can not be run: "
                                 "find the program: No such file or directory" for slot in (0, 1)})

    def test_a_check_that_failed_until_the_timeout_is_told_once(self):
        for check, answer in (("when = http /nope", "[ready] when = http /nope: HTTP/1.1 404 Not Found"),
                              ("when = command\ncommand = /bin/sh -c 'exit 3'", "[ready] command = /bin/sh: exit 3"),
                              ("when = command\ncommand = /bin/sh -c 'kill $$'", "[ready] command = /bin/sh: SIGTERM"),
                              ("when = command\ncommand = /bin/sleep 9", "[ready] command = /bin/sleep: no answer")):
            with self.subTest(check=check):
                c = self.cluster(harness.APP, policy=f"[ready]\n{check}\ntimeout = {1500 * harness.SLOW:g}ms\n[restart]\nwhen = never\n"
                                 "[health]\ninterval = 1h\ntimeout = 1h\n",  # of one question
                                 flags=("-n", "1", "-b", "round-robin"))
                c.announce("health", "worker.exit")
                self.assertEqual(c.wait(20 * harness.SLOW), 0)
                (told,) = c.all("health")
                self.assertEqual((told.pid, told.result, told.detail),
                                 (c.all("worker.start")[0].pid, "failed", answer))
                self.assertLess(c.events.index(told), c.events.index(c.all("worker.stop")[0]))

    def test_E1_start_timeout(self):
        c = self.cluster("/bin/sleep", "1000", policy=NOTIFY % "400ms", flags=("-n", "1"))
        c.announce("worker.exit", "give_up", "stop", "note", "worker.escalate")
        stop = c.wait_event("worker.stop", slot=0)
        start = c.all("worker.start")[0]
        self.assertEqual(stop.why, "timeout")
        self.assertAlmostEqual(stop["at"] - start["at"], 0.4, delta=0.15 * harness.SLOW + self.slack())
        c.expected_status = 69  # it never gets ready: a boot failure
        self.assertEqual(c.wait(20 * harness.SLOW), 69)

    def test_E2_extend(self):
        c = self.cluster(harness.PROBE, *("notify=EXTEND_TIMEOUT_USEC=3000000", "after=1500") * 3, "ready", "serve",
                         policy=NOTIFY % "2s", flags=("-n", "1"))
        self.assertGreaterEqual(c.ready(1)[0].after_ms, 4490 - 1000 * self.slack())
        self.assertEqual(c.all("worker.stop"), [])

    def test_E3_ready_by_fd(self):
        c = self.python("""
fd = int(os.environ['READY_FD'])
if slot == 0:
    os.write(fd, b'x' * 100000)  # no newline: not ready yet, and not kept
    time.sleep(0.5)
os.write(fd, b'ok\\n'); time.sleep(1000)
""", policy="[ready]\nwhen = fd\ntimeout = 10s\n", flags=("-n", "2"))
        after = {e.slot: (e.how, e.after_ms) for e in c.ready(2)}
        self.assertEqual(after[0][0], "fd")
        self.assertGreaterEqual(after[0][1], 490 - 1000 * self.slack())

    def test_E4_E5_E6_malformed_and_hostile_messages(self):
        """Nothing that a worker says changes another slot, and its own valid word still counts."""
        c = self.python("""
import array
for text in (b'', b'\\0', b'\\n\\n\\n', b'=', b'READY', b'READY=0', b'READY=11', b'ready=1', b' READY=1',
             b'MAINPID=1', b'MAINPID=0', b'MAINPID=-1', b'MAINPID=1073741824', b'ERRNO=x', b'x' * 60000,
             b'A=1\\n' * 10000, b'STATUS=' + bytes(range(1, 256)), b'EXTEND_TIMEOUT_USEC=-5',
             b'EXTEND_TIMEOUT_USEC=99999999999999999999999', b'FDSTORE=1', b'X_' * 1000 + b'=1'):
    say(text)
for count in (1, 8, 253):
    fds = [os.dup(2) for _ in range(count)]
    s.sendmsg([b'FDSTORE=1\\nFDNAME=evil'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
    for fd in fds: os.close(fd)
try:
    s.send(b'y' * 1000000)
except OSError:
    pass
if slot == 0:
    time.sleep(0.3); say('junk\\nREADY=1\\nSTATUS=fine'); say('READY=1')
time.sleep(1000)
""", policy=NOTIFY % "60s", flags=("-n", "2"))
        c.announce("notify.refused", "note")
        ready = c.wait_event("worker.ready")
        self.assertEqual(ready.slot, 0)
        c.kill(signal.SIGTERM)
        self.assertEqual(c.wait(), 0)
        self.assertEqual([e.slot for e in c.all("worker.ready")], [0])

    def test_E6_a_descriptor_that_lingers_holds_nobody_up(self):
        """Its last close(2) waits for a peer that never reads; clusterd is stopped until it has the only copy.

        Three workers send ten each, as much as their queues take: bare, and in the queue of a unix
        socket, where nobody can take their linger away.
        """
        for nested in (False, True):
            with self.subTest(nested=nested):
                self.linger(nested)

    def linger(self, nested):
        c = self.python(f"nested = {nested}\n" + LINGERING + """
def send_fd(s, fd):
    s.sendmsg([b'X=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd.fileno()]))])
    fd.close()
senders, peers = zip(*[lingering() for turn in range(10)])  # peers are open, and never read
print('armed', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
for sender in senders:
    if nested:
        outer, inner = socket.socketpair()
        send_fd(outer, sender)
        send_fd(s, inner)
        outer.close()
    else:
        send_fd(s, sender)
print('sent', flush=True)
say('READY=1')
time.sleep(1000)
""", policy=NOTIFY % "60s", flags=("-n", "3"))
        c.wait_lines(3, "armed")
        c.kill(signal.SIGSTOP)
        (c.folder / "go").touch()
        c.wait_lines(3, "sent")
        c.kill(signal.SIGCONT)
        c.ready(3)
        c.ctl("status")

    def send_many(self, count, nested=False):
        """Worker 0 sends them in one message; worker 1 is ready when the file `heard` is there."""
        c = self.python(f"count, nested = {count}, {nested}\n" + """
import array, struct
def send_fds(s, fds):
    s.sendmsg([b'X=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [t.fileno() for t in fds]))])
    for t in fds: t.close()
if slot == 0:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    senders, peers = [], []
    for turn in range(count):
        sender = socket.socket()
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 100))
        sender.connect(listener.getsockname())
        peers.append(listener.accept()[0])
        sender.setblocking(False)
        try:
            while True: sender.send(b'x' * 65536)
        except BlockingIOError: pass
        if nested:
            outer, inner = socket.socketpair()
            send_fds(outer, [sender])
            outer.close()
            sender = inner
        senders.append(sender)
    print('armed', flush=True)
    while not os.path.exists('go'): time.sleep(0.01)
    send_fds(s, senders)
    print('sent', flush=True)
else:
    while not os.path.exists('heard'): time.sleep(0.01)
say('READY=1')
time.sleep(1000)
""", policy=NOTIFY % "60s", flags=("-n", "2"))
        c.wait_line("armed")
        c.kill(signal.SIGSTOP)
        (c.folder / "go").touch()
        c.wait_line("sent")
        c.kill(signal.SIGCONT)
        threads = pathlib.Path(f"/proc/{c.pid}/task")
        harness.eventually(lambda: len(list(threads.iterdir())) > 1, "they are being closed")
        (c.folder / "heard").touch()
        return c

    def test_E6_nor_a_hundred_in_one_message(self):
        """No more than 64 are closed at a time; the one that has sent more than that must not mute the other."""
        self.send_many(100).ready(2)

    def test_E6_nor_an_upgrade(self):
        """execve(2) closes what is left, in the place of clusterd."""
        for nested in (False, True):
            with self.subTest(nested=nested):
                c = self.send_many(5, nested)
                c.ready(2)
                c.ctl("upgrade")
                c.rebase()

    def test_E6_nor_in_the_queue_of_one_that_has_died(self):
        """The worker has said too much, so its queue is full and unread when it ends, with the only copies left."""
        c = self.python(LINGERING + """
if os.path.exists('done'):
    say('READY=1')
    time.sleep(1000)
sender, peer = lingering()
if os.fork() == 0:  # the peer outlives the worker, and reads nothing
    os.setsid()
    sender.close()
    s.close()
    while not os.path.exists('over'): time.sleep(0.01)
    os._exit(0)
peer.close()
s.setblocking(False)
refused = 0
while refused < 50:
    try:
        s.sendmsg([b'X=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [sender.fileno()]))])
        refused = 0
    except BlockingIOError:
        refused += 1
        time.sleep(0.0002)
open('done', 'w').close()
os._exit(1)
""", policy=NOTIFY % "60s" + "[restart]\ndelay = 0\n", flags=("-n", "1"))
        c.announce("note", "worker.exit")
        try:
            c.ready(1)
            c.ctl("status")
        finally:
            (c.folder / "over").touch()

    def test_E7_a_flood_mutes_nobody(self):
        c = self.python("""
if slot == 0:
    say('READY=1')
    s.setblocking(True)
    while True: say('STATUS=' + 'z' * 200)
time.sleep(0.5)
begin = time.monotonic()
say('READY=1')
print('said in', time.monotonic() - begin, flush=True)
time.sleep(1000)
""", policy=NOTIFY % "30s", flags=("-n", "4"))
        c.wait_events(4, "worker.ready")
        c.announce("worker.exit", "note")
        mark = c.mark()
        begin = time.monotonic()
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.exit", since=mark, slot=1)
        self.assertLess(time.monotonic() - begin, 0.2 * harness.SLOW + self.slack())

    def test_E7_a_flood_is_read_at_a_bounded_rate(self):
        """It is held up, not cut off: its pings keep it alive, and an upgrade goes on with it."""
        c = self.python("""
say('READY=1')
while slot == 1 or not os.path.exists('go'):
    say('WATCHDOG=1'); time.sleep(0.01)
begin = time.monotonic()
for n in range(1500): say('WATCHDOG=1\\nSTATUS=flood')
print('took', time.monotonic() - begin, flush=True)
while True: say('WATCHDOG=1')
""", policy=NOTIFY % "30s" + "[health]\nwatchdog = 400ms\n[limit]\ncore = 0\n", flags=("-n", "2"))
        c.ready(2)
        c.announce("note")
        (c.folder / "go").touch()
        self.assertIn("worker 0", c.wait_note("NOTIFY_SOCKET").text)
        # The kernel's queue, the first window and the last are free.
        c.wait_line("took ")
        took = next(line for line in c.other if "took " in line)
        self.assertGreater(float(took.split()[-1]), 1.1)
        since = c.mark()
        c.ctl("upgrade")
        c.wait_note("NOTIFY_SOCKET", since)  # it is heard, and has to rest again
        self.assertEqual(c.all("worker.stop") + c.all("worker.exit"), [])

    @unittest.skipUnless(os.geteuid() == 0, "to be somebody else takes root")
    def test_E7_a_stranger_that_floods_ends_nobody(self):
        """Any local process can fill the queue: a word of the worker that is lost for it is not held against it."""
        c = self.python("""
say('READY=1')
print('@' + path[1:], flush=True)
s.setblocking(False)
while True:
    try: s.send(b'WATCHDOG=1')
    except BlockingIOError: pass
    time.sleep(0.1)
""", policy=NOTIFY % "30s" + "[health]\nwatchdog = 500ms\n[limit]\ncore = 0\n[log]\noutput = capture\n", flags=("-n", "1"))
        c.announce("note", "notify.refused", "worker.exit", "worker.hung")
        c.ready(1)
        c.wait_line("@")
        name = next(line for line in c.other if "@" in line).split("@")[1]
        flood = subprocess.Popen([*PYTHON, "import os, socket, sys\nos.setuid(65534)\n"
                                  "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.connect('\\0' + sys.argv[1])\n"
                                  "while True: s.send(b'x')", name])
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        c.wait_event("notify.refused")
        c.wait_note("other processes send more than 100 messages")
        harness.eventually(lambda: any("its watchdog waits" in e.text for e in c.all("note")) or c.all("worker.stop"),
                           "a word that was lost", deadline=20 * harness.SLOW)
        self.assertEqual(c.all("worker.stop"), [])

    def test_E10_every_order(self):
        c = self.python("""
say('STOPPING=1') if slot == 0 else None
say('READY=1'); say('READY=1'); say('STOPPING=1'); say('READY=1')
time.sleep(1000)
""", policy=NOTIFY % "5s", flags=("-n", "2"))
        c.wait_event("worker.ready", slot=1)
        self.assertEqual(len(c.all("worker.ready", slot=1)), 1)
        self.assertEqual(c.stop(), 0)

    def test_E10_STOPPING_and_no_end(self):
        c = self.python("say('READY=1'); time.sleep(0.1); say('STOPPING=1'); time.sleep(1000)",
                        policy=NOTIFY % "5s" + "[limit]\ncore = 0\n", flags=("-n", "1", "--set", "stop.timeout=200ms"))
        c.announce("worker.hung", "worker.exit")
        hung = c.wait_event("worker.hung")
        self.assertEqual((hung.cause, hung.detail), ("hung", "it said STOPPING=1 and has not ended"))

    def test_E11_dies_while_it_reloads(self):
        """What is said to a manager of services of a reload changes nothing for clusterd."""
        c = self.python("""
say('READY=1'); say('RELOADING=1\\nMONOTONIC_USEC=1')
while not os.path.exists('go'): time.sleep(0.01)
os.unlink('go'); sys.exit(1)
""", policy=NOTIFY % "5s", flags=("-n", "1", "--set", "restart.delay=10ms"))
        c.announce("worker.exit")
        c.wait_event("worker.ready")
        mark = c.mark()
        (c.folder / "go").touch()
        end = c.wait_event("worker.exit", since=mark)
        self.assertEqual((end.code, end.action), (1, "respawn"))
        c.wait_event("worker.ready", since=mark)
        c.ctl("is-ready")

    def test_E12_clusterd_tells_its_own_manager(self):
        folder = harness.tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(harness.shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        c = self.python("while not os.path.exists('go'): time.sleep(0.01)\nsay('READY=1'); time.sleep(1000)",
                        policy=NOTIFY % "60s", flags=("-n", "2"), env={"NOTIFY_SOCKET": manager.path})
        c.wait_events(2, "worker.start")
        self.assertNotIn("READY=1", manager.seen)
        (c.folder / "go").touch()
        c.wait_events(2, "worker.ready")
        manager.wait("READY=1")
        manager.wait("STATUS")
        for pid in c.workers():
            self.assertNotEqual(harness.environ(pid)[b"NOTIFY_SOCKET"].decode(), manager.path)
        self.assertEqual(c.stop(), 0)
        manager.wait("STOPPING=1")
        self.assertEqual(manager.seen.count("READY=1"), 1)
        os.unlink(manager.path)

    def test_E12_reload_is_told(self):
        folder = harness.tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(harness.shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n", flags=("-n", "2"),
                         env={"NOTIFY_SOCKET": manager.path})
        c.announce("note", "roll.end")
        c.wait_events(2, "worker.ready")
        manager.wait("READY=1")
        manager.seen.clear()
        c.kill(signal.SIGHUP)
        manager.wait("RELOADING=1")
        manager.wait("MONOTONIC_USEC")
        manager.wait("READY=1")
        # What came of it stands in systemctl status, until one has succeeded.
        c.announce("reload", "roll.slot", "spawn.error")
        good = c.policy_file.read_text()
        bad, refused, failed = good + "[cluster]\ndirectory = /nonexistent\n", "the last reload was refused", "the last roll failed"
        for verb, spoilt, told in (("reload", "[nonsense]\n", refused), ("roll", "", refused), ("reload", good, None), ("reload", bad, failed),
                                   ("reload", "[nonsense]\n", f"{refused} and {failed}"), ("reload", good + "[env]\nA = 1\n", None)):
            with self.subTest(verb=verb, told=told):
                c.policy_file.write_text(spoilt)
                manager.seen.clear()
                c.ctl(verb, status=1 if told and verb == "reload" else 0)
                manager.wait("READY=1")
                harness.eventually(lambda: [line for line in manager.seen if line.startswith("STATUS=")][-1:] ==
                                   ["STATUS=2 of 2 workers ready" + (f"; {told}, see the log" if told else "")],
                                   f"the status: {manager.seen}")
        self.assertEqual(c.stop(), 0)
        os.unlink(manager.path)

    def test_manager_watchdog_is_answered(self):
        folder = harness.tempfile.mkdtemp(prefix="manager-")
        self.addCleanup(harness.shutil.rmtree, folder)
        manager = harness.Notify(self, folder)
        c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n", flags=("-n", "1"),
                         env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"})
        c.ready(1)
        harness.eventually(lambda: manager.seen.count("WATCHDOG=1") >= 4, "four pings")
        for pid in c.workers():
            self.assertNotIn(b"WATCHDOG_USEC", harness.environ(pid))
        self.assertEqual(c.stop(), 0)
        os.unlink(manager.path)

    def test_watchdog_and_sleep(self):
        """E8 and E9: a worker that stops pinging is hung; one whose supervisor slept is not."""
        c = self.python("""
say('READY=1')
while not os.path.exists('hang%d' % slot):
    say('WATCHDOG=1'); time.sleep(0.05)
time.sleep(1000)
""", policy=NOTIFY % "10s" + "[health]\nwatchdog = 600ms\n[limit]\ncore = 0\n", flags=("-n", "2"))
        c.ready(2)
        c.kill(signal.SIGSTOP)
        time.sleep(2)
        c.kill(signal.SIGCONT)
        time.sleep(1)
        self.assertEqual(c.all("worker.stop"), [])
        c.announce("worker.exit", "worker.hung", "worker.escalate")
        (c.folder / "hang1").touch()
        stop = c.wait_event("worker.stop", slot=1)
        self.assertEqual((stop.why, stop.signal), ("watchdog", "SIGABRT"))
        end = c.wait_event("worker.exit", slot=1)
        self.assertFalse(end.code == 0)
        (c.folder / "hang1").unlink()
        self.assertEqual(c.all("worker.exit", slot=0), [])


harness.main()
