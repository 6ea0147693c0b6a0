#!/usr/bin/env bash
# Shows pyscope at work: builds it, starts a small order service on a real CPython 3.14, and dumps it.
#
#   scripts/demo.sh [EXAMPLE]
#
# EXAMPLE is one of the programs in examples/: sample_service (the default), or deadlock.
#
# Installs what the build needs (scripts/install-dependencies.sh) and fetches the interpreter
# (scripts/interpreters.sh). The dump goes to stdout, everything else to stderr. Leaves no process behind.
#
# Environment: see scripts/interpreters.sh.
#
# Exit status: that of `pyscope dump`, or of the step that failed.
set -euo pipefail

example=${1:-sample_service}
case $example in
  sample_service | deadlock) ;;
  -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  *) echo "demo: unknown argument: $1 (see --help)" >&2; exit 2 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'demo: %s\n' "$*" >&2; }

work=$(mktemp -d)
service=
folder=
# shellcheck disable=SC2317
clean_up() {
  if [ -n "$service" ]; then
    kill "$service" 2>/dev/null || true
    wait "$service" 2>/dev/null || true
  fi
  rm -rf "$work" ${folder:+"$folder"}
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "installing what the build needs, if anything is missing"
scripts/install-dependencies.sh

say "building pyscope"
run_cmake() {
  cmake "$@" >"$work/log" 2>&1 && return
  tail -40 "$work/log" >&2
  say "failed: cmake $*"
  exit 1
}
run_cmake --preset release
run_cmake --build --preset release

say "getting CPython 3.14"
manifest=$(scripts/interpreters.sh --only 3.14)
IFS=$'\t' read -r version _ root executable <"$manifest"

# The service, as a file in the interpreter's root; it says "ready" on its stdout.
folder=$(mktemp -d "${root%/}/tmp/pyscope-demo.XXXXXX")
mkdir "$folder/shop"
name=${example#sample_}
cp "examples/$example.py" "$folder/shop/$name.py"
script=${folder#"${root%/}"}/shop/$name.py
start=(env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8)
if [ "$root" != / ]; then
  [ "$EUID" = 0 ] || start+=(unshare -r)
  start+=(chroot "$root")
fi
mkfifo "$work/stdout"
"${start[@]}" "$executable" "$script" >"$work/stdout" &
service=$!
exec 3<"$work/stdout"
ready=
while [ "$ready" != ready ]; do
  read -r -t 60 -u 3 ready || { say "the service did not start"; exit 1; }
done
say "the example $name runs on CPython $version, process $service"

# Where Yama lets ordinary users trace only their own descendants, it takes root to look.
as_root=()
if [ "$EUID" != 0 ] && [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)" != 0 ]; then
  as_root=(sudo)
fi
echo "\$ ${as_root[*]}${as_root[*]:+ }pyscope dump $service" >&2
status=0
"${as_root[@]}" build/release/pyscope dump "$service" || status=$?
exit $status
