#!/usr/bin/env python3
"""Prints src/values/printable_since.hpp: what became printable since Unicode 14.0.

    scripts/unicode_ranges.py [MANIFEST] > src/values/printable_since.hpp

repr() escapes what isn't printable by the Unicode version of that Python. pyscope has the tables of
utf8proc, whose version is another one. Each interpreter of the manifest (by default what
scripts/interpreters.sh prints) tells which characters are printable for it; the oldest one, where the
list begins. libutf8proc must be of Unicode 15.0. Needs root, or rights to unshare, as
interpreters.sh says.
"""

import ctypes
import os
import pathlib
import subprocess
import sys

CODE_POINTS = 0x110000
BASE = "15.0.0"
# Cn; Zs, Zl, Zp, Cc, Cf, Cs, Co as utf8proc counts them.
NOT_PRINTABLE = {0, 23, 24, 25, 26, 27, 28, 29}
PROGRAM = """
import sys, unicodedata
printable = bytes(chr(c).isprintable() for c in range(0x110000))
sys.stdout.buffer.write(unicodedata.unidata_version.encode() + b"\\n" + printable)
"""


def by_utf8proc():
    library = ctypes.CDLL("libutf8proc.so.2")
    library.utf8proc_unicode_version.restype = ctypes.c_char_p
    version = library.utf8proc_unicode_version().decode()
    if version != BASE:
        sys.exit(f"libutf8proc is of Unicode {version}, not {BASE}")
    return bytes(
        0x20 <= c < 0x7F if c < 0x80 else library.utf8proc_category(c) not in NOT_PRINTABLE
        for c in range(CODE_POINTS)
    )


def by_interpreter(root, executable):
    command = ["chroot", root, executable, "-c", PROGRAM]
    if os.geteuid() != 0:
        command = ["unshare", "-r", *command]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    version, _, printable = output.partition(b"\n")
    assert len(printable) == CODE_POINTS
    major, minor, _ = version.decode().split(".")
    return (int(major), int(minor)), printable


def ranges(code_points):
    found = []
    for c in code_points:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def main():
    if len(sys.argv) > 1:
        manifest = sys.argv[1]
    else:
        script = pathlib.Path(__file__).with_name("interpreters.sh")
        manifest = subprocess.check_output([script], text=True).strip()
    versions = {}
    for line in pathlib.Path(manifest).read_text().splitlines():
        python, kind, root, executable = line.split("\t")
        if kind != "release":
            continue
        unicode, printable = by_interpreter(root, executable)
        versions.setdefault(unicode, (f"CPython {python}", printable))
    versions[15, 0] = ("libutf8proc", by_utf8proc())
    rows, sources = [], []
    before = None
    for unicode, (source, printable) in sorted(versions.items()):
        sources.append(f"//   Unicode {unicode[0]}.{unicode[1]}: {source}")
        if before is None:
            before = printable
            continue
        # What isn't printable any more would need another table.
        assert not any(b and not p for b, p in zip(before, printable))
        new = [c for c in range(CODE_POINTS) if printable[c] and not before[c]]
        rows += [(first, last, unicode) for first, last in ranges(new)]
        before = printable
    print("// Made by scripts/unicode_ranges.py: what became printable since Unicode 14.0, and when.")
    print("// By what these say:")
    print("\n".join(sources))
    print("#pragma once\n\n#include <array>\n\n#include \"structures/debug_offsets.hpp\"\n")
    print("namespace pyscope {\n")
    print("struct PrintableSince {\n  char32_t first;\n  char32_t last;\n  UnicodeVersion version;\n};\n")
    print("// By code point.\n// clang-format off")
    print("inline constexpr auto kPrintableSince = std::to_array<PrintableSince>({")
    for first, last, (major, minor) in sorted(rows):
        print(f"    {{{first:#x}, {last:#x}, {{{major}, {minor}}}}},")
    print("});\n// clang-format on\n\n}  // namespace pyscope")


if __name__ == "__main__":
    main()
