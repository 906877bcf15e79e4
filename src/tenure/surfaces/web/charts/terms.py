"""The history of ownership: the owner of each term, and the times without one."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tenure.domain.schedule.zones import load_zone
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import svg
from tenure.surfaces.web.charts.day import Holding
from tenure.surfaces.web.charts.svg import ChartWindow

HEIGHT = 34


def history(parts: Sequence[Holding], window: ChartWindow, zone: str) -> Markup:
    """``parts`` cut to the window, oldest first, with the gaps between them."""
    drawn = []
    for part in parts:
        x, width = window.at(part.start), window.width(part.start, part.end, 0.3)
        css = "seg" if part.authoritative else "seg fallback"
        css = css if part.who else "seg vacant"
        drawn.append(svg.rect(x, width, 2, HEIGHT - 4, css, describe(part, window, zone)))
        label = f"{part.term}" if part.who else ""
        if label and width > 2:
            drawn.append(svg.text(x + width / 2, 21, label, anchor="middle", css="in"))
    summary = ". ".join(describe(part, window, zone) for part in parts)
    return svg.picture("terms", HEIGHT, "Terms", summary, drawn)


def describe(part: Holding, window: ChartWindow, zone: str) -> str:
    first = words.day_and_time(part.start, zone, window.end)
    last = words.day_and_time(part.end, zone, window.end)
    who = f"Term {part.term}, {part.who}" if part.who else "No owner"
    return f"{who}: {first} to {last}, {words.span(part.end - part.start)}"


def axis(window: ChartWindow, zone: str) -> Markup:
    """Where the window begins, its middle and its end."""
    there = load_zone(zone)
    parts = []
    for part, anchor in ((0, "start"), (50, "middle"), (100, "end")):
        at = (window.start + (window.end - window.start) * part / 100).astimezone(there)
        label = "now" if part == 100 else f"{at:%a} {at.day} {at:%b} {at:%H:%M}"
        parts.append(svg.text(part, 12, label, anchor=anchor))
    return Markup('<svg class="axis" height="16" aria-hidden="true">{}</svg>').format(
        Markup().join(parts)
    )
