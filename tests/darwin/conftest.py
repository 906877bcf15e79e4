"""The stand-in for macOS, compiled once, and Tenure's code run in its child processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from testkit import darwin
from waiting import DEADLINE

Run = Callable[..., str]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := darwin.why_unavailable():
        pytest.skip(reason)
    return darwin.build(tmp_path_factory.mktemp("darwin"))


@pytest.fixture
def mac(library: Path, tmp_path: Path) -> darwin.Darwin:
    folder = tmp_path / "mac"
    folder.mkdir()
    return darwin.Darwin(library, folder)


@pytest.fixture
def run(mac: darwin.Darwin) -> Run:
    """Run Python source in a process on the Mac, ``run(source, *argv, **environ options)``; what it
    printed."""

    def call(source: str, *arguments: str, **options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source), *arguments],
            env=mac.environ(**options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call
