"""Threads that are each blocked in another way, and what each of them waits for as the program itself knows it.

    waits.py WORKSPACE | waits.py connections N | waits.py network_namespace WORKSPACE

Each thread has the name of its case. The first line that is printed has, for each name, what is expected of the
thread's wait; then the main thread blocks, too.
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

expected = {}
kept = []  # what must not be closed
started = threading.Semaphore(0)

LONG = 1000
POLL = "ppoll" if sys.version_info >= (3, 15) else "poll"  # of select.poll; sockets use poll in all versions


def blocks(name, call, *arguments, kind, syscall, fd=None, target=None, **more):
    """Starts a thread that calls what blocks."""

    def run():
        started.release()
        call(*arguments)

    kept.append((call, arguments))
    expected[name] = {"kind": kind, "syscall": syscall, "fd": fd, "target": target, **more}
    threading.Thread(target=run, name=name, daemon=True).start()


def shown(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def addresses(protocol, one, state=""):
    return f"{protocol} {shown(one.getsockname())} -> {shown(one.getpeername())}{state}"


def connected_pair(family, host):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((host, 0))
    server.listen()
    client = socket.create_connection(server.getsockname()[:2])
    accepted, _ = server.accept()
    kept.extend((server, client, accepted))
    return client, accepted


def child(code="import os; os.read(0, 1)", stdin=subprocess.PIPE):
    """Another process, which ends with this one. Also its name and pid as a dump shows them."""
    command = [sys.executable, "-I", "-S", "-c", code]
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)
    kept.append(process)
    return process, f"{os.path.basename(sys.executable)[:15]} (pid {process.pid})"


def tcp():
    client, accepted = connected_pair(socket.AF_INET, "127.0.0.1")
    established = addresses("tcp", client, " established")
    blocks("tcp", client.recv, 1, kind="socket", syscall="recvfrom", fd=client.fileno(), target=established)
    # A time limit is kept by poll.
    accepted.settimeout(LONG)
    blocks(
        "tcp with timeout",
        accepted.recv,
        1,
        kind="socket",
        syscall="poll",
        fd=accepted.fileno(),
        target=addresses("tcp", accepted, " established"),
        timeout_us=LONG * 1_000_000,
    )
    server = socket.create_server(("127.0.0.1", 0))
    listening = f"tcp {shown(server.getsockname())} listen"
    blocks("accept", server.accept, kind="socket", syscall="accept4", fd=server.fileno(), target=listening)


def tcp6():
    try:
        client, _ = connected_pair(socket.AF_INET6, "::1")
    except OSError:
        return  # a machine without IPv6
    established = addresses("tcp", client, " established")
    blocks("tcp6", client.recv, 1, kind="socket", syscall="recvfrom", fd=client.fileno(), target=established)
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    listening = f"tcp {shown(server.getsockname())} listen"
    blocks("accept6", server.accept, kind="socket", syscall="accept4", fd=server.fileno(), target=listening)


def connect():
    """To a server that has a full queue and accepts nobody."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(server.getsockname())
        kept.append(filler)
    client = socket.socket()
    kept.append(server)
    blocks("connect", client.connect, server.getsockname(), kind="socket", syscall="connect", fd=client.fileno())
    while client.getsockname()[1] == 0:
        time.sleep(0.001)
    ends = f"{shown(client.getsockname())} -> {shown(server.getsockname())}"
    expected["connect"]["target"] = f"tcp {ends} syn_sent"


def udp():
    bound = socket.socket(type=socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    target = f"udp {shown(bound.getsockname())}"
    blocks("udp", bound.recv, 1, kind="socket", syscall="recvfrom", fd=bound.fileno(), target=target)
    peer = socket.socket(type=socket.SOCK_DGRAM)
    peer.connect(bound.getsockname())
    target = addresses("udp", peer)
    blocks("udp connected", peer.recvfrom, 1, kind="socket", syscall="recvfrom", fd=peer.fileno(), target=target)


def unix(workspace):
    path = workspace + "/unix socket"
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    accepted, _ = server.accept()
    for name, end, target in (
        ("unix client", client, f"unix stream -> {path} connected"),
        ("unix server", accepted, f"unix stream {path} connected"),
    ):
        blocks(
            name,
            end.recv,
            1,
            kind="socket",
            syscall="recvfrom",
            fd=end.fileno(),
            target=target + " to this process itself",
            without_peer=f"unix stream {path} connected" if end is accepted else "unix stream connected",
        )
    listening = f"unix stream {path} listen"
    blocks("unix accept", server.accept, kind="socket", syscall="accept4", fd=server.fileno(), target=listening)
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract.bind(f"\0pyscope test {os.getpid()}")
    target = f"unix datagram @pyscope test {os.getpid()}"
    blocks("unix abstract", abstract.recv, 1, kind="socket", syscall="recvfrom", fd=abstract.fileno(), target=target)
    one, other = socket.socketpair()
    kept.append(other)
    handed, its_end = socket.socketpair()
    _, who = child(stdin=its_end.fileno())
    its_end.close()  # now the child has it alone
    for name, end, at_other_end in (
        ("socketpair", one, "this process itself"),
        ("socketpair with child", handed, who),
    ):
        blocks(
            name,
            end.recv,
            1,
            kind="socket",
            syscall="recvfrom",
            fd=end.fileno(),
            target=f"unix stream connected to {at_other_end}",
            without_peer="unix stream connected",
        )


def pipes(workspace):
    read_end, write_end = os.pipe()
    own = "pipe from this process itself"
    blocks("pipe", os.read, read_end, 1, kind="pipe", syscall="read", fd=read_end, target=own)
    process, who = child()
    from_child = process.stdout.fileno()
    blocks("pipe from child", os.read, from_child, 1, kind="pipe", syscall="read", fd=from_child, target=f"pipe from {who}")
    # It never reads, and waits for the end of whoever reads its output.
    process, who = child("import select; poll = select.poll(); poll.register(1, 0); poll.poll()")
    to_child = process.stdin.fileno()
    blocks("pipe to child", fill, to_child, kind="pipe", syscall="write", fd=to_child, target=f"pipe to {who}")
    fifo = workspace + "/fifo"
    os.mkfifo(fifo)
    blocks("fifo open", os.open, fifo, os.O_RDONLY, kind="file", syscall="openat", target=fifo)
    other = workspace + "/other fifo"
    os.mkfifo(other)
    end = os.open(other, os.O_RDWR)
    target = f"FIFO {other} with this process itself"
    blocks("fifo", os.read, end, 1, kind="pipe", syscall="read", fd=end, target=target)


def fill(end):
    while True:
        os.write(end, bytes(65536))


def several():
    ends = [os.pipe() for _ in range(6)]
    kept.append(ends)
    fds = [end[0] for end in ends]
    named = [f"fd {fd} (pipe from this process itself)" for fd in fds]
    limit = LONG * 1_000_000
    blocks(
        "select", select.select, fds[:2], [], [], LONG,
        kind="select", syscall="pselect6", target=", ".join(named[:2]), timeout_us=limit,
    )
    own = named[0].split("(")[1][:-1]
    blocks("select one", select.select, fds[:1], [], [], kind="pipe", syscall="pselect6", fd=fds[0], target=own)
    poll = select.poll()
    for fd in fds:
        poll.register(fd)
    four = ", ".join(named[:4]) + " and 2 more"
    blocks("poll", poll.poll, LONG * 1000, kind="poll", syscall=POLL, target=four, timeout_us=limit)
    epoll = select.epoll()
    for fd in fds[-2:]:  # whose other ends nobody looks for
        epoll.register(fd, select.EPOLLIN)
    blocks(
        "epoll", epoll.poll, kind="epoll", syscall="epoll_wait", fd=epoll.fileno(),
        watched=sorted(f"fd {fd} (pipe)" for fd in fds[-2:]),
    )


def children():
    process, who = child()
    blocks("wait", process.wait, kind="child", syscall="wait4", target=who)
    process, who = child()
    blocks("waitid", os.waitid, os.P_PID, process.pid, os.WEXITED, kind="child", syscall="waitid", target=who)
    process, who = child()
    pidfd = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(pidfd)
    blocks("pidfd", poll.poll, kind="child", syscall=POLL, fd=pidfd, target=who)


def locks(workspace):
    path = workspace + "/locked"
    first = os.open(path, os.O_RDWR | os.O_CREAT)
    second = os.open(path, os.O_RDWR)
    fcntl.flock(first, fcntl.LOCK_EX)
    target = f"{path}, locked by this process itself"
    blocks("flock", fcntl.flock, second, fcntl.LOCK_EX, kind="file_lock", syscall="flock", fd=second, target=target)
    path = workspace + "/locked by child"
    process, who = child(
        "import fcntl, os\n"
        f"fd = os.open({path!r}, os.O_RDWR | os.O_CREAT)\n"
        "fcntl.lockf(fd, fcntl.LOCK_EX)\n"
        "os.write(1, b'.')\n"
        "os.read(0, 1)\n"
    )
    os.read(process.stdout.fileno(), 1)
    fd = os.open(path, os.O_RDWR)
    target = f"{path}, locked by {who}"
    blocks("lockf", fcntl.lockf, fd, fcntl.LOCK_EX, kind="file_lock", syscall="fcntl", fd=fd, target=target)


def others():
    counter = os.eventfd(0)
    blocks("eventfd", os.eventfd_read, counter, kind="eventfd", syscall="read", fd=counter, target="eventfd")
    timer = os.timerfd_create(time.CLOCK_MONOTONIC)
    os.timerfd_settime(timer, initial=LONG)
    blocks("timerfd", os.read, timer, 8, kind="timerfd", syscall="read", fd=timer, pattern="timer, 9")
    signals = [signal.SIGUSR1, signal.SIGUSR2]
    blocks("sigwait", signal.sigwait, signals, kind="signal", syscall="rt_sigtimedwait", target="SIGUSR1, SIGUSR2")
    blocks("sleep", time.sleep, LONG, kind="sleep", syscall="clock_nanosleep", left_us=LONG * 1_000_000)
    lock = threading.Lock()
    lock.acquire()
    blocks("lock", lock.acquire, kind="futex", syscall="futex")


def connections(count):
    """So many threads that each wait for an answer of their own."""
    threading.stack_size(256 * 1024)
    server = socket.create_server(("127.0.0.1", 0), backlog=int(count))
    for number in range(int(count)):
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        kept.append(accepted)
        target = addresses("tcp", client, " established")
        blocks(f"{number}", client.recv, 1, kind="socket", syscall="recvfrom", fd=client.fileno(), target=target)


def network_namespace(workspace):
    """The same in a network of its own, which has nothing but the loopback device."""
    os.unshare(os.CLONE_NEWNET)
    set_flags, up, loopback = 0x8914, 1, b"lo"
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH22x", loopback, up))
    tcp()
    udp()
    unix(workspace)


def main():
    if len(sys.argv) > 2:
        globals()[sys.argv[1]](*sys.argv[2:])
    else:
        workspace = sys.argv[1]
        tcp()
        tcp6()
        connect()
        udp()
        unix(workspace)
        pipes(workspace)
        several()
        children()
        locks(workspace)
        others()
    for _ in expected:
        started.acquire()
    os.write(1, json.dumps(expected).encode() + b"\n")
    os.read(0, 1)


main()
