#!/bin/sh
echo "hone: the demo is not in this build yet" >&2
exit 1
