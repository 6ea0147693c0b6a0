"""Programs that are busy with locks of all kinds, and healthy: none of them is a deadlock.

    healthy.py NAME

Prints a line once all of it runs, and goes on until it is killed.
"""

import asyncio
import concurrent.futures
import contextlib
import importlib
import logging
import os
import queue
import random
import socket
import subprocess
import sys
import threading
import time


def forever(function):
    def run():
        while True:
            function()

    threading.Thread(target=run, daemon=True).start()


def convoy():
    lock = threading.Lock()

    def work():
        with lock:
            sum(range(300))

    for _ in range(6):
        forever(work)


def ordered():
    locks = [threading.Lock() for _ in range(4)]

    def work():
        chosen = sorted(random.sample(range(4), 2))
        with locks[chosen[0]], locks[chosen[1]]:
            sum(range(100))

    for _ in range(5):
        forever(work)


def try_lock():
    first, second = threading.Lock(), threading.Lock()

    def work(one, other):
        with one:
            if other.acquire(timeout=0.001):
                other.release()

    forever(lambda: work(first, second))
    forever(lambda: work(second, first))


def recursive():
    lock = threading.RLock()

    def enter(depth):
        with lock:
            if depth:
                enter(depth - 1)

    for _ in range(4):
        forever(lambda: enter(10))


def by_hand():
    lock = threading.Lock()

    def work():
        lock.acquire()
        try:
            sum(range(200))
        finally:
            lock.release()

    for _ in range(4):
        forever(work)


def handed_over():
    """Locks that one thread takes and another one gives back."""
    ping, pong = threading.Lock(), threading.Lock()
    pong.acquire()

    def hit(mine, other):
        mine.acquire()
        other.release()

    forever(lambda: hit(ping, pong))
    forever(lambda: hit(pong, ping))


def semaphores():
    free = threading.Semaphore(2)

    def work():
        with free:
            sum(range(300))

    for _ in range(5):
        forever(work)


def bounded():
    free, used = threading.Semaphore(3), threading.Semaphore(0)
    forever(lambda: (free.acquire(), used.release()))
    forever(lambda: (used.acquire(), free.release()))


def barrier():
    meeting = threading.Barrier(3)
    for _ in range(3):
        forever(meeting.wait)


def events():
    ping, pong = threading.Event(), threading.Event()
    ping.set()

    def hit(mine, other):
        mine.wait()
        mine.clear()
        other.set()

    forever(lambda: hit(ping, pong))
    forever(lambda: hit(pong, ping))


def conditions():
    condition = threading.Condition()
    items = []

    def put():
        with condition:
            items.append(1)
            condition.notify()
            condition.wait_for(lambda: len(items) < 5)

    def take():
        with condition:
            condition.wait_for(lambda: items)
            items.pop()
            condition.notify()

    forever(put)
    forever(take)


def chained():
    queues = [queue.Queue(2) for _ in range(4)]
    for here, there in zip(queues, queues[1:]):
        forever(lambda here=here, there=there: there.put(here.get()))
    forever(lambda: queues[0].put(1))
    forever(queues[-1].get)


def joined():
    def work():
        threads = [threading.Thread(target=sum, args=(range(100),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for _ in range(2):
        forever(work)


def executor():
    pool = concurrent.futures.ThreadPoolExecutor(3)
    forever(lambda: pool.submit(sum, range(100)).result())
    forever(lambda: list(pool.map(len, ["a"] * 20)))


def managed():
    lock = threading.Lock()

    @contextlib.contextmanager
    def locked():
        with lock:
            yield

    def work():
        with locked():
            sum(range(100))

    for _ in range(4):
        forever(work)


def stacked():
    locks = [threading.RLock() for _ in range(3)]

    def work():
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)

    for _ in range(4):
        forever(work)


def logged():
    logger = logging.getLogger("healthy")
    logger.addHandler(logging.StreamHandler(open(os.devnull, "w")))
    for number in range(4):
        forever(lambda number=number: logger.warning("thread %d", number))


def imported():
    def work():
        for name in ("json.tool", "wave", "this_is_no_module", "colorsys"):
            sys.modules.pop(name, None)
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    for _ in range(3):
        forever(work)


def piped():
    left, right = socket.socketpair()

    def hit(mine):
        mine.sendall(mine.recv(16))

    forever(lambda: hit(left))
    forever(lambda: hit(right))
    left.sendall(b"x")


def looped():
    async def produce(jobs):
        while True:
            await jobs.put(1)
            await asyncio.sleep(0)

    async def consume(jobs, lock):
        while True:
            async with lock:
                await jobs.get()

    async def main():
        jobs, lock = asyncio.Queue(5), asyncio.Lock()
        await asyncio.gather(produce(jobs), consume(jobs, lock), consume(jobs, lock))

    forever(lambda: asyncio.run(main()))


def children():
    forever(lambda: subprocess.run(["/bin/sh", "-c", ":"], check=True))
    forever(lambda: time.sleep(0.001))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("true", flush=True)
    os.read(0, 1)
