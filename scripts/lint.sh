#!/usr/bin/env bash
# Runs clang-tidy 14 and shellcheck over everything.
#
#   scripts/lint.sh [FILE...]
#
# FILE is a source file below src/ (all of them). The checks are those of .clang-tidy; all of src/ takes six
# minutes on two processors, which is why it is no part of scripts/test.sh.
#
# Needs the packages clang-14, clang-tidy-14 and shellcheck, and those of
# `scripts/install-dependencies.sh --test`.
#
# Environment: JOBS (processors).
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

shellcheck scripts/*.sh .ci/run
# Without the tests: what is compiled for both would be looked at twice.
cmake --preset asan -B build/lint -DPYSCOPE_TESTS=OFF >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(find src -name '*.cpp'); fi
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$jobs" clang-tidy-14 -p build/lint --quiet
