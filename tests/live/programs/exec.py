"""Processes that run code from outside. The first argument names the case. Each prints a line when it has got there;
those that work answer each byte of stdin with what they find of themselves."""

import json
import os
import sys
import threading
import time

done = threading.Event()
hits = 0
level = "warning"
LOCK = threading.Lock()


def say(value="ready"):
    os.write(1, json.dumps(value).encode() + b"\n")


class Worker(threading.Thread):
    """Counts in two places that must agree whenever it looks, at full speed."""

    def __init__(self, number):
        super().__init__(name=f"worker-{number}", daemon=True)
        self.here = self.there = 0
        self.broken = 0

    def step(self, n):
        self.here += n
        items = {key: str(key) for key in range(n)}
        self.there += len(items)
        if self.here != self.there or sum(map(int, items.values())) != n * (n - 1) // 2:
            self.broken += 1

    def run(self):
        while not done.is_set():
            for n in range(1, 9):
                self.step(n)


def busy():
    """Sixteen threads at full speed, and the main thread among them, whose order is its local variable."""
    workers = [Worker(number) for number in range(15)]
    main = Worker(15)
    for worker in workers:
        worker.start()
    os.set_blocking(0, False)
    say()
    order = {"id": 4711}
    while True:
        for n in range(1, 9):
            main.step(n)
        order["steps"] = main.here
        if main.here % 3600 == 0:
            try:
                asked = os.read(0, 1)
            except BlockingIOError:
                continue
            if asked == b"":
                os._exit(0)
            say({"hits": hits, "broken": main.broken + sum(worker.broken for worker in workers), "level": level,
                 "stdout": sys.stdout is sys.__stdout__, "stderr": sys.stderr is sys.__stderr__,
                 "steps": [worker.here for worker in workers]})


def works():
    """The main thread and a worker that call functions all the time, without using up a CPU. Answers each byte."""

    def work():
        order = {"id": 4711}
        time.sleep(0.0005)
        return order

    def worker():
        while True:
            work()

    threading.Thread(target=worker, name="worker", daemon=True).start()
    os.set_blocking(0, False)
    say()
    while True:
        time.sleep(0.0005)
        try:
            asked = os.read(0, 1)
        except BlockingIOError:
            continue
        if asked == b"":
            return
        say({"hits": hits, "stdout": sys.stdout is sys.__stdout__, "stderr": sys.stderr is sys.__stderr__})


def sleeping():
    """Until a byte comes. Another thread runs Python."""
    threading.Thread(target=Worker(0).run, name="runner", daemon=True).start()
    say()
    os.read(0, 1)
    say("awake")
    while True:
        time.sleep(0.0005)


def holds_lock():
    say()
    with LOCK:
        while True:
            time.sleep(0.001)


def refuses():
    """An audit hook of the program forbids scripts from outside."""

    def hook(event, arguments):
        if event == "cpython.remote_debugger_script":
            raise RuntimeError("no scripts here")

    sys.addaudithook(hook)
    spin()


def spin():
    say()
    while True:
        time.sleep(0.0005)


def prints():
    """Another thread prints all the time, while code from outside prints, too."""

    def printer():
        number = 0
        while True:
            print(f"mine {number}", flush=True)
            number += 1
            time.sleep(0.001)

    threading.Thread(target=printer, name="printer", daemon=True).start()
    while True:
        time.sleep(0.0005)


def no_streams():
    sys.stdout = sys.stderr = None
    spin()


def replaces_itself():
    if len(sys.argv) == 2:
        say()
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    os.execv(sys.executable, [sys.executable, "-S", "-I", __file__, "replaces_itself", "again"])


def churns():
    """Threads that come and go, each for a moment."""
    say()
    while True:
        threads = [threading.Thread(target=sum, args=(range(2000),), name="short") for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ends():
    say()
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        pass


def shuts_down():
    """Ends, but for an object whose end waits for the test: when the modules are cleared, no code runs but such."""

    class Last:
        def __del__(self, write=os.write, read=os.read):
            write(1, b'"ready"\n')
            read(0, 1)

    sys.last = Last()


def lies():
    """Changes the table of its own runtime: the arguments are where, and the words to put there."""
    import ctypes

    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    for place, word in zip(sys.argv[2::2], sys.argv[3::2]):
        ctypes.c_uint64.from_address(runtime + int(place)).value = int(word)
    spin()


globals()[sys.argv[1]]()
