"""Fails when an #include points against the direction of the data flow, or an offset of CPython stands out of place.

usage: check_layers.py REPOSITORY

Each folder of src/ is a layer. BELOW names the layers that each one may include; docs/architecture.md has the
picture. There is no file of pyscope outside of a layer. Public headers include public headers only, and those in
HIDDEN_FROM_RENDERERS are not for verdicts and renderers, which get plain data and have no way to reach a process.

The layers of READ_BY_FIELD read structures of CPython. They say Field::X: the offsets stand in src/structures/.
"""

import pathlib
import re
import sys

BELOW = {
    "base": set(),
    "process": {"base"},
    "memory": {"base"},
    "elf": {"base"},
    "structures": {"base"},
    "python": {"base", "memory", "structures"},
    "frames": {"base", "memory", "structures", "python"},
    "values": {"base", "memory", "structures", "python", "frames"},
    "locks": {"base", "memory", "structures", "python", "frames", "model"},
    "tasks": {"base", "memory", "structures", "python", "frames", "values", "locks", "model"},
    "target": {"base", "process", "memory"},
    "native": {"base", "process", "memory", "elf", "target"},
    "source": {"base"},
    "model": {"base"},
    "passes": {"base", "process", "memory", "structures", "python", "values", "frames", "locks", "tasks", "native", "source",
               "target", "model", "elf"},
    "session": {"base", "process", "memory", "elf", "structures", "python", "values", "frames", "locks", "native", "source",
                "target", "model", "passes", "verdict"},
    "execution": {"base", "process", "memory", "structures", "python", "target", "passes", "session"},
    "verdict": {"base", "model"},
    "format": {"base", "model", "verdict"},
    "cli": {"base", "model", "format"},
}
HIDDEN_FROM_RENDERERS = {
    "pyscope/address.hpp", "pyscope/capture.hpp", "pyscope/execute.hpp", "pyscope/inspect.hpp", "pyscope/memory.hpp",
    "pyscope/processes.hpp", "pyscope/why.hpp",
}
RENDERERS = {"verdict", "format"}
# What changes a process, and who may name it: the call that writes, the type around it, and the way to all of that.
WRITING = {
    "process_vm_writev": {"execution/remote_writer.cpp", "cli/sandbox.cpp"},
    "RemoteWriter": {"execution/remote_writer.hpp", "execution/remote_writer.cpp", "execution/thread_request.hpp",
                     "execution/thread_request.cpp"},
    "execution/": {"execution/*"},
    "pyscope/execute.hpp": {"execution/*", "cli/exec.cpp"},
}
READ_BY_FIELD = {"python", "frames", "values", "locks", "tasks", "passes"}
# A read whose last argument is a number or a constant: reader.pointer(object, 16), read_as<int>(memory, at, kOwner).
READ_BY_NUMBER = re.compile(r"\b(?:value|pointer|read_as|value_in)(?:<[^;>]*>+)?\([^;]*?,\s*(?:k[A-Z]\w*|[1-9]\d*)\)")


def included(path: pathlib.Path) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)


def main(repository: str) -> int:
    root = pathlib.Path(repository)
    source = root / "src"
    layers = {path.name for path in source.iterdir() if path.is_dir()}
    if layers != set(BELOW):
        print(f"the folders of src/ are {sorted(layers)}, and this check knows {sorted(BELOW)}")
        return 1
    files = sorted(source.rglob("*.[ch]pp"))
    headers = sorted((root / "include").rglob("*.hpp"))
    wrong = [f"{path}: lies in no layer" for path in files if path.parent.parent != source]
    for path in files:
        layer = path.parent.name
        if layer in READ_BY_FIELD:
            wrong += [f"{path}: {' '.join(read.split())}" for read in READ_BY_NUMBER.findall(path.read_text())]
        place = f"{layer}/{path.name}"
        text = path.read_text()
        wrong += [f"{path}: names {word}, which writes" for word, places in WRITING.items()
                  if word in text and place not in places and f"{layer}/*" not in places]
        for name in included(path):
            if name.startswith("pyscope/"):
                if layer in RENDERERS and name in HIDDEN_FROM_RENDERERS:
                    wrong.append(f"{path}: {name}")
            elif name.split("/")[0] not in BELOW.get(layer, set()) | {layer}:
                wrong.append(f"{path}: {name}")
    wrong += [f"{path}: {name}" for path in headers for name in included(path) if not name.startswith("pyscope/")]
    print(*wrong, sep="\n")
    print(f"{len(files) + len(headers)} files, {len(wrong)} includes against the direction of the layers or reads by number")
    return 1 if wrong or not files or not headers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
