"""Wall time of whole processes, taken in turns."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence


def wall(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, float]:
    """Median milliseconds of each command from spawn to exit; one unmeasured turn before."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
            if turn:
                took[name].append((time.perf_counter() - began) * 1000)
            # status answers 1 when it has something to warn of.
            if done.returncode not in (0, 1) or (done.returncode and b"Traceback" in done.stderr):
                raise RuntimeError(f"{name}: exit {done.returncode}: {done.stderr[-200:]!r}")
    return {name: statistics.median(values) for name, values in took.items()}
