"""The overview: who owns and why, what is wrong, what ran in the last day, what comes next."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse

from tenure.client.presence import Present
from tenure.client.status import Status
from tenure.domain.job import Job
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import HolderLife
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import charts, svg, words
from tenure.surfaces.web.pages import ownership
from tenure.surfaces.web.pages.render import ProfileView, ViewDep, back_to
from tenure.surfaces.web.svg import ChartWindow

router = APIRouter()
DAY = timedelta(hours=24)
MAX_RUNS = 3000
MOST_LANES = 14
MOST_JOBS = 200
ALL_DAY = 24
"""A job with more scheduled runs than this in a day is named as one that runs all day."""
NEXT = 6
_DEAD = re.compile(r": the owner \(pid \d+\) is dead; ")
"""What the heading of its warning has said."""


@router.get("/p/{profile}")
def slashed(profile: str) -> RedirectResponse:
    return back_to(f"/p/{profile}/")


@router.get("/p/{profile}/")
def overview(view: ViewDep) -> HTMLResponse:
    status = view.status(upcoming=MOST_JOBS)
    return view.page(
        "overview.html",
        section="overview",
        live="jobs runs owner requests",
        status=status,
        warnings=drop_repeated_reasons(status.warnings),
        owner=_owner(status),
        processes=processes(status),
        last=last_day(view),
        coming=coming(view, status.upcoming),
        patterns=svg.PATTERNS,
    )


def drop_repeated_reasons(warnings: Iterable[ProfileWarning]) -> list[ProfileWarning]:
    """The warnings; those about the owner without reasons that another warning has."""
    found = list(warnings)
    whys = [w.text.partition(" refused: ")[2] for w in found if w.code == "refused_executor"]

    def shorter(warning: ProfileWarning) -> ProfileWarning:
        text = warning.text
        for why in whys:
            text = text.replace(f" refused: {why}", " refused")
        if warning.code == "owner_dead":
            text = _DEAD.sub(": ", text, count=1)
        return replace(warning, text=text)

    return [shorter(w) if w.code in ("no_owner", "owner_dead") else w for w in found]


# -- the owner -------------------------------------------------------------------------------------


def _owner(status: Status) -> dict[str, Any] | None:
    """The owner's chain, or that of the one who died last."""
    present = status.health.owner
    if present is None:
        return None
    dead = present.life is HolderLife.DEAD
    return {
        "process": present.process,
        "chain": ownership.chain(present.process, dead=dead),
        "facts": ownership.facts(present.process.evidence),
        "dead": dead,
    }


def processes(status: Status) -> list[Present]:
    """Every scheduler-capable process and every observer, the owner first."""
    alive = [Present(process=p, life=HolderLife.ALIVE) for p in status.foreign]
    order = {"owner": 0, "foreign": 1, "candidate": 2, "refused": 3, "observer": 4}
    present = [*status.health.present, *alive]
    return sorted(present, key=lambda p: (order[p.process.standing], p.process.joined_at))


# -- the last day ----------------------------------------------------------------------------------


def last_day(view: ProfileView) -> dict[str, Any]:
    """Read and draw the last 24 hours."""
    profile, now = view.profile, view.now
    window = ChartWindow(start=now - DAY, end=now)
    runs, cut = _runs(profile, window)
    active, _ = profile.store.runs(RunFilter(states=ACTIVE), Page(limit=200))
    # Runs that began before the window and still go on belong to it too.
    known = {run.id for run in runs}
    runs += [run for run in active if run.id not in known]
    omissions = _omissions(profile, window)
    lanes = _lanes(runs, omissions)
    drawing = charts.LaneContext(
        window=window,
        zone=view.zone,
        holdings=charts.holdings_in(window, ownership.holdings(profile, now, view.health)),
        run_url=lambda run: view.url(f"/runs/{run.id}"),
        by=lambda run: view.named(run.process),
    )
    shown, more = lanes[:MOST_LANES], lanes[MOST_LANES:]
    return {
        "band": charts.band(drawing),
        "lanes": [
            {
                "job": lane,
                "picture": charts.lane(number, lane, drawing),
                "summary": charts.summary(lane),
                "bad": _trouble(lane),
            }
            for number, lane in enumerate(shown)
        ],
        "axis": svg.axis(window, view.zone),
        "more": len(more),
        "more_bad": sum(map(_trouble, more)),
        "cut": cut,
        "active": active,
        "figures": {
            "succeeded": sum(run.state is RunState.SUCCEEDED for run in runs),
            "bad": sum(words.TONES[run.state] in ("bad", "warn") for run in runs),
            "missed": sum(o.count for o in omissions if o.kind is OmissionKind.MISSED),
            "held": sum(o.count for o in omissions if o.open),
        },
    }


def _runs(profile: Profile, window: ChartWindow) -> tuple[list[Run], datetime | None]:
    """The runs of the window; and from where on, if there are too many to draw all."""
    runs: list[Run] = []
    cursor: str | None = None
    where = RunFilter(since=window.start)
    while len(runs) < MAX_RUNS:
        part, cursor = profile.store.runs(where, Page(limit=1000, cursor=cursor))
        runs += part
        if cursor is None:
            return runs, None
    return runs, runs[-1].claimed_at


def _omissions(profile: Profile, window: ChartWindow) -> list[Omission]:
    latest, _ = profile.store.omissions(since=window.start, page=Page(limit=500))
    held, _ = profile.store.omissions(only_open=True, page=Page(limit=200))
    omissions = {o.id: o for o in (*latest, *held)}.values()
    return [o for o in omissions if o.last >= window.start and o.first <= window.end]


def _lanes(runs: Sequence[Run], omissions: Sequence[Omission]) -> list[charts.Lane]:
    """A lane a job, those with trouble first, then by name."""
    by_job: dict[str, list[Run]] = defaultdict(list)
    gaps: dict[str, list[Omission]] = defaultdict(list)
    names: dict[str, str] = {}
    for omission in omissions:
        gaps[omission.job].append(omission)
        names[omission.job] = omission.job_name
    for run in reversed(runs):
        names[run.job] = run.job_name
    for run in runs:
        by_job[run.job].append(run)
    lanes = [
        charts.Lane(id=id, name=name, runs=by_job[id], omissions=gaps[id])
        for id, name in names.items()
    ]
    return sorted(lanes, key=lambda lane: (not _trouble(lane), lane.name))


def _trouble(lane: charts.Lane) -> bool:
    return any(words.TONES[run.state] in ("bad", "warn") for run in lane.runs) or any(
        omission.kind is not OmissionKind.SKIPPED for omission in lane.omissions
    )


# -- the next day ----------------------------------------------------------------------------------


def coming(view: ProfileView, jobs: Sequence[Job]) -> dict[str, Any]:
    """What runs within a day: the strip, the very next few, and what runs all day."""
    window = ChartWindow(start=view.now, end=view.now + DAY)
    steady: list[Job] = []
    drawn: list[list[charts.Coming]] = []
    for job in jobs:
        begin = max(view.now, job.watermark)
        count = job.definition.schedule.count(begin, window.end)
        if count > ALL_DAY:
            steady.append(job)
        fires = islice(job.definition.schedule.fires(begin, window.end), min(count, ALL_DAY))
        protected = job.definition.needs_authority
        drawn.append(
            [charts.Coming(at=at, job=job.id, name=job.name, protected=protected) for at in fires]
        )
    listed, _ = view.profile.store.jobs(page=Page(limit=MOST_JOBS))
    names = {job.id for job in steady}
    everything = list(merge(*drawn, key=lambda fire: fire.at))
    # Reversed, so that the earliest of each job is the one that stays.
    first = {fire.job: fire for fire in reversed(everything)}
    seldom = [fire for fire in everything if fire.job not in names]
    return {
        "strip": charts.strip(seldom, window, view.zone),
        "axis": svg.axis(window, view.zone),
        "next": sorted(first.values(), key=lambda fire: fire.at)[:NEXT],
        "steady": steady,
        "fires": len(seldom),
        "elsewhere": [job.name for job in listed if words.decided_elsewhere(job)],
    }
