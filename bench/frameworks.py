#!/usr/bin/env python3
"""Looks at healthy services of well-known frameworks under load, and counts what pyscope accuses them of.

    sudo bench/frameworks.py [--dumps N] [--why N] [--minor 3.14] [--only SERVICE] [--pyscope FILE]

Installs gunicorn, uvicorn, celery, flask and pytest-xdist by pip into a folder of the interpreter's root, and starts each
service there with a client of its own. Then N dumps and N `why` (half a second each) of all its processes, in turn. These
are accusations: a deadlock, the verdict "deadlocked", "endless", a lock that nobody can give back, and a holder that is no
thread of the process. Prints a table; exits with 1 if there is any accusation, or if a service didn't stay up. A process
that ends before it is looked at (a worker that is replaced) is no failure.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from roots import HERE, enter_private_mounts, give_up, interpreters, say

PACKAGES = ["gunicorn", "uvicorn", "celery", "flask", "pytest", "pytest-xdist"]

APP = '''
import threading, time
counted, lock = 0, threading.Lock()


def application(environ, start_response):
    global counted
    with lock:
        counted += sum(range(2000)) * 0 + 1
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    sum(range(2000))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


try:
    import flask
except ImportError:
    pass
else:
    site = flask.Flask("site")
    site.route("/")(lambda: flask.render_template_string("{{ n }}", n=sum(range(2000))))
'''

CLIENT = '''
import sys, threading, time, urllib.request


def ask():
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).read()
        except OSError:
            time.sleep(0.05)
        time.sleep(0.002)


for _ in range(3):
    threading.Thread(target=ask, daemon=True).start()
threading.Event().wait()
'''

JOBS = '''
import os, celery
here = os.path.dirname(os.path.abspath(__file__)) + "/queue"
os.makedirs(here, exist_ok=True)
app = celery.Celery("jobs", broker="filesystem://", broker_transport_options={
    "data_folder_in": here, "data_folder_out": here, "control_folder": here + "-control"})
app.conf.task_ignore_result = True


@app.task
def add(a, b):
    return sum(range(20000)) + a + b


if __name__ == "__main__":
    import time
    while True:
        if len(os.listdir(here)) < 100:
            for n in range(20):
                add.delay(n, n)
        time.sleep(0.05)
'''

POOLS = '''
import concurrent.futures, multiprocessing, queue, sys, threading, time


def work(n):
    return sum(range(n % 5000))


def consume(jobs, done):
    while True:
        done.put(work(jobs.get()))


def main(kind):
    context = multiprocessing.get_context("fork")
    if kind == "multiprocessing.Pool":
        with context.Pool(3) as pool:
            while True:
                pool.map(work, range(200), chunksize=5)
                time.sleep(0.01)
    executor = {"ProcessPoolExecutor": lambda: concurrent.futures.ProcessPoolExecutor(3, mp_context=context),
                "ThreadPoolExecutor": lambda: concurrent.futures.ThreadPoolExecutor(4)}.get(kind)
    if executor:
        with executor() as pool:
            while True:
                list(pool.map(work, range(100)))
                time.sleep(0.01)
    make = context.Queue if kind == "multiprocessing.Queue" else lambda: queue.Queue(10)
    start = context.Process if kind == "multiprocessing.Queue" else threading.Thread
    jobs, done = make(), make()
    for _ in range(3):
        start(target=consume, args=(jobs, done), daemon=True).start()
    while True:
        for n in range(5):
            jobs.put(n * 1000)
        for n in range(5):
            done.get()


main(sys.argv[1])
'''

TESTS = '''
import pytest


@pytest.mark.parametrize("n", range(20000))
def test_sum(n):
    assert sum(range(n % 3000)) >= 0
'''

PORT = 18700


def services():
    """Each with its commands: words after the interpreter."""
    def web(*words):
        return [[*words], ["client.py", str(PORT)]]

    bind = f"127.0.0.1:{PORT}"
    yield "gunicorn sync", web("-m", "gunicorn", "-w", "2", "-b", bind, "app:application")
    yield "gunicorn gthread", web("-m", "gunicorn", "-w", "2", "-k", "gthread", "--threads", "3", "-b", bind, "app:application")
    yield "uvicorn", web("-m", "uvicorn", "--port", str(PORT), "--log-level", "warning", "app:asgi")
    yield "flask", web("-m", "flask", "--app", "app:site", "run", "--port", str(PORT))
    yield "http.server", web("-m", "http.server", str(PORT), "--bind", "127.0.0.1")
    yield "celery prefork", [["-m", "celery", "-A", "jobs", "worker", "-c", "2", "-l", "error"], ["jobs.py"]]
    yield "celery threads", [["-m", "celery", "-A", "jobs", "worker", "-c", "2", "-P", "threads", "-l", "error"], ["jobs.py"]]
    yield "pytest-xdist", [["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_sums.py"]]
    for kind in ("multiprocessing.Pool", "ProcessPoolExecutor", "ThreadPoolExecutor", "multiprocessing.Queue", "queue.Queue"):
        yield kind, [["pools.py", kind]]


def processes_of(sessions):
    """All processes of these sessions."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) in sessions and fields[0] != "Z":
            yield int(entry.name)


def accusations_of(document):
    threads = document.get("threads", [])
    tids = {thread["tid"] for thread in threads}
    yield from ("deadlock" for _ in document.get("deadlocks", []))
    for thread in threads:
        if thread.get("verdict") == "deadlocked":
            yield "deadlocked"
        if "endless" in json.dumps([thread.get("summary"), thread.get("evidence")]):
            yield "endless"
        lock = thread.get("lock") or {}
        if "nobody is left" in json.dumps([thread.get("summary"), lock.get("detail")]):
            yield "nobody left"
        if lock.get("held_by") is not None and lock["held_by"] not in tids:
            yield "wrong holder"


def look(pyscope, verb, pid, *options):
    outcome = subprocess.run([pyscope, verb, str(pid), "--json", *options], capture_output=True, text=True, timeout=60)
    try:
        return json.loads(outcome.stdout)
    except ValueError:
        return {}


def try_service(name, commands, arguments, root, executable, folder):
    inside = "/" + str(folder.relative_to(root))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": inside, "PYTHONPATH": f"{inside}/packages:{inside}", "LANG": "C.UTF-8",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    log = open(folder / "log", "wb")
    enter = "import os, sys; os.chroot(sys.argv[1]); os.chdir(sys.argv[2]); os.execv(sys.argv[3], sys.argv[3:])"
    run = [subprocess.Popen([sys.executable, "-c", enter, root, inside, executable, "-Wignore", *words],
                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
           for words in commands]
    counts = collections.Counter()
    try:
        time.sleep(4)
        server = {run[0].pid}
        for verb, rounds, options in (("dump", arguments.dumps, ["--no-source"]), ("why", arguments.why, ["--duration", "500ms"])):
            done = 0
            while done < rounds and run[0].poll() is None:
                for pid in list(processes_of(server))[: rounds - done]:
                    document = look(arguments.pyscope, verb, pid, *options)
                    counts[verb if "threads" in document else f"{verb} of no Python"] += 1
                    for accusation in accusations_of(document):
                        counts[accusation] += 1
                        if arguments.verbose:
                            say(name, accusation, json.dumps(document)[:4000])
                    done += 1
        if run[0].poll() is not None:
            counts["ended"] += 1
            say(name, "ended:", (folder / "log").read_text()[-500:])
    finally:
        for pid in list(processes_of({process.pid for process in run})):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in run:
            process.wait()
        log.close()
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dumps", type=int, default=200)
    parser.add_argument("--why", type=int, default=20)
    parser.add_argument("--minor", default="3.14")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true", help="what was said of the accused")
    parser.add_argument("--pyscope", default=str(HERE.parent / "build/release/pyscope"))
    arguments = parser.parse_args()
    root, executable = next(((path, executable) for minor, _, path, executable in interpreters() if minor == arguments.minor),
                            (None, None))
    if root is None:
        give_up(f"there is no root of Python {arguments.minor}")
    enter_private_mounts([root])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pyscope-frameworks-", dir=root / "tmp"))
    innocent = True
    try:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder / "packages", "--python-version",
                        arguments.minor, "--only-binary=:all:", *PACKAGES], check=True)
        for name, text in {"app.py": APP, "client.py": CLIENT, "jobs.py": JOBS, "pools.py": POOLS, "test_sums.py": TESTS}.items():
            (folder / name).write_text(text)
        print("| service | dumps | why | accusations |\n| --- | --- | --- | --- |", flush=True)
        for name, commands in services():
            if arguments.only and arguments.only not in name:
                continue
            counts = try_service(name, commands, arguments, root, executable, folder)
            accused = {what: count for what, count in counts.items() if not what.startswith(("dump", "why"))}
            innocent = innocent and not accused
            found = ", ".join(f"{what} {count}" for what, count in accused.items()) or "none"
            print(f"| {name} | {counts['dump']} | {counts['why']} | {found} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if innocent else 1)


if __name__ == "__main__":
    main()
