"""Row B: a stop ends everything in time, loses nothing, and is never mistaken for a crash."""

import array
import contextlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"
DEAF = "trap '' TERM INT; echo deaf; while :; do sleep 1; done"


def stop_policy(timeout, more=""):
    return AT_ONCE + f"[stop]\ntimeout = {timeout}\n{more}"


class RowB(harness.TestCase):
    def took(self, c, signo=signal.SIGTERM):
        begin = time.monotonic()
        c.stop(signo)
        return time.monotonic() - begin

    def unread(self, port):
        """Connections to it that nobody has accepted, and bytes of clients that nobody has read."""
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        end = f":{port:04X}"
        return sum(int(row[4].split(":")[server], 16) for row in rows for server in (0, 1) if row[2 - server].endswith(end))

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_B1_requests_under_way_are_answered(self):
        c = self.cluster(harness.APP, flags=("-n", "2"))
        c.ready(2)
        connections = [harness.Connection(c.port) for _ in range(16)]
        for connection in connections:
            connection.send("POST /post HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                            "Content-Length: 8\r\n\r\n{\"n\"")
        harness.eventually(lambda: not self.unread(c.port), "all that was sent has been read")
        c.kill(signal.SIGTERM)
        c.wait_events(2, "worker.stop")
        for number, connection in enumerate(connections):
            connection.send(f": {number % 10}}}"[:4])
            self.assertEqual(connection.response()[0], 200)
            self.assertEqual(connection.file.read(), b"")  # and closed, with or without a word before
            connection.close()
        self.assertEqual(c.wait(), 0)
        with self.assertRaises(ConnectionRefusedError):
            harness.Connection(c.port)
        self.assertEqual({e.code for e in c.all("worker.exit")}, {0})

    def test_B2_deaf_worker_is_killed_in_time(self):
        c = self.sh(DEAF, policy=stop_policy("600ms"), flags=("-n", "1"))
        c.ready(1)
        c.announce("worker.escalate", "worker.exit")
        c.wait_line("deaf")
        seconds = self.took(c)
        self.assertGreaterEqual(seconds, 0.55)
        self.assertLess(seconds, 0.7 * harness.SLOW + 0.3 + self.slack())
        end = c.all("worker.exit")[0]
        self.assertEqual((end.signal, bool(end.asked)), ("SIGKILL", True))

    def test_B3_own_stop_signal(self):
        c = self.sh("trap 'echo asked by QUIT; exit 0' QUIT; echo armed; while :; do sleep 0.05; done",
                    policy=stop_policy("5s", "signal = SIGQUIT\n"), flags=("-n", "1"))
        c.ready(1)
        c.wait_line("armed")
        self.assertEqual(c.stop(), 0)
        c.wait_line("asked by QUIT")
        self.assertEqual(c.all("worker.stop")[0].signal, "SIGQUIT")

    def test_B4_parallel_not_serial(self):
        c = self.sh(DEAF, policy=stop_policy("1s"), flags=("-n", "100"))
        c.ready(100)
        c.wait_lines(100, "deaf")
        c.announce("worker.escalate", "worker.exit")
        self.assertLess(self.took(c), 2.5 * harness.SLOW + self.slack())
        self.assertEqual(len(c.all("worker.exit")), 100)

    def test_B5_second_TERM_kills(self):
        c = self.sh(DEAF, policy=stop_policy("60s"), flags=("-n", "4"))
        c.ready(4)
        c.announce("worker.escalate", "worker.exit", "stop")
        c.wait_lines(4, "deaf")
        c.kill(signal.SIGTERM)
        c.wait_events(4, "worker.stop")
        self.assertLess(self.took(c), 0.5 * harness.SLOW + self.slack())
        told = [e.text.partition(":")[0] for e in c.all("note") if e.text.startswith("stopping")]
        self.assertEqual(told, ["stopping", "stopping at once"])

    def test_B5_QUIT_stops_at_once(self):
        c = self.sh(DEAF, policy=stop_policy("60s"), flags=("-n", "4"))
        c.ready(4)
        c.wait_lines(4, "deaf")
        c.announce("worker.escalate", "worker.exit", "stop")
        self.assertLess(self.took(c, signal.SIGQUIT), 0.5 * harness.SLOW + self.slack())

    def test_B6_stop_while_starting(self):
        c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = notify\n[stop]\ntimeout = 5s\n",
                         flags=("-n", "2"))
        c.wait_events(2, "worker.start")
        self.assertLess(self.took(c), 1 * harness.SLOW + self.slack())

    def test_B6_stop_in_back_off(self):
        c = self.sh("[ -e once ] && exit 1; touch once; exec sleep 1000",
                    policy=AT_ONCE + "[restart]\ndelay = 1h\ndelay_max = 1h\n", flags=("-n", "1"))
        c.announce("worker.exit")
        c.ready(1)
        c.kill(signal.SIGKILL, c.pid_of(0))
        c.wait_event("worker.exit", action="respawn")
        self.assertLess(self.took(c), 0.5 * harness.SLOW + self.slack())

    def test_B6_stop_while_held(self):
        c = self.sh("exit 1", policy=AT_ONCE + "[restart]\nburst = 1\ndelay = 0\ndelay_max = 1h\n",
                    flags=("-n", "1"))
        c.announce("worker.exit", "give_up")
        c.wait_events(2, "worker.exit")
        self.assertLess(self.took(c), 0.5 * harness.SLOW + self.slack())

    def test_B6_stop_before_anything(self):
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "4"))
        c.wait_event("start")
        self.assertLess(self.took(c), 1 * harness.SLOW + self.slack())

    def test_B7_HUP_during_shutdown_is_ignored(self):
        c = self.sh("trap 'sleep 0.5; exit 0' TERM; echo armed; while :; do sleep 0.05; done",
                    policy=stop_policy("10s"), flags=("-n", "2"))
        c.ready(2)
        c.wait_lines(2, "armed")
        mark = c.mark()
        c.announce("note", "reload")
        c.kill(signal.SIGTERM)
        c.wait_events(2, "worker.stop")
        for _ in range(100):
            c.kill(signal.SIGHUP)
        self.assertEqual(c.wait(), 0)
        self.assertEqual(c.all("worker.start", since=mark), [])

    TREE = """
trap '' TERM
sleep 1001 &
sh -c 'trap "" TERM; sleep 1002 & echo $! >grandchild; wait' &
setsid sleep 1003 &
echo $! >escapee
wait; wait; wait; sleep 1000
"""

    def tree(self, kill, live):
        c = self.sh(self.TREE, policy=stop_policy("300ms", f"kill = {kill}\n"), flags=("-n", "1"))
        c.ready(1)
        c.announce("worker.escalate", "worker.exit", "note")
        pids = [int(harness.eventually(
            lambda name=name: (c.folder / name).exists() and (c.folder / name).read_text().strip(), name))
            for name in ("grandchild", "escapee")]
        harness.eventually(lambda: "1003" in pathlib.Path(f"/proc/{pids[1]}/cmdline").read_text(), "setsid")
        c.stop()

        def alive():
            return [(harness.stat_of(pid) or "Z")[0] not in "ZX" for pid in pids]

        harness.eventually(lambda: alive() == live, f"grandchild and escapee: {live}")
        while left := [pid for pid in harness.children(os.getpid()) if pid != c.process.pid]:
            for pid in left:  # ours now: clusterd was told to leave them alone
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.assertIn("which a worker left behind", c.all("note")[-1].text)

    def test_B8_group(self):
        self.tree("group", [False, True])

    def test_B8_process(self):
        self.tree("process", [True, True])

    def test_giving_up_is_stopping_too(self):
        """systemd is told, and nothing new is begun while the workers that are left finish."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(folder + "/notify")
            systemd.settimeout(harness.DEADLINE)
            c = self.sh("""
                if [ $CLUSTERD_SLOT = 1 ]; then trap 'while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM; fi
                echo armed
                while [ $CLUSTERD_SLOT = 1 ] || [ ! -e die ]; do sleep 0.02; done
                exit 1""", policy=stop_policy("60s", "[restart]\nburst = 1\ngive_up = exit\nstable = 60s\n"),
                        flags=("-n", "2"), env={"NOTIFY_SOCKET": folder + "/notify"})
            c.ready(2)
            c.wait_lines(2, "armed")
            c.announce("worker.exit", "give_up", "note", "reload", "stop")
            c.expected_status = 69
            (c.folder / "die").touch()
            c.wait_event("give_up")
            told = b""
            while b"STOPPING=1" not in told:
                told = systemd.recv(4096)
            for verb in ("roll", "reload", "upgrade", "scale 3", "restart 1", "reset", "drain 0 --no-wait"):
                answer = subprocess.run([harness.CLUSTERCTL, "-s", f"{c.folder}/control.sock", *verb.split()],
                                        capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
                self.assertEqual(answer.returncode, 1)
                self.assertIn("the cluster is stopping", answer.stdout + answer.stderr)
            self.assertEqual(c.all("roll.begin"), [])
            (c.folder / "go").touch()
            self.assertEqual(c.wait(), 69)
            systemd.setblocking(False)
            with self.assertRaises(BlockingIOError):  # said once, and nothing after it
                systemd.recv(4096)

    def test_what_lingers_in_a_queue_holds_no_stop_up(self):
        """Who may connect to a unix listener may send a connection along whose last close(2) waits for its peer."""
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
            path = f"{folder}/s"
            c = self.sh("exec sleep 1000", policy=stop_policy("1s"), listen=False, flags=("-n", "1", "-l", f"unix:{path}"))
            c.ready(1)
            with socket.create_connection(listener.getsockname()) as sender, socket.socket(socket.AF_UNIX) as client:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
                sender.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sender.send(b"x" * 65536)
                client.connect(path)
                client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sender.fileno()]))])
            self.assertLess(self.took(c), 5 * harness.SLOW)

    def test_drain_delay_comes_before_the_signal(self):
        c = self.sh("trap 'exit 0' TERM; echo armed; while :; do sleep 0.02; done",
                    policy=stop_policy("5s", "drain_delay = 400ms\n"), flags=("-n", "2"))
        c.ready(2)
        c.wait_lines(2, "armed")
        pid = c.pid_of(1)
        self.assertEqual([line.strip() for line in c.ctl("drain", "1").splitlines()],
                         [f"slot 1  {pid} drains (drain)", f"slot 1  {pid} gets SIGTERM (drain)",
                          f"slot 1  {pid} ended (exit 0)", "slot 1  drained", "drain: done; 1 of 2 ready"])
        seconds = self.took(c)
        self.assertGreaterEqual(seconds, 0.39)
        self.assertLess(seconds, 1 * harness.SLOW + self.slack())


harness.main()
