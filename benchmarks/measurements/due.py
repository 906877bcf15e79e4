"""Finding the one job that is due among many that are not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import kit
from benchmarks.model import Figures, Goal, Measurement, Row

THOUSANDS = (1, 10, 100)


def among(thousands: int, work: Path, sizes: Mapping[str, Any]) -> Figures:
    from benchmarks.populated import populated, times
    from tenure.domain.job import Runner

    store, _, now = populated(work, thousands * sizes["thousand"])
    room = dict.fromkeys(Runner, 8)
    if len(store.due(now, room)) != 1:
        raise RuntimeError("exactly one job should be due")
    took = times([lambda: store.due(now, room)] * sizes["looks"])
    following = times([store.next_due] * sizes["looks"])
    return {
        "due": kit.percentile(took, 0.5),
        "due_p99": kit.percentile(took, 0.99),
        "next_due": kit.percentile(following, 0.5),
    }


def _row(thousands: int) -> Row:
    smallest = f"tenure_{THOUSANDS[0]}k"
    side = f"tenure_{thousands}k"
    return Row(
        title=f"`due` among {thousands},000 jobs",
        figure="due",
        unit="ms",
        side=side,
        beside=() if side == smallest else (smallest,),
        goals=(Goal(limit=1.0),),
    )


MEASUREMENT = Measurement(
    name="due",
    about="The store's `due` with one job due, the others hours away; median of 500 looks. 'Not "
    "growing with the count' is the ratio to 1,000 jobs.",
    sides={f"tenure_{n}k": partial(among, n) for n in THOUSANDS},
    rows=(
        *(_row(n) for n in THOUSANDS),
        Row(
            title="`next_due` among 100,000 jobs",
            figure="next_due",
            unit="ms",
            side="tenure_100k",
            beside=("tenure_1k",),
        ),
    ),
    sizes={
        "full": {"thousand": 1000, "looks": 500},
        "tiny": {"thousand": 5, "looks": 5},
    },
)
