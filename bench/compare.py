#!/usr/bin/env python3
"""Times pyscope against its peers: the same targets, the same run, in random order.

    sudo bench/compare.py [--rounds N] [--only TARGET] [--output FOLDER]

Builds nothing: takes build/release/pyscope. Fetches py-spy, pystack and austin (versions in roots.py) by pip, and the interpreters by
scripts/interpreters.sh. CPython's own tools are those of the target's version: `python3.15 -m profiling.sampling dump`,
and a process that calls _remote_debugging.RemoteUnwinder once. What one call of that costs without the process is in a row apart.

Every tool runs as a process of its own, in the root of the target's interpreter, and writes to a file in memory. Before
it is timed, its output must name a function that the target is in, else it counts as failed. System calls and the peak of
memory are taken from runs of their own, which aren't timed. Writes a Markdown table (compare.md) and a plot (compare.svg)
into FOLDER.
"""

import argparse
import functools
import mmap
import os
import pathlib
import random
import re
import signal
import statistics
import struct
import subprocess
import threading
import time

import peak_memory
from roots import HERE, Run, Unwinder, in_each_root, say, text_of

PATH = os.environ["PATH"]
TARGETS = {"tiny": "level_1", "web": "level_20", "crowd": "level_40", "deep": "descend"}
# A row apart: no process is started, and nothing is printed.
IN_PROCESS = "RemoteUnwinder in process"
UNWIND_ONCE = """
import sys, _remote_debugging
unwinder = _remote_debugging.RemoteUnwinder(int(sys.argv[1]), all_threads=True)
for interpreter in unwinder.get_stack_trace():
    threads = getattr(interpreter, 'threads', [interpreter])
    for thread in threads:
        frames = getattr(thread, 'frame_info', None) or thread[-1]
        for frame in frames: print(frame)
"""


def tools_of(root, pid):
    inside, python = root.inside, root.executable
    tools = {
        "pyscope": [f"{inside}/pyscope", "dump", pid],
        "pyscope --pause=all": [f"{inside}/pyscope", "dump", "--pause=all", pid],
        "pyscope --native": [f"{inside}/pyscope", "dump", "--native", pid],
        "py-spy": [root.peer("py-spy"), "dump", "-p", pid],
        "py-spy --nonblocking": [root.peer("py-spy"), "dump", "--nonblocking", "-p", pid],
        "py-spy --native": [root.peer("py-spy"), "dump", "--native", "-p", pid],
        "pystack": [python, "-m", "pystack", "remote", pid],
        "pystack --no-block": [python, "-m", "pystack", "remote", "--no-block", pid],
        "pystack --native": [python, "-m", "pystack", "remote", "--native", pid],
        "austin": [root.peer("austin"), "-w", pid],
        "RemoteUnwinder process": [python, "-ISc", UNWIND_ONCE, pid],
    }
    if root.minor == "3.15":
        dump = [python, "-m", "profiling.sampling", "dump", "-a"]
        tools["profiling.sampling dump"] = [*dump, pid]
        tools["profiling.sampling dump --blocking"] = [*dump, "--blocking", pid]
    return tools


def start_target(root, *arguments):
    child = root.start("targets.py", *arguments)
    if child.stdout.readline() != "ready\n":
        raise RuntimeError(f"the target {arguments} did not start")
    return child


def system_calls(root, command):
    try:
        trace = subprocess.run(["strace", "-f", "-c", "-o", "/dev/stdout", "chroot", str(root.path), *command],
                               capture_output=True, text=True, preexec_fn=root.leave,
                               env={**root.environment(), "PATH": PATH, "LD_LIBRARY_PATH": ""})
    except OSError:
        return None
    found = re.findall(r"^100\.00\s+\S+\s+\d*\s+(\d+)", trace.stdout, re.MULTILINE)
    return int(found[-1]) if found else None


def peak_mib(root, command, output):
    _, peak = peak_memory.run(command, output, root.environment())
    return peak / 1024


class StandStill:
    """Watches a thread's state while a tool runs: for how long it stood still for a tracer."""

    def __init__(self, pid):
        self.path = f"/proc/{pid}/stat"
        self.stopped = 0.0
        self.over = False

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        with open(self.path, "rb", buffering=0) as file:
            last = time.perf_counter()
            while not self.over:
                state = os.pread(file.fileno(), 512, 0).rpartition(b")")[2].split()[0]
                now = time.perf_counter()
                if state in b"tT":
                    self.stopped += now - last
                last = now

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


class InProcess:
    """One call of a RemoteUnwinder that was started before: the cost of the reading alone."""

    def __init__(self, unwinder):
        # A stack that changed while it was read is an error: such a call isn't timed.
        for _ in range(50):
            answer = unwinder.ask("time")
            if "wall_ms" in answer:
                break
        self.wall_ms, self.cpu_ms = answer["wall_ms"], answer["cpu_ms"]


def measure(root, target, marker, rounds, rows):
    child = start_target(root, target)
    unwinder = Unwinder(root, child.pid)
    output = os.fdopen(os.memfd_create("output"), "w+b")

    def fails(name, why):
        rows.append({"target": target, "version": root.version, "tool": name, "failed": why[:100]})
        say(root.version, target, name, "fails:", why[:200])

    try:
        commands = {}
        for name, command in tools_of(root, str(child.pid)).items():
            run = Run(root, command, output)
            text = text_of(output)
            if run.status == 0 and marker in text:
                commands[name] = command
            else:
                fails(name, f"status {run.status}: {(text.strip().splitlines() or ['no output'])[-1]}")
        ways = {name: functools.partial(Run, root, command, output) for name, command in commands.items()}
        seen = unwinder.ask("stacks")
        if "failed" in seen:
            fails(IN_PROCESS, seen["failed"])
        elif marker not in str(seen):
            fails(IN_PROCESS, f"no {marker}")
        else:
            unwinder.ask("time")
            ways[IN_PROCESS] = functools.partial(InProcess, unwinder)
        runs = {name: [] for name in ways}
        for number in range(rounds):
            for name in random.sample(list(ways), len(ways)):
                # A tool that takes seconds says the same in fewer rounds.
                if number >= 5 and statistics.median(r.wall_ms for r in runs[name]) > 2000:
                    continue
                runs[name].append(ways[name]())
        for name, measured in runs.items():
            stopped = []
            for _ in range(5):
                with StandStill(child.pid) as watch:
                    ways[name]()
                stopped.append(watch.stopped * 1000)
            walls = sorted(r.wall_ms for r in measured)
            command = commands.get(name)
            rows.append({
                "target": target, "version": root.version, "tool": name, "runs": len(walls),
                "p50": statistics.median(walls), "min": walls[0], "p90": walls[int(len(walls) * 0.9)],
                "cpu": statistics.median(r.cpu_ms for r in measured),
                "peak": command and peak_mib(root, command, output),
                "calls": command and system_calls(root, command),
                "stopped": statistics.median(stopped),
            })
            say(root.version, target, name, f"{rows[-1]['p50']:.3f} ms")
    finally:
        unwinder.end()
        child.kill()
        child.wait()
        output.close()


def samplers_of(root, pid, rate):
    """What looks again and again in one process: ends after a second by itself, or else at SIGINT."""
    inside, python = root.inside, root.executable
    samplers = {
        "pyscope dump --watch": [f"{inside}/pyscope", "dump", pid, "--watch", str(1 / rate)],
        "py-spy record": [root.peer("py-spy"), "record", "-p", pid, "-r", str(rate), "-d", "1", "-f", "raw", "-o", "/dev/null"],
        "py-spy record --nonblocking": [root.peer("py-spy"), "record", "--nonblocking", "-p", pid, "-r", str(rate), "-d", "1",
                                        "-f", "raw", "-o", "/dev/null"],
    }
    if rate == 100:
        samplers["pyscope why"] = [f"{inside}/pyscope", "why", pid, "--duration", "1s"]
    if root.minor == "3.15":
        attach = [python, "-m", "profiling.sampling", "attach", "-a", "-r", str(rate), "-d", "1", "--collapsed", "-o", "/dev/null"]
        samplers["profiling.sampling attach"] = [*attach, pid]
        samplers["profiling.sampling attach --blocking"] = [*attach, "--blocking", pid]
    return samplers


class Pace:
    """How fast a busy target goes: the rounds that it keeps in a file."""

    def __init__(self, root):
        file = pathlib.Path(root.inside) / "rounds"
        file.write_bytes(bytes(8))
        self.root = root
        self.child = start_target(root, "spin", f"{root.inside}/rounds")
        self.output = os.fdopen(os.memfd_create("output"), "w+b")
        with open(file, "r+b") as opened:
            self.counter = mmap.mmap(opened.fileno(), 8)

    def end(self):
        self.child.kill()
        self.child.wait()
        self.output.close()

    def rounds_while(self, work):
        """Rounds in a second, and what `work` returns in a second."""
        begin, rounds = time.perf_counter(), struct.unpack("Q", self.counter[:8])[0]
        done = work()
        seconds = time.perf_counter() - begin
        return (struct.unpack("Q", self.counter[:8])[0] - rounds) / seconds, done / seconds

    def alone(self):
        time.sleep(0.5)
        return 0

    def dumps(self, command, rate):
        begin = due = time.perf_counter()
        number = 0
        while time.perf_counter() - begin < 1:
            Run(self.root, command, self.output)
            number += 1
            due += 1 / rate
            time.sleep(max(0, due - time.perf_counter()))
        return number

    def samples(self, command, rate):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.root.environment())
        if "--watch" in command:
            time.sleep(1)
            child.send_signal(signal.SIGINT)
        child.wait()
        return rate


def slowdown(root, rounds, rows):
    """How much of its pace a busy target loses while it is dumped ten and a hundred times a second."""
    pace = Pace(root)
    pid = str(pace.child.pid)
    try:
        commands = [(name, command, rate, pace.dumps) for rate in (10, 100) for name, command in tools_of(root, pid).items()
                    if Run(root, command, pace.output).status == 0]
        commands += [(name, command, rate, pace.samples) for rate in (10, 100)
                     for name, command in samplers_of(root, pid, rate).items()]
        measured = {(name, rate): [] for name, _, rate, _ in commands}
        for _ in range(rounds):
            for name, command, rate, work in random.sample(commands, len(commands)):
                before, _ = pace.rounds_while(pace.alone)
                during, done = pace.rounds_while(lambda: work(command, rate))
                after, _ = pace.rounds_while(pace.alone)
                measured[name, rate].append((2 * during / (before + after), done))
        for (name, rate), values in measured.items():
            ratios = [ratio for ratio, _ in values]
            sampled = any(name == one and rate == other and work == pace.samples for one, _, other, work in commands)
            rows.append({"version": root.version, "tool": name, "rate": rate, "pace": statistics.median(ratios), "low": min(ratios),
                         "high": max(ratios), "done": None if sampled else statistics.median(done for _, done in values)})
    finally:
        pace.end()


def markdown(rows, paces, rounds):
    lines = [f"{rounds} runs of each, in random order. Times in milliseconds; × is the ratio to pyscope. {IN_PROCESS}: one call of an",
             "unwinder that has been called before; no process start, no output: not comparable with the rows of processes.", ""]
    for version in dict.fromkeys(row["version"] for row in rows):
        for target in TARGETS:
            part = [row for row in rows if row["target"] == target and row["version"] == version]
            if not part:
                continue
            own = next((row["p50"] for row in part if row["tool"] == "pyscope"), None)
            lines += [f"**{target}, CPython {version}**", "",
                      "| tool | wall p50 (min to p90) | × | CPU | system calls | peak MiB | target stood still |",
                      "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
            for row in sorted(part, key=lambda row: (row["tool"] == IN_PROCESS, row.get("p50", 1e9))):
                if "failed" in row:
                    lines.append(f"| {row['tool']} | fails: {row['failed'].replace('|', '/')} | | | | | |")
                    continue
                if row["tool"] == IN_PROCESS:
                    lines.append(f"| {row['tool']} (not comparable, see above) | {row['p50']:.3f} ({row['min']:.3f} to {row['p90']:.3f}) | | "
                                 f"{row['cpu']:.3f} | | | {row['stopped']:.2f} |")
                    continue
                ratio = f"{row['p50'] / own:.1f}" if own else ""
                calls = "" if row["calls"] is None else f"{row['calls']:,}"
                lines.append(f"| {row['tool']} | {row['p50']:.2f} ({row['min']:.2f} to {row['p90']:.2f}) | {ratio} | "
                             f"{row['cpu']:.1f} | {calls} | {row['peak']:.1f} | {row['stopped']:.2f} |")
            lines.append("")
    if paces:
        lines += ["Pace of a busy target while it is looked at, against before and after. The rate is what was asked for; where a process for each",
                  "dump takes too long for that, what it came to is in brackets.", "",
                  "| CPython | times a second | tool | pace (lowest to highest) |", "| --- | ---: | --- | ---: |"]
        for row in sorted(paces, key=lambda row: (row["version"], row["rate"], -row["pace"])):
            came_to = "" if row["done"] is None or row["done"] > 0.9 * row["rate"] else f" ({row['done']:.0f})"
            lines.append(f"| {row['version']} | {row['rate']}{came_to} | {row['tool']} | {row['pace']:.3f} ({row['low']:.3f} to {row['high']:.3f}) |")
        lines.append("")
    return "\n".join(lines)


def svg(rows):
    """Bars on a logarithmic scale, the newest version only, of what is comparable."""
    version = rows[-1]["version"]
    bars = []
    for target in TARGETS:
        part = [r for r in rows if r["target"] == target and r["version"] == version and "p50" in r and r["tool"] != IN_PROCESS]
        bars += [(target, r["tool"], r["p50"]) for r in sorted(part, key=lambda r: r["p50"])] + [None]
    width, left, height = 900, 310, 16 * len(bars) + 50
    scale = (width - left - 80) / 4.0  # 1 ms to 10 s
    from math import log10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="18" font-size="13">Wall time of one dump, CPython {version}, median in ms (logarithmic)</text>']
    for power in range(5):
        x = left + power * scale
        out.append(f'<line x1="{x}" y1="28" x2="{x}" y2="{height - 10}" stroke="#ddd"/><text x="{x}" y="{height}" text-anchor="middle">{10 ** power}</text>')
    y = 32
    for bar in bars:
        if bar:
            target, tool, value = bar
            length = max(2.0, log10(max(value, 1.0)) * scale)
            colour = "#2a7" if tool.startswith("pyscope") else "#789"
            out.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{target}: {tool}</text>'
                       f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="12" fill="{colour}"/>'
                       f'<text x="{left + length + 4:.1f}" y="{y + 12}">{value:.1f}</text>')
        y += 16
    return "\n".join([*out, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", choices=[*TARGETS, "pace"])
    parser.add_argument("--no-pace", action="store_true", help="leave out the pace of a busy target")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parent / "build/compare")
    options = parser.parse_args()

    def work(root):
        rows, paces = [], []
        for target, marker in TARGETS.items():
            if options.only in (None, target):
                measure(root, target, marker, options.rounds, rows)
        if not options.no_pace and options.only in (None, "pace"):
            slowdown(root, min(5, options.rounds), paces)
        return rows, paces

    results = in_each_root([HERE / "targets.py", HERE.parent / "build/release/pyscope"], work)
    rows = [row for one, _ in results for row in one]
    paces = [pace for _, one in results for pace in one]
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "compare.md").write_text(markdown(rows, paces, options.rounds))
    if rows:
        (options.output / "compare.svg").write_text(svg(rows))
    print(markdown(rows, paces, options.rounds))


if __name__ == "__main__":
    main()
