"""Processes that don't hold still, or that are about to end. The first argument names the case. Each prints
a line when it has got there."""

import atexit
import os
import signal
import sys
import threading
import time


def say(text="ready"):
    os.write(1, b'"%s"\n' % text.encode())


def spin():
    count = 0
    say()
    while True:
        count += 1
        if count < 0:
            break


def spin_together():
    ready = threading.Barrier(9)

    def busy():
        ready.wait()
        count = 0
        while True:
            count += 1

    for number in range(8):
        threading.Thread(target=busy, name=f"busy-{number}", daemon=True).start()
    ready.wait()
    say()
    os.read(0, 1)


def end_at_once():
    say()


def replace_itself():
    if len(sys.argv) == 2:
        say()
    os.execv(sys.executable, [sys.executable, "-S", "-I", __file__, "replace_itself", "again"])


def fork_all_the_time():
    say()
    while True:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def fork_once():
    """The child of a process with threads has only the one that forked."""
    threading.Thread(target=os.read, args=(0, 1), name="reader", daemon=True).start()
    gate, never = os.pipe()

    def forker():
        child = os.fork()
        if child == 0:
            os.read(gate, 1)
        say(str(child))
        os.waitpid(child, 0)

    threading.Thread(target=forker, name="forker").start()


def churn():
    """One thread that stays, and others that come and go."""
    gate, never = os.pipe()

    def innermost():
        os.read(gate, 1)

    def steady():
        innermost()

    def short(depth):
        return short(depth - 1) if depth else sum(range(50))

    threading.Thread(target=steady, name="steady", daemon=True).start()
    say()
    while True:
        threads = [threading.Thread(target=short, args=(n * 7,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def block_at_exit():
    def at_exit():
        say()
        os.read(0, 1)

    atexit.register(at_exit)


class Last:
    # By then the module's own names are gone.
    def __del__(self, write=os.write, read=os.read):
        write(1, b'"ready"\n')
        read(0, 1)


def block_in_teardown():
    global last
    last = Last()


def wait_for_threads_at_exit():
    gate, never = os.pipe()
    threading.Thread(target=os.read, args=(gate, 1), name="not a daemon").start()
    say()


def count_signals():
    """Real-time signals are queued: as many come as were sent. The C handler writes a byte for each."""
    counter, written = os.pipe()
    for end in (counter, written):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(written)
    signal.signal(signal.SIGRTMIN, lambda *_: None)
    for number in range(3):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    received = 0
    say()
    while os.read(0, 1):
        try:
            received += len(os.read(counter, 10_000))
        except BlockingIOError:
            pass
        say(str(received))


def uninterruptible():
    """Waits in the kernel, as on a dead disk, until the FIFO named by the argument is opened: a process waits so for
    its child of a vfork."""
    threading.Thread(target=time.sleep, args=(1000,), name="sleeper", daemon=True).start()
    os.mkfifo(sys.argv[2])
    say()
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[2], os.O_RDONLY, 0)])
    os.read(0, 1)


def sleep():
    say()
    time.sleep(1000)


globals()[sys.argv[1]]()
