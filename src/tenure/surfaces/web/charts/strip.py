"""The next day: what will fire, in columns of half an hour, a dot for each job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from tenure.surfaces.web import words
from tenure.surfaces.web.charts import svg
from tenure.surfaces.web.charts.svg import ChartWindow

COLUMNS = 48
TALLEST = 5
STEP = 11
HEIGHT = TALLEST * STEP + 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """One fire to come. ``at`` is UTC."""

    at: datetime
    job: str
    name: str
    protected: bool


def strip(fires: Sequence[Coming], window: ChartWindow, zone: str) -> Markup:
    """``fires`` earliest first; a protected job's dot is a ring."""
    columns: dict[int, dict[str, Coming]] = defaultdict(dict)
    width = (window.end - window.start) / COLUMNS
    for fire in fires:
        columns[int((fire.at - window.start) / width)].setdefault(fire.job, fire)
    parts = [svg.grid(window, zone, HEIGHT), svg.line(0, HEIGHT, "now")]
    parts.append(svg.rect(0, 100, HEIGHT - 2, 2, "base"))
    for number, jobs in sorted(columns.items()):
        parts += _column((number + 0.5) * 100 / COLUMNS, list(jobs.values()), window, zone)
    return svg.picture("next", HEIGHT, "Fires in the next 24 hours", _said(fires, zone), parts)


def _column(x: float, jobs: Sequence[Coming], window: ChartWindow, zone: str) -> list[Markup]:
    found = []
    shown = jobs if len(jobs) <= TALLEST else jobs[: TALLEST - 1]
    for level, fire in enumerate(shown):
        y = HEIGHT - 9 - level * STEP
        title = f"{words.day_and_time(fire.at, zone, window.start)} {fire.name}"
        css = "dot protected" if fire.protected else "dot"
        found.append(svg.circle(x, y, 4 if fire.protected else 4.5, css, title))
    if len(jobs) > len(shown):
        y = HEIGHT - 5 - len(shown) * STEP
        found.append(svg.text(x, y, f"+{len(jobs) - len(shown)}", anchor="middle"))
    return found


def _said(fires: Sequence[Coming], zone: str) -> str:
    if not fires:
        return "Nothing is due in the next 24 hours"
    jobs = len({fire.job for fire in fires})
    return f"{words.plural(len(fires), 'fire')} of {words.plural(jobs, 'job')}"
