"""Which Tenure profile a Hermes home is adopted into: what cannot be believed refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tenure.adapters.hermes.facts.adoption_record import read_link
from tenure.adapters.hermes.facts.home import HermesHome, home_of


@pytest.fixture
def home(tmp_path: Path) -> HermesHome:
    found = home_of(tmp_path / "root" / "profiles" / "la")
    found.tenure.mkdir(parents=True)
    return found


def write(home: HermesHome, **changes: Any) -> None:
    record = {
        "v": 1, "state": "adopted", "hermes_home": str(home.path), "hermes_version": "0.19.0",
        "tenure_home": "/t", "tenure_profile": "hermes-la", **changes,
    }  # fmt: skip
    home.adoption.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))


def test_a_home_without_a_record_is_not_adopted(home: HermesHome) -> None:
    assert read_link(home) is None
    home.tenure.rmdir()
    assert read_link(home) is None
    home.tenure.write_text("somebody's own")
    assert read_link(home) is None


def test_a_record_that_stands(home: HermesHome) -> None:
    write(home)
    link = read_link(home)
    assert link is not None
    assert (link.tenure_home, link.tenure_profile, link.hermes_version, link.refusal) == (
        "/t", "hermes-la", "0.19.0", "",
    )  # fmt: skip
    assert link == read_link(home), "one that did not change is the same: a host is kept"


@pytest.mark.parametrize("state", ["adopting", "adopted", "releasing"])
def test_in_every_state_only_the_owner_runs(home: HermesHome, state: str) -> None:
    """In the middle of adopting and of releasing too: the record comes first and goes last."""
    write(home, state=state)
    assert read_link(home) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": "1.x"},
        {"v": ...},
        {"hermes_home": ...},
        {"tenure_profile": ...},
        {"v": None},
    ],
    ids=repr,
)
def test_a_record_that_is_not_understood_refuses(home: HermesHome, changes: dict[str, Any]) -> None:
    write(home, **changes)
    link = read_link(home)
    assert link is not None
    assert link.refusal


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '"x"', "null", "[" * 100_000, '{"v": 1}'])
def test_a_damaged_record_refuses(home: HermesHome, text: str) -> None:
    home.adoption.write_text(text)
    link = read_link(home)
    assert link is not None
    assert "damaged" in link.refusal


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00" * 10])
def test_a_record_that_is_no_text_refuses(home: HermesHome, content: bytes) -> None:
    home.adoption.write_bytes(content)
    link = read_link(home)
    assert link is not None
    assert link.refusal


@pytest.mark.parametrize("value", [5, ["x"], {"a": 1}, "\x00"])
def test_a_place_that_is_none_refuses(home: HermesHome, value: object) -> None:
    for key in ("hermes_home", "tenure_home", "tenure_profile"):
        write(home, **{key: value})
        link = read_link(home)
        assert link is not None, key
        assert link.refusal, key


def test_a_record_that_cannot_be_read_refuses(home: HermesHome) -> None:
    home.adoption.mkdir()
    link = read_link(home)
    assert link is not None
    assert "cannot be read" in link.refusal


def test_a_copied_home_refuses_and_one_that_is_spelled_differently_does_not(
    home: HermesHome,
) -> None:
    write(home)
    copied = home.path.with_name("copied")
    shutil.copytree(home.path, copied)
    link = read_link(home_of(copied))
    assert link is not None
    assert link.refusal.startswith(f"{copied} is a copy of {home.path}")
    spelled = home.path.parent / "link"
    spelled.symlink_to(home.path)
    for path in (spelled, home.path / ".." / "la", Path(os.path.relpath(home.path))):
        link = read_link(home_of(path))
        assert link is not None
        assert link.refusal == ""


def test_a_home_that_was_moved_refuses(home: HermesHome) -> None:
    write(home)
    moved = home.path.with_name("moved")
    home.path.rename(moved)
    link = read_link(home_of(moved))
    assert link is not None
    assert link.refusal.startswith(f"{moved} was moved from {home.path}")
