"""A home in a temporary folder, the command line in-process, and an owner made by store verbs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clikit import Answer, Tenure, World

from tenure.runtime.profile import Profile
from tenure.surfaces.cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("TENURE_HOME", str(folder))
    monkeypatch.delenv("TENURE_PROFILE", raising=False)
    monkeypatch.delenv("TENURE_DEBUG", raising=False)
    return folder


@pytest.fixture
def tenure(home: Path, capfd: pytest.CaptureFixture[str]) -> Tenure:
    """Run the command line in this process."""

    def run(*argv: str) -> Answer:
        capfd.readouterr()
        code = main(list(argv))
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def world(home: Path) -> Iterator[World]:
    """The default profile, opened beside the command line."""
    profile = Profile.open("default", home=home, create=True, now=datetime.now(UTC))
    made = World(profile)
    yield made
    for lock in made.locks.values():
        lock.release()
    profile.close()
