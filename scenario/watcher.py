"""Shows live what happens in the profile: owners, candidates and reasons, runs, held fires.

It follows the store's events as any observer can, and describes them. Runs of a few seconds are
collected into one line.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scenario.lineage import Lineage
from scenario.world import PROFILE, World
from tenure.domain.errors import TenureError
from tenure.domain.event import Event, EventKind
from tenure.domain.ownership import OwnershipAction
from tenure.domain.process import ProcessStatus
from tenure.runtime.profile import Profile
from tenure.store.contract import Page

_POLL_S = 0.25
_QUIET_POLLS = 3
"""Polls without another such event."""


class Watcher:
    """One thread. Start and end it with :func:`watching`."""

    def __init__(self, world: World, gather: float) -> None:
        self._world = world
        self._gather = gather
        self._view = world.view
        self._store = Profile.open(PROFILE, home=world.home, readonly=True).store
        self._seq = max((e.seq for e in self._events(0)), default=0)
        self._shown: dict[str, ProcessStatus] = {}
        self._news: dict[tuple[ProcessStatus, str], list[str]] = {}
        self._news_age = 0
        self._explained: set[str] = set()
        self._holds: set[int] = set()
        self._lines = len(world.canaries())
        self._gathered = 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def _watch(self) -> None:
        while not self.stopping.wait(_POLL_S):
            try:
                self._look()
            except TenureError as error:
                self._view.say(f"(watching: {error})", "dim")
        self._show_runs()
        self._store.close()

    def _look(self) -> None:
        for event in list(self._events(self._seq)):
            self._seq = event.seq
            self._show(event)
        self._show_news()
        self._show_holds()
        self._gathered += _POLL_S
        if self._gathered >= self._gather:
            self._show_runs()

    def _events(self, after: int) -> Iterator[Event]:
        while events := self._store.events(after=after, limit=200):
            yield from events
            after = events[-1].seq

    # -- events --------------------------------------------------------------------------------
    def _show(self, event: Event) -> None:
        name = self._name(event.process)
        if event.kind is EventKind.OWNERSHIP_TAKEN:
            self._show_runs(event.at.timestamp())
            self._show_owner(event, name)
        elif event.kind is EventKind.OWNERSHIP_ENDED:
            self._show_runs(event.at.timestamp())
            why = self._named(str(event.facts.get("why", "")))
            self._view.say(f"term {event.term} of {name} ended: {why}", "yellow")
        elif event.kind is EventKind.STANDING_CHANGED:
            self._note_standing(event, name)

    def _show_owner(self, event: Event, name: str) -> None:
        how = _HOW.get(str(event.facts.get("act")), "")
        if event.facts.get("authoritative"):
            text = f"{name} took over as authoritative owner (term {event.term}){how}"
            self._view.say(text, "green bold")
        else:
            text = f"{name} took over as fallback (term {event.term}){how}; protected jobs are held"
            self._view.say(text, "yellow bold")

    def _note_standing(self, event: Event, name: str) -> None:
        """Remember it for a moment: processes that start together are shown together."""
        process = self._store.process(event.process or "")
        if (
            process.standing is self._shown.get(process.id)
            or process.standing is ProcessStatus.OWNER
        ):
            return
        if process.why == "just joined":
            return
        self._shown[process.id] = process.standing
        self._news.setdefault((process.standing, self._short(process.why)), []).append(name)
        self._news_age = 0

    def _show_news(self) -> None:
        self._news_age += 1
        if self._news_age < _QUIET_POLLS:
            return
        for (standing, why), names in self._news.items():
            admission, end, move = why.partition("is in its chain")
            if end and admission in self._explained:
                why = move.lstrip(".; ")
            self._explained.add(admission)
            who = ", ".join(sorted(names))
            one, many = _STANDINGS[standing]
            self._view.say(f"{who}: {one if len(names) == 1 else many}: {why}", "cyan")
        self._news.clear()

    # -- runs and omissions ----------------------------------------------------------------------
    def _show_runs(self, until: float = float("inf")) -> None:
        """What ran since, up to an instant: an owner's runs are shown after its takeover."""
        self._gathered = 0.0
        new = self._world.canaries()[self._lines :]
        new = list(itertools.takewhile(lambda line: line["at"] < until, new))
        self._lines += len(new)
        lineage = Lineage(self._world.launchers, self._world.kept.values())
        by_backend: dict[str, Counter[str]] = {}
        for line, place in zip(new, lineage.places(new), strict=True):
            by_backend.setdefault(place.backend, Counter())[_what(line)] += 1
        for backend, ran in by_backend.items():
            words = ", ".join(f"{w} ×{n}" if n > 1 else w for w, n in ran.items())
            self._view.say(f"ran under {backend}: {words}", "dim")

    def _show_holds(self) -> None:
        omissions, _ = self._store.omissions(page=Page(limit=50))
        for omission in omissions:
            if omission.open and omission.id not in self._holds:
                self._holds.add(omission.id)
                self._view.say(f"{omission.job_name} is held: {omission.reason}", "yellow")
            elif not omission.open and omission.id in self._holds:
                self._holds.discard(omission.id)
                text = f"{omission.job_name}: {omission.count} were on hold: {omission.resolution}"
                self._view.say(text, "green")

    def _name(self, process: str | None) -> str:
        if process is None:
            return "no process"
        try:
            return self._store.process(process).role or process
        except TenureError:
            return process

    def _named(self, text: str) -> str:
        """Process ids replaced by roles."""
        for process in self._store.processes(gone=True):
            if process.id in text:
                text = text.replace(process.id, process.role or process.id)
        return text

    def _short(self, why: str) -> str:
        """Own paths relative to the base folder, other programs by their names."""
        own = self._named(why).replace(str(self._world.base) + "/", "")
        return re.sub(r"(?<!\S)/\S*/", "", own)


_STANDINGS = {
    ProcessStatus.CANDIDATE: ("candidate", "candidates"),
    ProcessStatus.REFUSED: ("refused", "refused"),
    ProcessStatus.OBSERVER: ("observer", "observers"),
}


_HOW: dict[str, str] = {
    OwnershipAction.TAKE_FROM_DEAD: ": the previous owner died",
    OwnershipAction.TAKE_BY_FORCE: ": by force, because the owner made no progress",
}


def _what(line: Mapping[str, Any]) -> str:
    read = {"yes": " (read the mail)", "no": " (mail denied)"}.get(line["read"], "")
    return f"{line['job']}{read if line['job'] == 'read-mail' else ''}"


@contextmanager
def watching(world: World, *, gather: float = 3.0) -> Iterator[None]:
    """Show what happens while the block runs; runs are shown once in ``gather`` seconds."""
    watcher = Watcher(world, gather)
    watcher.thread.start()
    try:
        yield
    finally:
        watcher.stopping.set()
        watcher.thread.join(10)
