"""What PyInstaller and its like find of Tenure: they read code, and run none of it."""

from __future__ import annotations

import modulefinder
import pkgutil
import tomllib
from pathlib import Path

import tenure
from tenure.integrations import pyinstaller

PACKAGE = Path(tenure.__file__).parent


def test_the_modules_of_a_program_with_jobs_are_found_by_reading_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from tenure import library\nimport tenure.runtime.scheduler\n")
    finder = modulefinder.ModuleFinder(path=[str(PACKAGE.parent)])
    finder.run_script(str(program))
    platforms = {f"tenure.host.{name}.processes" for name in ("linux", "macos", "windows")}
    assert platforms <= set(finder.modules)
    assert "tenure.store.sqlite.store" in finder.modules


def test_pyinstaller_is_told_of_the_files_of_the_package() -> None:
    """It needs the store's SQL: tried by hand with PyInstaller 6, --onefile."""
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["project"]
    [point] = project["entry-points"]["pyinstaller40"].values()
    assert pkgutil.resolve_name(point) is pyinstaller.hook_folders
    [folder] = pyinstaller.hook_folders()
    assert 'collect_data_files("tenure")' in (Path(folder) / "hook-tenure.py").read_text()
