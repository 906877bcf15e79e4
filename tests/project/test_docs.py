"""What the documentation names exists: files of the repository, and the public Python API."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import tenure

ROOT = Path(__file__).parents[2]
PAGES = [
    *("README.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"),
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/adr/*.md")),
]
ROOMS = "src|tests|testkit|docs|scripts|scenario|benchmarks|examples"
PACKAGES = "adapters|audit|client|domain|host|integrations|runtime|store|surfaces"
MODULES = {"aio", "errors", "models"}
PATH = re.compile(rf"`((?:{ROOMS}|{PACKAGES})/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_each_path_that_a_page_names_exists(page: str) -> None:
    named = PATH.findall((ROOT / page).read_text())
    folders = (ROOT, ROOT / "src" / "tenure")
    assert [name for name in named if not any((f / name).exists() for f in folders)] == []


def test_the_reference_has_the_whole_public_api() -> None:
    page = (ROOT / "docs/reference.md").read_text()
    names = set(re.findall(r"^::: tenure\.(\w+)$", page, re.MULTILINE))
    modules = [importlib.import_module(f"tenure.{name}") for name in names & MODULES]
    assert names >= MODULES
    documented = names.union(*(module.__all__ for module in modules))
    assert documented >= set(tenure.__all__) - {"__version__"}


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", index, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1)), "no gaps"
    for path in folder.glob("0*.md"):
        assert f"({path.name})" in index
        title = path.read_text().partition("\n")[0]
        assert title.startswith(f"# {int(path.name[:4])}. ")
