#!/bin/sh
# Every man page is clean mdoc, and names no page of ours that does not exist.
set -eu
cd "$(dirname "$0")/../.."
command -v mandoc >/dev/null || { echo "mandoc is not installed"; exit 77; }
status=0
for page in man/*.[1-8]; do
    mandoc -T lint -W warning "$page" || status=1
    sed -n 's/^\.\(It \)*Xr \(clusterd[a-z.-]*\|clusterctl\) \([1-8]\).*/\2.\3/p' "$page" |
        while read -r other; do
            [ -f "man/$other" ] || { echo "$page: no page $other"; exit 1; }
        done || status=1
done
exit $status
