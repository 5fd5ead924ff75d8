#!/bin/sh
# Installs the Debian packages hone builds with, when some are missing; otherwise says nothing.
set -eu
cd "$(dirname "$0")/.."
pkgs=$(sed 's/#.*//' tools/packages.txt | tr '\n' ' ')
missing=
for p in $pkgs; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
echo "hone: missing packages:$missing" >&2
if ! command -v apt-get >/dev/null; then
    echo "hone: this is not a Debian machine: install the equivalents of the packages above, then run make again" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "hone: run as root: apt-get install$missing" >&2; exit 1; }
    sudo=sudo
fi
$sudo apt-get update -qq || echo "hone: apt-get update failed, trying with the lists at hand" >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    { echo "hone: could not install; by hand: apt-get install$missing" >&2; exit 1; }
