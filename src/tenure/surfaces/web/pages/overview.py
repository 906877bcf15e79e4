"""The overview: who owns and why, what is wrong, what ran in the last day, what comes next."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from tenure.client.presence import Present
from tenure.client.status import Status
from tenure.domain.job import Job
from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.ownership import HolderLife
from tenure.domain.run import ACTIVE, Run, RunState
from tenure.domain.warnings import ProfileWarning
from tenure.runtime.profile import Profile
from tenure.store.contract import Page, RunFilter
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import day, strip, svg
from tenure.surfaces.web.charts.svg import ChartWindow
from tenure.surfaces.web.deps import ProfileDep
from tenure.surfaces.web.pages import lookups, ownership
from tenure.surfaces.web.pages.render import Frame, back_to, frame, page
from tenure.surfaces.web.reports import status_of

router = APIRouter()
DAY = timedelta(hours=24)
MAX_RUNS = 3000
MOST_LANES = 14
MOST_JOBS = 200
ALL_DAY = 24
"""A job with more fires than this in a day is named as one that fires all day."""
NEXT = 6
_DEAD = re.compile(r": the owner \(pid \d+\) is dead; ")
"""What the heading of its warning has said."""


@router.get("/p/{profile}")
def slashed(profile: str) -> RedirectResponse:
    return back_to(f"/p/{profile}/")


@router.get("/p/{profile}/")
def overview(profile: ProfileDep, request: Request) -> HTMLResponse:
    around = frame(request, profile)
    status = status_of(profile, around.now, upcoming=MOST_JOBS)
    last = last_day(around)
    return page(
        request,
        "overview.html",
        around,
        section="overview",
        live="jobs runs owner requests",
        status=status,
        warnings=drop_repeated_reasons(status.warnings),
        owner=_owner(status),
        processes=processes(status),
        last=last,
        coming=coming(profile, status.upcoming, around),
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
    found = [*status.health.present, *alive]
    return sorted(found, key=lambda p: (order[p.process.standing], p.process.joined_at))


# -- the last day ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One lane, ready for the page."""

    id: str
    name: str
    picture: Markup
    summary: str
    bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDay:
    """The timeline and its figures."""

    band: Markup
    lanes: Sequence[Drawn]
    axis: Markup
    more: int
    more_bad: int
    """Of the lanes that are not drawn, how many have trouble."""
    cut: datetime | None
    """From where on runs are drawn, where there are too many for the whole day."""
    active: Sequence[Run]
    figures: dict[str, int]


def last_day(around: Frame) -> LastDay:
    """Read and draw the last 24 hours."""
    profile, now = around.profile, around.now
    window = ChartWindow(start=now - DAY, end=now)
    runs, cut = _runs(profile, window)
    active, _ = profile.store.runs(RunFilter(states=ACTIVE), Page(limit=200))
    runs = _with_older(runs, active)
    omissions = _omissions(profile, window)
    lanes = _lanes(runs, omissions)
    name = lookups.named(profile)
    drawing = day.LaneContext(
        window=window,
        zone=around.zone,
        holdings=day.holdings_in(window, lookups.holdings(profile, now, around.health)),
        run_url=lambda run: f"/p/{profile.name}/runs/{run.id}",
        by=lambda run: name(run.process),
    )
    drawn = [
        Drawn(
            id=lane.id,
            name=lane.name,
            picture=day.lane(number, lane, drawing),
            summary=day.summary(lane),
            bad=_trouble(lane) > 0,
        )
        for number, lane in enumerate(lanes[:MOST_LANES])
    ]
    return LastDay(
        band=day.band(drawing),
        lanes=drawn,
        axis=svg.axis(window, around.zone),
        more=max(0, len(lanes) - MOST_LANES),
        more_bad=sum(_trouble(lane) > 0 for lane in lanes[MOST_LANES:]),
        cut=cut,
        active=active,
        figures=_figures(runs, omissions),
    )


def _runs(profile: Profile, window: ChartWindow) -> tuple[list[Run], datetime | None]:
    found: list[Run] = []
    cursor: str | None = None
    while len(found) < MAX_RUNS:
        part, cursor = profile.store.runs(
            RunFilter(since=window.start), Page(limit=1000, cursor=cursor)
        )
        found += part
        if cursor is None:
            return found, None
    return found, found[-1].claimed_at


def _with_older(runs: list[Run], active: Iterable[Run]) -> list[Run]:
    """Runs that began before the window and still go on belong to it too."""
    known = {run.id for run in runs}
    return runs + [run for run in active if run.id not in known]


def _omissions(profile: Profile, window: ChartWindow) -> list[Omission]:
    latest, _ = profile.store.omissions(since=window.start, page=Page(limit=500))
    held, _ = profile.store.omissions(only_open=True, page=Page(limit=200))
    found = {o.id: o for o in (*latest, *held)}.values()
    return [o for o in found if o.last >= window.start and o.first <= window.end]


def _lanes(runs: Sequence[Run], omissions: Sequence[Omission]) -> list[day.Lane]:
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
    found = [
        day.Lane(id=id, name=name, runs=by_job[id], omissions=gaps[id])
        for id, name in names.items()
    ]
    return sorted(found, key=lambda lane: (-_trouble(lane), lane.name))


def _trouble(lane: day.Lane) -> int:
    bad = any(words.TONES[run.state] in ("bad", "warn") for run in lane.runs)
    gap = any(o.kind is not OmissionKind.SKIPPED for o in lane.omissions)
    return int(bad or gap)


def _figures(runs: Sequence[Run], omissions: Sequence[Omission]) -> dict[str, int]:
    return {
        "succeeded": sum(run.state is RunState.SUCCEEDED for run in runs),
        "bad": sum(words.TONES[run.state] in ("bad", "warn") for run in runs),
        "missed": sum(o.count for o in omissions if o.kind is OmissionKind.MISSED),
        "held": sum(o.count for o in omissions if o.open),
    }


# -- the next day ----------------------------------------------------------------------------------


def coming(profile: Profile, jobs: Sequence[Job], around: Frame) -> dict[str, Any]:
    """What fires within a day: the strip, the very next few, and who fires all day."""
    window = ChartWindow(start=around.now, end=around.now + DAY)
    steady: list[Job] = []
    drawn: list[list[strip.Coming]] = []
    for job in jobs:
        begin = max(around.now, job.watermark)
        count = job.definition.schedule.count(begin, window.end)
        if count > ALL_DAY:
            steady.append(job)
        fires = islice(job.definition.schedule.fires(begin, window.end), min(count, ALL_DAY))
        drawn.append([_coming(job, fire) for fire in fires])
    names = {job.id for job in steady}
    everything = list(merge(*drawn, key=lambda fire: fire.at))
    seldom = [fire for fire in everything if fire.job not in names]
    return {
        "strip": strip.strip(seldom, window, around.zone),
        "axis": svg.axis(window, around.zone),
        "next": _first_of_each(everything)[:NEXT],
        "steady": steady,
        "fires": len(seldom),
        "elsewhere": _elsewhere(profile, around),
    }


def _first_of_each(fires: Sequence[strip.Coming]) -> list[strip.Coming]:
    first: dict[str, strip.Coming] = {}
    for fire in fires:
        first.setdefault(fire.job, fire)
    return list(first.values())


def _coming(job: Job, fire: datetime) -> strip.Coming:
    protected = job.definition.needs_authority
    return strip.Coming(at=fire, job=job.id, name=job.name, protected=protected)


def _elsewhere(profile: Profile, around: Frame) -> list[str]:
    """Names of jobs whose fires another scheduler decides."""
    found, _ = profile.store.jobs(page=Page(limit=MOST_JOBS))
    return [job.name for job in found if words.decided_elsewhere(job)]
