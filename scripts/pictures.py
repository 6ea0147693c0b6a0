#!/usr/bin/env python3
"""Makes the pictures of docs/pictures: what a terminal shows of scripts/demo.sh, as SVG.

    scripts/pictures.py

Runs the demo for each example on a terminal of 100 columns. Needs Python alone. Paths and the host are shortened.
"""

import fcntl
import html
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import unicodedata
from pathlib import Path

COLUMNS = 100
CHARACTER, LINE, MARGIN = 8.4, 18, 16  # pixels
# The styles of src/format/paint.hpp, by their SGR parameters.
STYLES = {
    "1": "font-weight:bold",
    "2": "opacity:.55",
    "31": "fill:#ff7b72",
    "1;31": "fill:#ff7b72;font-weight:bold",
    "32": "fill:#7ee787",
    "33": "fill:#e3b341",
    "36": "fill:#79c0ff",
}


def on_terminal(command: list[str]) -> tuple[str, str]:
    """What a command writes to its terminal, and to stderr."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "TERM": "xterm"}) as process:
        os.close(terminal)
        parts = []
        while True:
            try:
                part = os.read(controller, 65536)
            except OSError:  # nobody has the terminal open any more
                break
            if not part:
                break
            parts.append(part)
        errors = process.stderr.read()
    os.close(controller)
    if process.returncode not in (0, 6):
        sys.exit(f"{' '.join(command)}: status {process.returncode}\n{errors}")
    return b"".join(parts).decode().replace("\r", ""), errors


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def to_svg(text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    height = MARGIN * 2 + LINE * len(lines)
    total = MARGIN * 2 + CHARACTER * COLUMNS
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{height}" '
           f'viewBox="0 0 {total:.0f} {height}" role="img">',
           f"<title>{html.escape(lines[0])}</title>",
           "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
           "fill:#e6edf3;white-space:pre}</style>",
           f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>']
    for number, line in enumerate(lines):
        y = MARGIN + LINE * number + 13
        column, style = 0, ""
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                style = STYLES.get(part[2:-1], "")
            elif part:
                # Where a part begins and how wide it is is told, so that any font has the marks in place.
                extent = f'textLength="{CHARACTER * width(part):.1f}" lengthAdjust="spacingAndGlyphs"'
                attribute = f' style="{style}"' if style else ""
                out.append(f'<text x="{MARGIN + CHARACTER * column:.1f}" y="{y}" {extent}{attribute} '
                           f'xml:space="preserve">{html.escape(part)}</text>')
                column += width(part)
    return "\n".join(out) + "\n</svg>\n"


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    for example, shown in (("sample_service", "shop/service.py"), ("deadlock", "shop/deadlock.py")):
        text, errors = on_terminal([str(root / "scripts/demo.sh"), example])
        command = next(line for line in errors.splitlines() if line.startswith("$ "))
        text = re.sub(r"/\S*?/tmp/pyscope-demo\.\w+/|/tmp/pyscope-demo\.\w+/", "/srv/", text)
        text = re.sub(r"/\S*?(/usr/bin/python)", r"\1", text)
        text = text.replace(f" on {socket.gethostname()}:", " on shop-1:")
        picture = root / "docs/pictures" / f"{example}.svg"
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(to_svg(f"{command.replace('sudo ', '')}\n{text}"), encoding="utf-8")
        print(f"{picture}: {shown}, {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
