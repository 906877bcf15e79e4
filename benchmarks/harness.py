"""Runs every side of every measurement, interleaved, each in a process of its own.

    for each repeat: for each measurement: for each side: a fresh process

Interleaved, so that whatever else the machine does in a minute falls on all sides alike. A side
that fails is kept as its error and costs nothing but its own figures; nothing fails by time.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.model import Figures, Measurement

ROOT = Path(__file__).resolve().parent.parent


class SideFailed(Exception):
    """A side gave no figures; the text says why."""


@dataclass(slots=True)
class Samples:
    """What one side of one measurement gave, repeat by repeat."""

    repeats: list[Figures] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def values(self, figure: str) -> list[float]:
        return [one[figure] for one in self.repeats if figure in one]

    def median(self, figure: str) -> float | None:
        values = self.values(figure)
        return statistics.median(values) if values else None


Results = dict[tuple[str, str], Samples]
"""By measurement and side."""


def run_all(
    measurements: Sequence[Measurement],
    *,
    repeats: int,
    scale: str,
    folder: Path,
    tell: Callable[[str], None],
) -> Results:
    """Every side ``repeats`` times. ``folder`` is where the sides' databases lie."""
    results: Results = {(m.name, side): Samples() for m in measurements for side in m.sides}
    for repeat in range(repeats):
        for measurement in measurements:
            for side in measurement.sides:
                samples = results[measurement.name, side]
                began = time.monotonic()
                try:
                    figures = run_side(measurement, side, scale=scale, folder=folder)
                    samples.repeats.append(figures)
                    said = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
                except SideFailed as error:
                    samples.errors.append(str(error))
                    said = f"FAILED: {error}"
                took = time.monotonic() - began
                tell(f"[{repeat + 1}/{repeats}] {measurement.name} / {side}: {said} ({took:.1f} s)")
    return results


def run_side(measurement: Measurement, side: str, *, scale: str, folder: Path) -> Figures:
    """Run one side in a fresh process. Raises SideFailed."""
    with tempfile.TemporaryDirectory(
        dir=folder, prefix="side-", ignore_cleanup_errors=True
    ) as work:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.side", measurement.name, side, scale, work],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(folder),
        )
        try:
            out, err = process.communicate(timeout=measurement.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, err = process.communicate()
            raise SideFailed(f"not done after {measurement.timeout:.0f} s{_tail(err)}") from None
        if process.returncode != 0:
            raise SideFailed(f"exit code {process.returncode}{_tail(err)}")
        try:
            figures: Figures = json.loads(out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise SideFailed(f"it printed no figures{_tail(err)}") from None
        return figures


def _environment(folder: Path) -> dict[str, str]:
    """Ours, with compiled modules kept as an installed package's are: imports are measured."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")
    return env


def _tail(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""
