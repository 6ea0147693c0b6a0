"""Variables of every kind of value, and what Python itself says of them.

    values.py CASE

Prints a line of JSON, {name: repr(value)}, in which the values of instances are given as pyscope shows them, and blocks
with these values in the local variables of hold().
"""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
import os
import pathlib
import random
import re
import sys
import threading
import types
import typing
import uuid
import weakref

never, _ = os.pipe()
keep = []


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Number(enum.IntEnum):
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: str = "a"
    hidden: int = dataclasses.field(default=7, repr=False)
    shared: typing.ClassVar[int] = 5


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    left: tuple
    right: float


@dataclasses.dataclass
class OwnRepr:
    x: int

    def __repr__(self):
        raise SystemExit("no code of the target is run")


Pair = collections.namedtuple("Pair", "first second")


class Order:
    def __init__(self):
        self.id = 4711
        self.state = "paid"


class Slots:
    __slots__ = ("u", "v", "unset")

    def __init__(self):
        self.u, self.v = 1, [2]


class MoreSlots(Slots):
    __slots__ = ("w",)

    def __init__(self):
        super().__init__()
        self.w = None


class Many:
    """More attributes than an object holds by itself."""

    def __init__(self):
        for number in range(40):
            setattr(self, f"attribute_{number}", number)


class Replaced:
    def __init__(self):
        self.before = 1
        self.__dict__ = {"after": 2}


class Deleted:
    def __init__(self):
        self.a, self.b, self.c = 1, 2, 3
        del self.b
        self.b = 4


class MyList(list):
    pass


class MyDict(dict):
    pass


class MyStr(str):
    pass


class MySet(set):
    pass


class MyInt(int):
    def __repr__(self):
        raise SystemExit("no code of the target is run")


class MyError(ValueError):
    pass


class Plain:
    pass


def shown(value, attributes):
    """As pyscope shows an instance."""
    words = "".join(f" {name}={text}" for name, text in attributes)
    return f"<{type(value).__name__} at {id(value):#x}{words}>"


def constants():
    return {"none": None, "ellipsis": ..., "not_implemented": NotImplemented, "true": True, "false": False}


def integers():
    values = [0, 1, -1, 5, 256, 257, 1024, 1025]
    for bits in (15, 30, 31, 60, 61, 64, 90, 1000):
        values += [2**bits - 1, 2**bits, -(2**bits), 2**bits + 1]
    values += [10**400, -(10**400), 10**4299]
    return {f"int_{n}": value for n, value in enumerate(values)}


def floats():
    values = [0.0, -0.0, 1.0, 1.5, 0.1, 1 / 3, 1e15, 1e16, 1e17, 123456789012345680.0, 1e-4, 1e-5, 1.5e-7, 5e-324, 1.7976931348623157e308,
              float("inf"), float("-inf"), float("nan"), 1e22, 1e23, 123456.789, 9007199254740993.0]
    values += [random.Random(1).uniform(-1, 1) * 10**power for power in range(-20, 25)]
    found = {f"float_{n}": value for n, value in enumerate(values)}
    complexes = [0j, 1j, -1j, 1 + 2j, complex(-0.0, 3), complex(0.0, -0.0), complex("nan+infj"), 1e300 + 1e-300j]
    return found | {f"complex_{n}": value for n, value in enumerate(complexes)}


def strings():
    values = ["", "a", "it's", 'say "x"', "both ' and \"", "tab\t nl\n cr\r back\\slash", "\x00\x1b\x7f\x80\x9f\xa0\xad", "é", "ÿ", "Ā", "日本",
              "\u2028\u202e\ufeff", "🎉 astral", "\ud800 lone", "\udcff", "x" * 199, "é" * 150, "日" * 150, "🎉" * 100,
              "\u0378 unassigned", "\ue000 private", MyStr("sub"), sys.intern("interned"), "𝒳\n'\""]
    # All characters: which ones are escaped depends on the version of Unicode.
    values += ["".join(map(chr, range(first, first + 10_000))) for first in range(0, 0x34000, 10_000)]
    found = {f"str_{n}": value for n, value in enumerate(values)}
    raw = [b"", b"a", b"it's", b'"', b"'\"", bytes(range(256))[:180], bytearray(b""), bytearray(b"x'\x00")]
    shifted = bytearray(b"0123456789" * 5)
    del shifted[:7]
    return found | {f"bytes_{n}": value for n, value in enumerate([*raw, shifted])}


def containers():
    cyclic = [1]
    cyclic.append(cyclic)
    cyclic_dict = {"a": 1}
    cyclic_dict["self"] = cyclic_dict
    cyclic_tuple = ([],)
    cyclic_tuple[0].append(cyclic_tuple)
    deleted = {n: str(n) for n in range(100)}
    for n in range(0, 100, 3):
        del deleted[n]
    removed = set(range(50))
    for n in range(0, 50, 2):
        removed.discard(n)
    moved = collections.OrderedDict(a=1, b=2, c=3)
    moved.move_to_end("a")
    queue = collections.deque(range(200))
    queue.rotate(70)
    short = collections.deque("abcdef", maxlen=3)
    found = {
        "empty": [[], (), {}, set(), frozenset(), collections.deque(), range(0), collections.OrderedDict(), collections.Counter()],
        "tuple_1": (1,), "tuple_2": (1, 2), "pair": Pair(1, "b"), "cyclic": cyclic, "cyclic_dict": cyclic_dict, "cyclic_tuple": cyclic_tuple,
        "deleted": deleted, "removed": removed, "strings": {"a", "b", "c"}, "frozen": frozenset({(1, 2), "x"}), "moved": moved,
        "ordered_empty": collections.OrderedDict(), "default": collections.defaultdict(list, {1: [2]}), "default_none": collections.defaultdict(None, a=1),
        "counter": collections.Counter("abbcccd"), "queue": queue, "short": short, "ranges": [range(3), range(1, 10, 2), range(0, -5, -1)],
        "slices": [slice(1), slice(1, 2), slice(None, None, -1)], "keys": {"a": 1, 2: 3}.keys(), "dict_values": {"a": 1}.values(), "items": {"a": 1}.items(),
        "proxy": types.MappingProxyType({"a": 1}), "namespace": types.SimpleNamespace(a=1, b="x"), "my_list": MyList([1, 2]), "my_dict": MyDict(a=1),
        "my_set": MySet({1}), "arrays": [array.array(code, [1, 2, 3]) for code in "bBhHiIlLqQfd"], "empty_array": array.array("i"),
    }
    for size in (1, 5, 6, 10, 11, 21, 42, 43, 85, 86, 200, 400):
        found[f"dict_{size}"] = {n: n for n in range(size)}
        found[f"str_dict_{size}"] = {f"k{n}": n for n in range(size)}
        found[f"set_{size}"] = set(range(size))
    return found


def standard():
    utc = datetime.timezone.utc
    decimals = ["0", "1.50", "-1E+30", "NaN", "-NaN", "sNaN", "NaN123", "Infinity", "-Infinity", "1E-10", "0.000001", "0.0000001", "-0", "0E+5",
                "123456789012345678901234567890.5", "1E+1", "12345678901234567890", "-0.00"]
    found = {
        "dates": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.datetime(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
                  datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=utc), datetime.datetime(2024, 1, 2, 3, 4, fold=1)],
        "times": [datetime.time(), datetime.time(1, 2), datetime.time(1, 2, 3), datetime.time(1, 2, 3, 4), datetime.time(1, tzinfo=utc), datetime.time(1, fold=1)],
        "deltas": [datetime.timedelta(), datetime.timedelta(days=-1, seconds=3), datetime.timedelta(microseconds=5), datetime.timedelta(weeks=1)],
        "zones": [utc, datetime.timezone(datetime.timedelta(hours=1)), datetime.timezone(datetime.timedelta(hours=-5), "EST")],
        "decimals": [decimal.Decimal(text) for text in decimals], "fractions": [fractions.Fraction(1, 3), fractions.Fraction(-4)],
        "uuids": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("12345678-1234-5678-1234-567812345678")],
        "paths": [pathlib.Path("/a/../b//c/."), pathlib.PurePosixPath("x"), pathlib.Path(), pathlib.Path("/"), pathlib.Path("a", "b", "/c", "d"), pathlib.Path("//x"),
                  pathlib.Path("it's\\here"), pathlib.PureWindowsPath("C:\\a", "it's")],
        "enums": [Color.RED, Color.BLUE, Number.ONE, Access.READ, Access.READ | Access.WRITE],
        "dataclasses": [Point(1), Point(2, "z"), Frozen((1,), 0.5)],
        "exceptions": [ValueError(), ValueError("x"), KeyError("k", 2), OSError(2, "No such file"), MyError("own"), StopIteration(3)],
        "modules": [os, sys, json, re, collections], "patterns": [re.compile("a+"), re.compile("b", re.I | re.M), re.compile(b"c"), re.compile("d", re.A)],
        "classes": [int, Order, Color, type, datetime.date, collections.OrderedDict], "builtins": [len, print, [].append, "".join, os.getpid],
        "functions": [shown, functools.reduce, (lambda: 1), Order.__init__], "partial": functools.partial(shown, 1, key="v"),
        "locks": [threading.Lock(), threading.RLock()], "generators": [(n for n in [1])],
    }
    held = threading.Lock()
    held.acquire()
    owned = threading.RLock()
    for _ in range(3):
        owned.acquire()
    order = Order()
    found |= {"held": held, "owned": owned, "bound": Point(1).__init__, "weak": weakref.ref(order)}

    async def coroutine():
        pass

    async def generator():
        yield

    waiting = coroutine()
    found |= {"coroutine": waiting, "async_generator": generator(), "plain": Plain(), "object": object()}
    # Long names, and more than a name may have.
    found["long"] = {"key " * 400: 5, "paths": [pathlib.Path("/" + "x" * 2000)]}
    if sys.version_info >= (3, 15):
        found["frozen_dicts"] = [frozendict(), frozendict(a=1), frozendict({(1, 2): frozendict(b=[])})]  # noqa: F821
    # A path whose text nobody has asked for yet is put together of its parts.
    places = [("/a/../b//c/.",), ("x",), (), ("/",), ("a", "b", "/c", "d"), ("//x",), ("it's",), ("a", "/", "b/."), ("it's \\ back",),
              ("back\\slash",), ("both ' and \"",), ("new\nline",)]
    found |= {f"fresh_path_{n}": pathlib.PurePosixPath(*parts) for n, parts in enumerate(places)}
    keep.append(order)
    return found, {f"fresh_path_{n}": repr(pathlib.PurePosixPath(*parts)) for n, parts in enumerate(places)}


def instances():
    order, slots, more, many, replaced, deleted, plain, number = (
        Order(), Slots(), MoreSlots(), Many(), Replaced(), Deleted(), Plain(), MyInt(5))
    own = OwnRepr(1)
    return {"order": order, "slots": slots, "more": more, "many": many, "replaced": replaced, "deleted": deleted, "plain": plain, "number": number, "own": own}, {
        "order": shown(order, [("id", "4711"), ("state", "'paid'")]),
        "slots": shown(slots, [("u", "1"), ("v", "[2]")]),
        "more": shown(more, [("u", "1"), ("v", "[2]"), ("w", "None")]),
        "many": shown(many, [(f"attribute_{n}", str(n)) for n in range(40)]),
        "replaced": shown(replaced, [("after", "2")]),
        "deleted": shown(deleted, [("a", "1"), ("c", "3"), ("b", "4")]),
        "plain": repr(plain),
        "number": f"<MyInt at {id(number):#x} 5>",
        "own": shown(own, [("x", "1")]),
    }


def nested(seed=20261124):
    """Structures within structures, by chance."""
    chance = random.Random(seed)

    def leaf():
        return chance.choice([
            None, True, chance.randrange(-(2**70), 2**70), chance.uniform(-1e9, 1e9), "".join(chance.choices("aé日🎉'\"\n\\", k=chance.randrange(12))),
            bytes(chance.choices(range(256), k=chance.randrange(8))), decimal.Decimal(chance.randrange(10**12)).scaleb(chance.randrange(-9, 9)),
            datetime.timedelta(seconds=chance.randrange(10**6)), Color.RED, ...])

    def value(depth):
        if depth == 0 or chance.random() < 0.3:
            return leaf()
        kind = chance.randrange(7)
        items = [value(depth - 1) for _ in range(chance.randrange(5))]
        if kind == 0:
            return items
        if kind == 1:
            return tuple(items)
        if kind == 2:
            return {str(n): item for n, item in enumerate(items)}
        if kind == 3:
            return collections.deque(items)
        if kind == 4:
            return {(n, leaf()): item for n, item in enumerate(items)}
        if kind == 5:
            return Pair(items, value(depth - 1))
        return types.SimpleNamespace(**{f"n{n}": item for n, item in enumerate(items)})

    return {f"nested_{n}": value(6) for n in range(300)}


def arguments():
    """Variables of all kinds, in functions within functions, and of a class body and a module."""

    def outer(first, /, second, *rest, third=3, **others):
        captured = "captured"
        unbound = 1
        del unbound
        loop = [number for number in range(3)]

        def inner(own):
            local = captured + first
            say(None)
            os.read(never, 1)
            return second, local

        class Body:
            inside = 5
            inner(Order)

    outer("1", 2, 4, 5, key="v")


def secrets():
    def leak(password, api_key, harmless):
        session = {"Authorization": "Bearer x", "user": "ann", "none_token": None}
        client = types.SimpleNamespace(private_key=b"k", name="n")
        headers = [(b"host", b"h"), (b"cookie", b"c=1"), ("x-api-key", "k")]
        url = "see postgres://ann:pass@db/shop?x=1"
        raw = b"redis://:pass@cache/0"
        url_without_user = "https://host/ann@x"
        environment = {"PWD": "/srv", "OLDPWD": "/", "DB_PASSWORD": "p"}
        max_tokens = 4096
        pin = 1234
        say(None)
        os.read(never, 1)

    leak("hunter2", None, "ok")


def large():
    def carry(text, raw, items, deep, table, attributes):
        say(None)
        os.read(never, 1)

    carry("x" * 5_242_880, b"y" * 300, list(range(1_000_000)), [[[[[[1]]]]]], {n: n for n in range(30)}, Many())


def restless():
    """Values that change all the time."""
    table = {}
    words = []
    say(None)
    count = 0
    while True:
        count += 1
        table[count % 1000] = str(count)
        words.append([count])
        if len(words) > 500:
            words = []


def hold(values, expected):
    """Its variables are the values; it has no others, but those two."""
    names = "\n".join(f"    {name} = values[{name!r}]" for name in values)
    namespace = {"os": os, "never": never, "say": say}
    exec(f"def hold(values, expected):\n{names}\n    say(expected)\n    os.read(never, 1)\n", namespace)
    namespace["hold"](values, expected)


def say(expected):
    write_all(json.dumps({"expected": expected}).encode() + b"\n")


def write_all(data):
    while data:
        data = data[os.write(1, data):]


if __name__ == "__main__":
    made = globals()[sys.argv[1]]()
    if made is None:
        raise SystemExit("it did not block")
    made, other = made if isinstance(made, tuple) else (made, {})
    hold(made, {name: other.get(name) or repr(value) for name, value in made.items()})
