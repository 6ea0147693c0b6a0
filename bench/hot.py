#!/usr/bin/env python3
"""Dumps programs that never hold still: how often is something not verified, and what does a dump take?

    sudo bench/hot.py [--dumps N] [--hogs N] [--pyscope FILE] [--python 3.14]

Each program runs on a release build of CPython from the interpreters' cache (scripts/interpreters.sh). It is dumped as often as --dumps says
(1,000), beside so many processes that compute (--hogs), and again while it sleeps. Before that, the target is dumped for a second each, 10 and 100 times a second, and the
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
import mmap, sys, time
_file = open(sys.argv[1], "r+b")
_rounds, _asleep = (memoryview(mmap.mmap(_file.fileno(), 16)).cast("Q")[n:n + 1] for n in (0, 1))
def counted():
    while _asleep[0]: time.sleep(0.05)
    _rounds[0] += 1
"""
PROGRAMS = {
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
    "numpy in a loop": """
import numpy
numbers = numpy.arange(1000.0)
while True: numpy.sqrt(numbers * 2 + 1).sum(); counted()
""",
    "the demo": (REPOSITORY / "examples/sample_service.py").read_text(),
}


def fetch_numpy(root, python):
    """A folder of the root with numpy in it."""
    folder = tempfile.TemporaryDirectory(prefix="pyscope-bench-", dir=root / "tmp")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder.name, "--only-binary=:all:", "--python-version",
                    python.rpartition("python")[2], "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_27_x86_64", "numpy"],
                   check=True)
    return folder


class Target:
    def __init__(self, root, python, source, modules):
        self.rounds = tempfile.NamedTemporaryFile(dir=root / "tmp")
        self.rounds.write(bytes(16))
        self.rounds.flush()
        self.script = tempfile.NamedTemporaryFile("w", suffix=".py", dir=root / "tmp")
        self.script.write(COUNTING + source)
        self.script.flush()
        inside = lambda path: "/" + str(pathlib.Path(path).relative_to(root))
        self.child = subprocess.Popen(["chroot", str(root), python, inside(self.script.name), inside(self.rounds.name)],
                                      stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": inside(modules)})
        time.sleep(0.7)

    def count(self):
        with open(self.rounds.name, "rb") as file:
            return int.from_bytes(file.read(8), sys.byteorder)

    def sleep(self, asleep):
        with open(self.rounds.name, "r+b") as file:
            file.seek(8)
            file.write(asleep.to_bytes(8, sys.byteorder))
        time.sleep(0.3)

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


def dump(command):
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True)
    return (time.perf_counter() - begin) * 1e3, done


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
    modules = fetch_numpy(root, python)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.hogs)]
    print("| program | dumps | status 6 | not of one instant | median ms | 9 of 10 | asleep: median ms | ratio | us preempted | slower at 10/s | at 100/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    try:
        for name, source in PROGRAMS.items():
            target = Target(root, python, source, modules.name)
            command = [arguments.pyscope, "dump", "--json", str(target.child.pid)]
            hot, partial, apart, preempted = [], 0, 0, []
            for _ in range(arguments.dumps):
                took, done = dump(command)
                capture = json.loads(done.stdout)["capture"]
                hot.append(took)
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
            # Each program but the demo, which is left as it is, sleeps when it is told to.
            asleep = []
            if target.count() > 0:
                target.sleep(True)
                asleep = [dump(command)[0] for _ in range(max(1, arguments.dumps // 4))]
            target.end()
            hot.sort()
            median = statistics.median(hot)
            resting = f"{statistics.median(asleep):.1f} | {median / statistics.median(asleep):.2f}" if asleep else " |"
            print(f"| {name} | {len(hot)} | {partial} | {apart} | {median:.1f} | {hot[len(hot) * 9 // 10]:.1f} | {resting} | "
                  f"{statistics.mean(preempted):.0f} | {slower[0]} | {slower[1]} |", flush=True)
    finally:
        for hog in hogs:
            hog.kill()


if __name__ == "__main__":
    main()
