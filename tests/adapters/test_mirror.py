"""Hermes' jobs in a Tenure profile: followed to the letter, never doubled, none lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirrorkit import NOW, World, job

from tenure.adapters.hermes.inside.mirror import Mirror, hermes_id
from tenure.domain.errors import InvalidInput
from tenure.domain.job import Job, JobState
from tenure.domain.planning.external import Announced, plan_announced
from tenure.domain.planning.plan import Due, OwnerCapabilities
from tenure.runtime.profile import Profile
from tenure.store.contract import Page
from testkit.factories import make_definition
from testkit.memory_store import MemoryStore
from waiting import DEADLINE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, MemoryStore(profile_id="p", now=NOW))


def test_following_twice_changes_nothing(world: World) -> None:
    theirs = [job("a"), job("b", name="job a"), job("c", enabled=False, state="paused"),
              job("d", schedule={"kind": "once", "run_at": NOW.isoformat()}, enabled=False,
                  state="completed")]  # fmt: skip
    world.follow(*theirs)
    before, mark = world.jobs(), len(world.store.events())
    for _ in range(3):
        world.follow(*theirs)
    assert world.jobs() == before
    assert len(world.store.events()) == mark


def test_what_became_of_a_job_is_no_revision_and_what_it_is_is_one(world: World) -> None:
    world.follow(job())
    world.follow(job(next_run_at=NOW.isoformat(), last_run_at="x", last_status="ok",
                     repeat={"times": None, "completed": 9}, fire_claim={"by": "x"},
                     latest_execution=5, something="unknown"))  # fmt: skip
    assert world.jobs()[0].revision == 1
    for n, change in enumerate(
        ({"prompt": "write"}, {"schedule": {"kind": "interval", "minutes": 5}}, {"skills": ["x"]},
         {"script": "x.py"}, {"repeat": {"times": 3}}, {"model": "m"}, {"workdir": "/w"}),
        start=2,
    ):  # fmt: skip
        world.follow(job(**change))
        assert world.jobs()[0].revision == n, change


def test_the_prompt_stays_with_hermes(world: World) -> None:
    world.follow(job(prompt="my secret plan"))
    assert "secret" not in repr(world.jobs()[0])


def test_a_job_keeps_its_identity_under_another_name(world: World) -> None:
    before = world.follow(job(name="old")).jobs["a"]
    after = world.follow(job(name="new")).jobs["a"]
    assert (before.id, before.name, after.id, after.name) == (before.id, "old", before.id, "new")


def test_names_that_are_alike_are_told_apart_by_id(world: World) -> None:
    found = world.follow(job("a", name="mail"), job("b", name="mail"), job("c", name="mail (a)"))
    assert found.problems == {}
    assert len(world.names()) == 3
    assert found.jobs["b"].name == "mail (b)"


def test_two_that_swap_their_names_come_to_them(world: World) -> None:
    world.follow(job("a", name="x"), job("b", name="y"))
    swapped = [job("a", name="y"), job("b", name="x")]
    found = world.follow(*swapped)
    assert found.problems == {}
    assert set(found.jobs) == {"a", "b"}
    found = world.follow(*swapped)
    assert (found.jobs["a"].name, found.jobs["b"].name) == ("y", "x")
    before = world.jobs()
    world.follow(*swapped)
    assert world.jobs() == before


def test_a_name_that_a_job_of_ours_has(world: World) -> None:
    world.store.add_job(make_definition(name="mail"), by="ada", now=NOW)
    found = world.follow(job("a", name="mail"))
    assert found.jobs["a"].name == "mail (a)"
    world.follow(job("a", name="mail"))
    assert world.store.job(found.jobs["a"].id).revision == 1
    world.follow()
    assert world.names() == {"mail"}


def test_a_removed_name_is_free_at_once(world: World) -> None:
    world.follow(job("a", name="mail"))
    assert world.follow(job("b", name="mail")).jobs["b"].name == "mail"


def test_paused_resumed_removed_and_there_again(world: World) -> None:
    first = world.follow(job()).jobs["a"]
    assert world.follow(job(enabled=False, state="paused")).jobs["a"].state is JobState.PAUSED
    assert world.follow(job()).jobs["a"].state is JobState.ACTIVE
    assert world.follow().jobs == {}
    assert world.store.job(first.id).state is JobState.REMOVED
    again = world.follow(job()).jobs["a"]
    assert again.id != first.id
    assert again.state is JobState.ACTIVE


def test_a_one_shot_that_is_over_is_done_and_set_again_it_is_not(world: World) -> None:
    over = {"schedule": {"kind": "once", "run_at": NOW.isoformat()}, "enabled": False}
    world.follow(job(**{**over, "enabled": True}))
    assert world.follow(job(**over, state="completed")).jobs["a"].state is JobState.DONE
    again = world.now + timedelta(seconds=0.5)
    due = {
        "schedule": {"kind": "once", "run_at": again.isoformat()},
        "next_run_at": again.isoformat(),
    }
    set_again = world.follow(job(**due)).jobs["a"]
    assert set_again.state is JobState.ACTIVE
    assert set_again.watermark < again, "its fire, which has come by now, is not lost"


def claimable(world: World, mirrored: Job, fire: datetime) -> bool:
    due = Due(job=world.store.job(mirrored.id), active=0, holds=())
    found = plan_announced(
        due, Announced(fire=fire), OwnerCapabilities(authoritative=True), world.now
    )
    return found is not None


def test_a_fire_that_is_pending_when_its_job_is_first_seen_is_not_lost(world: World) -> None:
    fire = NOW - timedelta(minutes=3)
    mirrored = world.follow(job(next_run_at=fire.isoformat())).jobs["a"]
    assert claimable(world, mirrored, fire)
    assert not claimable(world, mirrored, fire - timedelta(seconds=1))


@pytest.mark.parametrize("change", [{"prompt": "x"}, {"name": "x"}, {"enabled": True}])
def test_a_fire_that_is_pending_at_an_edit_is_neither_lost_nor_doubled(
    world: World, change: dict[str, Any]
) -> None:
    world.follow(job(enabled=change != {"enabled": True}))
    ran = world.follow(job()).jobs["a"]
    fire = world.now
    mirrored = world.follow(job(next_run_at=fire.isoformat(), **change)).jobs["a"]
    assert mirrored.id == ran.id
    assert claimable(world, mirrored, fire)


def test_protection_given_and_taken_is_a_revision(world: World) -> None:
    world.follow(job("a"), job("b"))
    world.protect(a=["full-disk-access"])
    found = world.follow(job("a"), job("b"))
    a = found.jobs["a"]
    assert (a.definition.protected, a.definition.requires) == (True, ("full-disk-access",))
    assert (a.revision, found.jobs["b"].revision) == (2, 1)
    world.protect()
    a = world.follow(job("a"), job("b")).jobs["a"]
    assert (a.definition.protected, a.revision) == (False, 3)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"x"', '{"v": 1}', '{"v": 2, "protected": {}}', '{"protected": {"a": {}}}',
     '{"v": 1, "protected": {"a": {"requires": "fda"}}}',
     '{"v": 1, "protected": {"a": {"requires": [5]}}}', '{"v": 1, "protected": ["a"]}',
     '{"v": 1, "protected": {"a": 5}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_sidecar_stops_everything(world: World, text: str) -> None:
    """Which jobs are protected is not known then: so nothing is taken for unprotected."""
    world.home.sidecar.write_text(text)
    with pytest.raises(InvalidInput, match="cannot be read"):
        world.follow(job())
    assert world.jobs() == []


def test_a_sidecar_that_may_not_be_read_stops_everything(world: World) -> None:
    world.home.sidecar.mkdir()
    with pytest.raises(InvalidInput):
        world.follow(job())


def test_who_only_asks_removes_nothing(world: World) -> None:
    world.follow(job("a"), job("b"))
    found = world.follow(job("a"), whole=False)
    assert set(found.jobs) == {"a"}
    assert len(world.jobs()) == 2


def test_without_a_file_of_jobs_nothing_is_removed(world: World) -> None:
    world.follow(job("a"))
    world.mirror.follow(lambda: None, world.now)
    assert len(world.jobs()) == 1


def test_a_job_that_another_process_just_made_is_not_taken_for_gone(world: World) -> None:
    """What Hermes has is loaded after what stands here was read, and not before."""
    there: list[dict[str, Any]] = [job("a")]

    def load() -> Sequence[dict[str, Any]]:
        found = list(there)
        if len(there) == 1:  # a dashboard adds one, and asks for its run, at this moment
            there.append(job("b"))
            other = Mirror(world.store, world.home, by="dashboard", timezone="UTC")
            other.follow(lambda: there, NOW, whole=False)
        return found

    world.mirror.follow(load, NOW)
    assert {hermes_id(job) for job in world.jobs()} == {"a", "b"}


def test_a_job_that_stands_twice_is_put_right(world: World) -> None:
    first = world.follow(job("a")).jobs["a"]
    twin = first.definition.with_changes(name="twin")
    world.store.add_job(twin, by="somebody", now=NOW)
    assert world.follow(job("a")).jobs["a"].id == first.id
    assert [job.id for job in world.jobs()] == [first.id]


def test_many_at_once_agree(tmp_path: Path) -> None:
    """Two jobs here for one of Hermes' would run it twice."""
    theirs = [job(str(n), name="same" if n % 3 else f"n{n}") for n in range(12)]
    Profile.open("la", home=tmp_path / "tenure", create=True, now=NOW).close()
    home = World(tmp_path, MemoryStore(profile_id="p", now=NOW)).home
    start, failed = threading.Barrier(4), []

    def follow(seed: int) -> None:
        profile = Profile.open("la", home=tmp_path / "tenure")
        try:
            mirror = Mirror(profile.store, home, by=str(seed), timezone="UTC")
            # Each has seen as many of them as its look was early.
            start.wait(DEADLINE)
            for n in range(1, 13):
                mirror.follow(lambda n=n: theirs[: (n + seed) % 13], NOW, whole=False)
        except Exception as error:  # noqa: BLE001
            failed.append(error)
        finally:
            profile.close()

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert failed == []
    profile = Profile.open("la", home=tmp_path / "tenure")
    try:
        found = [hermes_id(job) for job in profile.store.jobs(page=Page(limit=500))[0]]
        assert sorted(map(str, found)) == sorted(job["id"] for job in theirs)
    finally:
        profile.close()


some = st.builds(
    lambda id, name, on, minutes, prompt: job(
        id, name=name, enabled=on, state="scheduled" if on else "paused", prompt=prompt,
        next_run_at=(NOW + timedelta(minutes=minutes)).isoformat(),
    ),
    st.sampled_from("abcd"), st.sampled_from(["x", "y", "x (a)", "", "\x00"]), st.booleans(),
    st.integers(-100, 100), st.sampled_from(["p", "q"]),
)  # fmt: skip


@given(st.lists(st.lists(some, max_size=4, unique_by=lambda job: job["id"]), max_size=8))
@settings(max_examples=60, deadline=None)
def test_whatever_hermes_has_stands_here_once(
    tmp_path_factory: pytest.TempPathFactory, histories: list[list[dict[str, Any]]]
) -> None:
    world = World(tmp_path_factory.mktemp("w"), MemoryStore(profile_id="p", now=NOW))
    for theirs in histories:
        found = world.follow(*theirs)
        assert found.problems == {}
        ids = [hermes_id(job) for job in world.jobs()]
        assert sorted(map(str, ids)) == sorted(job["id"] for job in theirs)
        for wanted in theirs:
            state = JobState.ACTIVE if wanted["enabled"] else JobState.PAUSED
            assert found.jobs[wanted["id"]].state is state
    for theirs in histories[-1:]:
        world.follow(*theirs)
        before = world.jobs()
        world.follow(*theirs)
        assert world.jobs() == before
