"""What changed in a profile since the last look: in its store, and the kernel's word on its owner.

Nothing is changed by looking. The store is asked on a connection of its own, read-only, so that its
change mark also moves for what this process itself wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tenure.client.documents import to_json
from tenure.client.documents.processes import owner_document
from tenure.domain.event import Event
from tenure.domain.ownership import HUNG_AFTER, HolderLife, Ownership, OwnershipState, hung_for
from tenure.domain.process import Process
from tenure.domain.run import ACTIVE, Run
from tenure.host.clocks import Clock
from tenure.host.processes import activity_of, boot_id
from tenure.runtime.members import life_of_process
from tenure.runtime.profile import Profile
from tenure.store.contract import Mark, Page, RunFilter
from tenure.store.sqlite import SqliteStore
from tenure.surfaces.web.reports import kept, mark_text

MAX_RUNS = 1000
"""With more new runs between two polls, clients are asked to reload."""
_HUNG_INTERVAL_S = 1.0
_UNEXPLAINED_INTERVAL_S = 5.0
TOPICS = ("jobs", "runs", "owner", "requests")
_TOPIC_OF = {
    "job": "jobs",
    "process": "owner",
    "standing": "owner",
    "ownership": "owner",
    "policy": "owner",
    "requested": "requests",
    "answered": "requests",
    "run": "runs",
    "late": "runs",
    "claim": "runs",
    "planning": "jobs",
    "profile": "owner",
}
"""By the first word of an event's kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one look found. ``owner`` is None if nothing about it is new."""

    topics: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    runs: tuple[Run, ...] = ()
    owner: dict[str, Any] | None = None
    missed: bool = False
    """More happened than is listed here."""
    takeover: float | None = None
    """If a term began: the maximum number of seconds without a living owner before it."""

    def __bool__(self) -> bool:
        return bool(self.topics or self.events or self.owner is not None)


class ChangePoller:
    """One thread uses it, again and again. Close it when done."""

    def __init__(self, profile: Profile, clock: Clock) -> None:
        """Raises what opening the store raises."""
        self.profile = profile
        self._clock = clock
        self._store = SqliteStore.open(profile.folder.database, readonly=True)
        self._change = self._store.change_mark()
        self.mark: Mark = self._store.mark()
        self._active = {run.id: run for run in self._now_active()}
        self._ownership = self._store.ownership()
        self._holder = self._process_of(self._ownership)
        self._hung = False
        self._next_hung = 0.0
        self._next_unexplained = 0.0
        self._alive_at: datetime | None = None
        """The last instant at which a living owner was seen."""
        self.owner: dict[str, Any] = self._owner()
        self._note_alive()

    def look(self) -> Changes:
        """What is new. Costs a PRAGMA and a flock(2) when nothing is."""
        change = self._store.change_mark()
        changed, self._change = change != self._change, change
        before = self._ownership
        news = self._read() if changed else Changes()
        owner = self._owner()
        if owner != self.owner:
            self.owner = owner
            topics = _in_order({*news.topics, "owner"})
            news = replace(news, topics=topics, owner=owner, takeover=self._gap(before))
        self._note_alive()
        return news

    def _note_alive(self) -> None:
        if self.owner["state"] in ("owned", "stopped", "frozen", "hung"):
            self._alive_at = self._clock.now()

    def _gap(self, before: Ownership) -> float | None:
        now = self._ownership
        if now.hold is not OwnershipState.HELD or now.since is None or now.term == before.term:
            return None
        since = before.ended_at if before.hold is OwnershipState.VACANT else self._alive_at
        return None if since is None else max(0.0, (now.since - since).total_seconds())

    def close(self) -> None:
        self._store.close()

    @property
    def mark_text(self) -> str:
        return mark_text(self.mark, self.owner["state"])

    def _read(self) -> Changes:
        before, self.mark = self.mark, self._store.mark()
        if self.mark.event < before.event or self.mark.run < before.run:
            # Another history: a backup was restored.
            before = self.mark
        events = self._store.events(after=before.event, limit=MAX_RUNS + 1)
        more, events = len(events) > MAX_RUNS, events[-MAX_RUNS:]
        runs, many = self._runs(before.run)
        self.mark = replace(self.mark, event=max(self.mark.event, *(e.seq for e in events), 0))
        topics = {_TOPIC_OF.get(event.kind.partition("_")[0], "runs") for event in events}
        if runs or self.mark.omission != before.omission:
            topics |= {"jobs", "runs"}
        was, now = self._ownership, self._store.ownership()
        if (was.hold, was.term, was.rule) != (now.hold, now.term, now.rule):
            topics.add("owner")
        self._ownership = now
        self._holder = self._process_of(self._ownership)
        if not topics:
            topics = self._unexplained()
        return Changes(topics=_in_order(topics), events=events, runs=runs, missed=more or many)

    def _unexplained(self) -> set[str]:
        """A range of runs left out that grew, say; or only the owner's sign of progress."""
        awake = self._clock.awake()
        if awake < self._next_unexplained:
            return set()
        self._next_unexplained = awake + _UNEXPLAINED_INTERVAL_S
        return {"runs"}

    def _runs(self, after: int) -> tuple[tuple[Run, ...], bool]:
        """Runs that are new, or not what they were at the last look."""
        fresh, number = self._store.runs_after(after, limit=MAX_RUNS)
        many = number < self.mark.run
        self.mark = replace(self.mark, run=max(number, self.mark.run))
        # Each of these reads sees a later state of the store than the one before. What was active
        # in the first and not in the second has ended in between: it is asked about next time.
        active = {run.id: run for run in fresh if run.state in ACTIVE}
        active |= {run.id: run for run in self._now_active()}
        ended = self._store.runs_by_id([id for id in self._active if id not in active])
        before, self._active = self._active, active
        # One that is neither fresh nor known was claimed after the first read: fresh next time.
        moved = [
            run
            for run in (*active.values(), *ended)
            if run.id in before and _progress(before[run.id]) != _progress(run)
        ]
        return (*fresh, *moved), many

    def _now_active(self) -> Sequence[Run]:
        return self._store.runs(RunFilter(states=ACTIVE), Page(limit=MAX_RUNS))[0]

    def _owner(self) -> dict[str, Any]:
        """The owner as a document; ``state`` says in one word how it stands."""
        known = owner_document(self._ownership)
        if known is None or self._holder is None:
            return {"state": "nobody", "term": self._ownership.term, "owner": None}
        document = to_json(known)
        document.pop("progress_at")
        life = life_of_process(self.profile, self._holder)
        state = {HolderLife.DEAD: "dead", HolderLife.UNVERIFIABLE: "unverifiable"}.get(life)
        if state is None:
            activity = activity_of(self._holder.evidence.identity)
            state = "hung" if self._is_hung() else "owned"
            if activity.halted:
                state = str(activity)
        identity = self._holder.evidence.identity
        document |= {"life": str(life), "pid": identity.pid, "role": self._holder.role}
        return {"state": state, "term": self._ownership.term, "owner": document}

    def _is_hung(self) -> bool:
        awake = self._clock.awake()
        if awake >= self._next_hung:
            self._next_hung = awake + _HUNG_INTERVAL_S
            due, now = self._store.next_due(), self._clock.now()
            late = hung_for(self._ownership, due, now=now, awake=awake, boot=boot_id())
            self._hung = late >= HUNG_AFTER
        return self._hung

    def _process_of(self, ownership: Ownership) -> Process | None:
        if ownership.hold is not OwnershipState.HELD or ownership.process is None:
            return None
        return kept(self._store.process, ownership.process)


def _progress(run: Run) -> tuple[object, ...]:
    return run.state, run.attempt, run.cancel_requested_at


def _in_order(topics: set[str]) -> tuple[str, ...]:
    return tuple(topic for topic in TOPICS if topic in topics)
