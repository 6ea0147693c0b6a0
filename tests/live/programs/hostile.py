"""A process that is hard on whoever reads it: hostile.py KIND [PATH]. Prints a line of JSON once it stands still."""

import ctypes
import json
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
PAGE = 4096
LONG_NAME = "n" * 65_000


def ready(**facts):
    print(json.dumps({"ready": True, **facts}), flush=True)


def stand(value=None):
    """Keeps `value` as a variable."""
    ready()
    sys.stdin.read()


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "libc")
    return result


def mapping(size, protection=3, flags=0x22, fd=-1):
    at = libc.mmap(None, size, protection, flags, fd, 0)
    if at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return at


def unanswered_memory(pages=1):
    """Memory that nobody ever fills: whoever reads it waits for a userfaultfd's answer."""
    number = {"x86_64": 323, "aarch64": 282}[__import__("platform").machine()]
    fd = libc.syscall(number, 0o2000000)
    if fd < 0:
        print(json.dumps({"ready": False}), flush=True)
        sys.exit()
    api = (ctypes.c_uint64 * 3)(0xAA, 0, 0)
    check(libc.ioctl(fd, ctypes.c_ulong(0xC018AA3F), api))
    at = mapping(pages * PAGE)
    missing = 1
    register = (ctypes.c_uint64 * 4)(at, pages * PAGE, missing, 0)
    check(libc.ioctl(fd, ctypes.c_ulong(0xC020AA00), register))
    return at


def put(owner, offset, value, kind=ctypes.c_uint64):
    kind.from_address(id(owner) + offset).value = value


def word_of(owner, value, size=256):
    """Where an object holds a pointer to another."""
    words = (ctypes.c_uint64 * (size // 8)).from_address(id(owner))
    return 8 * list(words).index(id(value))


def nested(value, width=20, depth=4):
    for _ in range(depth):
        value = [value] * width
    return value


def recursion(depth, then, source="def f(k):\n    return f(k - 1) if k else then()\n", name="<deep>"):
    sys.setrecursionlimit(10**7)
    names = {"then": then}
    exec(compile(source, name, "exec"), names)
    names["f"](depth)


# --- What never answers


def unanswered_value():
    value = [None]
    put(value, 24, unanswered_memory())  # its items
    after = "is read all the same"  # noqa: F841
    ready()
    sys.stdin.read()


def unanswered_values():
    pages = 40
    at = unanswered_memory(pages)
    value = []
    for i in range(pages):
        value.append([None])
        put(value[i], 24, at + i * PAGE)
    stand(value)


def unanswered_name():
    def waits():
        ready()
        sys.stdin.read()

    put(waits.__code__, word_of(waits.__code__, waits.__code__.co_filename), unanswered_memory())
    waits()


def unanswered_source(path):
    exec(compile("def f():\n    ready()\n    stdin.read()\nf()\n", path, "exec"), {"ready": ready, "stdin": sys.stdin})


# --- What is much


def command_line(at, size):
    """Makes this memory the command line, as anybody may."""
    class Map(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in
                    "start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end "
                    "auxv".split()] + [("auxv_size", ctypes.c_uint32), ("exe_fd", ctypes.c_uint32)]

    libc.sbrk.restype = ctypes.c_void_p
    any_place = mapping(PAGE)
    heap = libc.sbrk(0)
    new = Map(start_code=any_place, end_code=any_place + 1, start_data=any_place, end_data=any_place + 1, start_brk=heap,
              brk=heap, start_stack=any_place, arg_start=at, arg_end=at + size, env_start=any_place, env_end=any_place,
              exe_fd=0xFFFFFFFF)
    set_mm, set_map = 35, 14
    check(libc.prctl(set_mm, set_map, ctypes.byref(new), ctypes.c_ulong(ctypes.sizeof(new)), 0))


def long_command():
    size = 60 << 20
    command_line(mapping(size, flags=0x22 | 0x8000), size)
    stand()


def deleted_set():
    value = set(range(700_000))
    for i in range(699_999):
        value.discard(i)
    stand(nested(value))


def deleted_dict():
    value = dict.fromkeys(range(1_000_000))
    for i in range(999_999):
        del value[i]
    stand(nested(value))


def ordered_dict():
    import collections
    stand(nested(collections.OrderedDict.fromkeys(range(65_000))))


def wide_classes():
    base = object
    for i in range(60):
        base = type(f"B{i}", (base,), {f"a{k:07}": None for k in range(2_000)})
    stand(nested(base()))


def enum_member():
    import enum

    class Kind(enum.Enum):
        A = 1

    for i in range(60_000):
        Kind.A.__dict__[f"k{i:06}"] = i
    stand(nested(Kind.A))


def deep_list():
    value = None
    for _ in range(200_000):
        value = [value]
    stand(value)


def forged_lengths():
    import collections
    import array
    huge = 1 << 60
    values = [[1, 2, 3], (1, 2, 3), bytes(100), bytearray(100), "x" * 100, array.array("d", [1.0]), 10**500]
    for value in values:
        put(value, 16, huge)
    queue = collections.deque(range(200))
    put(queue, 16, huge)
    holes = dict.fromkeys(range(10))
    put(holes, 16, huge)
    stand([values, queue, holes])


def many_threads():
    threads = 40
    barrier = threading.Barrier(threads + 1)
    end = threading.Event()
    threading.stack_size(1 << 20)

    def deep():
        barrier.wait()
        end.wait()

    for _ in range(threads):
        threading.Thread(target=recursion, args=(100_000, deep), daemon=True).start()
    barrier.wait()
    stand()


def long_names():
    import random
    chosen = random.Random(1)
    bits = [chosen.randrange(2) for _ in range(10_001)]
    source = "".join(f"def {name}(k):\n    if not k: return then()\n    return (f if bits[k] else {LONG_NAME})(k - 1)\n"
                     for name in ["f", LONG_NAME])
    names = {"then": stand, "bits": bits}
    sys.setrecursionlimit(10**7)
    exec(compile(source, LONG_NAME, "exec"), names)
    names["f"](10_000)


def many_variables():
    variables = "".join(f"    v{i} = k\n" for i in range(100))
    recursion(100_000, stand, f"def f(k):\n{variables}    return f(k - 1) if k else then()\n")


def long_source(path):
    with open(path, "w") as file:
        file.write("\n" * 15_999_000 + "def f():\n    stand()\nf()\n")
    names = {"stand": stand}
    with open(path) as file:
        exec(compile(file.read(), path, "exec"), names)


def shared_namespaces():
    end = threading.Event()
    namespace = {f"name_{i}": end for i in range(30_000)}
    for i in range(2_000):
        thread = threading.Thread(target=end.wait)
        thread.__dict__.update(namespace) if i == 0 else None
        threading._active[1_000_000 + i] = thread
    globals().update(namespace)
    threading.Thread(target=end.wait, daemon=True).start()
    stand()


def many_files():
    import os
    with open(sys.executable, "rb") as file:
        head = file.read(64)
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 60_000):
        fd = os.memfd_create("x")
        os.write(fd, head)
        try:
            mapping(PAGE, 5, 2, fd)
        except OSError:
            break
        finally:
            os.close(fd)
    stand()


def segments(path):
    """An ELF file with many equal segments full of cookies, mapped many times."""
    import os
    import struct
    count, size = 1024, 64 << 20
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, count,
                                                                   0, 0, 0)
    with open(path, "wb") as file:
        file.write(header + count * struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, PAGE))
        file.write(b"xdebugpy" * (1 << 20))
        file.truncate(size)
    fd = os.open(path, os.O_RDONLY)
    for i in range(1_000):
        mapping(size, 5 if i % 2 == 0 else 1, 2, fd)
    stand()


def numpy_shapes():
    import numpy
    stand([numpy.empty((1 << 40, 0)), numpy.empty((2,) * 31 + (0,))])


def escapes():
    evil = "\x1b]0;title\x07\x9b31m\u202e"

    class C:
        pass

    C.__qualname__ = C.__name__ = evil
    value = C()
    value.a = evil
    threading.current_thread().name = evil
    stand(value)


def tasks():
    import asyncio

    async def wait(depth):
        await (wait(depth - 1) if depth else asyncio.get_running_loop().create_future())

    async def main():
        waiting = [asyncio.create_task(wait(3), name=LONG_NAME[:2000]) for _ in range(20_000)]
        await asyncio.sleep(0)
        ready()
        await asyncio.wait(waiting)

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:3])
