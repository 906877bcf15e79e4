"""What the scenario prints: plain lines with a clock, a few tables, colours only on a terminal."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Sequence

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_INDENT = 10


class View:
    """Thread-safe. The clock begins when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def title(self, text: str) -> None:
        self._print("\n" + self.paint(text, "bold"))

    def note(self, text: str) -> None:
        """A paragraph that explains."""
        self._print(textwrap.fill(text, 96))

    def say(self, text: str, style: str = "") -> None:
        """Something happened now."""
        clock = f"{time.monotonic() - self._began:6.1f} s  "
        lines = textwrap.wrap(text, 96, subsequent_indent="  ") or [""]
        body = ("\n" + " " * _INDENT).join(self.paint(line, style) for line in lines)
        self._print(self.paint(clock, "dim") + body)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
        self._print(self.paint(_row(headers, widths), "bold"))
        self._print(self.paint("  ".join("-" * width for width in widths), "dim"))
        for row in rows:
            self._print(self._tinted(_row(row, widths)))

    def paint(self, text: str, style: str) -> str:
        if not style or not self._colours:
            return text
        return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"

    def _tinted(self, line: str) -> str:
        return self.paint(line, "red" if line.endswith("no") else "")

    def _print(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()
