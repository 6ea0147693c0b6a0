"""Threads that wait in one of two stacks each, with other values; each byte of stdin moves all of them to the other.

Prints a line whenever all have got there: the number of the state.
"""

import os
import sys
import threading

THREADS = 3
told = threading.Condition()
arrived = 0
waiting = [threading.Lock(), threading.Lock()]  # whoever has one keeps its state going
for lock in waiting:
    lock.acquire()


def arrive():
    global arrived
    with told:
        arrived += 1
        told.notify_all()


class Part:
    def __init__(self, number):
        self.number = number
        self.name = "part %d" % number


class Slotted(Part):
    __slots__ = ("beside",)

    def __init__(self, number):
        super().__init__(number)
        self.beside = number


def alpha(number):
    text = "alpha of %d" % number
    parts = Slotted(number)
    items = [number, text, {"key": number}]
    return beta(number + 1, items)


def beta(number, items):
    total = sum(range(number))
    arrive()
    gates[0][number - 1].acquire()
    return total, items


def one(number):
    return two((number, "one"), number)


def two(pair, number):
    return three(number, pair=pair, more=b"bytes")


def three(number, pair, more):
    arrive()
    gates[1][number].acquire()
    return pair, more


gates = [[threading.Semaphore(0) for _ in range(THREADS)] for _ in range(2)]


def worker(number):
    while True:
        alpha(number)
        one(number)


for number in range(THREADS):
    threading.Thread(target=worker, args=(number,), name=f"worker-{number}", daemon=True).start()
state = 0
while True:
    with told:
        told.wait_for(lambda: arrived == THREADS)
        arrived = 0
    os.write(1, b"%d\n" % state)
    if not sys.stdin.buffer.read(1):
        break
    for gate in gates[state]:
        gate.release()
    state = 1 - state
