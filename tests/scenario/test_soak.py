"""The founding scenario for a minute under random kills, freezes, edits and requests.

``make soak`` is the same for ten minutes. A failure keeps its folder; ``SCENARIO_SEED`` draws
other blows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CANNOT = 75
SEED = os.environ.get("SCENARIO_SEED", "43965")


@pytest.mark.real
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="supervisors' notes are read from /proc")
def test_a_minute_of_blows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scenario", "soak", "--seconds", "60", "--seed", SEED],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    claims = done.stdout.partition("claim: none of these")[2]
    counts = re.findall(r"^(\D+?)  +(\d+)$", claims, flags=re.MULTILINE)
    assert len(counts) == 15
    assert all(count == "0" for _, count in counts)
    figures = dict(re.findall(r"^(.+?)  +(\d+)$", done.stdout, flags=re.MULTILINE))
    for figure in ("protected", "terms", "backends killed", "backends frozen", "due"):
        assert int(figures[figure]) > 0, f"a soak without {figure} shows nothing"
