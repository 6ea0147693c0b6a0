"""A thread that multiplies matrices with numpy for good, whose library for that has threads of its own.

Prints a line of JSON once it does: {"tid": of that thread}.
"""

import json
import sys
import threading

import numpy

begun = threading.Event()


def multiply(matrix):
    matrix @ matrix
    begun.set()
    while True:
        matrix @ matrix


thread = threading.Thread(target=multiply, args=(numpy.ones((700, 700)),), name="multiply", daemon=True)
thread.start()
begun.wait()
print(json.dumps({"tid": thread.native_id}), flush=True)
sys.stdin.read()
