"""A tree of processes.

    tree.py family        Python, its shell, and that one's Python children; a zombie and a program that isn't Python
    tree.py churn         children that end as soon as they have begun, for ever
    tree.py sleep [WORD]  does nothing

Prints a line of JSON. For "family": {"python": [pids, a parent before its children], "others": [pids]}.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time


def end_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(*command):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=end_with_parent)


def family():
    grandchild = [sys.executable, "-I", "-S", "-c", "import os; os.write(1, b'%d\\n' % os.getpid()); os.read(0, 1)"]
    # Two of them behind a shell, which waits for them. Its stdin is closed when this program ends, and so they end.
    quoted = shlex.join(grandchild)
    shell = start("/bin/sh", "-c", f"exec 3<&0; {quoted} <&3 & {quoted} <&3 & wait")
    grandchildren = sorted(int(shell.stdout.readline()) for _ in range(2))
    child = start(*grandchild)
    child.stdout.readline()
    ended = start("/bin/sh", "-c", "exit 0")
    while os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT) is None:
        pass
    print(json.dumps({"python": [os.getpid(), *grandchildren, child.pid], "others": [shell.pid, ended.pid]}), flush=True)
    sys.stdin.read(1)


def churn():
    print('"ready"', flush=True)
    while True:
        children = [os.fork() for _ in range(4)]
        if 0 in children:
            time.sleep(0.002 * children.index(0))
            os._exit(0)
        for pid in children:
            os.waitpid(pid, 0)


def sleep():
    print('"ready"', flush=True)
    sys.stdin.read(1)


globals()[sys.argv[1]]()
