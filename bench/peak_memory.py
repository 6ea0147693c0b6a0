"""The most memory that a program had in use at a time, for compare.py and soak.py."""

import ctypes
import os
import re
import signal


def run(command, output, environment=os.environ):
    """Runs a program to its end, with stdout and stderr into a file. Returns its exit status and its peak in KiB.

    The peak is what the kernel says when the program is about to end. What wait4() says begins with what this script has in
    use, whose memory the child shared until it called exec.
    """
    traceme, cont, setoptions = 0, 7, 0x4200
    trace_exec, trace_exit, exit_kill, event_exit = 0x10, 0x40, 0x100000, 6
    ptrace = ctypes.CDLL(None).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    child = os.fork()
    if child == 0:
        try:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            ptrace(traceme, 0, None, None)
            os.execve(command[0], command, environment)
        finally:
            os._exit(127)
    _, status = os.waitpid(child, 0)
    ptrace(setoptions, child, None, trace_exec | trace_exit | exit_kill)
    peak, number = None, 0
    while os.WIFSTOPPED(status):
        if status >> 16 == event_exit:
            with open(f"/proc/{child}/status") as file:
                peak = int(re.search(r"^VmHWM:\s*(\d+) kB", file.read(), re.MULTILINE)[1])
        ptrace(cont, child, None, number)
        _, status = os.waitpid(child, 0)
        # What it is stopped by is handed on, if it is a signal to it and not just news for us.
        stop = os.WSTOPSIG(status) if os.WIFSTOPPED(status) else 0
        number = 0 if stop == signal.SIGTRAP or status >> 16 else stop
    return os.waitstatus_to_exitcode(status), peak
