#!/usr/bin/env python3
"""What a process of another user can make pyscope do: each kind of hostile process against each verb.

    sudo bench/hostile.py [--pyscope FILE] [--root FOLDER] [--python FILE] [KIND ...]

Runs the programs of tests/live/programs/hostile.py as nobody, by a Python in that root, and pyscope as root.
Tells the status, the time and the peak of memory of each run. Ends with 1 if one takes 5 seconds or 256 MiB, is killed
by a signal, ends with a status that isn't right, or prints a raw control character.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import peak_memory

MOST_SECONDS, MOST_MEBIBYTES = 5, 256
PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "tests" / "live" / "programs" / "hostile.py"
# numpy's libraries lie where the distribution keeps them until one of several is chosen.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu/openblas-pthread"}
# Of those that need a path, its name.
PATHS = {"long_source": "source.py", "segments": "segments.elf"}
# Only root may make these.
AS_ROOT = {"unanswered_value", "unanswered_values", "unanswered_name"}
KINDS = [*sorted(AS_ROOT), "long_command", "deleted_set", "deleted_dict", "ordered_dict", "wide_classes", "enum_member",
         "deep_list", "forged_lengths", "many_threads", "long_names", "many_variables", "long_source", "shared_namespaces",
         "many_files", "segments", "numpy_shapes", "escapes", "tasks"]
VERBS = [["dump", "PID"], ["dump", "PID", "--json", "--locals"], ["ps"], ["dump", "--match", "FOLDER"],
         ["why", "PID", "--duration", "100ms"], ["inspect", "PID", "MainThread/0:value"],
         ["inspect", "PID", "--list", "--max-items", "1000000000"], ["tasks", "PID", "--json"]]
# 6: some of it isn't there; 2: there is no such variable. With a long command line, no folder is found in it.
RIGHT = {0, 2, 6}
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")


def start(root, python, kind, folder):
    inside = pathlib.Path("/") / folder.relative_to(root)

    def enter():
        os.chroot(root)
        os.chdir(inside)
        if kind not in AS_ROOT:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

    arguments = [str(inside / PATHS[kind])] if kind in PATHS else []
    process = subprocess.Popen([python, str(inside / PROGRAM.name), kind, *arguments], env=ENVIRONMENT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=enter)
    return process, b'"ready": true' in process.stdout.readline()


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(pyscope, root, python, kinds):
    wrong = 0
    with tempfile.TemporaryDirectory(dir=root / "tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o777)
        shutil.copy(PROGRAM, folder)
        for kind in kinds or KINDS:
            process, stands = start(root, python, kind, folder)
            try:
                if not stands:
                    print(f"{kind}: can't be made here")
                    continue
                for verb in VERBS:
                    words = {"PID": str(process.pid), "FOLDER": folder.name}
                    command = [pyscope, *(words.get(word, word) for word in verb)]
                    with open(folder / "output", "w+b") as output:
                        begin, computed = time.monotonic(), processor_seconds()
                        status, peak = peak_memory.run(command, output)
                        seconds, computed = time.monotonic() - begin, processor_seconds() - computed
                        output.seek(0)
                        text = output.read()
                    mebibytes = (peak or 0) / 1024
                    bad = [what for what, is_bad in [
                        ("TIME", seconds >= MOST_SECONDS), ("MEMORY", mebibytes >= MOST_MEBIBYTES),
                        ("STATUS", status not in RIGHT and not (status == 3 and kind == "long_command")), ("CONTROL", CONTROL.search(text) is not None)] if is_bad]
                    wrong += len(bad)
                    print(f"{kind:20} {' '.join(verb):50} status {status}  {seconds:5.2f} s ({computed:5.2f} computed)  {mebibytes:5.0f} MiB  "
                          f"{len(text) / 1e6:5.1f} MB  {' '.join(bad)}", flush=True)
            finally:
                process.kill()
                process.communicate()
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--pyscope", default="build/release/pyscope")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("kinds", nargs="*")
    words = parser.parse_args()
    sys.exit(main(words.pyscope, words.root, words.python, words.kinds))
