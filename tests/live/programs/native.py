"""Threads with Python and native frames in turn. The argument is what the main thread does: one of the cases,
or a function of the library, or "all": then each of CASES has a thread of its own, and so have two that C code started;
or "without_library": then each of those cases has one that need none.

A case ends in a call that blocks for good, in C code that Python functions and C functions have called in turn.
"""

import _thread
import os
import select
import sys
import threading
import time

import oracle

HERE = os.path.dirname(__file__)
# A static program loads no libraries.
if sys.argv[1] != "without_library":
    import ctypes

    library = ctypes.CDLL(f"{HERE}/native_library.so")
    libc = ctypes.CDLL(None)
    CALLBACK = ctypes.CFUNCTYPE(None)
    COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def block():
    oracle.about_to_block()
    os.read(oracle.never, 1)


def sort(depth):
    """Recursion that goes through C code at each level."""

    def key(level):
        if level == 0:
            block()
        return sorted([level - 1], key=key)

    sorted([depth], key=key)


def qsort():
    def compare(a, b):
        block()
        return 0

    libc.qsort((ctypes.c_int * 2)(2, 1), 2, ctypes.sizeof(ctypes.c_int), COMPARE(compare))


def exception():
    oracle.about_to_block()
    library.catch_and_wait(20)


def cart():
    oracle.about_to_block()
    library.wait_in_cart()


def finalizer():
    class Resource:
        def __del__(self):
            block()

    resource = Resource()
    del resource


def attribute():
    class Lazy:
        def __getattr__(self, name):
            block()

    Lazy().value


def generator():
    def numbers():
        yield 1
        yield from more()

    def more():
        yield 2
        block()

    sum(numbers())


def mapping():
    def double(number):
        block()
        return number * 2

    list(map(double, [1]))


def poll():
    poll = select.poll()
    poll.register(oracle.never, select.POLLIN)
    oracle.about_to_block()
    poll.poll()


def sleep():
    oracle.about_to_block()
    time.sleep(10**6)


def lock():
    mutex = _thread.allocate_lock()
    mutex.acquire()
    oracle.about_to_block()
    mutex.acquire()


def signal_handler():
    oracle.about_to_block()
    library.wait_in_signal_handler()


def signal_stack():
    oracle.about_to_block()
    library.wait_on_signal_stack()


def python_on_signal_stack():
    library.call_on_signal_stack(keep(CALLBACK(block)))


CASES_WITHOUT_LIBRARY = {
    "sort": lambda: sort(50),
    "finalizer": finalizer,
    "attribute": attribute,
    "generator": generator,
    "mapping": mapping,
    "poll": poll,
    "sleep": sleep,
    "lock": lock,
}

CASES = CASES_WITHOUT_LIBRARY | {
    "qsort": qsort,
    "exception": exception,
    "cart": cart,
    "signal_handler": signal_handler,
    "signal_stack": signal_stack,
    "python_on_signal_stack": python_on_signal_stack,
}

kept = []


def keep(value):
    kept.append(value)
    return value


def attached_thread():
    """What a thread calls that Python hasn't started."""
    oracle.native_ids[_thread.get_ident()] = _thread.get_native_id()
    block()


def other_stack():
    library.call_on_other_stack(keep(CALLBACK(block)))


def subinterpreter():
    import _interpreters

    interpreter = _interpreters.create("isolated")
    code = f"""
import os
def inner():
    os.read({oracle.never}, 1)
def outer():
    inner()
outer()
"""
    oracle.about_to_block()
    _interpreters.exec(interpreter, code)


def deleted_library():
    os.unlink(f"{HERE}/native_library.so")
    cart()


def compiled():
    """Under PYTHON_JIT=1, loops that CPython has compiled by the time that they block."""
    mutex = _thread.allocate_lock()
    mutex.acquire()

    def wait_at(last):
        for number in range(last + 1):
            mutex.acquire(number == last)

    def call_at(last):
        for number in range(last + 1):
            max((number, number + 1), key=lambda n: wait_at(10_000) if n == last else n)

    oracle.about_to_block()
    call_at(10_000)


# For the main thread.
CASES_ALONE = {
    "compiled": compiled,
    "other_stack": other_stack,
    "subinterpreter": subinterpreter,
    "deleted_library": deleted_library,
}


def start(cases):
    oracle.expect(len(cases))
    for name, case in cases.items():
        threading.Thread(target=case, name=name).start()


def run_all():
    start(CASES)
    oracle.expect(1)
    library.start_attached_thread(keep(CALLBACK(attached_thread)))
    library.start_bare_thread(b"bare-worker")
    oracle.about_to_block()
    oracle.serve()


def run_without_library():
    start(CASES_WITHOUT_LIBRARY)
    oracle.about_to_block()
    oracle.serve()


def run(function):
    """A function of the library that never ends and gives no sign."""
    oracle.serve_in_background()
    oracle.about_to_block()
    getattr(library, function)()


if __name__ == "__main__":
    if sys.argv[1] == "all":
        run_all()
    elif sys.argv[1] == "without_library":
        run_without_library()
    elif sys.argv[1] in CASES | CASES_ALONE:
        oracle.run_case(CASES | CASES_ALONE)
    else:
        run(sys.argv[1])
