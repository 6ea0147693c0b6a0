#!/usr/bin/env python3
"""For how long pyscope holds the threads of a process, and how long a dump takes with that.

    sudo bench/pauses.py [PYSCOPE]

Takes build/release/pyscope, and CPython 3.14 from scripts/interpreters.sh. Prints a table in Markdown: medians, and the
longest, of 200 dumps of a process with two threads and of 30 of one with 501, all of them asleep.
"""

import json
import statistics
import subprocess
import sys
import time

import roots

SLEEPERS = """
import sys, threading, time
for _ in range(int(sys.argv[1])):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("ready", flush=True)
time.sleep(1000)
"""
OPTIONS = [[], ["--pause=all"], ["--native"], ["--native=full"]]


def measure(pyscope, pid, options, times):
    whole, held = [], []
    for _ in range(times):
        begin = time.perf_counter()
        dump = subprocess.run([pyscope, "dump", str(pid), "--json", *options], check=True, capture_output=True)
        whole.append((time.perf_counter() - begin) * 1000)
        held.append(json.loads(dump.stdout)["capture"]["paused_us"] / 1000)
    return f"{statistics.median(whole):.1f} | {statistics.median(held):.2f} | {max(held):.2f}"


def main():
    pyscope = sys.argv[1] if len(sys.argv) > 1 else roots.HERE.parent / "build/release/pyscope"
    _, _, root, executable = next(interpreter for interpreter in roots.interpreters() if interpreter[0] == "3.14")
    print("| threads | options | whole, ms | held, ms | longest |\n| ---: | --- | ---: | ---: | ---: |")
    for sleepers, times in [(1, 200), (500, 30)]:
        target = subprocess.Popen(["chroot", root, executable, "-c", SLEEPERS, str(sleepers)], stdout=subprocess.PIPE)
        try:
            target.stdout.readline()
            for options in OPTIONS:
                print(f"| {sleepers + 1} | `{' '.join(options)}` | {measure(pyscope, target.pid, options, times)} |")
        finally:
            target.kill()
            target.wait()


if __name__ == "__main__":
    main()
