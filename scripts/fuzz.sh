#!/usr/bin/env bash
# Fuzzes pyscope with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
#
# SECONDS is for each target (60); the targets are parsers, render, recording, image, inspect and native (all): docs/fuzzing.md says
# what each does. Records real processes of all three versions first. Inputs that are worth keeping go to
# build/fuzz-corpus, those that break something to build/fuzz-findings; of one of `image` or `inspect`, this makes a recording:
#
#   build/fuzz/fuzz/fuzz_replay image --save FILE INPUT; build/fuzz/pyscope dump --locals --replay FILE
#
# Needs the packages clang-14 and libclang-rt-14-dev, and those of
# `scripts/install-dependencies.sh --test`; root, or the right to read one's own processes.
#
# Environment: JOBS (processors to build with), PYSCOPE_TEST_INTERPRETERS (a manifest of interpreters.sh).
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# = 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(parsers render recording image inspect native)

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "${JOBS:-$(nproc)}"
seeds=build/fuzz-seeds
findings=build/fuzz-findings
mkdir -p $findings
export PYSCOPE_FUZZ_RECORDINGS=$PWD/$seeds/recordings
python3 fuzz/make_seeds.py build/fuzz/fuzz/fuzz_record $seeds

# What is freed isn't kept for long, so that memory can have a bound.
export ASAN_OPTIONS=quarantine_size_mb=16:${ASAN_OPTIONS:-}
# Three targets alter the same recordings.
seeds_of() {
  case $1 in
    inspect | native) echo image ;;
    *) echo "$1" ;;
  esac
}
status=0
for target in "${targets[@]}"; do
  corpus=build/fuzz-corpus/$target
  mkdir -p "$corpus"
  folders=("$corpus" "$seeds/$(seeds_of "$target")")
  [ ! -d "fuzz/regressions/$target" ] || folders+=("fuzz/regressions/$target")
  longest=4096
  [ "$target" != parsers ] || longest=65536  # whole ELF files
  echo "== $target, $seconds s" >&2
  # The target itself looks at how long it computes; -timeout is for what waits, or has no end.
  "build/fuzz/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len=$longest -len_control=0 \
    -print_final_stats=1 -artifact_prefix="$PWD/$findings/$target-" "${folders[@]}" || status=1
done
exit $status
