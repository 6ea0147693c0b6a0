"""A process that changes all the time, and checks its own results meanwhile: some threads compute the same checksums over
and over. The first argument says what changes, the second how many threads compute (2); a wrong result ends the process with status 70.
Its first line has the rule of its stacks: for each function the callers that it may have, with the line of the call.
For each byte on stdin it prints how often each thread got the right results, and how often the process has changed."""

import ast
import atexit
import json
import os
import random
import shutil
import signal
import sys
import threading
import time

rounds = []
changes = 0


def checksum():
    value = 1
    for n in range(2000):
        value = (value * 31 + n) & 0xFFFFFFFF
    return value


def sum_of_squares():
    """A generator that never holds still."""
    return sum(n * n % 7 for n in range(500))


RIGHT = checksum()
SUM_OF_SQUARES = sum_of_squares()


def compute(number):
    while True:
        if checksum() != RIGHT or sum_of_squares() != SUM_OF_SQUARES:
            os._exit(70)
        rounds[number] += 1


def fork():
    child = os.fork()
    if child == 0:
        os._exit(0 if checksum() == RIGHT else 70)
    if os.waitpid(child, 0)[1] != 0:
        os._exit(70)


def threads():
    results = []

    def compute_once():
        results.append(checksum())

    group = [threading.Thread(target=compute_once) for _ in range(4)]
    for thread in group:
        thread.start()
    for thread in group:
        thread.join()
    if results != [RIGHT] * 4:
        os._exit(70)


def libraries():
    import _ctypes

    _ctypes.dlclose(_ctypes.dlopen("libz.so.1" if changes % 2 else "libexpat.so.1", os.RTLD_NOW))


def interpreters():
    import _interpreters

    number = _interpreters.create()
    if _interpreters.exec(number, "assert sum(range(100)) == 4950"):
        os._exit(70)
    _interpreters.destroy(number)


def garbage():
    import gc

    class Node:
        pass

    # What is collected on the way would not be counted below.
    gc.disable()
    for _ in range(500):
        node = Node()
        node.itself = node
    del node
    if gc.collect() < 500:
        os._exit(70)


def binary():
    """As a package upgrade does it: a new file in the place of the old one."""
    shutil.copy2(sys.executable, sys.executable + ".new")
    os.replace(sys.executable + ".new", sys.executable)


def change_forever(what):
    global changes
    while True:
        what()
        changes += 1


def exec_13(go_on):
    go_on()


def exec_14(go_on):
    go_on()


def exec_15(go_on):
    go_on()


def go_through_versions(places):
    """Each place is a root, its interpreter and this file in it. Descriptor 9 leads out of the root."""

    def go_on():
        if checksum() != RIGHT:
            os._exit(70)
        os.fchdir(9)
        os.chroot(".")
        root, *command = places[0]
        turned = json.dumps(places[1:] + places[:1])
        # A program that isn't Python is in between.
        os.execv("/usr/sbin/chroot", ["chroot", root, *command, "exec", turned])

    {13: exec_13, 14: exec_14, 15: exec_15}[sys.version_info.minor](go_on)


def again_0(number):
    become_next(number)


def again_1(number):
    become_next(number)


def become_next(number):
    for _ in range(100):
        if checksum() != RIGHT:
            os._exit(70)
    os.execv(sys.executable, [sys.executable, "-S", "-I", __file__, "again", str(number + 1)])


def end_somehow():
    """In one of the ways in which a Python process ends, with threads that compute."""
    start_computing(2)
    atexit.register(checksum)
    os.write(1, b"\"ready\"\n")
    os.read(0, 1)
    match sys.argv[2]:
        case "return":
            pass
        case "exit":
            sys.exit(3)
        case "raise":
            raise ValueError("as it was asked to")
        case "at once":
            os._exit(0)
        case "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        case "thread":
            threading.Thread(target=os._exit, args=(0,)).start()
            checksum()
        case "main thread first":
            threading.Thread(target=time.sleep, args=(random.random() / 100,)).start()


def rule_of_stacks():
    """For each function of this file that is called by its name, and for each generator expression: who calls it, and where."""
    with open(__file__) as file:
        tree = ast.parse(file.read())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    callers = {}

    def visit(node, caller):
        inside = caller
        if isinstance(node, ast.FunctionDef):
            inside = node.name if caller == "<module>" else f"{caller}.<locals>.{node.name}"
        elif isinstance(node, ast.GeneratorExp):
            inside = f"{caller}.<locals>.<genexpr>"
            callers.setdefault(inside, []).append([caller, node.lineno])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            callers.setdefault(node.func.id, []).append([caller, node.lineno])
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree, "<module>")
    return callers


def start_computing(number_of_threads):
    rounds.extend([0] * number_of_threads)
    for number in range(number_of_threads):
        threading.Thread(target=compute, args=(number,), name=f"compute-{number}", daemon=True).start()


if sys.argv[1] == "exec":
    go_through_versions(json.loads(sys.argv[2]))
elif sys.argv[1] == "again":
    number = int(sys.argv[2])
    (again_1 if number % 2 else again_0)(number)
elif sys.argv[1] == "end":
    end_somehow()
else:
    start_computing(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    threading.Thread(target=change_forever, args=(globals()[sys.argv[1]],), name="changer", daemon=True).start()
    os.write(1, json.dumps({"callers": rule_of_stacks()}).encode() + b"\n")
    while os.read(0, 1):
        os.write(1, json.dumps([*rounds, changes]).encode() + b"\n")
    os._exit(0)
