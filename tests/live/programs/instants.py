"""Objects whose invariants hold whenever no thread is between two bytecodes, and a token that threads pass on.

Each invariant is kept by single instructions: a picture in which one is broken is no picture of one moment.
At any moment at most one thread is in `holding`.
"""

import collections
import itertools
import json
import threading


def holding(turn):
    return turn + 1


def pass_on(mine, following):
    turn = 0
    while True:
        mine.acquire()
        turn = holding(turn)
        following.release()


def change(swapped, totals, growing, table, ring):
    for number in itertools.count():
        latest = (number, number, number)
        swapped[:] = (swapped[1], swapped[0])
        totals[:] = (number % 100, 100 - number % 100)
        if number % 16:
            growing.append(number % 16)
        else:
            growing[:] = (0,)
        table[number % 12] = number % 12 * 2
        if number % 36 == 0:
            table.clear()
        ring.rotate(1)
        if number == 1000:
            print(json.dumps("ready"), flush=True)


THREADS = 4
locks = [threading.Lock() for _ in range(THREADS)]
for lock in locks[1:]:
    lock.acquire()
for i in range(THREADS):
    threading.Thread(target=pass_on, args=(locks[i], locks[(i + 1) % THREADS]), daemon=True).start()
change([1, 2], [0, 100], [0], {}, collections.deque(range(8)))
