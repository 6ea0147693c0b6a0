#!/usr/bin/env bash
# Builds pyscope for aarch64 on an x86-64 Debian machine, and tests it as far as emulation goes.
#
#   scripts/build-aarch64.sh [RECORDING...]
#
# Makes build/aarch64/pyscope, one static file, and runs under qemu-user: `--version`, `--help`, the unit
# tests, and `dump --replay` of each RECORDING (made by `pyscope dump PID --record FILE`, on any machine),
# whose JSON must be what a build for this machine prints, build/release/pyscope. Reading a live process
# can't be tested this way: qemu-user has no process_vm_readv or ptrace of its own. But a CPython for aarch64
# runs under it, and gdb reads its registers: tests/aarch64/native_frames.py records that, and compares
# the native frames of the recording with gdb's.
#
# Needs the packages g++-aarch64-linux-gnu, qemu-user-static and gdb-multiarch, and those of
# `scripts/install-dependencies.sh --test`. The libraries for aarch64 are fetched from the mirror that the
# machine's apt uses into ~/.cache/pyscope/sysroot-aarch64 (or PYSCOPE_CACHE), CPython into python-aarch64
# beside it; signatures are checked, and the machine's own packages are left alone.
#
# Environment: JOBS (processors), PYSCOPE_CACHE, PYSCOPE_DEBIAN_MIRROR (if apt's sources are no Debian's).
# Exit status: 0 if all was built and passed.
set -euo pipefail

case ${1:-} in
  -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
esac
recordings=()
for file in "$@"; do recordings+=("$(realpath -e "$file")"); done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${JOBS:-$(nproc)}

say() { printf 'build-aarch64: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

for tool in aarch64-linux-gnu-g++ qemu-aarch64-static gdb-multiarch apt-get dpkg-deb; do
  command -v "$tool" >/dev/null ||
    die "no $tool here; on Debian: apt-get install g++-aarch64-linux-gnu qemu-user-static gdb-multiarch"
done

# What is linked in, and what the tests need.
packages=(libfmt-dev libcli11-dev libexpected-dev rapidjson-dev robin-map-dev zlib1g-dev libutf8proc-dev
  liblzma-dev libzstd-dev libiberty-dev libunwind-dev catch2 nlohmann-json3-dev)
if [ -z "${PYSCOPE_CACHE:-}" ] && [ -z "${XDG_CACHE_HOME:-}${HOME:-}" ]; then die "set HOME or PYSCOPE_CACHE"; fi
cache=$(realpath -m "${PYSCOPE_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/pyscope}")
sysroot=$cache/sysroot-aarch64
python=$cache/python-aarch64
python_suite=trixie
python_packages=(python3.13-minimal libpython3.13-minimal libpython3.13-stdlib libc6 libexpat1 zlib1g)
# shellcheck source=/dev/null
own_suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
mirror=${PYSCOPE_DEBIAN_MIRROR:-}
trap 'rm -rf --one-file-system ${build_output:+"$build_output"} ${work:+"$work"}' EXIT

# Fetches packages for aarch64 into a folder, unless they are there: of a suite of the mirror, or, if that is
# empty, from where this machine has its own.
fetch() {
  local folder=$1 suite=$2 apt fmt deb
  shift 2
  [ "$(cat "$folder/.packages" 2>/dev/null)" != "$*" ] || return 0
  say "fetching into $folder"
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/aarch64.XXXXXX")
  mkdir -p "$work"/{lists,archives/partial,debs,root}
  : >"$work/status"
  apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$work/lists"
    -o "Dir::State::Status=$work/status" -o "Dir::Cache=$work" -o Acquire::Languages=none -o Acquire::Retries=3
    -o Debug::NoLocking=1 -o APT::Sandbox::User=)
  if [ -n "$suite" ]; then
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
    apt+=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=-)
  fi
  # A source that has nothing to do with this may be broken: go on, and fail below if it does matter.
  "${apt[@]}" update || say "apt-get update failed; trying to go on"
  (cd "$work/debs" && "${apt[@]}" download "$@") || die "cannot fetch: $*"
  # fmt's CMake files want its shared library to be there, although its headers are all that is used.
  for deb in "$work"/debs/libfmt-dev_*.deb; do
    [ -e "$deb" ] || continue
    fmt=$(dpkg-deb -f "$deb" Depends | sed 's/[ ,].*//')
    (cd "$work/debs" && "${apt[@]}" download "$fmt") || die "cannot fetch $fmt"
  done
  # As merged as the packages of newer suites expect it.
  [ -z "$suite" ] || { mkdir -p "$work/root/usr/lib" && ln -s usr/lib "$work/root/lib"; }
  for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --no-same-owner --keep-directory-symlink
  done
  printf '%s\n' "$*" >"$work/root/.packages"
  rm -rf --one-file-system "$folder"
  mv -T "$work/root" "$folder"
  rm -rf --one-file-system "$work"
}

fetch "$sysroot" "${mirror:+$own_suite}" "${packages[@]}"
if [ -z "$mirror" ]; then
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 !~ /^cdrom:|-security\/?$/ && ($2 == "Debian" || $1 ~ /\/debian\/?$/) { print $1; exit }')
fi
fetch "$python" "$python_suite" "${python_packages[@]}"

say "building"
export PYSCOPE_SYSROOT=$sysroot
cmake --preset aarch64 >/dev/null
cmake --build --preset aarch64 -j "$jobs" --target pyscope pyscope_unit_tests man

say "testing under qemu-user"
qemu='qemu-aarch64-static'
binary=build/aarch64/pyscope
$qemu $binary --version
$qemu $binary dump --help >/dev/null
build_output=$(mktemp -d)
# The tests are dynamic, with the compiler's own C library. Left out: four of process_vm_readv, which qemu-user
# doesn't have; those of the sandbox, as it has no filters of system calls either; one that is too slow here to
# find a thread unmoved at the first look; and names of this very process, whose /proc shows the emulator.
$qemu -L /usr/aarch64-linux-gnu build/aarch64/tests/pyscope_unit_tests \
  ~'more ranges than one system call takes are read in two' ~'ranges around a hole settle each for itself' \
  ~'addresses that no process can have are faults' ~'the memory of a process that has ended is gone' \
  ~'in the sandbox *' ~'a process is read whole' ~'functions of this program *' ~'functions of the vdso *' \
  ~'exported functions of libraries *' ~'each instruction of this program *'
for file in "${recordings[@]}"; do
  status=0
  $qemu $binary dump --replay "$file" --json --locals >"$build_output/aarch64" || status=$?
  expected=0
  build/release/pyscope dump --replay "$file" --json --locals >"$build_output/native" || expected=$?
  # How long the reading took, and how often a stack was looked at, is all that may differ.
  for name in aarch64 native; do
    sed -i -E 's/"(duration_us|attempts)": ?[0-9]+/"\1": 0/; s/each of [0-9]+ tries/each try/' "$build_output/$name"
  done
  [ "$status" = "$expected" ] || die "replay of $file: exit status $status in place of $expected"
  cmp "$build_output/aarch64" "$build_output/native" || die "replay of $file: not the same"
  say "replay of $file: the same as here, exit status $status"
done
python3 tests/aarch64/native_frames.py "$python" "$python/usr/bin/python3.13" "$binary"
say "built $binary, $(stat -c %s $binary) bytes"
