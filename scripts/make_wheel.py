#!/usr/bin/env python3
"""Packs a static pyscope binary into a Python wheel.

    make_wheel.py BINARY VERSION ARCHITECTURE FOLDER

Writes FOLDER/pyscope-VERSION-py3-none-PLATFORMS.whl, whose installation gives the command `pyscope`, and
prints its path. The same input gives the same bytes; files in it are dated SOURCE_DATE_EPOCH.
ARCHITECTURE is x86_64 or aarch64. Needs nothing but Python.
"""
import base64
import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent

# The binary needs no library, so it fits every Linux that the tags can name.
PLATFORMS = ["manylinux_2_17", "manylinux2014", "musllinux_1_1"]


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    binary, version, architecture, folder = sys.argv[1:]
    tags = [f"py3-none-{platform}_{architecture}" for platform in PLATFORMS]
    info = f"pyscope-{version}.dist-info"
    metadata = f"""Metadata-Version: 2.1
Name: pyscope
Version: {version}
Summary: What is this Python process doing, right now? Stacks, locks and values of a running CPython
License: MIT
Requires-Python: >=3.6
Classifier: Operating System :: POSIX :: Linux
Classifier: Topic :: Software Development :: Debuggers
Description-Content-Type: text/plain

`pyscope dump PID` prints the stack of every thread of a running CPython 3.13, 3.14 or 3.15, without stopping the
process and without changing it. This package holds the program, one static file. It reads processes of any
environment, not only of the one that it is installed in.
"""
    # What installers call from the environment's bin folder, with the mode that it has here.
    files = {
        f"pyscope-{version}.data/scripts/pyscope": Path(binary).read_bytes(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": ("Wheel-Version: 1.0\nGenerator: pyscope make_wheel\nRoot-Is-Purelib: false\n"
                          + "".join(f"Tag: {tag}\n" for tag in tags)).encode(),
        f"{info}/LICENSE": (SOURCES / "packaging" / "copyright").read_bytes(),
    }
    record = f"{info}/RECORD"
    files[record] = ("".join(record_line(*item) for item in files.items()) + f"{record},,\n").encode()

    # Zip knows no date before 1980.
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800))[:6]
    platforms = ".".join(f"{platform}_{architecture}" for platform in PLATFORMS)
    path = Path(folder) / f"pyscope-{version}-py3-none-{platforms}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: the mode counts
            entry.external_attr = (0o100755 if name.endswith("/scripts/pyscope") else 0o100644) << 16
            wheel.writestr(entry, data)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
