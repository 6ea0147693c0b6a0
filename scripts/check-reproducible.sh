#!/usr/bin/env bash
# Are the packages the same when they are built anew from the last commit, in another folder?
#
#   scripts/check-reproducible.sh
#
# Builds twice: here (scripts/package.sh) and in a copy below /tmp without ccache, and compares the SHA-256 sums. Takes
# some minutes, and so is no part of scripts/test.sh.
#
# Exit status: 0 if they are the same; 1 if not, or if something failed.
set -euo pipefail

case ${1:-} in
  "") ;;
  -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) echo "check-reproducible: unknown argument: $1 (see --help)" >&2; exit 2 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -z "$(git status --porcelain)" ] || { echo "check-reproducible: commit your changes first" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/package.sh --output "$work/here"
git clone -q . "$work/another folder"
(cd "$work/another folder" && unset CMAKE_CXX_COMPILER_LAUNCHER && CCACHE_DISABLE=1 scripts/package.sh --output "$work/there")
diff "$work/here/SHA256SUMS" "$work/there/SHA256SUMS"
echo "the same:" && cat "$work/here/SHA256SUMS"
