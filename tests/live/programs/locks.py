"""Threads that wait for locks of every kind, and what they themselves know of them.

    locks.py CASE

Prints a line of JSON once all threads of the case have said what they are about to wait for:

    {"waits": [{"tid", "type", "address", "name", "owner_object", "kind", "held_by", "holder", "taken_at"}, ...],
     "deadlocks": [[tid, ...], ...]}

and then blocks. Each of the threads blocks right after it has said so. A value of null in a wait is one that is
expected to be null, a key that is missing isn't checked; nor is a taken_at of null.
"""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import queue
import sys
import threading

never, _never_written = os.pipe()

A = threading.Lock()
B = threading.Lock()
C = threading.Lock()
R = threading.RLock()
S = threading.RLock()
CONDITION = threading.Condition()
QUEUE = queue.Queue(1)

tids = {}  # of the threads of the case, by their names
waits = []
_said = threading.Condition()


def begin():
    with _said:
        tids[threading.current_thread().name] = threading.get_native_id()
        _said.notify_all()


def say(type_, thing, name, tid=None, **more):
    """What this thread is about to wait for, or the one with this tid."""
    if thing is not None:
        more["address"] = hex(id(thing))
    with _said:
        waits.append({"tid": tid or threading.get_native_id(), "type": type_, "name": name, **more})
        _said.notify_all()


def here():
    return sys._getframe(1).f_lineno


def start(*functions, count=1):
    for function in functions:
        for number in range(count):
            name = function.__name__ if count == 1 else f"{function.__name__}-{number}"
            threading.Thread(target=function, name=name, daemon=True).start()


def until_said(count):
    with _said:
        _said.wait_for(lambda: len(waits) >= count)


def block():
    begin()
    os.read(never, 1)


# --- Deadlocks


def two():
    both = threading.Barrier(2)

    def left():
        begin()
        taken = here() + 1
        with A:
            lines["left"] = taken
            both.wait()
            say("threading.Lock", B, "__main__.B", held_by="right", holder="proven", kind="lock", line=here() + 1)
            with B:
                pass

    def right():
        begin()
        taken = here() + 1
        with B:
            lines["right"] = taken
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock", line=here() + 1)
            with A:
                pass

    start(left, right)
    return 2, [["left", "right"]]


class Account:
    def __init__(self):
        self._lock = threading.Lock()

    def transfer(self, other, meet, holder):
        taken = here() + 1
        with self._lock:
            lines[threading.current_thread().name] = taken
            meet.wait()
            try:
                other.put(holder)
            finally:
                print(end="")

    def put(self, holder):
        owner = f"<Account at {id(self):#x}>"
        say("threading.Lock", self._lock, "self._lock", owner_object=owner, held_by=holder, holder="proven", kind="lock", line=here() + 1)
        with self._lock:
            pass


def three():
    meet = threading.Barrier(3)
    accounts = [Account() for _ in range(3)]

    def first():
        begin()
        accounts[0].transfer(accounts[1], meet, "second")

    def second():
        begin()
        accounts[1].transfer(accounts[2], meet, "third")

    def third():
        begin()
        accounts[2].transfer(accounts[0], meet, "first")

    start(first, second, third)
    return 3, [["first", "second", "third"]]


def alone():
    def again():
        begin()
        lines["again"] = here() + 1
        with A:
            say("threading.Lock", A, "__main__.A", held_by="again", holder="proven", kind="lock", line=here() + 1)
            with A:
                pass

    start(again)
    return 1, [["again"]]


def acquired():
    both = threading.Barrier(2)

    def left():
        begin()
        R.acquire()
        both.wait()
        say("threading.RLock", S, "__main__.S", held_by="right", holder="proven", kind="lock", line=here() + 1)
        S.acquire()

    def right():
        begin()
        S.acquire()
        S.acquire()
        both.wait()
        say("threading.RLock", R, "__main__.R", held_by="left", holder="proven", kind="lock", line=here() + 1)
        with R:
            pass

    start(left, right)
    return 2, [["left", "right"]]


def condition():
    both = threading.Barrier(2)

    def left():
        begin()
        lines["left"] = here() + 1
        with A:
            both.wait()
            say("threading.Condition", CONDITION, "__main__.CONDITION", held_by="right", holder="proven", kind="lock", line=here() + 1)
            with CONDITION:
                pass

    def right():
        begin()
        lines["right"] = here() + 1
        with CONDITION:
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock", line=here() + 1)
            with A:
                pass

    start(left, right)
    return 2, [["left", "right"]]


def condition_of_lock():
    """The same with a condition that has a plain lock, which records no owner."""
    both = threading.Barrier(2)
    condition = threading.Condition(threading.Lock())

    def left():
        begin()
        lines["left"] = here() + 1
        with A:
            both.wait()
            say("threading.Condition", condition, "condition", held_by="right", holder="proven", kind="lock", line=here() + 1)
            with condition:
                pass

    def right():
        begin()
        lines["right"] = here() + 1
        with condition:
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock", line=here() + 1)
            with A:
                pass

    start(left, right)
    return 2, [["left", "right"]]


def in_queue():
    both = threading.Barrier(2)

    def left():
        begin()
        lines["left"] = here() + 1
        with A:
            both.wait()
            say("queue.Queue", QUEUE, "__main__.QUEUE", held_by="right", holder="proven", kind="lock", line=here() + 1)
            QUEUE.put(1)

    def right():
        begin()
        lines["right"] = here() + 1
        with QUEUE.mutex:
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock", line=here() + 1)
            with A:
                pass

    start(left, right)
    return 2, [["left", "right"]]


def joins():
    both = threading.Barrier(2)
    threads = {}

    def left():
        begin()
        both.wait()
        say("threading.Thread", threads["right"], "other", held_by="right", holder="proven", kind="lock", line=here() + 2)
        other = threads["right"]
        other.join()

    def right():
        begin()
        both.wait()
        say("threading.Thread", threads["left"], None, held_by="left", holder="proven", kind="lock", line=here() + 1)
        threads["left"].join()

    for function in (left, right):
        threads[function.__name__] = threading.Thread(target=function, name=function.__name__, daemon=True)
    for thread in list(threads.values()):
        thread.start()
    return 2, [["left", "right"]]


def join_and_lock():
    taken = threading.Event()

    def worker():
        begin()
        taken.wait()
        say("threading.Lock", A, "__main__.A", held_by="closer", holder="proven", kind="lock", line=here() + 1)
        with A:
            pass

    thread = threading.Thread(target=worker, name="worker", daemon=True)

    def closer():
        begin()
        lines["closer"] = here() + 1
        with A:
            taken.set()
            say("threading.Thread", thread, "thread", held_by="worker", holder="proven", kind="lock", line=here() + 1)
            thread.join()

    thread.start()
    start(closer)
    return 2, [["closer", "worker"]]


def imports():
    """CPython breaks a cycle of import locks alone, and can't see this one."""
    both = threading.Barrier(2)
    sys.modules["meeting"] = sys.modules["__main__"]
    globals()["meet"] = both
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "slow_module.py"), "w") as file:
        file.write("import meeting\nmeeting.meet.wait()\n" "meeting.say('threading.Lock', meeting.A, '__main__.A', held_by='holder', holder='proven', kind='lock', line=4)\n" "with meeting.A:\n    pass\n")

    def importer():
        begin()
        lines["importer"] = here() + 1
        import slow_module

    def holder():
        begin()
        lines["holder"] = here() + 1
        with A:
            both.wait()
            say("import lock", None, "slow_module", held_by="importer", holder="proven", kind="lock", line=here() + 1)
            import slow_module

    start(importer, holder)
    return 2, [["holder", "importer"]]


def managed():
    """Taken by a generator, in a `with` statement of its own."""
    both = threading.Barrier(2)

    @contextlib.contextmanager
    def held(lock):
        with lock:
            yield

    def left():
        begin()
        lines["left"] = here() + 1
        with held(A):
            both.wait()
            say("threading.Lock", B, "__main__.B", held_by="right", holder="proven", kind="lock", line=here() + 1)
            with B:
                pass

    def right():
        begin()
        lines["right"] = here() + 1
        with B:
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock")
            with held(A):
                pass

    start(left, right)
    return 2, [["left", "right"]]


# --- No deadlocks


def sleeping():
    inside = threading.Event()

    def sleeper():
        lines["sleeper"] = here() + 1
        with A:
            with open(os.devnull) as file, contextlib.suppress(KeyError):
                try:
                    raise LookupError
                except LookupError:
                    inside.set()
                    block()

    def waiter():
        inside.wait()
        say("threading.Lock", A, "__main__.A", held_by="sleeper", holder="proven", kind="lock", line=here() + 1)
        A.acquire()

    start(sleeper, waiter)
    return 1, []


def patient():
    """A cycle that ends by itself: one of the two gives up after an hour."""
    both = threading.Barrier(2)

    def left():
        begin()
        with A:
            both.wait()
            say("threading.Lock", B, "__main__.B", held_by="right", holder="proven", kind="lock", timeout=True)
            B.acquire(timeout=3600)

    def right():
        begin()
        with B:
            both.wait()
            say("threading.Lock", A, "__main__.A", held_by="left", holder="proven", kind="lock", timeout=False)
            with A:
                pass

    start(left, right)
    return 2, []


def by_acquire():
    inside = threading.Event()

    def taker():
        A.acquire()
        inside.set()
        block()

    def waiter():
        inside.wait()
        say("threading.Lock", A, "__main__.A", held_by=None, holder="nobody", kind="lock")
        with A:
            pass

    start(taker, waiter)
    return 1, []


def leaked():
    """Before the thread that takes them starts, all others have: none gets its ident, by which an RLock knows its owner."""
    gone = threading.Event()

    def taker():
        A.acquire()
        R.acquire()

    def waiter():
        gone.wait()
        say("threading.Lock", A, "__main__.A", held_by=None, holder="nobody", kind="lock")
        with A:
            pass

    def other():
        gone.wait()
        say("threading.RLock", R, "__main__.R", held_by=None, holder="nobody", kind="lock")
        with R:
            pass

    start(waiter, other)
    thread = threading.Thread(target=taker)
    thread.start()
    thread.join()
    gone.set()
    return 2, []


def given_back():
    """Condition.wait() gives its lock back in the middle of the `with` statement."""
    inside = threading.Event()
    condition = threading.Condition(threading.Lock())

    def waiter():
        with condition:
            say("threading.Condition", condition, "condition", held_by=None, holder=None, kind="event", line=here() + 1)
            condition.wait()

    def holder():
        until_said(1)
        lines["holder"] = here() + 1
        with condition:
            inside.set()
            block()

    def third():
        inside.wait()
        say("threading.Condition", condition, "condition", held_by="holder", holder="proven", kind="lock", line=here() + 1)
        with condition:
            pass

    start(waiter, holder, third)
    return 2, []


def notified():
    """Woken up, a thread waits for the condition's lock."""
    ready = threading.Semaphore(0)
    conditions = threading.Condition(), threading.Condition(threading.Lock())

    def on(condition, number):
        def waiter():
            begin()
            with condition:
                ready.release()
                condition.wait()

        def holder():
            with condition:
                condition.notify()
                say("threading.Condition", condition, "condition", tid=tids[f"waiter-{number}"], held_by=holder.__name__, holder="proven", kind="lock")
                block()

        waiter.__name__, holder.__name__ = f"waiter-{number}", f"holder-{number}"
        start(waiter)
        ready.acquire()
        start(holder)

    for number, condition in enumerate(conditions):
        on(condition, number)
    return 2, []


def events():
    event = threading.Event()
    barrier = threading.Barrier(2)
    semaphore = threading.Semaphore(0)
    bounded = threading.BoundedSemaphore(1)
    lifo = queue.LifoQueue()
    simple = queue.SimpleQueue()
    full = queue.Queue(1)
    full.put(1)
    unfinished = queue.Queue()
    unfinished.put(1)
    future = concurrent.futures.Future()
    bounded.acquire()

    def on(type_, thing, function):
        def waiter():
            named = thing
            say(type_, named, "named", held_by=None, holder=None, kind="event", line=here() + 1)
            function()

        waiter.__name__ = type_
        start(waiter)

    on("threading.Event", event, event.wait)
    on("threading.Barrier", barrier, barrier.wait)
    on("threading.Semaphore", semaphore, semaphore.acquire)
    on("threading.BoundedSemaphore", bounded, bounded.acquire)
    on("queue.LifoQueue", lifo, lifo.get)
    on("queue.SimpleQueue", simple, simple.get)
    on("queue.Queue", full, functools.partial(full.put, 2))
    on("queue.Queue", unfinished, unfinished.join)
    on("concurrent.futures.Future", future, future.result)
    return 9, []


def semaphore():
    inside = threading.Event()
    gate = threading.Semaphore(1)

    def user():
        with gate:
            inside.set()
            block()

    def waiter():
        inside.wait()
        say("threading.Semaphore", gate, "gate", held_by="user", holder="likely")
        with gate:
            pass

    start(user, waiter)
    return 1, []


def futures():
    """The only worker of an executor waits for what it would have to do itself: a deadlock without a lock."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="pool")

    def outer():
        begin()
        future = pool.submit(print)
        say("concurrent.futures.Future", future, "future", held_by=None, holder=None, kind="event", line=here() + 1)
        future.result()

    pool.submit(outer)
    return 1, [["pool_0"]]


def processes():
    context = multiprocessing.get_context("fork")
    lock, recursive, taken, counted = context.Lock(), context.RLock(), context.Lock(), context.Semaphore(0)
    inside = threading.Event()

    def holder():
        with lock, recursive:
            inside.set()
            block()

    def on_lock():
        inside.wait()
        say("multiprocessing.Lock", lock, "lock", held_by="holder", holder="likely", kind="lock")
        with lock:
            pass

    def on_recursive():
        inside.wait()
        say("multiprocessing.RLock", recursive, "recursive", held_by="holder", holder="proven", kind="lock")
        recursive.acquire()

    def on_counted():
        say("multiprocessing.Semaphore", counted, "counted", held_by=None, holder=None, kind="event")
        counted.acquire()

    def on_other():
        say("multiprocessing.Lock", taken, "taken", held_by=None, holder="nobody", kind="lock")
        with taken:
            pass

    def take():
        taken.acquire()

    child = context.Process(target=take)
    child.start()
    child.join()
    start(holder, on_lock, on_recursive, on_counted, on_other)
    return 4, []


class Names:
    shared = threading.Lock()

    def __init__(self):
        self.own = threading.RLock()

    def method(self):
        say("threading.RLock", self.own, "self.own", owner_object=f"<Names at {id(self):#x}>")
        self.own.acquire()

    def class_attribute(self):
        say("threading.Lock", self.shared, "Names.shared", owner_object=None)
        with self.shared:
            pass

    def around(self):
        """In a function of its own that is only handed the lock."""
        take(self.own)


class Slots:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = threading.Lock()

    def method(self):
        say("threading.Lock", self.lock, "self.lock", owner_object=f"<Slots at {id(self):#x}>")
        with self.lock:
            pass


def take(lock):
    say("threading.RLock", lock, "lock", owner_object=None)
    with lock:
        pass


def names():
    inside = threading.Event()
    objects = Names(), Names()
    slots = Slots()
    extra = threading.Lock()
    module = type(sys)("orders")
    module.LOCK = threading.Lock()
    globals()["orders"] = module

    def holder():
        with objects[0].own, objects[1].own, Names.shared, extra, module.LOCK, slots.lock:
            inside.set()
            block()

    def method():
        objects[0].method()

    def class_attribute():
        objects[0].class_attribute()

    def around():
        objects[1].around()

    def closure():
        say("threading.Lock", extra, "extra", owner_object=None)
        extra.acquire()

    def argument(names=objects[0]):
        say("threading.RLock", names.own, "names.own", owner_object=f"<Names at {id(names):#x}>")
        with names.own:
            pass

    def other_module():
        say("threading.Lock", orders.LOCK, "orders.LOCK", owner_object=None)
        with orders.LOCK:
            pass

    start(holder)
    inside.wait()
    def in_slot():
        slots.method()

    start(method, class_attribute, around, closure, argument, other_module, in_slot)
    return 7, []


def healthy():
    """Busy with the same locks, always in the same order."""

    def work():
        begin()
        while True:
            with A:
                with B:
                    sum(range(100))
            with R, CONDITION, S:
                sum(range(100))
            QUEUE.put(1)
            QUEUE.get()

    start(work, count=3)
    return 0, []


def handing_over():
    """Two that wake each other up, over and over."""
    turn = [threading.Semaphore(1), threading.Semaphore(0)]

    def left():
        begin()
        while True:
            with A:
                turn[0].acquire()
                turn[1].release()

    def right():
        begin()
        while True:
            with B:
                turn[1].acquire()
                turn[0].release()

    start(left, right)
    return 0, []


def crowd():
    """Many that wait, each in a frame of its own."""
    locks = [threading.Lock() for _ in range(int(sys.argv[2]))]
    for lock in locks:
        lock.acquire()

    def waiter(lock):
        say("threading.Lock", lock, "lock", held_by=None, holder="nobody")
        lock.acquire()

    for lock in locks:
        threading.Thread(target=waiter, args=(lock,), daemon=True).start()
    return len(locks), []


# --- Other interpreters


def deadlock_in_here(kind, report):
    """For code in another interpreter: the calling thread, which has a stack in the main interpreter, too, and a
    thread of this interpreter wait for each other. A third one tells."""
    type_, locks = {"locks": ("threading.Lock", {"A": A, "B": B}), "rlocks": ("threading.RLock", {"R": R, "S": S})}[kind]
    both = threading.Barrier(2)

    def hold_and_wait(held, wanted, holder):
        with locks[held]:
            begin()
            both.wait()
            say(type_, locks[wanted], f"locks.{wanted}", held_by=holder, holder="proven", kind="lock", line=here() + 1)
            with locks[wanted]:
                pass

    def tell():
        until_said(2)
        os.write(report, json.dumps({"waits": waits, "tids": tids}).encode() + b"\n")
        os.read(never, 1)

    first, second = locks
    threading.Thread(target=tell).start()
    threading.Thread(target=hold_and_wait, args=(second, first, "caller"), name="inner").start()
    threading.current_thread().name = "caller"
    hold_and_wait(first, second, "inner")


def deadlock_in_an_interpreter(kind):
    from subinterpreters import create, run

    report, report_write = os.pipe()
    interpreter = create("isolated")
    code = f"import locks; locks.deadlock_in_here({kind!r}, {report_write})"
    threading.Thread(target=run, args=(interpreter, code), name="caller", daemon=True).start()
    with os.fdopen(report) as lines_told:
        told = json.loads(lines_told.readline())
    tids.update(told["tids"])
    waits.extend({**wait, "interpreter": interpreter} for wait in told["waits"])
    return len(waits), [list(tids)]


def locks_in_an_interpreter():
    return deadlock_in_an_interpreter("locks")


def rlocks_in_an_interpreter():
    return deadlock_in_an_interpreter("rlocks")


lines = {}  # where the threads took what they hold


def main():
    case = globals()[sys.argv[1]]
    expected, deadlocks = case()
    until_said(expected)
    with _said:
        for wait in waits:
            if wait.get("held_by"):
                name = wait["held_by"]
                wait["taken_at"] = lines.get(name)
                _said.wait_for(lambda: name in tids)
                wait["held_by"] = tids[name]
    print(json.dumps({"waits": waits, "deadlocks": [[tids[name] for name in cycle] for cycle in deadlocks]}), flush=True)
    os.read(never, 1)


if __name__ == "__main__":
    main()
