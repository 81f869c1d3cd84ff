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
want usr/bin/clusterd-exec
want usr/bin/app
for program in clusterctl clusterd; do
    want usr/share/bash-completion/completions/$program
    want usr/share/zsh/site-functions/_$program
    want usr/share/fish/vendor_completions.d/$program.fish
done
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
# Nothing but what is named here, lest a file of the tests or of the build slips in.
find "$to" -type f | sed "s|^$to/||" | grep -v -e '^usr/s\?bin/' -e '^usr/share/man/man[1-8]/clusterd\?[a-z.-]*\.[1-8]$' \
    -e '^usr/share/doc/clusterd/' -e '^usr/share/bash-completion/completions/' -e '^usr/share/zsh/site-functions/' \
    -e '^usr/share/fish/vendor_completions.d/' -e '^usr/lib/systemd/system/' -e '^usr/lib/tmpfiles.d/' &&
    { echo "the files above are not expected"; status=1; }
exit $status
