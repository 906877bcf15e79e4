"""The few elements that the charts are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from tenure.domain.schedule.zones import load_zone
from tenure.surfaces.web.assets import addresses

ICONS = addresses()["icons.svg"]
PATTERNS = Markup(
    '<svg width="0" height="0" class="hidden" aria-hidden="true" focusable="false"><defs>'
    + "".join(
        f'<pattern id="hatch-{name}" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({turn})"><path class="hatch-{name}" d="M0 0V6" '
        f'stroke-width="{width}"/></pattern>'
        for name, turn, width in (("held", 45, 3), ("missed", -45, 2), ("none", 45, 1))
    )
    + "</defs></svg>"
)
"""The hatchings of held, missed and no owner; once on each page with charts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartWindow:
    """The stretch of time that a chart shows. Instants are UTC."""

    start: datetime
    end: datetime

    def at(self, instant: datetime) -> float:
        """Where an instant lies, in percent of the width, within its bounds."""
        part = (instant - self.start) / (self.end - self.start) * 100
        return min(max(part, 0.0), 100.0)

    def width(self, first: datetime, last: datetime, least: float = 0.0) -> float:
        return max(self.at(last) - self.at(first), least)


def percent(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{text}%"


def rect(x: float, width: float, y: float, height: float, css: str, title: str = "") -> Markup:
    """``x`` and ``width`` in percent, ``y`` and ``height`` in pixels."""
    head = Markup('<rect x="{}" width="{}" y="{:g}" height="{:g}" rx="2" class="{}"').format(
        percent(x), percent(width), y, height, css
    )
    return head + (Markup("><title>{}</title></rect>").format(title) if title else Markup("/>"))


def circle(x: float, y: float, radius: float, css: str, title: str = "") -> Markup:
    head = Markup('<circle cx="{}" cy="{:g}" r="{:g}" class="{}"').format(
        percent(x), y, radius, css
    )
    return head + (Markup("><title>{}</title></circle>").format(title) if title else Markup("/>"))


def mark(icon: str, x: float, y: float, size: float, css: str) -> Markup:
    """A symbol of the sprite, its middle at ``x`` percent and ``y`` pixels."""
    return Markup(
        '<use href="{}#{}" x="{}" y="{:g}" width="{:g}" height="{:g}" '
        'transform="translate({:g})" class="{}"/>'
    ).format(ICONS, icon, percent(x), y - size / 2, size, size, -size / 2, css)


def line(x: float, height: float, css: str) -> Markup:
    return Markup('<line x1="{0}" x2="{0}" y1="0" y2="{1:g}" class="{2}"/>').format(
        percent(x), height, css
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", css: str = "") -> Markup:
    return Markup('<text x="{}" y="{:g}" text-anchor="{}"{}>{}</text>').format(
        percent(x), y, anchor, Markup(' class="{}"').format(css) if css else "", words
    )


def link(href: str, label: str, inside: Markup) -> Markup:
    return Markup('<a href="{}" aria-label="{}"><title>{}</title>{}</a>').format(
        href, label, label, inside
    )


def picture(name: str, height: float, title: str, desc: str, parts: Iterable[Markup]) -> Markup:
    """A picture as wide as its place, described by its title and description.

    It is a group and not an image, so that links within it can be reached.
    """
    return Markup(
        '<svg class="plot" role="group" height="{h:g}" aria-labelledby="{n}-t" '
        'aria-describedby="{n}-d"><title id="{n}-t">{t}</title><desc id="{n}-d">{d}</desc>{p}</svg>'
    ).format(h=height, n=name, t=title, d=desc, p=Markup().join(parts))


def image(css: str, box: str, title: str, parts: Iterable[Markup]) -> Markup:
    """A picture without anything to follow, stretched over its box."""
    return Markup(
        '<svg class="{}" viewBox="{}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(css, box, title, title, Markup().join(parts))


def hours(window: ChartWindow, zone: str, every: int) -> list[datetime]:
    """The instants in the window whose wall clock shows a full hour that ``every`` divides."""
    there = load_zone(zone)
    local = window.start.astimezone(there).replace(minute=0, second=0, microsecond=0)
    instants = []
    instant = local.astimezone(window.start.tzinfo)
    while instant <= window.end:
        clock = instant.astimezone(there)
        if instant >= window.start and clock.hour % every == 0 and clock.minute == 0:
            instants.append(instant)
        instant += timedelta(minutes=60 if clock.minute == 0 else 60 - clock.minute)
    return instants


def axis(window: ChartWindow, zone: str) -> Markup:
    """The hours below a chart of a day; every third one only where there is room."""
    there = load_zone(zone)
    parts = []
    for instant in hours(window, zone, 3):
        clock = instant.astimezone(there)
        x = window.at(instant)
        if x < 2 or x > 98:
            continue
        words = f"{clock:%a}" if clock.hour == 0 else f"{clock:%H:%M}"
        css = "" if clock.hour % 6 == 0 else "wide-only"
        parts.append(text(x, 12, words, anchor="middle", css=css))
    return axis_of(parts)


def axis_of(labels: Iterable[Markup]) -> Markup:
    return Markup('<svg class="axis" height="16" aria-hidden="true">{}</svg>').format(
        Markup().join(labels)
    )


def grid(window: ChartWindow, zone: str, height: float) -> Markup:
    """Thin lines at every sixth hour."""
    return Markup().join(line(window.at(at), height, "grid") for at in hours(window, zone, 6))
