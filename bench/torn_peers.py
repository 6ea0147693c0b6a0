#!/usr/bin/env python3
"""Are the stacks possible that pyscope's peers read of threads that never hold still?

    sudo bench/torn_peers.py [--snapshots N] [--calls N] [KIND...]

Takes N snapshots with each of py-spy, pystack and austin, none of which stops the target for it, and N with a new
_remote_debugging.RemoteUnwinder each, inside a process of the target's version. The target is tests/live/programs/torn.py,
and the judge of the stacks is that of pyscope's own: build/bench/bench/torn_stacks. Then the same of a target that is stopped,
where nothing can tear: what is wrong there is not for want of holding still. Prints a Markdown table.

A stack is impossible if it breaks the rule of who may call whom from which line, and cut short if the frame in which such a
thread begins is missing. Stacks that the tool itself marks as incomplete are counted apart, and not judged. What was found,
and the reasons of failures, are told on stderr.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from roots import HERE, Run, Unwinder, in_each_root, say, text_of

JUDGE = HERE.parent / "build/bench/bench/torn_stacks"
# What 3.14's RemoteUnwinder never shows: the frames below the one in which C code calls Python, here Context.run.
ENDS = {("RemoteUnwinder in process", "3.14"): "Thread.run"}


class Failure(Exception):
    pass


def from_py_spy(text):
    return [(thread["os_thread_id"], [[frame["name"], frame["filename"], frame["line"]] for frame in thread["frames"]])
            for thread in json.loads(text)]


def from_pystack(text):
    # It prints names that aren't qualified, but only of these files does the rule or the judge know methods.
    classes = {"torn_specialised.py": "Specialised", "threading.py": "Thread"}
    methods = {"__init__", "value", "__getitem__", "run", "_bootstrap", "_bootstrap_inner"}
    threads = []
    for line in text.splitlines():
        if begin := re.match(r"Traceback for thread (\d+) ", line):
            threads.append((int(begin[1]), []))
        elif frame := re.match(r'    \(Python\) File "(.*)", line (\d+), in (.*)$', line):
            file, number, name = frame.groups()
            owner = classes.get(os.path.basename(file))
            threads[-1][1].insert(0, [f"{owner}.{name}" if owner and name in methods else name, file, int(number)])
    return threads


def from_austin(text):
    threads = []
    for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines():
        if begin := re.search(r"Thread \d+:(\d+)$", line):
            threads.append((int(begin[1]), []))
        elif frame := re.match(r"    (\S.*) \((.*):(\d+)\)$", line):
            threads[-1][1].insert(0, [frame[1], frame[2], int(frame[3])])
        elif threads and line.startswith("    "):
            threads[-1][1].insert(0, None)  # what it says in place of a frame that it could not read
    return threads


def tools_of(root, pid):
    tools = {
        "py-spy --nonblocking": ([root.peer("py-spy"), "dump", "--nonblocking", "--json", "-p", pid], from_py_spy),
        "pystack --no-block": ([root.executable, "-m", "pystack", "remote", "--no-block", pid], from_pystack),
    }
    if root.minor == "3.14":
        tools["austin"] = ([root.peer("austin"), "-w", pid], from_austin)
    return tools


class Judge:
    def __init__(self, root):
        self.child = subprocess.Popen([JUDGE, "--judge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      preexec_fn=root.leave)

    def tell(self, line):
        self.child.stdin.write(line)
        self.child.stdin.flush()

    def ask(self, stacks):
        self.tell(json.dumps(stacks) + "\n")
        return json.loads(self.child.stdout.readline())


def clean(frame):
    """Names that were read from memory that had other uses by then may be anything, and lines are missing."""
    return [*(str(part).encode(errors="replace").decode() for part in frame[:2]), frame[2] or 0]


def is_shim(frame):
    """CPython puts a frame of its own between a constructor and its caller, which most tools show."""
    return frame and frame[:2] == ["__init__", "__init__"]


def count(judge, pid, take, end, tally):
    """Takes a snapshot and has it judged."""
    tally["snapshots"] += 1
    try:
        threads = take()
    except Failure as failure:
        tally["failed"] += 1
        tally[f"failure: {failure}"] += 1
        return
    stacks = [(tid == pid, [frame for frame in frames if not is_shim(frame)]) for tid, frames in threads]
    stacks = [(main, frames) for main, frames in stacks if frames]
    good = [(main, [clean(frame) for frame in frames]) for main, frames in stacks if None not in frames]
    answers = judge.ask(good)
    impossible = [fault for fault, _ in answers if fault]
    tally["stacks"] += len(stacks)
    tally["marked"] += len(stacks) - len(good)
    tally["impossible"] += len(impossible)
    tally["snapshots with one"] += bool(impossible)
    short = [last for fault, last in answers if not fault and last not in ("", end)]
    tally["short"] += len(short)
    tally.update([f"fault: {fault}" for fault in impossible])
    tally.update([f"ends in: {last}" for last in short])


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    while True:
        try:
            states = [pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_bytes().rpartition(b")")[2].split()[0]
                      for task in os.listdir(f"/proc/{pid}/task")]
        except FileNotFoundError:
            continue  # a thread that ended
        if set(states) <= {b"T", b"X", b"Z"}:
            return
        time.sleep(0.0001)


def watch(root, options):
    target = root.start("torn.py", *options.kinds)
    judge = Judge(root)
    judge.tell(target.stdout.readline())
    unwinder = Unwinder(root, target.pid)
    output, errors = (os.fdopen(os.memfd_create(name), "w+b") for name in ("output", "errors"))

    def call():
        answer = unwinder.ask("stacks")
        if "failed" in answer:
            raise Failure(answer["failed"])
        return answer

    def run(command, parse):
        done = Run(root, command, output, errors)
        if done.status:
            lines = text_of(errors).strip().splitlines() or [""]
            raise Failure(f"status {done.status}: " + next((line for line in lines if "rror" in line), lines[-1]))
        return parse(text_of(output))

    ways = {"RemoteUnwinder in process": (options.calls, call)}
    for name, (command, parse) in tools_of(root, str(target.pid)).items():
        ways[name] = (options.snapshots, lambda command=command, parse=parse: run(command, parse))
    rows = []
    try:
        for name, (times, take) in ways.items():
            if times == 0:
                continue
            moving, still = collections.Counter(), collections.Counter()
            end = ENDS.get((name, root.minor), "")
            for _ in range(times):
                count(judge, target.pid, take, end, moving)
            for _ in range(times // 5):
                stop(target.pid)
                try:
                    count(judge, target.pid, take, end, still)
                finally:
                    os.kill(target.pid, signal.SIGCONT)
                time.sleep(0.001)
            rows.append({"tool": name, "version": root.version, "moving": moving, "still": still})
            for state, tally in (("running", moving), ("stopped", still)):
                say(root.version, name, state, json.dumps(dict(sorted(tally.items(), key=lambda item: -item[1])[:16])))
    finally:
        unwinder.end()
        target.kill()
        target.wait()
    return rows


def markdown(rows):
    def share(part, whole):
        return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"

    lines = ["| tool | CPython | snapshots | failed | stacks | cut short | impossible | snapshots with one | "
             "stopped: failed | cut short | impossible |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        moving, still = (collections.Counter(row[state]) for state in ("moving", "still"))
        given = moving["snapshots"] - moving["failed"]
        lines.append(f"| {row['tool']} | {row['version']} | {moving['snapshots']:,} | {share(moving['failed'], moving['snapshots'])} | "
                     f"{moving['stacks']:,} | {moving['short']:,} | {moving['impossible']:,} | "
                     f"{share(moving['snapshots with one'], given)} | "
                     f"{share(still['failed'], still['snapshots'])} | {still['short']:,} | {still['impossible']:,} |")
    marked = sum(row["moving"].get("marked", 0) for row in rows)
    return "\n".join([*lines, "", f"Stacks that a tool marked as incomplete: {marked}. Snapshots of the stopped target: a fifth as many."])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=300, help="with each tool that is a process")
    parser.add_argument("--calls", type=int, default=5000, help="of RemoteUnwinder")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="of the threads of torn.py; all, if none is given")
    options = parser.parse_args()
    results = in_each_root([HERE.parent / "tests/live/programs/torn.py"], lambda root: watch(root, options))
    print(markdown([row for rows in results for row in rows]))


if __name__ == "__main__":
    main()
