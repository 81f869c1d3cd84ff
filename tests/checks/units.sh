#!/bin/sh
# units.sh CLUSTERD - the units are ones that systemd reads without a complaint, alone and hardened.
set -eu
clusterd=$1
dist=$(cd "$(dirname "$0")/../../config/dist" && pwd)
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not installed"; exit 77; }
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
# The paths of the package are not there before it is installed.
sed "s|/usr/sbin/clusterd|$clusterd|; s|/usr/bin/clusterctl|$clusterd|" \
    "$dist/clusterd@.service" >"$to/clusterd@web.service"
complaints=$(systemd-analyze verify --man=no --recursive-errors=no "$to/clusterd@web.service" 2>&1 || true)
mkdir "$to/clusterd@web.service.d"
cp "$dist/hardening.conf" "$to/clusterd@web.service.d/"
complaints="$complaints$(systemd-analyze verify --man=no --recursive-errors=no "$to/clusterd@web.service" 2>&1 || true)"
if printf '%s\n' "$complaints" | grep -q clusterd@; then
    printf '%s\n' "$complaints"
    exit 1
fi
systemd-analyze security --offline=true --threshold=25 "$to/clusterd@web.service" >"$to/security" 2>&1 || {
    cat "$to/security"
    exit 1
}
