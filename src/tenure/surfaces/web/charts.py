"""Pictures drawn by the server: SVG that needs no script and stretches to any width.

Positions are percentages of the width and heights are pixels, so that marks keep their shape on a
phone as on a wall. Colours come from classes of the stylesheet, and no colour stands alone: each
outcome has a shape of its own, each picture a title and words beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from markupsafe import Markup

from tenure.domain.omission import Omission, OmissionKind
from tenure.domain.run import Run, RunState
from tenure.domain.schedule.zones import load_zone
from tenure.surfaces.web import svg, words
from tenure.surfaces.web.svg import ChartWindow

# -- the last day: a lane for each job, below the owners of that time ------------------------------

LANE_HEIGHT = 22
MIDDLE = LANE_HEIGHT / 2
MOST_DOTS = 40
"""More good runs than this in a lane become bars."""
MOST_MARKS = 24
"""The latest bad or active runs of a lane, which are links."""
BINS = 96
"""Of a lane's width, for bars: a quarter of an hour each."""
SHORT = {RunState.SUCCEEDED: "ok", RunState.RETRYING: "to be retried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An owner's time; a time without an owner if ``who`` is None."""

    start: datetime
    end: datetime
    who: str | None
    term: int = 0
    authoritative: bool = False

    @property
    def css(self) -> str:
        if self.who is None:
            return "seg vacant"
        return "seg" if self.authoritative else "seg fallback"


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
    parts = [svg.grid(frame.window, frame.zone, LANE_HEIGHT)]
    for number, part in enumerate(frame.holdings):
        x, width = frame.window.at(part.start), frame.window.width(part.start, part.end, 0.3)
        parts.append(svg.rect(x, width, 2, LANE_HEIGHT - 4, part.css, _held(part, frame)))
        parts += _labels(part, x + width / 2, width)
        if number:
            parts.append(svg.line(x, LANE_HEIGHT, "turn"))
    summary = ". ".join(_held(part, frame) for part in frame.holdings)
    return svg.picture("who", LANE_HEIGHT, "Owner", summary, parts)


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
    window, taken = frame.window, [part.start for part in frame.holdings[1:]]
    parts = [svg.rect(0, 100, MIDDLE - 1, 2, "base"), svg.grid(window, frame.zone, LANE_HEIGHT)]
    parts += [svg.line(window.at(start), LANE_HEIGHT, "turn") for start in taken]
    parts += [_gap(omission, frame) for omission in each.omissions]
    good = [run for run in each.runs if run.state is RunState.SUCCEEDED]
    parts += _bars(good, frame) if len(good) > MOST_DOTS else _dots(good, frame)
    rest = [run for run in each.runs if run.state is not RunState.SUCCEEDED]
    parts += [_mark(run, frame) for run in reversed(rest[:MOST_MARKS])]
    title = f"{each.name}, the last 24 hours"
    return svg.picture(f"lane{number}", LANE_HEIGHT, title, summary(each), parts)


def summary(each: Lane) -> str:
    """``23 ok, 1 failed, 2 held``: how often what happened."""
    states = Counter(run.state for run in each.runs)
    order = [RunState.SUCCEEDED, *(s for s in RunState if s is not RunState.SUCCEEDED)]
    counts = [f"{states[s]} {SHORT.get(s, words.RUN_STATES[s])}" for s in order if states[s]]
    for kind in (OmissionKind.HELD, OmissionKind.MISSED, OmissionKind.SKIPPED):
        count = sum(o.count for o in each.omissions if o.kind is kind)
        if count:
            counts.append(f"{count} {kind}")
    return ", ".join(counts) or "nothing was due"


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
    holdings: list[Holding] = []
    at = window.start
    for term in terms:
        start, end = max(term.start, window.start), min(term.end, window.end)
        if end <= window.start or start >= window.end:
            continue
        if start - at > timedelta(seconds=2):
            holdings.append(Holding(start=at, end=start, who=None))
        holdings.append(replace(term, start=start, end=end))
        at = max(at, end)
    if window.end - at > timedelta(seconds=2):
        holdings.append(Holding(start=at, end=window.end, who=None))
    return holdings


# -- the terms -------------------------------------------------------------------------------------
TERMS_HEIGHT = 34


def terms(parts: Sequence[Holding], window: ChartWindow, zone: str) -> Markup:
    """``parts`` cut to the window, oldest first, with the gaps between them."""
    drawn = []
    for part in parts:
        x, width = window.at(part.start), window.width(part.start, part.end, 0.3)
        title = _describe(part, window, zone)
        drawn.append(svg.rect(x, width, 2, TERMS_HEIGHT - 4, part.css, title))
        if part.who and width > 2:
            drawn.append(svg.text(x + width / 2, 21, str(part.term), anchor="middle", css="in"))
    summary = ". ".join(_describe(part, window, zone) for part in parts)
    return svg.picture("terms", TERMS_HEIGHT, "Terms", summary, drawn)


def _describe(part: Holding, window: ChartWindow, zone: str) -> str:
    first = words.day_and_time(part.start, zone, window.end)
    last = words.day_and_time(part.end, zone, window.end)
    who = f"Term {part.term}, {part.who}" if part.who else "No owner"
    return f"{who}: {first} to {last}, {words.span(part.end - part.start)}"


def terms_axis(window: ChartWindow, zone: str) -> Markup:
    """Where the window begins, its middle and its end."""
    there = load_zone(zone)
    parts = []
    for part, anchor in ((0, "start"), (50, "middle"), (100, "end")):
        at = (window.start + (window.end - window.start) * part / 100).astimezone(there)
        label = "now" if part == 100 else f"{at:%a} {at.day} {at:%b} {at:%H:%M}"
        parts.append(svg.text(part, 12, label, anchor=anchor))
    return svg.axis_of(parts)


# -- the next day: what runs, in columns of half an hour, a dot for each job -----------------------
COLUMNS = 48
TALLEST = 5
STEP = 11
STRIP_HEIGHT = TALLEST * STEP + 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """One scheduled run to come. ``at`` is UTC."""

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
    parts = [svg.grid(window, zone, STRIP_HEIGHT), svg.line(0, STRIP_HEIGHT, "now")]
    parts.append(svg.rect(0, 100, STRIP_HEIGHT - 2, 2, "base"))
    for number, jobs in sorted(columns.items()):
        parts += _column((number + 0.5) * 100 / COLUMNS, list(jobs.values()), window, zone)
    return svg.picture(
        "next", STRIP_HEIGHT, "Scheduled runs in the next 24 hours", _summary(fires, zone), parts
    )


def _column(x: float, jobs: Sequence[Coming], window: ChartWindow, zone: str) -> list[Markup]:
    parts = []
    shown = jobs if len(jobs) <= TALLEST else jobs[: TALLEST - 1]
    for level, fire in enumerate(shown):
        y = STRIP_HEIGHT - 9 - level * STEP
        title = f"{words.day_and_time(fire.at, zone, window.start)} {fire.name}"
        css = "dot protected" if fire.protected else "dot"
        parts.append(svg.circle(x, y, 4 if fire.protected else 4.5, css, title))
    if len(jobs) > len(shown):
        y = STRIP_HEIGHT - 5 - len(shown) * STEP
        parts.append(svg.text(x, y, f"+{len(jobs) - len(shown)}", anchor="middle"))
    return parts


def _summary(fires: Sequence[Coming], zone: str) -> str:
    if not fires:
        return "Nothing is due in the next 24 hours"
    jobs = len({fire.job for fire in fires})
    return f"{words.plural(len(fires), 'scheduled run')} of {words.plural(jobs, 'job')}"


# -- how long runs took: small for a list, larger for the page of a job ----------------------------
SPARK = 20
BARS_HEIGHT = 84


def spark(runs: Sequence[Run], now: datetime) -> Markup:
    """The latest runs, the newest at the right. ``runs`` newest first. Bad ones hang down."""
    shown = list(reversed(runs[:SPARK]))
    lengths = [_seconds(run, now) for run in shown]
    longest = max(lengths, default=0.0) or 1.0
    # A path each tone: a list has hundreds of them.
    bars: dict[str, str] = {}
    for number, (run, length) in enumerate(zip(shown, lengths, strict=True)):
        tone, x = words.TONES[run.state], (SPARK - len(shown) + number) * 5
        if run.state is RunState.SUCCEEDED or run.finished_at is None:
            height = max(1.5, 18 * length / longest)
            bars[tone] = bars.get(tone, "") + f"M{x} 20v-{height:.3g}h4V20"
        else:
            bars[tone] = bars.get(tone, "") + f"M{x} 14v10h4V14"
    parts = [
        Markup('<path d="{}" class="b-{}"/>').format(drawn, tone) for tone, drawn in bars.items()
    ]
    parts.append(Markup('<path d="M0 20.5H100" class="grid"/>'))
    return svg.image("spark", "0 0 100 24", _took(shown, lengths), parts)


def _took(shown: Sequence[Run], lengths: Sequence[float]) -> str:
    if not shown:
        return "no runs yet"
    low, high = (words.span(timedelta(seconds=s)) for s in (min(lengths), max(lengths)))
    bad = sum(words.TONES[run.state] in ("bad", "warn") for run in shown)
    took = f"took {low}" if low == high else f"took {low} to {high}"
    return f"the last {words.plural(len(shown), 'run')} {took}; {bad or 'none'} failed"


def durations(runs: Sequence[Run], now: datetime, run_url: Callable[[Run], str]) -> Markup:
    """Each run a bar, oldest left; those that did not end well carry a sign, and lead to it."""
    shown = list(reversed(runs))
    lengths = [_seconds(run, now) for run in shown]
    longest = max(lengths, default=0.0) or 1.0
    width = 100 / max(len(shown), 20)
    parts = [svg.rect(0, 100, BARS_HEIGHT - 1, 1, "base")]
    for number, (run, length) in enumerate(zip(shown, lengths, strict=True)):
        height = max(2.0, (BARS_HEIGHT - 20) * length / longest)
        x, tone = number * width, words.TONES[run.state]
        label, y = _label(run, now), BARS_HEIGHT - height
        if run.state is RunState.SUCCEEDED:
            parts.append(svg.rect(x, width * 0.8, y, height, "b-ok", label))
            continue
        inside = svg.rect(x, width * 0.8, y, height, f"b-{tone}")
        inside += svg.mark(str(run.state), x + width * 0.4, y - 9, 12, tone)
        parts.append(svg.link(run_url(run), label, inside))
    return svg.picture("took", BARS_HEIGHT, "How long runs took", _took(shown, lengths), parts)


def _label(run: Run, now: datetime) -> str:
    took = words.took(run, now)
    length = f" after {words.span(took)}" if took is not None else ""
    return f"{words.RUN_STATES[run.state]}{length}, {words.relative(run.claimed_at, now)}"


def _seconds(run: Run, now: datetime) -> float:
    took = words.took(run, now)
    return 0.0 if took is None else max(0.0, took.total_seconds())
