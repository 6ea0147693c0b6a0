#!/usr/bin/env bash
# Fuzzes pyscope with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
#
# SECONDS is for each target (60), as many targets at a time as there are processors; the targets are
# parsers, render, recording, image, inspect and native (all): docs/fuzzing.md says what each does. Records
# real processes of all three versions first. Inputs that are worth keeping go to build/fuzz-corpus, those
# that break something to build/fuzz-findings, beside what each target printed; of one of `image` or
# `inspect`, this makes a recording:
#
#   build/asan/fuzz/fuzz_replay image --save FILE INPUT; build/asan/pyscope dump --locals --replay FILE
#
# Needs what `scripts/install-dependencies.sh --test` installs; root, or the right to read one's own processes.
#
# Environment: JOBS (processors), PYSCOPE_TEST_INTERPRETERS (a manifest of interpreters.sh).
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
seconds=${1:-60}
[ $# = 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(parsers render recording image inspect native)

cmake --preset asan >/dev/null
cmake --build --preset asan -j "$jobs" --target pyscope fuzz_record fuzz_replay "${targets[@]/#/fuzz_}"
seeds=build/fuzz-seeds
findings=build/fuzz-findings
mkdir -p $findings
export PYSCOPE_FUZZ_RECORDINGS=$PWD/$seeds/recordings
python3 fuzz/make_seeds.py build/asan/fuzz/fuzz_record $seeds

# What is freed isn't kept for long, so that memory can have a bound.
export ASAN_OPTIONS=quarantine_size_mb=16:${ASAN_OPTIONS:-}

# Three targets alter the same recordings.
seeds_of() {
  case $1 in
    inspect | native) echo image ;;
    *) echo "$1" ;;
  esac
}

fuzz() {
  local target=$1 corpus=build/fuzz-corpus/$1 longest=4096 log=$findings/$1.log status=0
  mkdir -p "$corpus"
  local folders=("$corpus" "$seeds/$(seeds_of "$target")")
  [ ! -d "fuzz/regressions/$target" ] || folders+=("fuzz/regressions/$target")
  [ "$target" != parsers ] || longest=65536  # whole ELF files
  # The target itself looks at what an input costs; these are for what waits, has no end, or grows
  # from input to input.
  "build/asan/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=30 -malloc_limit_mb=256 -rss_limit_mb=2048 -max_len=$longest \
    -len_control=0 -print_final_stats=1 -artifact_prefix="$PWD/$findings/$target-" "${folders[@]}" \
    >"$log" 2>&1 || status=$?
  local count edges
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
  echo "$target: ${count:-?} executions in $seconds s, ${edges:-?} edges, $([ $status = 0 ] && echo nothing found || echo "FOUND something: $log")"
  if [ $status != 0 ]; then
    grep -v '^#' "$log" | tail -60 | sed 's/^/  | /'
    return 1
  fi
}

status=0
running=0
for target in "${targets[@]}"; do
  if [ "$running" = "$jobs" ]; then
    wait -n || status=1
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || status=1
  running=$((running - 1))
done
exit $status
