"""Processes that wait for each other for ever, and some that only look like it.

    stuck_processes.py CASE

Prints a line of JSON, {"pids": [...], "cycle": [...], "words": {pid: ...}}, and then blocks. `pids` are all the processes
of the case; `cycle` those that wait for each other, in the order of their waiting, or null; `words` what each of them
waits for, as it begins.
"""

import concurrent.futures
import ctypes
import json
import multiprocessing
import multiprocessing.connection
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time

context = multiprocessing.get_context("fork")
C = ctypes.CDLL(None)


def say(pids, cycle=None, words={}):
    print(json.dumps({"pids": pids, "cycle": cycle, "words": words}), flush=True)


def end_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def python(code, **more):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], preexec_fn=end_with_parent, **more)


def full_pipe():
    """What the manual of subprocess warns of: nobody reads what the child writes."""
    child = python("import os; os.write(1, bytes(1 << 20))", stdout=subprocess.PIPE)
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {me: "for its child ", child.pid: "to write to the full pipe on fd 1, which only "})
    child.wait()


def not_python():
    """The other one is no Python program."""
    child = subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE)
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {me: "for its child ", child.pid: "to read from the empty pipe on fd 0, which only "})
    child.wait()


def conversation():
    """Each waits for the other one's word."""
    ours, theirs = context.Pipe()

    def listen():
        end_with_parent()
        ours.close()
        theirs.recv()

    child = context.Process(target=listen)
    child.start()
    theirs.close()
    me = os.getpid()
    fd = ours.fileno()
    say([me, child.pid], [me, child.pid], {me: f"to read from the unix socket on fd {fd}, whose other end only "})
    ours.recv()


def semaphores():
    """Two locks of multiprocessing, taken in both orders by two children; the parent waits for the first of them."""
    first, second = context.Lock(), context.Lock()
    both = context.Barrier(2)

    def take(one, other):
        end_with_parent()
        with one:
            both.wait()
            with other:
                pass

    children = [context.Process(target=take, args=order) for order in ((first, second), (second, first))]
    for child in children:
        child.start()
    pids = [child.pid for child in children]
    say([os.getpid(), *pids], pids, {pid: "for a semaphore that only " for pid in pids})
    children[0].join()


def communicate():
    """The parent polls for what the child writes, and the child waits for a word of the parent's."""
    read, write = os.pipe()
    child = python(f"import os; os.read({read}, 1)", stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[read])
    os.close(read)
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {me: "to read from the empty pipe on fd ",
                                           child.pid: f"to read from the empty pipe on fd {read}, which only "})
    child.communicate()


def connections():
    """The parent waits in multiprocessing.connection.wait(), the child for an order."""
    ours, theirs = context.Pipe()

    def listen():
        end_with_parent()
        ours.close()
        theirs.recv()

    child = context.Process(target=listen)
    child.start()
    theirs.close()
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {me: "for the unix socket on fd ", child.pid: "to read from the unix socket "})
    multiprocessing.connection.wait([ours, child.sentinel])


def selected():
    """The same with select(), and with an instance of epoll in the child."""
    ours, theirs = context.Pipe()

    def listen():
        end_with_parent()
        ours.close()
        selector = selectors.EpollSelector()
        selector.register(theirs, selectors.EVENT_READ)
        selector.select()

    child = context.Process(target=listen)
    child.start()
    theirs.close()
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {pid: "for the unix socket on fd " for pid in (me, child.pid)})
    select.select([ours], [], [])


def process_pool():
    """A call in a ProcessPoolExecutor waits for a word of the parent's, which waits for the call."""
    read, write = os.pipe()
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent)
    pool.submit(int).result()
    future = pool.submit(os.read, read, 1)
    me, (worker,) = os.getpid(), pool._processes
    say([me, worker], [me, worker], {worker: f"to read from the empty pipe on fd {read}, which only "})
    future.result()


def polled_network():
    """One of the descriptors of a poll is a socket of the network."""
    server = socket.create_server(("127.0.0.1", 0))
    child = python("import os; os.read(0, 1)", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    say([os.getpid(), child.pid])
    select.select([server, child.stdout], [], [])


def polled_for_a_time():
    child = python("import os; os.read(0, 1)", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    say([os.getpid(), child.pid])
    select.select([child.stdout], [], [], 100_000)


def pool_at_rest():
    """A pool without work, whose process waits for a signal."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    pool = context.Pool(2, initializer=end_with_parent)
    pool.map(abs, range(4))
    say([os.getpid(), *[process.pid for process in pool._pool]])
    stop.wait()


def executor_at_rest():
    """The same with a ProcessPoolExecutor, and without a handler."""
    pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent)
    pool.submit(int).result()
    say([os.getpid(), *pool._processes])
    threading.Event().wait()


def working():
    """A child that goes on by itself."""
    child = python("import time; time.sleep(1000)")
    say([os.getpid(), child.pid])
    child.wait()


def signalled():
    """The parent lets the child go when it is told to."""
    read, write = os.pipe()
    child = python(f"import os; os.read({read}, 1)", pass_fds=[read])
    signal.signal(signal.SIGTERM, lambda *_: os.write(write, b"x"))
    me = os.getpid()
    say([me, child.pid], [me, child.pid], {me: "for its child "})
    child.wait()


def alarmed():
    """The parent lets the child go when its time is over."""
    read, write = os.pipe()
    child = python(f"import os; os.read({read}, 1)", pass_fds=[read])
    signal.signal(signal.SIGALRM, lambda *_: os.write(write, b"x"))
    signal.alarm(100_000)
    say([os.getpid(), child.pid])
    child.wait()


def full_queues():
    """The parent writes tasks, a worker results, and neither reads; the other workers wait for that worker's lock."""
    tasks, results = context.SimpleQueue(), context.SimpleQueue()

    def work():
        end_with_parent()
        while True:
            tasks.get()
            results.put(bytes(200_000))

    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    # Each takes a task before it writes its result: the last ones wait for the lock of the results.
    me = os.getpid()
    say([me, *[worker.pid for worker in workers]], None, {me: "to write to the full pipe on fd "})
    for _ in range(1000):
        tasks.put(bytes(4000))


def hold(lock, taken):
    with lock:
        taken.set()
        time.sleep(1000)


def hold_mutex(mutex, taken):
    C.pthread_mutex_lock(mutex)
    taken.set()
    time.sleep(1000)


def take(lock):
    with lock:
        pass


def fork_while_held(hold, lock, then, fork=os.fork):
    """Forks while another thread has the lock; the child calls `then`, and then wants the lock."""
    taken = threading.Event()
    threading.Thread(target=hold, args=(lock, taken), daemon=True, name="refill").start()
    taken.wait()
    child = fork()
    if child == 0:
        end_with_parent()
        then()
    say([os.getpid(), child])
    time.sleep(1000)


def beside(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True, name="beside").start()


def forked_with_lock():
    """A child that was forked while another thread had a lock."""
    lock = threading.Lock()
    fork_while_held(hold, lock, lambda: take(lock))


def forked_all_wait():
    """The same, and the child has two threads that want the lock."""
    lock = threading.Lock()

    def then():
        beside(take, lock)
        take(lock)

    fork_while_held(hold, lock, then)


def forked_beside_sleeper():
    """The same, and another thread of the child sleeps."""
    lock = threading.Lock()

    def then():
        beside(time.sleep, 1000)
        take(lock)

    fork_while_held(hold, lock, then)


def forked_with_rlock():
    lock = threading.RLock()

    def then():
        beside(time.sleep, 1000)
        take(lock)

    fork_while_held(hold, lock, then)


def forked_with_mutex():
    mutex = ctypes.create_string_buffer(64)

    def then():
        beside(time.sleep, 1000)
        C.pthread_mutex_lock(mutex)

    fork_while_held(hold_mutex, mutex, then)


def forked_in_c_with_lock():
    """The child has the records of both threads of the parent, and one of the threads."""
    lock = threading.Lock()

    def then():
        beside(time.sleep, 1000)
        take(lock)

    fork_while_held(hold, lock, then, ctypes.PyDLL(None).fork)


def forked_and_acquired():
    """No thread had the lock at the fork: another thread of the child has acquired it, and will give it back."""
    lock, other, acquired = threading.Lock(), threading.Lock(), threading.Event()

    def acquire():
        lock.acquire()
        acquired.set()
        time.sleep(1000)

    def then():
        beside(acquire)
        acquired.wait()
        take(lock)

    fork_while_held(hold, other, then)


def forked_in_c():
    """A child that Python wasn't told of: its record has the parent's native id. Two of its threads are deadlocked."""
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        end_with_parent()
        first, second = threading.Lock(), threading.Lock()
        both = threading.Barrier(2)

        def take(one, other):
            with one:
                both.wait()
                with other:
                    pass

        threading.Thread(target=take, args=(first, second), daemon=True, name="other").start()
        take(second, first)
    say([os.getpid(), child])
    time.sleep(1000)


def other_thread():
    """Another thread of the parent will go on."""
    child = python("import os; os.write(1, bytes(1 << 20))", stdout=subprocess.PIPE)
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    say([os.getpid(), child.pid])
    child.wait()


def third():
    """Whoever started this program holds an end of a pipe, too."""
    child = python("import os; os.read(0, 1)", stdin=sys.stdin)
    say([os.getpid(), child.pid])
    child.wait()


def alone():
    """A process that reads what only it could write, in the way of programs that wait to be killed."""
    read, _write = os.pipe()
    say([os.getpid()])
    os.read(read, 1)


globals()[sys.argv[1]]()
