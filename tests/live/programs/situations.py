"""Threads in situations that people meet, and what is right to say of each.

    situations.py TABLE

Prints a line of JSON once all threads of the table have got there:

    {"threads": [{"tid", "name", "verdict", "says": [...], "never": [...]}, ...], "deadlocks": [[tid, ...], ...],
     "head": [...], "never_in_head": [...]}

and then stays as it is. "says" stands in the heading that `dump` prints for the thread; "verdict" is that of `why`, null
for one that isn't checked. A situation is a function that starts its threads, so a table costs one process.
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import json
import logging
import logging.handlers
import multiprocessing
import os
import queue
import selectors
import signal
import socket
import socketserver
import sqlite3
import sys
import tempfile
import threading
import time

FILE = os.path.basename(__file__)
threads = []
deadlocks = []
kept = []  # what ends when nobody refers to it any more
never, never_written = os.pipe()
left, right = socket.socketpair()


C = ctypes.CDLL(None)


def stay():
    os.read(never, 1)


def native_mutex():
    mutex = ctypes.create_string_buffer(64)  # PTHREAD_MUTEX_INITIALIZER
    kept.append(mutex)
    return mutex


def native_id(thread):
    """Of a thread that may have to start first."""
    while thread.native_id is None:
        pass
    return thread.native_id


def start(function, *arguments, name=None):
    thread = threading.Thread(target=function, args=arguments, name=name or function.__name__, daemon=True)
    thread.start()
    return thread


def expect(thread, verdict, *says, never=()):
    """What is right to say of a thread; of another process's, its pid."""
    tid = thread if isinstance(thread, int) else native_id(thread)
    threads.append({"tid": tid, "name": getattr(thread, "name", None), "verdict": verdict, "says": says,
                    "never": never})
    return thread


def at(function):
    """Where a function waits that has one statement."""
    return f"{function.__qualname__} ({FILE}:{function.__code__.co_firstlineno + 1})"


def waits(function, words, *arguments, says=(), verdict="waiting", never=()):
    """A function that waits in a thread of its own, below another function: so it isn't a worker at rest."""
    def request():
        function(*arguments)

    thread = start(request, name=function.__name__)
    return expect(thread, verdict, words, *says, never=["idle", *never])


def threads_of(pool):
    return sorted(pool._threads, key=lambda thread: thread.name)


# --- Waits for what another thread has to do


def wait_event(event):
    event.wait()


def wait_barrier(barrier):
    barrier.wait()


def wait_condition(condition):
    with condition: condition.wait()


def wait_result(future):
    return future.result()


def wait_results(futures):
    concurrent.futures.wait(futures)


def wait_room(jobs):
    jobs.put(1)


def wait_done(jobs):
    jobs.join()


def wait_item(jobs):
    return jobs.get()


def wait_slot(semaphore):
    semaphore.acquire()


def wait_native(function, argument):
    function(argument)


def wait_native_condition(condition, mutex):
    C.pthread_mutex_lock(mutex)
    C.pthread_cond_wait(condition, mutex)


def hold_native(mutex, inside):
    C.pthread_mutex_lock(mutex)
    inside.set()
    os.read(never, 1)


def wait_end(thread):
    thread.join()


def wait_select(selector):
    selector.select()


def wait_peer(connection):
    connection.recv(1)


def wait_message(connection):
    return connection.recv()


def wait_map(pool, function):
    return list(pool.map(function, [right]))


def take_with_lock(lock, jobs):
    with lock: jobs.get()


def take(lock):
    with lock: pass


def hold_by_stack(lock, inside):
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock)
        inside.set()
        os.read(never, 1)


def make_and_acquire(lock, semaphore):
    semaphore.acquire()


def end_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def be_silent(connection):
    end_with_parent()
    os.read(never, 1)


def waiting():
    done, full, jobs = threading.Event(), queue.Queue(1), queue.PriorityQueue(5)
    full.put(0)
    for n in range(3):
        jobs.put(n)
    jobs.get()
    waits(wait_event, "waiting for an event", done, says=["threading.Event"])
    waits(wait_barrier, "waiting at a barrier", threading.Barrier(3), says=["(1 of 3 threads there)"])
    waits(wait_condition, "waiting for a condition", threading.Condition())
    waits(wait_result, "waiting for a result", concurrent.futures.Future(), says=["(pending)"])
    waits(wait_results, "waiting for futures", [concurrent.futures.Future()])
    waits(wait_room, "waiting for room in a queue", full, says=["queue.Queue", "(1 of 1 item)"])
    waits(wait_done, "waiting for the items of a queue to be done", jobs,
          says=["queue.PriorityQueue", "(2 of 5 items, 1 taken and not done yet)"])
    waits(wait_item, "waiting for an item of a queue", queue.Queue(), says=["(0 items)"])
    waits(wait_item, "waiting for an item of a queue", queue.SimpleQueue(), says=["queue.SimpleQueue"])
    slots = threading.BoundedSemaphore(2)
    slots.acquire(), slots.acquire()
    waits(wait_slot, "waiting for threading.BoundedSemaphore", slots, says=["(0 of 2 free)"],
          verdict="waiting")
    reader = start(wait_peer, left, name="reader")
    waits(wait_end, 'to end, which is blocked in wait_peer', reader, says=['"reader"'], verdict="waiting_for_lock")
    expect(start(take_with_lock, threading.Lock(), queue.Queue()), "waiting", "waiting for an item of a queue")
    selector = selectors.DefaultSelector()
    selector.register(left, selectors.EVENT_READ)
    waits(wait_select, "waiting in select", selector)

    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="busy")
    running = pool.submit(wait_peer, left)
    pool.submit(wait_peer, left)
    queued = [pool.submit(abs, 1) for _ in range(2)]
    first, second = threads_of(pool)
    while not all(future.running() for future in [running]):
        pass
    waits(wait_result, "waiting for a result", running, says=["(running), to come from ", '"busy_0"', "wait_peer"])
    waits(wait_result, "waiting for a result", queued[1],
          says=["(queued behind 1 other in a ThreadPoolExecutor of 2 threads)", '"busy_0" or ', '"busy_1"'])
    waits(wait_map, "waiting for a result", concurrent.futures.ThreadPoolExecutor(1), wait_peer,
          says=["(running), to come from "])

    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=be_silent, args=(theirs,), daemon=True)
    child.start()
    theirs.close()
    waits(wait_message, "waiting for a message", ours, says=[f"(pid {child.pid})"], verdict="waiting_for_io")
    # A lock that is held through an ExitStack, by a thread; another thread made the lock and acquires something else.
    locked, inside = threading.Lock(), threading.Event()
    holder = start(hold_by_stack, locked, inside)
    inside.wait()
    expect(start(make_and_acquire, locked, slots), "waiting", "waiting for threading.BoundedSemaphore")
    waits(take, "waiting for threading.Lock", locked, says=['held by', '"hold_by_stack"'],
          verdict="waiting_for_lock", never=["make_and_acquire"])
    lost = threading.Lock()
    lost.acquire()
    expect(start(make_and_acquire, lost, slots), "waiting")
    waits(take, "waiting for threading.Lock", lost, says=["which no thread is seen to hold"],
          verdict="waiting_for_lock", never=["make_and_acquire"])
    # In C, for nothing that Python knows of.
    semaphore = ctypes.create_string_buffer(64)
    C.sem_init(semaphore, 0, 0)
    kept.append(semaphore)
    waits(wait_native, "waiting in native code", C.sem_wait, semaphore, never=["a lock", "mutex"])
    # A condition, with its mutex given back meanwhile.
    condition, mutex = ctypes.create_string_buffer(64), native_mutex()
    kept.append(condition)
    waits(wait_native_condition, "waiting in native code", condition, mutex, never=["a lock", "mutex"])
    taken, inside = native_mutex(), threading.Event()
    start(hold_native, taken, inside)
    inside.wait()
    waits(wait_native, "waiting for native mutex", C.pthread_mutex_lock, taken,
          says=["held by", '"hold_native", which is blocked in hold_native'], verdict="waiting_for_lock")
    # Of a class of the program that is called like one of the library.
    waits(Queue().get, "waiting for a condition", says=["threading.Condition", '"self.not_empty" of <Queue at '])
    return {"head": ["waiting for an event"], "never_in_head": ["idle in Queue"]}


class Queue:
    def __init__(self):
        self.not_empty = threading.Condition()

    def get(self):
        with self.not_empty: self.not_empty.wait()


# --- Databases


def lock_database(path, told):
    end_with_parent()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("begin exclusive")
    told.send(os.getpid())
    os.read(never, 1)


def write_database(path):
    database = sqlite3.connect(path, timeout=10**6, isolation_level=None)
    database.execute("insert into job values (1)")


def nap_briefly():
    while True:
        time.sleep(0.05)


def databases():
    """Another process has locked a database."""
    folder = tempfile.TemporaryDirectory()
    kept.append(folder)
    path = os.path.join(folder.name, "app.db")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("create table job (id)")
    database.close()
    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=lock_database, args=(path, theirs), daemon=True)
    holder.start()
    pid = ours.recv()
    writer = start(write_database, path)
    expect(writer, "waiting_for_lock", f"waiting for the SQLite database app.db, locked by ", f"(pid {pid})",
           never=["sleeping"])
    # Who only sleeps has nothing to do with it.
    expect(start(nap_briefly), None, never=["SQLite"])
    return {"never_in_head": ["deadlock"]}


# --- Workers at rest


def consume(jobs):
    while True:
        jobs.get()


class Consumer(threading.Thread):
    def __init__(self, jobs):
        super().__init__(daemon=True, name="Consumer")
        self.jobs = jobs

    def run(self):
        while True:
            self.jobs.get()


def serve(server):
    while True:
        server.accept()


def resting():
    expect(start(consume, queue.Queue()), "idle", "idle in Queue.get")
    expect(start(consume, queue.SimpleQueue()), "idle", "idle in SimpleQueue.get")
    consumer = Consumer(queue.LifoQueue())
    consumer.start()
    expect(consumer, "idle", "idle in Queue.get")
    expect(start(serve, socket.create_server(("127.0.0.1", 0))), "idle", "idle in socket.accept")
    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="pool")
    pool.submit(int).result()
    for worker in threads_of(pool):
        expect(worker, "idle", "idle in ThreadPoolExecutor")
    loop = asyncio.new_event_loop()
    expect(start(loop.run_forever, name="loop"), "idle", "idle in the asyncio event loop")
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    expect(start(server.serve_forever, name="server"), "idle", "idle in serve_forever")
    listener = logging.handlers.QueueListener(queue.Queue(), logging.NullHandler())
    listener.start()
    expect(listener._thread, "idle", "idle in QueueListener")
    timer = threading.Timer(3600, print)
    timer.daemon = True
    timer.start()
    expect(timer, None, "idle in Timer.run")
    workers = multiprocessing.get_context("fork").Pool(2, initializer=end_with_parent)
    for handler in (workers._worker_handler, workers._task_handler, workers._result_handler):
        expect(handler, None, "idle in multiprocessing.Pool")
    kept.extend([pool, workers])
    return {"never_in_head": ["waiting", "deadlock"]}


# --- Deadlocks


def deadlocked(*members):
    deadlocks.append([native_id(thread) for thread in members])
    for thread in members:
        expect(thread, "deadlocked")


def nested():
    """All workers of an executor wait for calls that are in its queue."""
    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="nested")
    both = threading.Barrier(2)

    def parent():
        both.wait()
        return pool.submit(abs, 1).result()

    futures = [pool.submit(parent) for _ in range(2)]
    deadlocked(*threads_of(pool))
    waits(wait_result, "waiting for a result", futures[0], says=["which is deadlocked"])


def single():
    """A pool of one thread that waits for its own second call, through map()."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="single")
    pool.submit(lambda: list(pool.map(abs, [1])))
    deadlocked(*threads_of(pool))


def lock_and_pool():
    """A thread holds a lock and waits for a call that needs the lock."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="locker")
    lock = threading.Lock()
    taken = threading.Event()

    def use():
        taken.wait()
        with lock:
            pass

    def hold():
        with lock:
            future = pool.submit(use)
            taken.set()
            future.result()

    holder = start(hold)
    taken.wait()
    deadlocked(holder, *threads_of(pool))


def own_loop():
    """A coroutine that waits, by blocking, for another one of the same loop."""
    async def fetch():
        return 1

    async def handle():
        asyncio.run_coroutine_threadsafe(fetch(), asyncio.get_running_loop()).result()

    deadlocked(start(lambda: asyncio.run(handle()), name="own_loop"))


def loop_and_worker():
    """An event loop that waits, by blocking, for a worker that waits for a coroutine of the loop."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="asker")

    async def fetch():
        await asyncio.sleep(0)

    def ask(loop):
        asyncio.run_coroutine_threadsafe(fetch(), loop).result()

    async def handle():
        pool.submit(ask, asyncio.get_running_loop()).result()

    loop = start(lambda: asyncio.run(handle()), name="loop_and_worker")
    while not pool._threads:
        pass
    deadlocked(loop, *threads_of(pool))


def joins():
    """Two threads that wait for each other to end, and one that waits for them."""
    members = []
    both = threading.Barrier(2)

    def join(other):
        both.wait()
        members[other].join()

    members.append(threading.Thread(target=join, args=(1,), name="join-0", daemon=True))
    members.append(threading.Thread(target=join, args=(0,), name="join-1", daemon=True))
    for member in members:
        member.start()
    deadlocked(*members)
    waits(wait_end, "to end, which is deadlocked", members[0], verdict="waiting_for_lock")


def native_mutexes():
    """Two threads that have a mutex of the C library each, and want the other's."""
    mutexes = [native_mutex(), native_mutex()]
    both = threading.Barrier(2)

    def take_both(first, second):
        C.pthread_mutex_lock(first)
        both.wait()
        C.pthread_mutex_lock(second)

    deadlocked(start(take_both, *mutexes, name="mutex-0"), start(take_both, *reversed(mutexes), name="mutex-1"))


def mutex_and_lock():
    """One thread has a mutex and wants a lock, the other one the other way round."""
    mutex, lock = native_mutex(), threading.Lock()
    both = threading.Barrier(2)

    def mutex_first():
        C.pthread_mutex_lock(mutex)
        both.wait()
        with lock:
            pass

    def lock_first():
        with lock:
            both.wait()
            C.pthread_mutex_lock(mutex)

    deadlocked(start(mutex_first), start(lock_first))


def through_gil():
    """The main thread keeps the GIL and wants a mutex; who has that wants the GIL."""
    global stay
    mutex = native_mutex()
    inside = threading.Event()

    def own_mutex():
        C.pthread_mutex_lock(mutex)
        inside.set()
        while True:
            pass

    owner = start(own_mutex)
    inside.wait()
    deadlocks.append([os.getpid(), native_id(owner)])
    stay = lambda: ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    return {"head": ["deadlocked"]}


def deadlocking():
    for situation in (nested, single, lock_and_pool, own_loop, loop_and_worker, joins, native_mutexes,
                      mutex_and_lock):
        situation()
    return {"head": ["deadlocked"]}


if __name__ == "__main__":
    told = globals()[sys.argv[1]]()
    print(json.dumps({"threads": threads, "deadlocks": deadlocks, **told}), flush=True)
    stay()
