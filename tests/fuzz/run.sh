#!/bin/sh
# Lets libFuzzer look for inputs that break an oracle of tests/fuzz, with ASan and UBSan.
# Needs: apt-get install clang-14 libclang-rt-14-dev
#
#   sh tests/fuzz/run.sh [SECONDS [TARGET ...]]     60 seconds each; config_ini, app_http, ...
#
# What is found lies in the build folder (BUILD_DIR, else build-fuzz) and is a seed for corpus/ once
# it is fixed. The status is not 0 if anything was found.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD_DIR:-$root/build-fuzz}
seconds=${1:-60}
case $seconds in
*[!0-9]* | 0) # libFuzzer takes both for "for ever"
    echo "usage: sh tests/fuzz/run.sh [SECONDS [TARGET ...]]" >&2
    exit 64
    ;;
esac
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    for source in "$root"/tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi

CC=${CC:-clang-14} cmake -S "$root" -B "$build" -DBUILD_TESTING=ON \
    -DCLUSTERD_SANITIZE=fuzzer-no-link,address,undefined >/dev/null
status=0
for name in "$@"; do
    cmake --build "$build" --target "fuzz_$name" >/dev/null
    mkdir -p "$build/found/$name"
    echo "== $name: $seconds s"
    "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$build/found/$name-" "$build/found/$name" \
        "$root/tests/fuzz/corpus/$name" >"$build/found/$name.log" 2>&1 || status=1
    grep -E "stat::number_of_executed_units|ERROR|SUMMARY|Test unit written" "$build/found/$name.log" ||
        tail -5 "$build/found/$name.log"
done
exit $status
