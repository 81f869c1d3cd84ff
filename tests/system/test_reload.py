"""Row F: a reload is whole or nothing, and never costs a request.

    FILES=500 python3 tests/system/test_reload.py RowF8    policies that a check and a start judge (default 500)
"""

import json
import os
import pathlib
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest

import harness
import policies

GOOD = """[cluster]
workers = 2
[ready]
when = alive
after = 0
[stop]
timeout = 5s
"""

BROKEN = ["[stop]\ntimeout = 5\n", "[nonsense]\nkey = 1\n", "[stop]\nkey = 1\n", "no section at all\n",
          "[stop]\ntimeout = 5s\ntimeout = 6s\n", "[cluster]\nworkers = -1\n", "[stop\ntimeout = 5s\n",
          "[stop]\ntimeout = " + "9" * 500 + "s\n", "[stop]\nsignal = SIGNOPE\n", "[stop]\n\0\n",
          "[restart]\nburst = 65\n", "[listen web]\naddress = nowhere:port\n", "[exit nonsense]\naction = respawn\n",
          "[cluster]\ncommand = 'open quote\n", "[env]\nNO EQUALS\n", "\xff\xfe[stop]\n", "[log]\nlevel = loud\n"]


class RowF(harness.TestCase):
    def start(self, policy=GOOD, **options):
        c = self.cluster("/bin/sleep", "1000", policy=policy, **options)
        c.ready(2)
        return c

    def hup(self, c, text=None, since=None):
        """Writes the policy, sends HUP, returns the event that answers."""
        c.announce("note", "roll.end")  # each change is named; a stop may end a roll
        mark = c.mark() if since is None else since
        if text is not None:
            new = c.policy_file.with_suffix(".new")
            new.write_bytes(text.encode("latin-1"))
            os.rename(new, c.policy_file)
        c.kill(signal.SIGHUP)
        return c.wait_event("reload", since=mark)

    def test_F1_broken_files_change_nothing(self):
        c = self.start()
        c.announce("reload", "policy", "note")
        before = sorted(c.workers())
        for text in BROKEN:
            with self.subTest(text=text[:40]):
                answer = self.hup(c, text)
                self.assertNotEqual(answer.result, "applied")
                self.assertEqual(sorted(c.workers()), before)
        c.announce("worker.exit")
        self.assertEqual(self.hup(c, GOOD).result, "applied")

    REFUSALS = 200

    @unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
    def test_F1_two_hundred_broken_files_under_load(self):
        """By HUP and by clusterctl in turn: all are refused with their lines, no worker ends, no request is lost."""
        c = self.cluster(harness.APP, policy=GOOD, flags=("-n", "2"))
        c.ready(2)
        c.announce("reload", "policy", "note")
        load = harness.Load(c.port, clients=4, pause=0.001)
        before, refused = sorted(c.workers()), 0
        candidate = c.folder / "candidate.conf"
        for text in policies.endless(1, c.folder):
            candidate.write_bytes(text)
            judged = self.run_clusterd("--dump-config", "-c", candidate, "-n", "2", "--", harness.APP)
            if not re.search(re.escape(str(candidate)) + r":\d+: ", judged.stderr):
                continue
            with self.subTest(number=refused, text=text):
                self.assertEqual(judged.returncode, 78)
                mark = c.mark()
                os.replace(candidate, c.policy_file)
                said = ""
                if refused % 2:
                    said = c.ctl("reload", status=1)
                else:
                    c.kill(signal.SIGHUP)
                answer = c.wait_event("reload", since=mark)
                self.assertTrue(answer.result.startswith("refused"), answer)
                told = said + "\n".join(e.text for e in c.all("note", since=mark))
                self.assertRegex(told, re.escape(str(c.policy_file)) + r":\d+: ")
                self.assertEqual(sorted(c.workers()), before)
            refused += 1
            if refused == self.REFUSALS:
                break
        c.announce("worker.exit")
        c.policy_file.write_text(GOOD.replace("5s", "6s") + "[env]\nFRESH = yes\n", encoding="utf-8")
        c.ctl("reload")
        harness.eventually(lambda: not set(before) & set(c.workers()), "the old ones have ended")
        sent, lost = load.stop(least=300)
        self.assertEqual(lost, [], f"of {sent}")

    def test_F2_an_error_on_the_last_line(self):
        c = self.start()
        c.announce("reload", "policy", "note", "worker.exit", "worker.escalate")
        many = "".join(f"[env]\nV{i} = {i}\n" if i == 0 else f"V{i} = {i}\n" for i in range(200))
        self.hup(c, GOOD.replace("5s", "1ms").replace("= 2", "= 7") + many + "[log]\nlevel = loud\n")
        self.assertEqual(len(c.workers()), 2)

    def test_F4_a_storm_of_HUPs(self):
        c = self.start()
        before = sorted(c.workers())
        for _ in range(2000):
            c.kill(signal.SIGHUP)
        c.announce("reload", "note", "roll.end", "worker.escalate")
        harness.eventually(lambda: len(c.all("roll.begin")) == len(c.all("roll.end")) > 0, "it settles", 30 * harness.SLOW)
        harness.eventually(lambda: len(c.workers()) == 2 and not set(before) & set(c.workers()),
                           "all workers are new", 30 * harness.SLOW)
        # It is quiet again, and the next one works.
        answer = self.hup(c, GOOD.replace("5s", "6s"))
        self.assertEqual(answer.result, "applied")

    def test_F6_the_file_turns_bad(self):
        c = self.start()
        c.announce("reload", "policy", "note")
        before = sorted(c.workers())
        path = c.policy_file

        def fifo():
            os.mkfifo(path)

        def link_to_nowhere():
            path.symlink_to(path.with_name("nothing"))

        def huge():
            with open(path, "wb") as f:
                f.truncate(1 << 30)

        for make in (lambda: None, path.mkdir, fifo, link_to_nowhere, huge):
            path.unlink(missing_ok=True)
            make()
            begin = time.monotonic()
            answer = self.hup(c)
            self.assertNotEqual(answer.result, "applied")
            self.assertLess(time.monotonic() - begin, 1 * harness.SLOW + self.slack())
            self.assertEqual(sorted(c.workers()), before)
            if path.is_dir():
                path.rmdir()
        path.unlink(missing_ok=True)
        self.assertEqual(self.hup(c, GOOD).result, "applied")

    def test_F8_check_has_no_side_effect(self):
        folder = harness.tempfile.mkdtemp(prefix="check-")
        self.addCleanup(harness.shutil.rmtree, folder)
        for text, status in [(GOOD + "[cluster]\n", None), (GOOD, 0)] + [(b, 78) for b in BROKEN]:
            with self.subTest(text=text[-40:]):
                with open(f"{folder}/p.conf", "wb") as f:
                    f.write(text.encode("latin-1"))
                done = self.run_clusterd("-t", "-c", f"{folder}/p.conf", "--", "/bin/true",
                                         env={"XDG_RUNTIME_DIR": folder})
                if status is not None:
                    self.assertEqual(done.returncode, status, done.stderr)
                if done.returncode == 78:
                    self.assertIn(f"{folder}/p.conf", done.stderr)
                self.assertEqual(os.listdir(folder), ["p.conf"])

    def test_reload_replaces_workers_one_by_one(self):
        c = self.start(GOOD.replace("= 2", "= 4"))
        c.ready(4)
        c.rebase()
        before = set(c.workers())
        mark = c.mark()
        answer = self.hup(c, GOOD.replace("= 2", "= 4") + "[env]\nFRESH = yes\n")
        self.assertEqual(answer.result, "applied")
        harness.eventually(lambda: len(c.workers()) == 4 and not before & set(c.workers()), "four new workers")
        for pid in c.workers():
            self.assertEqual(harness.environ(pid)[b"FRESH"], b"yes")
        for event in c.all("worker.exit", since=mark):
            self.assertTrue(event.asked)

    def test_reload_scales(self):
        c = self.start()
        self.hup(c, GOOD.replace("= 2", "= 5"))
        harness.eventually(lambda: len(c.workers()) == 5, "five workers")
        self.hup(c, GOOD.replace("= 2", "= 1"))
        harness.eventually(lambda: len(c.workers()) == 1, "one worker")
        self.assertEqual([e.by for e in c.all("scale")], ["reload", "reload"])


class RowF8(harness.TestCase):
    FILES = int(os.environ.get("FILES", 500 if harness.SLOW == 1 else 100))

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="clusterd-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.calls = self.folder / "calls"
        self.place = self.folder / "place"
        self.place.mkdir()

    def environment(self):
        told = {"LD_PRELOAD": harness.HARM, "HARM_CALLS": str(self.calls)} if harness.HARM else {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LISTEN_", "PORT"))}
        return {**kept, **told, "XDG_RUNTIME_DIR": str(self.place)}

    def command(self, file, *more):
        """The same for both but for the words in `more`; whatever the file says, nothing is made outside of the folder."""
        return [harness.CLUSTERD, *more, "-c", str(file), "-n", "1", "--set", "log.file=-", "--set", "log.format=json",
                "--set", "log.level=info", "--set", f"control.socket={self.place}/c.sock", "--set", "metrics.listen=off",
                "--set", f"supervisor.pid_file={self.place}/pid", "--", "/bin/sleep", "1000"]

    def called(self):
        """What the processes since the last time did to the world."""
        calls = set(self.calls.read_text().split()) if self.calls.exists() else set()
        self.calls.unlink(missing_ok=True)
        return calls

    def starts(self, file):
        """(does it, status, standard error)"""
        process = subprocess.Popen(self.command(file), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=self.environment(), cwd=self.place)
        said, begun = b"", False
        while not begun and select.select([process.stderr], [], [], harness.DEADLINE)[0]:
            data = os.read(process.stderr.fileno(), 65536)
            if not data:
                break
            said += data
            begun = any(line.startswith(b"{") and json.loads(line)["event"] == "worker.start"
                        for line in said.split(b"\n")[:-1])
        if begun:
            process.send_signal(signal.SIGQUIT)
        said += process.communicate(timeout=harness.DEADLINE)[1]
        return begun, process.returncode, said.decode("utf-8", "replace")

    def test_F8_check_and_start_agree(self):
        """A check judges as a start does, and does nothing else: it binds, unlinks, makes and starts nothing."""
        verdicts = {True: 0, False: 0}
        for number, text in zip(range(self.FILES), policies.endless(8, self.place)):
            file = self.folder / f"{number}.conf"
            file.write_bytes(text)
            with self.subTest(number=number, text=text):
                checked = subprocess.run(self.command(file, "-t"), stdin=subprocess.DEVNULL, capture_output=True,
                                         text=True, errors="replace", env=self.environment(), cwd=self.place,
                                         timeout=harness.DEADLINE, check=False)
                self.assertIn(checked.returncode, (0, 78))
                self.assertEqual(self.called(), set())
                self.assertEqual(os.listdir(self.place), [])
                begun, status, said = self.starts(file)
                self.assertEqual(checked.returncode == 0, begun,
                                 f"check: {checked.returncode} {checked.stderr}\nstart: {status} {said}")
                if harness.HARM and begun:  # so the calls are seen
                    self.assertLessEqual({"bind", "clone", "unlink"}, self.called())
                self.called()
                verdicts[begun] += 1
            file.unlink()
        print(f"{verdicts[True]} good policies and {verdicts[False]} bad ones")
        self.assertGreater(min(verdicts.values()), self.FILES // 10)


harness.main()
