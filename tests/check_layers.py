"""Fails when an #include points against the direction of the data flow.

usage: check_layers.py SOURCE_FOLDER

The folders of src/ are layers: what a process is knows nothing of Python, what Python is knows nothing of
processes, and renderers know the model and nothing else. Only the files directly in src/ join them; parallel.hpp and
file_name.hpp there know nothing of pyscope at all.
"""

import pathlib
import re
import sys

ALLOWED = {
    "process": {"process"},
    "memory": {"memory", "process/unique_fd.hpp"},
    "elf": {"elf"},
    "native": {"native", "process", "elf", "memory"},
    "python": {"python", "memory"},
    "source": {"source", "process"},
    "verdict": {"verdict", "file_name.hpp"},
    "format": {"format", "verdict", "file_name.hpp"},
    "cli": {"cli", "process/opening.hpp", "parallel.hpp"},
}
# Public headers that a renderer must not see: it has no way to reach a process.
HIDDEN_FROM_FORMAT = {"pyscope/capture.hpp", "pyscope/inspect.hpp", "pyscope/why.hpp", "pyscope/processes.hpp", "pyscope/memory.hpp", "pyscope/address.hpp"}


def main(folder: str) -> int:
    source = pathlib.Path(folder)
    layers = {path.name for path in source.iterdir() if path.is_dir()}
    if layers != set(ALLOWED):
        print(f"the folders of src/ are {sorted(layers)}, and this check knows {sorted(ALLOWED)}")
        return 1
    files = [path for layer in layers for path in (source / layer).glob("*.[ch]pp")]
    wrong = []
    for path in files:
        layer = path.parent.name
        for included in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
            if included.startswith("pyscope/"):
                if layer in ("format", "verdict") and included in HIDDEN_FROM_FORMAT:
                    wrong.append(f"{path}: {included}")
            elif included.split("/")[0] not in ALLOWED[layer] and included not in ALLOWED[layer]:
                wrong.append(f"{path}: {included}")
    print(*wrong, sep="\n")
    print(f"{len(files)} files, {len(wrong)} includes against the direction of the layers")
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
