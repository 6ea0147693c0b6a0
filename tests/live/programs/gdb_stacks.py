"""For gdb, attached to a process: prints what it takes the native stacks of all its threads to be, in a line of
JSON for each: its tid, and for each frame, innermost first, the program counter, whether it is a return address, the
function's name and the stack pointer of its caller. Frames of functions that were inlined have no program counter of
their own, and are left out."""

import json

import gdb

for thread in gdb.selected_inferior().threads():
    thread.switch()
    frames = []
    frame = gdb.newest_frame()
    called = False
    while frame is not None:
        if frame.type() != gdb.INLINE_FRAME:
            signal = frame.type() == gdb.SIGTRAMP_FRAME
            frames.append({"pc": frame.pc(), "called": called and not signal, "function": frame.name()})
            # A signal interrupts its instruction, it isn't called by it.
            called = not signal
        frame = frame.older()
    print("stack " + json.dumps({"tid": thread.ptid[1], "frames": frames}))
