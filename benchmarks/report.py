"""The table, as Markdown, and the same with every sample, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import Results
from benchmarks.model import Goal, Measurement, Row

HEAD = ("What", "Measured", "Figure", "Beside", "Its figure", "Ratio", "Goal", "Met")
NAMES = {
    "tenure": "Tenure",
    "floor": "floor",
    "aps_memory": "APScheduler, memory",
    "aps_sqlite": "APScheduler, SQLite",
    "alone": "owner alone",
    "dashboard": "dashboard",
    "inside": "page in the owner",
}


def lines(measurements: Sequence[Measurement], results: Results) -> Iterator[dict[str, Any]]:
    """One a comparison: facts, not formatted."""
    for measurement in measurements:
        for row in measurement.rows:
            beside = [s for s in row.beside if s not in {g.side for g in row.goals}]
            plain = not beside and not row.goals
            for goal in row.goals:
                yield _line(measurement, row, goal.side, goal, results)
            for side in beside:
                yield _line(measurement, row, side, None, results)
            if plain:
                yield _line(measurement, row, None, None, results)


def _line(
    measurement: Measurement, row: Row, side: str | None, goal: Goal | None, results: Results
) -> dict[str, Any]:
    value = _median(results, measurement.name, row.side, row.figure)
    other = None
    if side is not None:
        name = (goal.measurement if goal else None) or measurement.name
        other = _median(results, name, side, (goal.figure if goal else None) or row.figure)
    bound = None
    if goal is not None:
        bound = goal.limit
        if goal.side is not None:
            bound = None if other is None else other * goal.factor + goal.plus
    met = None
    if goal is not None and value is not None and bound is not None:
        met = value >= bound if goal.at_least else value <= bound
    samples = results.get((measurement.name, row.side))
    return {
        "measurement": measurement.name,
        "what": row.title,
        "unit": row.unit,
        "side": row.side,
        "value": value,
        "spread": _spread(samples.values(row.figure) if samples else []),
        "beside": side,
        "beside_value": other,
        "ratio": value / other if value is not None and other else None,
        "goal": _goal_in_words(goal, row.unit),
        "bound": bound,
        "met": met,
    }


def _median(results: Results, measurement: str, side: str, figure: str) -> float | None:
    samples = results.get((measurement, side))
    return samples.median(figure) if samples else None


def _spread(values: list[float]) -> list[float]:
    return [min(values), max(values)] if values else []


def _goal_in_words(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return ""
    sign = "≥" if goal.at_least else "≤"
    if goal.side is None:
        return f"{sign} {number(goal.limit)} {unit}"
    words = NAMES.get(goal.side, goal.side)
    if goal.measurement:
        words += f" ({goal.measurement})"
    if goal.factor != 1:
        words = f"{goal.factor:g} × {words}"
    if goal.plus:
        words += f" + {goal.plus:g} {unit}"
    return f"{sign} {words}"


def markdown(
    measurements: Sequence[Measurement],
    results: Results,
    machine: dict[str, Any],
    run: dict[str, Any],
) -> str:
    """The page that ``benchmarks/results.md`` is."""
    rows = [HEAD, *(_cells(line) for line in lines(measurements, results))]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in rows
    ]
    texts.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in machine.items() if v is not None)
    errors = [
        f"- {name}, {side}: {error}"
        for (name, side), samples in results.items()
        for error in samples.errors
    ]
    about = [f"- **{m.name}**: {m.about}" for m in measurements]
    written = (
        f"Written by `make bench` ({run['scale']} sizes, {run['repeats']} repeats, "
        f"{run['seconds']:.0f} s). Medians of the repeats, in brackets the least and the most."
    )
    if run.get("kept"):
        kept = ", ".join(f"{name} ({at[:16]})" for name, at in run["kept"].items())
        written += f" Of earlier runs, each with all its sides: {kept}."
    parts = [
        "# Benchmarks",
        written,
        f"Machine: {said}.",
        "\n".join(texts),
        "How each is measured:\n\n" + "\n".join(about),
    ]
    if errors:
        parts.append("Sides that failed:\n\n" + "\n".join(errors))
    return "\n\n".join(parts) + "\n"


def document(
    measurements: Sequence[Measurement],
    results: Results,
    machine: dict[str, Any],
    run: dict[str, Any],
) -> dict[str, Any]:
    """``benchmarks/results.json``: the table's facts and every sample."""
    return {
        "v": 1,
        "run": run,
        "machine": machine,
        "table": list(lines(measurements, results)),
        "samples": [
            {"measurement": name, "side": side, "repeats": s.repeats, "errors": s.errors}
            for (name, side), s in results.items()
        ],
    }


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    spread = line["spread"]
    value = _with_unit(line["value"], line["unit"])
    if len(spread) == 2 and spread[0] != spread[1]:
        value += f" ({number(spread[0])}..{number(spread[1])})"
    return (
        line["what"],
        NAMES.get(line["side"], line["side"]),
        value,
        NAMES.get(line["beside"], line["beside"] or ""),
        _with_unit(line["beside_value"], line["unit"]) if line["beside"] else "",
        f"{line['ratio']:.2f}" if line["ratio"] is not None else "",
        line["goal"],
        {True: "yes", False: "**no**", None: ""}[line["met"]],
    )


def _with_unit(value: float | None, unit: str) -> str:
    return f"{number(value)} {unit}" if value is not None else "failed"


def number(value: float | None) -> str:
    """Three figures that count, no exponents."""
    if value is None:
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
