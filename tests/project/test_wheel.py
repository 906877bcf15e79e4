"""What is published: the wheel has the package alone, and each file that the package needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = {".sql", ".html", ".css", ".js", ".svg", ".typed", ".txt"}

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_only_the_package_is_in_the_wheel(names: set[str]) -> None:
    assert {name.partition("/")[0] for name in names} == {"tenure"}
    parts = {part for name in names for part in Path(name).parts}
    assert not parts & {"tests", "testkit", "scenario", "benchmarks"}


def test_every_file_of_the_package_is_in_the_wheel(names: set[str]) -> None:
    source = ROOT / "src"
    files = [p for p in source.rglob("*") if p.suffix in {".py", *DATA} and p.is_file()]
    assert {p.relative_to(source).as_posix() for p in files} - names == set()
