"""Workers that wait for short jobs and compute, all the time: `take` and `rest` block, `compute` never does, but for the
GIL.
"""

import json
import queue
import threading
import time

jobs = queue.SimpleQueue()


def take():
    return jobs.get()


def compute(job):
    total = 0
    for number in range(job):
        total += number * number % 7
    return total


def rest():
    time.sleep(0.002)


def work():
    while True:
        compute(take())


for number in range(4):
    threading.Thread(target=work, name=f"worker-{number}", daemon=True).start()
print(json.dumps({"ready": True}), flush=True)
while True:
    if jobs.qsize() < 4:
        jobs.put(60_000)
    rest()
