"""The version has one home, and the changelog dates it."""

from __future__ import annotations

import re
from pathlib import Path

import tenure

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^## (\S+)(?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version() -> None:
    unreleased, latest, *_ = HEADING.findall((ROOT / "CHANGELOG.md").read_text())
    assert unreleased == ("Unreleased", "")
    assert latest[0] == tenure.__version__
    assert latest[1], "the release has a date"
