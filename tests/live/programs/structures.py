"""What Python itself tells of its structures: the sizes of instances; and generators in each state.

Prints a line of JSON and blocks.
"""

import _queue
import _thread
import array
import collections
import datetime
import decimal
import functools
import inspect
import json
import os
import re
import threading
import types
import weakref

try:
    import _asyncio
except ImportError:
    _asyncio = None

TYPES = {
    "object": object,
    "type": type,
    "code": types.CodeType,
    "generator": types.GeneratorType,
    "coroutine": types.CoroutineType,
    "async_generator": types.AsyncGeneratorType,
    "cell": types.CellType,
    "method": types.MethodType,
    "builtin_function_or_method": types.BuiltinFunctionType,
    "function": types.FunctionType,
    "module": types.ModuleType,
    "BaseException": BaseException,
    "bytes": bytes,
    "bytearray": bytearray,
    "complex": complex,
    "float": float,
    "list": list,
    "set": set,
    "dict": dict,
    "deque": collections.deque,
    "OrderedDict": collections.OrderedDict,
    "defaultdict": collections.defaultdict,
    "dict_keys": type({}.keys()),
    "mappingproxy": types.MappingProxyType,
    "range": range,
    "slice": slice,
    "array": array.array,
    "memoryview": memoryview,
    "date": datetime.date,
    "time": datetime.time,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "timezone": datetime.timezone,
    "Decimal": decimal.Decimal,
    "Pattern": re.Pattern,
    "partial": functools.partial,
    "ref": weakref.ref,
    "lock": _thread.LockType,
    "RLock": type(threading.RLock()),
    "SimpleQueue": _queue.SimpleQueue,
}
if _asyncio:
    TYPES |= {"Task": _asyncio.Task, "Future": _asyncio.Future}


def yields(hold):
    if hold:
        hold()
    yield 1
    yield 2


def delegates(hold):
    yield from yields(hold)


async def awaits(awaited):
    await awaited


async def yields_asynchronously():
    yield 1


@types.coroutine
def once():
    yield


def started(generator):
    next(generator)
    return generator


def started_coroutine():
    coroutine = awaits(once())
    coroutine.send(None)
    return coroutine


def describe(generator, prefix, state):
    frame = getattr(generator, prefix + "_frame")
    return {
        "at": id(generator),
        "name": generator.__qualname__,
        "state": state,
        "line": frame and frame.f_lineno,
        "unit": frame and frame.f_lasti // 2,
    }


def main():
    never, _ = os.pipe()
    finished = yields(None)
    list(finished)
    made = [yields(None), started(yields(None)), started(delegates(None)), finished]
    generators = [describe(generator, "gi", inspect.getgeneratorstate(generator)) for generator in made]
    coroutine = started_coroutine()
    asynchronous = yields_asynchronously()
    generators.append(describe(coroutine, "cr", inspect.getcoroutinestate(coroutine).replace("CORO", "GEN")))
    generators.append(describe(asynchronous, "ag", "GEN_CREATED"))

    def hold():
        generators.append({"at": id(running), "name": "yields", "state": "GEN_RUNNING"})
        sizes = {name: made.__basicsize__ for name, made in TYPES.items()}
        os.write(1, json.dumps({"sizes": sizes, "generators": generators}).encode() + b"\n")
        os.read(never, 1)

    running = yields(hold)
    next(running)
    return made, coroutine, asynchronous


main()
