#!/bin/sh
# install.sh BUILD - `cmake --install` puts every file where a distribution expects it.
set -eu
build=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
DESTDIR=$to cmake --install "$build" --prefix /usr >/dev/null
status=0
want()
{
    [ -e "$to/$1" ] || { echo "not installed: $1"; status=1; }
}
want usr/sbin/clusterd
want usr/bin/clusterctl
for page in "$root"/man/*.[1-8]; do
    want "usr/share/man/man${page##*.}/${page##*/}"
done
for example in "$root"/config/examples/*.conf; do
    want "usr/share/doc/clusterd/examples/${example##*/}"
done
want usr/lib/systemd/system/clusterd@.service
want usr/lib/tmpfiles.d/clusterd.conf
want usr/share/doc/clusterd/hardening.conf
want usr/share/doc/clusterd/logrotate.conf
want usr/share/doc/clusterd/Containerfile
"$to/usr/sbin/clusterd" --version >/dev/null || { echo "the installed clusterd does not run"; status=1; }
exit $status
