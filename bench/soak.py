#!/usr/bin/env python3
"""A real web server under load, with pyscope beside it: does the server notice, does pyscope grow?

    sudo bench/soak.py [--minutes N] [--block SECONDS] [--rate N] [--server gunicorn|wsgiref] [--python 3.14]
                       [--pyscope FILE] [--output FOLDER]

Builds nothing: takes build/release/pyscope. Needs wrk; fetches gunicorn by pip, and the interpreters by scripts/interpreters.sh.

wrk asks the server (soak_app.py) on eight connections all the time. The time is cut into blocks, in turn without pyscope and with it:
`dump --children` as a new process ten times a second, the same with `--pause`, and one long `dump --watch` that is
stopped by SIGSTOP between its blocks. The order is another one in each round, so that noise hits all alike. Prints a Markdown report, writes
it into FOLDER after each round, and ends with status 1 if

* a request failed in any way: no connection, no answer, a wrong answer, another status than 200; or the server logged an error or a worker ended;
* pyscope ended with another status than 0 and 6, or left a thread of the server standing;
* pyscope's memory grew: the peak of its processes from the first thousand to the last, or what the long one has in use.
"""

import argparse
import collections
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import peak_memory

HERE = pathlib.Path(__file__).resolve().parent
GUNICORN = "gunicorn==27.0.1"
CONNECTIONS = 8
MODES = {"without": None, "dump": [], "dump --pause": ["--pause"], "dump --watch": []}
WATCH = "dump --watch"
# What may differ, by the allocator's luck and by what the server is doing just then, without anything having grown. A
# picture of one instant takes copies of the pages that are read, up to 8 MiB of them; one of a process at rest takes none.
SLACK_KIB = 4096


def say(*words):
    print("soak:", *words, file=sys.stderr, flush=True)


def give_up(reason):
    say(reason)
    sys.exit(1)


def find_interpreter(minor):
    manifest = os.environ.get("PYSCOPE_TEST_INTERPRETERS")
    if not manifest:
        script = HERE.parent / "scripts/interpreters.sh"
        manifest = subprocess.run([script], check=True, capture_output=True, text=True).stdout.strip()
    for line in pathlib.Path(manifest).read_text().splitlines():
        version, kind, root, executable = line.split("\t")
        if kind == "release" and version.startswith(minor + "."):
            return version, pathlib.Path(root), executable
    give_up(f"no release build of CPython {minor} in {manifest}")


def end_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def children_of(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Server:
    """The application under a server, on CPython in its root."""

    def __init__(self, kind, minor):
        self.kind = kind
        self.version, root, executable = find_interpreter(minor)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pyscope-soak-", dir=root / "tmp"))
        self.child = None
        try:
            self.start(root, executable)
        except BaseException:
            self.end()
            raise

    def start(self, root, executable):
        shutil.copy(HERE / "soak_app.py", self.folder)
        inside = "/" + str(self.folder.relative_to(root))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        if self.kind == "gunicorn":
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--no-deps", "--target", self.folder,
                            GUNICORN], check=True)
            words = ["-m", "gunicorn", "--workers", "1", "--threads", str(CONNECTIONS), "--bind", f"127.0.0.1:{self.port}",
                     "--worker-tmp-dir", inside, "--no-control-socket", "--log-level", "warning", "soak_app:application"]
        else:
            words = [f"{inside}/soak_app.py", str(self.port)]
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                ["chroot", root, executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=end_with_parent,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8", "PYTHONPATH": inside})
        self.wait_until_it_answers()
        # Who answers: gunicorn's worker, or the one process.
        self.pid = self.child.pid
        self.worker = children_of(self.pid)[0] if self.kind == "gunicorn" else self.pid

    def wait_until_it_answers(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                    connection.sendall(b"GET /orders/1 HTTP/1.0\r\n\r\n")
                    if b" 200 " in connection.recv(100):
                        return
            except OSError:
                time.sleep(0.05)
        give_up(f"the server does not answer: {self.log.read_text()[-2000:]}")

    def standing(self):
        """Threads of it that stand still for a tracer or a signal."""
        found = []
        for pid in {self.pid, self.worker}:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                try:
                    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has ended meanwhile
                if state in "tT":
                    found.append(task.name)
        return found

    def faults(self):
        found = []
        if self.child.poll() is not None:
            found.append(f"the server ended with {self.child.returncode}")
        elif self.kind == "gunicorn" and children_of(self.pid) != [self.worker]:
            found.append("the server's worker was replaced")
        if log := self.log.read_text():
            found.append("the server logged: " + log[-500:])
        return found

    def end(self):
        if self.child:
            self.child.terminate()
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Watch:
    """One long `dump --watch`, which runs in its blocks only."""

    def __init__(self, command):
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      preexec_fn=end_with_parent)
        self.child.send_signal(signal.SIGSTOP)

    def rss_kib(self):
        if self.child.poll() is not None:
            give_up(f"pyscope dump --watch ended with {self.child.returncode}: {self.child.stderr.read().decode(errors='replace')[-500:]}")
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)[1])

    def end(self):
        """Its exit status."""
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        try:
            _, errors = self.child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            _, errors = self.child.communicate()
        if errors:
            say("pyscope dump --watch said:", errors.decode(errors="replace")[-500:])
        return self.child.returncode


class Mode:
    def __init__(self):
        self.blocks = 0
        self.counts = collections.Counter()  # what wrk counted
        self.latency = collections.Counter()  # microseconds: requests
        self.statuses = collections.Counter()
        self.memory = []  # KiB

    def failed(self):
        errors = sum(self.counts[name] for name in ("wrong", "connect", "read", "write", "timeout"))
        # Of what is under way when a block ends there is one on each connection at the most.
        return errors + max(0, self.counts["sent"] - self.counts["answered"] - self.blocks * CONNECTIONS)

    def percentile(self, share):
        left = share * self.latency.total()
        for value, count in sorted(self.latency.items()):
            left -= count
            if left <= 0:
                return value / 1000
        return 0.0


class Soak:
    def __init__(self, options, server):
        self.options, self.server = options, server
        self.modes = {name: Mode() for name in MODES}
        self.problems = []
        self.output = os.fdopen(os.memfd_create("output"), "w+b")
        self.watch = Watch([options.pyscope, "dump", "--watch", f"{1 / options.rate:g}", str(server.worker)])

    def block(self, name):
        mode = self.modes[name]
        seconds, interval = self.options.block, 1 / self.options.rate
        with tempfile.TemporaryFile() as result:
            load = subprocess.Popen(
                ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "30s",
                 "--script", HERE / "soak.lua", f"http://127.0.0.1:{self.server.port}/"], stdout=result, stderr=result, preexec_fn=end_with_parent)
            try:
                if name == WATCH:
                    self.watch.child.send_signal(signal.SIGCONT)
                begin = time.monotonic()
                tick = 0
                while time.monotonic() < begin + seconds:
                    if name == WATCH:
                        mode.memory.append(self.watch.rss_kib())
                    elif name != "without":
                        self.dump(mode, MODES[name])
                    tick += 1
                    time.sleep(max(0.0, begin + tick * interval - time.monotonic()))
                if name == WATCH:
                    self.watch.child.send_signal(signal.SIGSTOP)
                load.wait(seconds + 60)
            finally:
                load.kill()
                load.wait()
            result.seek(0)
            text = result.read().decode(errors="replace")
        found = re.search(r"^RESULT (.*)$", text, re.MULTILINE)
        if not found:
            give_up(f"wrk failed: {text[-1000:]}")
        counts = json.loads(found[1])
        for value, count in counts.pop("latency"):
            mode.latency[value] += count
        mode.counts.update(counts)
        mode.blocks += 1

    def dump(self, mode, more):
        self.output.seek(0)
        self.output.truncate()
        status, peak = peak_memory.run([self.options.pyscope, "dump", "--children", *more, str(self.server.pid)], self.output)
        if status not in (0, 6) and not mode.statuses[status]:
            self.output.seek(0)
            say(f"pyscope ended with {status}:", self.output.read().decode(errors="replace")[-500:])
        mode.statuses[status] += 1
        mode.memory.append(peak)

    def run(self):
        deadline = time.monotonic() + self.options.minutes * 60
        rounds = 0
        # One block that doesn't count, until everything has been called once.
        self.block("without")
        self.modes["without"] = Mode()
        while rounds < 2 or time.monotonic() < deadline:
            for name in random.sample(list(MODES), len(MODES)):
                self.block(name)
                if standing := self.server.standing():
                    self.problems.append(f"after {name}: threads {standing} of the server stand still")
            rounds += 1
            self.save(self.report(rounds))
            say(f"round {rounds},", *(f"{name}: {mode.failed()} of {mode.counts['sent']} failed;" for name, mode in self.modes.items()))
        self.modes[WATCH].statuses[self.watch.end()] += 1
        self.judge()
        return self.report(rounds)

    def judge(self):
        self.problems += self.server.faults()
        for name, mode in self.modes.items():
            if mode.failed():
                self.problems.append(f"{name}: {mode.failed()} requests failed: {dict(mode.counts)}")
            if not mode.counts["answered"]:
                self.problems.append(f"{name}: no request was answered")
            if others := {status: count for status, count in mode.statuses.items() if status not in (0, 6)}:
                self.problems.append(f"{name}: pyscope ended with {others}")
            if mode.memory and (grown := self.last(mode) - self.first(mode)) > SLACK_KIB:
                self.problems.append(f"{name}: pyscope's memory grew by {grown} KiB")

    @staticmethod
    def part(mode):
        return max(1, min(1000, len(mode.memory) // 4))

    def first(self, mode):
        return statistics.median(mode.memory[:self.part(mode)])

    def last(self, mode):
        return statistics.median(mode.memory[-self.part(mode):])

    def report(self, rounds):
        names = list(MODES)
        modes = [self.modes[name] for name in names]

        def row(title, values):
            return f"| {title} | " + " | ".join(values) + " |"

        def mib(kib):
            return f"{kib / 1024:.2f}"

        lines = [f"{self.options.server}, CPython {self.server.version}, {rounds} rounds of blocks of {self.options.block} s, "
                 f"{self.options.rate} dumps a second", "",
                 row("", names), row("---", ["---:"] * len(names)),
                 row("requests", [f"{mode.counts['answered']:,}" for mode in modes]),
                 row("of them failed", [str(mode.failed()) for mode in modes])]
        for title, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)):
            lines.append(row(f"{title}, ms", [f"{mode.percentile(share):.2f}" for mode in modes]))
        lines.append(row("dumps by exit status", [
            ", ".join(f"{status}: {count:,}" for status, count in sorted(mode.statuses.items())) or "-" for mode in modes]))
        for title, value in (("pyscope's memory at first, MiB", self.first), ("at last", self.last), ("at most", lambda mode: max(mode.memory))):
            lines.append(row(title, [mib(value(mode)) if mode.memory else "-" for mode in modes]))
        return "\n".join([*lines, ""])

    def save(self, text):
        self.options.output.mkdir(parents=True, exist_ok=True)
        (self.options.output / "soak.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--block", type=int, default=20, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=10, metavar="N", help="dumps a second")
    parser.add_argument("--server", choices=["gunicorn", "wsgiref"], default="gunicorn")
    parser.add_argument("--python", default="3.14")
    parser.add_argument("--pyscope", type=lambda path: os.path.abspath(path), default=HERE.parent / "build/release/pyscope")
    parser.add_argument("--output", type=pathlib.Path, default=HERE.parent / "build/soak")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        give_up("wrk is missing; on Debian: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(options.server, options.python)
    soak = None
    try:
        soak = Soak(options, server)
        text = soak.run()
    finally:
        if soak and soak.watch.child.poll() is None:
            soak.watch.end()
        server.end()
    soak.save(text)
    print(text)
    for problem in soak.problems:
        say("PROBLEM:", problem)
    sys.exit(1 if soak.problems else 0)


if __name__ == "__main__":
    main()
