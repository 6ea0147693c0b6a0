"""Tasks of asyncio that wait for all kinds of things. Prints what each task's chain of coroutines is, as these say
themselves, outermost first, and what the program knows of them. Goes on for good.

    tasks.py waits           one of each kind of wait
    tasks.py deadlocks       tasks that wait for each other
    tasks.py healthy         tasks that look like it, and don't
    tasks.py blocked         a task that doesn't let the event loop go on
    tasks.py many N          so many tasks that wait for one lock
    tasks.py busy            tasks that never rest
"""

import asyncio
import gc
import json
import os
import sys
import threading
import traceback


class Store:
    def __init__(self):
        self.lock = asyncio.Lock()
        self.full = asyncio.Queue(2)


STORE = None
JOBS = None


def chain(task):
    """(qualified name, line, variables whose repr() is short) of each coroutine and generator, the outermost first."""
    frames = []
    awaited = task.get_coro()
    while awaited is not None:
        kind = type(awaited).__name__
        if kind == "coroutine":
            frame, code, following = awaited.cr_frame, awaited.cr_code, awaited.cr_await
        elif kind == "generator":
            frame, code, following = awaited.gi_frame, awaited.gi_code, awaited.gi_yieldfrom
        elif kind == "async_generator":
            frame, code, following = awaited.ag_frame, awaited.ag_code, awaited.ag_await
        elif kind in ("coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"):
            inner = [one for one in gc.get_referents(awaited)
                     if type(one).__name__ in ("coroutine", "async_generator", "async_generator_asend", "generator")]
            awaited = inner[0] if inner else None
            continue
        else:
            break
        if frame is None:
            break
        variables = {name: repr(value) for name, value in frame.f_locals.items()
                     if value is None or type(value) in (bool, int, float, str) and len(repr(value)) < 100}
        frames.append([code.co_qualname, frame.f_lineno, variables])
        awaited = following
    return frames


def report(**more):
    tasks = {task.get_name(): {"id": id(task), "frames": chain(task)} for task in asyncio.all_tasks()
             if task is not asyncio.current_task()}
    print(json.dumps({"tid": threading.get_native_id(), "tasks": tasks, **more}), flush=True)


async def settle():
    """Lets all others go on until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def sleep_for_good():
    await asyncio.sleep(100_000)


async def hold(lock):
    async with lock:
        await sleep_for_good()


async def hold_by_manager(lock):
    from contextlib import asynccontextmanager, AsyncExitStack

    @asynccontextmanager
    async def taken():
        async with lock:
            yield

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(taken())
        await sleep_for_good()


async def use_store():
    async with STORE.lock:
        pass


async def use_argument(guard):
    async with guard:
        pass


async def fill():
    while True:
        await STORE.full.put(1)


async def take():
    return await JOBS.get()


async def join_queue():
    await STORE.full.join()


async def gather():
    await asyncio.gather(sleep_for_good(), use_store(), asyncio.sleep(0))


async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep_for_good(), name="of the group")


async def first_of(others):
    await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)


async def all_of(others):
    await asyncio.wait(others)


async def as_completed(others):
    for one in asyncio.as_completed(others):
        await one


async def shielded(other):
    await asyncio.shield(other)


async def plain(other):
    await other


async def with_timeout(event):
    async with asyncio.timeout(50_000):
        await event.wait()


async def wait_for(event):
    await asyncio.wait_for(event.wait(), 50_000)


async def notified(condition):
    async with condition:
        await condition.wait()


async def meet(barrier):
    await barrier.wait()


async def numbers():
    while True:
        await sleep_for_good()
        yield 1


async def iterate():
    async for _ in numbers():
        pass


class Awaitable:
    def __await__(self):
        return sleep_for_good().__await__()


async def await_object():
    await Awaitable()


class Iterator:
    def __await__(self):
        yield from asyncio.get_running_loop().create_future()


async def await_iterator():
    await Iterator()


async def keep_open(_reader, writer):
    await sleep_for_good()
    writer.close()


async def read(port):
    reader, _ = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()


async def in_thread(gate):
    await asyncio.to_thread(gate.wait)


async def child():
    # It ends with this program, which has the other end of its standard input.
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import sys; sys.stdin.read()",
                                                   stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL)
    global CHILD
    CHILD = process.pid
    await process.wait()


async def nothing_known():
    await asyncio.get_running_loop().create_future()


async def stubborn():
    while True:
        try:
            await sleep_for_good()
        except asyncio.CancelledError:
            pass


async def waits():
    global STORE, JOBS, CHILD
    STORE, JOBS, CHILD = Store(), asyncio.Queue(), 0
    held, managed, event = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
    semaphore, condition, barrier = asyncio.Semaphore(1), asyncio.Condition(), asyncio.Barrier(3)
    server = await asyncio.start_server(keep_open, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gate = threading.Event()
    tasks = []

    def start(name, coroutine):
        tasks.append(asyncio.create_task(coroutine, name=name))
        return tasks[-1]

    start("sleeper", sleep_for_good())
    start("holder", hold(STORE.lock))
    start("manager", hold_by_manager(managed))
    await settle()
    start("user", use_store())
    start("managed user", use_argument(managed))
    start("semaphore holder", hold(semaphore))
    await settle()
    start("semaphore user", use_argument(semaphore))
    start("filler", fill())
    start("taker", take())
    start("joiner", join_queue())
    start("gatherer", gather())
    start("group", group())
    one, two = start("one", sleep_for_good()), start("two", sleep_for_good())
    start("first of", first_of([one, two]))
    start("all of", all_of([one, two]))
    start("as completed", as_completed([one, two]))
    start("shielded", shielded(one))
    start("plain", plain(two))
    start("with timeout", with_timeout(event))
    start("wait for", wait_for(event))
    start("notified", notified(condition))
    start("meeter", meet(barrier))
    start("iterator", iterate())
    start("object", await_object())
    start("iterable", await_iterator())
    start("server", server.serve_forever())
    start("in thread", in_thread(gate))
    start("nothing known", nothing_known())
    cancelled = start("stubborn", stubborn())
    start("reader", read(port))
    start("child", child())
    await settle()
    cancelled.cancel()
    cancelled.cancel()
    while [["Process.wait", "BaseSubprocessTransport._wait"], ["StreamReader.readuntil", "StreamReader._wait_for_data"]] != [
            [name for name, *_ in chain(task)[-2:]] for task in (tasks[-1], tasks[-2])]:
        await asyncio.sleep(0.01)
    await settle()
    report(child=CHILD, port=port)
    try:
        await sleep_for_good()
    finally:
        gate.set()


async def both(first, second, begin):
    async with first:
        await begin.wait()
        async with second:
            pass


async def deadlocks():
    a, b, own, begin = asyncio.Lock(), asyncio.Lock(), asyncio.Lock(), asyncio.Event()
    tasks = [asyncio.create_task(both(a, b, begin), name="a then b"),
             asyncio.create_task(both(b, a, begin), name="b then a"),
             asyncio.create_task(both(own, own, begin), name="own")]

    async def twin(number):
        await begin.wait()
        await twins[1 - number]

    twins = [asyncio.create_task(twin(i), name=f"twin {i}") for i in (0, 1)]

    async def parent(lock):
        async with lock:
            async with asyncio.TaskGroup() as group:
                group.create_task(use_argument(lock), name="inner")

    async def in_time(first, second):
        async with asyncio.timeout(50_000):
            await both(first, second, begin)

    c, d = asyncio.Lock(), asyncio.Lock()
    tasks += [asyncio.create_task(parent(asyncio.Lock()), name="parent"),
              asyncio.create_task(in_time(c, d), name="in time"),
              asyncio.create_task(both(d, c, begin), name="waits in time")]
    await settle()
    begin.set()
    await settle()
    report()
    await sleep_for_good()


async def healthy():
    """A chain of waits that ends at a sleeper, a condition that gives its lock back, a lock that was released by hand, and
    one of two that is enough."""
    a, b, begin = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
    condition = asyncio.Condition()
    begin.set()

    async def released():
        async with a:
            a.release()
            async with b:
                await asyncio.sleep(100_000)
            await a.acquire()

    async def either():
        await asyncio.wait([asyncio.current_task(), sleeper], return_when=asyncio.FIRST_COMPLETED)

    sleeper = asyncio.create_task(sleep_for_good(), name="sleeper")
    tasks = [asyncio.create_task(released(), name="released")]
    await settle()
    tasks += [asyncio.create_task(both(a, b, begin), name="a then b"), asyncio.create_task(either(), name="either"),
              asyncio.create_task(notified(condition), name="first"), asyncio.create_task(notified(condition), name="second"),
              asyncio.create_task(plain(sleeper), name="plain")]
    await settle()
    report()
    await sleep_for_good()


async def busy_for_good(gate):
    def compute():
        gate.acquire()

    await asyncio.sleep(0)
    compute()


async def blocked():
    gate = threading.Lock()
    gate.acquire()
    tasks = [asyncio.create_task(sleep_for_good(), name="sleeper")]
    await settle()
    tasks.append(asyncio.create_task(busy_for_good(gate), name="culprit"))
    tasks.append(asyncio.create_task(asyncio.sleep(0), name="ready"))
    report()
    await sleep_for_good()


async def many(count):
    global STORE
    STORE = Store()
    tasks = [asyncio.create_task(hold(STORE.lock), name="holder")]
    await settle()
    tasks += [asyncio.create_task(use_store()) for _ in range(count)]
    await settle()
    print(json.dumps({"count": count}), flush=True)
    await sleep_for_good()


async def relay(queues, number):
    """Hands what comes on to the next: in each moment the token is in one place."""
    while True:
        token = await queues[number].get()
        await queues[(number + 1) % len(queues)].put(token)


async def busy():
    queues = [asyncio.Queue() for _ in range(8)]
    tasks = [asyncio.create_task(relay(queues, i), name=f"relay {i}") for i in range(8)]
    await queues[0].put("token")
    report()
    await sleep_for_good()


async def run(mode, *arguments):
    try:
        await globals()[mode](*map(int, arguments))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # some of the tasks can't be cancelled


asyncio.run(run(*sys.argv[1:]))
