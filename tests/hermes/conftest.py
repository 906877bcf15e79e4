"""Real Hermes Agents, installed by ``make hermes``, and worlds to run them in.

``hermes_19``, ``hermes_18`` and ``hermes_16`` are virtual environments that all tests share: run
their programs, change nothing in them. See scripts/hermes_venvs.py and hermesworld.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator

import pytest
from hermesvenv import HermesVenv, venvs
from hermesworld import HermesWorld

Make = Callable[..., HermesWorld]
_FAILED = pytest.StashKey[str]()
_MADE = pytest.StashKey[list[HermesWorld]]()


def _venv(version: str) -> HermesVenv:
    if sys.platform != "linux":
        pytest.skip("who ran what is read in /proc")
    if reason := venvs.why_absent(version):
        pytest.skip(reason)
    return HermesVenv(version, venvs.folder_of(version))


@pytest.fixture(scope="session")
def hermes_19() -> HermesVenv:
    """0.19.0, the newest."""
    return _venv("0.19.0")


@pytest.fixture(scope="session")
def hermes_18() -> HermesVenv:
    """0.18.2."""
    return _venv("0.18.2")


@pytest.fixture(scope="session")
def hermes_16() -> HermesVenv:
    """0.16.0, of the founding report; its wheel has no ticker in the dashboard."""
    return _venv("0.16.0")


@pytest.fixture(scope="module")
def worlds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Make]:
    """Makes worlds, closed after the last test of the file."""
    made = request.node.stash.setdefault(_MADE, [])

    def make(venv: HermesVenv, **options: float) -> HermesWorld:
        made.append(HermesWorld(tmp_path_factory.mktemp("hermes"), venv, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def in_order(request: pytest.FixtureRequest) -> None:
    """A file that tells one story: once a part of it failed, there is nothing to go on from."""
    module = request.node.getparent(pytest.Module)
    if failed := module.stash.get(_FAILED, ""):
        pytest.skip(f"the story broke off at {failed}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    """Where a test failed, what its processes said stands beside it."""
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module is not None:
        module.stash.setdefault(_FAILED, item.name)
        for world in module.stash.get(_MADE, []):
            report.sections.append((f"world in {world.folder}", world.told()))
    return report
