"""Makes the table of docs/bounds.md from the constants in the source, or fails if the page has another one.

usage: check_bounds.py REPOSITORY [--write]

A constant that bounds what a target can make pyscope do has a comment above it:

    // Bound: frames of a thread
    // Bound (bytes): source file
"""

import pathlib
import re
import sys

BOUND = re.compile(r"^ *// Bound( \(bytes\))?: (.*\n(?: *// .*\n)*)((?:[^;/]|/(?!/))*;)", re.MULTILINE)
DECLARED = re.compile(r"([\w:]+|auto)\s+(\w+)\s*(?:=\s*|\{)(.*?)\}?;$", re.DOTALL)
UNITS = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
TIMES = {"milliseconds": "ms", "seconds": "s", "microseconds": "us"}
BEGIN, END = "<!-- by tests/check_bounds.py -->\n", "<!-- end -->\n"


def number_of(expression: str, known: dict[str, int]) -> int:
    text = re.sub(r"std::\w+\{([^}]*)\}|std::chrono::\w+[({]([^)}]*)[)}]", lambda m: f"({m[1] or m[2]})", expression)
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9])", "", text)
    text = re.sub(r"\b(\d+|0[xX][0-9a-fA-F]+)[uUlL]+\b", r"\1", text)
    text = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: str(known[m[0]]), text)
    return eval(text, {"__builtins__": {}})


def words_of(value: int, is_bytes: bool, time: str) -> str:
    if time:
        return f"{value:,} {TIMES[time]}"
    for unit, bits in UNITS if is_bytes else []:
        if value >= 1 << bits and value % (1 << bits) == 0:
            return f"{value >> bits:,} {unit}"
    return f"{value:,}" + (" bytes" if is_bytes else "")


def rows(root: pathlib.Path):
    files = sorted([*(root / "src").rglob("*.[ch]pp"), *(root / "include").rglob("*.hpp")])
    for path in files:
        text = path.read_text()
        for is_bytes, comment, declaration in BOUND.findall(text):
            found = DECLARED.search(declaration)
            what = " ".join(re.sub(r"^ *// ", "", line) for line in comment.strip().splitlines())
            if not found:
                sys.exit(f"{path}: no constant follows the bound of: {what}")
            kind, name, expression = found.groups()
            time = next((unit for unit in TIMES if unit in kind + expression and "chrono" in kind + expression), "")
            value = number_of(expression, {})
            where = path.relative_to(root)
            yield f"| {what} | {words_of(value, bool(is_bytes), time)} | `{where}` `{name}` |\n"


def main(repository: str, write: bool) -> int:
    root = pathlib.Path(repository)
    table = "| what | bound | where |\n| --- | --- | --- |\n" + "".join(rows(root))
    page = root / "docs" / "bounds.md"
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = before + BEGIN + table + END + after
    if write:
        page.write_text(made)
    elif made != text:
        print("docs/bounds.md isn't what the constants say: tests/check_bounds.py . --write")
        return 1
    print(f"{table.count(chr(10)) - 2} bounds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--write" in sys.argv[2:]))
