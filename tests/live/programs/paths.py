"""Objects that paths lead to.

    paths.py CASE

Prints a line of JSON and blocks, or works on:

    values    {path: [repr, hex(id)]} as the program itself evaluates each path
    frames    two threads, blocked in functions whose variables are known
    counting  a global that changes without end
    stepping  a global that changes each time that a line is read from stdin
"""

import asyncio
import collections
import dataclasses
import enum
import functools
import json
import os
import sys
import threading
import types

never, _ = os.pipe()


class Color(enum.Enum):
    RED = 1


class Base:
    __slots__ = ("inherited",)
    shared = [1, 2]


class Order(Base):
    def __init__(self):
        self.inherited = "slot"
        self.id = 4711
        self.items = [{"name": "pen", "price": 1.5}, {"name": "ink", "price": 2}]
        self.state = Color.RED
        self.__secret_plan = "mangled"

    def method(self):
        raise SystemExit("no code of the target is run")

    @property
    def total(self):
        raise SystemExit("no code of the target is run")

    @functools.cached_property
    def cached(self):
        return "computed"

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        raise SystemExit("no code of the target is run")


class Evil(dict):
    def __getitem__(self, key):
        raise SystemExit("no code of the target is run")


@dataclasses.dataclass
class Point:
    x: int
    y: int


shop = types.ModuleType("shop")
orders = types.ModuleType("shop.orders")
shop.orders = orders
sys.modules["shop"] = shop
sys.modules["shop.orders"] = orders
sys.modules["other.deep"] = types.ModuleType("other.deep")
sys.modules["other.deep"].value = "of a module whose parent isn't there"
shop.open = True
orders.order = Order()
orders.queue = collections.deque(range(200))
orders.queue.rotate(70)
order = orders.order
cached = Order()
cached.cached
config = {
    "db": {"host": "localhost", "ports": (5432, 5433)},
    3: "three",
    -1: "minus one",
    "3": "text three",
    (1, "a"): "a tuple",
    None: "none",
    True: "yes",
    b"raw": "bytes",
    "a.b[c]": "odd",
    "it's": "quoted",
    Color.RED: "a member",
    2**70: "large",
    "ä\n": "escaped",
}
ordered = collections.OrderedDict(a=1, b=[2])
default = collections.defaultdict(list, {"k": ["v"]})
evil = Evil(a="plain")
proxy = types.MappingProxyType({"p": "q"})
numbers = [10, 20, 30]
point = Point(1, 2)
text = "h€llo"
raw = b"abc"
growing = bytearray(b"xyz")
bound = order.method
partial = functools.partial(print, 1, end="")
error = ValueError("bad", 7)
words = {"a": 1, "b": [True, None, 1.5, 2**80], "c": "text \x1b €"}
mixed = {"a": {1: 2}}
not_json = {"a": float("inf")}
large = {f"key{i}": i for i in range(50_000)}
del large["key17"]
empty = []
queue = "not the module"


class Maß:
    __slots__ = ("länge",)
    höhe = 7

    def __init__(self):
        self.länge = 5


maß = Maß()
größe = types.SimpleNamespace(länge=3)
größe.maße = {"länge": 4, "日本𝒳": [5]}
ﬁlter = "named as fi, since Python normalises identifiers"
bücher = sys.modules["bücher"] = types.ModuleType("bücher")
bücher.titel_ä = ["x"]

PATHS = """
config
config['db']['host']
config["db"]['ports'][1]
config[3]
config[-1]
config['3']
config[(1, 'a')]
config[None]
config[b'raw']
config['a.b[c]']
config["it's"]
config['it\\'s']
config[1180591620717411303424]
config['ä\\n']
ordered['b'][0]
default['k'][-1]
evil
proxy['p']
numbers[0]
numbers[-1]
point.x
point.y
text[1]
raw[2]
growing[-1]
order.id
order.inherited
order.shared
order.items[1]['name']
order.state
order.__class__
order._Order__secret_plan
cached.cached
Order
Order.shared
Order.method
Base.shared[1]
Color.RED
bound.__self__.id
bound.__func__
partial.func
partial.args
error.args
shop
shop.open
shop.orders
shop.orders.order.items[0]
shop.orders.queue[0]
shop.orders.queue[69]
shop.orders.queue[70]
shop.orders.queue[-1]
other.deep.value
large['key49999']
large
words
len
threading.main_thread
größe
größe.länge
größe.maße['länge']
größe.maße['日本𝒳'][0]
maß.länge
maß.höhe
Maß.höhe
ﬁlter
filter
bücher.titel_ä[0]
""".split("\n")


def values():
    main = sys.modules["__main__"]
    names = {**vars(main), "other": types.SimpleNamespace(deep=sys.modules["other.deep"]), "threading": threading}
    expected = {}
    for path in [path for path in PATHS if path]:
        value = eval(path, names)
        expected[path] = [repr(value), hex(id(value))]
    return expected


def fetch(row, *rest, limit=3):
    password = "hunter2"
    inner = {"row": row, "rest": rest, "limit": limit}
    url = "postgres://ann:hunter2@db/shop"
    ready.release()
    os.read(never, 1)
    return inner, password, url


def serve(connection):
    row = "of serve"
    step = 7
    fetch([1, 2], "r")
    return row, step


def numbers_up_to(n):
    for i in range(n):
        yield i


async def waits():
    await asyncio.get_running_loop().create_future()


ready = threading.Semaphore(0)


def main():
    case = sys.argv[1]
    if case == "values":
        print(json.dumps(values()), flush=True)
        os.read(never, 1)
    if case == "frames":
        threads = [threading.Thread(target=serve, args=(f"connection {i}",), name=f"worker-{i}") for i in (1, 2)]
        for thread in threads:
            thread.start()
            ready.acquire()
        answer = {thread.name: thread.native_id for thread in threads}
        local_of_main = "main's own"
        print(json.dumps(answer), flush=True)
        os.read(never, 1)
        return local_of_main
    if case == "counting":
        global counter, steady
        counter = 0
        steady = {"a": [1, 2]}
        print(json.dumps(None), flush=True)
        while True:
            counter += 1
    if case == "stepping":
        global step, other
        step = 0
        other = "same"
        print(json.dumps(step), flush=True)
        for _ in iter(lambda: os.read(0, 1), b""):
            step += 1
            print(json.dumps(step), flush=True)
    if case == "states":
        global started, suspended, finished, view, task, coroutine
        started = numbers_up_to(3)
        suspended = numbers_up_to(3)
        next(suspended)
        finished = numbers_up_to(0)
        list(finished)
        view = memoryview(b"abcde")
        loop = asyncio.new_event_loop()
        task = loop.create_task(waits(), name="waiter")
        loop.call_soon(loop.call_soon, loop.stop)
        loop.run_forever()
        coroutine = task.get_coro()
        print(
            json.dumps(
                {
                    "suspended": suspended.gi_frame.f_lineno,
                    "coroutine": coroutine.cr_frame.f_lineno,
                    "task": hex(id(task)),
                    "coro": repr(coroutine),
                }
            ),
            flush=True,
        )
        os.read(never, 1)


if __name__ == "__main__":
    main()
