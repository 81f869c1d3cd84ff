"""Row D: a program that can not be started is told by step and reason, and retried."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[restart]\ndelay = 20ms\ndelay_max = 50ms\n"


class RowD(harness.TestCase):
    def first_start(self, program, status, *words, policy=""):
        """A first start that must end with the status and say why."""
        c = self.cluster(program, policy=policy, flags=("-n", "2"))
        c.announce("spawn.error", "give_up", "stop", "note")
        c.expected_status = status
        self.assertEqual(c.wait(), status, c.tail())
        said = c.tail()
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(c.all("worker.ready"), [])
        return c

    def file(self, name, text, mode=0o755):
        path = f"{self.folder}/{name}"
        with open(path, "wb") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def as_user(self, user):
        """Words before clusterd that make it another user's, and the folder of the test with it."""
        return ("/bin/sh", "-c", f'chown -R {user} . && exec setpriv --reuid {user} --regid {user} '
                '--clear-groups "$0" "$@"')

    def setUp(self):
        self.folder = harness.tempfile.mkdtemp(prefix="spawn-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def test_D1_no_such_program(self):
        self.first_start("/nonexistent/program", 127, "/nonexistent/program", "No such file")

    def test_D1_not_on_the_path(self):
        self.first_start("no-such-program-anywhere", 127, "no-such-program-anywhere")

    def test_D1_no_such_interpreter(self):
        script = self.file("script", b"#!/nonexistent/interpreter\n")
        self.first_start(script, 127, "/nonexistent/interpreter")

    def test_D1_no_such_directory(self):
        c = self.cluster("/bin/sleep", "1", policy="[cluster]\ndirectory = /nonexistent\n", flags=("-n", "1"))
        c.announce("spawn.error", "give_up", "stop", "note")
        c.expected_status = c.wait()
        self.assertIn(c.expected_status, (69, 71, 78, 126, 127))
        self.assertIn(("chdir", "/nonexistent"), {(e.step, e.file) for e in c.all("spawn.error")})

    def test_D2_no_execute_permission(self):
        self.first_start(self.file("data", b"#!/bin/sh\n", 0o644), 126, "not executable")

    def test_D2_a_directory(self):
        self.first_start(self.folder, 126, "is a directory")
        self.assertEqual(self.last.all("start"), [])  # found before anything is opened

    def test_D3_no_program_format(self):
        """An empty file is no shell script: a truncated deploy must not look healthy."""
        for name, text in (("empty", b""), ("garbage", b"\x01\x02garbag")):
            with self.subTest(file=name):
                program = self.file(name, text)
                c = self.first_start(program, 126, "Exec format error")
                self.assertEqual({(e.step, e.file) for e in c.all("spawn.error")}, {("exec", program)})

    def test_D3_in_the_directory_of_the_workers(self):
        """What is told about a relative path is about the one beside the workers, not beside clusterd."""
        self.file("script", b"#!/nonexistent/interpreter\n")
        c = self.first_start("./script", 127, "/nonexistent/interpreter of its first line is missing",
                             policy=f"[cluster]\ndirectory = {self.folder}\n")
        self.assertEqual(c.all("spawn.error")[0].file, f"{self.folder}/./script")

    def test_D5_arguments_too_long(self):
        """A small stack limits what execve takes: a quarter of it."""
        c = self.cluster("/bin/sleep", "1000", policy="[limit]\nstack = 512K\n", flags=("-n", "1"),
                         env={f"BIG{i}": "x" * 100000 for i in range(6)})
        c.announce("spawn.error", "give_up", "stop", "note")
        self.assertIn("Argument list too long", c.wait_event("spawn.error").error)
        c.expected_status = c.wait()
        self.assertIn(c.expected_status, (69, 126))

    def test_D1_D2_D3_D4_while_running(self):
        """The program breaks while workers run: each slot retries, and recovers with it."""
        program = f"{self.folder}/program"
        shutil.copy("/bin/sleep", program)
        c = self.cluster(program, "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.announce("worker.exit", "spawn.error", "give_up")
        c.ready(2)

        def missing():
            os.unlink(program)

        def forbidden():
            missing()
            self.file("program", b"", 0o644)

        def empty():
            missing()
            self.file("program", b"")

        opened = []

        def busy():
            missing()
            shutil.copy("/bin/sleep", program)
            opened.append(open(program, "r+b"))  # ETXTBSY until it is closed

        for break_it, reason in ((missing, "No such file"), (forbidden, "Permission denied"),
                                 (empty, "Exec format error"), (busy, "Text file busy")):
            with self.subTest(reason=reason):
                mark = c.mark()
                break_it()
                c.kill(signal.SIGKILL, c.pid_of(0))
                errors = c.wait_events(3, "spawn.error", since=mark, slot=0)
                for error in errors:
                    self.assertIn(reason, error.error)
                while opened:
                    opened.pop().close()
                if os.path.exists(program):
                    os.unlink(program)
                shutil.copy("/bin/sleep", f"{program}.new")
                os.rename(f"{program}.new", program)
                c.wait_event("worker.ready", since=mark, slot=0)
                self.assertEqual(len(c.all("worker.start", slot=1)), 1)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("prlimit"), "becoming another user takes root")
    def test_D6_no_more_processes(self):
        """What runs is kept; the rest comes when there may be more processes. Root has no such limit."""
        user = 40000 + os.getpid() % 10000  # nobody else's: the limit counts all processes of a user
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "3"), prefix=(
                             *self.as_user(user), "prlimit", "--nproc=4:1000"))
        c.announce("spawn.error", "worker.exit")
        c.ready(3)
        before = sorted(c.workers())
        c.ctl("scale", "5", "--no-wait")
        for slot in (3, 4):
            for error in c.wait_events(3, "spawn.error", slot=slot):
                self.assertEqual((error.step, error.error), ("clone", "Resource temporarily unavailable"))
                self.assertGreater(error.retry_ms, 0)
        self.assertEqual(sorted(c.workers()), before)
        # One that dies makes room for one: whose turn it is does not matter, three run.
        mark = c.mark()
        c.kill(signal.SIGKILL, before[0])
        c.wait_event("worker.ready", since=mark)
        self.assertEqual(len(c.workers()), 3)
        # As the same user: to root without CAP_SYS_RESOURCE another's limits are not open.
        subprocess.run(["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "prlimit",
                        "--pid", str(c.pid), "--nproc=1000"], check=True)
        harness.eventually(lambda: len(c.workers()) == 5, "five workers")
        c.ctl("wait", "ready")
        self.assertLessEqual(set(before[1:]), set(c.workers()))
        c.rebase()

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("prlimit"), "becoming another user takes root")
    def test_D6_no_more_processes_when_the_log_has_its_first_line(self):
        """A thread that can not be made ends nobody: the line is written all the same, and workers live."""
        user = 30000 + os.getpid() % 10000
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[log]\nfile = log\n", log_level="warn",
                         flags=("-n", "3"), prefix=(*self.as_user(user), "prlimit", "--nproc=4:1000"))
        harness.eventually(lambda: '"ready":3' in c.ctl("status", "--json", status=None), "three ready")
        before = c.workers()
        c.ctl("scale", "4", "--no-wait")
        harness.eventually(lambda: b"spawn.error" in (c.folder / "log").read_bytes(), "the line")
        self.assertEqual(sorted(c.workers()), sorted(before))

    @unittest.skipUnless(os.geteuid() == 0, "becoming another user takes root")
    def test_D9_never_as_the_wrong_user(self):
        ran = f"{self.folder}/ran"
        c = self.sh(f"touch {ran}; exec sleep 1000", policy="[cluster]\nuser = no-such-user-here\n",
                    flags=("-n", "1"))
        c.announce("spawn.error", "give_up", "stop", "note")
        c.expected_status = c.wait()
        self.assertIn(c.expected_status, (71, 77, 78))
        self.assertIn("no-such-user-here", c.tail())
        self.assertFalse(os.path.exists(ran))

    @unittest.skipUnless(os.geteuid() == 0, "dropping the right to change the user takes root")
    def test_D9_not_permitted(self):
        """Without the right to become the user the program does not run at all."""
        os.chmod(self.folder, 0o777)
        c = self.cluster("/bin/sh", "-c", f"touch {self.folder}/ran; exec sleep 1000",
                         policy="[cluster]\nuser = root\n", flags=("-n", "1"), prefix=self.as_user(65534))
        c.announce("spawn.error", "give_up", "stop", "note")
        c.expected_status = 77
        self.assertEqual(c.wait(), 77)
        self.assertIn("only root may run workers as another user", c.tail())
        self.assertFalse(os.path.exists(f"{self.folder}/ran"))

    def hung(self):
        """A cluster of two whose slot 0 can not be started again: its execve hangs. (c, who lets it go on)"""
        program = f"{self.folder}/program"
        shutil.copy(harness.PROBE, program)
        c = self.cluster(program, "ready", "serve", policy=AT_ONCE.replace("alive", "notify"), flags=("-n", "2"))
        c.announce("worker.exit")
        c.ready(2)
        shutil.copy(harness.PROBE, f"{program}.new")
        # Who opens a leased file waits until the lease is given up (fcntl(2)); execve(2) does too.
        lease = open(f"{program}.new", "rb")
        self.addCleanup(lease.close)
        self.addCleanup(signal.signal, signal.SIGIO, signal.signal(signal.SIGIO, signal.SIG_IGN))
        try:
            fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            self.skipTest(f"no leases here: {error.strerror}")
        os.rename(f"{program}.new", program)
        before = c.pid_of(0)
        c.kill(signal.SIGKILL, before)
        harness.eventually(lambda: set(harness.children(c.pid)) - {before, c.pid_of(1)}, "the child before its exec")
        return c, lease

    BEYOND = (("cluster", "nice", "-5", "CAP_SYS_NICE"), ("limit", "nofile", "1000:2000", "LimitNOFILE="))

    def test_D9_a_limit_that_is_not_ours_to_give(self):
        """Refused at once, by its name, and never tried on a worker; at a reload nothing changes."""
        bound = ("setpriv", "--bounding-set=-sys_nice,-sys_resource") if os.geteuid() == 0 else ()
        prefix = (*bound, "prlimit", "--nofile=900:1500")
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"), prefix=prefix)
        c.announce("reload", "note")
        c.ready(2)
        workers = c.workers()
        for section, key, value, way_out in self.BEYOND:
            with self.subTest(key=key):
                policy = AT_ONCE + f"[{section}]\n{key} = {value}\n"
                done = subprocess.run([*prefix, harness.CLUSTERD, "--set", "control.socket=off",
                                       "--set", f"{section}.{key}={value}", "--", "/bin/sleep", "1000"],
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=harness.DEADLINE, check=False)
                self.assertEqual(done.returncode, 77, done.stderr)
                self.assertIn(f"{section}.{key}", done.stderr)
                self.assertIn(way_out, done.stderr)
                self.assertNotIn("started", done.stderr)
                c.policy_file.write_text(policy)
                said = c.ctl("reload", status=1)
                self.assertIn(way_out, said)
                self.assertIn("nothing was changed", said)
                self.assertEqual(c.workers(), workers)

    def test_D9_what_is_allowed_is_given(self):
        prefix = ("prlimit", "--nofile=900:1500")
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"), prefix=prefix,
                         policy=AT_ONCE + "[cluster]\nnice = 3\n[limit]\nnofile = 1500\nas = 64M\nstack = 64K\n")
        c.ready(1)
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, c.pid_of(0)), 3)

    def test_D10_an_exec_that_hangs(self):
        """Nothing is supervised meanwhile, as clusterd(8) says; the workers serve on, and nothing is lost."""
        c, lease = self.hung()
        with self.assertRaises(subprocess.TimeoutExpired):
            c.ctl("status", deadline=1)
        for _ in range(20):
            client = harness.Connection(c.port)
            self.assertEqual(int(client.get("/")[2]), c.pid_of(1))
            client.close()
        mark = c.mark()
        lease.close()
        c.wait_event("worker.ready", since=mark, slot=0)
        c.ctl("status")

    def test_D10_only_SIGKILL_ends_it(self):
        c, _ = self.hung()
        c.kill(signal.SIGTERM)
        with self.assertRaises(AssertionError):
            c.wait(0.3)
        c.expected_status = -signal.SIGKILL
        self.assertEqual(c.stop(signal.SIGKILL), -signal.SIGKILL)
        os.unlink(f"{c.folder}/control.sock")

    def test_D11_the_program_is_replaced_under_us(self):
        """Each worker is wholly the old program or wholly the new one."""
        program = f"{self.folder}/program"
        # the listener is closed first: a sleep that outlives its shell would hold it past the end
        versions = [b"#!/bin/sh\nexec 3<&-; echo version %d; sleep 0.01; echo still %d; exit 0\n" % (v, v) for v in (1, 2)]
        self.file("program", versions[0])
        c = self.cluster(program, policy=AT_ONCE.replace("20ms", "0"), flags=("-n", "2"))
        c.announce("worker.exit")
        c.wait_event("worker.ready")
        end = time.monotonic() + 2
        replaced = 0
        while time.monotonic() < end:
            self.file("new", versions[replaced % 2])
            os.rename(f"{self.folder}/new", program)
            replaced += 1
            time.sleep(0.002)
        c.wait_events(20, "worker.exit")
        self.assertEqual(c.all("spawn.error"), [])
        self.assertEqual({e.code for e in c.all("worker.exit")}, {0})

    def test_descriptors_after_many_failures(self):
        program = f"{self.folder}/program"
        shutil.copy("/bin/sleep", program)
        c = self.cluster(program, "1000", flags=("-n", "30"), policy=AT_ONCE)
        c.announce("worker.exit", "spawn.error")
        c.ready(30)
        os.unlink(program)
        for slot in range(30):
            c.kill(signal.SIGKILL, c.pid_of(slot))
        c.wait_events(300, "spawn.error")
        shutil.copy("/bin/sleep", f"{program}.new")
        mark = c.mark()
        os.rename(f"{program}.new", program)
        c.ready(30, since=mark)  # the harness compares the descriptors


harness.main()
