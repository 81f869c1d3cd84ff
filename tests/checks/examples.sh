#!/bin/sh
# examples.sh CLUSTERD - every example policy is one that clusterd takes.
#
# The programs they name need not be installed here, nor need this user have the rights that they take: no
# other complaint is allowed.
set -eu
clusterd=$1
cd "$(dirname "$0")/../../config/examples"
status=0
for file in *.conf; do
    out=$("$clusterd" -t -c "$file" 2>&1) && continue
    if printf '%s\n' "$out" | grep -v -e 'No such file' -e 'no program' -e 'no such user' -e 'no such group' \
        -e 'this user may not raise it' | grep -q .; then
        printf '%s\n' "$out"
        status=1
    fi
done
exit $status
