"""Threads in the situations that `pyscope why` tells apart.

    why.py CASE

Prints a line of JSON once it is there, {name of a thread: native id}, and stays there until it is killed.
"""

import asyncio
import concurrent.futures
import fcntl
import json
import os
import queue
import re
import selectors
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import wsgiref.simple_server

started = {}
never, never_writer = os.pipe()


def start(name, target, *arguments):
    ready = threading.Event()

    def run():
        started[name] = threading.get_native_id()
        ready.set()
        target(*arguments)

    threading.Thread(target=run, name=name, daemon=True).start()
    ready.wait()


def say(**more):
    print(json.dumps({**started, **more}), flush=True)


def stay():
    os.read(never, 1)


# --- On the CPU


def spin():
    while True:
        pass


def endless(limit):
    seen = 0
    while seen < limit:
        limit = limit
        seen = seen


turns = 0


def count_turns():
    global turns
    while True:
        turns += 1


def slow(step):
    total = 0
    i = 0
    while True:
        i += 1
        total += step * i


def descend(n):
    if n < 100_000:
        spend(20_000)
        descend(n + 1)


def spend(n):
    while n:
        n -= 1


def growing():
    sys.setrecursionlimit(1_000_000)
    while True:
        descend(0)


def backtrack():
    re.match(r"(a+)+$", "a" * 60 + "b")


async def block():
    time.sleep(1000)


def blocks_loop():
    """A coroutine that sleeps by blocking."""
    start("loop", lambda: asyncio.run(block()))
    say()
    stay()


async def compute_again():
    while True:
        spend(1_000)
        await asyncio.sleep(0)


async def compute_more():
    while True:
        spend(200)
        await asyncio.sleep(0)


async def compute_both():
    await asyncio.gather(compute_again(), compute_more())


async def sleep_again():
    while True:
        time.sleep(0.001)
        await asyncio.sleep(0)


def busy_loop():
    start("loop", lambda: asyncio.run(compute_both()))
    start("sleeper", lambda: asyncio.run(sleep_again()))
    say()
    stay()


def backtracks():
    """It keeps the GIL, so all must be said before."""
    go = threading.Event()
    start("backtrack", lambda: (go.wait(), backtrack()))
    say()
    go.set()
    stay()


def add_up():
    sum(range(10**15))


def loops():
    start("slow", slow, 3)
    say()
    stay()


def counts():
    start("count", count_turns)
    say()
    stay()


def module_loop():
    """In a module of its own, with many names."""
    code = "\n".join([f"name_{n} = 1" for n in range(40)] + ["zz = 0", "while True: zz += 1"])
    start("module", lambda: exec(compile(code, "loop.py", "exec"), {"__name__": "loop"}))
    say()
    stay()


def spins():
    start("spin", spin)
    say()
    stay()


def endlessly():
    start("endless", endless, 5)
    say()
    stay()


def grows():
    start("growing", growing)
    say()
    stay()


def hog():
    """One thread in C code that doesn't let go of the GIL, and seven that want it."""
    go = threading.Event()
    for i in range(7):
        start(f"hungry-{i}", lambda: (go.wait(), slow(1)))
    start("hog", lambda: (go.wait(), backtrack()))
    say()  # later this thread has no GIL to say it with
    go.set()
    stay()


def native():
    go = threading.Event()
    start("native", lambda: (go.wait(), add_up()))
    say()
    go.set()
    stay()


def crowd():
    for i in range(8):
        start(f"hungry-{i}", slow, i)
    say()
    stay()


# --- Waiting


def waits():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    left, right = socket.socketpair()
    child = subprocess.Popen([sys.executable, "-c", "import os; os.read(0, 1)"], stdin=subprocess.PIPE)
    reader, _ = os.pipe()
    start("tcp", client.recv, 1)
    start("unix", left.recv, 1)
    start("accept", server.accept)
    start("pipe", os.read, reader, 1)
    start("child", child.wait)
    start("sleep", time.sleep, 3600)
    locked = tempfile.NamedTemporaryFile()
    fcntl.flock(locked, fcntl.LOCK_EX)
    wanted = open(locked.name)
    start("flock", fcntl.flock, wanted, fcntl.LOCK_EX)
    selector = selectors.DefaultSelector()
    selector.register(right, selectors.EVENT_READ)
    start("select", selector.select)
    say(child_pid=child.pid, port=server.getsockname()[1])
    stay()
    peer.close()


def idle():
    jobs = queue.Queue()
    start("get", jobs.get)
    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="pool")
    pool.submit(int).result()
    pool.submit(int).result()
    loop = asyncio.new_event_loop()
    start("loop", loop.run_forever)
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    start("serve", server.serve_forever)
    say()
    stay()


def held():
    """A lock held by a thread that waits for a peer, and a thread that wants it."""
    lock = threading.Lock()
    left, _right = socket.socketpair()
    taken = threading.Event()

    def hold():
        with lock:
            taken.set()
            left.recv(1)

    def want():
        with lock:
            pass

    start("holder", hold)
    taken.wait()
    start("waiter", want)
    say()
    stay()


def deadlock():
    first, second = threading.Lock(), threading.Lock()
    both = threading.Barrier(2)

    def take(one, other):
        with one:
            both.wait()
            with other:
                pass

    start("left", take, first, second)
    start("right", take, second, first)
    say()
    stay()


# --- Healthy and busy: none of it is a deadlock.


def requests():
    """A WSGI server under requests of its own clients."""

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(sum(range(500))).encode()]

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_):
            pass

    server = wsgiref.simple_server.make_server("127.0.0.1", 0, application, handler_class=Quiet)
    start("server", server.serve_forever)

    def ask():
        while True:
            with socket.create_connection(server.server_address) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while connection.recv(4096):
                    pass

    start("client-1", ask)
    start("client-2", ask)
    say()
    stay()


def shared():
    """Threads that take two locks in the same order, a queue between them, and a condition."""
    first, second = threading.Lock(), threading.RLock()
    jobs = queue.Queue(4)
    condition = threading.Condition()
    numbers = []

    def take():
        while True:
            with first, second:
                sum(range(200))

    def produce():
        while True:
            jobs.put(sum(range(100)))

    def consume():
        while True:
            jobs.get()

    def notify():
        while True:
            with condition:
                numbers.append(1)
                condition.notify_all()
            time.sleep(0)

    def wait():
        while True:
            with condition:
                condition.wait_for(lambda: numbers)
                numbers.clear()

    for i in range(3):
        start(f"take-{i}", take)
    start("produce", produce)
    start("consume-1", consume)
    start("consume-2", consume)
    start("notify", notify)
    start("wait", wait)
    say()
    stay()


def tasks():
    """A pool and an event loop with work."""
    pool = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="pool")

    def feed():
        while True:
            list(pool.map(lambda n: sum(range(n)), range(200)))

    async def count(event, other):
        while True:
            await event.wait()
            event.clear()
            other.set()

    async def play():
        ping, pong = asyncio.Event(), asyncio.Event()
        ping.set()
        await asyncio.gather(count(ping, pong), count(pong, ping))

    start("feed", feed)
    start("loop", asyncio.run, play())
    say()
    stay()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
