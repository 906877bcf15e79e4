"""Real processes for the contract: the world of tests/real, for a clause at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))

from worldkit import Serve, World

__all__ = ["Serve", "World", "eventually", "processes"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[World]:
    """A home in which `tenure` runs for real; everything is ended afterwards."""
    one = World(tmp_path)
    yield one
    one.close()
