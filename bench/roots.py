"""The roots of the interpreters, with the peers in them, for compare.py and torn_peers.py."""

import ctypes
import json
import os
import pathlib
import resource  # noqa: F401: os.wait4 imports it, which fails in another root
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
PEERS = {"py-spy": "0.4.3", "pystack": "1.7.2", "austin-dist": "4.0.0"}
MINORS = ["3.14", "3.15"]


def say(*words):
    print(f"{pathlib.Path(sys.argv[0]).stem}:", *words, file=sys.stderr, flush=True)


def give_up(reason):
    say(reason)
    sys.exit(1)


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
        give_up(f"unshare: {os.strerror(ctypes.get_errno())}: run this as root")
    for root in roots:
        if libc.mount(b"proc", os.fsencode(root / "proc"), b"proc", 0, None):
            give_up(f"mounting /proc: {os.strerror(ctypes.get_errno())}")


class Root:
    """One interpreter's root, in which targets and tools run."""

    def __init__(self, minor, version, path, executable, files):
        """`files` are copied into a folder of it."""
        self.minor, self.version, self.path, self.executable = minor, version, path, executable
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pyscope-bench-", dir=path / "tmp"))
        self.inside = "/" + str(self.folder.relative_to(path))
        for file in [*files, HERE / "unwinder.py"]:
            shutil.copy(file, self.folder)
        fetch_peers(self.folder / "peers")
        # The library that pystack's wheel takes from the system, which the root doesn't have.
        for name in ("libstdc++.so.6", "libgcc_s.so.1"):
            for folder in pathlib.Path("/usr/lib").glob("*-linux-gnu"):
                if (folder / name).exists():
                    shutil.copy(folder / name, self.folder / "peers")

    def peer(self, name):
        """The path of a peer's program, inside the root."""
        return f"{self.inside}/peers/bin/{name}"

    def environment(self):
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "PYTHONPATH": self.inside + "/peers",
                "LD_LIBRARY_PATH": self.inside + "/peers", "NO_COLOR": "1"}

    def enter(self):
        """Makes it the root of this process, so that what it spawns need not change roots, which takes a fork."""
        self.outside = os.open("/", os.O_RDONLY)
        os.chroot(self.path)
        os.chdir("/")

    def leave(self):
        os.fchdir(self.outside)
        os.chroot(".")

    def start(self, *arguments):
        """A Python program of its folder, with pipes to it and from it."""
        return subprocess.Popen([self.executable, "-I", f"{self.inside}/{arguments[0]}", *arguments[1:]],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment(), cwd="/")


def in_each_root(files, work):
    """What work(root) returns for the root of each interpreter. It is called in a process that has entered it."""
    found = list(interpreters())
    enter_private_mounts([path for _, _, path, _ in found])
    roots, results = [], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for one in found:
            roots.append(Root(*one, files))
            results.append(in_root(roots[-1], work))
    finally:
        for root in roots:
            shutil.rmtree(root.folder, ignore_errors=True)
    return results


def in_root(root, work):
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            root.enter()
            result = work(root)
            with os.fdopen(there, "w") as pipe:
                json.dump(result, pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(there)
    with os.fdopen(here) as pipe:
        answer = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        give_up("failed, see above")
    return json.loads(answer)


class Run:
    """One run of a tool: what it cost and what it printed."""

    def __init__(self, root, command, output, errors=None):
        for file in (output, errors or output):
            file.seek(0)
            file.truncate()
        ends = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, (errors or output).fileno(), 2)]
        begin = time.perf_counter()
        pid = os.posix_spawn(command[0], command, root.environment(), file_actions=ends)
        _, status, usage = os.wait4(pid, 0)
        self.wall_ms = (time.perf_counter() - begin) * 1000
        self.status = os.waitstatus_to_exitcode(status)
        self.cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000


def text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


class Unwinder:
    """A process of the root's CPython that has a RemoteUnwinder of another one, and calls it when it is asked to."""

    def __init__(self, root, pid):
        self.child = root.start("unwinder.py", str(pid))

    def ask(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline() or '{"failed": "the helper ended"}')

    def end(self):
        self.child.kill()
        self.child.communicate()
