"""Threads in several interpreters. The arguments are kinds of interpreters, one for each to make:
"isolated" has a GIL of its own, "legacy" shares the main one, "public" is made by concurrent.interpreters,
and "idle" is one that runs nothing.

Nobody looks into another interpreter here: each thread tells what its own stack is, and blocks by the very
instruction by which it told.
"""

import _thread
import json
import os
import sys
import threading

import oracle

try:
    import _interpreters

    create, run = _interpreters.create, _interpreters.exec

    def current():
        return _interpreters.get_current()[0]

except ImportError:  # until 3.12
    import _xxsubinterpreters

    alive = []  # an interpreter ends with the object that stands for it
    run = _xxsubinterpreters.run_string

    def create(kind):
        # What 3.11 calls isolated may have no threads.
        isolated = kind == "isolated" and sys.version_info >= (3, 12)
        alive.append(_xxsubinterpreters.create(isolated=isolated))
        return int(alive[-1])

    def current():
        return int(_xxsubinterpreters.get_current())


def tell(report_fd, _):
    """Writes down the caller's thread, in the interpreter that it runs in."""
    ident = _thread.get_ident()
    known = {thread.ident: thread for thread in threading.enumerate()}
    thread = oracle.describe_thread(
        ident,
        _thread.get_native_id(),
        known[ident].name if ident in known else None,
        oracle.stack(sys._getframe(1)),
        interpreter=current(),
    )
    os.write(report_fd, json.dumps(thread).encode() + b"\n")


def wait_here(report_fd, never):
    for step, fd in (tell, report_fd), (os.read, never):
        step(fd, 1)


def wait_in_two_threads(report_fd, never):
    """For code in another interpreter."""
    threading.Thread(target=wait_here, args=(report_fd, never), name="ünter").start()
    wait_here(report_fd, never)


def run_in(interpreter, report_fd, never):
    """The thread has two states: one here, which stands in this call, and one over there."""
    code = f"import subinterpreters as s; s.wait_in_two_threads({report_fd}, {never})"
    # A new thread of Python code makes sys.argv and more: nothing of that is needed.
    for step, first, second in (tell, report_fd, 1), (run, interpreter, code):
        step(first, second)


def make(kind):
    if kind == "public":
        from concurrent import interpreters

        made.append(interpreters.create())
        return made[-1].id
    made.append(create("isolated" if kind == "idle" else kind))
    return made[-1]


made = []


def main(kinds):
    report_read, report_write = os.pipe()
    ids = [make(kind) for kind in kinds]
    threads = 0
    for kind, interpreter in zip(kinds, ids):
        if kind == "idle":
            continue
        arguments = (interpreter, report_write, oracle.never)
        threading.Thread(target=run_in, args=arguments, name=f"runs {interpreter}").start()
        threads += 3  # it here, it there, and the other one there
    reports = os.fdopen(report_read)
    told = [json.loads(reports.readline()) for _ in range(threads)]

    def all_threads(callers):
        current = oracle.describe_thread(
            _thread.get_ident(),
            _thread.get_native_id(),
            "MainThread",
            oracle.stack(callers),
            reporter=True,
        )
        return [current, *told]

    oracle.about_to_block()
    oracle.serve(all_threads, interpreters=[0, *ids])


if __name__ == "__main__":
    main(sys.argv[1:])
