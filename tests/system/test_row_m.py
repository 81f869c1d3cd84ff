"""Row M: who may speak on the control socket, and one clusterd where a hundred want to be it."""

import fcntl
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 5s\n"
USER = 40000 + os.getpid() % 10000  # nobody's
GROUP, OTHER = USER + 10000, USER + 20000
NAME = f"one-{os.getpid()}"  # root's sockets are where all of root's are
MAY, MAY_NOT = 0, 4  # exit status of clusterctl status


def became(user, group, groups=()):
    """Words before a command that run it as somebody else."""
    return ("setpriv", "--reuid", str(user), "--regid", str(group),
            *(("--groups", ",".join(map(str, groups))) if groups else ("--clear-groups",)))


CALLERS = {
    "root": (),
    "its own user": became(USER, USER),
    "a member of the group": became(OTHER, GROUP),
    "a member among other groups": became(OTHER, OTHER, (OTHER + 1, GROUP, OTHER + 2)),
    "a member of another group": became(OTHER, OTHER, (OTHER + 1,)),
    "another user": became(OTHER, OTHER),
}
TAKES_THE_PLACE = """
import os, signal, socket, sys
if os.environ["CLUSTERD_SLOT"] == "1":
    signal.pause()
os.unlink(sys.argv[1])
with socket.socket(socket.AF_UNIX) as s:
    s.bind(sys.argv[1])
    s.listen()
    print("listens", flush=True)
    while True:
        s.accept()[0].close()
        print("visited", flush=True)
"""
ITS_OWN = {"root", "its own user"}
MEMBERS = {"a member of the group", "a member among other groups"}


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "to be somebody else takes root")
class WhoMaySpeak(harness.TestCase):
    # (settings, mode that the socket gets, who may speak)
    CASES = (
        ((), 0o600, ITS_OWN),
        (("control.mode=0660", f"control.group={GROUP}"), 0o660, ITS_OWN | MEMBERS),
        (("control.mode=0600", f"control.group={GROUP}"), 0o600, ITS_OWN),
        (("control.mode=0666", f"control.group={GROUP}"), 0o666, ITS_OWN | MEMBERS),
        (("control.mode=0666",), 0o666, ITS_OWN),  # who may connect may still not speak
    )

    def status_for(self, c, caller):
        return subprocess.run([*caller, harness.CLUSTERCTL, "-s", f"{c.folder}/control.sock", "status"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.DEADLINE,
                              check=False).returncode

    def test_M1_who_may_speak(self):
        asked = 0
        for umask in ("000", "022", "077"):
            for settings, mode, allowed in self.CASES:
                owner = " ".join(became(USER, USER, (USER, GROUP)))
                c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=(
                    "-n", "1", *(word for setting in settings for word in ("--set", setting))), prefix=(
                        "/bin/sh", "-c", f'chown -R {USER} . && chmod 711 . && umask {umask} && exec {owner} "$0" "$@"'))
                c.ready(1)
                info = os.stat(f"{c.folder}/control.sock")
                self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid), (mode, USER))
                for name, caller in CALLERS.items():
                    with self.subTest(umask=umask, settings=settings, caller=name):
                        self.assertEqual(self.status_for(c, caller), MAY if name in allowed else MAY_NOT)
                        asked += 1
                c.ctl("status")
        print(f"{asked} questions")

    def test_M8_a_folder_of_somebody_else_holds_no_cluster(self):
        """/tmp/clusterd-UID can be made by anybody; clusterd refuses it then, and clusterctl asks nobody there."""
        folder = pathlib.Path(f"/tmp/clusterd-{USER}")
        folder.mkdir(mode=0o755)
        self.addCleanup(shutil.rmtree, folder)
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(folder / "web.sock"))
        (folder / "web.sock").chmod(0o666)
        server.listen()
        answer = (b'{"v":1,"kind":"cluster","name":"web","state":"ready","ready":1,"wanted":1,"up_ms":1}\n'
                  b'{"v":1,"ok":true,"done":true}\n')

        def serve():
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.sendall(answer)

        def ask(*words):
            return subprocess.run([*became(USER, USER), harness.CLUSTERCTL, *words], env={}, capture_output=True,
                                  text=True, timeout=harness.DEADLINE, check=False)

        threading.Thread(target=serve, daemon=True).start()
        os.chown(folder, USER, USER)
        self.assertIn("web ", ask("list").stdout)  # its own: that is how it is found
        os.chown(folder, OTHER, OTHER)
        self.assertNotIn("web ", ask("list").stdout)
        done = ask("-n", "web", "status")
        self.assertEqual((done.returncode, done.stdout), (MAY_NOT, ""))
        self.assertIn(f"web: can not tell ({folder}/web.sock: Operation not permitted)", done.stderr)
        self.assertEqual(ask("status").returncode, 3)

    def test_M1_its_own_worker(self):
        """A worker is whoever it runs as: the user of clusterd may speak, another one may not."""
        for user, expected in (("root", MAY), ("nobody", MAY_NOT)):
            with self.subTest(user=user):
                c = self.sh(f"{harness.CLUSTERCTL} -s $PWD/control.sock status; echo answer $?; exec sleep 1000",
                            policy=AT_ONCE + f"[cluster]\nuser = {user}\n[log]\noutput = capture\n[control]\nmode = 0666\n",
                            flags=("-n", "1"), prefix=("/bin/sh", "-c", 'chmod 711 . && exec "$0" "$@"'))
                c.wait_line(f"answer {expected}")


class OneOfAHundred(harness.TestCase):
    COUNT = 100 if harness.SLOW == 1 else 30

    def starts(self, words, folder):
        """That many clusterds at the same instant; those that run are returned, the others are judged."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LISTEN_", "NOTIFY_"))}
        gate = threading.Barrier(self.COUNT)
        started = [None] * self.COUNT

        def start(i):
            gate.wait()
            started[i] = subprocess.Popen([harness.CLUSTERD, *words], cwd=folder, stdin=subprocess.DEVNULL, env={
                **env, "XDG_RUNTIME_DIR": folder}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        threads = [threading.Thread(target=start, args=(i,)) for i in range(self.COUNT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return started

    def judge(self, words, folder, named):
        """All but one end with status 73 and name what is in use."""
        started = self.starts(words, folder)
        try:
            harness.eventually(lambda: sum(one.poll() is None for one in started) == 1, "one that runs",
                               3 * harness.DEADLINE)
            (winner,) = [one for one in started if one.poll() is None]
            for one in started:
                if one is not winner:
                    said = one.communicate()[1]
                    self.assertEqual(one.returncode, 73, said)
                    self.assertIn(named, said)
            return winner
        except BaseException:
            for one in started:
                one.kill()
                one.wait()
            raise

    def end(self, winner):
        winner.terminate()
        winner.communicate(timeout=harness.DEADLINE)
        return winner.returncode

    def status_by_name(self, folder, status):
        done = subprocess.run([harness.CLUSTERCTL, "-n", NAME, "--json", "status"], capture_output=True, text=True,
                              env={**os.environ, "XDG_RUNTIME_DIR": folder}, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def test_M11_a_hundred_simultaneous_starts(self):
        """By the same port, name or pid file one can be the winner, and nothing of its own is touched."""
        for what in ("port", "name", "pid file"):
            with self.subTest(what=what):
                folder = harness.tempfile.mkdtemp(prefix="one-")
                self.addCleanup(shutil.rmtree, folder, True)
                port = harness.free_port()
                pid_file = f"{folder}/clusterd.pid"
                words = ["-n", "1", "--set", "ready.when=alive", "--set", "ready.after=0", "--name", NAME, "-l",
                         f"127.0.0.1:{port if what == 'port' else 0}"]
                if what != "name":
                    words += ["--set", "control.socket=off"]
                if what == "pid file":
                    words += ["--set", f"supervisor.pid_file={pid_file}"]
                named = {"port": f"127.0.0.1:{port}", "name": f"{NAME}.sock", "pid file": pid_file}[what]
                winner = self.judge([*words, "--", "/bin/sleep", "1000"], folder, named)
                self.addCleanup(self.end, winner)
                harness.eventually(lambda winner=winner: len(harness.children(winner.pid)) == 1, "its worker")
                if what == "name":
                    self.assertIn(f'"pid":{winner.pid}', self.status_by_name(folder, 0))
                if what == "pid file":
                    with open(pid_file, encoding="ascii") as file:
                        self.assertEqual(int(file.read()), winner.pid)
                if what == "port":
                    harness.Connection(port).close()
                self.assertEqual(self.end(winner), 0)
                if what == "name":
                    self.status_by_name(folder, 3)  # no such cluster: its socket is gone
                self.assertEqual([name for _, _, files in os.walk(folder) for name in files], [])


class SocketFile(harness.TestCase):
    """A cleaner of /run or /tmp takes the socket away: clusterd makes it anew when it next wakes up."""

    def start(self):
        """With the control socket in a folder of its own, as in /run."""
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2", "--set", "control.socket=run/s.sock"))
        c.announce("note", "worker.exit")
        c.socket = c.folder / "run" / "s.sock"
        c.ready(2)
        return c

    def test_M10_the_socket_is_taken_away(self):
        c = self.start()
        for wake in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGKILL):
            for path in (c.socket, c.folder / "run"):
                with self.subTest(wake=wake):
                    mark = c.mark()
                    with tempfile.TemporaryDirectory(dir=c.folder) as gone:
                        path.rename(f"{gone}/it")  # in one step: clusterd may wake up in between
                    c.kill(wake, c.workers()[0] if wake == signal.SIGKILL else None)
                    self.assertIn("there again", c.wait_event("note", since=mark, level="warn").text)
                    if wake == signal.SIGUSR2:
                        c.wait_event("upgrade", since=mark)
                    c.ctl("wait", "ready")
                    self.assertEqual(stat.S_IMODE(c.socket.stat().st_mode), 0o600)
                    c.ctl("upgrade")
        self.assertEqual(c.stop(), 0)
        self.assertFalse(c.socket.exists())

    def start_metrics(self, *program):
        """With that of the metrics in a folder of its own, whose path is the last argument of a program."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="metrics-"))
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "m.sock"
        c = self.cluster(*((*program, str(path)) if program else ("/bin/sleep", "1000")), policy=AT_ONCE,
                         flags=("-n", "2", "--set", f"metrics.listen=unix:{path}"))
        c.announce("note")
        c.ready(2)

        def asked():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                s.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return s.makefile("rb").read()

        return c, folder, path, asked

    def test_M10_that_of_the_metrics_too(self):
        c, folder, path, asked = self.start_metrics()
        open_fds = len(harness.fds(c.pid))
        for _ in range(2):
            mark = c.mark()
            path.unlink()
            c.kill(signal.SIGUSR1)
            self.assertIn("there again", c.wait_event("note", since=mark, level="warn").text)
            self.assertIn(b" 200 ", asked())
            c.ctl("upgrade")
        harness.eventually(lambda: len(harness.fds(c.pid)) == open_fds, "nothing is left of the old ones")
        theirs, mark = folder / "theirs", c.mark()
        theirs.write_text("theirs")
        theirs.rename(path)
        for _ in range(2):
            c.kill(signal.SIGUSR1)
            c.ctl("status")
        c.wait_event("note", level="error")
        path.unlink()
        c.kill(signal.SIGUSR1)
        c.wait_event("note", since=mark, level="warn")
        self.assertEqual(len(c.all("note", level="error")), 1)
        self.assertIn(b" 200 ", asked())
        self.assertEqual(c.stop(), 0)
        self.assertFalse(path.exists())

    def test_M10_a_lock_on_the_folder_of_the_metrics_holds_nothing_up(self):
        c, folder, path, asked = self.start_metrics()
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.unlink()
        begun = time.monotonic()
        for _ in range(10):
            c.ctl("status")
        self.assertLess(time.monotonic() - begun, 5 * harness.SLOW)  # a second for each
        self.assertIn("folder", c.wait_event("note", level="error").text)
        os.close(lock)
        c.kill(signal.SIGUSR1)
        self.assertIn("there again", c.wait_event("note", level="warn").text)
        self.assertIn(b" 200 ", asked())

    def upgrade_then(self, c, make_room, path, asked):
        """Its file is made again by the next clusterd, and removed by that."""
        c.ctl("upgrade")
        mark = c.mark()
        make_room()
        c.kill(signal.SIGUSR1)
        self.assertIn("there again", c.wait_event("note", since=mark, level="warn").text)
        self.assertIn(b" 200 ", asked())
        self.assertEqual(c.stop(), 0)
        self.assertFalse(path.exists())

    def test_M10_that_of_the_metrics_is_looked_after_by_the_next_clusterd(self):
        c, folder, path, asked = self.start_metrics()
        theirs = folder / "theirs"
        theirs.write_text("theirs")
        theirs.rename(path)
        self.upgrade_then(c, path.unlink, path, asked)

    def test_M10_that_of_the_metrics_whose_folder_is_gone_during_an_upgrade(self):
        c, folder, path, asked = self.start_metrics()
        away = folder.with_suffix(".away")
        self.addCleanup(shutil.rmtree, away)
        folder.rename(away)
        self.upgrade_then(c, folder.mkdir, path, asked)

    def test_M10_a_worker_that_has_the_place_of_the_metrics_is_not_visited_for_ever(self):
        c, folder, path, asked = self.start_metrics(sys.executable, "-c", TAKES_THE_PLACE)
        c.wait_line("listens")
        for _ in range(10):
            c.ctl("status")
        c.wait_event("note", level="error")
        self.assertLess(c.other.count("visited"), 5)
        self.assertEqual(len(c.all("note", level="error")), 1)

    def test_M10_somebody_else_has_its_place(self):
        c = self.start()
        theirs = c.folder / "theirs"
        theirs.write_text("theirs")
        theirs.rename(c.socket)  # in one step: clusterd may wake up in between
        for _ in range(3):
            c.kill(signal.SIGUSR1)
        self.assertIn("s.sock: ", c.wait_event("note", level="error").text)
        c.kill(signal.SIGUSR2)
        c.wait_event("upgrade", result="done")
        c.kill(signal.SIGUSR1)  # or it may have nothing to wake up for
        c.wait_events(2, "note", level="error")
        self.assertEqual(c.socket.read_text(), "theirs")
        c.socket.unlink()
        c.kill(signal.SIGUSR1)
        c.wait_event("note", level="warn")
        c.ctl("status")
        self.assertEqual(len(c.all("note", level="error")), 2, "each clusterd says it once")


harness.main()
