"""Adding, pausing and editing one job among 100,000: a durable commit each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row


def tenure(work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.populated import definition, populated, times
    from tenure.domain.job import JobState

    store, jobs, now = populated(work, sizes["jobs"])
    step = max(1, len(jobs) // (2 * sizes["edits"]) - 1)
    chosen = jobs[::step][: 2 * sizes["edits"]]
    to_edit, to_pause = chosen[::2], chosen[1::2]

    def add(i: int) -> object:
        return store.add_job(definition(f"new-{i}", "5 4 * * *"), by="bench", now=now)

    adds: list[Callable[[], object]] = [partial(add, i) for i in range(sizes["edits"])]
    pauses: list[Callable[[], object]] = [
        partial(store.set_job_state, job.id, JobState.PAUSED, by="bench", now=now)
        for job in to_pause
    ]
    edits: list[Callable[[], object]] = [
        partial(
            store.edit_job, job.id, job.revision, definition(job.name, "7 7 * * 1"),
            by="bench", now=now,
        )
        for job in to_edit
    ]  # fmt: skip
    figures = {}
    for name, calls in (("add", adds), ("pause", pauses), ("edit", edits)):
        took = times(calls)
        figures[name] = kit.percentile(took, 0.5)
        figures[f"{name}_p99"] = kit.percentile(took, 0.99)
    return figures


MEASUREMENT = Measurement(
    name="edits",
    about="One verb of the store, its own commit (synchronous=FULL) included, among 100,000 jobs; "
    "median and p99 of 200 of each.",
    sides={"tenure": tenure},
    rows=tuple(
        Row(title=title, figure=figure, unit="ms", goals=goals)
        for verb, word in (("add", "Adding"), ("pause", "Pausing"), ("edit", "Editing"))
        for title, figure, goals in (
            (f"{word} one among 100,000", verb, (Goal(limit=5.0),)),
            (f"{word} one among 100,000, p99", f"{verb}_p99", (Goal(limit=5.0),)),
        )
    ),
    sizes={"full": {"jobs": 100_000, "edits": 200}, "tiny": {"jobs": 40, "edits": 4}},
)
