"""A recorded Hermes home for each test that asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hermestree import Tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HERMES_HOME", raising=False)
    return Tree(tmp_path)
