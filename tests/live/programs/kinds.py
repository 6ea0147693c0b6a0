"""Kinds of values, threads and tasks that a reader has special ways for, a few of each: kinds.py values|threads|tasks.

Prints a line of JSON once it stands still.
"""

import collections
import enum
import json
import sys
import threading

LONG_NAME = "n" * 5_000


def ready():
    print(json.dumps({"ready": True}), flush=True)


def stand():
    ready()
    sys.stdin.read()


def arrays():
    try:
        import numpy
    except ImportError:
        return None
    return [numpy.arange(12).reshape(3, 4), numpy.zeros((2, 0)), numpy.ones(3, dtype="f4"), numpy.array(["a", "bc"]),
            numpy.array([b"x", None], dtype=object), numpy.array(7), numpy.float64(0.5), numpy.int16(-3),
            numpy.arange(6)[::-2], numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])]


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Flags(enum.IntFlag):
    READ = 1
    WRITE = 2


def values():
    array = arrays()  # noqa: F841
    member, flags = Color.RED, Flags.READ | Flags.WRITE  # noqa: F841
    base = object
    for i in range(20):
        base = type(f"B{i}", (base,), {f"a{k}": k for k in range(50)})
    wide = base()
    wide.own = 1
    slots = type("Slots", (), {"__slots__": tuple(f"s{i}" for i in range(60))})()
    slots.s3 = wide
    ordered = collections.OrderedDict((i, str(i)) for i in range(100))
    for i in range(0, 100, 3):
        del ordered[i]
    holes = set(range(1000))
    holes -= set(range(990))
    deep = None
    for _ in range(1000):
        deep = [deep]
    ring = {}
    ring["ring"] = [ring]
    exec(f"def {LONG_NAME}({LONG_NAME}1):\n    stand()\n", globals())
    globals()[LONG_NAME](1)


def threads():
    end = threading.Event()
    lock = threading.Lock()
    lock.acquire()
    for i in range(60):
        wait = end.wait if i % 2 else lock.acquire
        threading.Thread(target=wait, name=f"{LONG_NAME}{i}"[-200:], daemon=True).start()
    stand()


def tasks():
    import asyncio

    async def wait(depth, lock):
        if depth:
            await wait(depth - 1, lock)
        async with lock:
            await asyncio.sleep(10_000)

    async def main():
        lock, queue = asyncio.Lock(), asyncio.Queue()
        some = [asyncio.create_task(wait(i % 5, lock), name=f"task {i}") for i in range(30)]
        some.append(asyncio.create_task(queue.get()))
        some.append(asyncio.ensure_future(asyncio.gather(*some[:3])))
        for _ in range(12):
            await asyncio.sleep(0)
        ready()
        await asyncio.wait(some)

    asyncio.run(main())


globals()[sys.argv[1]]()
