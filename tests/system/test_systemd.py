"""The unit that is shipped, run by the systemd that is PID 1: what clusterd tells it, and what it does to clusterd."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import clients
import harness

TOP = pathlib.Path(__file__).parents[2]
UNITS = pathlib.Path("/run/systemd/system")
RUNBOOK = (TOP / "man/clusterd-runbook.7").read_text(encoding="utf-8")
DEADLINE = 3 * harness.DEADLINE

if os.geteuid() != 0 or not UNITS.is_dir():
    print("skipped: to run a unit takes root, and systemd as PID 1")
    raise SystemExit(77)


def run(*words, status=0):
    """What a command says; with None it must fail."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False)
    said = done.stdout + done.stderr
    if done.returncode == 0 if status is None else done.returncode != status:
        raise AssertionError(f"{' '.join(words)}: status {done.returncode}\n{said}")
    return said


class Unit(harness.TestCase):
    """A folder that a hardened unit sees too, with the programs and the policy; the unit of a name of its own."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="clusterd-test-", dir="/var/lib"))
        self.folder.chmod(0o755)
        self.name = "t" + re.sub(r"\W", "", self.folder.name.removeprefix("clusterd-test-"))
        self.unit = f"clusterd-test@{self.name}.service"
        self.clusterd, self.clusterctl, self.app, self.probe = (
            shutil.copy(program, self.folder)
            for program in (harness.CLUSTERD, harness.CLUSTERCTL, harness.APP, harness.PROBE))
        self.port = harness.free_port()
        self.files = []
        self.addCleanup(self.clean)
        text = (TOP / "config/dist/clusterd@.service").read_text(encoding="utf-8")
        for shipped, ours in (("/usr/sbin/clusterd", self.clusterd), ("/usr/bin/clusterctl", self.clusterctl),
                              ("/etc/clusterd/", f"{self.folder}/")):
            self.assertIn(shipped, text)
            text = text.replace(shipped, ours)
        self.write(self.unit, text)
        self.drop_in("sanitizer", f"Environment=ASAN_OPTIONS=log_path={self.folder}/asan:detect_leaks=0")

    def clean(self):
        for file in self.files:
            if file.suffix == ".socket":
                run("systemctl", "stop", file.name)
        for words in ("stop",), ("kill", "--signal=KILL"), ("reset-failed",):  # workers of `keep` may be left
            subprocess.run(["systemctl", *words, self.unit], stderr=subprocess.DEVNULL, check=False)
        for file in (*self.files, *pathlib.Path("/run/clusterd").glob(f"{self.name}.*")):
            file.unlink()
        shutil.rmtree(UNITS / f"{self.unit}.d")
        run("systemctl", "daemon-reload")
        reports = [report.read_text(errors="replace") for report in self.folder.glob("asan*")]
        shutil.rmtree(self.folder)
        self.assertEqual(reports, [])

    def write(self, name, text):
        file = UNITS / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        self.files.append(file)

    def drop_in(self, name, service):
        self.write(f"{self.unit}.d/{name}.conf", f"[Service]\n{service}\n" if "[Service]" not in service else service)

    def policy(self, text, workers=2, listen=None, command=None, user="root"):
        (self.folder / f"{self.name}.conf").write_text(
            f"[listen web]\naddress = {listen or f'127.0.0.1:{self.port}'}\n{text}\n"
            f"[cluster]\nworkers = {workers}\ncommand = {command or self.app}\nuser = {user}\n", encoding="utf-8")

    def start(self, text="", **options):
        self.policy(text, **options)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", self.unit)

    def show(self, field):
        return run("systemctl", "show", "--value", "-p", field, self.unit).strip()

    def pid(self):
        return int(self.show("MainPID"))

    def wait(self, field, value):
        harness.eventually(lambda: self.show(field) == value, f"{field}={value} of {self.unit}", DEADLINE)

    def workers(self):
        return sorted(harness.children(self.pid()))

    def processes(self):
        group = pathlib.Path("/sys/fs/cgroup" + self.show("ControlGroup")) / "cgroup.procs"
        return group.read_text().split() if self.show("ControlGroup") and group.exists() else []

    def journal(self):
        text = run("journalctl", "-u", self.unit, "-o", "json", "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def told(self, words, since=0):
        """The first line of the journal with these words."""
        def find():
            return next((line for line in self.journal()[since:] if words in line["MESSAGE"]), None)
        return harness.eventually(find, f"'{words}' in the journal of {self.unit}", DEADLINE)

    def ctl(self, *words, status=0):
        return run(self.clusterctl, "-n", self.name, *words, status=status)

    def answers(self):
        self.assertIn("hello", clients.ask(self.port, request=b"GET /get HTTP/1.0\r\n\r\n", timeout=DEADLINE))

    def restarted(self, before):
        """Waits until another clusterd is the main process, and active."""
        harness.eventually(lambda: self.pid() not in (0, before), "a new main process", DEADLINE)
        self.wait("ActiveState", "active")

    # ---- what it is told ----

    def test_start_waits_until_the_workers_are_ready(self):
        self.start()
        self.assertEqual(len(self.workers()), 2)
        self.answers()
        said = run("systemctl", "status", self.unit)
        self.assertIn("Active: active (running)", said)
        self.assertIn('Status: "2 of 2 workers ready"', said)
        self.ctl("scale", "3")
        self.wait("StatusText", "3 of 3 workers ready")

    def test_start_fails_if_no_worker_gets_ready(self):
        self.policy("", command="/bin/false")
        self.drop_in("once", "Restart=no")
        run("systemctl", "daemon-reload")
        run("systemctl", "start", self.unit, status=None)
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus")), ("exit-code", "69"))

    def test_a_policy_with_a_problem_is_not_tried_again(self):
        self.policy("[restart]\nburts = 3\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "start", self.unit, status=None)
        self.assertEqual((self.show("ActiveState"), self.show("ExecMainStatus"), self.show("NRestarts")),
                         ("failed", "78", "0"))
        self.told("did you mean")

    def test_the_commands_of_the_runbook(self):
        """What `Nothing answers` says: the unit and its last lines tell why it ended."""
        status, journal = re.findall(r"^\.Ic ((?:systemctl status|journalctl) .*)$", RUNBOOK, flags=re.M)[:2]
        self.start()
        self.drop_in("once", "Restart=no")
        run("systemctl", "daemon-reload")
        os.kill(self.pid(), signal.SIGKILL)
        self.wait("ActiveState", "failed")
        self.ctl("status", status=3)
        self.assertIn("status=9/KILL", run(*status.replace("clusterd@web", self.unit).split(), status=3))
        self.assertIn("code=killed, status=9/KILL", run(*journal.replace("clusterd@web", self.unit).split()))

    def test_the_journal(self):
        """Each line with its priority and without a time, which the journal adds."""
        self.start()
        os.kill(self.workers()[0], signal.SIGKILL)
        line = self.told("died: SIGKILL")
        self.assertEqual((line["PRIORITY"], line["SYSLOG_IDENTIFIER"], line["_PID"]), ("4", "clusterd", str(self.pid())))
        self.assertRegex(line["MESSAGE"], rf"^clusterd {self.name}: worker ")
        self.assertEqual(self.told("2 of 2 workers ready")["PRIORITY"], "6")

    # ---- what it does ----

    def test_reload(self):
        self.start()
        main, before = self.pid(), self.workers()
        self.policy("", workers=3)
        run("systemctl", "reload", self.unit)
        self.wait("StatusText", "3 of 3 workers ready")
        self.assertEqual((self.pid(), self.show("ActiveState")), (main, "active"))
        self.assertLess(set(before), set(self.workers()))
        self.policy("[env]\nA = B\n", workers=3)  # a roll
        run("systemctl", "reload", self.unit)
        harness.eventually(lambda: len(self.workers()) == 3 and not set(before) & set(self.workers()), "new workers")
        self.wait("ActiveState", "active")

    def test_a_reload_that_is_refused_changes_nothing(self):
        self.start()
        main, before = self.pid(), self.workers()
        self.policy("[restart]\nburts = 3\n")
        run("systemctl", "reload", self.unit, status=None)
        self.assertEqual((self.pid(), self.workers(), self.show("ActiveState")), (main, before, "active"))
        self.told("did you mean")

    def test_upgrade_keeps_the_main_process(self):
        """And the workers, and the watchdog goes on."""
        self.drop_in("watchdog", f"WatchdogSec={harness.SLOW:g}")
        self.start()
        main, before = self.pid(), self.workers()
        self.ctl("upgrade")
        self.told("upgrade: done")
        os.kill(main, signal.SIGUSR2)
        harness.eventually(lambda: sum("upgrade: done" in line["MESSAGE"] for line in self.journal()) == 2, "the second one")
        pinged = int(self.show("WatchdogTimestampMonotonic"))
        harness.eventually(lambda: int(self.show("WatchdogTimestampMonotonic")) > pinged + 3e6 * harness.SLOW,
                           "WATCHDOG=1, three watchdogs later")
        self.assertEqual((self.pid(), self.workers(), self.show("NRestarts"), self.show("StatusText")),
                         (main, before, "0", "2 of 2 workers ready"))

    def test_watchdog(self):
        """A clusterd that hangs is replaced, and none of its workers is left."""
        self.drop_in("watchdog", f"WatchdogSec={harness.SLOW:g}")
        self.start()
        main, before = self.pid(), self.workers()
        os.kill(main, signal.SIGSTOP)
        self.restarted(main)
        self.assertEqual(self.show("NRestarts"), "1")
        self.assertFalse(set(map(str, before)) & set(self.processes()))
        self.told("Watchdog timeout")

    def test_stop_finishes_what_is_under_way(self):
        self.start()
        busy = [harness.Connection(self.port) for _ in range(8)]
        body = json.dumps({"n": 1})
        for connection in busy:
            connection.send(f"POST /post HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body[:3]}")
        for worker in self.workers():  # they have taken the connections
            harness.eventually(lambda worker=worker: len(harness.fds(worker)) > 7, "connections in every worker")
        run("systemctl", "stop", "--no-block", self.unit)
        self.wait("StatusText", "stopping")
        for connection in busy:
            connection.send(body[3:])
            self.assertEqual(connection.response()[0], 200)
            connection.close()
        self.wait("ActiveState", "inactive")
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus"), self.processes()), ("success", "0", []))
        self.told("stopped")

    def test_stop_under_load(self):
        self.start()
        load = harness.Load(self.port, clients=8, pause=0.01)
        harness.eventually(lambda: load.sent > 50, "some load")
        run("systemctl", "stop", self.unit)
        _, lost = load.stop()
        # What nobody had accepted yet is reset with the socket; an answer that was begun is never cut.
        self.assertTrue(all(re.search("ConnectionRefused|ConnectionReset|BrokenPipe", one) for one in lost), lost[:5])
        self.assertEqual((self.show("Result"), self.processes()), ("success", []))

    def test_socket_activation(self):
        """The first connection starts it; while it restarts connections wait, and none is lost."""
        self.write(f"clusterd-test@{self.name}.socket",
                   f"[Socket]\nListenStream=127.0.0.1:{self.port}\nFileDescriptorName=web\n")
        self.policy("", listen="inherit:web")
        run("systemctl", "daemon-reload")
        run("systemctl", "start", f"clusterd-test@{self.name}.socket")
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.answers()
        self.wait("StatusText", "2 of 2 workers ready")
        main = self.pid()
        load = harness.Load(self.port, clients=4)
        harness.eventually(lambda: load.sent > 50, "some load")
        run("systemctl", "restart", self.unit)
        self.assertNotEqual(self.pid(), main)
        sent = load.sent
        harness.eventually(lambda: load.sent > sent + 50, "load on the new one")
        self.assertEqual(load.stop()[1], [])

    def test_killed_with_on_death_keep(self):
        """Under KillMode=process, as clusterd.conf(5) says: the workers serve on, the next one takes the sockets back."""
        self.drop_in("keep", "KillMode=process")
        self.start("[supervisor]\non_death = keep\n")
        main, before = self.pid(), self.workers()
        load = harness.Load(self.port, clients=4)
        harness.eventually(lambda: load.sent > 50, "some load")
        os.kill(main, signal.SIGKILL)
        self.restarted(main)
        self.told("taken back from the orphans")
        for pid in before:
            self.told(f"(pid {pid}) has ended, as asked")
        self.assertEqual(load.stop()[1], [])
        self.assertFalse(set(before) & set(self.workers()))
        run("systemctl", "stop", self.unit)
        self.assertEqual(self.processes(), [])

    def test_killed_with_on_death_keep_and_started_by_hand(self):
        """As the runbook says it."""
        command = re.search(r"^\.Ic (systemctl start clusterd@web) \.$", RUNBOOK, flags=re.M).group(1)
        self.drop_in("keep", "KillMode=process\nRestart=no")
        self.start("[supervisor]\non_death = keep\n")
        before = self.workers()
        os.kill(self.pid(), signal.SIGKILL)
        self.wait("ActiveState", "failed")
        self.ctl("status", status=3)
        self.answers()
        run(*command.replace("clusterd@web", self.unit).split())
        self.told("taken back from the orphans")
        for pid in before:
            self.told(f"(pid {pid}) has ended, as asked")

    def test_killed(self):
        """Without `keep` no worker outlives it, and systemd starts the next."""
        self.start()
        main, before = self.pid(), self.workers()
        os.kill(main, signal.SIGKILL)
        self.restarted(main)
        self.assertFalse(set(map(str, before)) & set(self.processes()))

    def test_out_of_memory(self):
        """OOMPolicy=continue: the worker is respawned and the unit serves on; the line names what it died of."""
        self.drop_in("memory", f"MemoryMax={int(100 * harness.SLOW)}M\nMemorySwapMax=0")
        self.start(command=f"{self.probe} ready serve")
        main = self.pid()
        eater = harness.Connection(self.port)
        eater.send(f"GET /eat-memory={int(300 * harness.SLOW)} HTTP/1.1\r\n\r\n")
        self.told("died: SIGKILL, out of memory")
        eater.close()
        self.wait("StatusText", "2 of 2 workers ready")
        self.assertEqual((self.pid(), self.show("ActiveState"), self.show("NRestarts")), (main, "active", "0"))

    # ---- hardened ----

    def harden(self):
        self.drop_in("hardening", (TOP / "config/dist/hardening.conf").read_text(encoding="utf-8"))

    def test_hardened(self):
        """Workers of another user, round robin, upgrade, reload and stop all work in the sandbox."""
        policy = "balance = round-robin"
        try:
            os.rmdir("/run/clusterd")  # as after an installation
        except OSError:
            pass
        self.harden()
        self.start(policy, user="nobody")
        for pid in self.workers():
            self.assertEqual(harness.status_field(pid, "Uid").split(), ["65534"] * 4)
            self.assertEqual(harness.status_field(pid, "NoNewPrivs"), "1")
        main, before = self.pid(), self.workers()
        self.ctl("upgrade")
        self.assertEqual((self.pid(), self.workers()), (main, before))
        self.policy(policy, workers=3, user="nobody")
        run("systemctl", "reload", self.unit)
        self.wait("StatusText", "3 of 3 workers ready")
        self.answers()
        run("systemctl", "stop", self.unit)
        self.assertEqual((self.show("Result"), self.processes()), ("success", []))

    def test_hardened_adoption(self):
        """A program that binds by itself, wrapped in the sandbox."""
        self.harden()
        self.start("adopt = yes", command=f"python3 -m http.server --bind 127.0.0.1 --directory {self.folder} {self.port}")
        self.assertEqual(len(self.workers()), 2)
        self.assertIn("listing", clients.ask(self.port, request=b"GET / HTTP/1.0\r\n\r\n", timeout=DEADLINE))


harness.main()
