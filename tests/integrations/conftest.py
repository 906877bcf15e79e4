"""The programs that host Tenure are those of benchmarks/workers; here they are few and short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.workers.hosts import Host
from benchmarks.workers.running import Running

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a host, each in a folder of its own; none outlives the test."""
    with ExitStack() as ends:
        number = iter(range(1000))

        def start(host: Host, **environ: str) -> Running:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            return ends.enter_context(
                Running(host, "tenure", folder, **{"BEAT_EACH": "1", **environ})
            )

        yield start
