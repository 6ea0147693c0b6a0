#!/usr/bin/env bash
# Fuzzes pyscope's parsers with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
#
# SECONDS is for each target (60); the targets are parsers, image and recording (all). Records real processes of
# all three versions first: `image` dumps them again and again with words of their memory changed.
# Inputs that are worth keeping go to build/fuzz-corpus, those that break something to build/fuzz-findings.
#
# Needs the packages clang-14 and libclang-rt-14-dev, and those of
# `scripts/install-dependencies.sh --test`; root, or the right to read one's own processes.
#
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# = 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(parsers image recording)

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "${JOBS:-$(nproc)}"
recordings=build/fuzz-recordings
findings=build/fuzz-findings
mkdir -p $recordings $findings

# Real processes with threads, locks and values, at rest.
manifest=$(scripts/interpreters.sh)
while IFS=$'\t' read -r version kind root executable; do
  [ "$kind" = release ] || continue
  seed=$recordings/$version
  [ ! -e "$seed" ] || continue
  folder=$(mktemp -d "${root%/}/tmp/pyscope-fuzz.XXXXXX")
  cp tests/live/programs/two_states.py "$folder"
  start=(env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8)
  if [ "$root" != / ]; then
    [ "$EUID" = 0 ] || start+=(unshare -r)
    start+=(chroot "$root")
  fi
  # It says its state once all its threads wait, and ends when its stdin does.
  coproc target { exec "${start[@]}" "$executable" "${folder#"${root%/}"}/two_states.py"; }
  # shellcheck disable=SC2154
  read -r -t 60 -u "${target[0]}" _
  # shellcheck disable=SC2154
  build/fuzz/pyscope dump --locals --record "$seed" "$target_PID" >/dev/null || [ $? = 6 ]
  kill "$target_PID"
  wait "$target_PID" 2>/dev/null || true
  rm -r "$folder"
done <"$manifest"

status=0
for target in "${targets[@]}"; do
  corpus=build/fuzz-corpus/$target
  mkdir -p "$corpus"
  echo "== $target, $seconds s" >&2
  seeds=()
  [ "$target" != recording ] || seeds=("$recordings")
  # A dump reads no more than 256 MiB into a cache, and takes a second for its proofs at the most.
  PYSCOPE_FUZZ_RECORDINGS=$PWD/$recordings "build/fuzz/fuzz/fuzz_$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3000 -print_final_stats=1 \
    -artifact_prefix="$PWD/$findings/$target-" "$corpus" "${seeds[@]}" || status=1
done
exit $status
