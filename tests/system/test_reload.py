"""Row F: a reload is whole or nothing, and never costs a request."""

import os
import signal
import time

import harness

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
        time.sleep(0.5)
        c.announce("reload", "note", "roll.end", "worker.escalate")
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


harness.main()
