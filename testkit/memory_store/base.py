"""Transactions, and the few things that most verbs need.

One lock guards everything. A verb copies the tables before it begins and puts the copy back when
it raises; a batch does the same around many verbs. Slow and plain on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from tenure.domain.errors import NotFound, StaleTerm
from tenure.domain.event import Event, EventKind
from tenure.domain.job import Job, JobState
from tenure.domain.ownership import Authority
from tenure.domain.run import ACTIVE, Run
from tenure.store.contract import Page
from testkit.memory_store.tables import Tables

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Base")
Item = TypeVar("Item")


def verb(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method one transaction: whole, or it raises and has changed nothing."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._transaction():
            return method(self, *args, **kwargs)

    return call


class Base:
    """What the verbs stand on. Shared by threads: each verb is atomic towards the others."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._tables = Tables()
        self._commits = 0
        self._in_batch = False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            before = self._tables.copy()
            try:
                yield
            except BaseException:
                self._tables = before
                raise
            if self._tables != before:
                self._commits += 1

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            if self._in_batch:
                raise RuntimeError("a batch does not nest")
            self._in_batch = True
            try:
                with self._transaction():
                    yield
            finally:
                self._in_batch = False

    def _number(self, kind: str) -> int:
        self._tables.numbers[kind] += 1
        return self._tables.numbers[kind]

    def _say(
        self,
        kind: EventKind,
        now: datetime,
        *,
        term: int | None = None,
        process: str | None = None,
        job: str | None = None,
        run: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        seq = self._number("event")
        self._tables.events[seq] = Event(
            seq=seq,
            kind=kind,
            at=now,
            term=term,
            process=process,
            job=job,
            run=run,
            facts=dict(facts or {}),
        )

    def _require(self, authority: Authority) -> None:
        """C3: raise StaleTerm unless term, process and policy version are the current ones."""
        if authority != self._tables.ownership.authority:
            raise StaleTerm(
                f"term {authority.term} of {authority.process} under policy version "
                f"{authority.policy_version} is not the current ownership",
                remedy="stop claiming and contend for ownership again",
                current_term=self._tables.ownership.term,
            )
        if authority.policy_version != self._tables.policy.version:
            raise StaleTerm(
                f"policy version {authority.policy_version} is no longer the accepted one",
                remedy="compare your admission with the accepted policy, then reaffirm",
                current_policy=self._tables.policy.version,
            )

    def _get_job(self, job: str) -> Job:
        """By id, removed ones too."""
        try:
            return self._tables.jobs[job]
        except KeyError:
            raise NotFound(f"unknown job {job!r}", remedy="`tenure list` shows them") from None

    def _get_run(self, run: str) -> Run:
        try:
            return self._tables.runs[run]
        except KeyError:
            raise NotFound(f"unknown run {run!r}", remedy="`tenure runs` shows them") from None

    def _active_runs(self, job: str) -> list[Run]:
        return [r for r in self._tables.runs.values() if r.job == job and r.state in ACTIVE]

    def _has_open_hold(self, job: str) -> bool:
        return any(o.job == job and o.open for o in self._tables.omissions.values())

    def _make_due(self, job: str, now: datetime) -> bool:
        """Have the owner look at an active job at ``now``, if not sooner."""
        found = self._tables.jobs[job]
        if found.state is not JobState.ACTIVE:
            return False
        due_at = now if found.due_at is None else min(found.due_at, now)
        self._tables.jobs[job] = replace(found, due_at=due_at)
        return True

    def _make_held_due(self, now: datetime) -> int:
        """Make the jobs with open held fires due; how many."""
        held = {o.job for o in self._tables.omissions.values() if o.open}
        return sum(self._make_due(job, now) for job in sorted(held))


def page_of(items: Sequence[Item], page: Page | None) -> tuple[tuple[Item, ...], str | None]:
    """One page of a list in its final order, and the cursor of the next."""
    bounds = page or Page()
    start = int(bounds.cursor or 0)
    end = start + bounds.limit
    return tuple(items[start:end]), str(end) if end < len(items) else None
