#!/usr/bin/env python3
"""Times pyscope against its peers: the same targets, the same run, in random order.

    sudo bench/compare.py [--rounds N] [--only TARGET] [--output FOLDER]

Builds nothing: takes build/release/pyscope. Fetches py-spy, pystack and austin (versions below) by pip, and the interpreters by
scripts/interpreters.sh. CPython's own tools are those of the target's version: `python3.15 -m profiling.sampling dump`,
and a process that calls _remote_debugging.RemoteUnwinder once.

Every tool runs as a process of its own, in the root of the target's interpreter, and writes to a file in memory. Before
it is timed, its output must name a function that the target is in, else it counts as failed. A peak below that of
this script isn't seen: a process that is spawned begins with what its parent had. Writes a Markdown table
(compare.md) and a plot (compare.svg) into FOLDER.
"""

import argparse
import ctypes
import json
import mmap
import os
import pathlib
import random
import re
import resource  # noqa: F401: os.wait4 imports it, which fails in another root
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
PEERS = {"py-spy": "0.4.3", "pystack": "1.7.2", "austin-dist": "4.0.0"}
MINORS = ["3.14", "3.15"]
PATH = os.environ["PATH"]
TARGETS = {"tiny": "level_1", "web": "level_20", "crowd": "level_40", "deep": "descend"}
UNWIND_ONCE = """
import sys, _remote_debugging
unwinder = _remote_debugging.RemoteUnwinder(int(sys.argv[1]), all_threads=True)
for interpreter in unwinder.get_stack_trace():
    threads = getattr(interpreter, 'threads', [interpreter])
    for thread in threads:
        frames = getattr(thread, 'frame_info', None) or thread[-1]
        for frame in frames: print(frame)
"""


def say(*words):
    print("compare:", *words, file=sys.stderr, flush=True)


def interpreters():
    manifest = subprocess.run([HERE.parent / "scripts/interpreters.sh"], check=True, capture_output=True, text=True)
    for line in pathlib.Path(manifest.stdout.strip()).read_text().splitlines():
        version, kind, root, executable = line.split("\t")
        minor = ".".join(version.split(".")[:2])
        if kind == "release" and minor in MINORS and root != "/":
            yield minor, version, pathlib.Path(root), executable


def fetch_peers(folder):
    """Unpacks the peers' wheels, and what pystack needs, into a folder of the root."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", folder, "--python-version", "3.14",
         "--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64",
         "--platform", "manylinux2010_x86_64", *(f"{name}=={version}" for name, version in PEERS.items())],
        check=True)


def enter_private_mounts(roots):
    """Gives each root a /proc that nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 1 << 18
    if libc.unshare(clone_newns) or libc.mount(b"none", b"/", None, ms_rec | ms_private, None):
        raise SystemExit(f"compare: unshare: {os.strerror(ctypes.get_errno())}: run this as root")
    for root in roots:
        if libc.mount(b"proc", os.fsencode(root / "proc"), b"proc", 0, None):
            raise SystemExit(f"compare: mounting /proc: {os.strerror(ctypes.get_errno())}")


class Root:
    """One interpreter's root, in which targets and tools run."""

    def __init__(self, minor, version, path, executable):
        self.minor, self.version, self.path, self.executable = minor, version, path, executable
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pyscope-bench-", dir=path / "tmp"))
        self.inside = "/" + str(self.folder.relative_to(path))
        shutil.copy(HERE / "targets.py", self.folder)
        shutil.copy(HERE.parent / "build/release/pyscope", self.folder)
        (self.folder / "once.py").write_text(UNWIND_ONCE)
        fetch_peers(self.folder / "peers")
        # The library that pystack's wheel takes from the system, which the root doesn't have.
        for name in ("libstdc++.so.6", "libgcc_s.so.1"):
            for folder in pathlib.Path("/usr/lib").glob("*-linux-gnu"):
                if (folder / name).exists():
                    shutil.copy(folder / name, self.folder / "peers")

    def tools(self, pid):
        inside, python = self.inside, self.executable
        peers = inside + "/peers"
        tools = {
            "pyscope": [f"{inside}/pyscope", "dump", pid],
            "pyscope --pause=all": [f"{inside}/pyscope", "dump", "--pause=all", pid],
            "py-spy": [f"{peers}/bin/py-spy", "dump", "-p", pid],
            "py-spy --nonblocking": [f"{peers}/bin/py-spy", "dump", "--nonblocking", "-p", pid],
            "pystack": [python, "-m", "pystack", "remote", pid],
            "pystack --no-block": [python, "-m", "pystack", "remote", "--no-block", pid],
            "austin": [f"{peers}/bin/austin", "-w", pid],
            "RemoteUnwinder process": [python, "-IS", f"{inside}/once.py", pid],
        }
        if self.minor == "3.15":
            dump = [python, "-m", "profiling.sampling", "dump", "-a"]
            tools["profiling.sampling dump"] = [*dump, pid]
            tools["profiling.sampling dump --blocking"] = [*dump, "--blocking", pid]
        return tools

    def environment(self):
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "PYTHONPATH": self.inside + "/peers",
                "LD_LIBRARY_PATH": self.inside + "/peers", "NO_COLOR": "1"}

    def enter(self):
        """Makes it the root of this process, so that what it spawns need not change roots, which takes a fork."""
        self.outside = os.open("/", os.O_RDONLY)
        os.chroot(self.path)
        os.chdir("/")

    def start(self, *arguments):
        child = subprocess.Popen([self.executable, f"{self.inside}/targets.py", *arguments], stdout=subprocess.PIPE,
                                 env=self.environment(), cwd="/")
        if child.stdout.readline() != b"ready\n":
            raise SystemExit(f"compare: the target {arguments} did not start")
        return child


class Run:
    """One run of a tool: what it cost and what it printed."""

    def __init__(self, root, command, output):
        output.seek(0)
        output.truncate()
        to_output = [(os.POSIX_SPAWN_DUP2, output.fileno(), end) for end in (1, 2)]
        begin = time.perf_counter()
        pid = os.posix_spawn(command[0], command, root.environment(), file_actions=to_output)
        _, status, usage = os.wait4(pid, 0)
        self.wall_ms = (time.perf_counter() - begin) * 1000
        self.status = os.waitstatus_to_exitcode(status)
        self.cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000
        self.peak_mib = usage.ru_maxrss / 1024


def system_calls(root, command):
    def leave():
        os.fchdir(root.outside)
        os.chroot(".")

    try:
        trace = subprocess.run(["strace", "-f", "-c", "-o", "/dev/stdout", "chroot", str(root.path), *command],
                               capture_output=True, text=True, preexec_fn=leave,
                               env={**root.environment(), "PATH": PATH, "LD_LIBRARY_PATH": ""})
    except OSError:
        return None
    found = re.findall(r"^100\.00\s+\S+\s+\d*\s+(\d+)", trace.stdout, re.MULTILINE)
    return int(found[-1]) if found else None


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


def measure(root, target, marker, rounds, rows):
    child = root.start(target)
    output = os.fdopen(os.memfd_create("output"), "w+b")
    try:
        good = {}
        for name, command in root.tools(str(child.pid)).items():
            run = Run(root, command, output)
            output.seek(0)
            text = output.read().decode(errors="replace")
            if run.status == 0 and marker in text:
                good[name] = command
            else:
                last = (text.strip().splitlines() or ["no output"])[-1]
                rows.append({"target": target, "version": root.version, "tool": name, "failed": f"status {run.status}: {last[:90]}"})
                say(root.version, target, name, "fails:", last[:200])
        runs = {name: [] for name in good}
        for number in range(rounds):
            for name in random.sample(list(good), len(good)):
                # A tool that takes seconds says the same in fewer rounds.
                if number >= 5 and statistics.median(r.wall_ms for r in runs[name]) > 2000:
                    continue
                runs[name].append(Run(root, good[name], output))
        for name, measured in runs.items():
            stopped = []
            for _ in range(5):
                with StandStill(child.pid) as watch:
                    Run(root, good[name], output)
                stopped.append(watch.stopped * 1000)
            walls = sorted(r.wall_ms for r in measured)
            rows.append({
                "target": target, "version": root.version, "tool": name, "runs": len(walls),
                "p50": statistics.median(walls), "min": walls[0], "p90": walls[int(len(walls) * 0.9)],
                "cpu": statistics.median(r.cpu_ms for r in measured),
                "peak": max(r.peak_mib for r in measured),
                "calls": system_calls(root, good[name]),
                "stopped": statistics.median(stopped),
            })
            say(root.version, target, name, f"{rows[-1]['p50']:.2f} ms")
    finally:
        child.kill()
        child.wait()
        output.close()


def slowdown(root, rows):
    """How much of its pace a busy target loses while it is dumped ten times a second."""
    file = pathlib.Path(root.inside) / "rounds"
    file.write_bytes(bytes(8))
    child = root.start("spin", f"{root.inside}/rounds")
    output = os.fdopen(os.memfd_create("output"), "w+b")
    with open(file, "r+b") as opened:
        counter = mmap.mmap(opened.fileno(), 8)

    def pace(command, seconds=1.0):
        begin, rounds = time.perf_counter(), struct.unpack("Q", counter[:8])[0]
        while (left := begin + seconds - time.perf_counter()) > 0:
            if command:
                Run(root, command, output)
            time.sleep(min(0.1, max(left, 0)))
        return (struct.unpack("Q", counter[:8])[0] - rounds) / (time.perf_counter() - begin)

    try:
        tools = {name: command for name, command in root.tools(str(child.pid)).items()
                 if Run(root, command, output).status == 0}
        ratios = {name: [] for name in tools}
        for _ in range(5):
            for name in random.sample(list(tools), len(tools)):
                before, during, after = pace(None), pace(tools[name]), pace(None)
                ratios[name].append(2 * during / (before + after))
        for name, values in ratios.items():
            rows.append({"version": root.version, "tool": name, "pace": statistics.median(values),
                         "low": min(values), "high": max(values)})
    finally:
        child.kill()
        child.wait()


def markdown(rows, paces, rounds):
    lines = [f"{rounds} runs of each, in random order. Times in milliseconds; × is the ratio to pyscope.", ""]
    for version in dict.fromkeys(row["version"] for row in rows):
        for target in TARGETS:
            part = [row for row in rows if row["target"] == target and row["version"] == version]
            if not part:
                continue
            own = next((row["p50"] for row in part if row["tool"] == "pyscope"), None)
            lines += [f"**{target}, CPython {version}**", "",
                      "| tool | wall p50 (min to p90) | × | CPU | system calls | peak MiB | target stood still |",
                      "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
            for row in sorted(part, key=lambda row: row.get("p50", 1e9)):
                if "failed" in row:
                    lines.append(f"| {row['tool']} | fails: {row['failed'].replace('|', '/')} | | | | | |")
                    continue
                ratio = f"{row['p50'] / own:.1f}" if own else ""
                calls = "" if row["calls"] is None else f"{row['calls']:,}"
                lines.append(f"| {row['tool']} | {row['p50']:.2f} ({row['min']:.2f} to {row['p90']:.2f}) | {ratio} | "
                             f"{row['cpu']:.1f} | {calls} | {row['peak']:.0f} | {row['stopped']:.2f} |")
            lines.append("")
    if paces:
        lines += ["Pace of a busy target while it is dumped ten times a second, against before and after:", "",
                  "| tool | CPython | pace (lowest to highest of 5) |", "| --- | --- | ---: |"]
        lines += [f"| {row['tool']} | {row['version']} | {row['pace']:.2f} ({row['low']:.2f} to {row['high']:.2f}) |" for row in paces]
        lines.append("")
    return "\n".join(lines)


def svg(rows):
    """Bars on a logarithmic scale, the newest version only."""
    version = rows[-1]["version"]
    bars = []
    for target in TARGETS:
        part = [r for r in rows if r["target"] == target and r["version"] == version and "p50" in r]
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
    parser.add_argument("--only", choices=TARGETS)
    parser.add_argument("--no-pace", action="store_true", help="leave out the pace of a busy target")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parent / "build/compare")
    options = parser.parse_args()
    found = list(interpreters())
    enter_private_mounts([path for _, _, path, _ in found])
    roots, rows, paces = [], [], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for one in found:
            roots.append(Root(*one))
            here, there = os.pipe()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    roots[-1].enter()
                    for target, marker in TARGETS.items():
                        if options.only in (None, target):
                            measure(roots[-1], target, marker, options.rounds, rows)
                    if not options.no_pace:
                        slowdown(roots[-1], paces)
                    with os.fdopen(there, "wb") as pipe:
                        pipe.write(json.dumps([rows, paces]).encode())
                    status = 0
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            os.close(there)
            with os.fdopen(here, "rb") as pipe:
                answer = pipe.read()
            if os.waitpid(child, 0)[1] != 0:
                raise SystemExit("compare: failed, see above")
            rows, paces = json.loads(answer)
    finally:
        for root in roots:
            shutil.rmtree(root.folder, ignore_errors=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "compare.md").write_text(markdown(rows, paces, options.rounds))
    (options.output / "compare.svg").write_text(svg(rows))
    print(markdown(rows, paces, options.rounds))


if __name__ == "__main__":
    main()
