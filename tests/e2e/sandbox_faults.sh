#!/bin/bash
# Catches a wrong verdict, a hang or leftovers when a part of the sandbox is killed, or when forks, namespaces, control
# groups, the disk or /tmp are not to be had.
set -u
cd "$(dirname "$0")/../.."
exec python3 tests/e2e/sandbox_faults.py "$HONE"
