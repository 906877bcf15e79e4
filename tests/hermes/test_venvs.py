"""The environments that the other tests stand on are what they say, and as they were published."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hermesvenv import HermesVenv

pytestmark = pytest.mark.hermes


@pytest.fixture(params=["hermes_19", "hermes_18", "hermes_16"])
def hermes(request: pytest.FixtureRequest) -> HermesVenv:
    found: HermesVenv = request.getfixturevalue(request.param)
    return found


def test_each_is_the_version_it_says(hermes: HermesVenv, tmp_path: Path) -> None:
    done = subprocess.run(
        [hermes.command, "--version"], check=True, capture_output=True, text=True, timeout=60,
        env={"HOME": str(tmp_path), "HERMES_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert f"v{hermes.version}" in done.stdout


def test_no_file_of_the_wheel_was_edited(hermes: HermesVenv) -> None:
    record = hermes.site_packages / f"hermes_agent-{hermes.version}.dist-info" / "RECORD"
    edited = []
    for name, digest, _size in csv.reader(record.read_text().splitlines()):
        if not digest or name.startswith(".."):
            continue
        content = (hermes.site_packages / name).read_bytes()
        found = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if digest != f"sha256={found}":
            edited.append(name)
    assert edited == []
