"""Threads and files with names of all kinds. The first argument names the case."""

import _thread
import os
import sys
import threading

import oracle
from oracle import about_to_block, never


def block():
    about_to_block()
    os.read(never, 1)


THREAD_NAMES = [
    "ascii",
    "with spaces  and\ttab",
    "Zoë, naïve café",
    "日本語 русский ελληνικά",
    "🐍🧵 astral 𝒳",
    "red \x1b[31m and a bell \x07",
    "\x1b]0;title\x07\x9b31m",
    "two\nlines\r\n",
    "bidi \u202e override \u2066 isolate",
    "line\u2028separator",
    "nul \0 in the middle",
    "surrogate \ud800 and \udcff",
    "\"quotes\" 'single' \\backslash\\ \\x1b",
    "{braces} %s %n <html> & $(touch x) `y`",
    "x" * 300,
    "é" * 300,
    "🐍" * 300,
    "",
    " ",
    "12345",
    "latin-1 only: \xff\xfe",
    "same",
    "same",
]


def thread_names():
    class Named(threading.Thread):
        def __init__(self, name):
            super().__init__(target=block, daemon=True, name=name)
            self.more_attributes = 1

    threads = []
    oracle.expect(2 * len(THREAD_NAMES) + 3)
    for name in THREAD_NAMES:
        threads.append(threading.Thread(target=block, daemon=True, name=name))
        threads.append(Named(name))
    for thread in threads[::5]:
        vars(thread)["in a dictionary"] = "not in the inline values"
    threads += [threading.Thread(target=block, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    threads[0].name = "renamed after its start"
    threads[1].name = "umbenannt in ä"
    threading.main_thread().name = "主 main"

    def unknown_to_threading():
        oracle.native_ids[_thread.get_ident()] = _thread.get_native_id()
        block()

    _thread.start_new_thread(unknown_to_threading, ())
    block()



def code_named(name, **more):
    def function():
        about_to_block()
        os.read(never, 1)

    function.__code__ = function.__code__.replace(
        co_name=name, co_qualname=f"Class.{name}", **more
    )
    return function


def function_names():
    oracle.expect(len(THREAD_NAMES))
    for name in THREAD_NAMES:
        threading.Thread(target=code_named(name), daemon=True).start()
    block()


def long_names():
    oracle.expect(2)
    for character in "xé":
        name = character * 10_000
        function = code_named(name, co_filename=name)
        threading.Thread(target=function, name=name, daemon=True).start()
    block()


def class_names():
    """Values whose classes have escapes in their names, in code and a thread that have some, too."""
    global hostile, HostileError
    escape = "\x1b]0;title\x07\x1b[31m"
    hostile_class = type(escape, (), {"__module__": escape, "__qualname__": escape})
    hostile_class.__qualname__ = f"Outer.{escape}"
    hostile = hostile_class()
    hostile.inner = hostile_class()
    hostile.changing = {escape: hostile_class}
    threading.main_thread().name = escape
    oracle.expect(1)
    threading.Thread(target=code_named(escape), name=escape, daemon=True).start()
    block()


def broken_value():
    """A list whose items lie where there is no memory."""
    import ctypes

    global broken
    broken = [1, 2, 3]
    nowhere = 0x7E0000000000
    items = ctypes.c_uint64.from_address(id(broken) + object.__basicsize__ + 8)
    items.value = nowhere
    block()


def executed_as(*file_names):
    """A thread for each name: it is blocked in line 1 of code that says it comes from there."""
    oracle.expect(len(file_names))
    for name in file_names:
        code = compile("about_to_block(), os.read(never, 1)", name, "exec")
        thread = threading.Thread(target=exec, args=(code, globals()), name=name, daemon=True)
        thread.start()
    block()


def executed_in(directory, file_name):
    """Code that comes from a file with a relative name, after the directory was changed."""
    with open(file_name) as file:
        code = compile(file.read(), file_name, "exec")
    os.chdir(directory)
    exec(code, {})


def name_with_nul():
    def function():
        block()

    function.__code__ = function.__code__.replace(co_filename=__file__ + "\0.txt")
    function()


if __name__ == "__main__":
    oracle.run_case(globals())
