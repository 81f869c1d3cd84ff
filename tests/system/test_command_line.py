"""The command line: what it refuses, what it prints, and its exit statuses (row B11)."""

import contextlib
import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import unittest

import harness


class CommandLine(harness.TestCase):
    def refuse(self, status, *words, says=(), **options):
        done = self.run_clusterd(*words, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertNotIn("\n\n", done.stderr)
        return done

    def policy(self, text):
        folder = harness.tempfile.mkdtemp(prefix="cli-")
        self.addCleanup(harness.shutil.rmtree, folder)
        path = f"{folder}/policy.conf"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_B11_usage(self):
        self.refuse(64, "--no-such-flag", "--", "/bin/true", says=("no-such-flag",))
        self.refuse(64, "--workrs", "2", "--", "/bin/true", says=("--workers",))
        self.refuse(64)
        self.refuse(64, "-n")

    def test_flags_after_the_program_are_its_own(self):
        c = self.cluster("/bin/sh", "-c", 'echo "$@"; exec sleep 1000', "-n", "-x", "--help",
                         policy="[ready]\nwhen = alive\nafter = 0\n", flags=("-n", "1"))
        c.wait_line("-x --help")
        self.assertEqual(c.wait_event("start").workers, 1)

    def test_B11_policy(self):
        path = self.policy("[stop]\ntimeout = soon\nsignl = SIGTERM\n[nowhere]\na = 1\n")
        done = self.refuse(78, "-c", path, "--", "/bin/true", says=(f"{path}:2:", f"{path}:3:", "signal"))
        self.assertIn(f"{path}:4:", done.stderr.replace(f"{path}:5:", f"{path}:4:"))
        self.refuse(78, "-t", "-c", path, says=(f"{path}:2:", f"{path}:3:"))
        self.refuse(78, "-c", "/nonexistent.conf", "--", "/bin/true", says=("/nonexistent.conf",))
        self.refuse(78, "-c", "/", "--", "/bin/true")
        self.refuse(64, "--set", "stop.timeout=soon", "--", "/bin/true", says=("timeout",))
        for value in ("0", "-1", "two", "100000000"):
            self.assertIn(self.run_clusterd("-n", value, "--", "/bin/true").returncode, (64, 78))

    def test_check_tells_all_in_one_run(self):
        path = self.policy("[cluster]\nworkers = none\n[restart]\ndelay = 1m\ndelay_max = 1s\n[stop]\nsignal = STOP\n"
                           "[health]\nhttp = x\n[ready]\nwhen = never\n"
                           "[listen a]\naddress = unix:/nonexistent/a.sock\n[listen b]\nadress = 80\n")
        done = self.refuse(78, "-t", "-c", path, "--", "/nonexistent/app",
                           says=(f"{path}:2:", f"{path}:4:", f"{path}:7:", f"{path}:11:", f"{path}:15:",
                                 "/nonexistent/app: No such file", "listener a: the folder /nonexistent: No such"))
        self.assertNotIn("has no address", done.stderr)
        self.assertNotIn("no listener to ask", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 7, done.stderr)
        # Without -t only the system is not asked.
        done = self.refuse(78, "-c", path, "--", "/nonexistent/app",
                           says=(f"{path}:2:", f"{path}:4:", f"{path}:7:", f"{path}:11:", f"{path}:15:"))
        self.assertEqual(len(done.stderr.splitlines()), 5, done.stderr)

    def test_check_tells_what_is_wrong_with_the_program(self):
        """The start and -t say the same; -t does not find it out by running it."""
        folder = harness.tempfile.mkdtemp(prefix="cli-")
        self.addCleanup(harness.shutil.rmtree, folder)
        off = ("--set", "control.socket=off", "-l", "none", "-n", "1", "--")
        for text, said in (("#!/nonexistent/sh\n", "the interpreter /nonexistent/sh of its first line is missing"),
                           ("#!/bin/sh\r\nsleep 9\r\n", "its first line ends in CR LF, as on Windows, and /bin/sh with a CR"),
                           ("#!/etc/passwd\n", "the interpreter /etc/passwd of its first line is not executable"),
                           ("", "the file is empty"),
                           ("echo hello\n", "neither a program of this machine nor a script with a #! line")):
            with open(f"{folder}/script", "w", encoding="ascii") as f:
                f.write(text)
                os.chmod(f.name, 0o755)
            start = self.run_clusterd(*off, f"{folder}/script")
            self.assertIn(start.returncode, (126, 127))
            self.assertIn(said, start.stdout + start.stderr)
            if "#!" in text or len(glob.glob("/proc/sys/fs/binfmt_misc/*")) < 3:
                self.refuse(78, "-t", *off, f"{folder}/script", says=(f"{folder}/script: {said}",))
        self.refuse(78, "-t", *off, folder, says=(f"{folder}: it is a directory",))
        with open(f"{folder}/script", "w", encoding="ascii") as f:
            f.write("#! /bin/sh -e\n")
        self.refuse(0, "-t", *off, f"{folder}/script")
        self.refuse(0, "-t", *off, "sleep", "1")

    def test_start_and_check_look_in_the_same_path(self):
        """That of clusterd; the one of [env] is for the worker."""
        folder = harness.tempfile.mkdtemp(prefix="cli-")
        self.addCleanup(harness.shutil.rmtree, folder)
        os.symlink("/bin/sleep", f"{folder}/only-here")
        words = ("--set", "control.socket=off", "-l", "none", "-n", "1", "--set", f"env.PATH={folder}", "--", "only-here", "x")
        self.refuse(127, *words, says=("not found in PATH",))
        self.refuse(78, "-t", *words, says=("only-here: No such file in PATH",))
        self.refuse(0, "-t", *words, env={"PATH": folder})
        self.refuse(69, *words, env={"PATH": folder}, says=("worker 0",))

    def test_check_tells_a_port_that_needs_a_right(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as f:
            first = int(f.read())
        if first == 0:
            self.skipTest("every user may bind every port here")
        user = {"user": 65534} if os.geteuid() == 0 else {}
        words = ("-t", "--set", "control.socket=off", "-l")
        self.refuse(78, *words, f"127.0.0.1:{first - 1}", "--", "/bin/true", **user,
                    says=(f"port {first - 1} is below {first}", "CAP_NET_BIND_SERVICE"))
        self.refuse(0, *words, f"127.0.0.1:{first}", "--", "/bin/true", **user)
        if os.geteuid() == 0:
            self.refuse(0, *words, f"127.0.0.1:{first - 1}", "--", "/bin/true")

    def test_check_tells_what_only_root_may(self):
        user = {"user": 65534, "group": 65534, "extra_groups": ()} if os.geteuid() == 0 else {}
        for words, said in ((("--set", "cluster.user=root"), "root: only root may run workers as another user"),
                            (("--set", "cluster.nice=-20"), "CAP_SYS_NICE"),
                            (("-b", "round-robin"), "CAP_BPF")):
            words = ("--set", "control.socket=off", "-n", "1", "-l", f"127.0.0.1:{harness.free_port()}", *words, "--",
                     "/bin/sleep", "1")
            self.refuse(78, "-t", *words, says=(said,), **user)
            self.assertEqual(self.run_clusterd(*words, **user).returncode, 77, said)
            if user:
                self.refuse(0, "-t", *words)

    def test_start_and_check_agree_on_open_files(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
        words = ("-n", "200", "--set", "control.socket=off", "-l", "none", "--", "/bin/sleep", "1")
        says = ("200 workers need 434 open files", "hard limit is 128", "LimitNOFILE=")
        for flags in (("-t",), ()):
            self.refuse(78, *flags, *words, says=says, preexec_fn=limit)
        self.refuse(0, "-t", "-n", "40", *words[2:], preexec_fn=limit)

    @unittest.skipUnless(shutil.which("setpriv"), "needs setpriv")
    def test_start_and_check_agree_on_limits(self):
        """Root may lack the right to raise one, in a container for instance; and may lower all of them."""
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))

        drop = ["setpriv", "--bounding-set=-sys_resource"] if os.geteuid() == 0 else []
        words = ["-n", "1", "-l", "none", "--set", "control.socket=off"]
        for flags, status in ((["-t"], 78), ([], 77)):
            done = subprocess.run([*drop, harness.CLUSTERD, *flags, *words, "--set", "limit.nofile=301", "--", "/bin/true"],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, preexec_fn=limit)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertRegex(done.stderr, r"limit\.nofile: .*hard limit of (clusterd is )?300\b")
        self.refuse(0, "-t", *words, "--set", "limit.nofile=299", "--", "/bin/true", preexec_fn=limit)

    def test_missing_folder_of_a_socket(self):
        self.refuse(73, "--set", "control.socket=off", "-l", "unix:/nonexistent/a.sock", "--", "/bin/true",
                    says=("its folder: No such file or directory", "create it first"))

    def test_what_is_in_the_way_of_a_socket(self):
        """The kernel's words for it tell nobody what to do."""
        path = self.policy("")
        self.refuse(73, "--set", "control.socket=off", "-l", f"unix:{path}", "--", "/bin/true",
                    says=("bind: Socket operation on non-socket", "is no socket, and it is not touched: remove it"))
        self.refuse(73, "--set", f"control.socket={path}", "-l", "none", "--", "/bin/true",
                    says=(f"control socket: {path}: bind: Socket operation on non-socket", "it is not touched: remove it"))
        self.refuse(73, "--set", "control.socket=off", "-l", "192.0.2.1:0", "--", "/bin/true",
                    says=("bind: Cannot assign requested address", "no interface of this machine has that address"))

    def test_errors_reach_the_terminal_clean(self):
        for words in ((b"-n", b"\x1b[2J\x9b\xc2\x9b"), (b"-c", b"/\x1b[2J\x9b\xc2\x9b"), (b"--\x1b[2J\x9b\xc2\x9b",),
                      (b"-\x9b",), (b"--set", b"a\x9b.b=c"), (b"-t", b"--set", b"log.level=\x9b\xc3\xa9"), (b"-t", b"--", b"/\x9b\x1b")):
            done = subprocess.run([os.fsencode(harness.CLUSTERD), *words], capture_output=True, check=False)
            self.assertIn(done.returncode, (64, 78))
            text = done.stderr.decode()  # valid UTF-8
            self.assertTrue(text and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), done.stderr)
        self.assertIn("\u00e9", subprocess.run([harness.CLUSTERD, "-t", "--set", "log.level=\u00e9"], capture_output=True,
                                              check=False).stderr.decode())

    def test_empty_name(self):
        for words in (("--name", ""), ("--name=",)):
            self.refuse(64, *words, "--", "/bin/true", says=("--name", "1 to 63 bytes"))
        self.refuse(64, "--name", "x" * 64, "--", "/bin/true", says=("--name: name = xxx", "63 bytes"))

    def test_usage_tells_the_way_out(self):
        for words, said in (((), "no program: give one on the command line or as [cluster] command; see clusterd -h\n"),
                            (("--user=www", "x"), "no option --user, but a key: --set cluster.user=VALUE\n"),
                            (("--drain-delay", "1s", "x"), "no option --drain-delay, but a key: --set stop.drain_delay="),
                            (("--worker", "2", "x"), "did you mean --workers?"),
                            (("--config=", "x"), "--config needs FILE\n"), (("-c", "", "x"), "needs FILE\n"),
                            (("--set", "=3", "x"), "SECTION.KEY=VALUE is needed"),
                            (("-l", "none", "--", ""), "the name of the program is empty")):
            done = self.refuse(64, *words, says=(said,))
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        done = self.refuse(78, "-t", "-l", "none", "--", "", says=("is empty",))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.refuse(78, "-t", "-n", "x", says=("-n: workers = x", "no program"))
        done = self.refuse(78, "-t", "-c", "/nonexistent.conf", says=("/nonexistent.conf: No such file",))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_refused_values_tell_what_is_allowed(self):
        for words, said in ((("-n", "100000"), "it can be 1 to 16384, or auto"),
                            (("--set", "restart.burst=65"), "it can be 1 to 64, or none"),
                            (("-l", "127.0.0.1"), "the port is missing, as in 127.0.0.1:80"),
                            (("-l", "a" * 80 + ":80"), "names are not looked up"),
                            (("-l", "localhost"), "the port is missing, as in 127.0.0.1:80"),
                            (("--set", "cluster.directory=/" + "x" * 256), "at most 255 bytes"),
                            (("--set", "cluster.command=" + "x" * 5000), "at most 4095 bytes"),
                            (("-b", "rr"), "not one of shared, hash, round-robin, round-robin?")):
            self.refuse(64, *words, "--", "/bin/true", says=(said,))

    def test_a_refused_value_of_set_names_its_section(self):
        self.refuse(64, "--set", "restart.burst=x", "--", "/bin/true", says=("--set: restart.burst = x:",))

    def test_check_and_dump(self):
        path = self.policy("[cluster]\nworkers = 3\n[stop]\ntimeout = 7s\n[exit 75]\naction = backoff\ndelay = 2s\n"
                           "[listen web]\naddress = 127.0.0.1:9\n[env]\nA = b\n")
        done = self.run_clusterd("-t", "-c", path, "--", "/bin/true")
        self.assertEqual((done.returncode, f"{path}: ok" in done.stdout + done.stderr), (0, True))
        dump = self.run_clusterd("--dump-config", "-c", path, "--set", "stop.drain_delay=1s", "--", "/bin/true")
        self.assertEqual(dump.returncode, 0, dump.stderr)
        self.assertRegex(dump.stdout, r"timeout = 7s\s+; .*policy\.conf:4")
        self.assertRegex(dump.stdout, r"drain_delay = 1s\s+; --set")
        again = self.policy(dump.stdout)
        second = self.run_clusterd("--dump-config", "-c", again)
        self.assertEqual(second.returncode, 0, second.stderr)

        def plain(text):
            return [re.sub(r"\s*;.*", "", line) for line in text.splitlines() if re.sub(r"\s*;.*", "", line)]
        self.assertEqual(plain(second.stdout), plain(dump.stdout))

    def test_B11_address_in_use(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            self.refuse(73, "--set", "control.socket=off", "-l", f"127.0.0.1:{port}", "--", "/bin/sleep", "1",
                        says=(str(port), "in use"))

    def test_help_and_version(self):
        for flag in ("-h", "--help"):
            done = self.run_clusterd(flag)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("--workers", done.stdout)
            self.assertEqual([line for line in done.stdout.splitlines() if len(line) > 80], [])
        done = self.run_clusterd("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout.splitlines()[0], r"^clusterd \d+\.\d+\.\d+")
        self.assertIn("libuv", done.stdout)
        self.assertIn("inih", done.stdout)
        self.assertEqual(self.run_clusterd("-V").stdout, done.stdout)

    def test_port_of_the_environment(self):
        port = harness.free_port()
        c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n", listen=False,
                         env={"PORT": str(port)}, flags=("-n", "1"))
        c.ready(1)
        socket.create_connection(("127.0.0.1", port), harness.DEADLINE).close()
        self.assertEqual(harness.environ(c.pid_of(0))[b"PORT"], str(port).encode())
        if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
            socket.create_connection(("::1", port), harness.DEADLINE).close()

    def test_B11_asked_ends_are_status_0(self):
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n", flags=("-n", "2"))
            c.announce("stop", "worker.escalate", "worker.exit")
            c.ready(2)
            self.assertEqual(c.stop(signo), 0)

    def test_text_and_logfmt(self):
        def runs(pid):  # a child that has not come to its exec may be gone by now
            with contextlib.suppress(OSError):
                return os.readlink(f"/proc/{pid}/exe") == os.path.realpath("/bin/sleep")
            return False

        for form, pattern in (("text", r"^(\d{4}-\S+Z )?clusterd web: worker 0 \(pid \d+\) died: SIGKILL, after \S+; "),
                              ("logfmt", r"event=worker\.exit .*slot=0 .*signal=SIGKILL")):
            c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n",
                             flags=("-n", "1", "--set", f"log.format={form}"))
            pids = harness.eventually(lambda: [pid for pid in c.workers() if runs(pid)], "its exec")
            c.kill(signal.SIGKILL, pids[0])
            harness.eventually(lambda: [x for x in c.other if re.search(pattern, x)],
                               f"{form} line: {c.other}")

    def test_the_file_it_started_with_is_told_once(self):
        c = self.cluster("/bin/sleep", "1000", policy="[ready]\nwhen = alive\nafter = 0\n", flags=("-n", "1"))
        c.ready(1)
        self.assertEqual([(e.file, e.result) for e in c.all("policy")], [(str(c.policy_file), "applied")])
        mark = c.mark()
        c.kill(signal.SIGHUP)
        self.assertEqual(c.wait_event("reload", since=mark).file, c.all("policy")[0].file)
        c.wait_event("roll.end", since=mark, verdict="done")
        self.assertEqual(c.stop(), 0)
        self.assertEqual(len(c.all("policy")), 1)

    def test_L7_a_start_that_fails_with_a_full_log_says_why(self):
        with socket.create_server(("127.0.0.1", harness.free_port())) as taken:
            done = self.run_clusterd("--set", "log.file=/dev/full", "--set", "control.socket=off",
                                     "-l", "127.0.0.1:%d" % taken.getsockname()[1], "--", "/bin/sleep", "1000")
        self.assertEqual(done.returncode, 73)
        self.assertIn("Address already in use", done.stderr)

    def test_L7_a_start_on_a_full_disk_leaves_no_file(self):
        """Neither a pid file without a pid nor a record without workers."""
        folder = harness.tempfile.mkdtemp(prefix="full-")
        self.addCleanup(harness.shutil.rmtree, folder)
        no_room = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))}
        done = self.run_clusterd("--set", f"supervisor.pid_file={folder}/pid", "-l", "none", "--", "/bin/true", **no_room)
        self.assertEqual(done.returncode, 71)
        self.assertIn(f"{folder}/pid: write: File too large", done.stderr)
        done = self.run_clusterd("--set", "supervisor.on_death=keep", "--set", f"control.socket={folder}/s", "-l", "none",
                                 "--set", "restart.when=never", "--", "/bin/true", **no_room)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{folder}/s.workers: write: File too large", done.stderr)
        self.assertEqual(os.listdir(folder), [])

    def test_pid_file(self):
        folder = harness.tempfile.mkdtemp(prefix="pid-")
        self.addCleanup(harness.shutil.rmtree, folder)
        path = f"{folder}/web.pid"
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"),
                         policy=f"[ready]\nwhen = alive\nafter = 0\n[supervisor]\npid_file = {path}\n")
        c.ready(1)
        with open(path, encoding="ascii") as f:
            self.assertEqual(int(f.read()), c.pid)
        self.refuse(73, "--set", "control.socket=off", "--set", f"supervisor.pid_file={path}", "-l",
                    f"127.0.0.1:{harness.free_port()}", "--", "/bin/sleep", "1", says=(path,))
        with open(path, encoding="ascii") as f:
            self.assertEqual(int(f.read()), c.pid)
        self.assertEqual(c.stop(), 0)
        self.assertFalse(os.path.exists(path))
        os.symlink("/etc/passwd", path)
        self.assertNotEqual(self.run_clusterd("--set", "control.socket=off", "--set", f"supervisor.pid_file={path}",
                                              "-l", f"127.0.0.1:{harness.free_port()}", "--", "/bin/sleep",
                                              "1").returncode, 0)
        self.assertTrue(os.path.islink(path))


harness.main()
