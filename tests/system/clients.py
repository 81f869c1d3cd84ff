"""Clients that count which worker answers: one connection a request, each with a deadline; and one of the control socket."""

import collections
import os
import selectors
import shutil
import socket
import subprocess
import time

DEADLINE = 20 * float(os.environ.get("SLOW", "1"))  # that of the harness
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"

# Begins the script of a worker that is ready at once and has one listener; what it does with it comes behind.
READY_WORKER = """
import os, socket, time
listener = socket.socket(fileno=%d)
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1))
"""


def ask(port, host="127.0.0.1", timeout=DEADLINE, request=REQUEST):
    """The body of one answer; raises OSError if there is none."""
    with socket.create_connection((host, port), timeout) as s:
        s.sendall(request)
        answer = b""
        while True:
            head, found, body = answer.partition(b"\r\n\r\n")
            if found and len(body) >= (length_of(head) or len(body) + 1):
                return body.decode().strip()
            data = s.recv(65536)
            if not data:
                break
            answer += data
    if not found:
        raise ConnectionResetError("closed before the answer")
    return body.decode().strip()


def length_of(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return None


def control(path, request, timeout=DEADLINE):
    """Asks the control socket on a connection of its own; the answer, whose last line is there too."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(path))
        s.sendall(request.encode() + b"\n")
        answer = b""
        while not answer.endswith(b'"done":true}\n'):
            data = s.recv(65536)
            if not data:
                raise ConnectionResetError(f"the answer ends early: {answer!r}")
            answer += data
    return answer.decode()


def count(port, requests, **options):
    """{answer: how often} of that many connections, one after the other."""
    return collections.Counter(ask(port, **options) for _ in range(requests))


def queue(port, connections):
    """That many connections that have sent their request and wait."""
    waiting = []
    for _ in range(connections):
        s = socket.create_connection(("127.0.0.1", port), DEADLINE)
        s.sendall(REQUEST)
        waiting.append(s)
    return waiting


def answers(waiting, deadline=DEADLINE):
    """(bodies, seconds each took from now on); a connection without an answer is left out."""
    bodies, seconds, begun = [], [], time.monotonic()
    parts = dict.fromkeys(waiting, b"")
    with selectors.DefaultSelector() as selector:
        for s in waiting:
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ)
        while selector.get_map() and (left := begun + deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                s = key.fileobj
                try:
                    data = s.recv(65536)
                except OSError:
                    data = b""
                parts[s] += data
                body = whole(parts[s])
                if data and body is None:
                    continue
                selector.unregister(s)
                if body is not None:
                    bodies.append(body)
                    seconds.append(time.monotonic() - begun)
    for s in waiting:
        s.close()
    return bodies, seconds


def whole(answer):
    """The body of a complete answer of 200, or None."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found or b" 200 " not in head or len(body) < (length_of(head) or 1):
        return None
    return body.decode().strip()


def as_nobody():
    """(prefix, preexec) that run a Cluster as an ordinary user in a folder of its own."""
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"), own_folder


def own_folder():
    os.chown(".", 65534, 65534)


def nobody_can(program):
    """May an ordinary user execute this program? A build folder below /root is closed to it."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    prefix, _ = as_nobody()
    return subprocess.run([*prefix, "test", "-x", program], check=False).returncode == 0


def has_bpf():
    """Does this process have CAP_BPF (39) or CAP_SYS_ADMIN (21)?"""
    with open("/proc/self/status", encoding="ascii") as status:
        bits = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return bool(bits >> 39 & 1 or bits >> 21 & 1)
