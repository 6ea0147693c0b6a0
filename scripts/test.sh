#!/usr/bin/env bash
# Installs what the tests need, builds pyscope and passes all tests: as released, by gcc, on release
# and debug builds of CPython; and again by clang under AddressSanitizer and
# UndefinedBehaviorSanitizer, on its release builds, but for what counts how often something
# comes out. Fuzzes for a short while, passes some tests with
# a program under ThreadSanitizer, and checks the format and what a linter finds quickly in
# what reads a target's bytes (scripts/lint.sh has more).
#
#   scripts/test.sh
#
# Environment: JOBS (processors), and that of install-dependencies.sh and interpreters.sh.
# Exit status: 0 if everything passed.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS" >&2; }

step 'installing what is needed'
scripts/install-dependencies.sh --test
PYSCOPE_TEST_INTERPRETERS=$(scripts/interpreters.sh)
export PYSCOPE_TEST_INTERPRETERS
cat "$PYSCOPE_TEST_INTERPRETERS" >&2

step 'format'
if command -v clang-format-14 >/dev/null; then
  find include src tests fuzz -name '*.[ch]pp' -print0 | xargs -0r clang-format-14 --dry-run -Werror
elif [ "${CI:-}" = true ]; then
  echo 'clang-format-14 is missing' >&2
  exit 1
else
  echo 'not checked: clang-format-14 is missing' >&2
fi

step 'linting'
# What reads a target's bytes.
scripts/lint.sh --quick --layers elf memory native structures python values frames locks

# Builds a preset beside the tests of another, which wait for something much of the time. What the
# compiler prints is shown by finish_build, at the end. A build goes on after a failure of the tests: it is waited for.
trap wait EXIT
start_build() {
  mkdir -p build
  (cmake --preset "$1" >/dev/null && cmake --build --preset "$1" -j "$jobs") >"build/$1.log" 2>&1 &
  build=$!
}
finish_build() {
  local status=0
  wait "$build" || status=$?
  [ $status = 0 ] || cat "build/$1.log" >&2
  return $status
}

# Some tests wait for something most of the time.
run_tests() { ctest -j $((jobs + 1)) --progress --no-tests=error "$@"; }

step 'building: ci'
cmake --preset ci >/dev/null
cmake --build --preset ci -j "$jobs"
step 'testing: ci; building: asan'
start_build asan
run_tests --preset ci

step 'building: asan'
finish_build asan
step 'testing: asan; building: tsan'
start_build tsan
# pyscope is several times slower under the sanitizers, and what a debug build of CPython has
# elsewhere it has for both.
release_interpreters=$PWD/build/release-interpreters.tsv
awk -F '\t' '$2 !~ /debug/' "$PYSCOPE_TEST_INTERPRETERS" >"$release_interpreters"
# What does the same hundreds of times, to say how often something comes out.
leave_out=(-E 'exact when it is paused|never an impossible|busy with locks|fight for the GIL|tight loop is verified|^soak:')
PYSCOPE_TEST_INTERPRETERS=$release_interpreters run_tests --preset asan "${leave_out[@]}"
# What only starts the program is compiled already.
PYSCOPE_TEST_INTERPRETERS=$release_interpreters PYSCOPE_TEST_BINARY=$PWD/build/asan/pyscope PYSCOPE_TEST_SANITIZED=1 \
  run_tests --preset ci -L live -LE library "${leave_out[@]}"

step 'fuzzing'
scripts/fuzz.sh 10

# What runs in parallel: many processes at a time, and the facts of many threads.
step 'testing: tsan'
finish_build tsan
# Address space that is laid out too randomly is more than it can cope with.
PYSCOPE_TEST_INTERPRETERS=$release_interpreters PYSCOPE_TEST_BINARY=$PWD/build/tsan/pyscope setarch -R build/ci/tests/pyscope_live_tests \
  'a hundred processes are dumped in one go,a thousand threads are dumped whole,ps lists a process*,children that end*'

step 'done'
