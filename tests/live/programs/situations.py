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
    # Something may come from outside. Else all these only wait for the child, and the child for them: a deadlock indeed.
    start(serve, socket.create_server(("127.0.0.1", 0)), name="outside")
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


# --- Cycles of locks in all the ways of taking them


def ring(*enters, name):
    """Threads each of which takes its own lock in its own way, and then wants the next one's."""
    all_have = threading.Barrier(len(enters))
    locks = [enter.make() for enter in enters]

    def take_next(i):
        with enters[i](locks[i]):
            all_have.wait()
            with locks[(i + 1) % len(locks)]:
                pass

    members = [threading.Thread(target=take_next, args=(i,), name=f"{name}-{i}", daemon=True)
               for i in range(len(enters))]
    for member in members:
        member.start()
    deadlocked(*members)
    return members


class Plainly:
    """A `with` statement of the lock itself."""
    make = threading.Lock

    def __new__(cls, lock):
        return lock


class Reentrantly(Plainly):
    make = threading.RLock


class ByCondition(Plainly):
    make = threading.Condition


class ByConditionOfLock(Plainly):
    def make():
        return threading.Condition(threading.Lock())


class ByStack(Plainly):
    def __new__(cls, lock):
        stack = contextlib.ExitStack()
        stack.enter_context(lock)
        return stack


class ByGenerator(Plainly):
    def __new__(cls, lock):
        @contextlib.contextmanager
        def locked():
            with lock:
                yield
        return locked()


class ByTwoGenerators(Plainly):
    def __new__(cls, lock):
        @contextlib.contextmanager
        def inner():
            with lock:
                yield

        @contextlib.contextmanager
        def outer():
            with inner():
                yield
        return outer()


class ByAcquire(Plainly):
    """An RLock records its owner, however it was taken."""
    make = threading.RLock

    def __new__(cls, lock):
        lock.acquire()
        return contextlib.nullcontext()


def three():
    ring(Plainly, Plainly, Plainly, name="three")


def six():
    ring(*[Plainly] * 6, name="six")


def reentrant():
    ring(Reentrantly, Reentrantly, name="reentrant")


def mixed():
    ring(Plainly, Reentrantly, ByCondition, name="mixed")


def conditions():
    ring(ByCondition, ByConditionOfLock, name="condition")


def stacks():
    ring(ByStack, Plainly, name="stack")


def generators():
    ring(ByGenerator, Plainly, name="generator")


def deep_generators():
    ring(ByTwoGenerators, ByGenerator, name="deep")


def acquired():
    ring(ByAcquire, Plainly, name="acquired")


def behind_ring():
    """One that waits for a lock of a cycle, without having any."""
    members = ring(Plainly, Plainly, name="front")
    waits(wait_end, "to end, which is deadlocked", members[1], verdict="waiting_for_lock")


def twice():
    """A lock that its thread wants once more."""
    lock = threading.Lock()

    def take_twice():
        with lock:
            with lock:
                pass

    deadlocked(start(take_twice))


def condition_twice():
    condition = threading.Condition(threading.Lock())

    def enter_twice():
        with condition:
            with condition:
                pass

    deadlocked(start(enter_twice))


def join_with_lock(make, name):
    """A thread that has a lock waits for one to end that wants the lock."""
    lock = make()
    inside = threading.Event()

    def want():
        inside.wait()
        with lock:
            pass

    wanting = start(want, name=f"{name}-want")

    def join():
        with lock:
            inside.set()
            wanting.join()

    deadlocked(start(join, name=f"{name}-join"), wanting)


def join_with_locks():
    join_with_lock(threading.Lock, "lock")
    join_with_lock(threading.RLock, "rlock")
    join_with_lock(threading.Condition, "condition")


def import_and_join():
    """A module that waits, while it is imported, for a thread that imports it."""
    folder = tempfile.TemporaryDirectory()
    kept.append(folder)
    with open(os.path.join(folder.name, "half_imported.py"), "w") as file:
        file.write("import situation_of_import\nsituation_of_import.join()\n")
    sys.path.insert(0, folder.name)
    situation = type(sys)("situation_of_import")
    sys.modules["situation_of_import"] = situation
    inside = threading.Event()

    def import_it():
        import half_imported

    def import_it_too():
        inside.wait()
        import half_imported

    second = start(import_it_too)

    def join():
        inside.set()
        second.join()

    situation.join = join
    deadlocked(start(import_it), second)


def two_pools():
    """A worker of one executor waits for a call of another, which waits for a call of the first."""
    one = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="one")
    other = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="other")
    one.submit(lambda: other.submit(lambda: one.submit(abs, 1).result()).result())
    while not other._threads:
        pass
    deadlocked(*threads_of(one), *threads_of(other))


def two_loops():
    """Two event loops whose callbacks wait, by blocking, for each other's coroutines."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    both = threading.Barrier(2)

    async def nothing():
        pass

    async def ask(other):
        both.wait()
        asyncio.run_coroutine_threadsafe(nothing(), other).result()

    kept.extend(loops)
    members = []
    for i in range(2):
        members.append(start(loops[i].run_until_complete, ask(loops[1 - i]), name=f"loop-{i}"))
    deadlocked(*members)


def loop_and_lock():
    """A coroutine takes a lock by blocking; who has it waits for the loop."""
    lock, inside = threading.Lock(), threading.Event()
    loop = asyncio.new_event_loop()

    async def nothing():
        pass

    async def take_lock():
        inside.wait()
        with lock:
            pass

    runner = start(loop.run_until_complete, take_lock(), name="blocked_loop")

    def hold_and_ask():
        with lock:
            future = asyncio.run_coroutine_threadsafe(nothing(), loop)
            inside.set()
            future.result()

    deadlocked(runner, start(hold_and_ask))


def logging_lock():
    """Who has a handler's lock wants another one, whose owner logs."""
    handler, lock = logging.StreamHandler(), threading.Lock()
    both = threading.Barrier(2)

    def handle():
        with handler.lock:
            both.wait()
            with lock:
                pass

    def log():
        with lock:
            both.wait()
            handler.acquire()

    deadlocked(start(handle), start(log))


def ringing():
    for situation in (three, six, reentrant, mixed, conditions, stacks, generators, deep_generators, acquired,
                      behind_ring, twice, condition_twice, join_with_locks, import_and_join, two_pools, two_loops,
                      loop_and_lock, logging_lock):
        situation()
    return {"head": ["deadlocked"]}


# --- What looks like a deadlock, and isn't known to be one


def take_for_long(lock):
    lock.acquire(timeout=100_000)


def result_for_long(future):
    future.result(timeout=100_000)


def timed_ring():
    """All have a lock and want the next one's, but not for ever."""
    locks = [threading.Lock(), threading.Lock()]
    both = threading.Barrier(2)

    def hold_and_want(i):
        with locks[i]:
            both.wait()
            take_for_long(locks[1 - i])

    for i in range(2):
        expect(start(hold_and_want, i, name=f"timed-{i}"), "waiting_for_lock", "threading.Lock", "held by",
               never=["deadlock"])


def half_timed_ring():
    """One of two would give up in the end."""
    locks = [threading.Lock(), threading.Lock()]
    both = threading.Barrier(2)

    def patient():
        with locks[0]:
            both.wait()
            with locks[1]:
                pass

    def impatient():
        with locks[1]:
            both.wait()
            take_for_long(locks[0])

    expect(start(patient), "waiting_for_lock", "held by", '"impatient"', never=["deadlock"])
    expect(start(impatient), "waiting_for_lock", "held by", '"patient"', never=["deadlock"])


def timed_nested():
    """A worker that waits for its own executor, with a timeout."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="timed_nested")
    kept.append(pool)
    pool.submit(lambda: result_for_long(pool.submit(abs, 1)))
    expect(*threads_of(pool), "waiting", "waiting for a result", never=["deadlock"])


def busy_nested():
    """Two of three workers wait for their executor; the third reads."""
    pool = concurrent.futures.ThreadPoolExecutor(3, thread_name_prefix="busy_nested")
    kept.append(pool)
    all_there = threading.Barrier(3)

    def ask():
        all_there.wait()
        pool.submit(abs, 1).result()

    def read():
        all_there.wait()
        os.read(never, 1)

    for work in (ask, ask, read):
        pool.submit(work)
    while len(pool._threads) < 3:
        pass
    for worker in threads_of(pool):
        expect(worker, None, never=["deadlock", "idle"])


def young_pool():
    """The executor may start one more thread, and has: the inner call was done."""
    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="young")
    pool.submit(lambda: pool.submit(abs, 1).result()).result()
    for worker in threads_of(pool):
        expect(worker, "idle", "idle in ThreadPoolExecutor", never=["deadlock"])
    kept.append(pool)


def given_back():
    """Who waits for a condition has given its lock back: another one that wants it isn't behind that thread."""
    condition = threading.Condition()
    expect(start(wait_condition, condition, name="waits_inside"), "waiting", "waiting for a condition")

    def hold():
        condition.acquire()
        os.read(never, 1)

    # Any thread gets the lock while the first one waits.
    holder = start(hold, name="took_meanwhile")
    expect(holder, "waiting_for_io")
    while not condition._lock._is_owned() and holder.native_id is None:
        pass
    waits(take, "waiting for threading.", condition, says=['"took_meanwhile"'], verdict="waiting_for_lock",
          never=["waits_inside", "deadlock"])


def lock_behind_event():
    """A thread has a lock and waits for an event; another one wants the lock."""
    lock, inside, event = threading.Lock(), threading.Event(), threading.Event()

    def hold_and_wait():
        with lock:
            inside.set()
            event.wait()

    holder = start(hold_and_wait)
    expect(holder, "waiting", "waiting for an event", never=["deadlock", "idle"])
    inside.wait()
    waits(take, "waiting for threading.Lock", lock, says=["held by", '"hold_and_wait"'],
          verdict="waiting_for_lock", never=["deadlock"])


class Journal:
    """Has a lock, which a `with` statement of it doesn't take."""

    def __init__(self):
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class Condition:
    """Called like that of the library, and has a lock, but takes none."""

    def __init__(self):
        self._lock = threading.Lock()

    def __enter__(self):
        self._lock.locked()
        return self

    def __exit__(self, *exception):
        pass


def acquire_and_read(lock, inside):
    lock.acquire()
    inside.set()
    os.read(never, 1)


def only_guilty_holds(lock, be_in_it, inside):
    """A thread is in what looks like a `with` statement of the lock; another one has the lock, and a third waits."""
    taken = threading.Event()
    start(be_in_it, name="innocent")
    inside.wait()
    start(acquire_and_read, lock, taken, name="guilty")
    taken.wait()
    waits(take, "waiting for threading.Lock", lock, verdict="waiting_for_lock", never=["innocent", "deadlock"])


def innocent_with():
    """Threads are in `with` statements of objects whose lock somebody else has."""
    for make in (Journal, Condition):
        thing, inside = make(), threading.Event()

        def be_in_it(thing=thing, inside=inside):
            with thing:
                inside.set()
                os.read(never, 1)

        only_guilty_holds(thing._lock, be_in_it, inside)


def innocent_generator():
    """A generator of contextlib that has given its lock back before its yield."""
    lock, inside = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def briefly():
        with lock:
            pass
        yield

    def be_in_it():
        with briefly():
            inside.set()
            os.read(never, 1)

    only_guilty_holds(lock, be_in_it, inside)


def innocent_stack():
    """An exit stack that was closed early."""
    lock, inside = threading.Lock(), threading.Event()

    def be_in_it():
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock)
            stack.pop_all().close()
            inside.set()
            os.read(never, 1)

    only_guilty_holds(lock, be_in_it, inside)


def lent():
    """A function that gives its lock back for a while in the middle of the `with` statement."""
    lock, inside, taken = threading.Lock(), threading.Event(), threading.Event()

    def lend():
        with lock:
            lock.release()
            inside.set()
            os.read(never, 1)
            lock.acquire()

    start(lend)
    inside.wait()
    start(acquire_and_read, lock, taken, name="borrower")
    taken.wait()
    waits(take, "waiting for threading.Lock", lock, verdict="waiting_for_lock", never=["held by", "deadlock"])


def handed_on():
    """A lock that was acquired by one thread, for another one to give back."""
    lock = threading.Lock()
    other = threading.Thread(target=lock.acquire)
    other.start()
    other.join()
    waits(take, "waiting for threading.Lock", lock, says=["which no thread is seen to hold"],
          verdict="waiting_for_lock", never=["deadlock"])


def same_name():
    """Two locks of the same name: the holder of the other one has nothing to do with it."""
    def hold(lock, inside):
        with lock:
            inside.set()
            os.read(never, 1)

    locks, insides = [threading.Lock(), threading.Lock()], [threading.Event(), threading.Event()]
    for i in range(2):
        start(hold, locks[i], insides[i], name=f"same-{i}")
        insides[i].wait()
    waits(take, "waiting for threading.Lock", locks[1], says=["held by", '"same-1"'], verdict="waiting_for_lock",
          never=["same-0", "deadlock"])


def each_others_queue():
    """Who could put an item into a queue can't be known."""
    queues = [queue.Queue(), queue.Queue()]

    def get(i):
        queues[i].get()
        queues[1 - i].put(1)

    for i in range(2):
        expect(start(get, i, name=f"queue-{i}"), None, never=["deadlock"])


def slots():
    """A semaphore of one place may be given back by anybody."""
    semaphores = [threading.Semaphore(), threading.Semaphore()]
    both = threading.Barrier(2)

    def take_both(i):
        with semaphores[i]:
            both.wait()
            wait_slot(semaphores[1 - i])

    for i in range(2):
        expect(start(take_both, i, name=f"slot-{i}"), None, "threading.Semaphore", never=["deadlock", "held by"])


def coroutine_of_idle_loop():
    """The loop is free: the coroutine only takes its time."""
    loop = asyncio.new_event_loop()
    kept.append(loop)
    expect(start(loop.run_forever, name="free_loop"), "idle", "idle in the asyncio event loop", never=["deadlock"])
    future = asyncio.run_coroutine_threadsafe(asyncio.sleep(100_000), loop)
    expect(start(wait_result, future, name="asks_loop"), "waiting", "waiting for a result", '"free_loop"', never=["deadlock"])


def own_queue_done():
    """Who gives the items back that a queue counts can't be known."""
    jobs = queue.Queue()
    jobs.put(1)

    def work():
        jobs.get()
        jobs.join()

    expect(start(work, name="own_queue_done"), "waiting", "waiting for the items of a queue to be done",
           never=["deadlock", "idle"])


def main_event():
    """A thread that waits for another one, which waits for what a signal may bring."""
    event = threading.Event()
    setter = start(wait_event, event, name="by_signal")
    waits(wait_end, "to end", setter, verdict="waiting_for_lock", never=["deadlock"])


def feeder():
    """The thread that feeds a queue of multiprocessing can't: nobody reads the pipe."""
    jobs = multiprocessing.get_context("fork").Queue()
    jobs.put(bytes(1 << 20))
    kept.append(jobs)
    expect(jobs._thread, "waiting_for_io", "waiting for a pipe", never=["idle", "deadlock"])


def harmless():
    for situation in (timed_ring, half_timed_ring, timed_nested, busy_nested, young_pool, given_back, lock_behind_event,
                      innocent_with, innocent_generator, innocent_stack, lent, handed_on, same_name, each_others_queue,
                      slots, coroutine_of_idle_loop, own_queue_done, main_event, feeder):
        situation()
    return {"never_in_head": ["deadlock"]}


if __name__ == "__main__":
    told = globals()[sys.argv[1]]()
    print(json.dumps({"threads": threads, "deadlocks": deadlocks, **told}), flush=True)
    stay()
