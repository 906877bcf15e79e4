"""C5: every due fire is accounted for exactly once, as a run or in a stretch of omissions.

The yardstick is the schedule itself. For each revision the fires in its window,

    (the later of: valid from, accounted from;  the earlier of: next revision, watermark]

are counted by the schedule and compared with the runs and stretches on record. Where the sums
agree, nothing overlaps and each entry sits on a fire, all is well; that is linear. Only otherwise
are the entries walked one after the other, to name the first fire that is missing or double.

A stretch covers every fire between its ends, and says how many. A held stretch counts all of its
fires; the runs that they became lie inside it, and are compared with what it says was claimed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.audit.clock import SKEW
from tenure.audit.history import SCHEDULED, JobHistory, Span, View
from tenure.audit.report import Book
from tenure.domain.job import JobState
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import Cause, Run
from tenure.domain.schedule.model import UNPLANNED, Schedule

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Fires on record: one run, or all from the first to the last of a stretch, both included."""

    first: datetime
    last: datetime
    count: int
    subject: str


@dataclass(frozen=True, slots=True)
class _Window:
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


def check_accounts(view: View, book: Book) -> None:
    """Every job: its watermark, its entries, its sums."""
    for past in view.history.jobs:
        book.checked["jobs"] += 1
        _check_watermark(view, book, past)
        for revision, span in view.spans[past.job.id].items():
            low = max(span.after, past.accounting.accounted_from)
            high = past.accounting.watermark
            high = high if span.until is None else min(span.until, high)
            window = _Window(past, span, low, max(low, high))
            key = past.job.id, revision
            runs = _check_runs(view, book, window, view.scheduled_runs.get(key, []))
            entries = runs + _check_omissions(view, book, window, view.omissions.get(key, []))
            _check_sums(view, book, window, sorted(entries, key=lambda e: (e.first, e.last)))
    _check_strangers(view, book)


def _check_watermark(view: View, book: Book, past: JobHistory) -> None:
    job, accounting = past.job, past.accounting
    mark = accounting.watermark
    if mark > view.now + SKEW and not view.clock.covers(mark):
        text = f"{job.name} is accounted for up to {mark.isoformat()}, which is yet to come"
        book.find("watermark_ahead", text, job.id, watermark=mark)
    since = accounting.accounted_from
    if since > mark and not view.clock.covers(since):
        text = f"{job.name} is accounted for from {since.isoformat()} only"
        book.find("accounting_broken", text, job.id, watermark=mark)
    if job.state is JobState.DONE:
        left = job.definition.schedule.next_after(mark)
        if left is not None and left <= view.now:
            text = (
                f"{job.name} is recorded as done, but it had a scheduled run at {left.isoformat()}"
            )
            book.find("done_too_soon", text, job.id, fire=left)


def _check_runs(view: View, book: Book, window: _Window, runs: list[Run]) -> list[_Entry]:
    """Runs of a fire of their own; runs from a hold are counted with the hold."""
    entries, seen = [], set()
    mark = window.past.accounting.watermark
    for run in runs:
        fire, first = run.fire_time, view.attempts[run.id][0]
        if not window.schedule.is_fire(fire):
            text = f"run {run.id} is for {fire.isoformat()}, not a scheduled time of {window.name}"
            book.find("not_a_fire", text, run, run.job, fire=fire)
            continue
        if not view.clock.follows(first.claimed_at, fire, timedelta(seconds=1)):
            text = f"run {run.id} was claimed before it was due"
            book.find("claimed_early", text, run, run.job, fire=fire)
        if fire > mark and not view.clock.covers(fire):
            text = f"run {run.id} is for a scheduled time beyond the watermark of {run.job_name}"
            book.find("beyond_watermark", text, run, run.job, watermark=mark)
        if run.cause is not Cause.HELD and window.low < fire <= window.high and fire not in seen:
            seen.add(fire)
            entries.append(_Entry(fire, fire, 1, run.id))
    for run in view.repeated.get(window.past.job.id, ()):
        fire = run.fire_time
        own = run.revision == window.span.revision.revision and run.cause in SCHEDULED
        inside = window.low < fire <= window.high and fire not in seen
        if not own and inside and window.schedule.is_fire(fire):
            seen.add(fire)
            entries.append(_Entry(fire, fire, 1, run.id))
    return entries


def _check_omissions(
    view: View, book: Book, window: _Window, omissions: list[Omission]
) -> list[_Entry]:
    entries = []
    for omission in omissions:
        book.checked["omissions"] += 1
        last = omission.last if omission.cut_at is None else min(omission.last, omission.cut_at)
        if last < omission.first or last <= window.low:
            continue
        entry = _entry(book, window, omission, last)
        if entry is not None and omission.first <= window.high:
            entries.append(_clip(window, entry))
        mark = window.past.accounting.watermark
        if last > mark and not view.clock.covers(last):
            text = f"an omission of {window.name} reaches beyond its watermark"
            book.find("beyond_watermark", text, _name(omission), omission.job)
    _check_holds(view, book, window, omissions)
    return entries


def _entry(book: Book, window: _Window, omission: Omission, last: datetime) -> _Entry | None:
    """The stretch as an entry; None, and a finding, if its ends are no fires."""
    schedule = window.schedule
    # What was announced is known by these records alone.
    if schedule.kind in UNPLANNED:
        return _Entry(omission.first, last, omission.count, _name(omission))
    there = schedule.count(omission.first - _TICK, last)
    ends = all(schedule.is_fire(at) for at in (omission.first, omission.last))
    if not ends or omission.count != there:
        text = (
            f"an omission of {window.name} counts {omission.count} scheduled runs from "
            f"{omission.first.isoformat()} to {omission.last.isoformat()}, where there are {there}"
        )
        book.find("omission_wrong", text, _name(omission), omission.job)
    # A wrong count is one fault, reported above: for the sums the range covers what it spans.
    return _Entry(omission.first, last, there, _name(omission)) if ends else None


def _clip(window: _Window, entry: _Entry) -> _Entry:
    """The part of an entry that lies in the window."""
    if entry.first > window.low and entry.last <= window.high:
        return entry
    low, high = max(entry.first - _TICK, window.low), min(entry.last, window.high)
    if window.schedule.kind in UNPLANNED:
        return _Entry(low + _TICK, high, entry.count, entry.subject)
    return _Entry(low + _TICK, high, window.schedule.count(low, high), entry.subject)


def _check_holds(view: View, book: Book, window: _Window, omissions: list[Omission]) -> None:
    """What held stretches say was claimed are runs, and runs from a hold have their stretch."""
    holds = sorted((o for o in omissions if o.kind is OmissionKind.HELD), key=lambda o: o.first)
    key = window.past.job.id, window.span.revision.revision
    held = sorted(
        (r for r in view.scheduled_runs.get(key, []) if r.cause is Cause.HELD),
        key=lambda r: r.fire_time,
    )
    since = window.past.accounting.accounted_from
    runs_of: dict[int, int] = {}
    for run in held:
        place = bisect_right(holds, run.fire_time, key=lambda h: h.first) - 1
        home = holds[place] if place >= 0 else None
        if home is not None and run.fire_time <= home.last:
            runs_of[home.id] = runs_of.get(home.id, 0) + 1
        elif run.fire_time > since and not view.clock.covers(run.fire_time):
            text = f"run {run.id} is of a scheduled run on hold, but no record holds it"
            book.find("held_run_without_hold", text, run, run.job)
    for hold in holds:
        book.checked["holds"] += 1
        there = runs_of.get(hold.id, 0)
        # Retention may have deleted runs of a stretch that begins before what is accounted for, and
        # of one that a set-back clock cut off they may lie beyond its end.
        whole = hold.first > since and hold.cut_at is None
        if there > hold.claimed or (there < hold.claimed and whole):
            text = (
                f"a range on hold of {window.name} says that {hold.claimed} of it became "
                f"runs; there are {there}"
            )
            book.find("hold_miscounted", text, _name(hold), hold.job)
        if hold.open and window.past.job.state is JobState.REMOVED:
            text = f"{window.name} is removed, but scheduled runs of it are still on hold"
            book.find("hold_left_open", text, _name(hold), hold.job)


def _check_strangers(view: View, book: Book) -> None:
    """Omissions of a job or revision that never was."""
    for (job, revision), omissions in view.omissions.items():
        if revision in view.spans.get(job, {}):
            continue
        for omission in omissions:
            text = f"an omission is of revision {revision} of job {job}, which never existed"
            book.find("omission_stranger", text, _name(omission), job)


def _name(omission: Omission) -> str:
    return f"omission:{omission.id}"


# -- the sums of one revision ---------------------------------------------------------------------
def _check_sums(view: View, book: Book, window: _Window, entries: list[_Entry]) -> None:
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


def _check_announced(view: View, book: Book, window: _Window, entries: list[_Entry]) -> None:
    """Which fires a foreign scheduler announced, only the records tell: none may be in two."""
    book.checked["fires"] += sum(e.count for e in entries)
    reach, before = window.low, ""
    for entry in entries:
        if entry.first <= reach and before and not view.clock.covers(entry.first):
            _report_double(book, window, entry.first, before, entry.subject)
        if entry.last > reach:
            reach, before = entry.last, entry.subject


def _walk(view: View, book: Book, window: _Window, entries: list[_Entry]) -> None:
    """Go through the entries in order, and note the gaps and the overlaps."""
    schedule = window.schedule
    gaps: list[list[datetime]] = []
    reach, before = window.low, ""
    doubles: list[tuple[datetime, str, str]] = []
    for entry in entries:
        if entry.first <= reach:
            fire = schedule.next_after(entry.first - _TICK) or entry.first
            if schedule.count(entry.first - _TICK, min(reach, entry.last)) and not (
                view.clock.covers(fire)
            ):
                doubles.append((fire, before, entry.subject))
        elif schedule.count(reach, entry.first - _TICK):
            gaps.append([reach, entry.first - _TICK])
        if entry.last > reach:
            reach, before = entry.last, entry.subject
    if schedule.count(reach, window.high):
        gaps.append([reach, window.high])
    for fire, one, other in doubles:
        _report_double(book, window, fire, one, other)
    missing = sum(schedule.count(low, high) for low, high in gaps)
    if missing:
        _report_missing(book, window, gaps, missing)


def _report_double(book: Book, window: _Window, fire: datetime, one: str, other: str) -> None:
    text = f"the scheduled run of {window.name} at {fire.isoformat()} is accounted for twice"
    subjects = (s for s in (one, other) if s)
    book.find("fire_accounted_twice", text, *subjects, window.past.job.id, fire=fire)


def _report_missing(book: Book, window: _Window, gaps: list[list[datetime]], missing: int) -> None:
    first = window.schedule.next_after(gaps[0][0])
    assert first is not None
    fires = "a scheduled run" if missing == 1 else f"{missing} scheduled runs"
    text = (
        f"{fires} of {window.name} left no trace, the first at {first.isoformat()}: "
        "neither a run nor a record of an omission"
    )
    book.find(
        "fire_unaccounted",
        text,
        window.past.job.id,
        revision=window.span.revision.revision,
        first=first,
        missing=missing,
    )
