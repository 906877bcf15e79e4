"""Two stores that live through the same history, and must answer alike.

Each store makes its own ids, so answers are compared *normalised*: a job by its number in the
history, a run by its job and fire time, a request by its key. Words (reasons, answers) are the
store's own and are not compared; classes of errors are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from tenure.domain.errors import NotFound, TenureError
from tenure.domain.job import JobState
from tenure.domain.omission import Omission
from tenure.store.contract import Page, RunFilter, Store
from testkit.factories import ROOM

WORDS = frozenset({"reason", "answer", "remedy", "ended_why", "resolution", "edited_by"})
"""Fields that people read."""
EVERYTHING = Page(limit=1_000_000)


class Side:
    """One of the stores, with its ids of what the history names."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: list[str] = []
        self._known: dict[str, Any] = {}

    def run_id(self, job: int, fire: datetime) -> str:
        """The run of a fire. NotFound if retention has deleted it."""
        for run in self.store.runs(RunFilter(job=self.jobs[job]), EVERYTHING)[0]:
            if run.fire_time == fire:
                return run.id
        raise NotFound(f"no run of job {job} at {fire}")

    def request_id(self, key: str) -> str:
        for request in self.store.requests(limit=1_000_000):
            if request.key == key:
                return request.id
        raise NotFound(f"no request {key}")

    def normal(self, value: Any) -> Any:
        """A value without the store's own ids and words."""
        return _normal(value, self._names())

    def _names(self) -> dict[str, Any]:
        """What the history calls the things that have ids."""
        names = self._known  # Kept: a request may name a run that retention has deleted.
        names |= {job: f"job {n}" for n, job in enumerate(self.jobs)}
        for run in self.store.runs(RunFilter(), EVERYTHING)[0]:
            names[run.id] = ("run", names.get(run.job), run.fire_time)
        for request in self.store.requests(limit=1_000_000):
            names[request.id] = ("request", request.key)
        return names

    def state(self, now: datetime) -> dict[str, Any]:
        """All that can be asked about the store, normalised."""
        store = self.store
        omissions, _ = store.omissions(page=EVERYTHING)
        found: dict[str, Any] = {
            "ownership": store.ownership(),
            "terms": store.terms(limit=1_000_000),
            "policy": store.policy().version,
            "jobs": [store.job(job) for job in self.jobs],
            "listed": [j.id for j in store.jobs(page=EVERYTHING)[0]],
            "revisions": [store.revisions(job) for job in self.jobs],
            "accounting": [store.accounting(job) for job in self.jobs],
            "next_due": store.next_due(),
            "counts": {s: store.counts().jobs.get(s, 0) for s in JobState},
            "active": store.counts().active_runs,
        }
        names = self._names()
        normal: dict[str, Any] = _normal(found, names)
        for name, items in (
            ("runs", store.runs(RunFilter(), EVERYTHING)[0]),
            ("due", [(d.job.id, d.active, len(d.holds)) for d in store.due(now, ROOM)]),
            ("retries", [r.id for r in store.due_retries(now, ROOM)]),
            ("omissions", omissions),
            ("requests", store.requests(limit=1_000_000)),
        ):
            normal[name] = Counter(repr(_normal(item, names)) for item in items)
        return normal


def _normal(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple | list):
        return [_normal(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _normal(item, names) for key, item in value.items()}
    if is_dataclass(value):
        skip = WORDS | {"id"} if isinstance(value, Omission) else WORDS
        return {
            each.name: _normal(getattr(value, each.name), names)
            for each in fields(value)
            if each.name not in skip
        }
    return value


class Pair:
    """The same verbs on both sides; AssertionError where the answers differ."""

    def __init__(self, stores: Iterable[Store]) -> None:
        self.sides = [Side(store) for store in stores]
        self.model = self.sides[0]

    def both(self, act: Callable[[Side], Any]) -> Any:
        """Do it on each side and compare; the first side's answer, or its error."""
        answers: list[Any] = []
        normal: list[Any] = []
        for side in self.sides:
            try:
                answers.append(act(side))
                normal.append(side.normal(answers[-1]))
            except TenureError as error:
                answers.append(error)
                normal.append(type(error).__name__)
        for other in normal[1:]:
            assert normal[0] == other, f"the stores answer differently:\n{normal[0]}\n{other}"
        return answers[0]

    def compare(self, now: datetime) -> None:
        """The observable state is the same."""
        first, *others = (side.state(now) for side in self.sides)
        for other in others:
            for name, value in first.items():
                assert value == other[name], f"{name} differ:\n{value}\n{other[name]}"
