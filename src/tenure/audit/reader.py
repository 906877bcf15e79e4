"""Reading a profile's whole history for an audit: in pages, through the store's own verbs.

The audit must not stop the owner, so it holds no transaction while it reads, and a store in use
may change between two pages. What looks wrong only because of that has settled when it is read
again. So if something is found and the store has changed meanwhile, everything is read once more,
and only what is found every time is reported: a real fault stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from tenure.audit import Finding, History, JobHistory, Report, audit
from tenure.audit.report import render_report
from tenure.domain.event import Event
from tenure.domain.job import JobState
from tenure.store.contract import Page, RunFilter, Store

__all__ = ["audit_store", "read_history", "render_report"]

T = TypeVar("T")

PAGE = 2000
EVERYTHING = 2**31 - 1
READINGS = 3
"""How often a busy store is read at most."""
_GROWING = frozenset({"missing", "watermark"})
"""Facts of a finding that move on while the profile lives."""


def read_history(store: Store, now: datetime) -> History:
    """Everything the store has kept. ``now`` is an aware UTC instant. Raises what its verbs do.

    Safe in any thread that may use the store; not one snapshot of a store in use.
    """
    jobs = _paged(lambda page: store.jobs(states=frozenset(JobState), page=page))
    return History(
        now=now,
        jobs=tuple(
            JobHistory(
                job=job,
                accounting=store.accounting(job.id),
                revisions=tuple(sorted(store.revisions(job.id), key=lambda r: r.revision)),
            )
            for job in jobs
        ),
        # A list that grows while it is paged may show an entry on two pages.
        omissions=tuple({o.id: o for o in _paged(lambda p: store.omissions(page=p))}.values()),
        runs=tuple({r.id: r for r in _paged(lambda p: store.runs(RunFilter(), p))}.values()),
        requests=store.requests(limit=EVERYTHING),
        policy=store.policy(),
        terms=store.terms(limit=EVERYTHING),
        ownership=store.ownership(),
        processes=store.processes(gone=True),
        events=tuple(_events(store)),
    )


def audit_store(
    store: Store, now: datetime, *, clock: Callable[[], datetime] | None = None
) -> Report:
    """Read and check. A store in use is read up to :data:`READINGS` times (see the module).

    ``clock`` gives the instant of a second reading; by default the system's.
    """
    look = clock or (lambda: datetime.now(UTC))
    mark = store.change_mark()
    report = audit(read_history(store, now))
    for _ in range(READINGS - 1):
        before, mark = mark, store.change_mark()
        if report.clean or mark == before:
            return report
        again = audit(read_history(store, max(now, look())))
        known = {_key(finding) for finding in report.findings}
        lasting = tuple(f for f in again.findings if _key(f) in known)
        report = replace(again, findings=lasting)
    return report


def _key(finding: Finding) -> tuple[object, ...]:
    facts = tuple((k, str(v)) for k, v in finding.facts.items() if k not in _GROWING)
    return finding.clause, finding.code, finding.subjects, facts


def _paged(read: Callable[[Page], tuple[tuple[T, ...], str | None]]) -> Iterable[T]:
    cursor: str | None = None
    while True:
        items, cursor = read(Page(limit=PAGE, cursor=cursor))
        yield from items
        if cursor is None:
            return


def _events(store: Store) -> Iterable[Event]:
    after = 0
    while events := store.events(after=after, limit=PAGE):
        yield from events
        after = events[-1].seq
