#!/usr/bin/env python3
"""app against nginx: requests per CPU-second of the server, in interleaved runs.

    python3 tests/bench/app_vs_nginx.py [APP [--quick | SECONDS [ROUNDS]]]

Both are one process that answers GET /get with the same JSON; CPU time is read
from /proc/PID/stat. Both listen on one dual-stack socket. wrk makes the load, over
keep-alive and with one connection per request. A figure, never a pass or fail. Needs nginx and wrk.
"""
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

APP = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("APP", "app")
QUICK = "--quick" in sys.argv[2:]
SECONDS = 1 if QUICK else int(sys.argv[2]) if len(sys.argv) > 2 else 3
ROUNDS = 1 if QUICK else int(sys.argv[3]) if len(sys.argv) > 3 else 5
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; server_tokens off; default_type application/json;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
  uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  server {{ listen [::]:{port} ipv6only=off backlog=4096; location = /get {{
    add_header X-Pid {pid}; return 200 '{{"message":"hello from app","pid":{pid}}}'; }} }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    sys.exit(f"nothing listens on port {port}")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(process, port, close):
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/get"]
    if close:
        command[1:1] = ["-H", "Connection: close"]
    before = cpu_seconds(process.pid)
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(process.pid) - before
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    if "Non-2xx" in out:
        sys.exit(out)
    return requests / used


def main():
    folder = tempfile.mkdtemp(prefix="app_vs_nginx.")
    os.chmod(folder, 0o755)  # nginx opens its files as another user when started by root
    ports = {"app": free_port(), "nginx": free_port()}
    with open(f"{folder}/conf", "w") as f:
        f.write(NGINX.format(dir=folder, port=ports["nginx"], pid=os.getpid()))
    env = dict(os.environ, PORT=str(ports["app"]))
    processes = {}
    try:
        processes["app"] = subprocess.Popen([APP], env=env, stderr=subprocess.DEVNULL)
        nginx = ["nginx", "-p", folder, "-c", f"{folder}/conf", "-e", f"{folder}/error"]
        processes["nginx"] = subprocess.Popen(nginx)
        for name, process in processes.items():
            wait_port(ports[name], process)
        print(f"{'':26}{'app':>12}{'nginx':>12}{'ratio':>8}   requests per CPU-second, "
              f"median of {ROUNDS} rounds")
        for close in (False, True):
            rates = {"app": [], "nginx": []}
            for _ in range(ROUNDS):
                for name in rates:
                    rates[name].append(load(processes[name], ports[name], close))
            app, nginx = (statistics.median(rates[name]) for name in ("app", "nginx"))
            ratios = [a / b for a, b in zip(rates["app"], rates["nginx"])]
            title = "one connection per request" if close else "keep-alive"
            print(f"{title:26}{app:12.0f}{nginx:12.0f}{statistics.median(ratios):8.2f}   "
                  f"(ratios {min(ratios):.2f} to {max(ratios):.2f})")
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
