"""Hermes' jobs that are odd in any way: they are mirrored, or told of, and stop no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mirrorkit import NOW, World, job

from tenure.adapters.hermes.inside.mirror import hermes_id
from tenure.runtime.profile import Profile
from testkit.memory_store import MemoryStore


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, MemoryStore(profile_id="p", now=NOW))


GARBAGE = [
    "", " ", "\x00\x1b[31mred\x07", "x" * 10_000, "🦄", "👩‍💻 ☃", "a\nb\tc", "\u202eevil", "\ud800",
    None, 5, ["x"], {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE, ids=repr)
def test_a_name_may_be_anything(tmp_path: Path, name: object) -> None:
    with_sqlite(tmp_path, lambda world: _any_name(world, name))


def _any_name(world: World, name: object) -> None:
    found = world.follow(job("a", name=name), job("b", name=name), job("c"))
    assert set(found.jobs) == {"a", "b", "c"}, found.problems
    before = world.jobs()
    world.follow(job("a", name=name), job("b", name=name), job("c"))
    assert world.jobs() == before


def with_sqlite(folder: Path, do: Callable[[World], None]) -> None:
    profile = Profile.open("la", home=folder / "tenure", create=True, now=NOW)
    try:
        do(World(folder, profile.store))
    finally:
        profile.close()


def test_one_that_cannot_be_mirrored_stops_no_other(tmp_path: Path) -> None:
    def do(world: World) -> None:
        world.protect(b=["x" * 101])
        found = world.follow(job("a"), job("b"), job("\ud800"), job("c", script="\ud800" * 9))
        assert set(found.jobs) == {"a", "c"}
        assert set(found.problems) == {"b", "\ud800"}

    with_sqlite(tmp_path, do)


def test_those_without_an_id_are_passed_over(world: World) -> None:
    without = job()
    del without["id"]
    none, empty = {**job(), "id": None}, {**job(), "id": ""}
    found = world.follow(without, none, empty, job("d"))
    assert set(found.jobs) == {"d"}


def test_an_id_may_be_odd(world: World) -> None:
    ids = ["../x", "a b", "ä" * 60, "x" * 1000, 5]
    found = world.follow(*({**job(name="same"), "id": id} for id in ids))
    assert set(found.jobs) == set(map(str, ids)), found.problems
    assert {hermes_id(job) for job in world.jobs()} == set(map(str, ids))


def test_odd_fields_stop_nothing(world: World) -> None:
    odd: list[dict[str, Any]] = [
        {"schedule": None}, {"schedule": "0 7 * * *"}, {"schedule": {"kind": 5}},
        {"schedule": {"kind": "once", "run_at": 5}, "state": "completed", "enabled": False},
        {"repeat": 5}, {"next_run_at": 5}, {"next_run_at": "soon"}, {"enabled": None},
        {"schedule_display": ["x"]}, {"schedule_display": "\x07"}, {"deliver": {"a": float("nan")}},
    ]  # fmt: skip
    found = world.follow(*(job(str(n), **more) for n, more in enumerate(odd)))
    assert len(found.jobs) == len(odd), found.problems
