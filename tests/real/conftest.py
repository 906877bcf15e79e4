"""A world for each test, closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import Canary, World


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Worlds made with options."""
    made: list[World] = []

    def world(**options: str) -> World:
        folder = tmp_path / f"world{len(made)}"
        folder.mkdir()
        made.append(World(folder, **options))
        return made[-1]

    yield world
    for one in made:
        one.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.fixture
def canary(world: World) -> Canary:
    return Canary(world.folder)
