"""Row J: what a worker gets, and that it gets nothing else."""

import os
import pathlib
import pwd
import signal
import socket
import stat
import sys
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"
ROOT = os.geteuid() == 0


class RowJ(harness.TestCase):
    def sleepers(self, policy="", count=2, **options):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + policy, flags=("-n", count, *options.pop("flags", ())),
                         **options)
        c.ready(count)
        return c

    def settled_fds(self, pid, count):
        """{number: what it points to} of one that has these from 0 on. Its loader may have a library open yet."""
        harness.eventually(lambda: sorted(harness.fds(pid)) == list(range(count)), f"{count} descriptors: {harness.fds(pid)}")
        return harness.fds(pid)

    def test_J1_exactly_the_descriptors(self):
        extra = [os.open("/dev/null", os.O_RDONLY) for _ in range(250)]
        self.addCleanup(lambda: [os.close(fd) for fd in extra])
        c = self.sleepers(count=64, pass_fds=tuple(extra))
        clients = []
        control = c.folder / "control.sock"
        for _ in range(20 if control.exists() else 0):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(control))
            clients.append(client)
        c.announce("worker.exit")
        mark = c.mark()
        c.kill(signal.SIGKILL, c.pid_of(7))
        c.wait_event("worker.ready", since=mark, slot=7)
        for pid in c.workers():
            open_files = self.settled_fds(pid, 4)
            self.assertEqual(open_files[0], "/dev/null")
            self.assertTrue(open_files[3].startswith("socket:"))
        for client in clients:
            client.close()

    def test_J1_several_named_listeners(self):
        path = f"/tmp/clusterd-j1-{os.getpid()}.sock"
        port = harness.free_port()
        c = self.sleepers(flags=("-l", f"admin=127.0.0.1:{port}", "-l", f"local=unix:{path}",
                                 "-l", f"names=udp:127.0.0.1:{port}", "-l", f"unix:@clusterd-j1-{os.getpid()}"))
        for pid in c.workers():
            self.settled_fds(pid, 8)
            environment = harness.environ(pid)
            self.assertEqual(environment[b"LISTEN_FDS"], b"5")
            names = environment[b"LISTEN_FDNAMES"].split(b":")
            self.assertEqual(names[1:4], [b"admin", b"local", b"names"])
            self.assertEqual(environment[b"PORT"], str(c.port).encode())
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        socket.create_connection(("127.0.0.1", port), 5).close()
        self.assertEqual(c.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_J2_started_with_closed_descriptors(self):
        for closed in ("<&-", ">&-", "<&- >&-"):
            with self.subTest(closed=closed):
                c = self.sleepers(prefix=("/bin/sh", "-c", f'exec "$0" "$@" {closed}'))
                for pid in c.workers():
                    open_files = self.settled_fds(pid, 4)
                    self.assertEqual(open_files[0], "/dev/null")
                    self.assertTrue(open_files[3].startswith("socket:"), open_files)

    def test_J3_listen_variables(self):
        c = self.sleepers()
        for slot in (0, 1):
            pid = c.pid_of(slot)
            e = {k.decode(): v.decode() for k, v in harness.environ(pid).items()}
            self.assertEqual(e["LISTEN_PID"], str(pid))
            self.assertEqual(e["LISTEN_FDS"], "1")
            self.assertIn("LISTEN_FDNAMES", e)
            self.assertEqual(e["PORT"], str(c.port))
            self.assertEqual(e["CLUSTERD_NAME"], "web")
            self.assertEqual(e["CLUSTERD_SLOT"], str(slot))
            self.assertEqual(e["CLUSTERD_WORKERS"], "2")
            self.assertEqual(e["CLUSTERD_GENERATION"], str(c.all("worker.start")[0].generation))
            self.assertIn("NOTIFY_SOCKET", e)
            self.assertNotIn("WATCHDOG_USEC", e)

    def activated(self, listen_pid, expected, fds=1, address="inherit:3"):
        s = socket.socket()
        self.addCleanup(s.close)
        s.bind(("127.0.0.1", 0))
        s.listen()
        os.set_inheritable(s.fileno(), True)
        give = f'LISTEN_PID={listen_pid} LISTEN_FDS={fds} exec "$0" "$@" 3<&{s.fileno()}'
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, listen=False, flags=("-n", "1", "-l", address),
                         pass_fds=(s.fileno(),), prefix=("/bin/sh", "-c", give))
        c.port = s.getsockname()[1]
        if expected:
            c.ready(1)
            self.assertEqual(harness.fds(c.pid_of(0))[3], f"socket:[{os.fstat(s.fileno()).st_ino}]")
            self.assertEqual(harness.environ(c.pid_of(0))[b"LISTEN_PID"], str(c.pid_of(0)).encode())
        else:
            c.announce("note", "stop")
            c.expected_status = c.wait()
            self.assertIn(c.expected_status, (64, 71, 73, 78))

    def test_J4_sockets_of_a_manager_are_used(self):
        self.activated("$$", True)

    def test_J4_a_socket_that_nobody_uses_yet_survives_an_upgrade(self):
        sockets = []
        for _ in range(2):
            s = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(s.close)
            sockets.append(s.fileno())
        policy = AT_ONCE + "[listen one]\naddress = inherit:3\n"
        give = ("import fcntl, os, sys\nhigh = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50) for fd in %s]\n"
                "for number, fd in zip((3, 4), high): os.dup2(fd, number)\n"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n"
                "os.execv(sys.argv[1], sys.argv[1:])" % sockets)
        c = self.cluster("/bin/sleep", "1000", policy=policy, listen=False, flags=("-n", "1"), pass_fds=sockets,
                         prefix=(sys.executable, "-c", give))
        c.announce("note")
        c.ready(1)
        c.ctl("upgrade")
        c.policy_file.write_text(policy + "[listen two]\naddress = inherit:4\n", encoding="utf-8")
        c.ctl("reload")
        for number, fd in zip((3, 4), sockets):
            self.assertEqual(harness.fds(c.pid_of(0))[number], f"socket:[{os.fstat(fd).st_ino}]")

    def test_J4_a_socket_that_no_listener_uses_is_named(self):
        """Else who comes from systemd's sockets finds clusterd on *:1337, and nobody at the port of the unit."""
        given, other = socket.socket(), socket.socket()
        for s in (given, other):
            self.addCleanup(s.close)
            s.bind(("127.0.0.1", 0))
            s.listen()
            os.set_inheritable(s.fileno(), True)
        give = (f'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin exec "$0" "$@" '
                f'3<&{given.fileno()} 4<&{other.fileno()}')
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, listen=False, flags=("-n", "1", "-l", "inherit:web"),
                         pass_fds=(given.fileno(), other.fileno()), prefix=("/bin/sh", "-c", give))
        c.announce("note")
        c.ready(1)
        self.assertEqual([note.text for note in c.all("note")],
                         ["no listener uses the socket that was passed as fd 4, admin: -l inherit:4 does"])

    def test_J4_wrong_pid(self):
        self.activated("1", False)

    def test_J4_no_sockets(self):
        self.activated("$$", False, fds=0)

    def test_J4_too_many_sockets(self):
        self.activated("$$", False, fds=1000000)

    def test_J4_fewer_sockets_than_told(self):
        """What clusterd has opened at these numbers itself is not taken for a socket."""
        self.activated("$$", False, fds=3)
        self.assertEqual(self.last.expected_status, 73)

    def test_J5_environment(self):
        c = self.sleepers("[env]\nPLAIN = a b  c\nEQUALS = x=y=z\nPERCENT = 50%% %{slot} %d\nUTF8 = gr\u00fc\u00df\n"
                          "EMPTY =\n", env={"KEPT": "line one\nline two", "BIG": "x" * 100000})
        e = harness.environ(c.pid_of(0))
        self.assertEqual(e[b"PLAIN"], b"a b  c")
        self.assertEqual(e[b"EQUALS"], b"x=y=z")
        self.assertEqual(e[b"PERCENT"], b"50%% %{slot} %d")
        self.assertEqual(e[b"UTF8"], "gr\u00fc\u00df".encode())
        self.assertEqual(e[b"EMPTY"], b"")
        self.assertEqual(e[b"KEPT"], b"line one\nline two")
        self.assertEqual(e[b"BIG"], b"x" * 100000)

    def test_J5_clear(self):
        c = self.sleepers("[cluster]\nenv_clear = yes\n[env]\nONLY = this\n", env={"SECRET": "no"})
        e = harness.environ(c.pid_of(0))
        self.assertNotIn(b"SECRET", e)
        self.assertEqual(e[b"ONLY"], b"this")
        self.assertIn(b"LISTEN_FDS", e)

    def test_arguments(self):
        c = self.sh('printf "%s|" "$@"; echo; exec sleep 1000', policy=AT_ONCE, flags=("-n", "1"))
        c.ready(1)
        c = self.cluster("/bin/sh", "-c", 'printf "%s|" "$@"; echo; exec sleep 1000', "x", "%{slot}", "%{workers}",
                         "%{fd}", "%{port}", "%{name}", "%{nope}", "100%", "%%", "a b", "", policy=AT_ONCE,
                         flags=("-n", "1"))
        c.ready(1)
        c.wait_line(f"0|1|3|{c.port}|web|%{{nope}}|100%|%%|a b||")

    @unittest.skipUnless(ROOT, "changing the user takes root")
    def test_J6_user(self):
        c = self.sleepers("[cluster]\nuser = nobody\nno_new_privs = yes\n")
        for pid in c.workers():
            self.assertEqual(harness.status_field(pid, "Uid").split(), ["65534"] * 4)
            self.assertEqual(harness.status_field(pid, "Gid").split(), ["65534"] * 4)
            self.assertIn(harness.status_field(pid, "Groups"), ("", "65534"))
            for capability in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                self.assertEqual(int(harness.status_field(pid, capability), 16), 0, capability)
            self.assertEqual(harness.status_field(pid, "NoNewPrivs"), "1")

    @unittest.skipUnless(ROOT, "changing the user takes root")
    def test_J6_the_home_is_that_of_the_user(self):
        """As systemd.exec(5) has it. What [env] says wins, and env_clear leaves nothing of it."""
        home = pwd.getpwnam("nobody").pw_dir
        ours = {"env": {"HOME": "/root", "USER": "root", "LOGNAME": "root", "HOMES": "kept"}}
        for policy, names in (("", ("/root", "root", "root", "kept")), ("user = nobody\n", (home, "nobody", "nobody", "kept")),
                              ("user = nobody\n[env]\nHOME = /srv\n", ("/srv", "nobody", "nobody", "kept")),
                              ("user = nobody\nenv_clear = yes\n", (None,) * 4)):
            with self.subTest(policy=policy):
                c = self.sleepers("[cluster]\n" + policy, **ours)
                for upgraded in (False, True):
                    if upgraded:
                        c.ctl("upgrade")
                        c.ctl("restart", "0")
                    e = harness.environ(c.pid_of(0))
                    self.assertEqual([e.get(name) and e[name].decode() for name in (b"HOME", b"USER", b"LOGNAME", b"HOMES")],
                                     list(names))
                self.assertEqual(c.stop(), 0)

    def test_J7_umask_directory_nice_limits(self):
        c = self.sleepers("[cluster]\numask = 0027\nnice = 5\ndirectory = /usr\n"
                          "[limit]\nnofile = 100:200\ncore = 0\nnproc = 4000\n")
        for pid in c.workers():
            self.assertEqual(harness.status_field(pid, "Umask"), "0027")
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/usr")
            self.assertEqual(os.getpriority(os.PRIO_PROCESS, pid), 5)
            limits = {line[:26].strip(): line[26:].split() for line in
                      pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()}
            self.assertEqual(limits["Max open files"][:2], ["100", "200"])
            self.assertEqual(limits["Max core file size"][:2], ["0", "0"])
            self.assertEqual(limits["Max processes"][:2], ["4000", "4000"])

    def test_J7_own_limits_are_not_passed_on(self):
        before = pathlib.Path("/proc/self/limits").read_text()
        c = self.sleepers()
        self.assertEqual(pathlib.Path(f"/proc/{c.pid_of(0)}/limits").read_text(), before)

    def test_J8_stdin(self):
        c = self.sleepers(count=1)
        info = os.stat(f"/proc/{c.pid_of(0)}/fd/0")
        self.assertTrue(stat.S_ISCHR(info.st_mode))
        self.assertEqual((os.major(info.st_rdev), os.minor(info.st_rdev)), (1, 3))

    def test_J9_no_orphan_survives(self):
        c = self.sleepers(count=8)
        workers = c.workers()
        c.expected_status = -signal.SIGKILL
        begin = time.monotonic()
        self.assertEqual(c.stop(signal.SIGKILL), -signal.SIGKILL)
        harness.eventually(lambda: not [p for p in workers if (s := harness.stat_of(p)) and s[0] not in "ZX"],
                           "all workers are dead")
        self.assertLess(time.monotonic() - begin, 0.5 * harness.SLOW + self.slack())
        for left in list(c.folder.rglob("*.sock")):
            left.unlink()  # a killed clusterd can not tidy up

    def test_J9_keep(self):
        c = self.sleepers("[supervisor]\non_death = keep\n", count=2)
        workers = c.workers()
        c.expected_status = -signal.SIGKILL
        c.stop(signal.SIGKILL)
        time.sleep(0.3)
        for pid in workers:
            self.assertIn(harness.stat_of(pid)[0], "SR")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        c.tidy()


harness.main()
