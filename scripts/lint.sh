#!/usr/bin/env bash
# Runs clang-tidy 14 and shellcheck over everything.
#
#   scripts/lint.sh [FILE...]
#
# FILE is a source file below src/ or tests/ (all of src/). The checks are those of .clang-tidy; some take
# headers into account, so that all of src/ takes eight minutes on two processors, which is why it is no part
# of scripts/test.sh.
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
cmake --preset asan >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(find src -name '*.cpp'); fi
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$jobs" clang-tidy-14 -p build/asan --quiet
