"""Calls CPython's RemoteUnwinder when it is told to, for compare.py and torn_peers.py.

    unwinder.py PID

Runs in the target's version of CPython. Each line of input is a command, and is answered by a line of JSON:

time    what one call costs of an unwinder that was called before: {"wall_ms": ..., "cpu_ms": ...}
stacks  what a new unwinder sees: [[thread id, [[function, file, line], ...]], ...], innermost frame first

What goes wrong is answered by {"failed": ...}.
"""

import json
import sys
import time

from _remote_debugging import RemoteUnwinder


def stack(frames):
    # 3.15 has the line in a tuple of positions.
    return [[frame.funcname, frame.filename, frame.lineno if hasattr(frame, "lineno") else frame.location[0]] for frame in frames]


def stacks(pid):
    # 3.15 groups the threads by interpreter.
    groups = RemoteUnwinder(pid, all_threads=True).get_stack_trace()
    threads = [thread for group in groups for thread in getattr(group, "threads", [group])]
    return [[thread.thread_id, stack(thread.frame_info)] for thread in threads]


class Clock:
    def __init__(self, pid):
        self.unwinder = RemoteUnwinder(pid, all_threads=True)
        self.unwinder.get_stack_trace()

    def time(self):
        begin, used = time.perf_counter(), time.process_time()
        self.unwinder.get_stack_trace()
        return {"wall_ms": (time.perf_counter() - begin) * 1000, "cpu_ms": (time.process_time() - used) * 1000}


def main(pid):
    clock = None
    for line in sys.stdin:
        try:
            if line == "stacks\n":
                answer = stacks(pid)
            else:
                clock = clock or Clock(pid)
                answer = clock.time()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main(int(sys.argv[1]))
