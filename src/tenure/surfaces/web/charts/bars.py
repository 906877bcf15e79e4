"""How long a job's runs took: a small picture for a list, a larger one for the job's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from markupsafe import Markup

from tenure.domain.run import Run, RunState
from tenure.surfaces.web import words
from tenure.surfaces.web.charts import svg

SPARK = 20
TALL = 84


def spark(runs: Sequence[Run], now: datetime) -> Markup:
    """The latest runs, the newest at the right. ``runs`` newest first. Bad ones hang down."""
    shown = list(reversed(runs[:SPARK]))
    lengths = [_seconds(run, now) for run in shown]
    longest = max(lengths, default=0.0) or 1.0
    bars: dict[str, str] = {}  # a path each tone: a list has hundreds of them
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
    return svg.image("spark", "0 0 100 24", _spoken(shown, lengths), parts)


def _spoken(shown: Sequence[Run], lengths: Sequence[float]) -> str:
    if not shown:
        return "no runs yet"
    from datetime import timedelta

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
    parts = [svg.rect(0, 100, TALL - 1, 1, "base")]
    for number, (run, length) in enumerate(zip(shown, lengths, strict=True)):
        height = max(2.0, (TALL - 20) * length / longest)
        x, tone = number * width, words.TONES[run.state]
        label, y = _label(run, now), TALL - height
        if run.state is RunState.SUCCEEDED:
            parts.append(svg.rect(x, width * 0.8, y, height, "b-ok", label))
            continue
        inside = svg.rect(x, width * 0.8, y, height, f"b-{tone}")
        inside += svg.mark(str(run.state), x + width * 0.4, y - 9, 12, tone)
        parts.append(svg.link(run_url(run), label, inside))
    return svg.picture("took", TALL, "How long runs took", _spoken(shown, lengths), parts)


def _label(run: Run, now: datetime) -> str:
    took = words.took(run, now)
    length = f" after {words.span(took)}" if took is not None else ""
    return f"{words.RUN_STATES[run.state]}{length}, {words.relative(run.claimed_at, now)}"


def _seconds(run: Run, now: datetime) -> float:
    took = words.took(run, now)
    return 0.0 if took is None else max(0.0, took.total_seconds())
