"""Finding jobs by words, tags and kinds, also among ten thousand.

What is searched is kept in memory, a line a job, and brought up to date by the store's events:
every definition that changes is one. What is shown of the jobs that were found is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from tenure.client.apply import all_jobs
from tenure.client.foreign_jobs import is_foreign
from tenure.domain.errors import NotFound
from tenure.domain.event import EventKind
from tenure.domain.job import Job, JobState
from tenure.runtime.profile import Profile

CHANGES = frozenset({EventKind.JOB_ADDED, EventKind.JOB_EDITED, EventKind.JOB_STATE})
MOST_EVENTS = 1000
"""With more changes than this, all jobs are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedJob:
    """What is searched of one job."""

    id: str
    name: str
    text: str
    tags: frozenset[str]
    protected: bool
    foreign: bool


@dataclass(slots=True, kw_only=True)
class _Known:
    """The entries by job id, as of an event. Replaced whole, never changed: any thread reads it."""

    event: int
    entries: dict[str, IndexedJob]
    ordered: Sequence[IndexedJob]


_known: WeakKeyDictionary[Profile, _Known] = WeakKeyDictionary()


def find(
    profile: Profile, q: str, states: frozenset[JobState] | None, start: int, count: int
) -> tuple[list[Job], int]:
    """``count`` jobs by name from ``start`` on that match ``q``, and how many match in all."""
    words = q.casefold().split()
    if states is None:
        among = _entries(profile)
    else:
        among = [entry_of(job) for job in all_jobs(profile.store, states)]
    found = [entry for entry in among if matches(entry, words)]
    jobs = [_job(profile, entry.id) for entry in found[start : start + count]]
    return [job for job in jobs if job is not None], len(found)


def matches(entry: IndexedJob, words: Sequence[str]) -> bool:
    """Whether every word is in the name, the command, the schedule or a tag; ``tag:`` asks for
    one, ``is:protected`` and ``is:foreign`` for a kind."""
    for word in words:
        kind, _, rest = word.partition(":")
        if kind == "tag" and rest:
            found = rest in entry.tags
        elif word == "is:protected":
            found = entry.protected
        elif word == "is:foreign":
            found = entry.foreign
        else:
            found = word in entry.text
        if not found:
            return False
    return True


def entry_of(job: Job) -> IndexedJob:
    wants = job.definition
    text = " ".join((job.name, wants.action.describe(), wants.schedule.text, *wants.tags))
    return IndexedJob(
        id=job.id,
        name=job.name,
        text=text.casefold(),
        tags=frozenset(tag.casefold() for tag in wants.tags),
        protected=wants.needs_authority,
        foreign=is_foreign(job),
    )


def _entries(profile: Profile) -> Sequence[IndexedJob]:
    """Those of every job that is not removed, by name."""
    event = profile.store.mark().event
    known = _known.get(profile)
    if known is None or event < known.event or event - known.event > MOST_EVENTS:
        jobs = all_jobs(profile.store)
        known = _as_of(event, {job.id: entry_of(job) for job in jobs})
    elif event != known.event:
        known = _updated(profile, known, event)
    _known[profile] = known
    return known.ordered


def _updated(profile: Profile, known: _Known, event: int) -> _Known:
    news = profile.store.events(after=known.event, limit=MOST_EVENTS)
    changed = {one.job for one in news if one.kind in CHANGES and one.job is not None}
    if not changed:
        return _Known(event=event, entries=known.entries, ordered=known.ordered)
    entries = dict(known.entries)
    for id in changed:
        job = _job(profile, id)
        if job is None or job.state is JobState.REMOVED:
            entries.pop(id, None)
        else:
            entries[id] = entry_of(job)
    return _as_of(event, entries)


def _as_of(event: int, entries: dict[str, IndexedJob]) -> _Known:
    ordered = sorted(entries.values(), key=lambda entry: entry.name)
    return _Known(event=event, entries=entries, ordered=ordered)


def _job(profile: Profile, id: str) -> Job | None:
    try:
        return profile.store.job(id)
    except NotFound:
        return None
