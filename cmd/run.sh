#!/bin/sh
# Builds clusterd and runs the bundled app under it, one worker per usable CPU,
# on port 1337 or $PORT. On a fresh Debian 12 it installs what the build needs.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD_DIR:-$root/build}

# shellcheck source=cmd/need.sh
. "$root/cmd/need.sh"
# shellcheck disable=SC2086 # a list of words
need $BUILD_PACKAGES

if [ ! -f "$build/CMakeCache.txt" ]; then
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF >&2
fi
cmake --build "$build" --parallel "$(nproc)" --target clusterd clusterctl app >&2

exec "$build/cmd/clusterd/clusterd" -n auto -- "$build/cmd/app/app"
