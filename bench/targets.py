"""Programs to dump, for bench/compare.py. Each prints "ready" when it has got there.

    targets.py tiny | web | crowd | deep | spin FILE

tiny   one thread, five frames
web    21 threads, 601 frames, four of them busy
crowd  1,000 threads of 50 frames, all waiting
deep   one thread, 10,000 frames
spin   one busy thread that keeps its number of rounds in the first eight bytes of FILE
"""

import mmap
import sys
import threading
import time


def ready():
    print("ready", flush=True)
    while True:
        time.sleep(1000)


def nested(depth, innermost):
    """A function that calls a function ... that calls `innermost`, each of its own code and file."""
    namespace = {"innermost": innermost}
    for level in range(depth):
        callee = "innermost" if level == 0 else f"level_{level - 1}"
        source = "\n" * (level * 4) + f"def level_{level}(number, request='/x', user='u'):\n    return {callee}(number)\n"
        exec(compile(source, f"/srv/app/module_{level % 10}.py", "exec"), namespace)
    return namespace[f"level_{depth - 1}"]


def tiny():
    nested(3, lambda number: ready())(0)


def web():
    def work(number):
        while True:
            if number < 4:
                sum(n * number for n in range(20_000))
            else:
                time.sleep(0.05)

    for number in range(20):
        threading.Thread(target=nested(26, work), args=(number,), name=f"worker-{number}", daemon=True).start()
    time.sleep(0.5)
    ready()


def crowd(count=1000, depth=50):
    threading.stack_size(256 * 1024)
    gate = threading.Lock()
    gate.acquire()
    arrived = threading.Semaphore(0)

    def wait(number):
        arrived.release()
        gate.acquire()

    function = nested(depth - 4, wait)  # and Thread.run, _bootstrap_inner, _bootstrap
    for number in range(count - 1):
        threading.Thread(target=function, args=(number,), name=f"worker-{number}", daemon=True).start()
    for _ in range(count - 1):
        arrived.acquire()
    nested(depth - 2, lambda number: ready())(0)


def deep(depth=10_000):
    sys.setrecursionlimit(2 * depth)

    def descend(left):
        return descend(left - 1) if left else ready()

    descend(depth - 3)


def spin(path):
    with open(path, "r+b") as file:
        rounds = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    print("ready", flush=True)
    while True:
        sum(n for n in range(1000))
        rounds[0] += 1


globals()[sys.argv[1]](*sys.argv[2:])
