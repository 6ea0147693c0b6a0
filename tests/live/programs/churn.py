"""A process that changes all the time, and checks its own results meanwhile: two threads compute the same checksum over
and over. The first argument says what changes; a wrong result ends the process with status 70. For each byte on stdin
it prints how often each thread got the right one, and how often the process has changed."""

import json
import os
import shutil
import sys
import threading

rounds = [0, 0]
changes = 0


def checksum():
    value = 1
    for n in range(2000):
        value = (value * 31 + n) & 0xFFFFFFFF
    return value


RIGHT = checksum()


def compute(number):
    while True:
        if checksum() != RIGHT:
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
    group = [threading.Thread(target=lambda: results.append(checksum())) for _ in range(4)]
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


if sys.argv[1] == "exec":
    go_through_versions(json.loads(sys.argv[2]))

for number in range(2):
    threading.Thread(target=compute, args=(number,), name=f"compute-{number}", daemon=True).start()
threading.Thread(target=change_forever, args=(globals()[sys.argv[1]],), name="changer", daemon=True).start()
os.write(1, b'"ready"\n')
while os.read(0, 1):
    os.write(1, json.dumps([*rounds, changes]).encode() + b"\n")
os._exit(0)
