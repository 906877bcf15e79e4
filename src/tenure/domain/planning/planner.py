"""The planner: what an owner does about one job that is due. Pure, given ``now``.

For a job with watermark *w* the pending fires are those in (*w*, now]. Each of them ends in the
plan as a claim or in a stretch of omissions (C5); none is left out and none is taken twice. The
plan moves the watermark, and the store carries it out in the claim's own transaction, only if
job, revision and watermark are still what the planner saw (C12).

In the order in which they are asked:

1. *May this owner run it?* A protected job under an owner that is not authoritative, or whose
   probe is denied: all pending fires are held (C8).
2. *Is the previous run active?* Overlap: skip records, queue and cancel wait for its end. Only
   fires that would run by 3 and 4 wait, and only for them is the previous run cancelled.
3. *Is the latest pending fire within grace?* It runs; older ones are missed, superseded.
4. *Catch-up.* none: missed. latest: the latest runs, within the window. all: each within the
   window, oldest first, as slots allow; unless overlap allows more, in turn, and none is cancelled
   for the next. Catch-up runs are spread by a budget, each a place, so that a machine that wakes
   does not start everything at once (C13).

Held fires of a job are reconsidered with its pending ones as soon as the owner may run it. One
that is still within its grace then is no misfire, and runs whatever the catch-up.

Times are UTC. A job's jitter is a fixed delay: fire *f* is due at *f* + jitter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from tenure.domain.job import CatchUp, Definition, Overlap, jitter_of
from tenure.domain.omission import FireRange, Omission, OmissionKind
from tenure.domain.planning.catch_up import CatchUpBudget
from tenure.domain.planning.plan import Due, Fire, HoldResolution, OwnerCapabilities, Plan
from tenure.domain.run import Cause

DEFAULT_ALL_WINDOW = timedelta(days=1)
SUPERSEDED = "superseded by a later scheduled run"
_INSTANT = timedelta(microseconds=1)


@dataclass(slots=True)
class _Draft:
    """A plan being written."""

    due: Due
    watermark: datetime
    claims: list[Fire] = field(default_factory=list)
    omissions: list[FireRange] = field(default_factory=list)
    holds: list[HoldResolution] = field(default_factory=list)

    def omit(self, kind: OmissionKind, after: datetime, until: datetime, reason: str) -> None:
        """Account for every fire in (after, until] as one stretch."""
        schedule = self.due.job.definition.schedule
        count = schedule.count(after, until)
        if not count:
            return
        first, last = schedule.next_after(after), schedule.latest(after, until)
        assert first is not None
        assert last is not None
        self.omissions.append(
            FireRange(kind=kind, first=first, last=last, count=count, reason=reason)
        )

    def supersede(self, latest: datetime) -> None:
        """Account for all pending fires before the latest, which is left."""
        self.omit(OmissionKind.MISSED, self.watermark, latest - _INSTANT, SUPERSEDED)
        self.watermark = max(self.watermark, latest - _INSTANT)

    def _held_fires_remain(self) -> bool:
        closed = {h.omission for h in self.holds if h.settled_until is None}
        return any(o.kind is OmissionKind.HELD for o in self.omissions) or any(
            h.id not in closed for h in self.due.holds
        )

    def miss_holds(self, reason: str) -> None:
        self.holds.extend(
            HoldResolution(omission=h.id, claimed=0, missed_reason=reason) for h in self.due.holds
        )

    def finish(self, *, again: datetime | None = None, **flags: bool) -> Plan:
        """``again`` overrides when to look next; by default the next fire plus jitter."""
        job = self.due.job
        upcoming = job.definition.schedule.next_after(self.watermark)
        waits = again is not None or flags.get("waiting", False)
        over = job.definition.schedule.is_over(self.watermark)
        done = over and not waits and not self._held_fires_remain()
        due_at = again
        if due_at is None and upcoming is not None and not flags.get("waiting", False):
            due_at = upcoming + jitter_of(job.id, job.definition.jitter)
        return Plan(
            job=job.id,
            revision=job.revision,
            was=job.watermark,
            watermark=self.watermark,
            due_at=due_at,
            claims=tuple(self.claims),
            omissions=tuple(self.omissions),
            holds=tuple(self.holds),
            done=done,
            **flags,
        )


def plan(
    due: Due, now: datetime, standing: OwnerCapabilities, slots: int, budget: CatchUpBudget
) -> Plan:
    """Decide about one job. ``slots`` (at least 1) bounds how many fires it may claim now."""
    job = due.job
    draft = _Draft(due=due, watermark=job.watermark)
    until = now - jitter_of(job.id, job.definition.jitter)
    latest = job.definition.schedule.latest(job.watermark, until)
    why_held = standing.why_held(job)
    if why_held is not None:
        if latest is not None:
            draft.omit(OmissionKind.HELD, job.watermark, latest, why_held)
            draft.watermark = latest
        return draft.finish()
    if latest is None and not due.holds:
        return draft.finish()
    if due.active and job.definition.overlap is not Overlap.ALLOW:
        return _overlapping(draft, latest, until)
    if job.definition.catching_up is CatchUp.ALL:
        return _catch_up_all(draft, until, slots, now, budget)
    waits = job.definition.overlap in (Overlap.QUEUE, Overlap.CANCEL)
    if job.waiting and waits and latest is not None:
        return _was_waiting(draft, latest)
    return _latest_only(draft, latest, until, now, budget)


def _overlapping(draft: _Draft, latest: datetime | None, until: datetime) -> Plan:
    """The previous run is active: skip, or wait for its end (which wakes the job)."""
    definition = draft.due.job.definition
    if latest is None:
        # Only held fires are pending. The next fire settles them too, if there is one.
        more = definition.schedule.next_after(draft.watermark) is not None
        return draft.finish(waiting=not more or definition.overlap is not Overlap.SKIP)
    if definition.catching_up is CatchUp.ALL:
        return draft.finish(waiting=True)
    if definition.overlap is Overlap.SKIP:
        draft.omit(
            OmissionKind.SKIPPED, draft.watermark, latest, "the previous run was still active"
        )
        draft.watermark = latest
        return draft.finish()
    if not draft.due.job.waiting:
        if not _wanted(definition, until - latest):
            why = _too_late(definition.catching_up)
            draft.omit(OmissionKind.MISSED, draft.watermark, latest, why)
            draft.watermark = latest
            return draft.finish()
        draft.supersede(latest)
    return draft.finish(waiting=True, cancel_previous=definition.overlap is Overlap.CANCEL)


def _was_waiting(draft: _Draft, latest: datetime) -> Plan:
    """The run that a fire waited for has ended. Waiting is no misfire: grace does not apply.

    With ``queue`` the first that waited runs, those between it and the latest are skipped, and
    the latest takes its place in the queue. With ``cancel`` the latest runs.
    """
    job = draft.due.job
    schedule = job.definition.schedule
    draft.miss_holds(SUPERSEDED)
    if job.definition.overlap is Overlap.CANCEL:
        draft.omit(
            OmissionKind.SKIPPED,
            draft.watermark,
            latest - _INSTANT,
            "a later scheduled run took its place",
        )
        draft.claims.append(Fire(at=latest, cause=Cause.SCHEDULE))
        draft.watermark = latest
        return draft.finish()
    first = schedule.next_after(draft.watermark)
    assert first is not None
    draft.claims.append(Fire(at=first, cause=Cause.SCHEDULE))
    draft.watermark = first
    if first < latest:
        draft.omit(
            OmissionKind.SKIPPED,
            first,
            latest - _INSTANT,
            "another scheduled run was already queued",
        )
        draft.watermark = max(first, latest - _INSTANT)
    return draft.finish(waiting=first < latest)


def _latest_only(
    draft: _Draft, latest: datetime | None, until: datetime, now: datetime, budget: CatchUpBudget
) -> Plan:
    """At most one fire runs: the latest pending one, else the latest held one."""
    definition = draft.due.job.definition
    held = draft.due.holds[-1] if draft.due.holds else None
    fire = latest if latest is not None else held.last if held else None
    assert fire is not None
    late = until - fire
    on_time = late <= definition.grace
    runs = _wanted(definition, late) and (latest is not None or _same_revision(draft.due, held))
    if runs and not on_time and not draft.due.job.deferred:
        delay = budget.delay(now)
        if delay:
            return draft.finish(again=now + delay, deferred=True)
    if latest is None:
        assert held is not None
        _resolve_held(draft, held, runs)
        return draft.finish()
    draft.miss_holds(SUPERSEDED if runs else _too_late(definition.catching_up))
    if runs:
        draft.supersede(latest)
        cause = Cause.SCHEDULE if on_time else Cause.CATCH_UP
        draft.claims.append(Fire(at=latest, cause=cause))
    else:
        draft.omit(OmissionKind.MISSED, draft.watermark, latest, _too_late(definition.catching_up))
    draft.watermark = latest
    return draft.finish()


def _resolve_held(draft: _Draft, latest: Omission, runs: bool) -> None:
    """Only held fires are left: the last of them runs, or none does."""
    if runs:
        reason = SUPERSEDED
    elif _same_revision(draft.due, latest):
        reason = _too_late(draft.due.job.definition.catching_up)
    else:
        reason = "the job was revised meanwhile"
    for hold in draft.due.holds:
        claimed = int(runs and hold is latest)
        draft.holds.append(HoldResolution(omission=hold.id, claimed=claimed, missed_reason=reason))
    if runs:
        draft.claims.append(Fire(at=latest.last, cause=Cause.HELD, hold=latest.id))


def _catch_up_all(
    draft: _Draft, until: datetime, slots: int, now: datetime, budget: CatchUpBudget
) -> Plan:
    """Every fire within the window runs, oldest first; one at a time unless overlap allows."""
    job = draft.due.job
    definition = job.definition
    edge = until - (definition.window or DEFAULT_ALL_WINDOW) - _INSTANT
    room = slots if definition.overlap is Overlap.ALLOW else 1
    reason = f"older than the catch-up window of {definition.window or DEFAULT_ALL_WINDOW}"
    fires = list(islice(_candidates(draft, edge, until), room + 1))
    taken, delay = _take(fires[:room], draft, until, now, budget)
    _resolve_holds_of_all(draft, taken, edge, reason)
    ahead = [f.at for f in taken if f.hold is None]
    draft.omit(OmissionKind.MISSED, draft.watermark, max(edge, draft.watermark), reason)
    draft.claims.extend(taken)
    draft.watermark = max([draft.watermark, edge, *ahead])
    if delay:
        return draft.finish(again=now + delay, deferred=True)
    return draft.finish(again=now if len(fires) > room else None)


def _take(
    fires: list[Fire], draft: _Draft, until: datetime, now: datetime, budget: CatchUpBudget
) -> tuple[list[Fire], timedelta]:
    """As many of the fires as the budget has places for at once; then how long to wait."""
    definition = draft.due.job.definition
    for index, fire in enumerate(fires):
        has_place = draft.due.job.deferred and index == 0
        if until - fire.at > definition.grace and not has_place:
            delay = budget.delay(now)
            if delay:
                return fires[:index], delay
    return fires, timedelta(0)


def _candidates(draft: _Draft, edge: datetime, until: datetime) -> Iterator[Fire]:
    schedule = draft.due.job.definition.schedule
    for hold in draft.due.holds:
        if not _same_revision(draft.due, hold):
            continue
        after = max(hold.settled_until or hold.first - _INSTANT, edge)
        for at in schedule.fires(after, hold.last):
            yield Fire(at=at, cause=Cause.HELD, hold=hold.id)
    for at in schedule.fires(max(draft.watermark, edge), until):
        late = until - at > draft.due.job.definition.grace
        yield Fire(at=at, cause=Cause.CATCH_UP if late else Cause.SCHEDULE)


def _resolve_holds_of_all(draft: _Draft, taken: list[Fire], edge: datetime, reason: str) -> None:
    """A held stretch that is not taken to its end stays open for the rest."""
    for hold in draft.due.holds:
        mine = [fire.at for fire in taken if fire.hold == hold.id]
        revised = not _same_revision(draft.due, hold)
        settled = max([edge, *mine])
        if not mine and not revised and settled < hold.first:
            continue
        closes = revised or settled >= hold.last
        draft.holds.append(
            HoldResolution(
                omission=hold.id,
                claimed=len(mine),
                missed_reason="the job was revised meanwhile" if revised else reason,
                settled_until=None if closes else settled,
            )
        )


def _wanted(wants: Definition, late: timedelta) -> bool:
    """Whether the latest fire runs: it is within grace, or catch-up asks for it."""
    if late <= wants.grace:
        return True
    in_window = wants.window is None or late <= wants.window
    return wants.catching_up is CatchUp.LATEST and in_window


def _same_revision(due: Due, hold: Omission | None) -> bool:
    return hold is not None and hold.revision == due.job.revision


def _too_late(catch_up: CatchUp) -> str:
    if catch_up is CatchUp.NONE:
        return "not run within its grace period, and its catch-up is 'none'"
    return "not run within its grace period and catch-up window"
