#!/usr/bin/env bash
# Measures which lines of pyscope its tests run.
#
#   scripts/coverage.sh [CTEST_ARGUMENT...]
#
# Builds with gcc's counters, passes all tests (or those that the arguments choose: -R unit), and writes
# build/coverage/report/index.html, which shows each source file with its counts, and
# build/coverage/report/lines.txt, which lists for each the lines that no test ran. Prints the shares by folder.
# Processes that are killed lose their counts. Takes about a quarter of an hour on two processors.
#
# Needs the package gcovr, and those of `scripts/install-dependencies.sh --test`.
#
# Environment: JOBS (processors), PYSCOPE_TEST_INTERPRETERS (a manifest of interpreters.sh).
# Exit status: 0 if all tests passed; else 8, with the report all the same.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
command -v gcovr >/dev/null || { echo 'coverage: no gcovr here; on Debian: apt-get install gcovr' >&2; exit 2; }
export PYSCOPE_TEST_INTERPRETERS=${PYSCOPE_TEST_INTERPRETERS:-$(scripts/interpreters.sh)}

cmake --preset coverage >/dev/null
cmake --build --preset coverage -j "$jobs"
find build/coverage -name '*.gcda' -delete
# Counters of programs that run as somebody else can't be written; umask and modes let most of them.
umask 0
status=0
# One test would find that the counters are written.
ctest --preset coverage -j "$jobs" --progress -E 'no verb changes anything, by the system calls' "$@" || status=8

report=build/coverage/report
mkdir -p $report
gcovr --root . --object-directory build/coverage --filter 'src/' --filter 'include/' \
  --exclude-throw-branches --exclude-unreachable-branches -j "$jobs" \
  --txt $report/lines.txt --html-details $report/index.html --json-summary $report/summary.json >/dev/null
python3 - $report/summary.json <<'PYTHON'
import collections, json, sys

lines = collections.defaultdict(lambda: [0, 0])
for file in json.load(open(sys.argv[1]))["files"]:
    folder = file["filename"].rsplit("/", 1)[0]
    for key in (folder, "all"):
        lines[key][0] += file["line_covered"]
        lines[key][1] += file["line_total"]
for folder, (covered, total) in sorted(lines.items(), key=lambda item: (item[0] == "all", item[0])):
    print(f"{folder:<20} {covered:>6} of {total:>6} lines  {100 * covered / total:5.1f} %")
PYTHON
echo "$report/index.html"
exit $status
