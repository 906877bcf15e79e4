"""A stopped clock for a whole module, and scenes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from goldenkit import NOW, Clock, stopped_clock
from scenes import Play, Scene, Shelf, playing


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    with stopped_clock() as made:
        yield made


@pytest.fixture
def plain(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is back at its start, and no variable of the environment decides."""
    clock.at = NOW
    for name in ("TENURE_PROFILE", "TENURE_DEBUG", "TENURE_HOME", "TZ"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def play(clock: Clock, tmp_path: Path) -> Play:
    """Build a scene by its name, for one test."""
    return partial(playing, home=tmp_path / "home", clock=clock)


@pytest.fixture(scope="module")
def shelf(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A scene by its name, kept for all tests that only look."""
    with ExitStack() as stack:

        @cache
        def get(name: str) -> Scene:
            home = tmp_path_factory.mktemp(name) / "home"
            return stack.enter_context(playing(name, home, clock))

        yield get
