"""What an earlier run measured, for a run of some measurements only.

Sides are compared within a measurement, and all sides of one are of one run.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Results, Samples
from benchmarks.measurements import NAMES


@dataclass(frozen=True, slots=True)
class Earlier:
    samples: Results
    names: dict[str, str]
    """Each measurement that is kept, and when it was measured."""


def earlier(file: Path, *, leaving_out: Collection[str]) -> Earlier:
    """Of ``results.json``; nothing where there is none."""
    if not file.exists():
        return Earlier({}, {})
    document = json.loads(file.read_text(encoding="utf-8"))
    before, samples, names = document["run"].get("kept", {}), {}, {}
    for one in document["samples"]:
        name = one["measurement"]
        if name in NAMES and name not in leaving_out:
            samples[name, one["side"]] = Samples(one["repeats"], one["errors"])
            names[name] = before.get(name, document["run"]["at"])
    return Earlier(samples, names)
