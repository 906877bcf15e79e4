"""A recorded Hermes home, or one with the plugin, for each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hermestree import Tree
from minihermes import OTHERS, MiniHermes, hermes, job


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HERMES_HOME", raising=False)
    return Tree(tmp_path)


@pytest.fixture(params=[True, False], ids=["new", "old"])
def owner(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MiniHermes]:
    """This process owns; it has ticked, with nothing due."""
    with hermes(tmp_path, monkeypatch, new=request.param) as made:
        made.write(job("a", ago=-600))
        made.scheduler.tick(False, None, None, True)
        yield made


@pytest.fixture(params=[True, False], ids=["new", "old"])
def other(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MiniHermes]:
    with hermes(tmp_path, monkeypatch, new=request.param, policy=OTHERS) as made:
        made.write(job("a", ago=-600))
        yield made
