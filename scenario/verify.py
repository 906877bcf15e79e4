"""What must be true at the end, checked from the jobs' own word and not by ``tenure audit``.

The canary's lines say what ran, when and in which chain. They are held against the store's
records both ways: nothing ran that is not recorded, nothing is recorded that did not run, no fire
ran twice, and every fire of every schedule (counted here by plain arithmetic) is a run or a
recorded omission.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scenario.lineage import LOST, Lineage, Place
from scenario.world import PROFILE, World
from tenure.domain.job import JobState
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import Term
from tenure.domain.run import ACTIVE, Cause, Run, RunState
from tenure.domain.schedule.model import ScheduleKind
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, Revision, RunFilter, Store

_STATES = frozenset(JobState)
_LINE_OPTIONAL = frozenset(
    {RunState.NEVER_RAN, RunState.LOST, RunState.CANCELLED, RunState.TIMED_OUT}
)
"""Ends in which a job was, or may have been, cut off before its first line."""


@dataclass(slots=True)
class Verdict:
    """Figures, and a description of each claim that does not hold."""

    figures: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    examples: Counter[str] = field(default_factory=Counter)

    def violated(self, claim: str, text: str) -> None:
        self.figures[claim] += 1
        if self.figures[claim] <= 5:
            self.violations.append(f"{claim}: {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The store's, read whole."""

    runs: Mapping[str, Run]
    omissions: tuple[Omission, ...]
    terms: Mapping[int, Term]
    revisions: Mapping[str, tuple[Revision, ...]]
    spans: Mapping[str, tuple[datetime, datetime]]
    """By job, the stretch in which each fire must be accounted for."""


def check(world: World) -> Verdict:
    """Read everything and judge it. Nothing may be running any more."""
    profile = Profile.open(PROFILE, home=world.home, readonly=True)
    try:
        records = _read(profile.store)
    finally:
        profile.close()
    lines = world.canaries()
    places = Lineage(world.launchers, world.kept.values()).places(lines)
    verdict = Verdict()
    verdict.figures["runs"] = len(records.runs)
    verdict.figures["ran"] = len(lines)
    verdict.figures["terms"] = len(records.terms)
    _check_places(verdict, world, lines, places, records)
    _check_once(verdict, lines)
    _check_both_ways(verdict, lines, records)
    _check_terms(verdict, records)
    for job in records.revisions:
        _check_fires(verdict, job, records)
    return verdict


def _read(store: Store) -> Records:
    jobs = list(_all(lambda p: store.jobs(states=_STATES, page=p)))
    accounting = {job.id: store.accounting(job.id) for job in jobs}
    return Records(
        runs={run.id: run for run in _all(lambda p: store.runs(RunFilter(), p))},
        omissions=tuple(_all(lambda p: store.omissions(page=p))),
        terms={term.term: term for term in store.terms(limit=100_000)},
        revisions={job.id: store.revisions(job.id) for job in jobs},
        spans={id: (a.accounted_from, a.watermark) for id, a in accounting.items()},
    )


def _all(read: Any) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        items, cursor = read(Page(limit=500, cursor=cursor))
        yield from items
        if cursor is None:
            return


def _check_places(
    verdict: Verdict,
    world: World,
    lines: Iterable[Mapping[str, Any]],
    places: Iterable[Place],
    records: Records,
) -> None:
    """Protected jobs ran below the gateway's launcher, and nowhere else."""
    for line, place in zip(lines, places, strict=True):
        run = records.runs.get(line["run"])
        protected = run is not None and run.protected
        verdict.figures[f"in the {place.chain} chain" if place.chain != LOST else "chain cut"] += 1
        if protected:
            verdict.figures["protected"] += 1
        if place.chain == "desktop" and world.denied.works and line["read"] == "yes":
            verdict.violated("read past the kernel", f"{line['job']} {line['run']}")
        if not protected:
            continue
        if place.chain == "desktop" or (world.denied.works and line["read"] != "yes"):
            verdict.violated(
                "protected outside the gateway chain",
                f"{line['job']} {line['run']} ran in {place.words()}, read: {line['read']}",
            )


def _check_once(verdict: Verdict, lines: Iterable[Mapping[str, Any]]) -> None:
    attempts = Counter((line["run"], line["attempt"]) for line in lines)
    fires: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        fires.setdefault((line["job"], line["fire"]), set()).add(line["run"])
    for key, count in attempts.items():
        if count > 1:
            verdict.violated("ran twice", f"run {key[0]}, attempt {key[1]}, ran {count} times")
    for fire, runs in fires.items():
        if len(runs) > 1:
            verdict.violated("ran twice", f"the run scheduled for {fire} ran as {sorted(runs)}")


def _check_both_ways(
    verdict: Verdict, lines: Iterable[Mapping[str, Any]], records: Records
) -> None:
    ran = {line["run"] for line in lines}
    for line in lines:
        run = records.runs.get(line["run"])
        if run is None:
            verdict.violated("not recorded", f"{line['job']} ran as {line['run']}")
        elif run.state is RunState.NEVER_RAN:
            verdict.violated("said never to have run, and ran", run.id)
        elif str(run.fire_time.isoformat()) != line["fire"]:
            verdict.violated("recorded otherwise", f"{run.id}: {line['fire']}")
    for run in records.runs.values():
        verdict.figures[f"state {run.state}"] += 1
        if run.state in ACTIVE:
            verdict.violated("left open", f"{run.job_name} {run.id} is {run.state}")
        elif run.id not in ran and run.state not in _LINE_OPTIONAL:
            verdict.violated("recorded, and never ran", f"{run.id} {run.state} {run.reason}")
    for omission in records.omissions:
        verdict.figures[str(omission.kind)] += omission.count
        if omission.open:
            verdict.violated(
                "left open", f"{omission.count} scheduled runs on hold of {omission.job_name}"
            )


def _check_terms(verdict: Verdict, records: Records) -> None:
    """Each claim lies within its term, made by the term's holder: nothing stale was accepted."""
    for run in records.runs.values():
        for attempt in run.attempts:
            term = records.terms.get(attempt.term)
            verdict.figures["claims"] += 1
            if (
                term is None
                or term.process != attempt.process
                or attempt.claimed_at < term.taken_at
                or (term.ended_at is not None and attempt.claimed_at > term.ended_at)
            ):
                verdict.violated("stale writes", f"{run.id}, term {attempt.term}")
        if run.protected and not records.terms[run.term].authoritative:
            verdict.violated("protected outside the gateway chain", f"{run.id} by its term")
    ordered = sorted(records.terms.values(), key=lambda term: term.term)
    for earlier, later in itertools.pairwise(ordered):
        if earlier.ended_at is None or earlier.ended_at > later.taken_at:
            verdict.violated("two owners", f"terms {earlier.term} and {later.term}")


def _check_fires(verdict: Verdict, job: str, records: Records) -> None:
    """Every instant of the job's schedules is one run or one omission."""
    runs = Counter(
        r.fire_time for r in records.runs.values() if r.job == job and r.cause is not Cause.REQUEST
    )
    from_hold = {r.fire_time for r in records.runs.values() if r.job == job and r.cause in _HELD}
    omissions = [o for o in records.omissions if o.job == job]
    for fire in _expected(records.revisions[job], *records.spans[job]):
        verdict.figures["due"] += 1
        left_out = [o for o in omissions if o.first <= fire <= o.last]
        resolved = fire in from_hold and [o.kind for o in left_out] == [OmissionKind.HELD]
        if runs[fire] + len(left_out) == 0:
            verdict.violated("not accounted for", f"the run scheduled for {fire} of {job}")
        elif runs[fire] > 1 or (runs[fire] + len(left_out) > 1 and not resolved):
            kinds = [str(o.kind) for o in left_out]
            verdict.violated("accounted for twice", f"{fire} of {job}: {runs[fire]} runs, {kinds}")


_HELD = frozenset({Cause.HELD, Cause.CATCH_UP, Cause.SCHEDULE})


def _expected(
    revisions: tuple[Revision, ...], after: datetime, until: datetime
) -> Iterator[datetime]:
    """The instants of the intervals, counted from their anchors, under the revision then valid."""
    ordered = sorted(revisions, key=lambda revision: revision.revision)
    for revision, following in zip(ordered, [*ordered[1:], None], strict=True):
        schedule = revision.definition.schedule
        low = max(after, revision.valid_after)
        high = until if following is None else min(until, following.valid_after)
        if schedule.kind is not ScheduleKind.EVERY:
            continue
        assert schedule.anchor is not None
        assert schedule.interval is not None
        step = (low - schedule.anchor) // schedule.interval + 1
        while (fire := schedule.anchor + step * schedule.interval) <= high:
            if fire > low:
                yield fire
            step += 1
