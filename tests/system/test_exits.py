"""Row A: how a worker ended is told exactly, and what follows is what the policy says."""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[restart]\ndelay = 0\n"

# Counts its own lives in a file: life 0 waits to be killed, life n exits with n - 1.
COUNTDOWN = """
n=$(cat lives 2>/dev/null || echo 0)
echo $((n + 1)) >lives
if [ $n -eq 0 ] || [ $n -gt %d ]; then exec sleep 1000; fi
exit $((n - 1))
"""

QUIET = {signal.SIGSTOP, signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD,
         signal.SIGURG, signal.SIGWINCH}


class MemoryCgroup:
    """A cgroup of its own with so little memory, of v1 or v2; .folder is None, and .why says it, if there is none."""

    def __init__(self, test, limit):
        self.folder, self.why = None, "there is no memory cgroup"
        lines = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
        v1 = [path for _, controllers, path in lines if "memory" in controllers.split(",")]
        v2 = [path for _, controllers, path in lines if not controllers]
        if v1:
            self._make("/sys/fs/cgroup/memory" + v1[0], {
                "memory.limit_in_bytes": limit, "memory.memsw.limit_in_bytes": limit})
        elif v2:
            # Beside our own: one that has processes can not pass controllers on to those below it.
            parent = pathlib.Path("/sys/fs/cgroup" + v2[0])
            self._make(parent if v2[0] == "/" else parent.parent, {"memory.max": limit, "memory.swap.max": 0})
        if self.folder:
            test.addCleanup(self._remove)

    def _make(self, parent, limits):
        folder = pathlib.Path(parent) / f"clusterd-test-{os.getpid()}"
        (name, size), (swap_name, swap) = limits.items()
        try:
            folder.mkdir()
        except OSError as error:
            self.why = f"no cgroup can be made in {parent}: {error.strerror}"
            return
        try:
            (folder / name).write_text(str(size))
            self.folder = folder
        except OSError as error:
            self.why = f"{folder}/{name}: {error.strerror}"
            folder.rmdir()
            return
        try:
            (folder / swap_name).write_text(str(swap))
        except OSError:
            pass  # a kernel that does not count swap

    def _remove(self):
        harness.eventually(lambda: not (self.folder / "cgroup.procs").read_text(), "an empty cgroup")
        self.folder.rmdir()

    def prefix(self):
        """Words before a command that move it in."""
        return "/bin/sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$0" "$@"'


class RowA(harness.TestCase):
    def test_A1_every_exit_code(self):
        c = self.sh(COUNTDOWN % 256, policy=AT_ONCE, flags=("-n", "1"))
        c.announce("worker.exit")
        c.ready(1)
        lives = c.folder / "lives"
        harness.eventually(lambda: lives.exists() and lives.read_text() == "1\n", "the first life is counted")
        c.kill(signal.SIGKILL, c.pid_of(0))
        ends = c.wait_events(257, "worker.exit", deadline=30 * harness.SLOW)
        self.assertEqual(ends[0].signal, "SIGKILL")
        self.assertEqual([e.code for e in ends[1:]], list(range(256)))

    def test_A2_every_signal_by_name(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "1"))
        c.announce("worker.exit")
        c.ready(1)
        for number in [*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]:
            if number in QUIET:
                continue
            mark = c.mark()
            c.kill(number, c.pid_of(0))
            end = c.wait_event("worker.exit", since=mark)
            self.assertIsNone(end.code)
            if number < signal.SIGRTMIN:
                name = {"SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}.get(signal.Signals(number).name,
                                                                  signal.Signals(number).name)
                self.assertEqual(end.signal, name)
            else:
                self.assertIn(end.signal, (f"SIGRTMIN+{number - signal.SIGRTMIN}",
                                           f"SIGRTMAX-{signal.SIGRTMAX - number}", "SIGRTMIN", "SIGRTMAX"))
            c.wait_event("worker.ready", since=mark)

    def test_A3_core(self):
        for limit, size in (("0", 0), ("infinity", resource.RLIM_INFINITY)):
            with self.subTest(core=limit):
                c = self.sh("cat /proc/self/limits >limits; kill -SEGV $$", flags=("-n", "1"),
                            policy=AT_ONCE + f"[limit]\ncore = {limit}\n[exit SIGSEGV]\naction = backoff\ndelay = 1h\n")
                c.announce("worker.exit")
                end = c.wait_event("worker.exit")
                self.assertEqual(end.signal, "SIGSEGV")
                # The same end outside of clusterd says whether this kernel dumps cores here at all.
                reference = subprocess.Popen(
                    ["/bin/sh", "-c", "kill -SEGV $$"], cwd=c.folder,
                    preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_CORE, (size, size)))
                _, status = os.waitpid(reference.pid, 0)
                reference.returncode = status
                self.assertEqual(bool(end.core), os.WCOREDUMP(status))

    def test_A4_all_at_once(self):
        count = 64
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", count))
        c.announce("worker.exit")
        c.ready(count)
        first = c.workers()
        mark = c.mark()
        for pid in first:
            c.kill(signal.SIGKILL, pid)
        ends = c.wait_events(count, "worker.exit", since=mark)
        again = c.wait_events(count, "worker.ready", since=mark)
        self.assertEqual(sorted(e.pid for e in ends), sorted(first))
        self.assertLess(again[-1]["at"] - ends[-1]["at"], 1 * harness.SLOW + self.slack())
        self.assertEqual(len(c.workers()), count)

    def test_A5_dies_before_it_is_looked_at(self):
        c = self.cluster("/bin/true", policy=AT_ONCE, flags=("-n", "4"))
        c.announce("worker.exit")
        c.wait_events(1000, "worker.exit", deadline=30 * harness.SLOW)
        c.stop()
        starts, ends = c.all("worker.start"), c.all("worker.exit")
        self.assertEqual(sorted(e.pid for e in starts), sorted(e.pid for e in ends))
        self.assertEqual({e.code for e in ends if not e.asked}, {0})

    def test_A6_a_stopped_worker_has_not_died(self):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE, flags=("-n", "2"))
        c.ready(2)
        c.kill(signal.SIGSTOP, c.pid_of(0))
        harness.eventually(lambda: harness.stat_of(c.pid_of(0))[0] == "T", "the worker stops")
        c.kill(signal.SIGCONT, c.pid_of(0))
        harness.eventually(lambda: harness.stat_of(c.pid_of(0))[0] != "T", "the worker goes on")
        # An event that comes after: what would have been told of slot 0 has been told by now.
        c.announce("worker.exit")
        c.kill(signal.SIGKILL, c.pid_of(1))
        c.wait_event("worker.exit", slot=1)
        self.assertEqual(c.all("worker.exit", slot=0), [])
        self.assertEqual(len(c.all("worker.start", slot=0)), 1)

    def test_A4_an_end_is_told_before_what_follows(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        program = pathlib.Path(folder) / "nap"
        shutil.copy("/bin/sleep", program)
        c = self.cluster(str(program), "1000", policy=AT_ONCE, flags=("-n", "1"))
        c.announce("worker.exit", "spawn.error", "give_up", "stop")
        c.ready(1)
        for follows in ("worker.start", "spawn.error"):
            with self.subTest(follows=follows):
                pid = c.pid_of(0)
                c.wait_event("worker.ready", pid=pid)
                if follows == "spawn.error":
                    program.unlink()
                c.wait_event("up")
                since = c.mark()
                c.kill(signal.SIGKILL, pid)
                c.wait_event(follows, since)
                end, after = c.events[since:since + 2]
                self.assertEqual((end.event, after.event), ("worker.exit", follows))
                self.assertEqual((end.pid, end.delay_ms), (pid, 0))
        # Without a pause between the tries nothing else would ever be heard.
        self.assertGreaterEqual(after.retry_ms, 100)

    STRANGERS = """
if [ $CLUSTERD_SLOT -eq 0 ]; then
    for i in 1 2 3 4 5 6 7 8 9 10; do
        for code in 0 3 4 0 3; do (sh -c "exit $code" &); done
        (sh -c 'kill -SEGV $$' &)
    done
    echo orphans made
fi
exec sleep 1000
"""

    def orphans(self, **options):
        c = self.sh(self.STRANGERS, policy=AT_ONCE, flags=("-n", "2"), log_level="debug", **options)
        c.ready(2)
        c.wait_line("orphans made")
        harness.eventually(lambda: sorted(harness.children(c.pid).values()) == ["S", "S"],
                           "the workers are the only children, and none is a zombie")
        self.assertEqual(c.all("worker.exit"), [])
        self.assertEqual(len(c.all("worker.start")), 2)
        for code, count in ((0, 20), (3, 20), (4, 10)):
            c.wait_events(count, "stranger", code=code)
        c.wait_events(10, "stranger", signal="SIGSEGV")
        self.assertEqual({e.level for e in c.all("stranger")}, {"debug"})

    def test_A7_strangers_of_a_subreaper(self):
        self.orphans(preexec=lambda: harness._libc.prctl(harness.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "a pid namespace takes root")
    def test_A7_I1_strangers_of_pid_1(self):
        self.orphans(prefix=("unshare", "--pid", "--fork", "--kill-child"), nested=True)

    def test_A8_policy_and_end(self):
        respawned = {"always": {"0", "7", "SEGV"}, "on-failure": {"7", "SEGV"}, "on-abnormal": {"SEGV"},
                     "never": set()}
        for when, ends in respawned.items():
            for how in ("0", "7", "SEGV"):
                with self.subTest(when=when, end=how):
                    act = f"exit {how}" if how.isdigit() else "kill -SEGV $$"
                    c = self.sh(f"[ $CLUSTERD_SLOT != 0 ] || {{ {act}; }}; exec sleep 1000",
                                policy=AT_ONCE + f"when = {when}\n[limit]\ncore = 0\n", flags=("-n", "2"))
                    c.announce("worker.exit", "give_up")
                    end = c.wait_event("worker.exit", slot=0)
                    if how in ends:
                        self.assertEqual(end.action, "respawn")
                        c.wait_events(2, "worker.start", slot=0)
                        continue
                    self.assertEqual((end.action, end.why), ("retire", "policy"))
                    # A start that is asked for later: one of slot 0 would have come before it.
                    c.kill(signal.SIGTTIN)
                    c.wait_event("worker.start", slot=2)
                    self.assertEqual(len(c.all("worker.start", slot=0)), 1)

    def test_A9_rules_by_exit_code(self):
        policy = AT_ONCE.replace("delay = 0", "delay = 7ms") + """
[exit 78]
action = retire
[exit 75]
action = backoff
delay = 321ms
[exit 0]
action = respawn
"""
        expected = {"78": ("retire", "rule", None), "75": ("respawn", "rule", 321),
                    "0": ("respawn", "rule", 0), "5": ("respawn", "backoff", None)}
        for code, (action, why, delay) in expected.items():
            with self.subTest(code=code):
                c = self.sh(f"[ $CLUSTERD_SLOT = 1 ] || exit {code}; exec sleep 1000", policy=policy,
                            flags=("-n", "2"))
                c.announce("worker.exit", "give_up")
                end = c.wait_event("worker.exit", slot=0)
                self.assertEqual((end.action, end.why), (action, why))
                if delay is not None:
                    self.assertEqual(end.delay_ms or 0, delay)

    def test_K7_a_program_that_goes_into_the_background_is_told_how_not_to(self):
        for code, told in ((0, True), (1, False)):
            with self.subTest(code=code):
                c = self.sh(f"exit {code}", policy="[restart]\ndelay = 1ms\n", flags=("-n", "2"))
                c.announce("worker.exit", "give_up", "stop")
                c.expected_status = 69
                self.assertEqual(c.wait(), 69)
                detail = c.wait_event("give_up").detail
                self.assertIn("no worker ever got ready", detail)
                self.assertEqual("must be told to stay in the foreground" in detail, told)

    def test_a_program_that_finds_its_port_taken_is_told_by_whom(self):
        """The first try of many: a server that binds $PORT by itself, which clusterd holds already."""
        binds = "import os, socket; socket.create_server(('127.0.0.1', int(os.environ['PORT'])))"
        for words, flags, told in ((("/usr/bin/python3", "-c", binds), (), True),
                                   (("/bin/sh", "-c", "kill -9 $$"), (), False),
                                   (("/bin/sh", "-c", "exit 1"), ("-a",), False)):
            with self.subTest(words=words):
                c = self.cluster(*words, policy="[restart]\ndelay = 1ms\n", flags=("-n", "1", *flags))
                c.announce("worker.exit", "give_up", "stop", "note")
                c.expected_status = 69
                self.assertEqual(c.wait(), 69)
                self.assertEqual("binds the port by itself: -a gives it clusterd's" in c.wait_event("give_up").detail, told)

    def test_A9_exit_ends_the_cluster(self):
        c = self.sh("[ $CLUSTERD_SLOT = 1 ] || exit 66; exec sleep 1000",
                    policy=AT_ONCE + "[exit 64-70]\naction = exit\n", flags=("-n", "2"))
        c.announce("worker.exit", "give_up", "stop")
        c.expected_status = 69
        self.assertEqual(c.wait(), 69)
        self.assertEqual(c.all("worker.exit", slot=0)[0].action, "exit")

    def killed(self, c):
        """The end of a worker by a plain kill -9; it is respawned."""
        mark = c.mark()
        c.kill(signal.SIGKILL, c.workers()[0])
        end = c.wait_event("worker.exit", since=mark)
        self.assertEqual((end.signal, end.action, end.why), ("SIGKILL", "respawn", "backoff"))
        c.wait_event("worker.ready", since=mark)
        return end

    @unittest.skipUnless(os.geteuid() == 0, "a cgroup takes root")
    def test_A10_killed_for_lack_of_memory(self):
        """An OOM kill is told from a kill -9, and has a rule of its own; clusterd is not the victim."""
        megabytes = 32 if harness.SLOW == 1 else 512
        cgroup = MemoryCgroup(self, megabytes << 20)
        if not cgroup.folder:
            self.skipTest(cgroup.why)
        c = self.cluster(harness.PROBE, "ready", "serve", flags=("-n", "2"), prefix=cgroup.prefix(),
                         policy="[ready]\nwhen = notify\n[restart]\ndelay = 1ms\n[exit oom]\naction = retire\n")
        c.announce("worker.exit", "give_up")
        c.ready(2)
        self.assertFalse(self.killed(c).oom)
        c.ctl("upgrade")  # it takes the counter with it
        mark = c.mark()
        client = harness.Connection(c.port)  # whoever takes it
        self.addCleanup(client.close)
        client.send(f"GET /eat-memory={2 * megabytes} HTTP/1.1\r\n\r\n")
        end = c.wait_event("worker.exit", since=mark)
        self.assertEqual((end.signal, end.oom, end.action, end.why), ("SIGKILL", True, "retire", "rule"))
        self.assertFalse(self.killed(c).oom)
        c.ctl("status", status=None)  # clusterd answers

    @unittest.skipUnless(os.geteuid() == 0, "a cgroup takes root")
    def test_A10_others_were_killed_for_lack_of_memory(self):
        """Children of a worker, of which clusterd hears nothing: their kills are not those of workers that end later."""
        megabytes = 32 if harness.SLOW == 1 else 512
        cgroup = MemoryCgroup(self, megabytes << 20)
        if not cgroup.folder:
            self.skipTest(cgroup.why)
        eat = f"{harness.PROBE} eat-memory={2 * megabytes} exit=0"
        c = self.sh(f"[ $CLUSTERD_SLOT = 0 ] && {{ {eat}; {eat}; {eat}; echo eaten; }}; exec sleep 1000",
                    policy=AT_ONCE, flags=("-n", "2"), prefix=cgroup.prefix())
        c.announce("worker.exit")
        c.wait_line("eaten")
        told = []
        for _ in range(3):
            mark = c.mark()
            c.kill(signal.SIGKILL, c.pid_of(1))
            told.append(bool(c.wait_event("worker.exit", since=mark, slot=1).oom))
            c.wait_event("worker.ready", since=mark, slot=1)
            time.sleep(1.1)  # as long as a kill may wait for the end that it caused
        self.assertEqual(told[1:], [False, False])
        self.assertEqual(c.all("worker.exit", slot=0), [])


harness.main()
