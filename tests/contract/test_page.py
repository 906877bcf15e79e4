"""docs/contract.md names a test for each clause, and every link of it leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contract.md"
SECTION = re.compile(r"^## (C\d+)\. .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def test_every_clause_has_its_own_test_of_the_contract() -> None:
    sections = {m[1]: m[0] for m in SECTION.finditer(PAGE.read_text())}
    assert list(sections) == [f"C{n}" for n in range(1, 15)]
    for clause, text in sections.items():
        assert f"tests/contract/test_c{int(clause[1:]):02d}_" in text, clause


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
