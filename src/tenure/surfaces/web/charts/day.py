"""The last day: a lane for each job, its runs by outcome, its fires that did not run as gaps.

Above the lanes lies a band that says who owned; a dashed line through the lanes is where that
changed, so that each run is drawn below its owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import Run, RunState
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import svg
from tenure.surfaces.web.charts.svg import ChartWindow

HEIGHT = 22
MIDDLE = HEIGHT / 2
MOST_DOTS = 40
"""More good runs than this in a lane become bars."""
MOST_MARKS = 24
"""So many bad or active runs of a lane are links; of more, the latest."""
BINS = 96
SHORT = {RunState.SUCCEEDED: "ok", RunState.RETRYING: "to be retried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An owner's time; a time without an owner if ``who`` is None."""

    start: datetime
    end: datetime
    who: str | None
    term: int = 0
    authoritative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What is known of one job in the window. Runs newest first."""

    id: str
    name: str
    runs: Sequence[Run]
    omissions: Sequence[Omission]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneContext:
    """What all lanes share. ``run_url`` makes a link, ``by`` says who ran a run."""

    window: ChartWindow
    zone: str
    holdings: Sequence[Holding]
    run_url: Callable[[Run], str]
    by: Callable[[Run], str]


def band(frame: LaneContext) -> Markup:
    """The owners as a row of segments; times without an owner are hatched."""
    parts = [svg.grid(frame.window, frame.zone, HEIGHT)]
    for number, part in enumerate(frame.holdings):
        x, width = frame.window.at(part.start), frame.window.width(part.start, part.end, 0.3)
        css = "seg" if part.authoritative else "seg fallback"
        if part.who is None:
            css = "seg vacant"
        parts.append(svg.rect(x, width, 2, HEIGHT - 4, css, _held(part, frame)))
        parts += _labels(part, x + width / 2, width)
        if number:
            parts.append(svg.line(x, HEIGHT, "turn"))
    said = ". ".join(_held(part, frame) for part in frame.holdings)
    return svg.picture("who", HEIGHT, "Owner", said, parts)


def _labels(part: Holding, middle: float, width: float) -> list[Markup]:
    """Who held it, as far as there is room; how much there is depends on the screen."""
    long = "no owner" if part.who is None else f"{part.who}, term {part.term}"
    short = "" if part.who is None else str(part.term)

    def label(words: str, css: str) -> Markup:
        return svg.text(middle, 15, words, anchor="middle", css=css)

    if width > len(long) * 2.2:
        return [label(long, "in")]
    if width > len(long) * 1.3:
        return [label(long, "in widest-only"), label(short, "in narrow-only")]
    return [label(short, "in")] if width > 3 else []


def _held(part: Holding, frame: LaneContext) -> str:
    first = words.day_and_time(part.start, frame.zone, frame.window.end)
    last = words.day_and_time(part.end, frame.zone, frame.window.end)
    if part.who is None:
        return f"No owner from {first} to {last}"
    kind = "authoritative" if part.authoritative else "not authoritative"
    return f"{part.who} owned from {first} to {last}, term {part.term}, {kind}"


def lane(number: int, each: Lane, frame: LaneContext) -> Markup:
    """One job's day."""
    parts = [svg.rect(0, 100, MIDDLE - 1, 2, "base"), svg.grid(frame.window, frame.zone, HEIGHT)]
    parts += [svg.line(frame.window.at(part.start), HEIGHT, "turn") for part in frame.holdings[1:]]
    parts += [_gap(omission, frame) for omission in each.omissions]
    good = [run for run in each.runs if run.state is RunState.SUCCEEDED]
    parts += _bars(good, frame) if len(good) > MOST_DOTS else _dots(good, frame)
    rest = [run for run in each.runs if run.state is not RunState.SUCCEEDED]
    parts += [_mark(run, frame) for run in reversed(rest[:MOST_MARKS])]
    title = f"{each.name}, the last 24 hours"
    return svg.picture(f"lane{number}", HEIGHT, title, summary(each), parts)


def summary(each: Lane) -> str:
    """``23 ok, 1 failed, 2 held``: how often what happened."""
    states = Counter(run.state for run in each.runs)
    order = [RunState.SUCCEEDED, *(s for s in RunState if s is not RunState.SUCCEEDED)]
    found = [f"{states[s]} {SHORT.get(s, words.RUN_STATES[s])}" for s in order if states[s]]
    for kind in (OmissionKind.HELD, OmissionKind.MISSED, OmissionKind.SKIPPED):
        count = sum(o.count for o in each.omissions if o.kind is kind)
        if count:
            found.append(f"{count} {words.OMITTED[kind]}")
    return ", ".join(found) or "nothing was due"


def _dots(runs: Sequence[Run], frame: LaneContext) -> list[Markup]:
    return [
        svg.circle(
            frame.window.at(run.claimed_at),
            MIDDLE,
            4.5,
            "b-ok",
            f"{_when(run, frame)} succeeded, by {frame.by(run)}",
        )
        for run in runs
    ]


def _bars(runs: Sequence[Run], frame: LaneContext) -> list[Markup]:
    """Good runs in bins; bins side by side are one bar."""
    width = (frame.window.end - frame.window.start) / BINS
    bins = Counter(int((run.claimed_at - frame.window.start) / width) for run in runs)
    found, first = [], None
    for number in range(BINS + 1):
        if number in bins and first is None:
            first = number
        elif number not in bins and first is not None:
            count = sum(bins[n] for n in range(first, number))
            title = f"{words.plural(count, 'run')} succeeded"
            x, wide = first * 100 / BINS, (number - first) * 100 / BINS
            found.append(svg.rect(x, wide, MIDDLE - 4.5, 9, "b-ok", title))
            first = None
    return found


def _mark(run: Run, frame: LaneContext) -> Markup:
    tone = words.TONES[run.state]
    shape = svg.mark(str(run.state), frame.window.at(run.claimed_at), MIDDLE, 15, tone)
    label = f"{_when(run, frame)} {words.RUN_STATES[run.state]}, by {frame.by(run)}"
    more = words.outcome(run)
    return svg.link(frame.run_url(run), f"{label}: {more}" if more else label, shape)


def _gap(omission: Omission, frame: LaneContext) -> Markup:
    window = frame.window
    first, last = max(omission.first, window.start), min(omission.last, window.end)
    x, width = window.at(first), window.width(first, last, 0.9)
    title = words.omission_words(omission, frame.zone, window.end) + f": {omission.reason}"
    if omission.kind is OmissionKind.SKIPPED:
        return svg.rect(x, width, MIDDLE - 3, 6, "gap-skipped", title)
    height = 16 if omission.kind is OmissionKind.HELD else 12
    return svg.rect(
        min(x, 100 - width), width, MIDDLE - height / 2, height, f"gap-{omission.kind}", title
    )


def _when(run: Run, frame: LaneContext) -> str:
    return words.day_and_time(run.claimed_at, frame.zone, frame.window.end)


def holdings_in(window: ChartWindow, terms: Sequence[Holding]) -> list[Holding]:
    """``terms`` (oldest first) cut to the window, with the gaps between them."""
    found: list[Holding] = []
    at = window.start
    for term in terms:
        start, end = max(term.start, window.start), min(term.end, window.end)
        if end <= window.start or start >= window.end:
            continue
        if start - at > timedelta(seconds=2):
            found.append(Holding(start=at, end=start, who=None))
        found.append(
            Holding(
                start=start, end=end, who=term.who, term=term.term, authoritative=term.authoritative
            )
        )
        at = max(at, end)
    if window.end - at > timedelta(seconds=2):
        found.append(Holding(start=at, end=window.end, who=None))
    return found
