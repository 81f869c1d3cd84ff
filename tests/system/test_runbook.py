"""clusterd-runbook(7): each symptom is caused, its commands are run, and the answer is compared."""

import re
import shlex
import shutil
import signal
import socket
import subprocess
import unittest
import urllib.request

import clients
import harness

PAGE = harness.pathlib.Path(__file__).resolve().parents[2] / "man" / "clusterd-runbook.7"
TEXT, *_, ELSEWHERE, _ = PAGE.read_text(encoding="utf-8").split(".Sh RUNBOOK\n")[1].split("\n.Sh ")
SYMPTOMS = {part.split("\n")[0].removeprefix("\\&"): part for part in TEXT.split(".Ss ")[1:]}
CONTAINERFILE = PAGE.parents[1] / "config" / "dist" / "Containerfile"
AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 5s\n"


@unittest.skipUnless(shutil.which(harness.CLUSTERCTL), "clusterctl is not built")
class Runbook(harness.TestCase):
    def commands(self, symptom, **replace):
        """The commands of a symptom, in words, without the options that name the cluster."""
        found = re.findall(r"^\.Dl (.*)$", SYMPTOMS[symptom], flags=re.M)
        lines = []
        for line in found:
            for old, new in replace.items():
                line = line.replace(old, new)
            lines.append(shlex.split(line.split(";")[0].replace("-n web ", "")))
        return lines

    def ask(self, c, words, status=0):
        self.assertEqual(words[0], "clusterctl")
        return c.ctl(*words[1:], status=status)

    def sleepers(self, policy="", count=2, **options):
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + policy, flags=("-n", count), **options)
        c.announce("note", "roll.end", "roll.slot", "worker.exit", "give_up", "spawn.error")
        c.ready(count)
        return c

    def test_nothing_answers(self):
        (status,) = self.commands("Nothing answers")
        c = self.sleepers(count=4)
        self.assertIn("web: ready, 4 of 4 ready", self.ask(c, status))
        c.ctl("drain", "1")
        self.assertIn("degraded", self.ask(c, status, status=1))
        # Whatever wakes it up makes it look for its socket: it may not wake up yet.
        c.kill(signal.SIGSTOP)
        c.socket.unlink()
        self.ask(c, status, status=3)
        c.kill(signal.SIGCONT)
        c.kill(signal.SIGUSR1)
        c.wait_event("note", level="warn")
        self.ask(c, status, status=1)
        c.stop()
        self.ask(c, status, status=3)

    def test_clusterd_does_not_start(self):
        c = self.sleepers()
        (check,) = self.commands("Clusterd does not start", **{"/etc/clusterd/web.conf": str(c.policy_file)})
        done = self.run_clusterd(*check[1:], "--", "/bin/sleep")
        self.assertEqual((done.returncode, done.stdout), (0, f"{c.policy_file}: ok\n"))
        c.policy_file.write_text("[restart]\nburts = 3\n", encoding="ascii")
        done = self.run_clusterd(*check[1:], "--", "/bin/sleep")
        self.assertEqual(done.returncode, 78)
        self.assertIn(f"{c.policy_file}:2: ", done.stderr)
        unit = (PAGE.parents[1] / "config/dist/clusterd@.service").read_text(encoding="ascii")
        self.assertIn("\nRestartPreventExitStatus=64 78\n", unit)
        for words, status, said in ((("-l", "none", "--", "no-such-program"), 127, "not found"), (("-l", "none", "--", "/etc/passwd"), 126, "not executable"),
                                    (("-l", "192.0.2.1:80", "--", "/bin/sleep"), 73, "192.0.2.1:80")):
            done = self.run_clusterd("--set", "control.socket=off", *words)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(said, done.stderr)

    def test_workers_restart_again_and_again(self):
        ends, why = self.commands("Workers restart again and again")
        c = self.sh("[ $CLUSTERD_SLOT = 2 ] && { echo no database >&2; exit 1; }; exec sleep 1000",
                    policy=AT_ONCE + "[log]\noutput = capture\n[restart]\ndelay = 10ms\ndelay_max = 20ms\n",
                    flags=("-n", "3"))
        c.announce("worker.exit", "note")
        c.wait_events(5, "worker.exit", slot=2)
        self.assertGreaterEqual(self.ask(c, ends).count("exit 1"), 5)
        told = self.ask(c, why)
        self.assertIn("exit 1", told)
        self.assertIn("no database", told)
        c = self.cluster(harness.PROBE, flags=("-n", "1"), policy="[ready]\nwhen = notify\ntimeout = 50ms\n"
                         "[restart]\ndelay = 1h\ndelay_max = 1h\n")
        c.announce("worker.exit")
        c.wait_event("worker.exit")
        self.assertIn("(not ready in time)", self.ask(c, ends))
        self.assertIn("Dq not ready in time", SYMPTOMS["Workers restart again and again"])

    def test_a_slot_has_been_given_up(self):
        (reset,) = self.commands("A slot has been given up")
        c = self.sh("[ -e fixed ] || exit 1; exec sleep 1000", flags=("-n", "1"),
                    policy=AT_ONCE + "[restart]\ndelay = 0\nburst = 2\ndelay_max = 1h\n")
        c.announce("worker.exit", "give_up")
        c.wait_event("give_up")
        self.assertIn("held", c.ctl("status", status=1))
        mark = c.mark()
        (c.folder / "fixed").touch()
        self.ask(c, reset)
        c.wait_event("worker.ready", since=mark)
        c.ctl("status", status=0)

    def test_the_supervisor_ended_with_status_69(self):
        for policy, reason in (("[ready]\nwhen = notify\n", "boot"),
                               (AT_ONCE + "[restart]\ndelay = 0\nburst = 1\ngive_up = exit\n", "burst"),
                               (AT_ONCE + "[restart]\ndelay = 0\nburst = 1\ngive_up = retire\n", "finished"),
                               (AT_ONCE + "[exit 1]\naction = exit\n", "rule")):
            c = self.sh("exit 1", policy=policy, flags=("-n", "1"))
            c.announce("worker.exit", "give_up", "stop")
            c.expected_status = 69
            self.assertEqual(c.wait(), 69)
            self.assertEqual(c.all("stop")[0].reason, reason)
            self.assertIn(f"Dq {reason}", SYMPTOMS["The supervisor ended with status 69"])

    @unittest.skipUnless(clients.has_bpf(), "round-robin needs CAP_BPF")
    def test_one_worker_hangs(self):
        status, restart = self.commands("One worker hangs")
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "3", "-b", "round-robin"), policy="[ready]\nwhen = notify\n")
        c.announce("balance")
        c.ready(3)
        self.assertNotIn("left out", self.ask(c, status))
        victim = c.pid_of(1)
        c.kill(harness.signal.SIGSTOP, victim)
        self.assertEqual(len(clients.answers(clients.queue(c.port, 30))[0]), 30)  # the others have its queue
        c.wait_event("balance", slot=1)
        self.assertIn("left out", self.ask(c, status))
        self.ask(c, restart)
        harness.eventually(lambda: victim not in c.workers(), "it has ended")
        self.assertNotIn("left out", self.ask(c, status))
        c.baseline = None  # there is a place more for a worker

    def test_slow_answers_while_the_cpu_is_idle(self):
        status, scale = self.commands("Slow answers while the CPU is idle")
        c = self.sleepers()
        waiting = [socket.create_connection(("127.0.0.1", c.port), 5) for _ in range(3)]
        self.assertIn("queue 3 of", self.ask(c, status))
        self.ask(c, scale)
        self.assertEqual(len(c.workers()), 4)
        for connection in waiting:
            connection.close()
        c.baseline = None

    def program(self, text="#!/bin/sh\nexec sleep 1000\n"):
        folder = harness.tempfile.mkdtemp(prefix="runbook-")
        self.addCleanup(shutil.rmtree, folder)
        path = harness.pathlib.Path(folder) / "program"
        path.write_text(text, encoding="ascii")
        path.chmod(0o755)
        return path

    def test_deploy(self):
        (roll,) = self.commands("Deploy")
        program = self.program()
        c = self.cluster(program, flags=("-n", "3"), policy="[ready]\nafter = 300ms\n")
        c.announce("worker.exit", "roll.end", "roll.slot", "note")
        c.ready(3)
        before = set(c.workers())
        self.assertIn("done", self.ask(c, roll))
        harness.eventually(lambda: len(c.workers()) == 3 and not before & set(c.workers()), "three new workers")
        old = set(c.workers())
        program.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        told = self.ask(c, roll, status=1)
        self.assertIn("rolled", told)
        self.assertIn("exit 1", told)
        harness.eventually(lambda: set(c.workers()) == old, "the old ones alone")

    def test_a_deploy_hangs(self):
        status, kill = self.commands("A deploy hangs")
        c = self.sh("trap '' TERM; echo deaf; while :; do sleep 0.1; done", flags=("-n", "4"),
                    policy="[ready]\nwhen = alive\nafter = 200ms\n[stop]\ntimeout = 20s\n[roll]\nsurge = 4\n")
        c.announce("worker.exit", "worker.escalate", "note", "roll.end")
        c.ready(4)
        c.wait_lines(4, "deaf")
        c.ctl("roll", "--no-wait")
        c.wait_events(4, "worker.stop")
        self.assertRegex(self.ask(c, status, status=None), "stopping|draining|old")
        self.ask(c, kill, status=None)
        c.kill(harness.signal.SIGQUIT)
        self.assertEqual(c.wait(), 0)

    def test_a_roll_waits_for_a_slot(self):
        why, drain = self.commands("A roll waits for a slot")
        c = self.sh('while [ -e hold$CLUSTERD_SLOT ]; do sleep 0.02; done; exec "$PROBE" ready serve',
                    policy=f"[ready]\nwhen = notify\n[env]\nPROBE = {harness.PROBE}\n", flags=("-n", "2"))
        c.announce("worker.exit", "roll.slot", "roll.end", "note")
        c.ready(2)
        folder = c.folder
        (folder / "hold1").touch()
        with c.asked("roll") as asked:
            new = c.wait_event("roll.slot", slot=0)
            (folder / "hold0").touch()
            c.kill(harness.signal.SIGKILL, new.pid)
            c.wait_event("roll.slot", slot=0, ok=False, tries=1)
            status = c.ctl("status", status=None)
            self.assertIn("\nroll 1 to generation 2: 0 of 2 slots done\n", status)
            self.assertIn("\nroll 1 waits until slot 0 serves again; to go on without it: clusterctl drain 0\n", status)
            said = self.ask(c, why)
            self.assertIn(f"worker 0 (pid {new.pid}) died: SIGKILL", said)
            self.assertIn("\na roll waits until it serves again\n", said)
            self.ask(c, drain)
            self.assertNotIn("waits until", c.ctl("status", status=None))
            (folder / "hold1").unlink()
            self.assertEqual(asked.wait(harness.DEADLINE), 0, asked.stdout.read())

    def test_requests_are_to_wait_for_a_while(self):
        pause, go_on = self.commands("Requests are to wait for a while")
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "4"), policy="[ready]\nwhen = notify\n")
        c.ready(4)
        self.assertIn("paused", self.ask(c, pause))
        waiting = harness.Connection(c.port)
        waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn("4 of 4 ready", self.ask(c, go_on))
        self.assertEqual(waiting.response()[0], 200)
        waiting.close()

    def test_a_policy_is_to_be_changed(self):
        c = self.sleepers()
        check, dry_run, reload = self.commands("A policy is to be changed",
                                               **{"/etc/clusterd/web.conf": str(c.policy_file)})
        c.policy_file.write_text(AT_ONCE.replace("5s", "6s"), encoding="ascii")
        self.assertEqual(self.run_clusterd(*check[1:], "--", "/bin/sleep").returncode, 0)
        before = set(c.workers())
        self.assertIn("stop.timeout: 5s -> 6s", self.ask(c, dry_run))
        self.ask(c, reload)
        self.assertEqual(set(c.workers()), before)  # nothing that needs new workers
        c.policy_file.write_text("[stop]\ntimeout = soon\n", encoding="ascii")
        c.announce("reload")
        self.assertIn(":2:", self.ask(c, reload, status=1) + "".join(map(str, c.events)))

    def test_is_the_new_policy_in_force(self):
        (diff,) = self.commands("Is the new policy in force?")
        c = self.sleepers()
        self.assertIn("the policy has not changed", self.ask(c, diff))
        c.policy_file.write_text(AT_ONCE + "[control]\nmode = 0660\n", encoding="ascii")
        self.assertIn("needs a restart", self.ask(c, diff))

    def test_address_already_in_use(self):
        c = self.sleepers()
        done = self.run_clusterd("--set", "control.socket=off", "-l", f"127.0.0.1:{c.port}", "--", "/bin/sleep", "1")
        self.assertEqual(done.returncode, 73)
        for ss in self.commands("Address already in use (73)", **{"8080": str(c.port)}) if shutil.which("ss") else ():
            out = subprocess.run(ss, capture_output=True, text=True, check=True).stdout
            self.assertIn(f":{c.port}", out)

    def test_clusterd_itself_is_to_be_upgraded(self):
        (upgrade,) = self.commands("Clusterd itself is to be upgraded")
        c = self.sleepers()
        before = sorted(c.workers())
        self.assertIn("upgraded", self.ask(c, upgrade))
        self.assertEqual(sorted(c.workers()), before)

    def test_clusterd_was_killed_its_workers_serve_on(self):
        folder = harness.pathlib.Path(harness.tempfile.mkdtemp(prefix="runbook-"))
        self.addCleanup(shutil.rmtree, folder)
        port, policy = harness.free_port(), folder / "web.conf"
        policy.write_text(
            f"[cluster]\nname = web\ncommand = {harness.PROBE} ready serve\nworkers = 2\n[listen http]\n"
            f"address = 127.0.0.1:{port}\n[ready]\nwhen = notify\n[supervisor]\non_death = keep\n"
            f"[control]\nsocket = {folder}/web.sock\n[log]\nfile = {folder}/log\n", encoding="ascii")
        status, start = self.commands("Clusterd was killed, its workers serve on", **{"/etc/clusterd/web.conf": str(policy)})

        def run():
            process = subprocess.Popen([harness.CLUSTERD, *start[1:]], stdin=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            harness.eventually(lambda: told()[0] == 0, "ready")
            return process

        def told():
            done = subprocess.run([harness.CLUSTERCTL, "-s", f"{folder}/web.sock", *status[1:]], check=False,
                                  capture_output=True, text=True)
            return done.returncode, done.stdout

        first = run()
        orphans = list(harness.children(first.pid))
        first.kill()
        first.wait()
        self.assertEqual(told()[0], 3)
        connection = harness.Connection(port)
        self.assertEqual(connection.get("/")[0], 200)
        connection.close()
        second = run()
        log = folder / "log"
        harness.eventually(lambda: log.read_text().count("has ended, as asked") == 2, "the orphans have ended")
        self.assertIn("taken back from the orphans", log.read_text())
        self.assertFalse(set(orphans) & set(harness.children(second.pid)))
        second.terminate()
        self.assertEqual(second.wait(harness.DEADLINE), 0)

    def test_the_log_file_is_to_be_rotated(self):
        place = {"/var/log/clusterd": harness.tempfile.mkdtemp(prefix="runbook-")}
        folder = harness.pathlib.Path(place["/var/log/clusterd"])
        self.addCleanup(shutil.rmtree, folder)
        move, reopen = self.commands("The log file is to be rotated", **place)
        c = self.cluster("/bin/sleep", "1000", flags=("-n", "1"), policy=AT_ONCE + f"[log]\nfile = {folder}/web.log\n")
        log = folder / "web.log"
        harness.eventually(lambda: log.exists() and '"event":"up"' in log.read_text(), "it is up")
        subprocess.run(move, check=True)
        self.assertIn("reopen: done", self.ask(c, reopen))
        harness.eventually(lambda: '"event":"log.reopen"' in log.read_text(), "a new file")
        self.assertIn('"event":"up"', (folder / "web.log.1").read_text())
        self.assertIn(" up workers=1 ready=1 ", c.ctl("events"))

    def test_memory_grows_over_days(self):
        (top,) = self.commands("Memory grows over days")
        self.assertIn("RSS", self.ask(self.sleepers(), top))

    def test_a_container_does_not_stop(self):
        c = self.sh("trap '' TERM; echo deaf; while :; do sleep 0.05; done", flags=("-n", "1", "--log-format", "text"),
                    policy=AT_ONCE.replace("5s", "300ms"))
        harness.eventually(lambda: "deaf" in c.other, "the trap is set")
        c.stop()
        log = "\n".join(c.other)
        for words in ("stopping", "stopped", "has not stopped"):
            self.assertIn(words, log)
        self.assertIn("it gets SIGKILL", log)
        page = SYMPTOMS["A container does not stop"]
        self.assertIn('"--log-format", "json"', CONTAINERFILE.read_text(encoding="utf-8"))
        for timeout, events in ("300ms", ["worker.escalate", "stop"]), ("1h", []):
            c = self.sh("trap '' TERM; echo deaf; while :; do sleep 0.05; done", flags=("-n", "1"),
                        policy=AT_ONCE.replace("5s", timeout))
            c.announce("worker.escalate")
            harness.eventually(lambda c=c: "deaf" in c.other, "the trap is set")
            c.kill(signal.SIGTERM)
            c.wait_event("worker.stop")
            if not events:  # what the engine does when the grace time is over
                c.expected_status = -signal.SIGKILL
                c.kill(signal.SIGKILL)
            c.wait()
            harness.pathlib.Path(c.socket).unlink(missing_ok=True)  # the container's files go with it
            self.assertIn("stopping", " ".join(e.text for e in c.all("note")))
            self.assertEqual([e.event for e in c.events if e.event in ("worker.escalate", "stop")], events)
            for event in events:
                self.assertIn(f"\n.Li {event} ", page)
        # No daemon is at hand, so this is as far as it goes: there is such a command, and this is how it is called.
        ((*logs, container),) = self.commands("A container does not stop")
        if shutil.which(logs[0]):
            usage = subprocess.run([*logs, "--help"], capture_output=True, text=True, check=True).stdout
            self.assertRegex(usage, rf"(?m)^Usage: +{' '.join(logs)} \[OPTIONS\] {container}$")

    def test_no_metrics(self):
        port = harness.free_port()
        ((_, _, url, *_),) = self.commands("No metrics", **{"127.0.0.1:9555": f"127.0.0.1:{port}"})
        self.sleepers(f"[metrics]\nlisten = 127.0.0.1:{port}\n")
        with urllib.request.urlopen(url.split("|")[0], timeout=harness.DEADLINE) as answer:
            text = answer.read().decode()
        self.assertIn("clusterd_workers_ready 2\n", text)

    def test_the_signals_of_others(self):
        """The column of clusterd in the table of signals: each does what stands at its left."""
        rows = dict(re.findall(r"^\.It ([a-z ]+) Ta ([A-Z0-9]+) Ta", ELSEWHERE, flags=re.M))
        expected = {"new version": "roll.end", "one worker more": "scale", "one worker less": "scale",
                    "replace the master": "upgrade", "drain the workers": "drained"}
        self.assertEqual(set(rows), {*expected, "open logs again", "finish and stop", "stop at once"})
        c = self.cluster(harness.PROBE, "ready", flags=("-n", "2"), policy="[ready]\nwhen = notify\n")
        c.announce("note")
        c.ready(2)
        for what, event in expected.items():
            mark = c.mark()
            c.kill(getattr(harness.signal, f"SIG{rows[what]}"))
            told = c.wait_event(event, since=mark)
            if event == "scale":
                self.assertEqual(told.to - told["from"], 1 if what.endswith("more") else -1)
        c.baseline = None
        file = c.folder / "file"
        c.policy_file.write_text(f"[ready]\nwhen = notify\n[log]\nfile = {file}\n", encoding="ascii")
        c.ctl("reload")
        c.kill(getattr(harness.signal, f"SIG{rows['open logs again']}"))
        harness.eventually(lambda: '"log.reopen"' in file.read_text(), "the log is opened again")
        self.assertEqual(c.stop(getattr(harness.signal, f"SIG{rows['finish and stop']}")), 0)
        c = self.cluster(harness.PROBE, "ignore-term", "ready", "serve", flags=("-n", "2"), policy="[ready]\nwhen = notify\n")
        c.announce("note")
        c.ready(2)
        c.kill(getattr(harness.signal, f"SIG{rows['stop at once']}"))
        self.assertEqual(c.wait(), 0)
        self.assertEqual({e.signal for e in c.all("worker.exit")}, {"SIGKILL"})

    def test_every_symptom_has_a_test(self):
        ours = {re.sub(r"\W+", "_", symptom.lower().replace("(73)", "")).strip("_") for symptom in SYMPTOMS}
        theirs = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(ours, theirs - {"every_symptom_has_a_test", "the_signals_of_others"})


JOURNALD = "/lib/systemd/systemd-journald"

# A real journal of its own in a mount namespace; the unit is what journald takes it for by its cgroup.
JOURNAL = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run || exit 77
mkdir -p /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\\nAudit=\\nReadKMsg=no\\n' >/run/systemd/journald.conf.d/test.conf
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef >/run/id && mount --bind /run/id /etc/machine-id; }
mkdir -p "$GROUP" || exit 77
%s & journald=$!
end() { rmdir "$GROUP" "${GROUP%%/*}"; kill $journald; wait; }
trap end EXIT
try() { for i in $(seq 500); do "$@" && return; sleep 0.02; done; echo "not in time: $*"; exit 1; }
try [ -S /run/systemd/journal/stdout ]
run='JOURNAL_STREAM=$(stat -Lc %%d:%%i /proc/self/fd/2) exec "$@"' # as a service manager tells it
sh -c 'echo $$ >"$GROUP/cgroup.procs" && exec systemd-cat /bin/sh -c "$0" sh "$@"' "$run" "$@" & unit=$!
ready() { journalctl -q -u "$UNIT" | grep -q '2 of 2 workers ready'; }
try ready
echo "== of $unit"
%s
echo "== status $?"
kill $unit
wait $unit
"""


@unittest.skipUnless(harness.os.geteuid() == 0 and harness.os.path.exists(JOURNALD) and harness.private_mounts()
                     and not harness.os.path.exists("/run/systemd/system"), "a journal of its own takes root, "
                     "and a machine that has none")
class Journal(harness.TestCase):
    def test_last_lines_of_the_unit(self):
        (command,) = re.findall(r"^\.Ic (journalctl .*)$", TEXT, flags=re.M)
        unit = command.split(" -u ")[1].split()[0]
        root = "/sys/fs/cgroup/unified" if harness.os.path.exists("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", JOURNAL % (JOURNALD, command), "sh", harness.CLUSTERD, "-n", "2",
             "--name", "web", "--set", "control.socket=off", "-l", "127.0.0.1:0", "--", "/bin/sleep", "1000"],
            env={**harness.os.environ, "UNIT": unit, "GROUP": f"{root}/test.slice/{unit}.service"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * harness.DEADLINE, check=False)
        if done.returncode == 77:
            self.skipTest("no mount namespace, or no cgroup can be made: " + done.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        told = done.stdout.split("== of ")[1]
        self.assertIn("== status 0", told)
        lines = re.findall(r"^\w+ +\d+ [\d:]+ \S+ clusterd\[\d+\]: (.*)$", told, flags=re.M)
        self.assertRegex("\n".join(lines), r"(?s)^clusterd web: clusterd \S+ starts.*listening on .*2 of 2 workers ready")


harness.main()
