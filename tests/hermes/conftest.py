"""Real Hermes Agents, installed by ``make hermes``; see scripts/hermes_venvs.py.

``hermes_19``, ``hermes_18`` and ``hermes_16`` are virtual environments that all tests share: run
their programs, change nothing in them.
"""

from __future__ import annotations

import pytest
from hermesvenv import HermesVenv, venvs


def _venv(version: str) -> HermesVenv:
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
