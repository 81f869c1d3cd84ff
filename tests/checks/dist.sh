#!/bin/sh
# dist.sh BUILD - what config/dist says agrees with what it is about.
set -eu
build=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
dist=$root/config/dist
status=0

same()
{
    [ "$2" = "$3" ] && return
    printf '%s:\n  %s\n  %s\n' "$1" "$2" "$3"
    status=1
}

# The packages of the first and of the second stage.
packages()
{
    tr -d '\\\n' <"$dist/Containerfile" | grep -o 'no-install-recommends  *[a-z0-9. +-]*' | sed -n "${1}s/[^ ]*  *//p" |
        tr -s ' ' '\n' | sed '/^$/d; /^RUN$/d' | sort | tr '\n' ' '
}

# shellcheck source=cmd/need.sh
. "$root/cmd/need.sh"
same "Containerfile: the packages of the build and those of cmd/need.sh" \
    "$(packages 1)" "$(echo "$BUILD_PACKAGES" | tr ' ' '\n' | sort | tr '\n' ' ')"

# Whose libraries the programs are linked with; libc6 is in every image.
if command -v dpkg >/dev/null && [ -e /etc/debian_version ]; then
    libraries=$(for program in clusterd clusterctl clusterd-exec app; do
        ldd "$build/cmd/$program/$program"
    done | sed -n 's/.*=> \([^ ]*\) .*/\1/p' | sort -u)
    owners=$(for library in $libraries; do
        dpkg -S "*/${library##*/}" 2>/dev/null
    done | sed 's/:.*//' | sort -u | grep -v '^libc6' | tr '\n' ' ')
    same "Containerfile: the packages of the image and those of the libraries" "$(packages 2)" "$owners"
fi

# logrotate exits with 0 whatever it finds; what it does not understand it says.
if command -v logrotate >/dev/null; then
    complaints=$(logrotate -d "$dist/logrotate.conf" 2>&1 | grep -i -e '^error' -e 'unknown option' || true)
    same "logrotate.conf" "$complaints" ""
fi

# A unit may not give up, nor kill, before the policy does.
seconds()
{
    sed -n "s/^$1=\([0-9]*\)\(s\|\)$/\1/p" "$dist/clusterd@.service"
}
default_of()
{
    sed -n "/^\[$1\]/,/^$/s/^$2 = \([0-9]*\)s .*/\1/p" "$root/config/examples/full.conf"
}
tries=$(sed -n 's/.*BOOT_FAILURES = \([0-9]*\),.*/\1/p' "$root/supervisor/core/pool.h")
[ "$(seconds TimeoutStartSec)" -gt $((tries * $(default_of ready timeout))) ] ||
    { echo "clusterd@.service: TimeoutStartSec is not longer than $tries times [ready] timeout"; status=1; }
[ "$(seconds TimeoutStopSec)" -gt "$(default_of stop timeout)" ] ||
    { echo "clusterd@.service: TimeoutStopSec is not longer than [stop] timeout"; status=1; }
exit $status
