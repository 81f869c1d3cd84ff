"""config/dist/hardening.conf without systemd: the rights that it leaves are enough for what it says, and no more is.

Of the sandbox this has the capabilities, NoNewPrivileges and ProtectProc; test_systemd has all of it.
"""

import json
import os
import pathlib
import re
import shutil
import unittest

import harness

TEXT = (pathlib.Path(__file__).parents[2] / "config/dist/hardening.conf").read_text(encoding="utf-8")
RIGHTS = set(re.search(r"^CapabilityBoundingSet=(.*)$", TEXT, flags=re.M).group(1).lower().replace("cap_", "").split())
HIDES = re.search(r"^ProtectProc=(?!default)", TEXT, flags=re.M)
USER = "nobody"
AT_ONCE = "[ready]\nwhen = alive\nafter = 0\n"


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv") and harness.private_mounts(), "to drop rights takes root")
class Hardened(harness.TestCase):
    def sandbox(self, add=(), drop=(), net=False):
        rights = ",".join(f"+{right}" for right in sorted((RIGHTS | set(add)) - set(drop)))
        proc = "mount --make-rprivate / && mount -t proc" + (" -o hidepid=invisible" if HIDES else "") + " proc /proc"
        if net:
            proc += " && echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start"
        return ("unshare", "--mount", *(["--net"] if net else []), "sh", "-c", f'{proc} && exec "$@"', "sh",
                "setpriv", "--no-new-privs", f"--bounding-set=-all,{rights}")

    def start(self, *program, policy="", add=(), drop=(), workers=2, **options):
        return self.cluster(*program, policy=AT_ONCE + f"[cluster]\nuser = {USER}\n" + policy, flags=("-n", workers),
                            prefix=self.sandbox(add, drop), **options)

    def ends(self, *words, add=(), drop=(), net=False):
        """The exit status of one that ends at once, and what it said."""
        prefix = self.sandbox(add, drop, net)
        done = harness.subprocess.run([*prefix, harness.CLUSTERD, "--set", "control.socket=off", "-n", "1", *words],
                                      stdin=harness.subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                      timeout=harness.DEADLINE)
        return done.returncode, done.stderr

    def slots(self, c):
        return [line for line in map(json.loads, c.ctl("--json", "status").splitlines()) if line.get("kind") == "slot"]

    def test_workers_of_another_user(self):
        """They are seen, asked to stop, and killed."""
        c = self.start(harness.PROBE)
        c.ready(2)
        for worker in c.workers():
            self.assertEqual(harness.status_field(worker, "Uid").split(), ["65534"] * 4)
        self.assertTrue(all(slot["rss_kb"] > 0 and slot["cpu_permille"] >= 0 for slot in self.slots(c)), self.slots(c))
        c.ctl("kill", "0")
        c.ctl("roll")
        self.assertEqual(c.stop(), 0)

    def test_their_memory(self):
        c = self.start(harness.PROBE, "eat-memory=40", "serve", policy="[recycle]\nmax_rss = 20M\n", workers=1)
        c.announce("note")
        c.wait_event("recycle")

    def test_what_each_right_is_for(self):
        port = ("-l", "*:80", "--", "/bin/false")
        self.assertEqual(self.ends(*port, net=True)[0], 69)
        self.assertEqual(self.ends(*port, net=True, drop={"net_bind_service"})[0], 77)
        balance = ("-l", f"127.0.0.1:{harness.free_port()}", "-b", "round-robin", "--", "/bin/false")
        self.assertEqual(self.ends(*balance)[0], 69)
        self.assertEqual(self.ends(*balance, drop={"bpf"})[0], 77)
        user = ("-l", "none", "--set", f"cluster.user={USER}", "--", "/bin/false")
        self.assertEqual(self.ends(*user)[0], 69)
        for right in "setuid", "setgid":
            self.assertRegex(self.ends(*user, drop={right})[1], r"worker 0 can not be started: set\w+: Operation not permitted")
        folder = harness.tempfile.mkdtemp(prefix="hardened-")
        self.addCleanup(shutil.rmtree, folder)
        for key, who, rights in (("group", "nogroup", {"chown"}), ("owner", USER, {"chown", "fowner"})):
            socket = ("-l", f"a=unix:{folder}/{key}", "--set", f"listen.a.{key}={who}", "--", "/bin/false")
            for right in rights:
                self.assertEqual(self.ends(*socket, add=rights - {right})[0], 77, right)
            self.assertEqual(self.ends(*socket, add=rights)[0], 69)
        os.chown(folder, 65534, -1)
        log = ("-l", "none", "--set", f"log.file={folder}/log", "--", "/bin/false")
        pid_file = ("-l", "none", "--set", f"supervisor.pid_file={folder}/pid", "--", "/bin/false")
        for file in log, pid_file:
            self.assertEqual(self.ends(*file)[0], 77)
            self.assertEqual(self.ends(*file, add={"dac_override"})[0], 69)
        nice = ("-l", "none", "--set", "cluster.nice=-1", "--", "/bin/false")
        self.assertEqual(self.ends(*nice)[0], 77)
        self.assertEqual(self.ends(*nice, add={"sys_nice"})[0], 69)
        self.assertEqual(RIGHTS, {"net_bind_service", "bpf", "setuid", "setgid", "kill"})
        self.assertEqual(set(re.findall(r"CAP_\w+", TEXT)) - {f"CAP_{right.upper()}" for right in RIGHTS}, {
            "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_SYS_NICE", "CAP_SYS_RESOURCE"})

    def test_adoption_of_another_user(self):
        """It takes CAP_SYS_PTRACE, as the comment says; of the same user it takes none."""
        port = harness.free_port()
        program = ("/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", port)
        self.assertIn("CAP_SYS_PTRACE for adopt", TEXT)
        flags = {"policy": f"[listen web]\naddress = 127.0.0.1:{port}\nadopt = yes\n[ready]\ntimeout = 5s\n", "listen": False}
        for user, add in ((USER, {"sys_ptrace"}), ("root", set())):
            c = self.cluster(*program, prefix=self.sandbox(add), flags=("-n", "2", "--set", f"cluster.user={user}"), **flags)
            self.assertEqual({e.how for e in c.ready(2)}, {"listen"})
            self.assertEqual(c.stop(), 0)
        c = self.cluster(*program, prefix=self.sandbox(), flags=("-n", "1", "--set", f"cluster.user={USER}"), **flags)
        c.announce("note", "worker.exit", "give_up", "stop")
        c.expected_status = 69  # it binds the address itself, which is taken
        self.assertEqual(c.wait(), 69)
        self.assertIn("CAP_SYS_PTRACE", c.all("note")[0].text)


    def test_orphans_of_another_user(self):
        policy = "[supervisor]\non_death = keep\n"
        self.assertIn("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for on_death = keep", TEXT)
        first = self.start(harness.PROBE, policy=policy)
        first.ready(2)
        orphans = first.workers()
        first.expected_status = -harness.signal.SIGKILL
        first.kill(harness.signal.SIGKILL)
        first.stopped = first.process.wait(harness.DEADLINE)  # its log goes on: the workers have it
        for add in {"sys_ptrace"}, {"dac_read_search"}:
            c = self.start(harness.PROBE, policy=policy, add=add, after=first, beside=True)
            c.announce("note")
            c.expected_status = 73
            self.assertEqual(c.wait(), 73)
            self.assertTrue(any("CAP_SYS_PTRACE (from another user CAP_DAC_READ_SEARCH too)" in e.text for e in c.all("note")))
        c = self.start(harness.PROBE, policy=policy, add={"sys_ptrace", "dac_read_search"}, after=first, beside=True)
        self.assertIn("taken back", c.wait_event("listen").note)
        c.wait_events(2, "orphan.exit")
        self.assertFalse(set(orphans) & set(c.workers()))


harness.main()
