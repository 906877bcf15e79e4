"""The arithmetic of C5: entries on record against the fires that a schedule has in a window.

Where the sums agree and nothing overlaps, all is well; that is linear. Only otherwise are the
entries walked one after the other, to name the first fire that is missing or double.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.audit.history import JobHistory, Span, View
from tenure.audit.report import Book
from tenure.domain.schedule.model import UNPLANNED, Schedule

TICK = timedelta(microseconds=1)
_GONE = "records were deleted or never written; compare with a backup, and report it"
_ALTERED = "the record was altered or written wrongly; keep the database and report it"


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """Fires on record: one run, or all from the first to the last of a stretch, both included."""

    first: datetime
    last: datetime
    count: int
    subject: str


@dataclass(frozen=True, slots=True)
class RevisionWindow:
    """The fires of one revision that can be checked: those in ``(low, high]``."""

    past: JobHistory
    span: Span
    low: datetime
    high: datetime

    @property
    def schedule(self) -> Schedule:
        return self.span.revision.definition.schedule

    @property
    def name(self) -> str:
        return f"{self.past.job.name} (revision {self.span.revision.revision})"


def check_sums(view: View, book: Book, window: RevisionWindow, entries: list[AccountEntry]) -> None:
    if window.schedule.kind in UNPLANNED:
        _check_announced(view, book, window, entries)
        return
    expected = window.schedule.count(window.low, window.high)
    book.checked["fires"] += expected
    accounted = sum(e.count for e in entries)
    reach = window.low
    apart = True
    for entry in entries:
        apart = apart and entry.first > reach
        reach = max(reach, entry.last)
    if accounted != expected or not apart:
        _walk(view, book, window, entries)


def _check_announced(
    view: View, book: Book, window: RevisionWindow, entries: list[AccountEntry]
) -> None:
    """Which fires a foreign scheduler announced, only the records tell: none may be in two."""
    book.checked["fires"] += sum(e.count for e in entries)
    reach, before = window.low, ""
    for entry in entries:
        if entry.first <= reach and before and not view.clock.covers(entry.first):
            _report_double(book, window, entry.first, before, entry.subject)
        if entry.last > reach:
            reach, before = entry.last, entry.subject


def _walk(view: View, book: Book, window: RevisionWindow, entries: list[AccountEntry]) -> None:
    """Go through the entries in order, and note the gaps and the overlaps."""
    schedule = window.schedule
    gaps: list[list[datetime]] = []
    reach, before = window.low, ""
    doubles: list[tuple[datetime, str, str]] = []
    for entry in entries:
        if entry.first <= reach:
            fire = schedule.next_after(entry.first - TICK) or entry.first
            if schedule.count(entry.first - TICK, min(reach, entry.last)) and not (
                view.clock.covers(fire)
            ):
                doubles.append((fire, before, entry.subject))
        elif schedule.count(reach, entry.first - TICK):
            gaps.append([reach, entry.first - TICK])
        if entry.last > reach:
            reach, before = entry.last, entry.subject
    if schedule.count(reach, window.high):
        gaps.append([reach, window.high])
    for fire, one, other in doubles:
        _report_double(book, window, fire, one, other)
    missing = sum(schedule.count(low, high) for low, high in gaps)
    if missing:
        _report_missing(book, window, gaps, missing)


def _report_double(
    book: Book, window: RevisionWindow, fire: datetime, one: str, other: str
) -> None:
    text = f"the fire of {window.name} at {fire.isoformat()} is accounted for twice"
    subjects = (s for s in (one, other) if s)
    book.find(
        "C5",
        "fire_accounted_twice",
        text,
        *subjects,
        window.past.job.id,
        remedy=_ALTERED,
        fire=fire,
    )


def _report_missing(
    book: Book, window: RevisionWindow, gaps: list[list[datetime]], missing: int
) -> None:
    first = window.schedule.next_after(gaps[0][0])
    assert first is not None
    fires = "a fire" if missing == 1 else f"{missing} fires"
    text = (
        f"{fires} of {window.name} left no trace, the first at {first.isoformat()}: "
        "neither a run nor a record of an omission"
    )
    book.find(
        "C5",
        "fire_unaccounted",
        text,
        window.past.job.id,
        remedy=_GONE,
        revision=window.span.revision.revision,
        first=first,
        missing=missing,
    )
