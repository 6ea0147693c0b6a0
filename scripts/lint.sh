#!/usr/bin/env bash
# Compiles everything with clang 14, warnings as errors, and runs clang-tidy 14 and shellcheck over it.
#
#   scripts/lint.sh
#
# Needs the packages clang-14, clang-tidy-14 and shellcheck, and those of
# `scripts/install-dependencies.sh --test`. Takes about ten minutes on two processors, and so is no part of
# scripts/test.sh.
#
# Exit status: 0 if nothing was found.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

shellcheck scripts/*.sh .ci/run
cmake --preset clang >/dev/null
cmake --build --preset clang -j "$jobs"
find src -name '*.cpp' -print0 | xargs -0 -n 1 -P "$jobs" clang-tidy-14 -p build/clang --quiet
