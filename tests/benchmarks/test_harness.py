"""The harness runs, in tiny sizes, and writes both files; what it measures is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import report  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.earlier import earlier  # noqa: E402
from benchmarks.harness import Samples  # noqa: E402
from benchmarks.kit import percentile  # noqa: E402
from benchmarks.measurements import NAMES, load  # noqa: E402
from benchmarks.model import Goal, Measurement, Row  # noqa: E402

SMOKE = ("lag_callables", "drain_callables", "due", "edits", "imports")


@pytest.mark.real
@pytest.mark.timeout(300)
def test_it_measures_every_side_and_writes_both_files(tmp_path: Path) -> None:
    options = ("--tiny", "--repeats", "1", "--out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, "--folder", str(tmp_path), "--only", *SMOKE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    errors = {(s["measurement"], s["side"]): s["errors"] for s in document["samples"]}
    assert errors == {(name, side): [] for name in SMOKE for side in load(name).sides}
    assert {"cores", "python", "kernel", "sqlite", "file_system", "fsync_ms"} <= set(
        document["machine"]
    )
    page = (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    assert page in done.stdout
    for line in document["table"]:
        assert line["value"] is not None
        assert line["what"] in page


def test_what_is_not_measured_again_is_kept(tmp_path: Path) -> None:
    """A page of some measurements only would lose the others."""
    table = [{"measurement": "due", "side": "tenure", "repeats": [{"p50": 1.0}], "errors": []}]
    gone = {"measurement": "no longer there", "side": "tenure", "repeats": [], "errors": []}
    first = {"run": {"at": "2026-01-02T03:04:05+00:00"}, "samples": [*table, gone]}
    (tmp_path / "results.json").write_text(json.dumps(first))
    assert main(["--tiny", "--repeats", "1", "--only", "imports", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "results.md").read_text()
    assert "Of earlier runs, each with all its sides: due (2026-01-02T03:04)." in page
    document = json.loads((tmp_path / "results.json").read_text())
    assert {one["measurement"] for one in document["samples"]} == {"due", "imports"}
    kept = earlier(tmp_path / "results.json", leaving_out=["imports"])
    assert kept.names == {"due": "2026-01-02T03:04:05+00:00"}
    assert kept.samples["due", "tenure"].values("p50") == [1.0]


def test_every_measurement_loads_and_names_sides_that_there_are() -> None:
    for name in NAMES:
        measurement = load(name)
        assert measurement.name == name
        assert {"full", "tiny"} <= set(measurement.sizes)
        for row in measurement.rows:
            assert row.side in measurement.sides
            for goal in row.goals:
                there = load(goal.measurement) if goal.measurement else measurement
                assert goal.side is None or goal.side in there.sides
            assert set(row.beside) <= set(measurement.sides)


def _line(value: float, goal: Goal, other: float = 10.0) -> dict[str, object]:
    row = Row(title="x", figure="x", unit="ms", goals=(goal,))
    measurement = Measurement(name="m", about="", sides={}, rows=(row,))
    results = {
        ("m", "tenure"): Samples(repeats=[{"x": value}]),
        ("m", "floor"): Samples(repeats=[{"x": other - 1}, {"x": other}, {"x": 1000.0}]),
    }
    return next(report.lines([measurement], results))


@pytest.mark.parametrize(
    ("goal", "least_met", "most_met"),
    [
        (Goal(limit=5.0), 0.0, 5.0),
        (Goal(side="floor", factor=3), 0.0, 30.0),
        (Goal(side="floor", plus=15), 0.0, 25.0),
    ],
)
def test_a_goal_is_met_up_to_its_bound(goal: Goal, least_met: float, most_met: float) -> None:
    assert _line(least_met, goal)["met"] is True
    assert _line(most_met, goal)["met"] is True
    assert _line(most_met + 0.01, goal)["met"] is False


def test_a_rate_is_to_be_at_least_its_bound() -> None:
    goal = Goal(side="floor", factor=5, at_least=True)
    assert _line(50.0, goal)["met"] is True
    assert _line(49.9, goal)["met"] is False
    assert _line(50.0, goal)["ratio"] == 5.0


def test_a_side_that_failed_is_neither_met_nor_missed() -> None:
    row = Row(title="x", figure="x", unit="ms", goals=(Goal(limit=1.0),))
    measurement = Measurement(name="m", about="", sides={}, rows=(row,))
    results = {("m", "tenure"): Samples(errors=["it broke"])}
    (line,) = report.lines([measurement], results)
    assert line["value"] is None
    assert line["met"] is None
    run = {"scale": "full", "repeats": 1, "seconds": 1.0}
    page = report.markdown([measurement], results, {}, run)
    assert "failed" in page
    assert "m, tenure: it broke" in page


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.50) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0
