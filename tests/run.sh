#!/bin/sh
# Installs what the suite needs, builds, and runs every test: once as shipped, and
# the unit, fault, fuzz and system tests once more under ASan and UBSan.
#
#   sh tests/run.sh          everything
#   sh tests/run.sh QUICK    unit tests, checks and the short simulation only
#
# Reads nothing from standard input. The last lines are ctest's summary; the status is its own.
set -eu
exec </dev/null

root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD_DIR:-$root/build}
asan=$build-asan
jobs=$(nproc)

# shellcheck source=cmd/need.sh
. "$root/cmd/need.sh"

# Without these nothing can be tested. Without the others some tests say why they skip.
TEST_PACKAGES="check libsubunit-dev python3 procps mandoc shellcheck pmccabe clang-14 libclang-rt-14-dev"
OPTIONAL_PACKAGES="nodejs npm redis-server nginx-light wrk gunicorn systemd util-linux uvicorn puma unicorn
    lighttpd haproxy starman php8.2-fpm golang-go zsh fish logrotate"

# shellcheck disable=SC2086 # lists of words
need $BUILD_PACKAGES $TEST_PACKAGES
for package in $OPTIONAL_PACKAGES; do
    # Node from elsewhere brings npm along and refuses Debian's.
    command -v "$package" >/dev/null || need "$package" || echo "tests that need $package will be skipped" >&2
done

configure()
{
    cmake -S "$root" -B "$1" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=ON \
        -DCLUSTERD_DEV=ON -DCLUSTERD_SANITIZE="$2" -DCMAKE_C_COMPILER="$3"
    cmake --build "$1" --parallel "$jobs"
}

configure "$build" "" gcc
if [ "${1:-}" = QUICK ]; then
    exec ctest --test-dir "$build" --output-on-failure --parallel "$jobs" -L 'unit|checks|sim'
fi
configure "$asan" address,undefined gcc
configure "$build-clang" "" clang-14

# One run over both folders, so that there is one summary.
mkdir -p "$build/suite"
printf 'subdirs("%s" "%s")\n' "$build" "$asan" >"$build/suite/CTestTestfile.cmake"
twice=$(ctest --test-dir "$build/suite" -N | sed -n 's/^ *Test *#[0-9]*: //p' | sort | uniq -d)
[ -z "$twice" ] || { echo "tests of one name share their environment:" "$twice" >&2; exit 1; }
exec ctest --test-dir "$build/suite" --output-on-failure --parallel "$jobs"
