#!/usr/bin/env bash
# Provides real CPython interpreters for the tests and the demo.
#
#   scripts/interpreters.sh [--only MINOR]
#
# Fetches CPython 3.11, 3.13, 3.14 and 3.15, each as the release and as the debug build, from the Debian
# distribution and unpacks each one, with the libraries it needs, into a folder of its own that it
# can be started in with chroot. Nothing is installed on the machine and no root rights are needed.
# The mirror is the one that the machine's apt uses; signatures are checked.
#
# Prints one line on stdout: the path of a manifest with one line per interpreter, tab-separated:
#
#   VERSION     such as 3.14.8
#   KIND        release or debug; "-freethreaded" is appended for a build without the GIL
#   ROOT        the folder to chroot into; / for an interpreter of this machine
#   EXECUTABLE  the path inside ROOT
#
# Run one as root:    chroot ROOT EXECUTABLE ...
#     otherwise:      unshare -r chroot ROOT EXECUTABLE ...
#
# Options:
#   --only MINOR  only the release build of that version (3.14), listed in a manifest of its own
#   -h, --help    this text
#
# Environment:
#   PYSCOPE_CACHE              where to keep things; ${XDG_CACHE_HOME:-$HOME/.cache}/pyscope if unset.
#                              Delete its folder "interpreters" to fetch everything anew.
#   PYSCOPE_TEST_PYTHONS       executables of this machine to list as well: absolute paths, separated
#                              by colons. They are run once, to ask for their version.
#   PYSCOPE_TEST_PYTHONS_ONLY  1: list only those, fetch nothing
#   PYSCOPE_DEBIAN_MIRROR      the Debian mirror, if the machine's apt does not know one
#
# Exit status: 0 everything wanted is in the manifest; 1 something is missing (said on stderr; the
# rest is in the manifest); 2 wrong usage, or the script cannot work here at all.
set -euo pipefail

minors=(3.11 3.13 3.14 3.15)
# Supported, and in no suite of Debian's: only interpreters of this machine.
local_minors=(3.12)
# Where to look for each, in this order: the first suite that has it, and where it starts, is taken.
declare -A suites=([3.11]="bookworm" [3.13]="trixie forky sid" [3.14]="forky sid" [3.15]="forky sid")
# Unpacked besides the interpreter and its dependencies: /bin/sh, and the locale C.UTF-8.
extra_packages=(dash libc-bin)
# For release builds, besides the interpreter as a shared library, as other distributions and container images have
# it: numpy with its linear algebra, which is code of other languages that has threads of its own. Programs find
# that in /usr/lib/*/openblas-pthread.
numpy_packages=(python3-numpy libopenblas0-pthread libgfortran5 libstdc++6 libgcc-s1)
# And what it takes to link the interpreter into a static program.
static_packages=(libc6-dev libexpat1-dev zlib1g-dev)
# Dependencies of no use here (tkinter's, and what only maintainer scripts call), as patterns.
unused_packages=("fonts-*" "fontconfig*" "libfontconfig*" "libfreetype*" "libpng*" "libbrotli*" "libx*" "libtcl*"
  "libtk*" "x11-*" "debconf*" "cdebconf*" "lsb-base" "sysvinit-utils" "readline-common" "libc-gconv-*" "gcc-*-base")
# Files of no use here, as tar patterns: documentation, separate debug symbols, further libraries to link with.
unused_files=("*/numpy/*/tests/*" "./usr/share/doc/*" "./usr/share/man/*" "./usr/share/lintian/*" "./usr/share/locale/*"
  "./usr/lib/debug/*" "*/libpython3*-pic.a" "*/libpython3*d.a" "*/libpython3*d.so*" "./usr/include/*" "*/zoneinfo/right/*")
# Part of every root's mark: raise it when roots that are already in a cache will not do any more.
layout=3

say() { printf 'interpreters: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
usage() { sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; }

only=
while [ $# -gt 0 ]; do
  case $1 in
    --only) [ $# -ge 2 ] || die "--only needs a version"; only=$2; shift 2 ;;
    --only=*) only=${1#*=}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) die "unknown argument: $1 (see --help)" ;;
  esac
done
[ -z "$only" ] || [[ " ${minors[*]} " == *" $only "* ]] || die "--only takes one of: ${minors[*]}"

if [ -n "${PYSCOPE_CACHE:-}" ]; then
  cache=$PYSCOPE_CACHE/interpreters
elif [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ]; then
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/pyscope/interpreters
else
  die "set HOME or PYSCOPE_CACHE"
fi
[[ $cache == /* ]] || cache=$PWD/$cache
mkdir -p "$cache" || die "cannot make $cache"
[ -w "$cache" ] || die "cannot write to $cache"
PATH=$PATH:/usr/sbin:/sbin # chroot, mknod

# What is wanted: one unit, MINOR-KIND, for each interpreter. Its root is the folder of that name.
units=()
if [ "${PYSCOPE_TEST_PYTHONS_ONLY:-0}" != 1 ]; then
  for minor in "${minors[@]}"; do
    [ -z "$only" ] || [ "$only" = "$minor" ] || continue
    units+=("$minor-release")
    [ -n "$only" ] || units+=("$minor-debug")
  done
fi
name=interpreters${only:+-$only}
if [ -n "${PYSCOPE_TEST_PYTHONS:-}" ] || [ "${PYSCOPE_TEST_PYTHONS_ONLY:-0}" = 1 ]; then
  sum=$(printf %s "${PYSCOPE_TEST_PYTHONS_ONLY:-0}:${PYSCOPE_TEST_PYTHONS:-}" | cksum)
  name+=-local-${sum%% *}
fi
manifest=$cache/$name.tsv

declare -A why # what went wrong: for each unit, one line for each try
local_lines="" failed=

# Prints VERSION and KIND; the same code asks fetched and local interpreters.
ask='
import sys
v = sys.version_info
stage = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(v.releaselevel)
kind = "debug" if hasattr(sys, "gettotalrefcount") else "release"
if "t" in getattr(sys, "abiflags", ""):
    kind += "-freethreaded"
print("%d.%d.%d%s\t%s" % (v.major, v.minor, v.micro, f"{stage}{v.serial}" if stage else "", kind))
'
# What a fetched interpreter must be able to do in its root.
# shellcheck disable=SC2016
check='
import asyncio, ctypes, json, locale, multiprocessing, os, socket, sqlite3, ssl, subprocess, sys, threading, zipfile
assert sys.implementation.name == "cpython"
assert ("d" in sys.abiflags) == hasattr(sys, "gettotalrefcount")
locale.setlocale(locale.LC_ALL, "")
assert locale.nl_langinfo(locale.CODESET) == "UTF-8", locale.nl_langinfo(locale.CODESET)
assert sys.getfilesystemencoding() == "utf-8" and "\u00e9".encode() == os.fsencode("\u00e9")
assert sqlite3.connect(":memory:").execute("select 40 + 2").fetchone() == (42,)
assert ctypes.CDLL(None).getpid() == os.getpid()
socket.create_server(("localhost", 0)).close()
assert subprocess.run("echo $((6 * 7))", shell=True, capture_output=True, text=True, check=True).stdout == "42\n"
if os.path.exists("/dev/null"):
    subprocess.run([sys.executable, "-c", ""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
with multiprocessing.Pool(1) as pool:
    assert pool.apply(len, ("four",)) == 4
if sys.version_info >= (3, 14):
    from concurrent import interpreters
    interpreter = interpreters.create()
    interpreter.exec("import json")
    interpreter.close()
elif sys.version_info >= (3, 13):
    import _interpreters
    interpreter = _interpreters.create()
    _interpreters.exec(interpreter, "import json")
    _interpreters.destroy(interpreter)
else:
    import _xxsubinterpreters
    interpreter = _xxsubinterpreters.create()
    _xxsubinterpreters.run_string(interpreter, "import json")
    _xxsubinterpreters.destroy(interpreter)
'

# The mark inside a complete root: LAYOUT, VERSION, KIND, EXECUTABLE, separated by tabs.
mark=.pyscope-interpreter

# Sets `line` to the manifest's line of a unit, if the cache has it.
look_up() {
  local root=$cache/$1 l v k exe
  [ -r "$root/$mark" ] || return 1
  IFS=$'\t' read -r l v k exe <"$root/$mark" || return 1
  [[ $l == "$layout" && -x $root$exe ]] || return 1
  # A root that a user fetched has no device nodes yet: only root can make them.
  [ "$EUID" != 0 ] || [ -e "$root/dev/null" ] || add_devices "$root"
  line=$v$'\t'$k$'\t'$root$'\t'$exe
}

# Device nodes, where that is allowed and they work (they do not on a file system mounted nodev).
add_devices() {
  local root=$1 node file
  for node in "null c 1 3" "zero c 1 5" "full c 1 7" "random c 1 8" "urandom c 1 9" "tty c 5 0"; do
    file=$root/dev/${node%% *}
    # shellcheck disable=SC2086
    mknod -m 666 "$file" ${node#* } 2>/dev/null || return 0
    [[ $file == */tty ]] || { : <"$file"; } 2>/dev/null || rm -f "$file"
  done
}

# Writes the manifest of all that is there; true if nothing is missing.
write_manifest() {
  local unit line text=$local_lines complete=true
  for unit in "${units[@]}"; do
    if look_up "$unit"; then text+=$line$'\n'; else complete=false; fi
  done
  [ "$complete" = true ] || [ "${1:-}" = partial ] || return 1
  if [ ! -e "$manifest" ] || [ "$(<"$manifest")"$'\n' != "$text" ]; then
    printf %s "$text" >"$manifest.$$"
    mv -f "$manifest.$$" "$manifest"
  fi
  [ "$complete" = true ]
}

# --- Interpreters of this machine -----------------------------------------------------------------

add_local() {
  local python=$1 answer version
  [[ $python == /* ]] || { say "PYSCOPE_TEST_PYTHONS: not an absolute path: $python"; return 1; }
  [[ -x $python && -f $python ]] || { say "PYSCOPE_TEST_PYTHONS: not an executable: $python"; return 1; }
  answer=$(timeout 60 "$python" -I -c "$ask" 2>&1) ||
    { say "PYSCOPE_TEST_PYTHONS: $python does not run: ${answer:0:300}"; return 1; }
  version=${answer%%$'\t'*}
  [[ " ${minors[*]} ${local_minors[*]} " == *" ${version%.*} "* ]] ||
    { say "PYSCOPE_TEST_PYTHONS: $python is version $version; wanted is one of: ${minors[*]} ${local_minors[*]}"; return 1; }
  [ -z "$only" ] || [[ $version == "$only".* && $answer == *$'\t'release ]] || return 0
  local_lines+=$answer$'\t/\t'$python$'\n'
}

if [ -n "${PYSCOPE_TEST_PYTHONS:-}" ]; then
  IFS=: read -r -a pythons <<<"$PYSCOPE_TEST_PYTHONS"
  for python in "${pythons[@]}"; do
    [ -z "$python" ] || add_local "$python" || failed=1
  done
fi
if [ ${#units[@]} = 0 ] && [ -z "$local_lines" ]; then
  say "PYSCOPE_TEST_PYTHONS_ONLY is set, and PYSCOPE_TEST_PYTHONS names no interpreter to use${only:+ as $only release}"
  failed=1
fi

# --- The quick way out: everything is there ---------------------------------------------------------

if write_manifest; then
  printf '%s\n' "$manifest"
  exit "${failed:-0}"
fi

# --- Fetching -----------------------------------------------------------------------------------------

for tool in apt-get dpkg dpkg-deb tar flock chroot unshare; do
  command -v $tool >/dev/null || die "$tool is needed to fetch interpreters; or set PYSCOPE_TEST_PYTHONS and PYSCOPE_TEST_PYTHONS_ONLY=1"
done

work=
child=
# shellcheck disable=SC2317
clean_up() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  [ -z "$work" ] || rm -rf --one-file-system "$work" || true
  rm -f "$manifest.$$"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command so that a signal ends this script at once, and the command with it.
run() {
  local rc=0
  "$@" &
  child=$!
  wait "$child" || rc=$?
  child=
  return $rc
}

# The machine's own Debian mirror, and the keys of Debian's archive.
find_mirror() {
  mirror=${PYSCOPE_DEBIAN_MIRROR:-}
  # shellcheck disable=SC2016
  [ -n "$mirror" ] ||
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
      awk '$1 !~ /^cdrom:|-security\/?$/ && ($2 == "Debian" || $1 ~ /\/debian\/?$/) { print $1; exit }')
  [ -n "$mirror" ] || return 1
  keyring=
  local file
  for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
    if [ -r "$file" ]; then keyring="[signed-by=$file]"; break; fi
  done # without it: the keys that apt trusts anyway
}

# Prepares a private apt that knows one suite and nothing of what is installed here. Sets `apt`.
open_suite() {
  local suite=$1 d=$work/$1
  apt_log=$d/log
  if [ -d "$d" ]; then
    [ -e "$d/ready" ]
    return
  fi
  mkdir -p "$d"/{lists/partial,archives/partial,state,debs}
  : >"$d/status"
  echo "deb $keyring $mirror $suite main" >"$d/sources.list"
  # The last lines: a mirror may lag; and no hook that this machine has may run.
  cat >"$d/apt.conf" <<CONF
Dir::Etc::SourceList "$d/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$d/state";
Dir::State::Lists "$d/lists";
Dir::State::Status "$d/status";
Dir::Cache "$d";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "/dev/null";
APT::Architecture "$architecture";
#clear APT::Architectures;
APT::Architectures:: "$architecture";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Default-Release "";
APT::Sandbox::User "$(id -un)";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::Retries "3";
Acquire::http::Timeout "60";
Acquire::https::Timeout "60";
Debug::NoLocking "true";
Acquire::Check-Valid-Until "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
CONF
  say "reading the index of $suite"
  run apt-get -c "$d/apt.conf" -qq update >"$apt_log" 2>&1 || return 1
  : >"$d/ready"
}

# The reason that apt gave last.
apt_reason() {
  local reason
  reason=$(grep -h -m 1 '^E:' "$apt_log" 2>/dev/null) || true
  printf '%s' "${reason:-apt gave no reason}"
}

# Becomes a program in a root, with nothing of this process's environment: for subshells.
enter=(chroot)
[ "$EUID" = 0 ] || enter=(unshare -r chroot)
in_root() {
  exec timeout 120 env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 "${enter[@]}" "$@"
}

# Makes a unit's root from one suite; on failure the reason is in `reason`.
make_unit() {
  local unit=$1 suite=$2 d=$work/$2 minor=${1%-*} kind=${1##*-} package root exe answer names=() wanted=() p pattern
  package=python$minor
  [ "$kind" = release ] || package+=-dbg
  open_suite "$suite" || { reason="cannot read its index: $(apt_reason)"; return 1; }
  apt-get -c "$d/apt.conf" -qq -s install "$package" >"$d/plan" 2>"$apt_log" ||
    { reason="cannot resolve $package: $(apt_reason)"; return 1; }
  mapfile -t names < <(awk '$1 == "Inst" { print $2 }' "$d/plan")
  # apt takes a name that it does not know for a pattern.
  [[ " ${names[*]} " == *" $package "* ]] || { reason="has no package $package"; return 1; }
  [ "$kind" != release ] || names+=("lib$package" "${numpy_packages[@]}" "lib$package-dev" "${static_packages[@]}")
  for p in $(printf '%s\n' "${names[@]}" "${extra_packages[@]}" | sort -u); do
    for pattern in "${unused_packages[@]}"; do
      # shellcheck disable=SC2053
      [[ $p != $pattern ]] || continue 2
    done
    wanted+=("$p")
  done

  local missing=()
  for p in "${wanted[@]}"; do compgen -G "$d/debs/${p}_*.deb" >/dev/null || missing+=("$p"); done
  if [ ${#missing[@]} -gt 0 ]; then
    say "fetching $package from $suite (${#missing[@]} packages)"
    run env -C "$d/debs" apt-get -c "$d/apt.conf" -qq download "${missing[@]}" >"$apt_log" 2>&1 ||
      { rm -f "$d"/debs/*.deb; reason="cannot fetch $package: $(apt_reason)"; return 1; }
  fi

  root=$work/$unit
  rm -rf --one-file-system "$root"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,root,proc,dev/shm,tmp}
  for p in bin sbin lib lib64; do ln -s "usr/$p" "$root/$p"; done
  for p in "${wanted[@]}"; do
    dpkg-deb --fsys-tarfile "$d/debs/${p}"_*.deb |
      tar -x -C "$root" -p --no-same-owner --keep-directory-symlink "${unused_files[@]/#/--exclude=}" ||
      { reason="cannot unpack $p"; return 1; }
  done
  chmod 755 "$root"
  chmod 1777 "$root/tmp" "$root/dev/shm"
  [ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/nonexistent:/bin/sh >"$root/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
  printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >"$root/etc/hosts"
  ln -sf /proc/self/fd "$root/dev/fd"
  [ "$EUID" != 0 ] || add_devices "$root"

  exe=/usr/bin/python$minor
  [ "$kind" = release ] || exe+=d
  [ -x "$root$exe" ] || { reason="package $package has no $exe"; return 1; }
  answer=$(in_root "$root" "$exe" -I -c "$ask" 2>&1) ||
    { reason="$exe does not start: ${answer##*$'\n'}"; return 1; }
  [[ $answer == "$minor".*$'\t'"$kind" ]] || { reason="$exe says it is ${answer//$'\t'/ }"; return 1; }
  run in_root "$root" "$exe" -I -c "$check" >"$d/check" 2>&1 ||
    { reason="$exe is not usable: $(tail -1 "$d/check")"; return 1; }
  printf '%s\t%s\t%s\n' "$layout" "$answer" "$exe" >"$root/$mark"

  # Complete: publish it in one step. What may be there already is of an older layout, or damaged.
  if [ -e "$cache/$unit" ]; then mv -T "$cache/$unit" "$work/$unit.old"; fi
  mv -T "$root" "$cache/$unit" || { reason="cannot move it into $cache"; return 1; }
  p=$(echo "$d/debs/${package}"_*.deb)
  p=${p##*/"$package"_}
  say "$minor $kind: package $package ${p%_*} of $suite"
}

make_units() {
  local unit suite reason line
  # Left by runs that were killed: the lock says that none is alive.
  rm -rf --one-file-system "$cache"/work.* 2>/dev/null || true
  work=$(mktemp -d "$cache/work.XXXXXX") || die "cannot make a folder in $cache"
  architecture=$(dpkg --print-architecture)
  local obstacle=
  if ! find_mirror; then
    obstacle="this machine's apt has no Debian mirror: set PYSCOPE_DEBIAN_MIRROR, or PYSCOPE_TEST_PYTHONS"
  elif ! reason=$("${enter[@]}" / true 2>&1); then
    obstacle="cannot start a program in another root: ${reason##*$'\n'}: run this as root, or set PYSCOPE_TEST_PYTHONS"
  fi
  for unit in "${units[@]}"; do
    ! look_up "$unit" || continue # another run was quicker
    if [ -n "$obstacle" ]; then
      why[$unit]=$obstacle$'\n'
      continue
    fi
    for suite in ${suites[${unit%-*}]}; do
      reason=
      if make_unit "$unit" "$suite"; then unset "why[$unit]"; break; fi
      why[$unit]+="$suite: $reason"$'\n'
    done
  done
}

# One run at a time. The kernel drops the lock with the process that holds it, however that ends; the
# programs started here do not inherit it (9>&-), so none that outlives a killed run can keep it.
exec 9>"$cache/lock"
if ! flock -n 9; then
  say "waiting for another run"
  flock -w 1800 9 || die "another run has held $cache/lock for half an hour"
fi
make_units 9>&-
write_manifest partial || failed=1
for unit in "${units[@]}"; do
  [ -n "${why[$unit]:-}" ] || continue
  say "MISSING: CPython ${unit/-/ }"
  while IFS= read -r reason; do say "  $reason"; done <<<"${why[$unit]%$'\n'}"
done
printf '%s\n' "$manifest"
exit "${failed:-0}"
