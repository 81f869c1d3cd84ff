#!/bin/sh
# readme.sh CLUSTERD - the README stays short, its policy is one that clusterd takes, its files exist.
set -eu
clusterd=$1
cd "$(dirname "$0")/../.."
lines=$(wc -l <README.md)
[ "$lines" -le 200 ] || { echo "README.md: $lines lines; at most 200"; exit 1; }
to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
# shellcheck disable=SC2016 # the backquotes are those of Markdown
sed -n '/^```ini$/,/^```$/p' README.md | sed '/^```/d' >"$to/web.conf"
[ -s "$to/web.conf" ] || { echo "README.md: no policy"; exit 1; }
"$clusterd" --dump-config -c "$to/web.conf" >/dev/null
status=0
grep -oE '\b(cmd|config|supervisor|tests|man)/[A-Za-z0-9_./-]*[A-Za-z0-9_]' README.md | sort -u | while read -r path; do
    [ -e "$path" ] || { echo "README.md: no $path"; exit 1; }
done || status=1
exit $status
