#!/usr/bin/env python3
"""Dumps programs that never hold still: how often is something not verified, and what does a dump take?

    sudo bench/hot.py [--dumps N] [--hogs N] [--pyscope FILE] [--python 3.14]

Each program runs on a release build of CPython from the interpreters' cache (scripts/interpreters.sh). It is dumped as often as --dumps says
(1,000), beside so many processes that compute (--hogs). Then the target is dumped for a second each, 10 and 100 times a second, and the
rounds that it makes meanwhile are compared with those that it makes alone. Prints a Markdown table.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

COUNTING = """
import mmap, sys
_file = open(sys.argv[1], "r+b")
_rounds = memoryview(mmap.mmap(_file.fileno(), 8)).cast("Q")
def counted():
    _rounds[0] += 1
"""
PROGRAMS = {
    "asleep": "import time\ndef f(n):\n    return f(n - 1) if n else time.sleep(1000)\nf(30)",
    "recursive generator": """
def g(n):
    if n: yield from g(n - 1)
    yield n
while True: sum(g(30)); counted()
""",
    "sorted with a key": """
import random
numbers = [random.random() for _ in range(1000)]
def key(x): return -x
while True: sorted(numbers, key=key); counted()
""",
    "recursion": "def r(n): return r(n - 1) if n else 0\nwhile True: r(500); counted()",
    "regex": """
import re
pattern = re.compile(r"(a+)(b+)(c+)")
text = "aaabbbccc" * 20
while True: pattern.sub(lambda m: m.group(2), text); counted()
""",
    "json": """
import json
document = {"a": [1, 2, {"b": "c" * 20}] * 20}
class Encoder(json.JSONEncoder): pass
while True: json.loads(json.dumps(document, indent=1, cls=Encoder)); counted()
""",
    "asyncio": """
import asyncio
async def leaf(n):
    await asyncio.sleep(0)
    return n
async def main():
    while True:
        await asyncio.gather(*(leaf(n) for n in range(20))); counted()
asyncio.run(main())
""",
    "16 threads": """
import threading
def work():
    n = 0
    while True: n += 1; counted()
for _ in range(16): threading.Thread(target=work).start()
""",
}


class Target:
    def __init__(self, root, python, source):
        self.rounds = tempfile.NamedTemporaryFile(dir=root / "tmp")
        self.rounds.write(bytes(8))
        self.rounds.flush()
        self.script = tempfile.NamedTemporaryFile("w", suffix=".py", dir=root / "tmp")
        self.script.write(COUNTING + source)
        self.script.flush()
        inside = lambda path: "/" + str(pathlib.Path(path).relative_to(root))
        self.child = subprocess.Popen(["chroot", str(root), python, inside(self.script.name), inside(self.rounds.name)])
        time.sleep(0.7)

    def count(self):
        with open(self.rounds.name, "rb") as file:
            return int.from_bytes(file.read(8), sys.byteorder)

    def rate(self, seconds, act=None, interval=None):
        begin, before = time.monotonic(), self.count()
        due = begin
        while time.monotonic() - begin < seconds:
            if act is None:
                time.sleep(0.05)
                continue
            act()
            due += interval
            time.sleep(max(0, due - time.monotonic()))
        return (self.count() - before) / (time.monotonic() - begin)

    def end(self):
        self.child.kill()
        self.child.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dumps", type=int, default=1000)
    parser.add_argument("--hogs", type=int, default=0)
    parser.add_argument("--pyscope", default=str(REPOSITORY / "build/release/pyscope"))
    parser.add_argument("--python", default="3.14")
    arguments = parser.parse_args()
    manifest = subprocess.run([REPOSITORY / "scripts/interpreters.sh"], check=True, capture_output=True, text=True).stdout.strip()
    rows = [line.rstrip("\n").split("\t") for line in open(manifest)]
    root, python = next((pathlib.Path(row[2]), row[3]) for row in rows
                        if row[0].startswith(arguments.python) and row[1] == "release")
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.hogs)]
    print("| program | dumps | status 6 | not of one instant | median ms | 9 of 10 | us preempted | slower at 10/s | at 100/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    try:
        for name, source in PROGRAMS.items():
            target = Target(root, python, source)
            command = [arguments.pyscope, "dump", "--json", str(target.child.pid)]
            times, partial, apart, preempted = [], 0, 0, []
            for _ in range(arguments.dumps):
                begin = time.perf_counter()
                done = subprocess.run(command, capture_output=True)
                times.append((time.perf_counter() - begin) * 1e3)
                capture = json.loads(done.stdout)["capture"]
                partial += done.returncode == 6
                apart += not capture["one_instant"]
                preempted.append(capture["preempted_us"])
            slower = []
            for interval in (0.1, 0.01):
                alone = target.rate(1)
                if alone == 0:
                    slower.append("")
                    continue
                beside = target.rate(1, lambda: subprocess.run(command, capture_output=True), interval)
                slower.append(f"{max(0.0, 1 - beside / alone):.1%}")
            target.end()
            times.sort()
            print(f"| {name} | {len(times)} | {partial} | {apart} | {statistics.median(times):.1f} | {times[len(times) * 9 // 10]:.1f} | "
                  f"{statistics.mean(preempted):.0f} | {slower[0]} | {slower[1]} |", flush=True)
    finally:
        for hog in hogs:
            hog.kill()


if __name__ == "__main__":
    main()
