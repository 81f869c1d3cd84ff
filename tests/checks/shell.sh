#!/bin/sh
# Every shell script of the project passes shellcheck.
set -eu
cd "$(dirname "$0")/../.."
command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; exit 77; }
find . -path './build*' -prune -o -path ./.git -prune -o -name '*.sh' \
    -exec shellcheck -x .ci/run {} +
