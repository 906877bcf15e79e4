"""A true history, and copies of it with one record changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

from auditkit import START, eventful_day

from tenure.audit import Finding, History
from tenure.audit.reader import read_history
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import Term
from tenure.domain.request import Request, RequestState
from tenure.domain.run import Run
from testkit.memory_store.store import MemoryStore

HOUR = timedelta(hours=1)


@cache
def good() -> History:
    store = MemoryStore("audited", START)
    story = eventful_day(store)
    return read_history(store, story.now)


# -- finding and changing records ---------------------------------------------------------------
def a_run(name: str, nth: int = 0, **wants: Any) -> Run:
    """The nth run of a job, by fire time."""
    found = [
        r
        for r in sorted(good().runs, key=lambda r: r.fire_time)
        if r.job_name == name and all(getattr(r, k) == v for k, v in wants.items())
    ]
    return found[nth]


def job_id(name: str) -> str:
    return next(p.job.id for p in good().jobs if p.job.name == name)


def with_run(run: Run, **changes: Any) -> History:
    runs = tuple(replace(r, **changes) if r.id == run.id else r for r in good().runs)
    return replace(good(), runs=runs)


def without_run(run: Run) -> History:
    return replace(good(), runs=tuple(r for r in good().runs if r.id != run.id))


def with_term(number: int, **changes: Any) -> History:
    terms = tuple(replace(t, **changes) if t.term == number else t for t in good().terms)
    return replace(good(), terms=terms)


def term(number: int) -> Term:
    return next(t for t in good().terms if t.term == number)


def with_process(name: str, **changes: Any) -> History:
    found = tuple(replace(p, **changes) if p.id == name else p for p in good().processes)
    return replace(good(), processes=found)


def an_omission(kind: OmissionKind, job: str) -> Omission:
    return next(o for o in good().omissions if (o.kind, o.job_name) == (kind, job))


def with_omission(omission: Omission, **changes: Any) -> History:
    found = tuple(replace(o, **changes) if o.id == omission.id else o for o in good().omissions)
    return replace(good(), omissions=found)


def with_accounting(name: str, **changes: Any) -> History:
    jobs = tuple(
        replace(p, accounting=replace(p.accounting, **changes)) if p.job.name == name else p  # type: ignore[type-var]
        for p in good().jobs
    )
    return replace(good(), jobs=jobs)


def with_job(name: str, **changes: Any) -> History:
    jobs = tuple(
        replace(p, job=replace(p.job, **changes)) if p.job.name == name else p for p in good().jobs
    )
    return replace(good(), jobs=jobs)


def a_request(state: RequestState) -> Request:
    return next(r for r in good().requests if r.state is state)


def with_request(request: Request, **changes: Any) -> History:
    found = tuple(replace(r, **changes) if r.id == request.id else r for r in good().requests)
    return replace(good(), requests=found)


def with_definition(name: str, revision: int, **changes: Any) -> History:
    def changed(record: Any) -> Any:
        if record.revision != revision:
            return record
        return replace(record, definition=replace(record.definition, **changes))

    jobs = tuple(
        replace(p, revisions=tuple(map(changed, p.revisions))) if p.job.name == name else p
        for p in good().jobs
    )
    return replace(good(), jobs=jobs)


def told(findings: tuple[Finding, ...]) -> str:
    return "\n".join(f"{f.clause} {f.code} {f.subjects} {f.text}" for f in findings)
