"""How answers are printed: JSON for programs, text and tables for people.

Colours only on a terminal, and not when ``NO_COLOR`` is set. Text that comes from outside (names,
commands, reasons) is shown with its control characters escaped, so that it cannot drive the
terminal. Rich is imported only to draw a table on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from tenure.domain.errors import TenureError
from tenure.runtime.client.documents import VERSION, error_document

_STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36",
}  # fmt: skip

_STATES = {
    "succeeded": "green", "running": "cyan", "claimed": "cyan", "retrying": "yellow",
    "failed": "red", "timed_out": "red", "lost": "red", "never_ran": "yellow",
    "cancelled": "yellow", "active": "green", "paused": "yellow", "dormant": "dim",
    "done": "dim", "removed": "dim", "owner": "green", "candidate": "cyan", "refused": "yellow",
    "observer": "dim", "foreign": "red", "pending": "yellow", "accepted": "cyan",
    "expired": "red", "withdrawn": "dim", "held": "yellow", "missed": "yellow",
    "skipped": "dim",
}  # fmt: skip


def colours(stream: IO[str] | None = None) -> bool:
    """Whether colours may be used: a terminal, and nobody has said no."""
    stream = stream or sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def paint(text: str, style: str, stream: IO[str] | None = None) -> str:
    if not style or not colours(stream):
        return text
    codes = ";".join(_STYLES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"


def state(text: object) -> str:
    """A state's word in its colour."""
    return paint(str(text), _STATES.get(str(text), ""))


def safe(text: object) -> str:
    """``text`` on one line, with what is not printable escaped."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_json(document: Mapping[str, Any]) -> None:
    """One document, its version first."""
    whole = {"v": VERSION, **document}
    print(json.dumps(whole, ensure_ascii=False, indent=2))


def say(text: str = "") -> None:
    print(text)


def warn(text: str, remedy: str = "") -> None:
    """A warning beside the answer, on stderr."""
    print(paint("warning: ", "yellow", sys.stderr) + safe(text), file=sys.stderr)
    if remedy:
        print(f"→ {safe(remedy)}", file=sys.stderr)


def print_error(error: TenureError, *, json: bool) -> None:
    """Text, then the remedy, on stderr; with ``json`` a document on stdout."""
    if json:
        print_json(error_document(error))
        return
    where = f"{error.field}: " if error.field else ""
    sys.stdout.flush()
    print(paint("error: ", "red bold", sys.stderr) + safe(where + error.text), file=sys.stderr)
    if error.remedy:
        print(f"→ {safe(error.remedy)}", file=sys.stderr)


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, states: frozenset[int] = frozenset()
) -> None:
    """A table. ``states``: the columns that hold a state's word.

    On a terminal it fits the width; elsewhere each row is one whole line, for other programs.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(head, cells, states)
        return
    widths = [max([len(h), *(len(row[i]) for row in cells)]) for i, h in enumerate(head)]
    for row in ([h.upper() for h in head], *cells):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]], states: frozenset[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, title in enumerate(head):
        grid.add_column(title, overflow="fold", no_wrap=number == 0)
    for row in rows:
        grid.add_row(
            *(
                Text(cell, style=_STATES.get(cell, "") if i in states else "")
                for i, cell in enumerate(row)
            )
        )
    Console(no_color=not colours(), highlight=False).print(grid)


def facts(pairs: Sequence[tuple[str, object]], *, indent: str = "") -> None:
    """Names and values, one a line, aligned; a value that is None is left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{indent}{paint(name.ljust(width), 'dim')}  {value}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone. Not on a terminal: only ``--yes`` will do."""
    from tenure.domain.errors import InvalidInput

    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Nobody is here to answer", remedy="say so with --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidInput("not confirmed; nothing was changed")
