"""The top level of the project is what it is meant to be: what a build or a test leaves there is not committed."""

import subprocess

import repo

ALLOWED = {"CMakeLists.txt", "LICENSE", "README.md", "cmd", "config", "man", "supervisor", "tests"}


def main():
    done = subprocess.run(["git", "-C", str(repo.ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print("not a git checkout")
        raise SystemExit(77)
    tops = {path.partition("/")[0] for path in done.stdout.split("\0") if path}
    repo.finish([f"{top}: does not belong to the top level" for top in sorted(tops - ALLOWED) if not top.startswith(".")],
                len(tops))


main()
