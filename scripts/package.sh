#!/usr/bin/env bash
# Makes what is handed out: the static binary, a .deb, a Python wheel, and their SHA-256 sums.
#
#   scripts/package.sh [--build FOLDER] [--output FOLDER]
#
# Options:
#   --build FOLDER   pack what was built there, such as build/aarch64 (without it: build the preset `release` first)
#   --output FOLDER  where to (build/packages)
#   -h, --help       this text
#
# The same sources give the same bytes, in whatever folder: dates in the packages are SOURCE_DATE_EPOCH, without it
# that of the last commit. Needs what scripts/install-dependencies.sh installs, and python3 for the wheel.
#
# Exit status: 0 if all was made.
set -euo pipefail

say() { printf 'package: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

build=
output=
while [ $# -gt 0 ]; do
  case $1 in
    --build | --output)
      [ $# -ge 2 ] || { say "$1 needs a folder"; exit 2; }
      if [ "$1" = --build ]; then build=$(realpath -e "$2"); else output=$(realpath -m "$2"); fi
      shift 2 ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) say "unknown argument: $1 (see --help)"; exit 2 ;;
  esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
output=${output:-$PWD/build/packages}

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || die "no git history here: set SOURCE_DATE_EPOCH"
fi
export SOURCE_DATE_EPOCH

if [ -z "$build" ]; then
  build=$PWD/build/release
  say "building"
  cmake --preset release >/dev/null
  cmake --build --preset release -j "${JOBS:-$(nproc)}" >&2
fi
for file in pyscope man/pyscope.1.gz CPackConfig.cmake; do
  [ -e "$build/$file" ] || die "there is no $build/$file: build it first, with scdoc installed"
done

case $(od -An -tx1 -j18 -N2 "$build/pyscope" | tr -d ' ') in
  3e00) architecture=x86_64 ;;
  b700) architecture=aarch64 ;;
  *) die "$build/pyscope is for an unknown processor" ;;
esac
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:.*=//p' "$build/CMakeCache.txt")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$output"

binary=pyscope-$version-linux-$architecture
install -m 755 "$build/pyscope" "$work/$binary"

# The man pages carry a date, too; they are made again if they were built at another time's.
rm -f "$build"/man/*.gz
cmake --build "$build" --target man >/dev/null
(umask 022 && cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work/deb") >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; die "cpack failed"; }
mv "$work"/deb/*.deb "$work"

python3 scripts/make_wheel.py "$work/$binary" "$version" "$architecture" "$work" >/dev/null

cd "$work"
for file in pyscope*; do
  mv "$file" "$output/"
  say "$output/$file"
done
cd "$output"
sha256sum -- pyscope* >SHA256SUMS
