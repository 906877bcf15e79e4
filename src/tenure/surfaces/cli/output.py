"""How answers are printed: JSON for programs, text and tables for people.

Colours only on a terminal, and not when ``NO_COLOR`` is set. Text that comes from outside (names,
commands, reasons) is shown with its control characters escaped, so that it cannot drive the
terminal. Rich is imported only to draw a table on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from tenure.domain.errors import TenureError
from tenure.domain.names import escape_hidden

if TYPE_CHECKING:
    from tenure.client.documents import Document, WarningDocument
    from tenure.domain.job import Job
    from tenure.domain.run import Run
    from tenure.domain.warnings import ProfileWarning

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
    """Whether colours may be used: on a terminal, unless NO_COLOR is set."""
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
    return escape_hidden(str(text))


def print_json(document: Document | Mapping[str, Any]) -> None:
    """One document, its version first."""
    from tenure.client.documents import VERSION, to_json

    whole = {"v": VERSION, **to_json(document)}
    print(json.dumps(whole, ensure_ascii=False, indent=2))


def say(text: str = "") -> None:
    print(text)


def paragraph(text: str) -> None:
    """Text wrapped between words on a terminal; elsewhere one line."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    Console(no_color=not colours(), highlight=False).print(Text.from_ansi(text))


def note(text: str, remedy: str = "") -> None:
    """A notice on stderr; nothing is wrong."""
    print(f"note: {safe(text)}", file=sys.stderr)
    if remedy:
        print(f"→ {safe(remedy)}", file=sys.stderr)


def warn(text: str, remedy: str = "") -> None:
    """A warning on stderr."""
    print(paint("warning: ", "yellow", sys.stderr) + safe(text), file=sys.stderr)
    if remedy:
        print(f"→ {safe(remedy)}", file=sys.stderr)


def print_warning(code: str, text: str, remedy: str) -> None:
    """A warning that is part of the answer, on stdout."""
    paragraph(f"{paint('warning', 'yellow bold')} {code}: {safe(text)}")
    paragraph(f"→ {safe(remedy)}")


def warning_documents(warnings: Iterable[ProfileWarning]) -> list[WarningDocument]:
    from tenure.client.documents import WarningDocument

    return [WarningDocument(code=w.code, text=w.text, remedy=w.remedy) for w in warnings]


def warn_of_unreadable(jobs: Iterable[Job], profile: str) -> None:
    """Warn of jobs that cannot be read, with the reason and the remedy."""
    from tenure.domain.job import remedy_for_unreadable, why_unreadable

    option = "" if profile == "default" else f" --profile {profile}"
    for job in jobs:
        if job.damage is not None:
            warn(why_unreadable(job), remedy_for_unreadable(job, option))


def print_error(error: TenureError, *, json: bool) -> None:
    """Text, then the remedy, on stderr; with ``json`` a document on stdout."""
    if json:
        from tenure.client.documents import error_document

        print_json(error_document(error))
        return
    # A text about a file names the field behind the line.
    named = error.field is None or f"{error.field}: " in error.text
    where = "" if named else f"{error.field}: "
    sys.stdout.flush()
    print(paint("error: ", "red bold", sys.stderr) + safe(where + error.text), file=sys.stderr)
    if error.remedy:
        print(f"→ {safe(error.remedy)}", file=sys.stderr)


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, states: frozenset[int] = frozenset()
) -> None:
    """A table. ``states``: the columns that hold a state's word.

    On a terminal it fits the width, and where columns would become too narrow to read each row
    runs on over indented lines. Elsewhere each row is one whole line, for other programs.
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

    console = Console(no_color=not colours(), highlight=False)
    columns = [[title, *(row[i] for row in rows)] for i, title in enumerate(head)]
    least = [_least(column, whole=number == 0) for number, column in enumerate(columns)]
    room = console.width - 2 * (len(head) - 1)
    if sum(least) > room:
        _running_rows(head, rows, console.width)
        return
    styles, bold = (_STATES, "bold") if colours() else ({}, "")
    grid = Table(box=None, pad_edge=False, header_style=bold, padding=(0, 2, 0, 0))
    for title, width in zip(head, _widths(columns, least, room), strict=True):
        grid.add_column(title, overflow="fold", width=width)
    for row in rows:
        grid.add_row(
            *(
                Text(cell, style=styles.get(cell, "") if i in states else "")
                for i, cell in enumerate(row)
            )
        )
    console.print(grid)


def _least(column: Sequence[str], *, whole: bool) -> int:
    """The width below which a column is hard to read: its longest word, or all of the first."""
    if whole:
        return max(len(cell) for cell in column)
    return min(24, max((len(word) for cell in column for word in cell.split()), default=1))


def _widths(columns: Sequence[Sequence[str]], least: Sequence[int], room: int) -> list[int]:
    """What each column gets: all it wants, the widest giving way first, none below its least."""
    widths = [max(len(cell) for cell in column) for column in columns]
    while sum(widths) > room:
        able = [i for i, width in enumerate(widths) if width > least[i]]
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def _running_rows(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    from textwrap import wrap

    def run_on(cells: Sequence[str]) -> list[str]:
        lines = [""]
        for cell in cells:
            longer = f"{lines[-1]}  {cell}" if lines[-1] else cell
            if len(longer) <= width:
                lines[-1] = longer
            else:
                lines += wrap(cell, width, initial_indent="    ", subsequent_indent="    ")
        return [line for line in lines if line]

    for line in run_on([title.upper() for title in head]):
        print(paint(line, "bold"))
    for row in rows:
        print("\n".join(run_on(row)))


def facts(pairs: Sequence[tuple[str, object]], *, indent: str = "") -> None:
    """Names and values, one a line, aligned; a value that is None is left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{indent}{paint(name.ljust(width), 'dim')}  {value}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an action that cannot be undone. Raises InvalidInput unless confirmed; without a
    terminal only ``yes`` confirms."""
    from tenure.domain.errors import InvalidInput

    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"confirmation needed, but this is not a terminal: {question}", remedy="pass --yes"
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidInput("not confirmed; nothing was changed")


# -- times and outcomes ---------------------------------------------------------------------------
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(value: timedelta) -> str:
    """About how long: ``4 min``, ``2 h``, ``3 d``; the largest unit, two below ten hours."""
    seconds = abs(value.total_seconds())
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds >= 0.001 else "0 s"
    if 3600 <= seconds < 36000:
        hours, rest = divmod(round(seconds / 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.1f} {unit}" if unit == "s" and count < 10 else f"{int(count)} {unit}"
    raise AssertionError(seconds)


def relative(at: datetime, now: datetime) -> str:
    """``in 4 min``, ``2 h ago``, ``now``."""
    away = at - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    return f"in {span(away)}" if away > timedelta(0) else f"{span(away)} ago"


def local(at: datetime, zone: str) -> str:
    """The wall clock of a zone, with its abbreviation."""
    from tenure.domain.schedule.zones import load_zone

    there = at.astimezone(load_zone(zone))
    return f"{there:%Y-%m-%d %H:%M:%S} {there:%Z}"


def when(at: datetime | None, zone: str, now: datetime) -> str:
    """``2030-01-31 09:00:00 CET (in 4 min)``; a dash for never."""
    return "-" if at is None else f"{local(at, zone)} ({relative(at, now)})"


def outcome(run: Run) -> str:
    """The reason and the exit code in a few words; a dash for neither."""
    code = "" if run.exit_code is None else f"exit code {run.exit_code}"
    if not run.reason or not code or code in run.reason:
        return run.reason or code or "-"
    return f"{run.reason} ({code})"
