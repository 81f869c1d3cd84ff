"""A newcomer's first minute: clusterd -n auto -- app, two requests, and a kill -9."""

import json
import os
import signal
import subprocess
import unittest

import harness


@unittest.skipUnless(os.access(harness.APP, os.X_OK), "the app is not built")
class FirstMinute(harness.TestCase):
    def start(self, *flags, **options):
        c = self.cluster(harness.APP, flags=flags, **options)
        c.announce("worker.exit", "note", "roll.end")
        return c

    def test_it_serves(self):
        c = self.start("-n", "auto")
        c.ready(c.wait_event("start").workers)
        connection = harness.Connection(c.port)
        status, headers, body = connection.get()
        self.assertEqual(status, 200)
        self.assertIn("application/json", headers["content-type"])
        json.loads(body)
        self.assertTrue(connection.post({"n": 17, "text": "gr\u00fc\u00df"}))
        connection.close()
        self.assertEqual(c.stop(), 0)
        self.assertEqual({e.code for e in c.all("worker.exit")}, {0})
        self.assertEqual({e.how for e in c.all("worker.ready")}, {"notify"})

    def test_a_killed_worker_is_told_and_replaced(self):
        c = self.start("-n", "2", "--set", "restart.delay=0")
        c.ready(2)
        for _ in range(10):
            mark = c.mark()
            victim = c.pid_of(0)
            c.kill(signal.SIGKILL, victim)
            end = c.wait_event("worker.exit", since=mark)
            self.assertEqual((end.pid, end.signal, bool(end.asked)), (victim, "SIGKILL", False))
            c.wait_event("worker.ready", since=mark, slot=0)
            connection = harness.Connection(c.port)
            self.assertEqual(connection.get()[0], 200)
            connection.close()

    def test_a_stop_under_load_loses_nothing_on_new_connections(self):
        """Scale down under load: the worker that leaves answers what it has accepted."""
        c = self.start("-n", "4")
        c.ready(4)
        load = harness.Load(c.port, clients=8)
        for _ in range(3):
            mark = c.mark()
            c.kill(signal.SIGTTOU)
            c.wait_event("worker.exit", since=mark)
        for _ in range(3):
            mark = c.mark()
            c.kill(signal.SIGTTIN)
            c.wait_event("worker.ready", since=mark)
        sent, lost = load.stop(least=50)
        print(f"{sent} requests, {len(lost)} lost")
        self.assertEqual(lost, [], c.tail())

    def test_a_reload_under_load_loses_nothing(self):
        c = self.start("-n", "2", policy="[stop]\ntimeout = 10s\n")
        c.ready(2)
        for keep_alive in (False, True):
            load = harness.Load(c.port, clients=8, keep_alive=keep_alive)
            for _ in range(5):
                before = set(c.workers())
                c.kill(signal.SIGHUP)
                harness.eventually(lambda before=before: len(c.workers()) == 2 and not before & set(c.workers()),
                                   "new workers")
            sent, lost = load.stop(least=200)
            print(f"keep-alive {keep_alive}: {sent} requests, {len(lost)} lost")
            self.assertEqual(lost, [], c.tail())

    def test_app_without_clusterd(self):
        port = harness.free_port()
        app = subprocess.Popen([harness.APP], env={"PORT": str(port), "PATH": os.environ["PATH"]},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(app.wait)
        self.addCleanup(app.kill)

        def served():
            try:
                connection = harness.Connection(port)
            except ConnectionRefusedError:
                return False
            status = connection.get()[0]
            connection.close()
            return status == 200
        harness.eventually(served, "an answer")
        app.terminate()
        self.assertEqual(app.wait(harness.DEADLINE), 0)


harness.main()
