#!/usr/bin/env python3
"""Makes what fuzzing begins with, out of real things: recordings of real processes, this system's own /proc, real files.

    make_seeds.py [--few] FUZZ_RECORD FOLDER

FUZZ_RECORD is the program of that name. Makes in FOLDER:

    recordings/  a process for each version of Python and each case below
    parsers/     texts of /proc, ELF files, tables of code objects, each behind the number of its parser
    recording/   the facts of each recording, without its memory
    image/       no change and some changes, for each recording
    render/      lines of source

What is recorded already is kept. With --few, there are only some of the cases, and all are recorded anew. The interpreters
are those of the manifest that PYSCOPE_TEST_INTERPRETERS names, or else of scripts/interpreters.sh.
"""

import lzma
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import zlib

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = REPOSITORY / "tests" / "live" / "programs"
# Each prints a line once it stands still.
CASES = [
    ("values.py", "standard"),
    ("values.py", "containers"),
    ("values.py", "instances"),
    ("values.py", "strings"),
    ("values.py", "floats"),
    ("paths.py", "values"),
    ("paths.py", "states"),
    ("locks.py", "two"),
    ("locks.py", "condition_of_lock"),
    ("locks.py", "managed"),
    ("locks.py", "names"),
    ("locks.py", "in_queue"),
    ("locks.py", "processes"),
    ("kinds.py", "values"),
    ("kinds.py", "threads"),
    ("kinds.py", "tasks"),
]
FEW = [("values.py", "standard"), ("paths.py", "values"), ("locks.py", "names")]
# The numbers of the parsers in parsers.cpp.
ELF, ELF_HEAD, OFFSETS, MAPS, STATUS, LOCATIONS, EXCEPTIONS, FDINFO, SOCKETS, DIAGNOSIS, LOCKS, CGROUP, PASSWD, COMMAND, \
    ESCAPE, PATH, MOUNTS, REFUSAL, LOCATIONS_ANY, INNER, SYMBOLS, LOADED, PERF_MAP, \
    DEMANGLE, COMPRESSED, REGISTERED, ANSWER = range(27)


LIBRARY = """
template <class T> inline T twice(T value) { return value + value; }
namespace shop {
int stock(int count) { return twice(count) * 3; }
__attribute__((cold)) int order(int count) { return count > 3 ? stock(count) : -1; }
}
"""


def record(program, root, executable, case, path):
    root = pathlib.Path(root)
    with tempfile.TemporaryDirectory(dir=root / "tmp", prefix="pyscope-fuzz.") as folder:
        for source in PROGRAMS.glob("*.py"):
            shutil.copy(source, folder)
        command = [executable, str(pathlib.Path("/") / pathlib.Path(folder).relative_to(root) / case[0]), case[1]]
        if root != pathlib.Path("/"):
            command = [*([] if os.geteuid() == 0 else ["unshare", "-r"]), "chroot", str(root), *command]
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8",
                       "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu/openblas-pthread"}
        # In a session of its own, so that its children end with it.
        target = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                                  start_new_session=True)
        try:
            if not target.stdout.readline():
                sys.exit(f"{' '.join(command)} ended before it stood still")
            partial = path.with_suffix(".partial")
            subprocess.run([program, str(target.pid), str(partial)], check=True)
            partial.rename(path)
        finally:
            os.killpg(target.pid, 9)
            target.communicate()


def text_of(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


def save(folder, name, content):
    if content:
        (folder / name).write_bytes(content)


def code_objects(code):
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from code_objects(constant)


def vdso():
    """The library that the kernel maps into each process."""
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(begin)
                return memory.read(end - begin)
    return b""


def make_parsers(folder, recordings):
    def put(parser, name, content, most=1 << 16):
        if content:
            save(folder, f"{parser:02}-{name}", bytes([parser]) + content[:most])

    # Small files of each kind: an executable, an object, a library.
    for name in ["/bin/true", "/usr/lib/x86_64-linux-gnu/crt1.o", "/lib/x86_64-linux-gnu/libutil.so.1"]:
        put(ELF, os.path.basename(name), text_of(name))
    put(ELF_HEAD, "true", text_of("/bin/true"), 4096)
    put(MAPS, "self", text_of("/proc/self/maps"))
    for name in ["stat", "status", "syscall", "wchan"]:
        put(STATUS, name, text_of(f"/proc/self/{name}"))
    for i in os.listdir("/proc/self/fd"):
        put(FDINFO, f"fd{i}", text_of(f"/proc/self/fdinfo/{i}"))
    for name in ["tcp", "tcp6", "udp", "udp6", "unix"]:
        for i, line in enumerate(text_of(f"/proc/net/{name}").splitlines()[:4]):
            put(SOCKETS, f"{name}{i}", line)
    put(LOCKS, "locks", text_of("/proc/locks"))
    put(CGROUP, "self", text_of("/proc/self/cgroup"))
    put(CGROUP, "docker", b"0::/system.slice/docker-" + b"4f" * 32 + b".scope\n")
    put(PASSWD, "passwd", text_of("/etc/passwd"))
    put(MOUNTS, "mountinfo", text_of("/proc/self/mountinfo"))
    for i, words in enumerate([b"psql\0postgresql://ann:x@db/shop\0--password\0x", b"python3\0-m\0app\0API_KEY=x\0--token=y"]):
        put(COMMAND, f"{i}", words)
    put(ESCAPE, "text", "plain \u202e \x1b[31m \udcff 漢字 e\u0301 \U000e0001".encode("utf-8", "surrogatepass") + b"\xff\xc3")
    for i, path in enumerate(["shop.orders[3].state", "worker-1/fetch:row['id'][b'\\x00']", "a[-1]", 'x["\\u20ac"]']):
        put(PATH, f"{i}", path.encode())
    put(REFUSAL, "any", bytes(range(96)) + b"name user profile")
    put(INNER, "any", b"4f1c6c0d8a7e")
    # Small libraries with debug information; nothing of a test's depends on a compiler that isn't there.
    for version in ["2", "4", "5", "5 -gz=zlib", "5 -gdwarf64"]:
        with tempfile.TemporaryDirectory() as scratch:
            library = pathlib.Path(scratch) / "library.so"
            subprocess.run(["g++", "-x", "c++", "-", "-O1", *f"-gdwarf-{version}".split(), "-shared", "-nostdlib", "-fPIC",
                            "-Wl,--build-id", "-o", library], check=True, input=LIBRARY, text=True)
            put(SYMBOLS, f"dwarf-{version.replace(' ', '')}", text_of(library))
            put(REGISTERED, f"dwarf-{version.replace(' ', '')}", text_of(library))
    put(LOADED, "vdso", vdso())
    put(ANSWER, "value", b"pyscope-begun\npyscope-answer 0 0 4 3 5 0 0 0\nout\nerr'abc'")
    put(ANSWER, "exception", b"pyscope-begun\npyscope-answer 1 1 0 0 0 3 2 5\nKeynot\n\n\n\n")
    put(PERF_MAP, "map", b"1000 20 py::stock:/srv/shop.py\n1010 10 lazy\n0x1800 800 std::sort\n")
    for i, name in enumerate([b"_ZNSt6vectorIiSaIiEE9push_backERKi", b"_RNvMs_NtCs1234_7mycrate3fooNtB4_3Bar3run",
                              b"_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", b"_Z1f1AIiiES_IS0_S0_E.cold"]):
        put(DEMANGLE, f"{i}", name)
    put(COMPRESSED, "xz", lzma.compress(bytes(5000)))
    put(COMPRESSED, "zlib", zlib.compress(bytes(range(256))))
    codes = list(code_objects(compile(text_of(PROGRAMS / "locks.py"), "locks.py", "exec")))
    for i, code in enumerate(codes[::7]):
        if sys.version_info >= (3, 11):
            put(LOCATIONS, f"{i}", code.co_linetable)
            put(LOCATIONS_ANY, f"{i}", code.co_linetable)
            put(EXCEPTIONS, f"{i}", code.co_exceptiontable)
    for path in recordings:
        content = path.read_bytes()
        table = content.find(b"xdebugpy")
        put(OFFSETS, path.name, content[table:], 2048)


def interpreters():
    """(minor, root, executable) of each release build."""
    manifest = os.environ.get("PYSCOPE_TEST_INTERPRETERS") or subprocess.run(
        [REPOSITORY / "scripts" / "interpreters.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    for line in pathlib.Path(manifest).read_text().splitlines():
        version, kind, root, executable = line.split("\t")
        if kind == "release":
            yield ".".join(version.split(".")[:2]), root, executable


def main():
    few = sys.argv[1:2] == ["--few"]
    program, folder = sys.argv[1 + few:]
    folder = pathlib.Path(folder)
    if few:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ["recordings", "parsers", "recording", "image", "render"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for minor, root, executable in interpreters():
        for case in FEW if few else CASES:
            path = folder / "recordings" / f"{minor}-{case[0].removesuffix('.py')}-{case[1]}"
            if not path.exists():
                record(program, root, executable, case, path)
    recordings = sorted((folder / "recordings").iterdir())
    if not recordings:
        sys.exit("there is no release build of Python among the interpreters")
    for i, path in enumerate(recordings):
        content = path.read_bytes()
        save(folder / "recording", path.name, content[:content.index(b"\nmemory ") + 1])
        save(folder / "image", f"{i:02}", bytes([i, 7 | 1 << 3]))
        # And a few words that are replaced, of each kind.
        changes = random.Random(i)
        save(folder / "image", f"{i:02}-changed", bytes([i, changes.randrange(256)]) + changes.randbytes(9 * 16))
    make_parsers(folder / "parsers", recordings)
    for i, source in enumerate(text_of(PROGRAMS / "stacks.py").splitlines()[::10]):
        save(folder / "render", f"line{i}", b"\x02" + bytes([1, 1, 0, 0, 1, 4, 1, 30]) + b"\x50\x00" + bytes([len(source)]) + source)
    for i in range(8):
        save(folder / "render", f"model{i}", bytes([i]) + b"".join(bytes([n % 7, 3, 97, 27, n % 256]) for n in range(100 * i + 50)))


if __name__ == "__main__":
    main()
