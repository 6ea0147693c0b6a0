"""Native frames of a real CPython for aarch64, with gdb as the judge. No such machine is needed:

    native_frames.py ROOT PYTHON PYSCOPE

ROOT holds CPython 3.13 or later for aarch64, PYTHON is its executable in there, PYSCOPE is pyscope for aarch64. Python runs
under qemu-user with the memory that it sees at the same addresses in the emulator; gdb asks the emulator for the registers of all threads; both
make a recording, which pyscope replays under qemu-user, too.

Twice: on a processor that doesn't sign return addresses, where the frames must be gdb's; and on one that does, where gdb is lost, and the
frames must be the same as before. Needs qemu-user-static and gdb-multiarch. Exit status 0 if all is right.
"""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

PORT = 17_463
QEMU = "qemu-aarch64-static"
PROGRAM = """
import signal, threading, time
def wait(key):
    if key: time.sleep(1000)
    return key
def sort(): sorted([1, 2], key=wait)
class Late:
    def __del__(self): sort()
def finalize():
    late = Late()
    del late
def stop(key):
    time.sleep(1)
    signal.raise_signal(signal.SIGTRAP)
for function in (sort, finalize): threading.Thread(target=function, name=function.__name__).start()
sorted([1, 2], key=stop)
"""


def in_gdb(gdb):
    """What gdb knows of all threads, on stdout."""
    threads = []
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        names = [f"$x{i}" for i in range(31)] + ["$sp", "$pc", "$cpsr"]
        registers = [int(gdb.parse_and_eval(f"(unsigned long){name}")) for name in names]
        frames = []
        frame = gdb.newest_frame()
        while frame is not None:
            frames.append(frame.pc() - (1 if frames else 0))
            try:
                frame = frame.older()
            except gdb.error:
                break
        threads.append({"tid": thread.ptid[1], "registers": registers, "frames": frames})
    print("\nTHREADS " + json.dumps(threads), flush=True)


def code_of(file):
    """The ranges of an ELF file's bytes that are executed."""
    header = file[:64]
    begin, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
    for i in range(count):
        kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", file, begin + 56 * i)
        if kind == 1 and flags & 1:
            yield offset, offset + size


def encoded(text):
    return re.sub(rb"[^\w/._-]", lambda m: b"%%%02x" % m[0][0], text.encode()).decode() or "%"


class Maps:
    """The emulated process's own mappings; what is executed is only read by the emulator."""

    def __init__(self, pid, root):
        self.parts = []
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split(None, 5)
            begin, end = (int(word, 16) for word in words[0].split("-"))
            if begin >= 1 << 46:
                break  # the emulator's
            path = words[5] if len(words) > 5 else ""
            offset, inode = int(words[2], 16), int(words[4])
            code = inode == 0 and words[1] == "r--p"  # what the kernel would bring along
            if path.startswith(root) and ".so" in path or path.startswith(root + "/usr/bin"):
                file = pathlib.Path(path).read_bytes()
                code = any(first < offset + end - begin and offset < last for first, last in code_of(file))
            self.parts.append((begin, end - begin, words[1], code, offset, words[3], inode, path))

    def begin_of(self, path):
        return next(part[0] for part in self.parts if part[-1] == path)

    def lines(self):
        for begin, size, flags, code, offset, device, inode, path in self.parts:
            major, minor = (int(number, 16) for number in device.split(":"))
            letters = flags[:2].replace("-", "") + ("x" if code else "")
            yield f"map {begin:x} {size:x} {letters}- {offset} {major} {minor} {inode} {encoded(path)}\n"


def write_recording(path, pid, python, maps, threads):
    sections = subprocess.run(["readelf", "-SW", python], capture_output=True, text=True, check=True).stdout
    runtime = re.search(r"\.PyRuntime +\w+ +(\w+)", sections)[1]
    with open(path, "wb") as out, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        text = f"pyscope-recording 1\nruntime {runtime}\nprocess {pid} {pid}\nhost emulated\n"
        text += f"executable {encoded(python)}\ncaptured 0\n"
        for tid in sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task")):
            text += f"task {tid} {tid} S 0 %\n"
        text += "".join(maps.lines())
        for thread in threads:
            text += f"registers {thread['tid']} aarch64 {' '.join(f'{value:x}' for value in thread['registers'])}\n"
        out.write(text.encode())
        for begin, size, flags, *_ in maps.parts:
            if flags[0] != "r":
                continue
            memory.seek(begin)
            for page in range(begin, begin + size, 4096):
                content = memory.read(4096)
                if any(content):
                    out.write(b"memory %x %d\n%s\n" % (page, len(content), content))


def record(root, python, processor, folder):
    """What gdb says of each thread, the maps and the file of the recording."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    emulated = subprocess.Popen([QEMU, "-cpu", processor, "-g", str(PORT), "-L", root, python, "-S", program], stderr=subprocess.DEVNULL)
    try:
        commands = ["set pagination off", "set architecture aarch64", f"set sysroot {root}", f"file {python}",
                    "set tcp auto-retry on", f"target remote :{PORT}", "continue", f"source {__file__}", "shell kill -STOP $PPID"]
        gdb = subprocess.Popen(["gdb-multiarch", "-nx", "-batch", *(word for command in commands for word in ("-ex", command))],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threads = next((json.loads(line[8:]) for line in gdb.stdout if line.startswith("THREADS ")), None)
        if threads is None:
            sys.exit("gdb told nothing")
        # gdb stands still now, and so does the emulated process.
        maps = Maps(emulated.pid, root)
        path = folder / f"{processor}.recording"
        write_recording(path, emulated.pid, python, maps, threads)
        gdb.kill()
        gdb.wait()
    finally:
        emulated.kill()
        emulated.wait()
    return threads, maps, path


def shown(pyscope, path):
    replayed = subprocess.run([QEMU, pyscope, "dump", "--native=full", "--json", "--replay", path], capture_output=True, text=True)
    dump = json.loads(replayed.stdout)
    return {thread["tid"]: thread for thread in dump["threads"]}


def native(thread):
    return [frame for frame in thread["frames"] if frame["kind"] == "native"]


def main(root, python, pyscope):
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        judged, maps, path = record(root, python, "cortex-a72", folder)
        plain = shown(pyscope, path)
        for thread in judged:
            frames = native(plain[thread["tid"]])
            # The interpreter is linked to a fixed address, its libraries aren't.
            begin = {frame["module"]: 0 if frame["module"] == python else maps.begin_of(frame["module"]) for frame in frames}
            places = [int(frame["offset"], 16) + begin[frame["module"]] for frame in frames]
            good = len(places) > 10 and places == thread["frames"][:len(places)] and "native_error" not in plain[thread["tid"]]
            wrong += not good
            print(f"{plain[thread['tid']]['name']}: {len(places)} native frames,", "those of gdb" if good else "not those of gdb")
        _, _, path = record(root, python, "max", folder)
        # Which instruction of the loop calls depends on how far it has been specialised.
        def without_loop(thread):
            return [None if frame.get("function") == "_PyEval_EvalFrameDefault" else (frame["module"], frame["offset"])
                    for frame in native(thread)]
        signed = {thread["name"]: without_loop(thread) for thread in shown(pyscope, path).values()}
        for thread in plain.values():
            good = signed[thread["name"]] == without_loop(thread)
            wrong += not good
            print(f"{thread['name']}: with signed return addresses", "the same" if good else "others")
    return 1 if wrong or len(judged) != 3 else 0


if __name__ == "__main__":
    try:
        import gdb
    except ImportError:
        if len(sys.argv) != 4:
            sys.exit(__doc__)
        sys.exit(main(*sys.argv[1:]))
    in_gdb(gdb)
