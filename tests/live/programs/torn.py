"""Threads that never hold still and whose only legal stacks are known.

    torn.py KIND...

One thread for each kind, flat out. All code is generated so that a function's name says who may have called it
and from which line: a stack that was put together from two moments breaks that rule sooner or later. The first
line of output gives the rule: for each function the callers that it may have, with the line of the call.

Kinds:
  tree        a random walk on a binary tree of functions: the innermost name determines the whole stack
  generators  the same, with generators that are driven by loops and by `yield from`, between plain functions
  deep        a random walk on a chain of large frames, so that it crosses chunks of the data stack
  recursion   two functions that call each other, hundreds of times deep and back
  unwinding   exceptions that cross several functions
  alternate   one function, called in turn from two others with the same arguments
  specialised constructors, properties and operators, whose frames the interpreter enters without C
  code        functions that are compiled, run and thrown away, so that code objects reuse each other's memory
  churn       threads that are started and joined without a pause
"""

import gc
import itertools
import json
import os
import random
import sys
import threading
import types

CALL, OTHER_CALL, RETURN = 0, 1, 2


class Source:
    """Generated code and the rule of its stacks."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.callers = {}

    def add(self, text):
        """Adds lines and returns the number of the last one."""
        self.lines += text.split("\n")
        return len(self.lines)

    def may_call(self, caller, line, callee):
        self.callers.setdefault(callee, []).append([caller, line])

    def run(self):
        text = "\n".join(self.lines) + "\n"
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), self.name)
        namespace = {}
        exec(compile(text, path, "exec"), namespace)
        return namespace


def make_plan(seed, choices):
    """An endless sequence of steps, taken by a C function so that it adds no frames."""
    chance = random.Random(seed)
    return itertools.cycle([chance.choice(choices) for _ in range(100_003)]).__next__


def tree(source, depth=9):
    for length in range(depth, -1, -1):
        for path in map("".join, itertools.product("01", repeat=length)):
            name = f"tree_{path}"
            source.add(f"def {name}(plan):")
            source.add("  while (step := plan()) < 2:")
            if length == depth:
                source.add("    pass")
                continue
            for bit in "01":
                source.add(f"    {'if' if bit == '0' else 'elif'} step == {bit}:")
                source.may_call(name, source.add(f"      {name}{bit}(plan)"), f"{name}{bit}")
    return "tree_", make_plan(1, [0, 1, 2])


def generators(source, depth=7):
    for length in range(depth, -1, -1):
        for path in map("".join, itertools.product("01", repeat=length)):
            name = f"generators_{path}"
            generator = length % 3 != 0
            child_generates = (length + 1) % 3 != 0
            source.add(f"def {name}(plan):")
            source.add("  while (step := plan()) < 2:")
            if length < depth:
                for bit in "01":
                    source.add(f"    {'if' if bit == '0' else 'elif'} step == {bit}:")
                    call = f"{name}{bit}(plan)"
                    if child_generates:
                        call = f"yield from {call}" if generator and bit == "1" else f"for _ in {call}: pass"
                    source.may_call(name, source.add(f"      {call}"), f"{name}{bit}")
            source.add("    yield" if generator else "    pass")
    return "generators_", make_plan(2, [0, 1, 2])


def deep(source, depth=180):
    for level in range(depth, -1, -1):
        for twin in "01":
            name = f"deep_{level}_{twin}"
            source.add(f"def {name}(plan):")
            source.add("  " + " = ".join(f"local{i}" for i in range(level % 40 + 1)) + " = None")
            source.add("  while (step := plan()) < 2:")
            if level == depth:
                source.add("    pass")
                continue
            for callee in "01":
                source.add(f"    {'if' if callee == '0' else 'elif'} step == {callee}:")
                line = source.add(f"      deep_{level + 1}_{callee}(plan)")
                source.may_call(name, line, f"deep_{level + 1}_{callee}")
    return "deep_0_0", make_plan(3, [0, 1, 2, 2])


def recursion(source, depth=600):
    for name, other in (("recursion_even", "recursion_odd"), ("recursion_odd", "recursion_even")):
        source.add(f"def {name}(depth):")
        source.add("  if depth == 0:")
        source.add("    return 0")
        source.may_call(name, source.add(f"  return {other}(depth - 1)"), other)
    source.add("def recursion_top(plan):")
    line = source.add(f"  recursion_even({depth} - plan())")
    source.may_call("recursion_top", line, "recursion_even")
    return "recursion_top", make_plan(4, range(depth))


def unwinding(source, depth=14):
    source.add("class Unwound(Exception): pass")
    for level in range(depth, -1, -1):
        name = f"unwinding_{level}"
        catches = level % 4 == 0
        source.add(f"def {name}(plan):")
        source.add("  while (step := plan()) < 2:")
        if level == depth:
            source.add("    raise Unwound")
            continue
        callee = f"unwinding_{level + 1}"
        if catches:
            source.add("    try:")
            source.may_call(name, source.add(f"      {callee}(plan)"), callee)
            source.add("    except Unwound:")
            source.may_call(name, source.add(f"      {callee}(plan) if step else None"), callee)
        else:
            source.may_call(name, source.add(f"    {callee}(plan)"), callee)
        source.add("    if step: raise Unwound")
    source.add("def unwinding_top(plan):")
    source.add("  try:")
    source.may_call("unwinding_top", source.add("    unwinding_0(plan)"), "unwinding_0")
    source.add("  except Unwound:\n    pass")
    return "unwinding_top", make_plan(5, [0, 0, 1, 2])


def alternate(source):
    source.add("def alternate_leaf(a, b):\n  return a is b")
    for name in ("alternate_left", "alternate_right"):
        source.add(f"def {name}(a, b):")
        source.may_call(name, source.add("  return alternate_leaf(a, b)"), "alternate_leaf")
    source.add("def alternate_top(plan):")
    source.add("  for _ in range(1000):")
    for name in ("alternate_left", "alternate_right"):
        source.may_call("alternate_top", source.add(f"    {name}(None, None)"), name)
    return "alternate_top", make_plan(6, [0])


def specialised(source):
    source.add("class Specialised:")
    source.add("  def __init__(self, plan):")
    line = source.add("    self.plan = specialised_leaf(plan)")
    source.may_call("Specialised.__init__", line, "specialised_leaf")
    source.add("  @property")
    source.add("  def value(self):")
    line = source.add("    return specialised_other_leaf(self.plan)")
    source.may_call("Specialised.value", line, "specialised_other_leaf")
    source.add("  def __getitem__(self, key):")
    source.may_call("Specialised.__getitem__", source.add("    return specialised_leaf(key)"), "specialised_leaf")
    source.add("def specialised_leaf(plan):\n  return plan")
    source.add("def specialised_other_leaf(plan):\n  return plan")
    source.add("def specialised_top(plan):")
    source.add("  for _ in range(1000):")
    line = source.add("    made = Specialised(plan)")
    source.may_call("specialised_top", line, "Specialised.__init__")
    source.may_call("specialised_top", source.add("    made.value"), "Specialised.value")
    source.may_call("specialised_top", source.add("    made[plan]"), "Specialised.__getitem__")
    return "specialised_top", make_plan(7, [0])


def code(source):
    # Each is compiled anew, so that the code object of one lies where that of another lay.
    for name in ("code_one", "code_two", "code_three"):
        source.add(f"def {name}(plan):")
        for _ in range(3):
            line = source.add("  exec(compile(" + repr(f"def {name}_inner(plan):\n  for _ in range(300): plan()\n")
                              + f", {name!r}, 'exec'), (made := {{}}))")
            line = source.add(f"  made['{name}_inner'](plan)")
            source.may_call(name, line, f"{name}_inner")
            source.add("  made.clear()")  # else the function keeps itself
    source.add("def code_top(plan):")
    for name in ("code_one", "code_two", "code_three"):
        source.may_call("code_top", source.add(f"  {name}(plan)"), name)
    return "code_top", make_plan(8, [0])


def churn(source):
    source.add("import threading")
    source.add("def churn_leaf(plan):\n  for _ in range(20): plan()")
    for name in ("churn_one", "churn_two"):
        source.add(f"def {name}(plan):")
        source.may_call(name, source.add("  churn_leaf(plan)"), "churn_leaf")
        source.callers[name] = None  # where a thread begins
    source.add("def churn_top(plan):")
    source.add("  threads = [threading.Thread(target=t, args=(plan,)) for t in (churn_one, churn_two)]")
    source.add("  for thread in threads: thread.start()")
    source.add("  for thread in threads: thread.join()")
    return "churn_top", make_plan(9, [0])


def flat_out(function, plan):
    while True:
        function(plan)
        for _ in ():
            pass


KINDS = [tree, generators, deep, recursion, unwinding, alternate, specialised, code, churn]


def main(names):
    sys.setrecursionlimit(2000)
    gc.disable()
    callers = {}
    threads = []
    for kind in KINDS:
        if kind.__name__ not in names:
            continue
        source = Source(f"torn_{kind.__name__}.py")
        top, plan = kind(source)
        function = source.run()[top]
        if isinstance(function, types.FunctionType) and function.__code__.co_flags & 0x20:
            raise SystemExit(f"{top} must not be a generator")
        callers.update(source.callers)
        callers[top] = [["flat_out", flat_out.__code__.co_firstlineno + 2]]
        threads.append(threading.Thread(target=flat_out, args=(function, plan), name=kind.__name__, daemon=True))
    for thread in threads:
        thread.start()
    os.write(1, json.dumps({"ready": True, "callers": callers}).encode() + b"\n")
    os.read(0, 1)
    os._exit(0)


main(sys.argv[1:] or [kind.__name__ for kind in KINDS])
