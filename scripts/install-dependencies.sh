#!/usr/bin/env bash
# Installs with apt what is needed to build pyscope on Debian or Ubuntu.
#
#   scripts/install-dependencies.sh [--test]
#
# Does nothing, quickly, when all of it is installed. Runs as root, or through sudo. Asks no questions.
#
# Options:
#   --test      also what the tests and the checks of the source need
#   -h, --help  this text
#
# Exit status: 0 everything is installed; 1 something could not be installed (said on stderr; the
# rest is); 2 wrong usage, or the script cannot work here at all.
set -euo pipefail

build_packages=(
  g++ cmake ninja-build pkg-config
  scdoc
  libcli11-dev libfmt-dev libexpected-dev rapidjson-dev zlib1g-dev libutf8proc-dev robin-map-dev
  liblzma-dev libzstd-dev libiberty-dev libunwind-dev
)
test_packages=(
  catch2 nlohmann-json3-dev python3 python3-jsonschema
  clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 shellcheck strace bubblewrap binutils elfutils xz-utils zstd python3-pip zsh fish
  openssh-client openssh-server wrk gdb
)

say() { printf 'install-dependencies: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

packages=("${build_packages[@]}")
for argument in "$@"; do
  case $argument in
    --test) packages+=("${test_packages[@]}") ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) die "unknown argument: $argument (see --help)" ;;
  esac
done

# Sets `missing` to those of `packages` that are not installed.
find_missing() {
  local installed package
  installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "${packages[@]}" 2>/dev/null || true)"
  missing=()
  for package in "${packages[@]}"; do
    [[ $installed == *" installed=$package "* ]] || missing+=("$package")
  done
}

for tool in apt-get dpkg-query; do
  command -v $tool >/dev/null || die "no $tool here; install by other means what these Debian packages hold: ${packages[*]}"
done
find_missing
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$EUID" != 0 ]; then
  command -v sudo >/dev/null || die "not installed: ${missing[*]}; run this as root (there is no sudo)"
  as_root=(sudo)
  [ -t 0 ] || as_root+=(-n)
fi
log=$(mktemp)
policy=''  # keeps services from being started; ours, and removed at the end
trap 'rm -f "$log"; [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null
}
show_log() { tail -20 "$log" | sed 's/^/  | /' >&2; }

# The package of the SSH server starts it, now and at each boot. The tests need the program only: a
# machine that had no server must not have one because of them.
install() {
  case " $* " in *' openssh-server '*) ;; *) apt install --no-install-recommends "$@"; return ;; esac
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  local status=0
  apt install --no-install-recommends "$@" || status=$?
  # Each is unknown to some machines.
  "${as_root[@]}" systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || true
  "${as_root[@]}" update-rc.d ssh disable >/dev/null 2>&1 || true
  return "$status"
}

say "installing ${missing[*]}"
# A source that has nothing to do with this may be broken: go on with the index as it is.
apt update || { say "apt-get update failed; going on without it"; show_log; }
# One unknown name would make apt install nothing.
known=$(LC_ALL=C apt-cache policy "${missing[@]}" 2>/dev/null |
  awk '/^[^ ]/ { sub(/:$/, ""); name = $0 } $1 == "Candidate:" && $2 != "(none)" { print name }')
mapfile -t known <<<"$known"
if [ -n "${known[0]}" ]; then
  install "${known[@]}" || { say "apt-get install failed:"; show_log; }
fi

find_missing
[ ${#missing[@]} -gt 0 ] || exit 0
for package in "${missing[@]}"; do
  case " ${known[*]} " in
    *" $package "*) say "NOT INSTALLED: $package" ;;
    *) say "NOT INSTALLED: $package (this machine's package sources do not have it)" ;;
  esac
done
exit 1
