#!/usr/bin/env bash
# Runs clang-tidy 14 over the sources, and shellcheck over the scripts.
#
#   scripts/lint.sh [--quick] [FILE...]
#   scripts/lint.sh [--quick] --layers LAYER...
#
# FILE is a source file below src/ (all of them); LAYER a folder of it, whose files are looked at as one, so
# that the headers are read once. The checks are those of .clang-tidy. All of them over all of
# src/ take six minutes on two processors; --quick leaves out the analyzer and what else takes long, which
# makes it less than two; scripts/test.sh has that of the parsers.
#
# Needs what `scripts/install-dependencies.sh --test` installs.
#
# Environment: JOBS (processors).
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

# Those that cost little beyond reading a file, and find what compilers don't.
quick='-*'
for check in bad-signal-to-kill-thread copy-constructor-init dangling-handle forwarding-reference-overload inaccurate-erase \
  infinite-loop integer-division misplaced-widening-cast move-forwarding-reference parent-virtual-call signed-char-misuse \
  sizeof-expression string-constructor suspicious-memset-usage swapped-arguments too-small-loop-variable \
  undefined-memory-manipulation undelegated-constructor unused-raii use-after-move virtual-near-miss; do
  quick+=,bugprone-$check
done
quick+=,cppcoreguidelines-pro-type-cstyle-cast,google-explicit-constructor,misc-redundant-expression
quick+=,modernize-use-override,modernize-use-using,readability-identifier-naming

checks=()
if [ "${1:-}" = --quick ]; then
  checks=("--checks=$quick")
  shift
fi
shellcheck scripts/*.sh .ci/run
# Without the tests: what is compiled for both would be looked at twice. And headers as they are: none is compiled.
cmake --preset asan -B build/lint -DPYSCOPE_TESTS=OFF -DPYSCOPE_PRECOMPILE=OFF >/dev/null
if [ "${1:-}" = --layers ]; then
  shift
  files=()
  for layer in "$@"; do
    joined=build/lint/src/CMakeFiles/pyscope_core.dir/Unity/unity_${layer}_cxx.cxx
    files+=("$joined")
    for file in src/"$layer"/*.cpp; do
      grep -qF "/$file\"" "$joined" || files+=("$file")
    done
  done
elif [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(find src -name '*.cpp')
fi
# How many warnings there would be in headers of others is no news.
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$jobs" clang-tidy-14 -p build/lint --quiet "${checks[@]}" 2> >(grep -v ' warnings generated\.$' >&2 || true)
