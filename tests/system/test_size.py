"""Row O: many workers, many restarts, nothing that grows."""

import signal

import harness

AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n[stop]\ntimeout = 20s\n"


class RowO(harness.TestCase):
    def rss_kb(self, c):
        return int(harness.status_field(c.pid, "VmRSS").split()[0])

    def test_O1_A4_a_thousand_workers(self):
        count = 1000
        begin = harness.time.monotonic()
        c = self.cluster("/bin/sleep", "1000", policy=AT_ONCE + "[restart]\ndelay = 0\n", flags=("-n", count))
        c.announce("worker.exit")
        c.ready(count, deadline=20 * harness.SLOW)
        started = harness.time.monotonic() - begin
        rss = self.rss_kb(c)
        mark = c.mark()
        for pid in c.workers():
            c.kill(signal.SIGKILL, pid)
        ends = c.wait_events(count, "worker.exit", since=mark, deadline=20 * harness.SLOW)
        c.wait_events(count, "worker.ready", since=mark, deadline=20 * harness.SLOW)
        self.assertEqual(len({e.pid for e in ends}), count)
        print(f"{count} workers: started in {started:.2f} s, RSS {rss} kB, all replaced in "
              f"{c.events[-1]['at'] - ends[0]['at']:.2f} s")
        if harness.SLOW == 1:
            self.assertLess(rss, 16384)

    def test_O3_restarts_leave_nothing_behind(self):
        c = self.cluster("/bin/sh", "-c", "[ $CLUSTERD_SLOT = 0 ] && exit 0; exec sleep 1000",
                         policy=AT_ONCE + "[restart]\ndelay = 0\n", flags=("-n", "2"))
        c.announce("worker.exit")
        c.wait_events(300, "worker.exit", deadline=20 * harness.SLOW)  # the death history is full by now
        before, rss = len(harness.fds(c.pid)), self.rss_kb(c)
        count = len(c.all("worker.exit"))
        c.wait_events(count + 2000, "worker.exit", deadline=60 * harness.SLOW)
        self.assertLessEqual(abs(len(harness.fds(c.pid)) - before), 5)  # one worker may be on its way
        if harness.SLOW == 1:
            self.assertLess(self.rss_kb(c) - rss, 128)


harness.main()
