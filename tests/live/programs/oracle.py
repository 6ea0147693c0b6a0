"""What a program knows of its own threads: the truth that a dump is compared with.

A program starts serve() in one of its threads and blocks in all the others, each of which calls
about_to_block() right before. The first line that it prints says that it has got there; after that, each
byte on stdin is answered with the truth on a line.
"""

import _thread
import itertools
import json
import os
import sys
import threading
import unicodedata

# Nothing is ever written to it: os.read(never, 1) blocks for good.
never, _never_written = os.pipe()

# Native ids of threads that the module threading doesn't know, by ident.
native_ids = {}

_changed = threading.Condition()
_still_to_block = 1


def expect(more):
    """So many threads besides the one will call about_to_block()."""
    global _still_to_block
    with _changed:
        _still_to_block += more


def about_to_block():
    """Says that this thread's next call blocks."""
    global _still_to_block
    with _changed:
        _still_to_block -= 1
        _changed.notify_all()


def shown(text):
    """Text as a dump shows it: what could hide or reorder text, or steer a terminal, as an escape."""
    return None if text is None else "".join(map(_shown, text))


def _shown(character):
    bidi_controls = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in bidi_controls:
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return character


def _describe_frame(frame):
    code = frame.f_code
    instruction = frame.f_lasti // 2
    positions = itertools.islice(code.co_positions(), instruction, None)
    line, end_line, column, end_column = next(positions, (None, None, None, None))
    return {
        "function": shown(code.co_name),
        "qualified_name": shown(code.co_qualname),
        "file": shown(code.co_filename),
        "line": line,
        "end_line": end_line,
        "column": column,
        "end_column": end_column,
    }


def stack(frame):
    """The frames from this one outwards. Frames that are equal and follow each other are given once, with
    their number."""
    runs = []
    last = None
    while frame is not None:
        code = frame.f_code
        key = (id(code), frame.f_lasti)
        if key == last:
            runs[-1][0] += 1
        else:
            runs.append([1, _describe_frame(frame)])
            last = key
        frame = frame.f_back
    return runs


def describe_thread(ident, native_id, name, frames, *, reporter=False, interpreter=0):
    return {
        "tid": native_id,
        "ident": ident,
        "name": shown(name),
        "main": interpreter == 0 and ident == threading.main_thread().ident,
        "interpreter": interpreter,
        "reporter": reporter,
        "frames": frames,
    }


def all_threads(callers):
    """All threads as they are now. The calling thread is shown from `callers` outwards."""
    known = {thread.ident: thread for thread in threading.enumerate()}
    threads = []
    for ident, frame in sys._current_frames().items():
        thread = known.get(ident)
        reporter = ident == _thread.get_ident()
        threads.append(
            describe_thread(
                ident,
                thread.native_id if thread else native_ids[ident],
                thread.name if thread else None,
                stack(callers if reporter else frame),
                reporter=reporter,
            )
        )
    return threads


def facts():
    """What the truth says besides the threads."""
    version = "%d.%d.%d" % sys.version_info[:3]
    release = {"alpha": "a", "beta": "b", "candidate": "rc", "final": ""}
    if sys.version_info.releaselevel != "final":
        version += f"{release[sys.version_info.releaselevel]}{sys.version_info.serial}"
    return {
        "pid": os.getpid(),
        "version": version,
        "debug_build": hasattr(sys, "gettotalrefcount"),
    }


def say(value):
    """Prints a line of JSON."""
    line = json.dumps(value).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def serve(threads=all_threads, **first_line):
    """Answers each byte on stdin with the truth, once all other threads are about to block."""
    callers = sys._getframe(1)
    with _changed:
        _changed.wait_for(lambda: _still_to_block == 0)
    say({"ready": True, **first_line})
    while os.read(0, 1):
        say({**facts(), "threads": threads(callers)})
    os._exit(0)


def _end_all(failure):
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(3)


# A failure in any thread ends the program, so that nobody waits for what it would have said.
threading.excepthook = _end_all


def serve_in_background():
    threading.Thread(target=serve, name="reporter", daemon=True).start()


def run_case(cases):
    """Runs the function that the command line names in the main thread, which it blocks."""
    serve_in_background()
    cases[sys.argv[1]](*sys.argv[2:])
    raise SystemExit("the case ended")
