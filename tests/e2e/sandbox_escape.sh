#!/bin/bash
# Catches a way out of the sandbox, a run that outlives itself or marks the next one, and traces left on the host: every
# program of tests/escape/ as the caller, and where that is root as an unprivileged user too.
set -u
cd "$(dirname "$0")/../.."
rc=0
python3 tests/escape/run.py "$HONE" tests/escape || rc=$?
[ $rc -eq 0 ] || exit $rc
if [ "$(id -u)" != 0 ]; then
    echo "skip: started as an ordinary user: no second round as root"
elif ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$HONE"; then
    echo "skip: an unprivileged user cannot reach $HONE: no second round"
else
    python3 tests/escape/run.py "$HONE" tests/escape --as-nobody || rc=$?
fi
exit $rc
