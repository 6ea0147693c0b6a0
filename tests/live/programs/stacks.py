"""Threads that are blocked inside of each of Python's ways to run code. The first argument names the case,
which runs in the main thread."""

import _thread
import asyncio
import contextlib
import ctypes
import functools
import gc
import itertools
import operator
import os
import re
import sys
import threading
import weakref

import oracle
from oracle import about_to_block, never


def block():
    about_to_block()
    os.read(never, 1)


def plain_calls():
    def inner(first, second=2, *rest, **more):
        about_to_block()
        return os.read(never, 1)

    def outer():
        return [inner(1, *(2, 3), key="value")][0]

    x = 1
    if x: outer(); y = 2  # fmt: skip


def multi_line_calls():
    def add(
        first,
        second,
        third=None,
    ):
        about_to_block()
        return (
            first
            + len(
                os.read(
                    never,
                    1,
                )
            )
            + second
        )

    values = {
        "a": 1,
        "b": [
            2,
            add(
                1,
                second="""text
                over lines""",
            ),
        ],
    }
    return values


def chained_calls():
    class Query:
        def where(self, **_):
            return self

        def first(self):
            about_to_block()
            os.read(never, 1)

    (
        Query()
        .where(name="x")
        .where(age=3)
        .first()
        .where(last=True)
    )  # fmt: skip


def long_lines():
    # Columns beyond what the short forms of a location table can hold.
    a_value = "x"
    if a_value == "x" and (                                                                   about_to_block() is None) and os.read(never, 1): pass  # fmt: skip


def very_long_lines():
    namespace = {"os": os, "never": never, "about_to_block": about_to_block}
    padding = " " * 70_000
    exec(f"about_to_block(); x = ({padding}os.read(never, 1))", namespace)


def non_ascii_columns():
    größe = "日本語"
    if größe: "ä𝒳"; about_to_block(); "🐍é", os.read(never, 1), "ü"  # fmt: skip


def generators():
    def numbers():
        yield 1
        block()
        yield 2

    def middle():
        yield from numbers()

    def outer():
        for number in middle():
            yield number * 2

    def infinite():
        while True:
            yield from outer()

    sum(itertools.islice(infinite(), 10))


def generator_send_and_throw():
    def consumer():
        try:
            while True:
                yield
        except KeyError:
            yield from closing()

    def closing():
        try:
            yield
        finally:
            block()

    running = consumer()
    next(running)
    running.send(1)
    running.throw(KeyError("x"))
    running.close()


def generator_expression():
    list(block() if x == 3 else x for x in (y * 2 for y in range(10)) if x != 3) or any(
        block() for _ in range(1)
    )
    tuple(block() for _ in (1,))


def comprehension_list():
    return [block() for a in range(2) for b in range(2) if a + b == 1]


def comprehension_set():
    return {block() for x in range(3)}


def comprehension_dict():
    return {block(): [y for y in range(2)] for x in range(3)}


def comprehension_nested():
    return [[[block() for z in range(2)] for y in range(2)] for x in range(2)]


def comprehension_in_class():
    class Body:
        values = [block() for _ in range(1)]

    return Body


def decorators():
    def repeated(times):
        def decorator(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return [function(*args, **kwargs) for _ in range(times)]

            return wrapper

        return decorator

    class Registered:
        def __init__(self, function):
            self.function = function

        def __call__(self, *args):
            return self.function(*args)

    @repeated(2)
    @functools.lru_cache
    @Registered
    def decorated(value):
        block()

    def while_decorating(function):
        decorated(1)

    @while_decorating
    def last():
        pass


def contextmanagers():
    @contextlib.contextmanager
    def opened():
        try:
            yield
        finally:
            block()

    class Outer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            with opened():
                pass

    with Outer() as a, contextlib.ExitStack() as stack:
        stack.enter_context(opened())


def executed_code():
    exec("block()\n", {"block": block})


def executed_with_a_name():
    source = "\n" * 20 + "def generated():\n    return [block()]\n\nclass C:\n    x = generated()\n"
    exec(compile(source, "<template page.html>", "exec"), {"block": block})


def evaluated():
    eval("(lambda: block())() or 1", {"block": block})


def lambdas():
    first = lambda f: f()  # noqa: E731
    second = lambda: (lambda: block())()  # noqa: E731
    first(lambda: second())


class Outer:
    class Inner:
        class Innermost:
            def method(self):
                def local():
                    class Local:
                        def method(self):
                            block()

                    Local().method()

                local()

            @classmethod
            def of_class(cls):
                cls().method()

            @staticmethod
            def of_nobody():
                Outer.Inner.Innermost.of_class()


def nested_classes():
    class Body:
        Outer.Inner.Innermost.of_nobody()


def class_body():
    class Metaclass(type):
        def __prepare__(name, bases):  # noqa: N805
            return {}

        def __new__(cls, name, bases, namespace):
            block()

    class Made(metaclass=Metaclass):
        pass


def inheritance():
    class Base:
        def __init_subclass__(cls):
            Base.hello(cls())

        def hello(self):
            block()

    class Derived(Base):
        def hello(self):
            return super().hello()


def finalizer_in_collection():
    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            block()

    Cycle()
    gc.collect()


def finalizer_in_automatic_collection():
    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            block()

    Cycle()
    kept = []
    while True:  # until the collector runs by itself, wherever it does
        kept.append([kept])


def finalizer_by_reference_count():
    class Last:
        def __del__(self):
            block()

    def drop():
        last = Last()
        last = None
        return last

    drop()


def weak_reference_callback():
    class Object:
        pass

    target = Object()
    kept = weakref.ref(target, lambda _: block())
    del target
    return kept


def sort_key():
    sorted([3, 1, 2], key=lambda item: block())


def sort_comparison():
    class Item:
        def __lt__(self, other):
            block()

    sorted([Item(), Item()])


def sort_cmp_to_key():
    sorted([2, 1], key=functools.cmp_to_key(lambda a, b: block()))


def partial():
    functools.partial(functools.partial(lambda a, b, c: block(), 1), 2)(c=3)


def mapped():
    list(map(lambda x: block(), filter(lambda x: x, [0, 1])))


def reduced():
    functools.reduce(lambda a, b: block(), [1, 2, 3])


def substituted():
    re.sub("[a-z]", lambda match: block(), "1a")


def method_caller():
    class Target:
        def method(self, argument):
            block()

    operator.methodcaller("method", 1)(Target())


def properties():
    class Object:
        @property
        def value(self):
            return self.cached

        @functools.cached_property
        def cached(self):
            return self.missing

        def __getattr__(self, name):
            block()

    return Object().value


def attribute_hooks():
    class Descriptor:
        def __get__(self, instance, owner):
            return instance.through_getattribute

        def __set__(self, instance, value):
            getattr(instance, "by_descriptor")

    class Object:
        by_descriptor = Descriptor()

        def __getattribute__(self, name):
            if name == "through_getattribute":
                self[0]
            return object.__getattribute__(self, name)

        def __getitem__(self, index):
            return f"{self}"

        def __format__(self, spec):
            return str(len(self))

        def __len__(self):
            block()

    Object().by_descriptor = 1


def operators():
    class Number:
        def __add__(self, other):
            return self < other

        def __lt__(self, other):
            return not self

        def __bool__(self):
            return self in self

        def __contains__(self, item):
            return hash(self)

        def __hash__(self):
            return self @ self

        def __matmul__(self, other):
            block()

    total = Number()
    total += Number()


def ctypes_callback():
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    @compare_type
    def compare(a, b):
        block()

    ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, ctypes.sizeof(ctypes.c_int), compare)


def ctypes_callback_in_a_foreign_thread():
    """A thread that C made: Python gets to know it in the callback."""
    start_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)

    @start_type
    def start(_):
        oracle.native_ids[_thread.get_ident()] = _thread.get_native_id()
        about_to_block()
        os.read(never, 1)

    thread = ctypes.c_ulong()
    library = ctypes.CDLL(None)
    library.pthread_create(ctypes.byref(thread), None, start, None)
    library.pthread_join(thread, None)


class Hot:
    blocks = False

    def __init__(self, value):
        self.value = value
        if Hot.blocks:
            about_to_block()
            os.read(never, 1)


def hot_constructor():
    def make():
        return Hot(1)

    for _ in range(200_000):
        make()
    Hot.blocks = True
    make()


def hot_calls():
    """Calls, attributes and generators that the interpreter has specialised."""

    class Object:
        def __init__(self, depth):
            self.depth = depth

        @property
        def below(self):
            return Object(self.depth - 1)

        def __getitem__(self, index):
            return self.descend(index)

        def descend(self, stop):
            if self.depth == 0:
                if stop:
                    block()
                return 0
            return self.below[stop] + sum(x for x in (1,))

        def __getattribute__(self, name):
            return object.__getattribute__(self, name)

    for _ in range(5_000):
        Object(4)[False]
    Object(4)[True]


def try_except_finally():
    def failing():
        raise ValueError("x")

    try:
        try:
            failing()
        except ValueError as error:
            try:
                raise KeyError("y") from error
            finally:
                block()
    finally:
        raise SystemExit


def exception_groups():
    try:
        raise ExceptionGroup("several", [ValueError(1), KeyError(2)])
    except* ValueError:
        pass
    except* KeyError as group:
        group.split(lambda error: block())


def match_statement():
    class Point:
        __match_args__ = ("x", "y")

        def __init__(self):
            self.x = 1

        @property
        def y(self):
            block()

    match Point():
        case {"key": _}:
            pass
        case Point(x=1, y=2):
            pass


def loops_and_walrus():
    class Endless:
        def __iter__(self):
            return self

        def __next__(self):
            while (n := os.read(*arguments())) != b"":
                return n

    def arguments():
        about_to_block()
        return never, 1

    for x in range(3):
        for y in Endless():
            continue
    else:
        pass


def star_calls():
    def target(*args, **kwargs):
        block()

    target(*[1, *(2, 3)], **{"a": 1, **{"b": 2}})


def f_strings():
    class Value:
        def __format__(self, spec):
            block()

    return f"""a {1 + 1!r:>{10}}
    b {Value():{"x" * 3}} c"""


def asserts():
    def never_true():
        block()

    assert never_true(), "never"


def type_parameters():
    namespace = {"block": block}
    exec(
        "def f[T: (block(), int)](x: T) -> T: ...\n"
        "type Alias[T] = list[block()]\n"
        "f.__type_params__[0].__constraints__\n",
        namespace,
    )


def code_without_positions():
    def bare():
        about_to_block()
        os.read(never, 1)

    bare.__code__ = bare.__code__.replace(co_linetable=b"")
    bare()


def renamed_code():
    def original():
        about_to_block()
        os.read(never, 1)

    original.__code__ = original.__code__.replace(
        co_name="new\tname\x1b[31m",
        co_qualname="Ünïcode.<𝒬ual>\u202ename",
        co_filename="/srv/a b/\nnew 🐍.py",
        co_firstlineno=2_000_000_000,
    )
    original()


def large_function():
    """Thousands of lines, and a location table of more than 64 KiB."""
    lines = ["def large(x):"]
    for i in range(9_000):
        lines.append(f"    x = x + {i} if x else (x - 1)")
    lines.append("    block()")
    lines.append("    return x")
    namespace = {"block": block}
    exec(compile("\n".join(lines) + "\nlarge(0)\n", "<large>", "exec"), namespace)


def imported(module):
    """What blocks is in a module that the test has written, while it is imported."""
    __import__(module)


def recursion(depth):
    def down(n):
        if n == 0:
            block()
        else:
            down(n - 1)

    sys.setrecursionlimit(2**30)
    down(int(depth) - 1)


def mutual_recursion(depth):
    def even(n):
        odd(n - 1)

    def odd(n):
        if n <= 0:
            block()
        even(n - 1)

    sys.setrecursionlimit(2**30)
    even(int(depth))


def recursion_through_c(depth):
    def down(n):
        if n == 0:
            block()
        list(map(down, [n - 1]))

    down(int(depth))


def coroutines():
    async def leaf():
        block()

    async def middle():
        await leaf()

    class Awaitable:
        def __await__(self):
            yield from middle().__await__()

    async def main():
        async with asyncio.timeout(1000):
            await asyncio.gather(await_it())

    async def await_it():
        return await Awaitable()

    asyncio.run(main())


def asyncio_callback():
    async def main():
        asyncio.get_running_loop().call_soon(functools.partial(block))
        await asyncio.sleep(1000)

    asyncio.run(main())


def asyncio_idle():
    """All tasks are suspended: the loop waits in the kernel, and no task is on the stack."""

    async def main():
        asyncio.get_running_loop().call_soon(about_to_block)
        await asyncio.gather(*(asyncio.sleep(1000) for _ in range(10)))

    asyncio.run(main())


def async_generators():
    async def numbers():
        yield 1
        block()
        yield 2

    async def doubled():
        async for number in numbers():
            yield 2 * number

    async def main():
        return [x async for x in doubled() if x]

    asyncio.run(main())


def async_context():
    @contextlib.asynccontextmanager
    async def opened():
        try:
            yield
        finally:
            block()

    async def main():
        async with opened():
            pass

    asyncio.run(main())


def asyncio_to_thread():
    async def main():
        await asyncio.to_thread(block)

    asyncio.run(main())


def coroutine_by_hand():
    """Driven by send() and without asyncio."""

    class Step:
        def __await__(self):
            yield 1
            block()

    async def run():
        await Step()
        return 1

    coroutine = run()
    coroutine.send(None)
    coroutine.send(None)


def many_threads(count):
    """Each blocked by another means, at another depth."""

    def wait_in_read(depth):
        about_to_block()
        os.read(never, 1)

    def wait_for_lock(depth):
        lock = threading.Lock()
        lock.acquire()
        about_to_block()
        lock.acquire()

    def wait_for_event(depth):
        about_to_block()
        threading.Event().wait()

    def wait_in_queue(depth):
        import queue

        about_to_block()
        queue.Queue().get(timeout=1000)

    def wait_in_select(depth):
        import select

        about_to_block()
        select.select([never], [], [], 1000)

    def wait_asleep(depth):
        import time

        about_to_block()
        time.sleep(1000)

    ways = [wait_in_read, wait_for_lock, wait_for_event, wait_in_queue, wait_in_select, wait_asleep]

    def descend(depth, way):
        if depth:
            descend(depth - 1, way)
        else:
            way(depth)

    oracle.expect(int(count))
    for i in range(int(count)):
        threading.Thread(target=descend, args=(i % 7, ways[i % len(ways)]), daemon=True).start()
    block()


if __name__ == "__main__":
    oracle.run_case(globals())
