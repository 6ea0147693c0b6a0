"""Much of something, standing still. Prints a line of JSON when all of it is there.

    scale.py threads N DEPTH | code N | interpreters N
"""

import json
import os
import sys
import threading
import time

never, _ = os.pipe()


def threads(count, depth):
    threading.stack_size(256 * 1024)
    gate = threading.Lock()
    gate.acquire()
    arrived = threading.Semaphore(0)

    def descend(left):
        if left:
            return descend(left - 1)
        arrived.release()
        gate.acquire()

    for number in range(count):
        threading.Thread(target=descend, args=(depth - 1,), name=f"worker-{number}", daemon=True).start()
    for _ in range(count):
        arrived.acquire()


def code(count):
    """A stack of functions that are all different."""
    sys.setrecursionlimit(count + 100)
    namespace = {"wait": lambda: (say(), os.read(never, 1))}
    text = ["def function_0(): wait()"]
    text += [f"def function_{n}(): function_{n - 1}()" for n in range(1, count)]
    exec("\n".join(text), namespace)
    namespace[f"function_{count - 1}"]()


def interpreters(count):
    import _interpreters

    arrived = threading.Semaphore(0)
    started, told = os.pipe()

    def run():
        try:
            made = _interpreters.create()
        except Exception:  # as many as fit
            os.write(told, b"n")
            return
        _interpreters.exec(made, f"import os\nos.write({told}, b'y')\nos.read({never}, 1)\n")

    made = 0
    for number in range(count):
        threading.Thread(target=run, name=f"runner-{number}", daemon=True).start()
        made += os.read(started, 1) == b"y"
    return made


def say(**facts):
    os.write(1, json.dumps({"ready": True, **facts}).encode() + b"\n")


if __name__ == "__main__":
    made = globals()[sys.argv[1]](*map(int, sys.argv[2:]))
    say(made=made)
    time.sleep(1000)
